//! Extends sequence numbers and RTP time stamps, which wrap, to counters that do not.

/// The extended number of `sequence` that is nearest to `to`.
pub(crate) fn nearest(sequence: u16, to: i64) -> i64 {
    // The difference as a signed 16-bit number is the shortest way round.
    to + i64::from(sequence.wrapping_sub(to as u16).cast_signed())
}

/// Extends 16-bit sequence numbers to a counter that does not wrap (RFC 3550 appendix A.1).
#[derive(Clone, Copy, Debug, Default)]
pub struct SequenceUnwrapper {
    last: Option<i64>,
}

impl SequenceUnwrapper {
    /// The extended number of `sequence`, taken as the nearest one to the last.
    pub fn unwrap(&mut self, sequence: u16) -> i64 {
        let extended = match self.last {
            None => i64::from(sequence),
            Some(last) => nearest(sequence, last),
        };
        self.last = Some(self.last.map_or(extended, |last| last.max(extended)));
        extended
    }
}

/// Extends 32-bit time stamps to a counter that does not wrap.
#[derive(Clone, Copy, Debug, Default)]
pub struct TimestampUnwrapper {
    last: Option<i64>,
}

impl TimestampUnwrapper {
    /// The extended value of `timestamp`, taken as the nearest one to the last.
    pub fn unwrap(&mut self, timestamp: u32) -> i64 {
        let extended = match self.last {
            None => i64::from(timestamp),
            Some(last) => last + i64::from(timestamp.wrapping_sub(last as u32) as i32),
        };
        self.last = Some(extended);
        extended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_pass_their_wrap_in_both_directions() {
        let mut sequences = SequenceUnwrapper::default();
        let seen: Vec<_> = [65534, 65535, 0, 65533, 1].map(|s| sequences.unwrap(s)).into();
        assert_eq!(seen, [65534, 65535, 65536, 65533, 65537]);
        let mut stamps = TimestampUnwrapper::default();
        let seen: Vec<_> = [u32::MAX, 2, u32::MAX].map(|t| stamps.unwrap(t)).into();
        assert_eq!(seen, [0xffff_ffff, 0x1_0000_0002, 0xffff_ffff]);
    }
}
