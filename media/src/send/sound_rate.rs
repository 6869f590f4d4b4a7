//! [`SoundRate`]: at how many bits a second, and in how long packets, sound is sent on a path that carries so much for all
//! media together.
//!
//! Sound comes first: pictures have what it leaves. On a path where little is left it takes less itself, down to what can
//! just be understood. There headers weigh more than sound, so that more of it goes into each packet (RFC 7587 §4.2).

/// How sound is coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SoundCoding {
    /// Bitrate of Opus, bits a second.
    pub bps: u32,
    /// Frames of 20 ms in one packet.
    pub frames: u32,
}

impl SoundCoding {
    /// Where nothing is narrow: full-band speech without audible loss (RFC 7587 §3.1.1 suggests 28 to 40 kbit/s).
    pub const BEST: Self = Self { bps: 32_000, frames: 1 };

    /// What it takes of the path, bits a second, with all headers.
    const fn wire_bps(self) -> u32 {
        self.bps + OVERHEAD_BPS / self.frames
    }
}

/// What packets of one frame take beside Opus: RTP header, extension and authentication tag, 30 bytes 50 times a second.
const OVERHEAD_BPS: u32 = 12_000;

/// From so many bits a second of the path on, sound is coded like this. 16 kbit/s are wide-band, 8 narrow-band.
const STEPS: [(u32, SoundCoding); 5] = [
    (150_000, SoundCoding::BEST),
    (100_000, SoundCoding { bps: 24_000, frames: 1 }),
    (70_000, SoundCoding { bps: 16_000, frames: 2 }),
    (45_000, SoundCoding { bps: 12_000, frames: 3 }),
    (0, SoundCoding { bps: 8_000, frames: 3 }),
];

/// A better coding needs a path that carries this much more than it needs: it is not to change to and fro.
const RISE: f64 = 1.15;

/// The coding that is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SoundRate {
    coding: SoundCoding,
}

impl Default for SoundRate {
    fn default() -> Self {
        Self { coding: SoundCoding::BEST }
    }
}

impl SoundRate {
    /// The path carries `target_bps` bits a second; the new coding, when it is another one.
    pub fn follow(&mut self, target_bps: u32) -> Option<SoundCoding> {
        let wanted = coding(target_bps);
        let risen = coding((f64::from(target_bps) / RISE) as u32);
        let next = if wanted.bps < self.coding.bps || risen.bps > self.coding.bps {
            if wanted.bps < self.coding.bps { wanted } else { risen }
        } else {
            self.coding
        };
        (std::mem::replace(&mut self.coding, next) != next).then_some(next)
    }
}

fn coding(target_bps: u32) -> SoundCoding {
    let step = STEPS.iter().find(|(from_bps, _)| target_bps >= *from_bps);
    step.unwrap_or(&STEPS[STEPS.len() - 1]).1
}

/// What sound takes of a path that carries `target_bps`, with all headers.
pub(super) fn wire_bps(target_bps: u32) -> u32 {
    coding(target_bps).wire_bps()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sound_takes_less_on_a_narrow_path_and_lives_on_in_12_kbit() {
        let mut rate = SoundRate::default();
        let is = |bps, frames| Some(SoundCoding { bps, frames });
        for (target_bps, expected) in
            [(2_000_000, None), (120_000, is(24_000, 1)), (75_000, is(16_000, 2)), (20_000, is(8_000, 3)), (0, None)]
        {
            assert_eq!(rate.follow(target_bps), expected, "{target_bps}");
        }
        assert_eq!((wire_bps(20_000), wire_bps(50_000), wire_bps(1_000_000)), (12_000, 16_000, 44_000));
    }

    #[test]
    fn it_rises_only_when_there_is_more_than_enough() {
        let mut rate = SoundRate::default();
        rate.follow(99_000);
        let changes: Vec<_> = [101_000, 99_000, 110_000, 114_000].iter().filter_map(|bps| rate.follow(*bps)).collect();
        assert_eq!(changes, []);
        assert_eq!(rate.follow(116_000).map(|coding| coding.bps), Some(24_000));
        assert_eq!(rate.follow(101_000), None);
    }
}
