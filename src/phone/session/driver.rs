//! Who has a say in a session: the program's user, or whoever runs it inside the program.

use tokio::sync::mpsc;

use super::control;
use crate::platform::signals::{self, End, Ends};

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
    pub(crate) commands: mpsc::Receiver<control::CommandLine>,
    /// To end in order, as by Ctrl-C.
    pub(crate) interrupts: mpsc::Receiver<()>,
}

/// From where a session is told to end.
pub(super) enum Signals {
    OfProgram(Ends),
    OfOwner(mpsc::Receiver<()>),
}

impl Signals {
    /// The signals of this driver, and the commands where it gives them itself.
    pub(super) fn of(driver: Driver) -> (Self, Option<mpsc::Receiver<control::CommandLine>>) {
        match driver {
            Driver::User => (Self::OfProgram(signals::heed()), None),
            Driver::Owner(orders) => (Self::OfOwner(orders.interrupts), Some(orders.commands)),
        }
    }

    /// The next one. Loses nothing when it is dropped.
    pub(super) async fn next(&mut self) -> End {
        match self {
            Self::OfProgram(ends) => ends.next().await,
            Self::OfOwner(interrupts) => match interrupts.recv().await {
                Some(()) => End::Interrupt,
                // An owner that is gone gives the session up; nothing more comes from here.
                None => std::future::pending().await,
            },
        }
    }
}
