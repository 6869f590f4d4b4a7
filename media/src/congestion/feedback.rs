//! What transport-wide feedback (TWCC, draft-holmer-rmcat-transport-wide-cc-extensions-01) says of the packets that we
//! sent.

use std::time::{Duration, Instant};

/// What one feedback says of one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Acknowledgement {
    /// Its transport-wide number.
    pub(crate) number: u16,
    /// When it arrived, by the other side's clock; `None`: it did not.
    pub(crate) arrival: Option<Duration>,
}

/// What became of one packet that we sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PacketReport {
    /// Size, bytes: RTP header, extensions and payload.
    pub(crate) size: usize,
    /// When it left here.
    pub(crate) departure: Instant,
    /// When it arrived, by the other side's clock; `None`: it is lost.
    pub(crate) arrival: Option<Duration>,
    /// It was told lost before: others had only overtaken it.
    pub(crate) was_lost: bool,
    /// Bytes of packets just before it that no feedback tells of: one was lost itself.
    pub(crate) unreported_before: usize,
}

impl PacketReport {
    /// True when the other side has it.
    pub(crate) const fn arrived(&self) -> bool {
        self.arrival.is_some()
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
            arrival: arrived.then(|| Duration::from_millis(10 * id + 20)),
            was_lost: false,
            unreported_before: 0,
        };
        (first..).zip(arrived).map(report).collect()
    }
}
