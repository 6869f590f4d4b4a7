//! Decides which datagrams of our DTLS handshake are sent again, and when (RFC 6347 §4.2.4). Pure: datagrams of both
//! directions and the time come in, with each datagram of ours the route that it left by.
//!
//! The engine (`rtc-dtls` 0.21.1) sends a flight again only after a second, and never again once half an answer has
//! come: it then waits for the other half without a timer. So this does, with copies of the datagrams:
//!
//! - a flight of ours that has no answer is sent again after [`FIRST_WAIT`], then after twice that, and so on
//! - when the other side repeats its flight, it has not received ours: ours is sent again, at most every [`GAP`]
//! - the handshake is over for the client when the server's last flight has come, and for the server, which sends last,
//!   when something encrypted comes that only a finished client sends
//!
//! A copy of a record that did arrive has the same record number, and every receiver drops it as a replay
//! (§4.1.2.6). That is why a repeated flight is told by the numbers of its messages: a copy of the client's last flight
//! makes no engine send its own again, and it does not have to.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::dtls::{self, Part, Record};

/// How long a flight waits before it is sent again. Browsers wait as long; on a slower path a copy is dropped.
const FIRST_WAIT: Duration = Duration::from_millis(50);

/// The longest wait between two copies. On a line that loses every second packet, a call still gets through.
const WAIT_MAX: Duration = Duration::from_millis(400);

/// Two sides that answer each copy with a copy would do nothing else.
const GAP: Duration = Duration::from_millis(25);

/// A flight without an answer is given up: a call without media ends sooner.
const GIVE_UP_AFTER: Duration = Duration::from_secs(10);

/// Datagrams kept of one flight; a chain of certificates fits.
const DATAGRAMS_MAX: usize = 8;

/// Parts of the other side's handshake kept in mind; a whole one has about ten.
const PARTS_MAX: usize = 64;

/// The flights of one DTLS association. `R` is how a datagram leaves.
#[derive(Debug)]
pub(crate) struct Flights<R> {
    state: State<R>,
    /// What came of the other side's handshake.
    heard: BTreeSet<Part>,
    /// The first part that came since our flight began.
    answer: Option<Part>,
    /// Who refused the other, as far as is known.
    refused: Option<Refused>,
}

/// What was seen of a DTLS handshake.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HandshakeSeen {
    /// Nothing of the other side's came.
    #[default]
    Nothing,
    /// Something of it came.
    Begun,
    /// One side ended it by a fatal alert.
    Refused(Refused),
}

/// Who refused a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// This side.
    Here,
    /// The other side, or whoever sent a datagram in its name: a plain alert has no proof.
    There,
}

#[derive(Debug)]
enum State<R> {
    /// Nothing of ours waits for an answer.
    Quiet,
    Waiting(Flight<R>),
    Over,
}

#[derive(Debug)]
struct Flight<R> {
    datagrams: Vec<Datagram<R>>,
    /// The part with which the other side's flight began that this one answers.
    answers: Option<Part>,
    place: Place,
    sent: Instant,
    wait: Duration,
    due: Instant,
    given_up: Instant,
}

#[derive(Debug)]
struct Datagram<R> {
    route: R,
    contents: Bytes,
    parts: Vec<Part>,
}

impl<R> Default for Flights<R> {
    fn default() -> Self {
        Self { state: State::Quiet, heard: BTreeSet::new(), answer: None, refused: None }
    }
}

impl<R: Clone> Flights<R> {
    /// The engine sent a datagram.
    pub(crate) fn sent(&mut self, datagram: &[u8], route: R, now: Instant) {
        if self.is_over() {
            return;
        }
        let mut parts = Vec::new();
        for record in dtls::records(dtls::carried(datagram)) {
            match record {
                Record::Handshake(part) => parts.push(part),
                Record::Refusal => {
                    self.refused.get_or_insert(Refused::Here);
                    return self.state = State::Over;
                }
                Record::Alert => return self.state = State::Over,
                Record::Data => {}
            }
        }
        if parts.is_empty() {
            return;
        }
        let datagram = Datagram { route, contents: Bytes::copy_from_slice(datagram), parts };
        match &mut self.state {
            State::Waiting(flight) if self.answer.is_none() || flight.has(&datagram) => flight.add(datagram, now),
            State::Waiting(_) | State::Quiet => {
                let place = if self.heard.contains(&Part::Finished) { Place::Last } else { Place::Before };
                self.state = State::Waiting(Flight::new(datagram, self.answer.take(), place, now));
            }
            State::Over => {}
        }
    }

    /// A datagram came.
    pub(crate) fn received(&mut self, datagram: &[u8], now: Instant) {
        let datagram = dtls::carried(datagram);
        if self.is_over() || !(dtls::is_dtls(datagram) || dtls::is_media(datagram)) {
            return;
        }
        let (mut repeated, mut news, mut is_encrypted) = (None, false, dtls::is_media(datagram));
        for record in dtls::records(datagram) {
            match record {
                Record::Handshake(part) if self.heard.len() < PARTS_MAX && self.heard.insert(part) => {
                    news = true;
                    self.answer = Some(self.answer.map_or(part, |first| first.min(part)));
                }
                Record::Handshake(part) => repeated = repeated.max(Some(part)),
                Record::Data => is_encrypted = true,
                // Anybody may write one: the engine judges it, and the flights go on.
                Record::Refusal => _ = self.refused.get_or_insert(Refused::There),
                Record::Alert => {}
            }
        }
        let State::Waiting(flight) = &mut self.state else { return };
        let is_answered = match flight.place {
            Place::Before => [Part::ChangeCipherSpec, Part::Finished].iter().all(|part| self.heard.contains(part)),
            Place::Last => is_encrypted,
        };
        if flight.has_finished() && is_answered {
            self.state = State::Over;
        } else if !news && repeated.is_some() && repeated >= flight.answers {
            flight.due = flight.due.min(flight.sent + GAP).max(now);
        }
    }

    /// When [`Flights::poll`] has something to do; `None`: not before the next datagram.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::Waiting(flight) => Some(flight.due.min(flight.given_up)),
            State::Quiet | State::Over => None,
        }
    }

    /// What is to be sent again now, each datagram by the route that its latest copy from the engine left by.
    pub(crate) fn poll(&mut self, now: Instant) -> Vec<(R, Bytes)> {
        let State::Waiting(flight) = &mut self.state else { return Vec::new() };
        if now >= flight.given_up {
            self.state = State::Quiet;
            return Vec::new();
        }
        if now < flight.due {
            return Vec::new();
        }
        flight.wait = (flight.wait * 2).min(WAIT_MAX);
        flight.sent_at(now);
        flight.datagrams.iter().map(|datagram| (datagram.route.clone(), datagram.contents.clone())).collect()
    }

    /// What was seen so far.
    pub(crate) fn seen(&self) -> HandshakeSeen {
        match self.refused {
            Some(refused) => HandshakeSeen::Refused(refused),
            None if self.heard.is_empty() => HandshakeSeen::Nothing,
            None => HandshakeSeen::Begun,
        }
    }

    /// True when the handshake has ended, well or not: nothing is kept, and nothing will be sent again.
    pub(crate) const fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }
}

/// Where in the handshake a flight is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// The other side has a flight to come.
    Before,
    /// The other side has finished: this is the server's last flight, which has no answer.
    Last,
}

impl<R> Flight<R> {
    fn new(datagram: Datagram<R>, answers: Option<Part>, place: Place, now: Instant) -> Self {
        Self {
            datagrams: vec![datagram],
            answers,
            place,
            sent: now,
            wait: FIRST_WAIT,
            due: now + FIRST_WAIT,
            given_up: now + GIVE_UP_AFTER,
        }
    }

    fn has(&self, datagram: &Datagram<R>) -> bool {
        self.datagrams.iter().any(|known| known.parts == datagram.parts)
    }

    /// One more datagram, or a copy by the engine, whose route and record numbers count from now on.
    fn add(&mut self, datagram: Datagram<R>, now: Instant) {
        match self.datagrams.iter().position(|known| known.parts == datagram.parts) {
            Some(index) => self.datagrams[index] = datagram,
            None if self.datagrams.len() < DATAGRAMS_MAX => self.datagrams.push(datagram),
            None => return,
        }
        self.sent_at(now);
    }

    fn sent_at(&mut self, now: Instant) {
        (self.sent, self.due) = (now, now + self.wait);
    }

    fn has_finished(&self) -> bool {
        self.datagrams.iter().any(|datagram| datagram.parts.contains(&Part::Finished))
    }
}

#[cfg(test)]
#[path = "dtls_flights_tests.rs"]
mod tests;
