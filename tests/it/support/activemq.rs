//! ActiveMQ Classic from Debian's jars, by `tests/servers/ActiveMq.java`: MQTT 3.1.1 over TCP or TLS, no WebSocket.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::daemon::{self, Daemon, NotReady};
use super::turn::Turn;
use super::{TempDir, USERS, certificates, loopback, require, servers_dir};

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
    variant: Variant,
    port: u16,
    dir: TempDir,
}

/// Which of its uses.
#[derive(Debug, Clone, Copy)]
enum Variant {
    Anonymous,
    Password,
    Tls,
}

impl ActiveMq {
    /// Everyone may do everything.
    pub fn anonymous() -> Self {
        Self::start(Variant::Anonymous)
    }

    /// A login for each of [`USERS`], which may write as itself and read what is addressed to it.
    pub fn password() -> Self {
        Self::start(Variant::Password)
    }

    /// TLS with a certificate of [`Self::ca_file`]; everyone who trusts it may do everything.
    pub fn tls() -> Self {
        Self::start(Variant::Tls)
    }

    fn start(variant: Variant) -> Self {
        // A second or two of processor time.
        let _turn = Turn::call();
        let dir = TempDir::new("activemq");
        match variant {
            Variant::Anonymous | Variant::Password => {}
            Variant::Tls => {
                certificates::make(&dir);
                certificates::bundle(&dir);
            }
        }
        let (daemon, port) = daemon::start(|| launch(variant, 0, &dir));
        Self { daemon, variant, port, dir }
    }

    /// For `--broker`: MQTT over TCP or TLS.
    pub fn url(&self) -> String {
        let scheme = match self.variant {
            Variant::Anonymous | Variant::Password => "mqtt",
            Variant::Tls => "mqtts",
        };
        format!("{scheme}://127.0.0.1:{}", self.port)
    }

    /// For `--ca-file`, with TLS only.
    pub fn ca_file(&self) -> PathBuf {
        self.dir.file("ca.crt")
    }

    /// The port of MQTT over TCP or TLS.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Ends it as a crash would: connections break, everything is lost.
    pub fn kill(&mut self) {
        self.daemon.kill();
    }

    /// Starts it again on the same port, after [`Self::kill`] or without.
    pub fn restart(&mut self) {
        self.daemon.kill();
        let (variant, port, dir) = (self.variant, self.port, &self.dir);
        (self.daemon, self.port) = daemon::start(|| launch(variant, port, dir));
    }
}

fn launch(variant: Variant, port: u16, dir: &TempDir) -> Result<(Daemon, u16), NotReady> {
    // One collector thread and the first compiler only: a second to be ready, on two cores as well.
    let mut command = Command::new(require("java", "default-jdk-headless"));
    command.args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx256m", "-cp", &class_path()]);
    if let Variant::Tls = variant {
        let store = dir.file(certificates::BUNDLE);
        command.arg(format!("-Djavax.net.ssl.keyStore={}", store.display()));
        command.arg(format!("-Djavax.net.ssl.keyStorePassword={}", certificates::BUNDLE_PASSWORD));
    }
    command.arg(servers_dir().join("ActiveMq.java")).arg(port.to_string());
    if let Variant::Password = variant {
        command.args(USERS.map(|(user, password)| format!("{user}={password}"))).arg("alice:bob");
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
