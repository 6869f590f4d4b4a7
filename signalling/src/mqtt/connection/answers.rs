//! Whether the broker answers what it was asked: a connection over a path that is gone looks alive for many seconds.
//! Pure: time comes in.

use std::time::Duration;

use tokio::time::Instant;

use crate::mqtt::client::NotSent;

/// What is published is acknowledged at once. On a bad line TCP may have to send it again a few times.
const ANSWER_WAIT: Duration = Duration::from_secs(5);

/// The same where there is a reason to doubt the connection.
const DOUBTFUL_WAIT: Duration = Duration::from_millis(1500);

/// Whether something was sent that the broker answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Yes,
    No,
}

impl From<Result<(), NotSent>> for Asked {
    fn from(sent: Result<(), NotSent>) -> Self {
        if sent.is_ok() { Self::Yes } else { Self::No }
    }
}

/// Questions that wait for an answer.
#[derive(Debug, Default)]
pub(super) struct Answers {
    waiting: u32,
    deadline: Option<Instant>,
}

impl Answers {
    /// Something that the broker answers was to be sent.
    pub(super) fn asked_if(&mut self, asked: Asked, now: Instant) {
        match asked {
            Asked::Yes => self.wait(now + ANSWER_WAIT),
            Asked::No => {}
        }
    }

    /// The same, where there is a reason to doubt the connection.
    pub(super) fn asked_in_doubt(&mut self, now: Instant) {
        self.wait(now + DOUBTFUL_WAIT);
    }

    /// An answer came.
    pub(super) fn answered(&mut self, now: Instant) {
        self.waiting = self.waiting.saturating_sub(1);
        self.heard(now);
    }

    /// Anything else came: the broker is there, and may be slow.
    pub(super) fn heard(&mut self, now: Instant) {
        self.deadline = (self.waiting > 0).then(|| now + ANSWER_WAIT);
    }

    /// When the connection counts as dead.
    pub(super) const fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    fn wait(&mut self, until: Instant) {
        self.waiting += 1;
        self.deadline = Some(self.deadline.map_or(until, |deadline| deadline.min(until)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_that_does_not_answer_is_given_up() {
        let (mut answers, now) = (Answers::default(), Instant::now());
        let second = Duration::from_secs(1);
        assert_eq!(answers.deadline(), None, "nothing was asked");
        answers.asked_if(Asked::No, now);
        assert_eq!(answers.deadline(), None, "it was not sent");
        answers.asked_if(Asked::Yes, now);
        answers.asked_if(Asked::Yes, now + second);
        assert_eq!(answers.deadline(), Some(now + ANSWER_WAIT), "the first counts");
        answers.answered(now + second);
        assert_eq!(answers.deadline(), Some(now + second + ANSWER_WAIT), "one more is to come");
        answers.asked_in_doubt(now + second);
        assert_eq!(answers.deadline(), Some(now + second + DOUBTFUL_WAIT), "there is less patience in doubt");
        answers.heard(now + second);
        assert_eq!(answers.deadline(), Some(now + second + ANSWER_WAIT), "the doubt is over");
        answers.answered(now + second);
        answers.answered(now + second);
        assert_eq!(answers.deadline(), None);
        answers.answered(now);
        answers.heard(now);
        assert_eq!(answers.deadline(), None, "answers to what was asked while connecting");
    }
}
