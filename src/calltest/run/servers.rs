//! The servers a run stands on: those of the options, or a broker and a TURN server of its own.
//!
//! - owns: starting them, ending and restarting them in mid-run, what peers are told of them
//! - servers of its own listen on loopback alone, on free ports; several runs at once do not meet

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use network::system_error::in_words;
use signalling::mqtt::{Audience, LinkConfig};
use tokio::process::Command;

use crate::calltest::scenario::script::{BrokerWanted, Does, PeerSpec, Scenario, Server, ServerAction};
use crate::cli;
use crate::config::Inherited;
use crate::output::exit::Failure;
use crate::phone::settings::resolve_link;
use crate::platform::{child, random};
use crate::servers::broker::Access;
use crate::servers::one_run::{Member, OneRun};

/// Name at the TURN server of a run.
const ICE_USER: &str = "test";

/// How long a command that restarts somebody's server may take.
const RESTART_MAX: Duration = Duration::from_secs(60);

/// A run's servers.
pub(crate) struct Servers {
    own: OneRun,
    inherited: Inherited,
    restart_broker: Option<Vec<String>>,
    restart_turn: Option<Vec<String>>,
}

/// True where somebody on this machine is not told by the file which broker to use.
fn lacks_broker(peers: &[PeerSpec]) -> bool {
    let here = || peers.iter().filter(|spec| spec.place.agent().is_none());
    let mut tring = here().filter(|spec| !matches!(spec.does, Does::Foreign(_))).peekable();
    match tring.peek() {
        Some(_) => tring.any(|spec| !spec.settings.contains_key("broker")),
        // Foreign programs alone meet at a broker of ours.
        None => here().next().is_some(),
    }
}

impl Servers {
    /// Starts what the scenario wants and nobody else brings.
    ///
    /// # Errors
    /// A [`Failure`] when a server cannot be started.
    pub(crate) async fn start(scenario: &Scenario, inherited: Inherited) -> Result<Self, Failure> {
        let is_given = inherited.settings.contains_key("broker");
        let mut own = OneRun::new(ICE_USER);
        if scenario.broker == BrokerWanted::Own || !is_given && lacks_broker(&scenario.peers) {
            own.start_broker(Access::ReadAlong).await?;
            if !inherited.settings.contains_key("ice") {
                own.start_turn().await?;
            }
        }
        let restart_broker = scenario.restart_broker.clone();
        Ok(Self { own, inherited, restart_broker, restart_turn: scenario.restart_turn.clone() })
    }

    /// True where nobody else meets at the broker.
    pub(crate) const fn is_private(&self) -> bool {
        self.own.has(Member::Broker)
    }

    /// How the runner itself connects: under an ID of its own, with the login of the options where that broker is used.
    ///
    /// # Errors
    /// A usage [`Failure`] when the options do not fit together.
    pub(crate) fn link(&self, options: &cli::Link) -> Result<LinkConfig, Failure> {
        let mut options = options.clone();
        if let Some(url) = self.own.broker_url() {
            // Logins and certificates are those of another broker.
            options.leave_broker(url.parse().map_err(Failure::internal)?);
        }
        let mut config = resolve_link(&options, Audience::Only(Vec::new()))?;
        if options.id.is_none() {
            config.me = format!("tring-test-{}", random::mark(8)).parse().map_err(Failure::internal)?;
        }
        Ok(config)
    }

    /// The broker's address, where it is one of the run's own or the same for all.
    pub(crate) fn broker_url(&self) -> Option<String> {
        self.own.broker_url().or_else(|| self.inherited.settings.get("broker")?.first().cloned())
    }

    /// Settings that say to a peer where the servers are; what its file names goes before them.
    pub(crate) fn settings(&self) -> BTreeMap<String, Vec<String>> {
        let mut settings = self.inherited.settings.clone();
        if let Some(url) = self.own.broker_url() {
            // Logins and certificates are those of another broker.
            for key in ["broker", "user", "password-file", "ca-file", "cert", "key", "mqtt"] {
                settings.remove(key);
            }
            settings.insert("broker".into(), vec![url]);
        }
        if let Some(url) = self.own.turn_url() {
            settings.insert("ice".into(), vec![url]);
            settings.insert("ice-user".into(), vec![self.own.user().into()]);
        }
        settings
    }

    /// Variables of the same.
    pub(crate) fn env(&self) -> BTreeMap<String, String> {
        let mut env = self.inherited.env.clone();
        // All peers have the key of this program, on whatever machine they run, and this is it.
        env.remove("TRING_SECRET_KEY");
        if self.is_private() {
            env.remove("TRING_PASSWORD");
        }
        if self.own.has(Member::Turn) {
            env.insert("TRING_ICE_PASSWORD".into(), self.own.password().to_owned());
        }
        env
    }

    /// Why a step cannot be done with these servers; `None` when it can.
    pub(crate) fn objection(&self, server: Server, action: ServerAction) -> Option<String> {
        let is_own = self.own.has(member(server));
        let (command, name) = match server {
            Server::Broker => (&self.restart_broker, "broker"),
            Server::Turn => (&self.restart_turn, "turn"),
        };
        let can = is_own || action == ServerAction::Restart && command.is_some();
        (!can).then(|| {
            format!(
                "its steps end the {name} server, which is not the test's own; leave out the options of that server, or \
                 say in [servers] how to do it: restart_{name} = [\"systemctl\", \"restart\", \"…\"]"
            )
        })
    }

    /// Ends or restarts a server.
    pub(crate) async fn act(&mut self, server: Server, action: ServerAction) -> Result<(), String> {
        let member = member(server);
        match action {
            _ if !self.own.has(member) => {
                let command = match server {
                    Server::Broker => &self.restart_broker,
                    Server::Turn => &self.restart_turn,
                };
                run_command(command.as_deref()).await
            }
            ServerAction::Kill => {
                self.own.kill(member).await;
                Ok(())
            }
            ServerAction::Restart => self.own.restart(member).await.map_err(|error| error.text()),
        }
    }

    /// Ends what it started.
    pub(crate) async fn stop(self) {
        self.own.stop().await;
    }
}

/// A server, as those of a run are called.
const fn member(server: Server) -> Member {
    match server {
        Server::Broker => Member::Broker,
        Server::Turn => Member::Turn,
    }
}

/// Runs the command that restarts somebody's server.
async fn run_command(command: Option<&[String]>) -> Result<(), String> {
    let Some((program, arguments)) = command.and_then(<[String]>::split_first) else {
        return Err("the server is not the test's own, and no command is given that restarts it".to_owned());
    };
    let mut command = Command::new(program);
    child::hide_settings(&mut command);
    let running = command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    match tokio::time::timeout(RESTART_MAX, running.output()).await {
        Ok(Ok(output)) if output.status.success() => Ok(()),
        Ok(Ok(output)) => {
            Err(format!("{program} ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim()))
        }
        Ok(Err(error)) => Err(format!("{program} cannot be started: {}", in_words(&error))),
        Err(_) => Err(format!("{program} took longer than {} s", RESTART_MAX.as_secs())),
    }
}
