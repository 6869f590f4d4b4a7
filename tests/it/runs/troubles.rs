//! Runs that cannot come to the end their scenario has in mind: what went wrong is named, and nothing stays behind.

use std::path::Path;
use std::time::Instant;

use serde_json::Value;

use super::{FAILED, LOOK, Ran, command, results, test};
use crate::support::call::Args;
use crate::support::mosquitto::Mosquitto;
use crate::support::turn::Turn;
use crate::support::{PATIENCE, TempDir, free_port, password_of};

/// Two who talk without an end of their own.
const TALK: &str = "[peers.bob]\n[peers.alice]\ncalls = \"bob\"\n";

/// Name, what comes after [`TALK`], and what the run has to say went wrong.
const TROUBLES: [(&str, &str, &[&str]); 5] = [
    (
        "waits",
        "[[steps]]\nwait = \"held\"\npeer = \"bob\"\nwithin = \"1s\"\n",
        &["step 1: bob told no held within 1 s"],
    ),
    ("late", "duration = \"1m\"\n", &["not over after 3 s (timeout)"]),
    (
        "killed",
        "[[steps]]\nwait = \"first_frame\"\npeer = \"alice\"\n[[steps]]\nkill = \"alice\"\n\
         [[steps]]\ndo = \"hold\"\npeer = \"alice\"\n",
        &["step 3: alice has ended already"],
    ),
    ("dies", "[peers.mole]\ncommand = [\"sh\", \"-c\", \"kill -9 $$\"]\n", &["mole: status is not known, expected 0"]),
    (
        "missing",
        "[peers.mole]\ncommand = [\"/nonexistent/peer\"]\n",
        &["mole cannot be started: /nonexistent/peer", "No such file"],
    ),
];

#[test]
fn what_goes_wrong_is_named() {
    let _turn = Turn::small_call();
    let (files, folder) = (TempDir::new("troubles"), TempDir::new("troubles-results"));
    for (name, rest, _) in TROUBLES {
        files.write(&format!("{name}.toml"), &format!("timeout = \"{}\"\n{TALK}{rest}", timeout_of(name)));
    }
    // Nothing is measured, so they need not run alone.
    let ran = test(Args::new([files.path()]).and(["--jobs", "3"]), &folder);
    for (name, _, reasons) in TROUBLES {
        let faults = ran.faults(name);
        assert!(reasons.iter().all(|reason| faults.contains(reason)), "{name}: {faults}");
        assert!(results(&folder).join(name).join("outcome.txt").exists());
    }
    ran.assert_counts(0, TROUBLES.len(), 0);
    assert_eq!(ran.status, FAILED);

    let missing = files.file("missing.toml");
    let output = command(Args::new([missing]), &folder).output(folder.path());
    let text = String::from_utf8(output.stdout).unwrap();
    for part in ["FAIL missing", "mole cannot be started", "kept in ", "1 run: 0 passed, 1 failed, 0 skipped"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(output.status.code(), Some(FAILED));
}

/// What one leaves is not replaced by another that has its name.
#[test]
fn two_of_the_same_name_keep_their_results_apart() {
    let (files, folder) = (TempDir::new("same"), TempDir::new("same-results"));
    for name in ["one", "two"] {
        files.write(
            &format!("{name}.toml"),
            &format!("name = \"same\"\n[peers.{name}]\ncommand = [\"/nonexistent\"]\n"),
        );
    }
    let ran = test(Args::new([files.path()]).and(["--jobs", "2"]), &folder);
    ran.assert_counts(0, 2, 0);
    for name in ["one", "two"] {
        let is_of_it = |run: &&Value| run["faults"][0].as_str().unwrap().starts_with(name);
        let kept = ran.runs.iter().find(is_of_it).unwrap()["folder"].as_str().unwrap();
        assert!(Path::new(kept).join(format!("{name}.log")).exists(), "{kept} is another's");
    }
}

fn timeout_of(name: &str) -> &'static str {
    if name == "late" { "3s" } else { "1m" }
}

#[test]
fn a_broker_that_is_not_there_is_named() {
    let folder = TempDir::new("no-broker");
    let broker = format!("mqtt://127.0.0.1:{}", free_port());
    let ran = test(Args::new(["smoke", "--broker", &broker]), &folder);
    assert_eq!(ran.status, FAILED);
    let faults = ran.faults("smoke");
    for peer in ["alice", "bob"] {
        let status = faults.lines().find(|line| line.starts_with(&format!("{peer}: status is 20 ")));
        assert!(status.is_some_and(|line| line.contains(&broker) && line.contains("expected 0")), "{faults}");
    }
    let exchange = std::fs::read_to_string(results(&folder).join("smoke/exchange.txt")).unwrap();
    assert!(exchange.contains("could not be read along"), "{exchange}");
}

/// What a scenario takes from the environment is used, and told nowhere: on no output, in no report, in no result.
#[test]
fn a_secret_is_told_nowhere() {
    const SECRET: &str = "sesame-open-7531";
    let _turn = Turn::small_call();
    let (mosquitto, folder) = (Mosquitto::password(), TempDir::new("secret"));
    let source = r#"
        name = "of ${WORD}"
        [peers.alice]
        id = "alice"
        user = "alice"
        env = { TRING_PASSWORD = "${WORD}" }
        [peers.gossip]
        command = ["sh", "-c", "echo ${WORD}; echo '{\"event\":\"warning\",\"text\":\"${WORD}\"}'; echo $TOLD >&2"]
        env = { TOLD = "-${WORD}-" }
        expect = { reason = "${WORD}" }
        "#;
    let (file, junit, html) = (folder.write("secret.toml", source), folder.file("junit.xml"), folder.file("page.html"));
    let args = || Args::new([&file]).option("--broker", mosquitto.url()).option("--junit", &junit);
    let args = || args().option("--report", &html);
    let ran = Ran::of(command(args(), &folder).env("WORD", SECRET).spawn());
    assert_eq!(ran.status, FAILED);
    let faults = ran.faults("of •••");
    assert!(faults.contains("alice: status is 21 ") && faults.contains("reason is not known"), "{faults}");
    let output = command(args(), &folder).env("WORD", SECRET).output(folder.path());
    let mut told = vec![format!("{:?} {}", ran.runs, ran.stderr), format!("{output:?}")];
    told.push(std::fs::read_to_string(&junit).unwrap());
    told.push(std::fs::read_to_string(&html).unwrap());
    let kept = read_all(&results(&folder));
    // The gossip is there, without the word.
    assert!(kept.matches("•••").count() >= 3 && kept.contains("-•••-"), "{kept}");
    told.push(kept);
    for text in told {
        assert!(!text.contains(SECRET), "{text}");
    }
    // It was used: the right one is let in.
    let ran = Ran::of(command(args(), &folder).env("WORD", password_of("alice")).spawn());
    let checks = ran.runs[0]["checks"].as_array().unwrap();
    let status = checks.iter().find(|check| check["peer"] == "alice" && check["expectation"] == "status").unwrap();
    assert_eq!((&status["seen"], &status["passed"]), (&"0".into(), &true.into()), "{checks:?}");
}

/// A value that does not fit where it stands is not told in the complaint either.
#[test]
fn a_secret_is_not_told_of_a_wrong_file() {
    let folder = TempDir::new("secret-wrong");
    let file = folder.write("wrong.toml", "[peers.bob]\nvideo = \"${WORD}\"\n");
    let output = command(Args::new([file]), &folder).env("WORD", "sesame-open-7531").output(folder.path());
    let said = format!("{output:?}");
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("peers.bob: video") && !said.contains("sesame"), "{said}");
}

/// Names and contents of all files below a folder.
fn read_all(folder: &Path) -> String {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let text = |path: std::path::PathBuf| {
        let content = if path.is_dir() { read_all(&path) } else { std::fs::read_to_string(&path).unwrap() };
        format!("{}\n{content}\n", path.display())
    };
    entries.map(text).collect()
}

/// Processes whose parent is this one.
fn children(of: u32) -> Vec<u32> {
    let processes =
        std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().into_string().ok());
    let is_child = |pid: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // Behind the name, which may hold anything: state and parent (proc_pid_stat(5)).
        stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse().ok()) == Some(of)
    };
    processes.filter_map(|name| name.parse().ok()).filter(is_child).collect()
}

#[test]
fn an_interrupt_ends_the_peers_and_is_told() {
    let _turn = Turn::small_call();
    let folder = TempDir::new("interrupt");
    let there = folder.file("there");
    let witness = format!("touch {}; read line", there.display());
    let source = format!(
        "{TALK}[peers.witness]\nstart = \"step\"\ncommand = [\"sh\", \"-c\", \"{witness}\"]\n\
         [[steps]]\nwait = \"first_frame\"\npeer = [\"alice\", \"bob\"]\n\
         [[steps]]\ndo = \"start\"\npeer = \"witness\"\n[[steps]]\nafter = \"1h\"\n"
    );
    let file = folder.write("long.toml", &format!("timeout = \"2h\"\n{source}"));
    let tring = command(Args::new([file]).and(["--repeat", "2"]), &folder).spawn();
    let deadline = Instant::now() + PATIENCE;
    while !there.exists() {
        assert!(Instant::now() < deadline, "the call does not come about");
        std::thread::sleep(LOOK);
    }
    let peers = children(tring.pid());
    assert_eq!(peers.len(), 3, "alice, bob and the witness");
    let interrupted = Instant::now();
    tring.interrupt();
    let ran = Ran::of(tring);
    assert!(interrupted.elapsed() < PATIENCE / 2, "{:?}", interrupted.elapsed());
    assert_eq!(ran.status, 130);
    ran.assert_counts(0, 1, 1);
    assert_eq!(ran.faults("long 1/2"), "interrupted", "the peers ended in order");
    assert_eq!(ran.run("long 2/2")["faults"], Value::from(vec!["interrupted"]));
    for peer in peers {
        assert!(!Path::new(&format!("/proc/{peer}")).exists(), "process {peer} is left");
    }
}
