//! Limits the payload size to what the path carries.
//!
//! These datagrams are never fragmented. A path with a small MTU, as tunnels and mobile networks have, drops large
//! packets and lets small ones through: sound comes, pictures do not. Routers often send no ICMP, and the system does
//! not hand it to these sockets, so the MTU is found here:
//!
//! - packet reports → [`SizeWatch`]: large packets are lost, all of them, while small ones arrive
//! - a socket that refuses a datagram as too large → [`PayloadLimit::fit`]
//! - [`PayloadLimit`] goes down a step; [`crate::send`] packetises by it. It stays down for the call: smaller packets
//!   cost a few per cent, another search would cost pictures

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::feedback::PacketReport;
use crate::rtp::payload::PAYLOAD_BYTES_MAX;

/// Payload bytes of a packet. Those after the first, with [`OVERHEAD_MAX`], fit paths of 1000, 768 and 576 bytes, the
/// last of which every IPv4 host takes (RFC 791 §3.1).
const STEPS: [usize; 4] = [PAYLOAD_BYTES_MAX, 880, 640, 440];

/// What comes around a payload at most within a datagram: RTP header and extensions, SRTP tag, TURN indication.
const OVERHEAD_MAX: usize = 80;

/// The same of what reports count: RTP header and extensions.
const RTP_HEADER_MAX: usize = 40;

/// Where little is carried, a packet takes no longer than this: sound waits behind it.
const PACKET_TIME: f64 = 0.04;

/// Smaller ones would be headers for the most part.
const SMALLEST: usize = 300;

/// Payload bytes of a packet on a path that carries so many bits a second.
pub(crate) fn bytes_for(bps: u32) -> usize {
    // A float cast saturates.
    ((f64::from(bps) * PACKET_TIME / 8.0) as usize).clamp(SMALLEST, PAYLOAD_BYTES_MAX)
}

/// Payload bytes a packet for one peer connection.
#[derive(Debug)]
pub(crate) struct PayloadLimit {
    bytes: AtomicUsize,
    told: AtomicUsize,
}

impl Default for PayloadLimit {
    fn default() -> Self {
        Self { bytes: AtomicUsize::new(STEPS[0]), told: AtomicUsize::new(STEPS[0]) }
    }
}

impl PayloadLimit {
    /// The limit of now.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Packets of this size do not arrive: the next step.
    fn lower(&self) {
        let now = self.bytes();
        if let Some(next) = STEPS.into_iter().find(|step| *step < now) {
            self.bytes.fetch_min(next, Ordering::Relaxed);
        }
    }

    /// A datagram of so many bytes was too large: the step that is smaller, if there is one.
    pub(crate) fn fit(&self, datagram: usize) {
        let fits = |step: &usize| step + OVERHEAD_MAX < datagram;
        let next = STEPS.into_iter().find(fits).unwrap_or(STEPS[STEPS.len() - 1]);
        self.bytes.fetch_min(next, Ordering::Relaxed);
    }

    /// The new limit, once each time that it went down.
    pub(crate) fn news(&self) -> Option<usize> {
        let now = self.bytes();
        (self.told.swap(now, Ordering::Relaxed) != now).then_some(now)
    }
}

/// What has to be seen before packets are taken for too large.
struct Proof {
    /// Packets lost that are larger than any that arrived.
    lost: usize,
    /// Small packets that arrived meanwhile.
    arrived: u32,
    /// How long it must be so at least.
    after: Duration,
    /// For how long packets are compared; then it begins anew, as paths change.
    window: Duration,
}

/// Where no packet of full size ever arrived: a keyframe or two are enough. By chance a path would have to lose the
/// largest of all, and only those.
const FROM_THE_START: Proof =
    Proof { lost: 6, arrived: 4, after: Duration::from_millis(200), window: Duration::from_secs(5) };

/// Where they did arrive: a queue that overflows may let only small ones in for a while.
const IN_BETWEEN: Proof =
    Proof { lost: 16, arrived: 12, after: Duration::from_secs(1), window: Duration::from_secs(2) };

/// Lost packets whose sizes are remembered.
const LOST_MAX: usize = 64;

/// Sees that large packets do not arrive though small ones do. Reads no clock.
#[derive(Debug, Default)]
pub(crate) struct SizeWatch {
    /// A packet of full size arrived once, at the limit of now.
    passed: bool,
    since: Option<Instant>,
    /// Sizes of packets that were lost.
    lost: Vec<usize>,
    /// The largest that arrived.
    largest: usize,
    /// How many small ones arrived.
    small: u32,
}

impl SizeWatch {
    /// Takes in what became of packets that were cut by `limit`; lowers it when they are too large. True when it did.
    pub(crate) fn add(&mut self, now: Instant, reports: &[PacketReport], limit: &PayloadLimit) -> bool {
        let bytes = limit.bytes();
        let since = *self.since.get_or_insert(now);
        // Those above were cut before the limit went down.
        for report in reports.iter().filter(|report| report.size <= bytes + RTP_HEADER_MAX) {
            if report.arrived() {
                self.largest = self.largest.max(report.size);
                self.small += u32::from(report.size <= bytes / 2);
                self.passed |= report.size >= bytes;
            } else if self.lost.len() < LOST_MAX && report.size > bytes / 2 {
                self.lost.push(report.size);
            }
        }
        let proof = if self.passed { IN_BETWEEN } else { FROM_THE_START };
        let too_large = self.lost.iter().filter(|size| **size > self.largest).count();
        let length = now.saturating_duration_since(since);
        if too_large >= proof.lost && self.small >= proof.arrived && length >= proof.after {
            *self = Self::default();
            limit.lower();
            return true;
        }
        if length >= proof.window {
            *self = Self { passed: self.passed, ..Self::default() };
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A path, and a sender of four pictures' packets and four of sound every 100 ms.
    struct Path {
        watch: SizeWatch,
        limit: PayloadLimit,
        now: Instant,
        sent: u64,
    }

    impl Path {
        fn new() -> Self {
            Self { watch: SizeWatch::default(), limit: PayloadLimit::default(), now: Instant::now(), sent: 0 }
        }

        /// The limits after each feedback of so much time on a path that tells what arrives.
        fn run(&mut self, milliseconds: u64, arrives: impl Fn(usize, u64) -> bool) -> Vec<usize> {
            let one = |_| {
                self.now += Duration::from_millis(100);
                let large = self.limit.bytes() + 20;
                let reports: Vec<_> =
                    [large, 90].repeat(4).into_iter().map(|size| self.report(size, &arrives)).collect();
                self.watch.add(self.now, &reports, &self.limit);
                self.limit.bytes()
            };
            (0..milliseconds / 100).map(one).collect()
        }

        fn report(&mut self, size: usize, arrives: impl Fn(usize, u64) -> bool) -> PacketReport {
            self.sent += 1;
            let arrived = arrives(size, self.sent);
            let arrival = arrived.then_some(Duration::ZERO);
            PacketReport { size, departure: self.now, arrival, was_lost: false, unreported_before: 0 }
        }
    }

    #[test]
    fn a_path_that_swallows_large_packets_gets_smaller_ones() {
        let mut path = Path::new();
        let limits = path.run(2000, |size, _| size < 700);
        assert_eq!(limits.last(), Some(&640), "{limits:?}");
        assert!(limits[9] == 640, "within a second: {limits:?}");
        assert_eq!(path.limit.news(), Some(640));
        assert_eq!(path.limit.news(), None, "told once");
    }

    #[test]
    fn a_path_that_becomes_narrow_in_mid_call_is_noticed_too() {
        let mut path = Path::new();
        assert_eq!(path.run(5000, |_, _| true).last(), Some(&1160));
        let limits = path.run(5000, |size, _| size < 1000);
        assert_eq!(limits[7], 1160, "not at once: {limits:?}");
        assert_eq!(limits[32], 880, "within seconds: {limits:?}");
    }

    #[test]
    fn packets_that_just_fit_do_not_hide_those_that_do_not() {
        let (mut watch, limit, start) = (SizeWatch::default(), PayloadLimit::default(), Instant::now());
        let mut path = Path::new();
        for n in 0..10_u32 {
            let sizes = [1180, 950, 90, 1180, 90];
            let reports: Vec<_> = sizes.into_iter().map(|size| path.report(size, |size, _| size <= 960)).collect();
            watch.add(start + Duration::from_millis(100) * n, &reports, &limit);
        }
        assert_eq!(limit.bytes(), 880);
    }

    #[test]
    fn loss_alone_is_no_reason() {
        let limits = Path::new().run(60_000, |_, number| number.wrapping_mul(2_654_435_761) >> 7 & 1 == 0);
        assert_eq!(limits.last(), Some(&1160), "half of all packets lost");
        let limits = Path::new().run(60_000, |_, _| false);
        assert_eq!(limits.last(), Some(&1160), "nothing arrives");
        let limits = Path::new().run(60_000, |size, number| size < 200 || number % 40 == 1);
        assert_eq!(limits.last(), Some(&1160), "a large one gets through now and then");
    }

    #[test]
    fn what_the_socket_refuses_is_made_to_fit() {
        let limit = PayloadLimit::default();
        limit.fit(1210);
        assert_eq!(limit.bytes(), 880);
        limit.fit(1210);
        assert_eq!(limit.bytes(), 880, "one that was cut before");
        limit.fit(930);
        assert_eq!(limit.bytes(), 640);
        limit.fit(300);
        assert_eq!(limit.bytes(), 440, "smaller is of no use");
    }
}
