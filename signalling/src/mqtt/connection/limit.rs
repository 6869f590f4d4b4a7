//! How large a message may be for a broker that does not say so: one of version 3.1.1 closes the connection on a larger
//! one. Where that happens with the same message again, it is the message; then it is refused here, as a broker of
//! version 5 would have it, and the connection stays.

use std::time::{Duration, Instant};

/// Messages below this size are taken by every broker; what closed the connection then is something else.
const SUSPECT_BYTES_MIN: usize = 1024;

/// So many connections in a row that are closed on the same message are no accident.
const CLOSED_MAX: u32 = 2;

/// After this time a larger message is tried again: the limit of the broker may have been raised.
const FORGET_AFTER: Duration = Duration::from_secs(60);

/// What one broker seems to close the connection on.
#[derive(Debug, Default)]
pub(super) struct PacketLimit {
    suspect: Option<usize>,
    closed: u32,
    /// Since when a message of the size of the suspect is refused.
    known_since: Option<Instant>,
}

impl PacketLimit {
    /// The connection was closed with this message under way, if any; true when it may have been because of it.
    pub(super) fn closed_on(&mut self, suspect: Option<usize>, now: Instant) -> bool {
        let suspect = suspect.filter(|bytes| *bytes >= SUSPECT_BYTES_MIN);
        if suspect.is_none() {
            return false;
        }
        self.closed = if suspect == self.suspect { self.closed + 1 } else { 1 };
        self.suspect = suspect;
        if self.closed >= CLOSED_MAX {
            self.known_since = Some(now);
        }
        true
    }

    /// True when a message of this size would close the connection.
    pub(super) fn refuses(&mut self, bytes: usize, now: Instant) -> bool {
        let is_old = |since: Instant| now.saturating_duration_since(since) > FORGET_AFTER;
        if self.known_since.is_some_and(is_old) {
            *self = Self::default();
        }
        self.known_since.is_some() && self.suspect.is_some_and(|suspect| bytes >= suspect)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_closes_the_connection_twice_is_refused() {
        let (mut limit, now) = (PacketLimit::default(), Instant::now());
        assert!(!limit.closed_on(None, now), "nothing was under way");
        assert!(!limit.closed_on(Some(200), now), "no broker takes less");
        assert!(limit.closed_on(Some(5000), now));
        assert!(!limit.refuses(5000, now), "once may be an accident");
        assert!(limit.closed_on(Some(5000), now));
        assert!(limit.refuses(5000, now) && limit.refuses(9000, now) && !limit.refuses(4999, now));
        assert!(!limit.refuses(5000, now + FORGET_AFTER + Duration::from_secs(1)), "it may have been raised");
    }

    #[test]
    fn two_messages_are_no_proof() {
        let (mut limit, now) = (PacketLimit::default(), Instant::now());
        assert!(limit.closed_on(Some(5000), now) && limit.closed_on(Some(3000), now));
        assert!(!limit.refuses(5000, now));
    }
}
