//! A network namespace: its interfaces, its packet filter, and the programs in it.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use super::super::{daemon, require, run};

/// What the names of all our namespaces begin with; the process that made it follows.
const PREFIX: &str = "tring-";

/// Where `ip` keeps the names.
const NAMES: &str = "/run/netns";

/// Where `ip netns exec` looks for files that programs in a namespace see in `/etc`.
const ETC: &str = "/etc/netns";

/// A namespace of its own; removed when dropped, after the programs in it.
pub struct Space {
    name: String,
}

impl Space {
    /// Makes one with nothing in it but its loopback interface; `label` is for the reader of a failure.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn new(label: &str) -> Self {
        Self::attempt(label).unwrap_or_else(|refusal| panic!("{refusal}"))
    }

    /// The same, where the kernel may refuse.
    pub fn attempt(label: &str) -> Result<Self, String> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("{PREFIX}{}-{}-{label}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        feed(ip().args(["netns", "add", &name]), "")?;
        let space = Self { name };
        space.try_ip("link set lo up")?;
        Ok(space)
    }

    /// Carries out `ip` commands, one a line.
    ///
    /// # Panics
    /// With what `ip` says, when one of them fails.
    pub fn ip(&self, commands: &str) {
        self.try_ip(commands).unwrap_or_else(|refusal| panic!("{refusal}"));
    }

    /// The same, where the kernel may refuse.
    pub fn try_ip(&self, commands: &str) -> Result<(), String> {
        feed(ip().args(["-n", &self.name, "-batch", "-"]), commands)
    }

    /// Adds rules to the packet filter, all of them or none.
    ///
    /// # Panics
    /// With what `nft` says, when it refuses them.
    pub fn nft(&self, rules: &str) {
        self.try_nft(rules).unwrap_or_else(|refusal| panic!("{refusal}"));
    }

    /// The same, where the kernel may refuse.
    pub fn try_nft(&self, rules: &str) -> Result<(), String> {
        feed(self.command("nft", "nftables").args(["-f", "-"]), rules)
    }

    /// Makes these the lines of the file that names are looked up in here. Programs that start from now on see it.
    pub fn name_hosts(&self, lines: &str) {
        let folder = std::path::Path::new(ETC).join(&self.name);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("hosts"), lines).unwrap();
    }

    /// Lets its routes lead from one interface to another.
    pub fn forward(&self) {
        run(self.command("sysctl", "procps").args(["-qw", "net.ipv4.ip_forward=1"]));
    }

    /// Where its default route leads.
    pub fn gateway(&self) -> String {
        let routes = run(ip().args(["-n", &self.name, "route", "show", "default"]));
        routes.split_whitespace().nth(2).expect("default via GATEWAY").to_owned()
    }

    /// Packets that the `counter` statements of a table have seen.
    pub fn counted(&self, table: &str) -> u64 {
        let listing = run(self.command("nft", "nftables").args(["list", "table", "inet", table]));
        let counts = listing.split("counter packets ").skip(1);
        counts.map(|rest| rest.split(' ').next().and_then(|count| count.parse::<u64>().ok()).expect("a count")).sum()
    }

    /// From now on drops UDP packets that match on their way through this hook of the packet filter.
    pub fn interfere(&self, hook: &str, which: &str) {
        self.nft(&format!(
            "table inet interference {{\n chain losses {{\n type filter hook {hook} priority filter - 10\n \
             meta l4proto udp {which} counter drop\n }}\n}}\n"
        ));
    }

    /// Drops nothing any more.
    pub fn relent(&self) {
        self.nft("delete table inet interference\n");
    }

    /// Packets dropped since [`Self::interfere`].
    pub fn taken(&self) -> u64 {
        self.counted("interference")
    }

    /// A program of this Debian package, to be run in here.
    pub fn command(&self, program: &str, package: &str) -> Command {
        let mut command = ip();
        command.args(["netns", "exec", &self.name]).arg(require(program, package));
        command
    }

    /// What a program's own command line follows to run in here.
    pub fn launcher(&self) -> Vec<String> {
        let ip = require("ip", "iproute2");
        vec![ip.display().to_string(), "netns".into(), "exec".into(), self.name.clone()]
    }

    /// Its name, to lay a cable into it.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        remove(&self.name);
    }
}

/// Removes the namespaces of test runs that were killed before they could do so.
pub fn remove_orphans() {
    let names = std::fs::read_dir(NAMES).into_iter().flatten().flatten();
    for name in names.filter_map(|entry| entry.file_name().into_string().ok()) {
        let maker = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        let gone = maker.and_then(|pid| pid.parse::<u32>().ok()).is_some_and(|pid| !is_running(pid));
        if gone {
            remove(&name);
        }
    }
}

fn is_running(pid: u32) -> bool {
    std::path::Path::new(&format!("/proc/{pid}")).exists()
}

/// Ends what still runs in a namespace, by process ID, and removes it.
fn remove(name: &str) {
    // Nothing here may panic: a test that failed is cleaned up after as well.
    if let Ok(output) = ip().args(["netns", "pids", name]).output() {
        let pids = String::from_utf8_lossy(&output.stdout).into_owned();
        pids.split_whitespace().filter_map(|pid| pid.parse().ok()).for_each(|pid| daemon::signal(pid, "KILL"));
    }
    // There is none but where names were given.
    let _gone = std::fs::remove_dir_all(std::path::Path::new(ETC).join(name));
    let removed = ip().args(["netns", "delete", name]).status();
    if !removed.is_ok_and(|status| status.success()) {
        eprintln!("the namespace {name} is left behind; ip netns delete {name}");
    }
}

fn ip() -> Command {
    Command::new(require("ip", "iproute2"))
}

/// Runs a program with this as its input; what it complained of, when it fails.
fn feed(command: &mut Command, input: &str) -> Result<(), String> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    // A program that ends without having read says why in its complaint.
    let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("{command:?}: {}\n{input}", complaint.trim())) }
}
