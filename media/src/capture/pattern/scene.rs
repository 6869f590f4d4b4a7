//! What a test picture shows below its stamp: a sunset over water, whose sun wanders, and colour bars that scroll.

use std::f64::consts::TAU;

use super::canvas::{Canvas, Colour};

const SKY_HIGH: Colour = Colour::new(40, 158, 118);
const SKY_LOW: Colour = Colour::new(150, 96, 168);
const WATER_FAR: Colour = Colour::new(96, 124, 146);
const WATER_NEAR: Colour = Colour::new(34, 148, 118);
const SUN: Colour = Colour::new(222, 62, 150);
const GLITTER: Colour = Colour::new(168, 80, 152);

/// White, yellow, cyan, green, magenta, red, blue, black at 75 %: a swapped or shifted plane shows at a glance.
const BARS: [Colour; 8] = [
    Colour::new(180, 128, 128),
    Colour::new(162, 44, 142),
    Colour::new(131, 156, 44),
    Colour::new(112, 72, 58),
    Colour::new(84, 184, 198),
    Colour::new(65, 100, 212),
    Colour::new(35, 212, 114),
    Colour::new(16, 128, 128),
];

/// Sky, sun, water and bars below row `top`. Everything that moves moves by a few pixels a picture, to encode well.
pub(super) fn draw_scene(canvas: &mut Canvas<'_>, top: usize, counter: u32) {
    let (width, height) = (canvas.width, canvas.height);
    let bars_top = (height - height / 10).next_multiple_of(2).max(top).min(height);
    let horizon = (top + (bars_top - top) * 2 / 3).next_multiple_of(2).min(bars_top);
    let seed = counter.wrapping_mul(0x9E37_79B9);
    for row in top..horizon {
        canvas.grainy_row(row, SKY_HIGH.towards(SKY_LOW, row - top, horizon - top), seed);
    }
    for row in horizon..bars_top {
        canvas.grainy_row(row, WATER_FAR.towards(WATER_NEAR, row - horizon, bars_top - horizon), seed);
    }

    // The sun goes from side to side in 20 s at 30 fps, and up and down twice as fast.
    let radius = height.min(width) / 8;
    let angle = f64::from(counter % 600) / 600.0 * TAU;
    let wander = |middle: usize, reach: f64| (middle as f64 + reach).max(0.0).round() as usize;
    let centre_x = wander(width / 2, width as f64 * 0.3 * angle.sin());
    let centre_y = wander(horizon, radius as f64 * ((2.0 * angle).sin() - 0.7));
    let half_width = |distance: usize| (radius * radius).saturating_sub(distance * distance).isqrt();
    for row in top..horizon {
        let half = half_width(row.abs_diff(centre_y));
        canvas.span(row, even(centre_x.saturating_sub(half)), even(centre_x + half), SUN);
    }
    let band = (height / 60).next_multiple_of(2).max(2);
    for row in (horizon..bars_top).filter(|row| (row - horizon) / band % 2 == 1) {
        let phase = (row - horizon) / band * 3 + counter as usize / 4;
        let half = radius * (3 + phase % 5) / 8;
        canvas.span(row, even(centre_x.saturating_sub(half)), even(centre_x + half), GLITTER);
    }
    draw_bars(canvas, bars_top, counter as usize * 2 % width);
}

const fn even(n: usize) -> usize {
    n & !1
}

/// Colour bars from row `top` down, moved right by `shift` pixels: one row is drawn, the others are copies.
fn draw_bars(canvas: &mut Canvas<'_>, top: usize, shift: usize) {
    let (width, height) = (canvas.width, canvas.height);
    if top >= height {
        return;
    }
    for (n, colour) in BARS.into_iter().enumerate() {
        let [from, to] = [n, n + 1].map(|n| even(n * width / BARS.len()) + even(shift));
        canvas.span(top, from, to, colour);
        canvas.span(top, from.saturating_sub(width), to.saturating_sub(width), colour);
    }
    for row in top + 1..height {
        canvas.y.copy_within(top * width..(top + 1) * width, row * width);
    }
    let (chroma_top, chroma_width) = (top / 2, width / 2);
    for row in chroma_top + 1..height / 2 {
        for plane in [&mut *canvas.u, &mut *canvas.v] {
            plane.copy_within(chroma_top * chroma_width..(chroma_top + 1) * chroma_width, row * chroma_width);
        }
    }
}
