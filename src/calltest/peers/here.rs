//! A peer as a session inside this process: for many peers at once, of which a process each would be too much.
//!
//! - out of it: its events, then its end; logs stay in the program's own
//! - into it: commands, interrupts; when it is killed the session is dropped where it stands
//!
//! Signals are the program's: a Ctrl-C is for the one who runs the peers, who ends them in order.

use std::collections::BTreeMap;
use std::sync::Arc;

use clap::FromArgMatches as _;
use media::display::window::WindowClient;
use serde_json::Value;
use signalling::call::PhoneConfig;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::{Launch, ORDERS_MAX, PeerHandle, PeerInput, PeerOutput, Program, TOLD_MAX};
use crate::cli::secret::Secret;
use crate::cli::{Cli, Command};
use crate::config;
use crate::output::events::ProgramEvent;
use crate::output::exit::{ExitStatus, Failure};
use crate::output::printer::Printer;
use crate::phone::plan;
use crate::phone::session::{self, Driver, Orders, Role, control};
use crate::phone::settings::Settings;

/// Interrupts not yet heeded: the first hangs up, the second leaves at once.
const INTERRUPTS_MAX: usize = 2;

/// A session to be run.
pub(crate) struct Inside {
    /// As the options of `call` and `listen` resolve to.
    pub(crate) settings: Settings,
    /// Whom it calls, or that it listens.
    pub(crate) role: Role,
    /// How it goes about it.
    pub(crate) phone_config: PhoneConfig,
    /// Needed by every session, used by none that shows nothing.
    pub(crate) windows: WindowClient,
}

/// Starts the part as a session: `tring call` or `tring listen` as its arguments say it.
///
/// # Errors
/// A usage [`Failure`] when it is none of the two, or is given what a session inside this process cannot have.
pub(crate) fn start_part(part: &Launch, windows: WindowClient) -> Result<PeerHandle, Failure> {
    let Program::Tring { arguments } = &part.program else {
        return Err(Failure::usage("another program cannot run inside this one"));
    };
    let words = std::iter::once("tring").chain(arguments.iter().map(String::as_str));
    let matches = config::command_alone().try_get_matches_from(words).map_err(Failure::usage)?;
    let mut cli = Cli::from_arg_matches(&matches).map_err(Failure::usage)?;
    let common = match &mut cli.command {
        Command::Call(call) => &mut call.common,
        Command::Listen(listen) => &mut listen.common,
        _ => return Err(Failure::usage("only call and listen run inside this program")),
    };
    for (name, value) in &part.env {
        let secret = || value.parse::<Secret>().map(Some).map_err(|error| Failure::usage(format!("{name}: {error}")));
        match name.as_str() {
            "TRING_PASSWORD" => common.link.password = secret()?,
            "TRING_ICE_PASSWORD" => common.link.ice_password = secret()?,
            "TRING_ICE_SECRET" => common.link.ice_secret = secret()?,
            "TRING_SECRET_KEY" => common.link.secret_key = secret()?,
            _ => {
                return Err(Failure::usage(format!(
                    "{name}: a peer inside this program has no environment of its own"
                )));
            }
        }
    }
    let (settings, role, phone_config) = match cli.command {
        Command::Call(call) => plan::of_call(call)?,
        Command::Listen(listen) => plan::of_listen(&listen, &BTreeMap::new())?,
        _ => return Err(Failure::usage("only call and listen run inside this program")),
    };
    Ok(start(Inside { settings, role, phone_config, windows }))
}

/// Starts the session. To be called in a tokio runtime.
pub(crate) fn start(inside: Inside) -> PeerHandle {
    let (told_tx, told) = mpsc::channel(TOLD_MAX);
    let (orders, orders_rx) = mpsc::channel(ORDERS_MAX);
    tokio::spawn(attend(inside, told_tx, orders_rx));
    PeerHandle { told, orders }
}

/// Hands events and orders to and fro until the session has ended.
async fn attend(inside: Inside, told: mpsc::Sender<PeerOutput>, mut orders: mpsc::Receiver<PeerInput>) {
    let (events_tx, mut events) = mpsc::channel(TOLD_MAX);
    let (commands_tx, commands) = mpsc::channel(ORDERS_MAX);
    let (interrupts_tx, interrupts) = mpsc::channel(INTERRUPTS_MAX);
    let mut running = tokio::spawn(run(inside, events_tx, Orders { commands, interrupts }));
    let status = loop {
        tokio::select! {
            Some(event) = events.recv() => {
                if told.send(PeerOutput::Event(event)).await.is_err() {
                    break give_up(&mut running).await;
                }
            }
            order = orders.recv() => match order {
                Some(PeerInput::Control(line)) => {
                    if let Some(line) = control::parse(line.as_bytes()) {
                        // A session that takes no commands any more is about to end.
                        let _ending = commands_tx.try_send(line);
                    }
                }
                Some(PeerInput::Interrupt) => {
                    // A third one adds nothing.
                    let _enough = interrupts_tx.try_send(());
                }
                Some(PeerInput::Kill) | None => break give_up(&mut running).await,
            },
            ended = &mut running => break ended.ok().map(|status| i32::from(status.code())),
        }
    };
    // What it said before its end is told before its end.
    while let Ok(event) = events.try_recv() {
        if told.send(PeerOutput::Event(event)).await.is_err() {
            return;
        }
    }
    // A test that is over does not listen any more.
    let _nobody = told.send(PeerOutput::Ended(status)).await;
}

async fn run(inside: Inside, events: mpsc::Sender<Value>, orders: Orders) -> ExitStatus {
    let Inside { settings, role, phone_config, windows } = inside;
    let printer = Arc::new(Printer::to_channel(events));
    let ended = session::run(settings, role, phone_config, Arc::clone(&printer), windows, Driver::Owner(orders)).await;
    ended.unwrap_or_else(|Failure { status, text }| {
        printer.tell(&ProgramEvent::Error { status: status.code(), text });
        status
    })
}

/// Drops the session, and waits until it is gone; it has no exit status.
async fn give_up(running: &mut JoinHandle<ExitStatus>) -> Option<i32> {
    running.abort();
    // An error means that it was given up, which is what was wanted.
    let _given_up = running.await;
    None
}
