//! [`SendHistory`]: what was sent under which transport-wide number, joined with the feedback on it
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01).
//!
//! A packet is lost when a feedback says so. One that no feedback names is no lost packet: the feedback itself was lost.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::feedback::{Acknowledgement, PacketReport};
use crate::rtp::nearest;

/// A packet that no feedback named for so long is forgotten: several round trips of any path.
const REMEMBERED: Duration = Duration::from_secs(3);

/// See the module. Reads no clock.
#[derive(Debug, Default)]
pub(crate) struct SendHistory {
    /// Extended number of the first packet in `packets`.
    first: i64,
    packets: VecDeque<Sent>,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    departure: Instant,
    bytes: usize,
    told: Told,
}

/// What feedback has said of a packet so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Nothing,
    /// Nothing, though it has told of later ones.
    Unreported,
    Lost,
    Arrived,
}

impl SendHistory {
    /// A packet of so many bytes leaves; its transport-wide number.
    pub(crate) fn sent(&mut self, bytes: usize, now: Instant) -> u16 {
        while self.packets.front().is_some_and(|sent| now.saturating_duration_since(sent.departure) > REMEMBERED) {
            self.packets.pop_front();
            self.first += 1;
        }
        let number = self.first + self.packets.len() as i64;
        self.packets.push_back(Sent { departure: now, bytes, told: Told::Nothing });
        // The wire has the lower 16 bits.
        number as u16
    }

    /// What a feedback tells of packets that nothing was known of, in the order of their numbers. One that was told lost
    /// and arrived all the same (it was overtaken) is told of again.
    pub(crate) fn reports(&mut self, acknowledgements: &[Acknowledgement]) -> Vec<PacketReport> {
        let newest = self.first + self.packets.len() as i64 - 1;
        let mut reports = Vec::with_capacity(acknowledgements.len());
        for acknowledgement in acknowledgements {
            let index = nearest(acknowledgement.number, newest) - self.first;
            let Some(index) = usize::try_from(index).ok().filter(|index| *index < self.packets.len()) else { continue };
            let unreported_before = self.skip_unreported(index);
            let Some(sent) = self.packets.get_mut(index) else { continue };
            let told = if acknowledgement.arrival.is_some() { Told::Arrived } else { Told::Lost };
            if sent.told == Told::Arrived || sent.told == told {
                continue;
            }
            let was_lost = sent.told == Told::Lost;
            sent.told = told;
            reports.push(PacketReport {
                size: sent.bytes,
                departure: sent.departure,
                arrival: acknowledgement.arrival,
                was_lost,
                unreported_before,
            });
        }
        reports
    }

    /// Bytes of the packets just before this one of which nothing was told; they are counted once.
    fn skip_unreported(&mut self, index: usize) -> usize {
        let before = self.packets.range_mut(..index.min(self.packets.len())).rev();
        let skipped = before.take_while(|sent| sent.told == Told::Nothing);
        skipped.map(|sent| (sent.told = Told::Unreported, sent.bytes).1).sum()
    }

    /// When the oldest packet left that is newer than all that feedback named; `None` when there is none.
    pub(crate) fn oldest_unreported(&self) -> Option<Instant> {
        let reported = self.packets.iter().rposition(|sent| sent.told != Told::Nothing).map_or(0, |index| index + 1);
        self.packets.get(reported).map(|sent| sent.departure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn said(number: u16, arrival: Option<u64>) -> Acknowledgement {
        Acknowledgement { number, arrival: arrival.map(ms) }
    }

    #[test]
    fn reports_join_what_was_sent_with_what_was_told_of_it_once() {
        let (mut history, start) = (SendHistory::default(), Instant::now());
        let numbers: Vec<u16> = (0..4).map(|n| history.sent(100 + n, start + ms(n as u64))).collect();
        assert_eq!(numbers, [0, 1, 2, 3]);
        assert_eq!(history.oldest_unreported(), Some(start));
        let told = [said(0, Some(50)), said(1, None), said(900, Some(1))];
        let seen: Vec<_> = history.reports(&told).iter().map(|report| (report.size, report.arrived())).collect();
        assert_eq!(seen, [(100, true), (101, false)], "nothing with number 900 was sent");
        assert_eq!(history.reports(&told), [], "known already");
        let late = history.reports(&[said(1, Some(60))]);
        assert!(late[0].was_lost && late[0].arrived(), "{late:?}");
        assert_eq!(history.oldest_unreported(), Some(start + ms(2)));
        history.reports(&[said(3, Some(60))]);
        assert_eq!(history.oldest_unreported(), None, "2 is older than what was told of");
    }

    #[test]
    fn packets_of_a_lost_feedback_are_not_lost_and_are_counted_once() {
        let (mut history, start) = (SendHistory::default(), Instant::now());
        (0..5).for_each(|n| _ = history.sent(100 + n, start));
        let before: Vec<_> = [said(3, Some(1)), said(4, None)]
            .iter()
            .flat_map(|told| history.reports(&[*told]))
            .map(|report| report.unreported_before)
            .collect();
        assert_eq!(before, [303, 0]);
        let late = history.reports(&[said(1, Some(1))]);
        assert_eq!((late.len(), late[0].was_lost), (1, false), "the feedback was only late");
    }

    #[test]
    fn numbers_wrap_and_old_packets_are_forgotten() {
        let (mut history, start) = (SendHistory::default(), Instant::now());
        let mut last = 0;
        for n in 0..70_000_u64 {
            last = history.sent(7, start + ms(n));
        }
        assert_eq!(last, (69_999 % 65_536) as u16);
        assert!(history.packets.len() <= 3002, "{}", history.packets.len());
        assert_eq!(history.reports(&[said(last, Some(9))]).len(), 1);
        assert_eq!(history.reports(&[said(last.wrapping_sub(5000), Some(9))]), [], "forgotten");
    }
}
