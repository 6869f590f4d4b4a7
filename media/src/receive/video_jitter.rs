//! The video jitter buffer: packets in, whole pictures in decoding order out.
//!
//! A picture is handed out the moment it is whole, without added delay; while repairs take long, all are held back by
//! as much, so that they come evenly. A gap is waited for, as long as a retransmission can take; then everything up to
//! the next keyframe is left out, because a decoder that misses a reference shows garbage. Reads no clock.
//!
//! - packets → [`PacketStore`], which knows whether a picture is whole
//! - [`Repair`]: how long a gap is waited for, by the round trip and the loss
//! - [`PlayoutDelay`]: when a whole picture is due
//! - [`VideoJitter`] decides what to wait for, and what to give up

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::network_loss::RecentLoss;
use super::packet_store::{Inserted, PacketStore, Span, Taken};
use super::playout_delay::{PlayoutDelay, Ready};
use super::repair::Repair;
use crate::congestion::round_trip::RoundTrip;
use crate::frame::VideoCodec;
use crate::rtp::{RtpPacket, SequenceUnwrapper};

/// Packets held at most: two seconds at 8 Mbit/s. More means that the other side floods.
const PACKETS_MAX: usize = 2048;

/// So many late packets in a row are a sender that restarted, not a network that delays.
const LATE_RUN_MAX: u32 = 64;

/// What comes out.
#[derive(Debug)]
pub enum Output {
    /// A whole picture, next in decoding order.
    Picture {
        /// Shape as in [`crate::frame::EncodedVideo`].
        data: Bytes,
        /// True when a decoder can start here.
        keyframe: bool,
        /// Its codec.
        codec: VideoCodec,
        /// RTP time stamp.
        timestamp: u32,
        /// When its last packet came.
        arrived: Instant,
        /// When it was to be shown: once all before it could be, and later while pictures are held back.
        due: Instant,
    },
    /// Nothing can be shown before a keyframe comes.
    KeyframeNeeded,
}

/// What happened to packets so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets that came for the first time.
    pub received: u64,
    /// Packets that came again, by retransmission or by the network.
    pub duplicates: u64,
    /// Packets that came after they were given up.
    pub late: u64,
    /// Packets that were given up.
    pub lost: u64,
    /// Whole pictures left out because a keyframe was missing before them.
    pub undecodable: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub struct VideoJitter {
    sequences: SequenceUnwrapper,
    packets: PacketStore,
    progress: Progress,
    gap: Option<Gap>,
    held: Option<Held>,
    playout: PlayoutDelay,
    /// Since when the picture that was handed out last could be shown.
    last_ready: Option<Instant>,
    /// The highest number that came, and what was lost on the way there.
    highest: Option<i64>,
    loss: RecentLoss,
    round_trip: RoundTrip,
    /// Packets in a row that came after their turn.
    late_run: u32,
    counters: Counters,
}

/// The missing packet that is waited for.
#[derive(Clone, Copy, Debug)]
struct Gap {
    number: i64,
    /// When a later packet came in its place.
    since: Instant,
}

/// A whole picture that is not due yet.
#[derive(Clone, Copy, Debug)]
struct Held {
    first: i64,
    ready: Instant,
    due: Instant,
}

#[derive(Debug, Default)]
enum Progress {
    /// Nothing was handed out yet: the first keyframe is awaited.
    #[default]
    Starting,
    /// A picture was given up: a keyframe is needed, and packets before this number come too late.
    Restarting { from: i64 },
    /// The next packet to hand out.
    Flowing { next: i64 },
}

impl VideoJitter {
    /// Takes in what is known of the round trip: waits follow it.
    pub fn set_round_trip(&mut self, round_trip: RoundTrip) {
        self.round_trip = round_trip;
    }

    /// Takes in a packet of `codec`.
    pub fn insert(&mut self, packet: RtpPacket, codec: VideoCodec) {
        let number = self.sequences.unwrap(packet.sequence);
        let history = match self.progress {
            Progress::Starting => false,
            Progress::Restarting { from } => number < from,
            Progress::Flowing { next } => number < next,
        };
        if history {
            self.counters.late += 1;
            self.late_run += 1;
            if self.late_run < LATE_RUN_MAX {
                return;
            }
            // Not late: the sender began to count anew.
            self.begin_anew();
            return self.insert(packet, codec);
        }
        self.late_run = 0;
        self.count_loss(number);
        match self.packets.insert(number, packet, codec) {
            Inserted::New => self.counters.received += 1,
            Inserted::Duplicate => self.counters.duplicates += 1,
        }
        if self.packets.len() > PACKETS_MAX {
            self.restart();
        }
    }

    /// The next thing to do, if any; call until it yields nothing.
    pub fn poll(&mut self, now: Instant) -> Option<Output> {
        match self.progress {
            Progress::Flowing { next } => self.poll_flowing(next, now),
            Progress::Starting | Progress::Restarting { .. } => self.poll_restarting(now),
        }
    }

    /// When [`VideoJitter::poll`] will act without a new packet.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let gap = self.gap.map(|gap| gap.since + self.repair().wait());
        gap.into_iter().chain(self.held.map(|held| held.due)).min()
    }

    /// Holds pictures back for so long at least, over the fastest one: sound needs as long.
    pub fn hold_at_least(&mut self, least: Duration) {
        self.playout.hold_at_least(least);
    }

    /// How long pictures are held back now.
    #[must_use]
    pub const fn delay(&self) -> Duration {
        self.playout.delay()
    }

    /// Forgets what came: the stream begins anew with the next keyframe. What happened so far still counts.
    pub fn begin_anew(&mut self) {
        *self = Self { counters: self.counters, loss: self.loss, round_trip: self.round_trip, ..Self::default() };
    }

    /// What happened to packets so far.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    fn poll_flowing(&mut self, mut next: i64, now: Instant) -> Option<Output> {
        // Packets without payload belong to no picture: senders probe the path with them.
        while self.packets.remove_empty(next) {
            next += 1;
            self.progress = Progress::Flowing { next };
        }
        match self.packets.span(next) {
            Span::Whole(last) => {
                let due = self.due(next, last, now)?;
                self.progress = Progress::Flowing { next: last + 1 };
                match self.take(next, last, due) {
                    Some(picture) => Some(picture),
                    // Whole but broken: the decoder's references are gone all the same.
                    None => {
                        self.restart();
                        Some(Output::KeyframeNeeded)
                    }
                }
            }
            Span::Gap(number) => {
                // Repairs of what came before a keyframe are not waited for: it needs nothing of that.
                if let Some(keyframe) = self.packets.whole_keyframe_after(number) {
                    self.counters.lost += 1;
                    self.packets.forget_before(keyframe);
                    (self.gap, self.held) = (None, None);
                    self.progress = Progress::Flowing { next: keyframe };
                    return self.poll_flowing(keyframe, now);
                }
                if !self.has_waited(number, now) {
                    return None;
                }
                self.restart();
                Some(Output::KeyframeNeeded)
            }
            Span::Open => {
                self.gap = None;
                None
            }
        }
    }

    fn poll_restarting(&mut self, now: Instant) -> Option<Output> {
        // What lies before a whole keyframe is not waited for.
        if let Some(keyframe) = self.packets.whole_keyframe_after(i64::MIN) {
            self.packets.forget_before(keyframe);
        }
        loop {
            let Some(start) = self.packets.first_beginning() else {
                // Packets without a beginning are the rest of a picture that cannot be shown.
                let last = self.packets.clear()?;
                self.progress = Progress::Restarting { from: last + 1 };
                return Some(Output::KeyframeNeeded);
            };
            self.packets.forget_before(start);
            match self.packets.span(start) {
                Span::Whole(last) => {
                    self.gap = None;
                    let is_held = self.held.is_some_and(|held| held.first == start);
                    let is_keyframe = is_held || self.packets.is_keyframe(start, last);
                    let due = if is_keyframe { self.due(start, last, now)? } else { now };
                    match self.take(start, last, due) {
                        Some(picture @ Output::Picture { keyframe: true, .. }) => {
                            self.progress = Progress::Flowing { next: last + 1 };
                            return Some(picture);
                        }
                        Some(_) | None => {
                            self.counters.undecodable += 1;
                            self.progress = Progress::Restarting { from: last + 1 };
                            return Some(Output::KeyframeNeeded);
                        }
                    }
                }
                Span::Gap(number) if self.has_waited(number, now) => {
                    self.gap = None;
                    self.counters.lost += 1;
                    self.packets.forget_before(start + 1);
                }
                Span::Gap(_) => return None,
                Span::Open => {
                    self.gap = None;
                    return None;
                }
            }
        }
    }

    const fn repair(&self) -> Repair {
        Repair::new(self.round_trip, self.loss.share())
    }

    /// Told by numbers that are jumped over; repairs fill them and take nothing back.
    fn count_loss(&mut self, number: i64) {
        if let Some(highest) = self.highest
            && let Ok(missed) = u32::try_from(number - highest - 1)
        {
            self.loss.add(missed);
        }
        self.highest = self.highest.max(Some(number));
    }

    /// Whether the packet that is missing was waited for long enough.
    fn has_waited(&mut self, number: i64, now: Instant) -> bool {
        let gap = match self.gap {
            Some(gap) if gap.number == number => gap,
            Some(_) | None => {
                let since = self.packets.first_arrival_after(number).unwrap_or(now);
                *self.gap.insert(Gap { number, since })
            }
        };
        now.saturating_duration_since(gap.since) >= self.repair().wait()
    }

    /// When the whole picture there was to be shown; `None` when that is still to come.
    fn due(&mut self, first: i64, last: i64, now: Instant) -> Option<Instant> {
        self.gap = None;
        let held = match self.held {
            Some(held) if held.first == first => held,
            Some(_) | None => {
                let look = self.packets.look(first, last)?;
                // It could not be shown before the one before it.
                let ready = self.last_ready.map_or(look.arrived, |before| before.max(look.arrived));
                let was_repaired = look.was_filled || ready > look.arrived;
                let picture = Ready { timestamp: look.timestamp, at: ready, was_repaired };
                let due = self.playout.ready(picture, &self.repair());
                *self.held.insert(Held { first, ready, due })
            }
        };
        if held.due > now {
            return None;
        }
        self.held = None;
        self.last_ready = Some(held.ready);
        self.playout.shown();
        Some(held.due)
    }

    fn take(&mut self, first: i64, last: i64, due: Instant) -> Option<Output> {
        let Taken { data, keyframe, codec, timestamp, arrived } = self.packets.take(first, last)?;
        Some(Output::Picture { data, keyframe, codec, timestamp, arrived, due })
    }

    /// Gives up what is missing; what came since is looked through for a keyframe.
    fn restart(&mut self) {
        let missing_from = match self.progress {
            Progress::Flowing { next } => Some(next),
            Progress::Starting | Progress::Restarting { .. } => None,
        };
        if let (Some(next), Some(first)) = (missing_from, self.packets.first()) {
            self.counters.lost += u64::try_from(first - next).unwrap_or(0).max(1);
        }
        if self.packets.len() > PACKETS_MAX {
            self.packets.clear();
        }
        (self.gap, self.held) = (None, None);
        self.progress = match missing_from {
            Some(from) => Progress::Restarting { from },
            None => Progress::Starting,
        };
    }
}

#[cfg(test)]
mod tests;
