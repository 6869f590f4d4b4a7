//! The planes of a test picture, filled row by row. Faint grain gives encoders as much to do as a camera's noise: a low rate
//! smooths it away, a high one is used up.

use std::sync::LazyLock;

/// Luma of black and of white in BT.601 limited range.
pub(super) const BLACK: u8 = 16;
pub(super) const WHITE: u8 = 235;

/// A colour in BT.601 limited range.
#[derive(Clone, Copy)]
pub(super) struct Colour {
    y: u8,
    u: u8,
    v: u8,
}

impl Colour {
    pub(super) const fn new(y: u8, u: u8, v: u8) -> Self {
        Self { y, u, v }
    }

    /// The colour at `part` of `whole` on the way to `other`.
    pub(super) fn towards(self, other: Self, part: usize, whole: usize) -> Self {
        let mix = |a: u8, b: u8| ((usize::from(a) * (whole - part) + usize::from(b) * part) / whole.max(1)) as u8;
        Self { y: mix(self.y, other.y), u: mix(self.u, other.u), v: mix(self.v, other.v) }
    }
}

/// Grain changes luma by up to this much.
const GRAIN_MAX: u32 = 3;
/// Bytes of grain a level of luma, and how much of them is copied at once, from a changing place.
const GRAIN_LEN: usize = 1024;
const GRAIN_SPAN: usize = 512;

/// Each level of luma with grain on it, one row of [`GRAIN_LEN`] bytes a level: drawing only copies.
static GRAIN: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut random = 1;
    let mut grainy = |level: usize| {
        random = scramble(random);
        let grain = random >> 16;
        (level as u32 + grain % (2 * GRAIN_MAX + 1)).saturating_sub(GRAIN_MAX).clamp(BLACK.into(), WHITE.into()) as u8
    };
    (0..256 * GRAIN_LEN).map(|n| grainy(n / GRAIN_LEN)).collect()
});

/// One step of a linear congruential generator (Numerical Recipes); its upper bits look random.
const fn scramble(state: u32) -> u32 {
    state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223)
}

/// The planes of a picture, filled in spans: whole slices at a time, because debug builds are slow byte by byte.
pub(super) struct Canvas<'a> {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) y: &'a mut [u8],
    pub(super) u: &'a mut [u8],
    pub(super) v: &'a mut [u8],
}

impl Canvas<'_> {
    /// Fills a part of one row; what lies outside the picture is left out.
    pub(super) fn span(&mut self, row: usize, from: usize, to: usize, colour: Colour) {
        let (from, to) = (from.min(self.width), to.min(self.width));
        if row >= self.height || from >= to {
            return;
        }
        self.y[row * self.width..][from..to].fill(colour.y);
        let (chroma_row, chroma_width) = (row / 2, self.width / 2);
        if row.is_multiple_of(2) && chroma_row < self.height / 2 {
            self.u[chroma_row * chroma_width..][from / 2..to / 2].fill(colour.u);
            self.v[chroma_row * chroma_width..][from / 2..to / 2].fill(colour.v);
        }
    }

    /// Fills a whole row with a colour and the grain of this `seed`.
    pub(super) fn grainy_row(&mut self, row: usize, colour: Colour, seed: u32) {
        self.span(row, 0, self.width, colour);
        let mut random = scramble(seed ^ row as u32);
        let grain = &GRAIN[usize::from(colour.y) * GRAIN_LEN..][..GRAIN_LEN];
        for part in self.y[row * self.width..][..self.width].chunks_mut(GRAIN_SPAN) {
            random = scramble(random);
            part.copy_from_slice(&grain[random as usize >> 23..][..part.len()]);
        }
    }
}
