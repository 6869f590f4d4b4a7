//! Repairs that come in time, and no others.
//!
//! After seconds without a path the engine's generator asks for all that was missed, its responder sends it, and its
//! pacer holds new sound and pictures back behind it: sound came five seconds after the path, and pictures stayed
//! seconds late. A keyframe is worth more than what is too old to be shown.
//!
//! - [`FreshRequests`], on the way in: what was missed in a silence is not asked for
//! - [`TimelyRepairs`], on the way out: what is too old is not sent, whoever asks

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use rtc::interceptor::{Attribute, Interceptor, Packet, StreamInfo, TaggedPacket};
use rtc::sansio::Protocol;
use rtc::shared::error::{Error, Result};

/// Older than this no repair is waited for: the jitter buffer waits 250 ms, and asking takes a round trip.
const REPAIR_AGE_MAX: Duration = Duration::from_millis(500);

/// So long without a packet of a stream is no loss but a path, or a sender, that was away.
const SILENCE: Duration = Duration::from_millis(500);

/// A generator of requests that forgets what it missed in a silence.
pub(super) struct FreshRequests<I> {
    generator: I,
    /// By SSRC, with the time of the latest packet.
    streams: HashMap<u32, (StreamInfo, Option<Instant>)>,
}

impl<I: Interceptor> FreshRequests<I> {
    pub(super) fn new(generator: I) -> Self {
        Self { generator, streams: HashMap::new() }
    }

    fn arrived(&mut self, ssrc: u32, now: Instant) {
        let Some((info, latest)) = self.streams.get_mut(&ssrc) else { return };
        let before = latest.replace(now);
        if before.is_some_and(|before| now.saturating_duration_since(before) >= SILENCE) {
            // Bound anew, it begins with the packet that comes now.
            self.generator.unbind_remote_stream(info);
            self.generator.bind_remote_stream(info);
        }
    }
}

impl<I: Interceptor> Protocol<TaggedPacket, TaggedPacket, ()> for FreshRequests<I> {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, packet: TaggedPacket) -> Result<()> {
        if let Packet::Rtp(rtp) = &packet.message.packet {
            self.arrived(rtp.header.ssrc, packet.now);
        }
        self.generator.handle_read(packet)
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.generator.poll_read()
    }

    fn handle_write(&mut self, packet: TaggedPacket) -> Result<()> {
        self.generator.handle_write(packet)
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.generator.poll_write()
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<()> {
        self.generator.handle_timeout(now)
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        self.generator.poll_timeout()
    }
}

impl<I: Interceptor> Interceptor for FreshRequests<I> {
    fn bind_local_stream(&mut self, info: &StreamInfo) {
        self.generator.bind_local_stream(info);
    }

    fn unbind_local_stream(&mut self, info: &StreamInfo) {
        self.generator.unbind_local_stream(info);
    }

    fn bind_remote_stream(&mut self, info: &StreamInfo) {
        self.streams.insert(info.ssrc, (info.clone(), None));
        self.generator.bind_remote_stream(info);
    }

    fn unbind_remote_stream(&mut self, info: &StreamInfo) {
        self.streams.remove(&info.ssrc);
        self.generator.unbind_remote_stream(info);
    }
}

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

    /// A generator that counts how often it is bound.
    #[derive(Default)]
    struct Bound(u32);

    impl Protocol<TaggedPacket, TaggedPacket, ()> for Bound {
        type Rout = TaggedPacket;
        type Wout = TaggedPacket;
        type Eout = ();
        type Error = Error;
        type Time = Instant;

        fn handle_read(&mut self, _packet: TaggedPacket) -> Result<()> {
            Ok(())
        }

        fn poll_read(&mut self) -> Option<TaggedPacket> {
            None
        }

        fn handle_write(&mut self, _packet: TaggedPacket) -> Result<()> {
            Ok(())
        }

        fn poll_write(&mut self) -> Option<TaggedPacket> {
            None
        }
    }

    impl Interceptor for Bound {
        fn bind_local_stream(&mut self, _info: &StreamInfo) {}
        fn unbind_local_stream(&mut self, _info: &StreamInfo) {}

        fn bind_remote_stream(&mut self, _info: &StreamInfo) {
            self.0 += 1;
        }

        fn unbind_remote_stream(&mut self, _info: &StreamInfo) {}
    }

    #[test]
    fn a_silence_makes_the_generator_begin_anew() {
        let mut requests = FreshRequests::new(Bound::default());
        requests.bind_remote_stream(&StreamInfo { ssrc: 1, ..StreamInfo::default() });
        let start = Instant::now();
        for (ms, bound) in [(0, 1), (33, 1), (532, 1), (1032, 2), (1065, 2), (9000, 3)] {
            requests.arrived(1, start + Duration::from_millis(ms));
            // Others do not count.
            requests.arrived(2, start + Duration::from_millis(ms + 1));
            assert_eq!(requests.generator.0, bound, "after {ms} ms");
        }
    }

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
