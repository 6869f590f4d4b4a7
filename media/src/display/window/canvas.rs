//! A scene as pixels: I420 pictures scaled, converted and placed on a black ground. Pure.

use yuv::{YuvPlanarImage, YuvRange, YuvStandardMatrix, yuv420_to_bgra};

use crate::display::scale::Scaler;
use crate::display::{Area, Scene, Surface};
use crate::frame::{Size, VideoFrame};

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
        for (frame, area) in scene.layers(Surface { width, height }) {
            self.paint(frame, area, width, pixels);
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
        let scene = Scene { remote: Some(plain(64, 32, [81, 90, 240])), own: Some(plain(16, 8, [41, 240, 110])) };
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
    fn every_surface_size_is_drawn_without_harm() {
        let scene = Scene { remote: Some(plain(64, 48, [81, 90, 240])), own: Some(plain(48, 64, [81, 90, 240])) };
        let mut canvas = Canvas::new();
        for width in 0..40_u32 {
            for height in 0..40_usize {
                canvas.draw(&scene, width, &mut vec![0; width as usize * height]);
            }
        }
    }
}
