//! Where a session takes signals and commands from: the user, or the code that runs it in-process.

use signalling::mqtt::LinkEvent;
use tokio::sync::mpsc;

use super::control::{self, CommandLine};
use super::prompt::{self, Prompt};
use crate::phone::settings::Control;
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
    pub(crate) commands: mpsc::Receiver<CommandLine>,
    /// To end in order, as by Ctrl-C.
    pub(crate) interrupts: mpsc::Receiver<()>,
}

/// All that reaches a session from outside, its calls aside.
pub(super) struct Inputs {
    pub(super) link_events: mpsc::Receiver<LinkEvent>,
    pub(super) signals: Signals,
    /// `None`: nobody gives any, or no more.
    pub(super) commands: Option<mpsc::Receiver<CommandLine>>,
    /// Answers of a person at the terminal.
    pub(super) keys: Option<mpsc::Receiver<CommandLine>>,
}

impl Inputs {
    /// Begins to listen to whoever drives the session; also the prompt, where a person is to be asked at the terminal.
    pub(super) fn new(
        link_events: mpsc::Receiver<LinkEvent>,
        driver: Driver,
        control: Control,
        asks: bool,
    ) -> (Self, Option<Prompt>) {
        let (signals, commands, asks) = match (driver, control) {
            (Driver::Owner(Orders { commands, interrupts }), _) => {
                (Signals::OfOwner(interrupts), Some(commands), false)
            }
            (Driver::User, Control::Stdin) => {
                (Signals::OfProgram(signals::heed()), Some(control::read_commands(tokio::io::stdin())), false)
            }
            (Driver::User, Control::Terminal) => (Signals::OfProgram(signals::heed()), None, asks),
        };
        let (prompt, keys) = if asks {
            let (prompt, answers) = prompt::read_answers();
            (Some(prompt), Some(answers))
        } else {
            (None, None)
        };
        (Self { link_events, signals, commands, keys }, prompt)
    }
}

/// What comes next; never, without a channel.
pub(super) async fn receive<T>(channel: &mut Option<mpsc::Receiver<T>>) -> Option<T> {
    match channel {
        Some(channel) => channel.recv().await,
        None => std::future::pending().await,
    }
}

/// From where a session is told to end.
pub(super) enum Signals {
    OfProgram(Ends),
    OfOwner(mpsc::Receiver<()>),
}

impl Signals {
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
