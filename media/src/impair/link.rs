//! One direction of a network: packets go in and come out later, or not at all.
//!
//! What happens to a packet, in this order:
//!
//! - it is lost ([`Counters::lost`]), or doubled ([`Counters::duplicated`]); the copy follows its original
//! - while the link is stalled it waits at the gate; at the end of the stall all that waited go on at once
//! - where there is a rate it waits in the queue for those before it, or is dropped because that would take too long
//!   ([`Counters::dropped`]), and then takes its own time on the wire
//! - it is under way for the delay and a draw of the jitter; some are held back, and later ones overtake them
//!   ([`Counters::reordered`])
//!
//! Every step happens at its own time, however late the caller asks for it.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::random::Random;
use super::spec::{Impairment, Rate};

/// How long a queue may get, in time, where the specification does not say: what routers at home hold when they hold
/// too much.
pub const QUEUE_DEFAULT: Duration = Duration::from_millis(300);

/// How long a packet is held back that is to be overtaken: longer than the 20 ms between two packets of sound, so that
/// one of its own stream overtakes it.
pub const REORDER_HOLD: Duration = Duration::from_millis(30);

/// Packets in a link at most: 16 s of video at 8 Mbit/s, about 16 MB. What comes above it is dropped
/// ([`Counters::overflowed`]).
pub const PACKETS_MAX: usize = 16_384;

/// Bytes of the headers of IPv4 (20) and UDP (8) that a datagram has on the wire.
const HEADER_BYTES: usize = 28;

/// What is drawn from when no seed is given: a fixed one, so that two runs are alike.
const SEED_DEFAULT: u64 = 1;

/// What became of the packets so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Came out, copies included.
    pub passed: u64,
    /// Lost by `loss`.
    pub lost: u64,
    /// Dropped because the queue was full.
    pub dropped: u64,
    /// Dropped because the link held [`PACKETS_MAX`].
    pub overflowed: u64,
    /// Copies made.
    pub duplicated: u64,
    /// Came out after one that went in later (RFC 4737 §3).
    pub reordered: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Link<P> {
    spec: Impairment,
    random: Random,
    /// The last packet was lost, and the burst goes on unless drawn otherwise.
    in_burst: bool,
    stall: Stall,
    gate: VecDeque<Packet<P>>,
    queue: VecDeque<Packet<P>>,
    queued_bits: u64,
    wire: Option<(Packet<P>, Instant)>,
    /// On their way, by when they arrive.
    path: BTreeMap<(Instant, u64), P>,
    /// When the last one of those that keep their order arrives.
    last_arrival: Option<Instant>,
    numbers: u64,
    /// One more than the highest number that came out.
    next_out: u64,
    counters: Counters,
}

#[derive(Debug)]
struct Packet<P> {
    content: P,
    bits: u64,
    number: u64,
}

/// Whether anything passes the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stall {
    None,
    /// Begins with the first packet.
    Due(Duration),
    Until(Instant),
}

impl<P: Clone> Link<P> {
    /// A link; a stall that `spec` asks for begins with the first packet.
    #[must_use]
    pub fn new(spec: Impairment) -> Self {
        let stall = if spec.stall.is_zero() { Stall::None } else { Stall::Due(spec.stall) };
        Self {
            spec,
            random: Random::new(spec.seed.unwrap_or(SEED_DEFAULT)),
            in_burst: false,
            stall,
            gate: VecDeque::new(),
            queue: VecDeque::new(),
            queued_bits: 0,
            wire: None,
            path: BTreeMap::new(),
            last_arrival: None,
            numbers: 0,
            next_out: 0,
            counters: Counters::default(),
        }
    }

    /// Changes what the link does. What is in it stays there: what waits at the gate waits for the end of the new stall,
    /// which begins now, or goes on; what waits in the queue goes on at the new rate; what is under way arrives as it
    /// would have.
    pub fn set(&mut self, spec: Impairment, now: Instant) {
        self.advance(now);
        let before = std::mem::replace(&mut self.spec, spec);
        if let Some(seed) = spec.seed {
            self.random = Random::new(seed);
        }
        self.in_burst = false;
        self.change_rate(before.rate, now);
        if spec.stall.is_zero() {
            self.open_gate(now);
        } else {
            self.stall = Stall::Until(now + spec.stall);
        }
    }

    /// What the link does now.
    #[must_use]
    pub const fn spec(&self) -> &Impairment {
        &self.spec
    }

    /// Puts a packet of `bytes` of UDP payload in.
    pub fn push(&mut self, content: P, bytes: usize, now: Instant) {
        self.advance(now);
        if let Stall::Due(length) = self.stall {
            self.stall = Stall::Until(now + length);
        }
        if self.is_lost() {
            self.counters.lost += 1;
            return;
        }
        if self.random.hits(self.spec.duplicate) {
            self.counters.duplicated += 1;
            self.enter(content.clone(), bytes, now);
        }
        self.enter(content, bytes, now);
    }

    /// The next packet that has arrived by now; call until there is none.
    pub fn poll(&mut self, now: Instant) -> Option<P> {
        self.advance(now);
        let (at, number) = *self.path.first_key_value()?.0;
        if at > now {
            return None;
        }
        let content = self.path.remove(&(at, number))?;
        self.counters.passed += 1;
        if number < self.next_out {
            self.counters.reordered += 1;
        }
        self.next_out = self.next_out.max(number + 1);
        Some(content)
    }

    /// When [`Link::poll`] may have something without another packet.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let gate = match self.stall {
            Stall::Until(at) if !self.gate.is_empty() => Some(at),
            Stall::Until(_) | Stall::Due(_) | Stall::None => None,
        };
        let wire = self.wire.as_ref().map(|(_, at)| *at);
        let path = self.path.first_key_value().map(|((at, _), _)| *at);
        [gate, wire, path].into_iter().flatten().min()
    }

    /// True when packets may as well go past the link: it does nothing, and nothing is in it.
    #[must_use]
    pub fn is_clear(&self) -> bool {
        self.spec.is_none() && self.held() == 0
    }

    /// Packets in the link.
    #[must_use]
    pub fn held(&self) -> usize {
        self.gate.len() + self.queue.len() + usize::from(self.wire.is_some()) + self.path.len()
    }

    /// What became of the packets so far.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// Draws whether the next packet is lost: each by itself, or by the two states of Gilbert and Elliott (Elliott 1963),
    /// where all are lost in the bad state and none in the good one.
    fn is_lost(&mut self) -> bool {
        let loss = self.spec.loss;
        let lost = match self.spec.burst {
            Some(burst) if !loss.is_all() => {
                let leave_bad = 1.0 / burst.mean();
                let enter_bad = leave_bad * loss.fraction() / (1.0 - loss.fraction());
                if self.in_burst { !self.random.chance(leave_bad) } else { self.random.chance(enter_bad) }
            }
            Some(_) | None => self.random.hits(loss),
        };
        self.in_burst = lost;
        lost
    }

    fn enter(&mut self, content: P, bytes: usize, now: Instant) {
        if self.held() >= PACKETS_MAX {
            self.counters.overflowed += 1;
            return;
        }
        let packet = Packet { content, bits: wire_bits(bytes), number: self.numbers };
        self.numbers += 1;
        match self.stall {
            Stall::Until(_) => self.gate.push_back(packet),
            Stall::None | Stall::Due(_) => self.enqueue(packet, now),
        }
    }

    /// Lets happen what was due by now, in the order of time.
    fn advance(&mut self, now: Instant) {
        loop {
            let opens = match self.stall {
                Stall::Until(at) if at <= now => Some(at),
                Stall::Until(_) | Stall::Due(_) | Stall::None => None,
            };
            let sent = self.wire.as_ref().map(|(_, at)| *at).filter(|at| *at <= now);
            match (opens, sent) {
                (Some(opens), sent) if sent.is_none_or(|sent| opens < sent) => self.open_gate(opens),
                (_, Some(sent)) => self.leave_wire(sent),
                (Some(_) | None, None) => return,
            }
        }
    }

    fn open_gate(&mut self, at: Instant) {
        self.stall = Stall::None;
        for packet in std::mem::take(&mut self.gate) {
            self.enqueue(packet, at);
        }
    }

    fn enqueue(&mut self, packet: Packet<P>, at: Instant) {
        let Some(rate) = self.spec.rate else { return self.depart(packet, at) };
        let Some((_, free_at)) = &self.wire else {
            let sent_at = at + rate.time_for(packet.bits);
            self.wire = Some((packet, sent_at));
            return;
        };
        let wait = free_at.saturating_duration_since(at) + rate.time_for(self.queued_bits);
        if wait > self.spec.queue.unwrap_or(QUEUE_DEFAULT) {
            self.counters.dropped += 1;
            return;
        }
        self.queued_bits += packet.bits;
        self.queue.push_back(packet);
    }

    /// The packet on the wire is through at `at`, and the next begins.
    fn leave_wire(&mut self, at: Instant) {
        if let Some((packet, _)) = self.wire.take() {
            self.depart(packet, at);
        }
        if let (Some(rate), Some(next)) = (self.spec.rate, self.queue.pop_front()) {
            self.queued_bits -= next.bits;
            let sent_at = at + rate.time_for(next.bits);
            self.wire = Some((next, sent_at));
        }
    }

    /// What is on the wire and in the queue goes on at the rate that the specification has now.
    fn change_rate(&mut self, before: Option<Rate>, now: Instant) {
        match (before, self.spec.rate) {
            (Some(before), Some(rate)) => {
                if let Some((_, sent_at)) = &mut self.wire {
                    *sent_at = now + rate.time_for(before.bits_in(sent_at.saturating_duration_since(now)));
                }
            }
            (_, None) => {
                let waiting = self.wire.take().map(|(packet, _)| packet).into_iter();
                let waiting: Vec<Packet<P>> = waiting.chain(std::mem::take(&mut self.queue)).collect();
                self.queued_bits = 0;
                waiting.into_iter().for_each(|packet| self.depart(packet, now));
            }
            // Nothing was waiting.
            (None, Some(_)) => {}
        }
    }

    /// The packet is under way from `at` on.
    fn depart(&mut self, packet: Packet<P>, at: Instant) {
        let arrival = at + self.spec.delay + self.random.time_below(self.spec.jitter);
        let arrival = self.last_arrival.map_or(arrival, |last| last.max(arrival));
        if self.random.hits(self.spec.reorder) {
            self.path.insert((arrival + REORDER_HOLD, packet.number), packet.content);
        } else {
            self.last_arrival = Some(arrival);
            self.path.insert((arrival, packet.number), packet.content);
        }
    }
}

/// Bits on the wire of a datagram with `bytes` of payload: headers of IPv4 and UDP included.
#[must_use]
pub const fn wire_bits(bytes: usize) -> u64 {
    (bytes + HEADER_BYTES) as u64 * 8
}
