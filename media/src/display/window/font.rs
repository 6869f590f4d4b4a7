//! The letters of a window: ASCII, the middle dot and the ellipsis, in one size.
//!
//! `font.png` has them side by side, white on black, 9 dots wide each: DejaVu Sans Mono at 15 dots, whose licence lets
//! anybody use, copy and change it (<https://dejavu-fonts.github.io/License.html>).

use std::sync::OnceLock;

/// Size of a letter, dots.
pub(super) const WIDTH: u32 = 9;
pub(super) const HEIGHT: u32 = 19;

/// Letters in the picture: from the blank to the tilde, and two more.
const LETTERS: u32 = 97;

const PICTURE: &[u8] = include_bytes!("font.png");

/// Where a text begins, and how many times its size it has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) x: u32,
    pub(super) y: u32,
    pub(super) scale: u32,
}

/// Writes a line of text in this colour, cut off at the edges of `pixels`, whose rows are `width` long.
pub(super) fn write(text: &str, place: Place, ink: u32, width: u32, pixels: &mut [u32]) {
    let Some(letters) = letters() else { return };
    let Place { x: left, y: top, scale } = place;
    for (index, character) in text.chars().enumerate() {
        let x = left + index as u32 * WIDTH * scale;
        if x + WIDTH * scale > width {
            return;
        }
        let first = place_of(character) * WIDTH;
        for row in 0..HEIGHT * scale {
            let source = (row / scale * LETTERS * WIDTH + first) as usize;
            let start = ((top + row) * width + x) as usize;
            let Some(target) = pixels.get_mut(start..start + (WIDTH * scale) as usize) else { return };
            for (column, pixel) in target.iter_mut().enumerate() {
                *pixel = blend(*pixel, ink, u32::from(letters[source + column / scale as usize]));
            }
        }
    }
}

/// `share` of 255 parts of `ink`, the rest of what was there.
fn blend(ground: u32, ink: u32, share: u32) -> u32 {
    let level = |shift: u32| {
        let (ground, ink) = (ground >> shift & 0xFF, ink >> shift & 0xFF);
        (ground * (255 - share) + ink * share) / 255
    };
    level(16) << 16 | level(8) << 8 | level(0)
}

fn place_of(character: char) -> u32 {
    match character {
        ' '..='~' => u32::from(character) - u32::from(' '),
        '·' => LETTERS - 2,
        '…' => LETTERS - 1,
        _ => u32::from('?') - u32::from(' '),
    }
}

/// One byte a dot. None when the picture cannot be read, which a test excludes.
fn letters() -> Option<&'static [u8]> {
    static READ: OnceLock<Option<Vec<u8>>> = OnceLock::new();
    READ.get_or_init(|| {
        let mut reader = png::Decoder::new(std::io::Cursor::new(PICTURE)).read_info().ok()?;
        let mut dots = vec![0; reader.output_buffer_size()?];
        reader.next_frame(&mut dots).ok()?;
        (dots.len() == (LETTERS * WIDTH * HEIGHT) as usize).then_some(dots)
    })
    .as_deref()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_there_and_differ() {
        let drawn = |text: &str| {
            let mut pixels = vec![0; (WIDTH * HEIGHT) as usize];
            write(text, Place { x: 0, y: 0, scale: 1 }, 0xFF_FFFF, WIDTH, &mut pixels);
            pixels
        };
        let all: Vec<_> = "!aA~·…?".chars().map(|letter| drawn(&letter.to_string())).collect();
        for (index, one) in all.iter().enumerate() {
            assert!(one.iter().any(|pixel| *pixel > 0xC0_C0C0), "letter {index}");
            assert!(!all[index + 1..].contains(one), "letter {index}");
        }
        assert!(drawn(" ").iter().all(|pixel| *pixel == 0));
        assert_eq!(drawn("ü"), drawn("?"));
    }

    #[test]
    fn text_is_cut_off_at_every_edge() {
        for (width, height) in [(0_u32, 0_usize), (5, 5), (20, 10), (100, 30)] {
            let mut pixels = vec![0; width as usize * height];
            for scale in [1, 2] {
                write("a longer text", Place { x: 3, y: 4, scale }, 0xFF_FFFF, width, &mut pixels);
            }
        }
    }
}
