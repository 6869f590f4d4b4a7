//! ActiveMQ Classic from Debian's jars, by `tests/servers/ActiveMq.java`: MQTT 3.1.1 over TCP, no WebSocket.

use std::path::Path;
use std::process::Command;

use super::daemon::{self, Daemon, NotReady};
use super::{TempDir, USERS, loopback, require, servers_dir};

const JARS: &str = "/usr/share/java";

/// What the broker needs at run time, each with its package.
const NEEDED: [(&str, &str); 10] = [
    ("activemq-broker", "libactivemq-java"),
    ("activemq-client", "libactivemq-java"),
    ("activemq-jaas", "libactivemq-java"),
    ("activemq-mqtt", "libactivemq-java"),
    ("hawtbuf", "libhawtbuf-java"),
    ("mqtt-client", "libmqtt-client-java"),
    ("geronimo-jms_1.1_spec", "libgeronimo-jms-1.1-spec-java"),
    ("geronimo-j2ee-management-1.1-spec", "libgeronimo-j2ee-management-1.1-spec-java"),
    ("slf4j-api", "libslf4j-java"),
    ("slf4j-simple", "libslf4j-java"),
];

/// A running ActiveMQ.
pub struct ActiveMq {
    daemon: Daemon,
    logins: Logins,
    port: u16,
    dir: TempDir,
}

#[derive(Debug, Clone, Copy)]
enum Logins {
    None,
    Users,
}

impl ActiveMq {
    /// Everyone may do everything.
    pub fn anonymous() -> Self {
        Self::start(Logins::None)
    }

    /// A login for each of [`USERS`], which may write as itself and read what is addressed to it.
    pub fn password() -> Self {
        Self::start(Logins::Users)
    }

    fn start(logins: Logins) -> Self {
        let dir = TempDir::new("activemq");
        let (daemon, port) = daemon::start(|| launch(logins, 0, &dir));
        Self { daemon, logins, port, dir }
    }

    /// For `--broker`: MQTT over TCP.
    pub fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }

    /// The port of MQTT over TCP.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What it has logged since it was started last.
    pub fn log(&self) -> String {
        self.daemon.log()
    }

    /// Ends it as a crash would: connections break, everything is lost.
    pub fn kill(&mut self) {
        self.daemon.kill();
    }

    /// Starts it again on the same port, after [`Self::kill`] or without.
    pub fn restart(&mut self) {
        self.daemon.kill();
        let (logins, port, dir) = (self.logins, self.port, &self.dir);
        (self.daemon, self.port) = daemon::start(|| launch(logins, port, dir));
    }
}

fn launch(logins: Logins, port: u16, dir: &TempDir) -> Result<(Daemon, u16), NotReady> {
    // One collector thread and the first compiler only: a second to be ready, on two cores as well.
    let mut command = Command::new(require("java", "default-jdk-headless"));
    command.args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx256m", "-cp", &class_path()]);
    command.arg(servers_dir().join("ActiveMq.java")).arg(port.to_string());
    match logins {
        Logins::None => {}
        Logins::Users => {
            command.args(USERS.map(|(user, password)| format!("{user}={password}")));
        }
    }
    let mut daemon = Daemon::spawn("activemq", &mut command, dir);
    let line = daemon.logged("listening on ")?;
    let port = line.rsplit(' ').next().and_then(|port| port.parse().ok()).expect("the real port ends the line");
    daemon.accepts(loopback(port))?;
    Ok((daemon, port))
}

fn class_path() -> String {
    let jar = |(name, package): (&str, &str)| {
        let jar = Path::new(JARS).join(format!("{name}.jar"));
        assert!(jar.exists(), "{} is missing, install {package}: apt-get install {package}", jar.display());
        jar.to_str().expect("a plain path").to_owned()
    };
    NEEDED.map(jar).join(":")
}
