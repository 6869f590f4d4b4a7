//! The servers a run stands on: those of the options, or a broker and a TURN server of its own.
//!
//! - owns: starting them, ending and restarting them in mid-run, what peers are told of them
//! - servers of its own listen on loopback alone, on free ports; several runs at once do not meet

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use signalling::mqtt::{Audience, LinkConfig};
use tokio::process::Command;

use super::script::{BrokerWanted, Does, Member, Scenario, Server, ServerAction};
use crate::config::Inherited;
use crate::exit::Failure;
use crate::serve::broker::{Access, Broker, BrokerConfig};
use crate::serve::turn::{Turn, TurnConfig};
use crate::serve::{ServeError, broker, turn};
use crate::settings::resolve_link;
use crate::{child, cli, random};

/// Name at the TURN server of a run.
const ICE_USER: &str = "test";

/// How long a command that restarts somebody's server may take.
const RESTART_MAX: Duration = Duration::from_secs(60);

/// A run's servers.
pub(crate) struct Stage {
    broker: Own<Broker>,
    turn: Own<Turn>,
    password: String,
    inherited: Inherited,
    restart_broker: Option<Vec<String>>,
    restart_turn: Option<Vec<String>>,
}

/// A server of the run's own, or not.
enum Own<S> {
    /// Somebody else's.
    Others,
    Running(S, SocketAddr),
    /// Was ended by a step.
    Down(SocketAddr),
}

impl<S> Own<S> {
    const fn addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Others => None,
            Self::Running(_, addr) | Self::Down(addr) => Some(*addr),
        }
    }
}

/// True where somebody on this machine is not told by the file which broker to use.
fn lacks_broker(cast: &[Member]) -> bool {
    let here = || cast.iter().filter(|member| member.place.agent().is_none());
    let mut tring = here().filter(|member| !matches!(member.does, Does::Foreign(_))).peekable();
    match tring.peek() {
        Some(_) => tring.any(|member| !member.settings.contains_key("broker")),
        // Foreign programs alone meet at a broker of ours.
        None => here().next().is_some(),
    }
}

async fn start_broker(port: u16) -> Result<(Broker, SocketAddr), ServeError> {
    let broker = broker::start(BrokerConfig::on_loopback(port, Access::ReadAlong)).await?;
    let addr = broker.mqtt_addr();
    Ok((broker, addr))
}

async fn start_turn(port: u16, password: &str) -> Result<(Turn, SocketAddr), ServeError> {
    let turn = turn::start(TurnConfig::on_loopback(port, ICE_USER, password)).await?;
    let addr = turn.addr();
    Ok((turn, addr))
}

/// An error of a server with its cause, in a line.
fn words(error: &ServeError) -> String {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    format!("{error}{cause}")
}

impl Stage {
    /// Starts what the scenario wants and nobody else brings.
    ///
    /// # Errors
    /// A [`Failure`] when a server cannot be started.
    pub(crate) async fn set(scenario: &Scenario, inherited: Inherited) -> Result<Self, Failure> {
        let failed = |error: ServeError| Failure::internal(words(&error));
        let is_given = inherited.settings.contains_key("broker");
        let wants_own = scenario.broker == BrokerWanted::Own || !is_given && lacks_broker(&scenario.cast);
        let password = random::password();
        let broker = if wants_own {
            let (broker, addr) = start_broker(0).await.map_err(failed)?;
            Own::Running(broker, addr)
        } else {
            Own::Others
        };
        let turn = if wants_own && !inherited.settings.contains_key("ice") {
            let (turn, addr) = start_turn(0, &password).await.map_err(failed)?;
            Own::Running(turn, addr)
        } else {
            Own::Others
        };
        let restart_broker = scenario.restart_broker.clone();
        Ok(Self { broker, turn, password, inherited, restart_broker, restart_turn: scenario.restart_turn.clone() })
    }

    /// True where nobody else meets at the broker.
    pub(crate) const fn is_private(&self) -> bool {
        !matches!(self.broker, Own::Others)
    }

    /// How the runner itself connects: under an ID of its own, with the login of the options where that broker is used.
    ///
    /// # Errors
    /// A usage [`Failure`] when the options do not fit together.
    pub(crate) fn link(&self, options: &cli::Link) -> Result<LinkConfig, Failure> {
        let mut options = options.clone();
        if let Some(addr) = self.broker.addr() {
            // Logins and certificates are those of another broker.
            options.leave_broker(format!("mqtt://{addr}").parse().map_err(Failure::internal)?);
        }
        let mut config = resolve_link(&options, Audience::Only(Vec::new()))?;
        if options.id.is_none() {
            config.me = format!("tring-test-{}", random::mark(8)).parse().map_err(Failure::internal)?;
        }
        Ok(config)
    }

    /// The broker's address, where it is one of the run's own or the same for all.
    pub(crate) fn broker_url(&self) -> Option<String> {
        let own = self.broker.addr().map(|addr| format!("mqtt://{addr}"));
        own.or_else(|| self.inherited.settings.get("broker")?.first().cloned())
    }

    /// Settings that say to a peer where the servers are; what its file names goes before them.
    pub(crate) fn settings(&self) -> BTreeMap<String, Vec<String>> {
        let mut settings = self.inherited.settings.clone();
        if let Some(addr) = self.broker.addr() {
            // Logins and certificates are those of another broker.
            for key in ["broker", "user", "password-file", "ca-file", "cert", "key", "mqtt"] {
                settings.remove(key);
            }
            settings.insert("broker".into(), vec![format!("mqtt://{addr}")]);
        }
        if let Some(addr) = self.turn.addr() {
            settings.insert("ice".into(), vec![format!("turn:{addr}")]);
            settings.insert("ice-user".into(), vec![ICE_USER.into()]);
        }
        settings
    }

    /// Variables of the same.
    pub(crate) fn env(&self) -> BTreeMap<String, String> {
        let mut env = self.inherited.env.clone();
        if self.is_private() {
            env.remove("TRING_PASSWORD");
        }
        if self.turn.addr().is_some() {
            env.insert("TRING_ICE_PASSWORD".into(), self.password.clone());
        }
        env
    }

    /// Why a step cannot be done with these servers; `None` when it can.
    pub(crate) fn objection(&self, server: Server, action: ServerAction) -> Option<String> {
        let (is_own, command, name) = match server {
            Server::Broker => (self.broker.addr().is_some(), &self.restart_broker, "broker"),
            Server::Turn => (self.turn.addr().is_some(), &self.restart_turn, "turn"),
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
        match server {
            Server::Broker => match std::mem::replace(&mut self.broker, Own::Others) {
                Own::Others => return run_command(self.restart_broker.as_deref()).await,
                Own::Running(broker, addr) => {
                    broker.stop().await;
                    self.broker = Own::Down(addr);
                }
                Own::Down(addr) => self.broker = Own::Down(addr),
            },
            Server::Turn => match std::mem::replace(&mut self.turn, Own::Others) {
                Own::Others => return run_command(self.restart_turn.as_deref()).await,
                Own::Running(turn, addr) => {
                    turn.stop().await;
                    self.turn = Own::Down(addr);
                }
                Own::Down(addr) => self.turn = Own::Down(addr),
            },
        }
        match (server, action) {
            (_, ServerAction::Kill) => Ok(()),
            (Server::Broker, ServerAction::Restart) => {
                let port = self.broker.addr().map_or(0, |addr| addr.port());
                let (broker, addr) = start_broker(port).await.map_err(|error| words(&error))?;
                self.broker = Own::Running(broker, addr);
                Ok(())
            }
            (Server::Turn, ServerAction::Restart) => {
                let port = self.turn.addr().map_or(0, |addr| addr.port());
                let (turn, addr) = start_turn(port, &self.password).await.map_err(|error| words(&error))?;
                self.turn = Own::Running(turn, addr);
                Ok(())
            }
        }
    }

    /// Ends what it started.
    pub(crate) async fn strike(self) {
        if let Own::Running(turn, _) = self.turn {
            turn.stop().await;
        }
        if let Own::Running(broker, _) = self.broker {
            broker.stop().await;
        }
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
        Ok(Err(error)) => Err(format!("{program} cannot be started: {error}")),
        Err(_) => Err(format!("{program} took longer than {} s", RESTART_MAX.as_secs())),
    }
}
