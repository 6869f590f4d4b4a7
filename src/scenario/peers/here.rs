//! A peer as a session inside this process: for many peers at once, of which a process each would be too much.
//!
//! - out of it: its events, then its end; logs stay in the program's own
//! - into it: commands, interrupts; when it is killed the session is dropped where it stands
//!
//! Signals are the program's: a Ctrl-C is for the one who runs the peers, who ends them in order.

use std::sync::Arc;

use media::display::window::WindowClient;
use serde_json::Value;
use signalling::call::Manners;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::{ORDERS_MAX, Order, PeerHandle, TOLD_MAX, Told};
use crate::events::Event;
use crate::exit::{ExitStatus, Failure};
use crate::printer::Printer;
use crate::session::{self, Driver, Orders, Role, control};
use crate::settings::Settings;

/// Interrupts not yet heeded: the first hangs up, the second leaves at once.
const INTERRUPTS_MAX: usize = 2;

/// A session to be run.
pub(crate) struct Inside {
    /// As the options of `call` and `listen` resolve to.
    pub(crate) settings: Settings,
    /// Whom it calls, or that it listens.
    pub(crate) role: Role,
    /// How it goes about it.
    pub(crate) manners: Manners,
    /// Needed by every session, used by none that shows nothing.
    pub(crate) windows: WindowClient,
}

/// Starts the session. To be called in a tokio runtime.
pub(crate) fn start(inside: Inside) -> PeerHandle {
    let (told_tx, told) = mpsc::channel(TOLD_MAX);
    let (orders, orders_rx) = mpsc::channel(ORDERS_MAX);
    tokio::spawn(attend(inside, told_tx, orders_rx));
    PeerHandle { told, orders }
}

/// Hands events and orders to and fro until the session has ended.
async fn attend(inside: Inside, told: mpsc::Sender<Told>, mut orders: mpsc::Receiver<Order>) {
    let (events_tx, mut events) = mpsc::channel(TOLD_MAX);
    let (commands_tx, commands) = mpsc::channel(ORDERS_MAX);
    let (interrupts_tx, interrupts) = mpsc::channel(INTERRUPTS_MAX);
    let mut running = tokio::spawn(run(inside, events_tx, Orders { commands, interrupts }));
    let status = loop {
        tokio::select! {
            Some(event) = events.recv() => {
                if told.send(Told::Event(event)).await.is_err() {
                    break give_up(&mut running).await;
                }
            }
            order = orders.recv() => match order {
                Some(Order::Control(line)) => {
                    if let Some(line) = control::parse(line.as_bytes()) {
                        // A session that takes no commands any more is about to end.
                        let _ending = commands_tx.try_send(line);
                    }
                }
                Some(Order::Interrupt) => {
                    // A third one adds nothing.
                    let _enough = interrupts_tx.try_send(());
                }
                Some(Order::Kill) | None => break give_up(&mut running).await,
            },
            ended = &mut running => break ended.ok().map(|status| i32::from(status.code())),
        }
    };
    // What it said before its end is told before its end.
    while let Ok(event) = events.try_recv() {
        if told.send(Told::Event(event)).await.is_err() {
            return;
        }
    }
    // A test that is over does not listen any more.
    let _nobody = told.send(Told::Ended(status)).await;
}

async fn run(inside: Inside, events: mpsc::Sender<Value>, orders: Orders) -> ExitStatus {
    let Inside { settings, role, manners, windows } = inside;
    let printer = Arc::new(Printer::to_channel(events));
    let ended = session::run(settings, role, manners, Arc::clone(&printer), windows, Driver::Owner(orders)).await;
    ended.unwrap_or_else(|Failure { status, text }| {
        printer.tell(&Event::Error { status: status.code(), text });
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
