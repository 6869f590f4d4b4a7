//! Whether to answer, asked at the terminal: one key is the answer.
//!
//! What was typed before the question is thrown away, and Enter answers nothing. While no question is open the terminal
//! is left alone: a view reads its keys there.
//!
//! - in: [`Prompt::open`], [`Prompt::close`]
//! - out: one [`Command`] a key, over a channel

use std::io;
use std::time::Duration;

use media::display::tty::{self, Keys, Place};
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;
use tracing::{debug, warn};

use super::control::{Command, CommandLine};

/// Answers that wait for the session; nobody types faster.
const ANSWERS_MAX: usize = 4;

/// Orders that wait for the task: one opens a question, one closes it.
const ORDERS_MAX: usize = 4;

/// How long a terminal may take to change its mode; then the session goes on.
const ORDER_PATIENCE: Duration = Duration::from_millis(250);

/// How often an open question looks for a key, and whether it still has the terminal.
const LOOK_EVERY: Duration = Duration::from_millis(30);

/// Most bytes of one key press; an arrow key has three, and a paste is no answer.
const KEYS_MAX: usize = 64;

/// The way to the task that reads keys.
#[derive(Debug)]
pub(super) struct Prompt {
    orders: mpsc::Sender<Order>,
    question: Question,
}

/// Whether a question is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    Open,
    Closed,
}

/// What the terminal is to be, and whom to tell when it is.
struct Order {
    question: Question,
    done: oneshot::Sender<()>,
}

impl Prompt {
    /// Takes single keys from now on; nothing typed before is one.
    pub(super) async fn open(&mut self) {
        self.order(Question::Open).await;
    }

    /// Gives the terminal its usual mode back.
    pub(super) async fn close(&mut self) {
        if self.question == Question::Open {
            self.order(Question::Closed).await;
        }
    }

    async fn order(&mut self, question: Question) {
        self.question = question;
        let (done, is_done) = oneshot::channel();
        let carried_out = async {
            if self.orders.send(Order { question, done }).await.is_ok() {
                // A task that has ended restored the terminal.
                let _ended = is_done.await;
            }
        };
        if tokio::time::timeout(ORDER_PATIENCE, carried_out).await.is_err() {
            debug!(?question, "the terminal is slow");
        }
    }
}

/// Begins to wait for questions.
pub(super) fn read_answers() -> (Prompt, mpsc::Receiver<CommandLine>) {
    let (orders, ordered) = mpsc::channel(ORDERS_MAX);
    let (answers, received) = mpsc::channel(ANSWERS_MAX);
    tokio::spawn(async move {
        match Keys::open() {
            Ok(keys) => serve(&keys, ordered, answers).await,
            Err(error) => warn!(%error, "no key can be read here: nobody can answer"),
        }
        tty::restore();
    });
    (Prompt { orders, question: Question::Closed }, received)
}

async fn serve(keys: &Keys, mut ordered: mpsc::Receiver<Order>, answers: mpsc::Sender<CommandLine>) {
    let (mut question, mut hint) = (Question::Closed, Hint::Due);
    let mut look = tokio::time::interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let is_open = question == Question::Open;
        let line = tokio::select! {
            order = ordered.recv() => {
                let Some(order) = order else { return };
                match order.question {
                    Question::Closed => tty::restore(),
                    Question::Open => {
                        hint = Hint::Due;
                        if let Err(error) = keys.begin() {
                            debug!(%error, "the terminal does not let keys through one by one");
                        }
                    }
                }
                question = order.question;
                // Who gave up waiting needs no answer.
                let _gone = order.done.send(());
                continue;
            }
            _ = look.tick(), if is_open => match pressed(keys) {
                Ok(Some(pressed)) => meaning(&pressed, &mut hint),
                Ok(None) => continue,
                Err(error) => return debug!(%error, "the terminal is gone"),
            },
        };
        if let Some(line) = line
            && answers.send(line).await.is_err()
        {
            return;
        }
    }
}

/// What was pressed, if anything. A shell may have taken the terminal away, or given it back in another mode.
fn pressed(keys: &Keys) -> io::Result<Option<Vec<u8>>> {
    if keys.begin()? == Place::Background {
        return Ok(None);
    }
    let mut bytes = [0; KEYS_MAX];
    match keys.read(&mut bytes) {
        Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(read) => Ok(Some(bytes[..read].to_vec())),
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether a wrong key is still to be told which ones are right: once a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hint {
    Due,
    Given,
}

/// What these keys mean; `None` for what is no answer and needs no word.
fn meaning(pressed: &[u8], hint: &mut Hint) -> Option<CommandLine> {
    match pressed.trim_ascii().to_ascii_lowercase().as_slice() {
        b"y" | b"yes" => Some(Ok(Command::Answer {})),
        b"n" | b"no" => Some(Ok(Command::Reject { text: None })),
        b"q" | b"quit" => Some(Ok(Command::Quit {})),
        _ => match std::mem::replace(hint, Hint::Given) {
            Hint::Due => Some(Err("type y to answer, n to decline, q to quit".to_owned())),
            Hint::Given => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_key_is_the_answer_and_enter_is_none() {
        let said = |keys: &[u8]| meaning(keys, &mut Hint::Due);
        for yes in [&b"y"[..], b"Y", b"yes\n", b"\ry"] {
            assert_eq!(said(yes), Some(Ok(Command::Answer {})), "{yes:?}");
        }
        assert_eq!(said(b"n"), Some(Ok(Command::Reject { text: None })));
        assert_eq!(said(b"q"), Some(Ok(Command::Quit {})));
        for other in [&b"\r"[..], b"\n", b" ", b"\x1b[A", b"x", b"hey", b"\xc3\xbc"] {
            assert!(said(other).is_some_and(|line| line.unwrap_err().contains("y to answer")), "{other:?}");
        }
    }

    #[test]
    fn a_wrong_key_is_told_so_once() {
        let mut hint = Hint::Due;
        assert!(meaning(b"x", &mut hint).is_some());
        assert!(meaning(b"x", &mut hint).is_none());
        assert!(meaning(b"y", &mut hint).is_some());
    }
}
