//! A scene as pixels: I420 pictures scaled, converted and placed on a black ground, a line of text below, words over
//! them. Pure.

use yuv::{YuvPlanarImage, YuvRange, YuvStandardMatrix, yuv420_to_bgra};

use super::font;
use crate::display::{Area, Labels, Scene, Shade, Surface};
use crate::frame::{Size, VideoFrame};
use crate::scale::Scaler;

/// From this height on text is drawn at twice its size: such windows are on dense screens, or seen from afar.
const LARGE: u32 = 1400;

/// Space above and below a line of text, dots.
const MARGIN: u32 = 3;

/// White on dark grey.
const INK: u32 = 0x00E6_E6E6;
const GROUND: u32 = 0x0020_2020;

/// Draws scenes and keeps its scratch memory between them.
pub(super) struct Canvas {
    scaler: Scaler,
    planes: [Vec<u8>; 3],
}

impl Canvas {
    pub(super) fn new() -> Self {
        Self { scaler: Scaler::smooth(), planes: Default::default() }
    }

    /// Fills `pixels`, rows of `width` values 0xXXRRGGBB (on little-endian machines: bytes B, G, R, X).
    pub(super) fn draw(&mut self, scene: &Scene, width: u32, pixels: &mut [u32]) {
        pixels.fill(0);
        let height = (pixels.len() / width.max(1) as usize) as u32;
        let scale = if height >= LARGE { 2 } else { 1 };
        let line = (font::HEIGHT + 2 * MARGIN) * scale;
        // A window too low for both shows pictures alone.
        let bar = if height >= 4 * line { line } else { 0 };
        let (pictures, below) = pixels.split_at_mut((width * (height - bar)) as usize);
        for (frame, area, shade) in scene.layers(Surface { width, height: height - bar }) {
            self.paint(frame, area, width, pictures);
            if shade == Shade::Dimmed {
                dim(area, width, pictures);
            }
        }
        say_over(&scene.labels, width, scale, pictures);
        if bar > 0 {
            below.fill(GROUND);
            let text = scene.labels.line((width / (font::WIDTH * scale)) as usize);
            font::write(&text, font::Place { x: 0, y: MARGIN * scale, scale }, INK, width, below);
        }
    }

    fn paint(&mut self, frame: &VideoFrame, area: Area, width: u32, pixels: &mut [u32]) {
        // I420 needs even sides; the odd column or row stays black.
        let to = Size { width: area.width & !1, height: area.height & !1 };
        if to.area() == 0 {
            return;
        }
        let from = frame.size();
        let image = if from == to {
            planar(frame.y(), frame.u(), frame.v(), to)
        } else {
            let [y, u, v] = &mut self.planes;
            self.scaler.plane(frame.y(), from, y, to);
            self.scaler.plane(frame.u(), from.chroma(), u, to.chroma());
            self.scaler.plane(frame.v(), from.chroma(), v, to.chroma());
            planar(y, u, v, to)
        };
        let start = area.y as usize * width as usize + area.x as usize;
        let target = bytemuck::cast_slice_mut::<u32, u8>(&mut pixels[start..]);
        if let Err(error) = yuv420_to_bgra(&image, target, width * 4, YuvRange::Limited, YuvStandardMatrix::Bt601) {
            tracing::debug!(%error, "picture not converted");
        }
    }
}

/// A third of the brightness, without colour.
fn dim(area: Area, width: u32, pixels: &mut [u32]) {
    let rows = pixels.chunks_exact_mut(width as usize).skip(area.y as usize).take(area.height as usize);
    for row in rows {
        for pixel in &mut row[area.x as usize..(area.x + area.width) as usize] {
            let [b, g, r, _] = pixel.to_le_bytes().map(u32::from);
            let grey = (77 * r + 150 * g + 29 * b) / (3 * 256);
            *pixel = grey << 16 | grey << 8 | grey;
        }
    }
}

/// Lines of text in the middle, on a ground of their own.
fn say_over(labels: &Labels, width: u32, scale: u32, pixels: &mut [u32]) {
    let lines = labels.over();
    let (Some(widest), true) = (lines.iter().map(|line| line.chars().count()).max(), width > 0) else { return };
    let height = (pixels.len() / width as usize) as u32;
    let step = (font::HEIGHT + MARGIN) * scale;
    let box_width = ((widest as u32 + 2) * font::WIDTH * scale).min(width);
    let box_height = (lines.len() as u32 * step + 2 * MARGIN * scale).min(height);
    let (left, top) = ((width - box_width) / 2, (height - box_height) / 2);
    let rows = pixels.chunks_exact_mut(width as usize).skip(top as usize).take(box_height as usize);
    rows.for_each(|row| row[left as usize..(left + box_width) as usize].fill(GROUND));
    for (index, line) in lines.iter().enumerate() {
        let y = top + MARGIN * scale + index as u32 * step;
        font::write(line, font::Place { x: left + font::WIDTH * scale, y, scale }, INK, width, pixels);
    }
}

fn planar<'a>(y: &'a [u8], u: &'a [u8], v: &'a [u8], size: Size) -> YuvPlanarImage<'a, u8> {
    YuvPlanarImage {
        y_plane: y,
        y_stride: size.width,
        u_plane: u,
        u_stride: size.width / 2,
        v_plane: v,
        v_stride: size.width / 2,
        width: size.width,
        height: size.height,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use super::*;

    fn plain(width: u32, height: u32, [y, u, v]: [u8; 3]) -> Arc<VideoFrame> {
        let mut frame = VideoFrame::black(Size { width, height }, Instant::now());
        let planes = frame.planes_mut();
        planes.0.fill(y);
        planes.1.fill(u);
        planes.2.fill(v);
        Arc::new(frame)
    }

    fn is_near(pixel: u32, wanted: u32) -> bool {
        pixel.to_le_bytes()[..3].iter().zip(wanted.to_le_bytes()).all(|(a, b)| a.abs_diff(b) <= 2)
    }

    #[test]
    fn pictures_lie_where_they_belong_in_their_own_colours() {
        let scene = Scene {
            remote: Some(plain(64, 32, [81, 90, 240])),
            own: Some(plain(16, 8, [41, 240, 110])),
            ..Scene::default()
        };
        // Two rows of bars above and below, odd width: the last column stays black.
        let (width, height) = (129_u32, 68_usize);
        let mut pixels = vec![0xFFFF_FFFF; width as usize * height];
        Canvas::new().draw(&scene, width, &mut pixels);
        let at = |x: usize, y: usize| pixels[y * width as usize + x];
        assert!(is_near(at(5, 1), 0) && is_near(at(5, 66), 0));
        assert!(is_near(at(0, 2), 0xFF_0000) && is_near(at(127, 65), 0xFF_0000), "{:x}", at(0, 2));
        assert!(is_near(at(128, 30), 0));
        assert!(is_near(at(110, 60), 0x00_00FF), "{:x}", at(110, 60));
    }

    #[test]
    fn words_stand_below_and_over_a_picture_that_is_grey_then() {
        let (width, height) = (300_u32, 200_usize);
        let labels = |not_live: Option<&str>| {
            let (state, not_live) = ("bob".to_owned(), not_live.map(str::to_owned));
            Labels { state, not_live, ..Labels::default() }
        };
        let mut scene = Scene { remote: Some(plain(64, 32, [81, 90, 240])), ..Scene::default() };
        scene.labels = Arc::new(labels(None));
        let mut pixels = vec![0; width as usize * height];
        Canvas::new().draw(&scene, width, &mut pixels);
        let is_ink = |pixel: &&u32| pixel.to_le_bytes()[0] > 0x90;
        let ink = |pixels: &[u32]| pixels.iter().filter(is_ink).count();
        let bar = (height - 25) * width as usize;
        assert!(ink(&pixels[bar..]) > 10 && ink(&pixels[..bar]) == 0);
        assert!(is_near(pixels[90 * width as usize + 20], 0xFF_0000));
        scene.labels = Arc::new(labels(Some("on hold")));
        Canvas::new().draw(&scene, width, &mut pixels);
        assert!(ink(&pixels[..bar]) > 20);
        let [b, g, r, _] = pixels[90 * width as usize + 20].to_le_bytes();
        assert!(r == g && g == b && (10..60).contains(&r), "{r} {g} {b}");
    }

    #[test]
    fn every_surface_size_is_drawn_without_harm() {
        let scene = Scene {
            remote: Some(plain(64, 48, [81, 90, 240])),
            own: Some(plain(48, 64, [81, 90, 240])),
            ..Scene::default()
        };
        let mut canvas = Canvas::new();
        for width in 0..40_u32 {
            for height in 0..40_usize {
                canvas.draw(&scene, width, &mut vec![0; width as usize * height]);
            }
        }
    }
}
