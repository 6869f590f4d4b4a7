//! Pictures in another size: each I420 plane for itself, in vector code.

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};

use crate::frame::{Size, VideoFrame};

/// Scales planes and keeps its scratch memory between pictures.
#[derive(Debug)]
pub(crate) struct Scaler {
    resizer: Resizer,
    options: ResizeOptions,
}

impl Scaler {
    /// Averages what falls together: for a few large dots.
    pub(crate) fn averaging() -> Self {
        Self::with(FilterType::Box)
    }

    /// Blends neighbours: for a smooth picture on a screen.
    pub(crate) fn smooth() -> Self {
        Self::with(FilterType::Bilinear)
    }

    /// The picture in size `to`, captured when it was.
    pub(crate) fn picture(&mut self, frame: &VideoFrame, to: Size) -> VideoFrame {
        let (mut data, mut plane) = (Vec::with_capacity(to.i420_len()), Vec::new());
        let (from, small) = (frame.size(), to.chroma());
        for (input, from, to) in
            [(frame.y(), from, to), (frame.u(), from.chroma(), small), (frame.v(), from.chroma(), small)]
        {
            self.plane(input, from, &mut plane, to);
            data.extend_from_slice(&plane);
        }
        VideoFrame::from_i420(to, data, frame.at).unwrap_or_else(|| VideoFrame::black(to, frame.at))
    }

    fn with(filter: FilterType) -> Self {
        let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(filter));
        Self { resizer: Resizer::new(), options }
    }

    /// Scales one plane of bytes of size `from` into `output`, which becomes exactly as long as `to` needs.
    /// A size that does not match leaves zeros.
    pub(crate) fn plane(&mut self, input: &[u8], from: Size, output: &mut Vec<u8>, to: Size) {
        output.clear();
        output.resize(to.area(), 0);
        if from == to && input.len() == to.area() {
            output.copy_from_slice(input);
            return;
        }
        let (Ok(source), Ok(mut target)) = (
            ImageRef::new(from.width, from.height, input, PixelType::U8),
            Image::from_slice_u8(to.width, to.height, output, PixelType::U8),
        ) else {
            return;
        };
        if let Err(error) = self.resizer.resize(&source, &mut target, &self.options) {
            tracing::debug!(%error, "picture not scaled");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn averaging_averages_and_sizes_that_lie_do_no_harm() {
        let mut output = Vec::new();
        let from = Size { width: 4, height: 2 };
        let to = Size { width: 2, height: 1 };
        Scaler::averaging().plane(&[0, 100, 10, 10, 0, 100, 20, 20], from, &mut output, to);
        assert_eq!(output, [50, 15]);
        Scaler::smooth().plane(&[1, 2, 3], from, &mut output, to);
        assert_eq!(output, [0, 0]);
    }
}
