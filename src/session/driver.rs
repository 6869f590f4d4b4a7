//! Who has a say in a session: the program's user, or whoever runs it inside the program.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use super::{Input, control};
use crate::exit::Failure;

/// Who drives a session.
pub(crate) enum Driver {
    /// The program's user: signals, and keys or commands on standard input.
    User,
    /// Whoever runs it inside the program: signals and standard input are not the session's.
    Owner(Orders),
}

/// What an owner orders.
pub(crate) struct Orders {
    /// Commands, as read from a line of `--control`.
    pub(crate) commands: mpsc::Receiver<control::Line>,
    /// To end in order, as by Ctrl-C.
    pub(crate) interrupts: mpsc::Receiver<()>,
}

/// From where a session is told to end.
pub(super) enum Signals {
    OfProgram { interrupt: Signal, terminate: Signal, terminal_gone: Signal },
    OfOwner(mpsc::Receiver<()>),
}

impl Signals {
    /// The signals of this driver, and the commands where it gives them itself.
    pub(super) fn of(driver: Driver) -> Result<(Self, Option<mpsc::Receiver<control::Line>>), Failure> {
        let listen =
            |kind| signal(kind).map_err(|error| Failure::internal(format!("cannot listen for signals: {error}")));
        match driver {
            Driver::User => {
                let (interrupt, terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
                let terminal_gone = listen(SignalKind::hangup())?;
                Ok((Self::OfProgram { interrupt, terminate, terminal_gone }, None))
            }
            Driver::Owner(orders) => Ok((Self::OfOwner(orders.interrupts), Some(orders.commands))),
        }
    }

    /// The next one. Loses nothing when it is dropped.
    pub(super) async fn next(&mut self) -> Input {
        match self {
            Self::OfProgram { interrupt, terminate, terminal_gone } => tokio::select! {
                biased;
                _ = interrupt.recv() => Input::Interrupted,
                _ = terminate.recv() => Input::Terminated,
                _ = terminal_gone.recv() => Input::Terminated,
            },
            Self::OfOwner(interrupts) => match interrupts.recv().await {
                Some(()) => Input::Interrupted,
                // An owner that is gone gives the session up; nothing more comes from here.
                None => std::future::pending().await,
            },
        }
    }
}
