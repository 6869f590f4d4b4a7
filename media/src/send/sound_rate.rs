//! [`SoundRate`]: at how many bits a second, and in how long packets, sound is sent on a path that carries so much for all
//! media together.
//!
//! Sound comes first: pictures have what it leaves. On a path where little is left it takes less itself, down to what can
//! just be understood. There headers weigh more than sound, so that more of it goes into each packet (RFC 7587 §4.2).
//!
//! Copies of earlier packets are sent where they and the sound together take at most a quarter of the path.

use super::redundancy::Copies;

/// How sound is coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SoundCoding {
    /// Bitrate of Opus, bits a second.
    pub bps: u32,
    /// Frames of 20 ms in one packet.
    pub frames: u32,
    /// Earlier packets that each packet carries copies of.
    pub copies: Copies,
}

impl SoundCoding {
    /// Where nothing is narrow: full-band speech without audible loss (RFC 7587 §3.1.1 suggests 28 to 40 kbit/s).
    pub const BEST: Self = Self::alone(32_000, 1);

    const fn alone(bps: u32, frames: u32) -> Self {
        Self { bps, frames, copies: Copies::None }
    }

    /// What it takes of the path, bits a second, with all headers.
    const fn wire_bps(self) -> u32 {
        let copies = self.copies.count();
        // Where there is one, the packet's own sound has a header too.
        let headers = if copies > 0 { copies * COPY_HEADER_BPS + OWN_HEADER_BPS } else { 0 };
        self.bps * (1 + copies) + (OVERHEAD_BPS + headers) / self.frames
    }
}

/// Headers of a copy and of the packet's own sound beside it (RFC 2198 §3): 4 bytes and 1 byte 50 times a second.
const COPY_HEADER_BPS: u32 = 1_600;
const OWN_HEADER_BPS: u32 = 400;

/// Sound with its copies takes at most one part in so many of the path.
const SHARE: u32 = 4;

/// What packets of one frame take beside Opus: RTP header, extension and authentication tag, 30 bytes 50 times a second.
const OVERHEAD_BPS: u32 = 12_000;

/// From so many bits a second of the path on, sound is coded like this. 16 kbit/s are wide-band, 8 narrow-band, and 6 the
/// least that can be understood.
const STEPS: [(u32, SoundCoding); 6] = [
    (150_000, SoundCoding::BEST),
    (100_000, SoundCoding::alone(24_000, 1)),
    (70_000, SoundCoding::alone(16_000, 2)),
    (45_000, SoundCoding::alone(12_000, 3)),
    (32_000, SoundCoding::alone(8_000, 3)),
    (0, SoundCoding::alone(6_000, 6)),
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
    /// The path carries `target_bps` bits a second, and its loss wants these copies; the new coding, when it is another
    /// one.
    pub fn follow(&mut self, target_bps: u32, wanted: Copies) -> Option<SoundCoding> {
        let (now, risen) = (coding(target_bps, wanted), coding((f64::from(target_bps) / RISE) as u32, wanted));
        let (took_bps, is_unwanted) = (self.coding.wire_bps(), self.coding.copies.count() > wanted.count());
        let next = if now.wire_bps() < took_bps || is_unwanted {
            now
        } else if risen.wire_bps() >= took_bps {
            risen
        } else {
            self.coding
        };
        (std::mem::replace(&mut self.coding, next) != next).then_some(next)
    }
}

/// The coding for a path that carries so much, with as many of the wanted copies as it has room for.
fn coding(target_bps: u32, wanted: Copies) -> SoundCoding {
    let step = STEPS.iter().find(|(from_bps, _)| target_bps >= *from_bps);
    let alone = step.unwrap_or(&STEPS[STEPS.len() - 1]).1;
    let fewer: &[Copies] = match wanted {
        Copies::None => &[],
        Copies::Last => &[Copies::Last],
        Copies::Fourth => &[Copies::Fourth],
        Copies::LastAndFourth => &[Copies::LastAndFourth, Copies::Fourth],
    };
    let with = fewer.iter().map(|&copies| SoundCoding { copies, ..alone });
    // Packets of several frames are for narrow paths, and a lost one is too much to copy.
    let mut fitting = with.filter(|coding| coding.frames == 1 && coding.wire_bps().saturating_mul(SHARE) <= target_bps);
    fitting.next().unwrap_or(alone)
}

/// What sound takes of a path that carries `target_bps`, with all headers and these copies.
pub(super) fn wire_bps(target_bps: u32, copies: Copies) -> u32 {
    coding(target_bps, copies).wire_bps()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sound_takes_less_on_a_narrow_path_and_lives_on_in_8_kbit() {
        let mut rate = SoundRate::default();
        let is = |bps, frames| Some(SoundCoding::alone(bps, frames));
        for (target_bps, expected) in [
            (2_000_000, None),
            (120_000, is(24_000, 1)),
            (75_000, is(16_000, 2)),
            (35_000, is(8_000, 3)),
            (20_000, is(6_000, 6)),
            (0, None),
        ] {
            assert_eq!(rate.follow(target_bps, Copies::None), expected, "{target_bps}");
        }
        let wire_bps = |target_bps| wire_bps(target_bps, Copies::None);
        assert_eq!((wire_bps(20_000), wire_bps(50_000), wire_bps(1_000_000)), (8_000, 16_000, 44_000));
    }

    #[test]
    fn it_rises_only_when_there_is_more_than_enough() {
        let mut rate = SoundRate::default();
        rate.follow(99_000, Copies::None);
        let changes: Vec<_> =
            [101_000, 99_000, 110_000, 114_000].iter().filter_map(|bps| rate.follow(*bps, Copies::None)).collect();
        assert_eq!(changes, []);
        assert_eq!(rate.follow(116_000, Copies::None).map(|coding| coding.bps), Some(24_000));
        assert_eq!(rate.follow(101_000, Copies::None), None);
    }

    #[test]
    fn copies_are_sent_where_they_take_a_quarter_of_the_path_and_none_on_a_narrow_one() {
        let copies = |target_bps, wanted| coding(target_bps, wanted).copies;
        let all = Copies::LastAndFourth;
        assert_eq!([2_000_000, 450_000, 445_000].map(|bps| copies(bps, all)), [all, all, Copies::Fourth]);
        assert_eq!(
            [320_000, 310_000, 150_000, 50_000].map(|bps| copies(bps, all)),
            [Copies::Fourth, Copies::None, Copies::None, Copies::None]
        );
        assert_eq!([320_000, 310_000].map(|bps| copies(bps, Copies::Last)), [Copies::Last, Copies::None]);
        assert_eq!(wire_bps(2_000_000, all), 3 * 32_000 + 12_000 + 2 * 1_600 + 400);
    }

    #[test]
    fn copies_go_at_once_and_come_back_when_there_is_more_than_enough() {
        let mut rate = SoundRate::default();
        let all = Copies::LastAndFourth;
        let mut follow = |target_bps, wanted| rate.follow(target_bps, wanted).map(|coding| coding.copies);
        assert_eq!((follow(2_000_000, Copies::None), follow(2_000_000, Copies::Last)), (None, Some(Copies::Last)));
        assert_eq!((follow(2_000_000, all), follow(430_000, all)), (Some(all), Some(Copies::Fourth)));
        assert_eq!((follow(450_000, all), follow(530_000, all)), (None, Some(all)));
        assert_eq!(
            (follow(530_000, Copies::Last), follow(300_000, Copies::Last)),
            (Some(Copies::Last), Some(Copies::None))
        );
        assert_eq!((follow(320_000, Copies::Last), follow(320_000, Copies::None)), (None, None));
        // Nothing is lost any more, though there is little room.
        assert_eq!((follow(530_000, all), follow(400_000, Copies::None)), (Some(all), Some(Copies::None)));
    }
}
