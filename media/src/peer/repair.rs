//! Repairs that come in time, and no others: what is too old is not sent, whoever asks.
//!
//! After seconds without a path the other side may ask for all that was missed, the engine's responder sends it, and
//! its pacer holds new sound and pictures back behind it: sound came five seconds after the path, and pictures stayed
//! seconds late. A keyframe is worth more than what is too old to be shown. [`super::requests`] is the other half.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use rtc::interceptor::{Attribute, Interceptor, Packet, StreamInfo, TaggedPacket};
use rtc::sansio::Protocol;
use rtc::shared::error::{Error, Result};

/// Older than this no repair is waited for: the jitter buffer waits 250 ms, and asking takes a round trip.
const REPAIR_AGE_MAX: Duration = Duration::from_millis(500);

/// Drops retransmissions of what is older than [`REPAIR_AGE_MAX`], by their own time stamps. Its place in the chain is
/// between the responder and the pacer.
#[derive(Default)]
pub(super) struct TimelyRepairs {
    /// By SSRC.
    streams: HashMap<u32, Stream>,
    /// The SSRC of the stream that an RTX stream (RFC 4588) repairs.
    repaired: HashMap<u32, u32>,
    reads: VecDeque<TaggedPacket>,
    writes: VecDeque<TaggedPacket>,
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

    /// Whether a repair with this time stamp may still be of use.
    fn is_timely(&self, timestamp: u32) -> bool {
        let Some(newest) = self.newest else { return true };
        // RTP time wraps around; what is ahead of the newest is none the older.
        let age = newest.wrapping_sub(timestamp).cast_signed();
        i64::from(age) * 1000 <= i64::from(self.clock_hz) * REPAIR_AGE_MAX.as_millis() as i64
    }
}

impl TimelyRepairs {
    fn admits(&mut self, packet: &TaggedPacket) -> bool {
        let Packet::Rtp(rtp) = &packet.message.packet else { return true };
        let (ssrc, timestamp) = (rtp.header.ssrc, rtp.header.timestamp);
        let ssrc = self.repaired.get(&ssrc).copied().unwrap_or(ssrc);
        let Some(stream) = self.streams.get_mut(&ssrc) else { return true };
        if packet.message.get(&Attribute::Retransmission).is_some() {
            return stream.is_timely(timestamp);
        }
        stream.sent(timestamp);
        true
    }
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for TimelyRepairs {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, packet: TaggedPacket) -> Result<()> {
        self.reads.push_back(packet);
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.reads.pop_front()
    }

    fn handle_write(&mut self, packet: TaggedPacket) -> Result<()> {
        if self.admits(&packet) {
            self.writes.push_back(packet);
        }
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.writes.pop_front()
    }
}

impl Interceptor for TimelyRepairs {
    fn bind_local_stream(&mut self, info: &StreamInfo) {
        self.streams.insert(info.ssrc, Stream { clock_hz: info.clock_rate, newest: None });
        if let Some(rtx) = info.ssrc_rtx {
            self.repaired.insert(rtx, info.ssrc);
        }
    }

    fn unbind_local_stream(&mut self, info: &StreamInfo) {
        self.streams.remove(&info.ssrc);
        self.repaired.retain(|_, repaired| *repaired != info.ssrc);
    }

    fn bind_remote_stream(&mut self, _info: &StreamInfo) {}
    fn unbind_remote_stream(&mut self, _info: &StreamInfo) {}
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
