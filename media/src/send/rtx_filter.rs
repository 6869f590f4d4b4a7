//! Turns down retransmissions (RTX) that would come too late, or that a keyframe has made needless, whoever asks for them.
//!
//! After seconds without a path the other side may NACK all that it missed. The engine's responder sends it, and its
//! pacer holds new sound and pictures back behind it: sound came five seconds after the path, and pictures stayed
//! seconds late. A keyframe is worth more than what is too old to be shown. [`crate::receive::nack`] is the other half.

use std::collections::HashMap;
use std::time::Duration;

use crate::congestion::round_trip::{RoundTrip, SharedRoundTrip};
use crate::rtp::VIDEO_CLOCK_HZ;

/// Nobody waits for a packet that is older, where the other side is near.
const AGE_MAX: Duration = Duration::from_millis(500);

/// So many round trips are added: the NACK, the repair, and another round when one of them was lost.
const ROUND_TRIPS: u32 = 3;

/// Nobody waits for a packet that is older, however far the other side is: a keyframe is quicker.
const AGE_MAX_FAR: Duration = Duration::from_millis(1500);

/// How old a packet may be to be sent again. [`crate::receive::repair`] is what our own receiver waits.
fn age_max(round_trip: RoundTrip) -> Duration {
    (AGE_MAX + round_trip.smoothed().unwrap_or_default() * ROUND_TRIPS).min(AGE_MAX_FAR)
}

/// Turns down retransmissions of what is too old, by their own RTP time stamps. Reads no clock.
#[derive(Default)]
pub(crate) struct RtxFilter {
    round_trip: SharedRoundTrip,
    /// RTP time stamp of the latest keyframe.
    keyframe: Option<u32>,
    /// By SSRC.
    streams: HashMap<u32, Stream>,
    /// The SSRC of the stream that an RTX stream (RFC 4588) repairs.
    repaired: HashMap<u32, u32>,
}

/// What was sent of one stream.
struct Stream {
    clock_hz: u32,
    newest: Option<u32>,
}

impl Stream {
    /// Notes what is sent for the first time.
    fn sent(&mut self, timestamp: u32) {
        self.newest = Some(timestamp);
    }

    /// Whether a retransmission with this time stamp may still be of use.
    fn is_timely(&self, timestamp: u32, age_max: Duration) -> bool {
        let Some(newest) = self.newest else { return true };
        // RTP time wraps around; what is ahead of the newest is none the older.
        let age = newest.wrapping_sub(timestamp).cast_signed();
        i64::from(age) * 1000 <= i64::from(self.clock_hz) * age_max.as_millis() as i64
    }
}

impl RtxFilter {
    /// One that follows this round trip.
    pub(crate) fn new(round_trip: SharedRoundTrip) -> Self {
        Self { round_trip, ..Self::default() }
    }

    /// A stream of ours begins; `rtx` is the SSRC of its RTX stream.
    pub(crate) fn bind(&mut self, ssrc: u32, clock_hz: u32, rtx: Option<u32>) {
        self.streams.insert(ssrc, Stream { clock_hz, newest: None });
        if let Some(rtx) = rtx {
            self.repaired.insert(rtx, ssrc);
        }
    }

    /// A stream of ours ends.
    pub(crate) fn unbind(&mut self, ssrc: u32) {
        self.streams.remove(&ssrc);
        self.repaired.retain(|_, repaired| *repaired != ssrc);
    }

    /// The latest keyframe has this RTP time stamp: of pictures before it nobody needs anything.
    pub(crate) fn keyframe(&mut self, timestamp: Option<u32>) {
        self.keyframe = timestamp;
    }

    /// A packet is sent for the first time.
    pub(crate) fn sent(&mut self, ssrc: u32, timestamp: u32) {
        if let Some(stream) = self.stream(ssrc) {
            stream.sent(timestamp);
        }
    }

    /// Whether a retransmission should still be sent.
    pub(crate) fn admits(&mut self, ssrc: u32, timestamp: u32) -> bool {
        let (age_max, keyframe) = (age_max(self.round_trip.get()), self.keyframe);
        self.stream(ssrc).is_none_or(|stream| {
            let is_superseded = stream.clock_hz == VIDEO_CLOCK_HZ
                && keyframe.is_some_and(|keyframe| timestamp.wrapping_sub(keyframe).cast_signed() < 0);
            !is_superseded && stream.is_timely(timestamp, age_max)
        })
    }

    fn stream(&mut self, ssrc: u32) -> Option<&mut Stream> {
        let ssrc = self.repaired.get(&ssrc).copied().unwrap_or(ssrc);
        self.streams.get_mut(&ssrc)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    /// Whether packets of these ages, in milliseconds, are sent again.
    fn admitted(round_trip_ms: Option<u64>, newest: u32, ages: [u32; 5]) -> [bool; 5] {
        let trip = SharedRoundTrip::default();
        if let Some(ms) = round_trip_ms {
            trip.measured(Duration::from_millis(ms), Instant::now());
        }
        let mut filter = RtxFilter::new(trip);
        filter.bind(1, 90_000, Some(2));
        assert!(filter.admits(2, 7), "nothing to compare with");
        filter.sent(1, newest);
        assert!(filter.admits(2, newest.wrapping_add(90)), "ahead of the newest");
        ages.map(|ms| filter.admits(2, newest.wrapping_sub(ms * 90)))
    }

    #[test]
    fn what_came_before_a_keyframe_is_not_repaired() {
        let mut filter = RtxFilter::new(SharedRoundTrip::default());
        filter.bind(1, 90_000, Some(2));
        filter.bind(3, 48_000, None);
        filter.sent(1, 9_000);
        filter.sent(3, 9_000);
        assert!(filter.admits(2, 5_999));
        filter.keyframe(Some(6_000));
        let admitted = [(2, 5_999), (2, 6_000), (2, 9_000), (3, 5_999)].map(|(ssrc, at)| filter.admits(ssrc, at));
        assert_eq!(admitted, [false, true, true, true], "sound knows no keyframe");
    }

    #[test]
    fn a_repair_is_timely_for_half_a_second_and_some_round_trips() {
        for newest in [1_000_000, 20_000, 0] {
            let times = admitted(None, newest, [0, 250, 500, 501, 3000]);
            assert_eq!(times, [true, true, true, false, false], "newest {newest}");
        }
        assert_eq!(admitted(Some(100), 7, [500, 501, 800, 801, 3000]), [true, true, true, false, false]);
        assert_eq!(admitted(Some(5000), 7, [500, 801, 1500, 1501, 9000]), [true, true, true, false, false]);
    }
}
