//! Messages of calls, in and out: what a peer may send, what it takes to arrive, what was dropped.

use std::time::Instant;

use signalling::dialect::{Delivery, Output};
use signalling::flood::Flood;
use signalling::id::{CallId, PeerId};
use signalling::wire::Message;
use tracing::debug;

use crate::phone::events::Signalling;
use crate::platform::clock::unix_ms;

/// See the module.
pub(super) struct Messages {
    pub(super) delivery: Delivery,
    flood: Flood,
    dropped: u64,
    /// The date of our last message, which no later one may be before.
    dated: u64,
}

impl Messages {
    pub(super) fn new(delivery: Delivery) -> Self {
        Self { delivery, flood: Flood::default(), dropped: 0, dated: 0 }
    }

    /// Sends a message of a call. After a bye nothing else of the call is sent again.
    pub(super) fn send(&mut self, to: PeerId, call: CallId, message: Message) -> Vec<Output> {
        if let Message::Bye { .. } = message {
            self.delivery.forget(&call);
        }
        let date = self.date();
        self.delivery.send(to, call, message, Instant::now(), date)
    }

    /// Now, by a clock that does not go back while the program runs: a sealed message of an earlier date counts as played
    /// back.
    fn date(&mut self) -> u64 {
        self.dated = self.dated.max(unix_ms());
        self.dated
    }

    /// Takes in what a peer published.
    ///
    /// # Errors
    /// Why it is dropped, for people.
    pub(super) fn receive(&mut self, from: &PeerId, payload: &[u8], now: Instant) -> Result<Vec<Output>, String> {
        if !self.flood.admits(from, now) {
            return Err("one peer sends too much".to_owned());
        }
        let date = self.date();
        self.delivery.receive(from.clone(), payload, date).map_err(|error| {
            debug!(%from, ?error, "message dropped");
            error.to_string()
        })
    }

    /// Counts a message that was not taken in; true for the first one, which is worth a warning.
    pub(super) fn count_dropped(&mut self) -> bool {
        self.dropped += 1;
        self.dropped == 1
    }

    /// What was not taken in, of a call that has ended too.
    pub(super) const fn figures(&self, candidates_left_out: u64) -> Signalling {
        Signalling { dropped: self.dropped, duplicates: self.delivery.duplicates(), candidates_left_out }
    }
}
