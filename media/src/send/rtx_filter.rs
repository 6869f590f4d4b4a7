//! Turns down retransmissions (RTX) that would come too late, whoever asks for them.
//!
//! After seconds without a path the other side may NACK all that it missed. The engine's responder sends it, and its
//! pacer holds new sound and pictures back behind it: sound came five seconds after the path, and pictures stayed
//! seconds late. A keyframe is worth more than what is too old to be shown. [`crate::receive::nack`] is the other half.

use std::collections::HashMap;
use std::time::Duration;

/// Nobody waits for a packet that is older: the jitter buffer waits 250 ms, and a NACK takes a round trip.
const RTX_AGE_MAX: Duration = Duration::from_millis(500);

/// Turns down retransmissions of what is older than [`RTX_AGE_MAX`], by their own RTP time stamps. Reads no clock.
#[derive(Default)]
pub(crate) struct RtxFilter {
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
    fn is_timely(&self, timestamp: u32) -> bool {
        let Some(newest) = self.newest else { return true };
        // RTP time wraps around; what is ahead of the newest is none the older.
        let age = newest.wrapping_sub(timestamp).cast_signed();
        i64::from(age) * 1000 <= i64::from(self.clock_hz) * RTX_AGE_MAX.as_millis() as i64
    }
}

impl RtxFilter {
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

    /// A packet is sent for the first time.
    pub(crate) fn sent(&mut self, ssrc: u32, timestamp: u32) {
        if let Some(stream) = self.stream(ssrc) {
            stream.sent(timestamp);
        }
    }

    /// Whether a retransmission should still be sent.
    pub(crate) fn admits(&mut self, ssrc: u32, timestamp: u32) -> bool {
        self.stream(ssrc).is_none_or(|stream| stream.is_timely(timestamp))
    }

    fn stream(&mut self, ssrc: u32) -> Option<&mut Stream> {
        let ssrc = self.repaired.get(&ssrc).copied().unwrap_or(ssrc);
        self.streams.get_mut(&ssrc)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repair_is_timely_for_half_a_second() {
        let video = |newest| Stream { clock_hz: 90_000, newest };
        assert!(video(None).is_timely(7), "nothing to compare with");
        for newest in [1_000_000, 20_000, 0] {
            let age = |ms: u32| video(Some(newest)).is_timely(u32::wrapping_sub(newest, ms * 90));
            assert_eq!([0, 250, 500, 501, 3000].map(age), [true, true, true, false, false], "newest {newest}");
            assert!(video(Some(newest)).is_timely(newest.wrapping_add(90)), "ahead of the newest");
        }
    }
}
