//! How lost packets of video are repaired by NACK and RTX: how often they are asked for, and how long that is waited
//! for. Both follow the round trip and the loss, so that NACKs and the jitter buffer agree. Pure.
//!
//! - a *round*: a NACK, and the timeout of the round trip, after which it or its answer is taken for lost
//! - [`Repair::wait`]: so many rounds that fewer than [`OPEN_MAX`] of the losses stay open

use std::time::Duration;

use crate::congestion::round_trip::RoundTrip;

/// A packet that is overtaken by no more than this is reordered, not missing.
pub(super) const REORDERED: Duration = Duration::from_millis(10);

/// The share of lost packets that may stay open: a packet that stays open costs a keyframe, and pictures stand still
/// until it comes. At 20 % loss a usual call loses 24 packets a second.
const OPEN_MAX: f64 = 1.0 / 4000.0;

/// Rounds for one packet are at least so far apart: answers wait for timers and threads on both sides.
const ROUND_MIN: Duration = Duration::from_millis(15);

/// And at most: no retransmission is waited for any longer.
const ROUND_MAX: Duration = Duration::from_millis(500);

/// The least wait for a missing packet: senders of other makes pace a retransmission out behind a keyframe.
const WAIT_MIN: Duration = Duration::from_millis(250);

/// The longest: a talk with a delay of a second is hardly one, and a keyframe is quicker then.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(1);

/// From this round trip on a second round is seen as a stop of the picture (a gap of 150 ms and more is a freeze by
/// webrtc-stats), so that the first one is made surer by more than one NACK.
const REPEATED_FROM: Duration = Duration::from_millis(60);

/// Each NACK brings a retransmission, so that the answer is repeated too. At most so large a share of the packets may
/// come in addition.
const REPEATED_SHARE_MAX: f64 = 0.06;

/// The next NACK of a round comes so much later: losses come in bursts.
pub(super) const REPEATED_AFTER: Duration = Duration::from_millis(15);

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Repair {
    round_trip: RoundTrip,
    loss: f64,
}

impl Repair {
    /// Repair on a path that loses this share of its packets, 0 to 1, each way.
    pub(crate) const fn new(round_trip: RoundTrip, loss: f64) -> Self {
        Self { round_trip, loss }
    }

    /// What is known of the round trip.
    pub(crate) const fn round_trip(&self) -> RoundTrip {
        self.round_trip
    }

    /// The time from a NACK to the next one for the same packet.
    pub(crate) fn round(&self) -> Duration {
        self.round_trip.timeout().clamp(ROUND_MIN, ROUND_MAX)
    }

    /// How many NACKs a round has, 1 or more. A round trip that is long by queues alone is no reason for more: they would
    /// make it longer.
    pub(crate) fn nacks_a_round(&self) -> u32 {
        let is_far = self.round_trip.lowest().is_some_and(|lowest| lowest >= REPEATED_FROM);
        let affordable = if is_far { 1.0 + REPEATED_SHARE_MAX / self.loss.max(f64::EPSILON) } else { 1.0 };
        // A float cast saturates.
        self.tries().min(affordable) as u32
    }

    /// How long a missing packet is waited for, from the packet on that came in its place.
    pub(crate) fn wait(&self) -> Duration {
        let rounds = self.tries();
        (REORDERED + self.round().mul_f64(rounds) + self.round()).clamp(WAIT_MIN, WAIT_MAX)
    }

    /// How many NACKs it takes until a packet is there for sure, as [`OPEN_MAX`] has it; 1 or more.
    fn tries(&self) -> f64 {
        // A NACK and its answer must both come through.
        let fails = 1.0 - (1.0 - self.loss.clamp(0.0, 0.5)).powi(2);
        if fails <= OPEN_MAX { 1.0 } else { (OPEN_MAX.ln() / fails.ln()).ceil() }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn repair(round_trip_ms: u64, loss: f64) -> Repair {
        let (mut trip, now) = (RoundTrip::default(), Instant::now());
        (0..50).for_each(|_| trip.measured(ms(round_trip_ms), now));
        Repair::new(trip, loss)
    }

    #[test]
    fn the_wait_follows_round_trip_and_loss_within_its_bounds() {
        assert_eq!(Repair::new(RoundTrip::default(), 0.0).wait(), WAIT_MIN, "nothing is known");
        let waits = [(1, 0.0), (1, 0.2), (1, 0.3), (100, 0.02), (100, 0.1), (300, 0.0), (300, 0.02), (300, 0.3)];
        let waits = waits.map(|(trip, loss)| repair(trip, loss).wait().as_millis());
        assert_eq!(waits, [250, 250, 250, 430, 640, 620, 1000, 1000]);
        assert_eq!(repair(9000, 0.9).wait(), WAIT_MAX);
    }

    #[test]
    fn only_a_long_path_that_loses_little_is_asked_several_times_a_round() {
        let nacks = [(5, 0.02), (59, 0.02), (60, 0.02), (300, 0.0), (300, 0.001), (300, 0.05), (300, 0.07)];
        assert_eq!(nacks.map(|(trip, loss)| repair(trip, loss).nacks_a_round()), [1, 1, 3, 1, 2, 2, 1]);
        let (mut queue, now) = (RoundTrip::default(), Instant::now());
        queue.measured(ms(5), now);
        (0..50).for_each(|_| queue.measured(ms(400), now));
        assert_eq!(Repair::new(queue, 0.02).nacks_a_round(), 1, "a queue, no distance");
    }
}
