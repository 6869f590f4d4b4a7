//! What transport-wide feedback (TWCC) says of the packets that we sent.

use std::time::{Duration, Instant};

/// What became of one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PacketReport {
    /// Size on the wire, bytes.
    pub(crate) size: usize,
    /// When it left here.
    pub(crate) departure: Instant,
    /// The other side has it.
    pub(crate) arrived: bool,
    /// When it arrived, by the other side's clock.
    pub(crate) arrival: Option<Duration>,
}

/// A feedback comes every 100 ms. When one is lost, the next batch begins with its packets, as if they had not
/// arrived; so long a run of them is not what a path loses.
const UNREPORTED_MIN: Duration = Duration::from_millis(60);

/// Splits a batch: packets that no feedback told of, and those that one did.
pub(crate) fn split_reported(reports: &[PacketReport]) -> (&[PacketReport], &[PacketReport]) {
    let first_arrived = reports.iter().position(|report| report.arrived).unwrap_or(reports.len());
    let (head, rest) = reports.split_at(first_arrived);
    let is_run = |first: &PacketReport, last: &PacketReport| {
        last.departure.saturating_duration_since(first.departure) >= UNREPORTED_MIN
    };
    match head {
        [first, .., last] if is_run(first, last) => (head, rest),
        _ => (&[], reports),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Reports of packets 10 ms apart, numbered from `first`; of each is known whether it arrived.
    pub(crate) fn reports(start: Instant, first: u64, arrived: impl IntoIterator<Item = bool>) -> Vec<PacketReport> {
        let report = |(id, arrived): (u64, bool)| PacketReport {
            size: 1000,
            departure: start + Duration::from_millis(10 * id),
            arrived,
            arrival: arrived.then(|| Duration::from_millis(10 * id + 20)),
        };
        (first..).zip(arrived).map(report).collect()
    }

    #[test]
    fn packets_of_a_lost_feedback_are_not_lost_packets() {
        let start = Instant::now();
        let lengths = |arrived: &[bool]| {
            let reports = reports(start, 0, arrived.iter().copied());
            let (unreported, reported) = split_reported(&reports);
            (unreported.len(), reported.len())
        };
        let (lost, came) = ([false; 10], [true; 10]);
        assert_eq!(lengths(&[&lost[..], &came].concat()), (10, 10));
        assert_eq!(lengths(&[&lost[..6], &came].concat()), (0, 16), "50 ms can be a loss");
        assert_eq!(lengths(&[&came[..1], &lost, &came].concat()), (0, 21), "this feedback tells of what came before");
        assert_eq!(lengths(&came), (0, 10));
        assert_eq!(lengths(&[]), (0, 0));
    }
}
