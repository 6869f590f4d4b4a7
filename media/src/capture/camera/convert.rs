//! What cameras give, as I420: YUYV, NV12, MJPEG, grey, RGB and BGR.
//!
//! Pure, and never panics on a short or hostile picture: drivers hand out truncated buffers when a cable wobbles.

use std::time::Instant;

use nokhwa::utils::FrameFormat;
use yuv::{
    BufferStoreMut, YuvConversionMode, YuvPackedImage, YuvPlanarImageMut, YuvRange, YuvStandardMatrix, bgr_to_yuv420,
    rgb_to_yuv420, yuyv422_to_yuv420,
};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use crate::frame::{Size, VideoFrame};

/// Longest side of a picture that is accepted; no codec here goes further.
const SIDE_MAX: u32 = 8_192;

/// A picture that cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ConvertError {
    /// The driver says it has no or an absurd size.
    #[error("the camera gave a picture of {0}x{1}")]
    Size(u32, u32),
    /// There are fewer bytes than its size needs.
    #[error("the camera gave {have} of {need} bytes of a picture")]
    Short {
        /// Bytes that came.
        have: usize,
        /// Bytes it takes.
        need: usize,
    },
    /// Broken JPEG, or a library's own refusal.
    #[error("the camera gave a broken picture: {0}")]
    Broken(String),
}

/// Converts one picture of `width` times `height`; an odd side loses its last column or row. JPEG brings its own size.
///
/// # Errors
/// [`ConvertError`]; the next picture may be fine.
pub(super) fn to_i420(
    format: FrameFormat,
    (width, height): (u32, u32),
    data: &[u8],
    at: Instant,
) -> Result<VideoFrame, ConvertError> {
    if format == FrameFormat::MJPEG {
        return from_jpeg(data, at);
    }
    let mut frame = black(width, height, at)?;
    let (columns, rows) = (width as usize, height as usize);
    match format {
        FrameFormat::YUYV => from_yuyv(rows_of(data, columns.div_ceil(2) * 4, rows)?, &mut frame)?,
        FrameFormat::NV12 => {
            from_nv12(rows_of(data, columns.div_ceil(2) * 2, rows + rows.div_ceil(2))?, rows, &mut frame)
        }
        FrameFormat::GRAY => from_grey(&rows_of(data, columns, rows)?, &mut frame),
        FrameFormat::RAWRGB => from_rgb(&rows_of(data, columns * 3, rows)?, Order::Rgb, &mut frame)?,
        FrameFormat::RAWBGR => from_rgb(&rows_of(data, columns * 3, rows)?, Order::Bgr, &mut frame)?,
        FrameFormat::MJPEG => {}
    }
    Ok(frame)
}

/// A black picture of the even size at or below `width` times `height`.
fn black(width: u32, height: u32, at: Instant) -> Result<VideoFrame, ConvertError> {
    if !(2..=SIDE_MAX).contains(&width) || !(2..=SIDE_MAX).contains(&height) {
        return Err(ConvertError::Size(width, height));
    }
    Ok(VideoFrame::black(Size { width: width & !1, height: height & !1 }, at))
}

/// Rows of bytes, possibly with padding between them.
struct Rows<'a> {
    data: &'a [u8],
    stride: usize,
}

impl<'a> Rows<'a> {
    fn iter(&self) -> impl Iterator<Item = &'a [u8]> {
        self.data.chunks_exact(self.stride)
    }
}

/// Cuts `data` into `rows` rows of at least `row_bytes` bytes, and finds out how far apart they are.
///
/// Nobody tells us the distance. Drivers round rows up to powers of two and whole buffers up to pages, so padding
/// between rows is believed in only when it fits both the buffer and such rounding, and is more than a page in all.
fn rows_of(data: &[u8], row_bytes: usize, rows: usize) -> Result<Rows<'_>, ConvertError> {
    const PAGE: usize = 4_096;
    let need = row_bytes * rows;
    if data.len() < need {
        return Err(ConvertError::Short { have: data.len(), need });
    }
    let apart = data.len() / rows;
    let padded = data.len().is_multiple_of(rows)
        && apart.is_multiple_of(16)
        && apart < 2 * row_bytes
        && data.len() - need >= PAGE;
    let stride = if padded { apart } else { row_bytes };
    Ok(Rows { data: &data[..stride * rows], stride })
}

fn from_yuyv(rows: Rows<'_>, frame: &mut VideoFrame) -> Result<(), ConvertError> {
    let Size { width, height } = frame.size();
    let packed = YuvPackedImage {
        // An odd last row is left out.
        yuy: &rows.data[..rows.stride * height as usize],
        yuy_stride: rows.stride as u32,
        width,
        height,
    };
    yuyv422_to_yuv420(&mut planes(frame), &packed).map_err(broken)
}

fn from_nv12(rows: Rows<'_>, luma_rows: usize, frame: &mut VideoFrame) {
    let width = frame.size().width as usize;
    let (y, u, v) = frame.planes_mut();
    for (to, from) in y.chunks_exact_mut(width).zip(rows.iter()) {
        to.copy_from_slice(&from[..width]);
    }
    let chroma = u.chunks_exact_mut(width / 2).zip(v.chunks_exact_mut(width / 2));
    for ((u, v), from) in chroma.zip(rows.iter().skip(luma_rows)) {
        for ((u, v), pair) in u.iter_mut().zip(v).zip(from.chunks_exact(2)) {
            (*u, *v) = (pair[0], pair[1]);
        }
    }
}

fn from_grey(rows: &Rows<'_>, frame: &mut VideoFrame) {
    let width = frame.size().width as usize;
    let (y, ..) = frame.planes_mut();
    for (to, from) in y.chunks_exact_mut(width).zip(rows.iter()) {
        for (to, &from) in to.iter_mut().zip(from) {
            // Full range (0 to 255) to limited range (16 to 235), rounded.
            *to = 16 + ((u16::from(from) * 219 + 127) / 255) as u8;
        }
    }
}

enum Order {
    Rgb,
    Bgr,
}

fn from_rgb(rows: &Rows<'_>, order: Order, frame: &mut VideoFrame) -> Result<(), ConvertError> {
    let convert = match order {
        Order::Rgb => rgb_to_yuv420,
        Order::Bgr => bgr_to_yuv420,
    };
    let range = YuvRange::Limited;
    let matrix = YuvStandardMatrix::Bt601;
    convert(&mut planes(frame), rows.data, rows.stride as u32, range, matrix, YuvConversionMode::Balanced)
        .map_err(broken)
}

fn from_jpeg(data: &[u8], at: Instant) -> Result<VideoFrame, ConvertError> {
    let options = DecoderOptions::default()
        .set_max_width(SIDE_MAX as usize)
        .set_max_height(SIDE_MAX as usize)
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(data), options);
    let pixels = decoder.decode().map_err(broken)?;
    let info = decoder.info().ok_or_else(|| ConvertError::Broken("no size".to_owned()))?;
    let (width, height) = (u32::from(info.width), u32::from(info.height));
    let mut frame = black(width, height, at)?;
    let stride = info.width as usize * 3;
    let need = stride * info.height as usize;
    let data = pixels.get(..need).ok_or(ConvertError::Short { have: pixels.len(), need })?;
    from_rgb(&Rows { data, stride }, Order::Rgb, &mut frame)?;
    Ok(frame)
}

fn planes(frame: &mut VideoFrame) -> YuvPlanarImageMut<'_, u8> {
    let Size { width, height } = frame.size();
    let (y, u, v) = frame.planes_mut();
    YuvPlanarImageMut {
        y_plane: BufferStoreMut::Borrowed(y),
        y_stride: width,
        u_plane: BufferStoreMut::Borrowed(u),
        u_stride: width / 2,
        v_plane: BufferStoreMut::Borrowed(v),
        v_stride: width / 2,
        width,
        height,
    }
}

fn broken(error: impl std::fmt::Display) -> ConvertError {
    ConvertError::Broken(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Red in BT.601 limited range (BT.601-7 §2.5.3): Y, U, V.
    const RED: [u8; 3] = [81, 90, 240];

    fn convert(format: FrameFormat, size: (u32, u32), data: &[u8]) -> Result<VideoFrame, ConvertError> {
        to_i420(format, size, data, Instant::now())
    }

    #[track_caller]
    fn assert_colour(frame: &VideoFrame, [y, u, v]: [u8; 3]) {
        let all = |plane: &[u8], wanted: u8| plane.iter().all(|&sample| sample.abs_diff(wanted) <= 2);
        assert!(all(frame.y(), y), "Y {:?}, wanted {y}", frame.y());
        assert!(all(frame.u(), u), "U {:?}, wanted {u}", frame.u());
        assert!(all(frame.v(), v), "V {:?}, wanted {v}", frame.v());
    }

    #[test]
    fn each_raw_format_gives_red() {
        let cases = [
            (FrameFormat::YUYV, [81, 90, 81, 240].repeat(8 * 6 / 2)),
            (FrameFormat::NV12, [vec![81; 48], [90, 240].repeat(12)].concat()),
            (FrameFormat::RAWRGB, [255, 0, 0].repeat(48)),
            (FrameFormat::RAWBGR, [0, 0, 255].repeat(48)),
        ];
        for (format, data) in cases {
            let frame = convert(format, (8, 6), &data).unwrap();
            assert_eq!((frame.size().width, frame.size().height), (8, 6), "{format}");
            assert_colour(&frame, RED);
        }
    }

    #[test]
    fn grey_becomes_limited_range() {
        for (grey, luma) in [(0, 16), (255, 235), (128, 126)] {
            assert_colour(&convert(FrameFormat::GRAY, (4, 4), &[grey; 16]).unwrap(), [luma, 128, 128]);
        }
    }

    #[test]
    fn odd_sizes_lose_their_last_row_and_column() {
        let cases = [
            (FrameFormat::YUYV, [81, 90, 81, 240].repeat(4 * 5)),
            (FrameFormat::NV12, [vec![81; 8 * 5], [90, 240].repeat(4 * 3)].concat()),
            (FrameFormat::RAWRGB, [255, 0, 0].repeat(7 * 5)),
        ];
        for (format, data) in cases {
            let frame = convert(format, (7, 5), &data).unwrap();
            assert_eq!((frame.size().width, frame.size().height), (6, 4), "{format}");
            assert_colour(&frame, RED);
        }
    }

    #[test]
    fn padding_between_rows_is_skipped_and_padding_at_the_end_ignored() {
        // 40 pixels are 80 bytes; rows 96 bytes apart, 300 of them: 4800 bytes of padding.
        let row = [[81, 90, 81, 240].repeat(20), vec![0xEE; 16]].concat();
        assert_colour(&convert(FrameFormat::YUYV, (40, 300), &row.repeat(300)).unwrap(), RED);
        let page_end = [[81, 90, 81, 240].repeat(20 * 30), vec![0xEE; 4_096 - 2_400]].concat();
        assert_colour(&convert(FrameFormat::YUYV, (40, 30), &page_end).unwrap(), RED);
        let row = [vec![81; 40], vec![0xEE; 8]].concat();
        let chroma = [[90, 240].repeat(20), vec![0xEE; 8]].concat();
        let padded = [row.repeat(400), chroma.repeat(200)].concat();
        assert_colour(&convert(FrameFormat::NV12, (40, 400), &padded).unwrap(), RED);
    }

    #[test]
    fn jpeg_is_decoded_with_its_own_size_and_whatever_follows_it() {
        let mut data = RED_JPEG.to_vec();
        data.extend_from_slice(&[0xEE; 100]);
        let frame = convert(FrameFormat::MJPEG, (640, 480), &data).unwrap();
        assert_eq!((frame.size().width, frame.size().height), (16, 16));
        assert_colour(&frame, RED);
    }

    #[test]
    fn short_and_hostile_pictures_are_refused() {
        for format in nokhwa::utils::frame_formats() {
            for len in [0, 1, 2, 3, 4, 47] {
                assert!(convert(*format, (8, 6), &vec![0xFF; len]).is_err(), "{format} {len}");
            }
            for size in [(0, 0), (1, 2), (2, 1), (u32::MAX, 2), (9_000, 9_000)] {
                assert!(convert(*format, size, &[0; 64]).is_err(), "{format} {size:?}");
            }
        }
        // Every truncation and every flipped byte: an error or a picture, never a panic.
        for at in 0..RED_JPEG.len() {
            let _: Result<_, _> = convert(FrameFormat::MJPEG, (16, 16), &RED_JPEG[..at]);
            let mut flipped = RED_JPEG.to_vec();
            flipped[at] ^= 0xFF;
            let _: Result<_, _> = convert(FrameFormat::MJPEG, (16, 16), &flipped);
        }
    }

    /// 16x16 pixels of red, baseline, 4:2:0.
    #[rustfmt::skip]
    const RED_JPEG: &[u8] = &[
        0xFF, 0xD8, 0xFF, 0xE0, 0x00, 0x10, 0x4A, 0x46, 0x49, 0x46, 0x00, 0x01, 0x02, 0x00, 0x00, 0x01, 0x00, 0x01,
        0x00, 0x00, 0xFF, 0xFE, 0x00, 0x10, 0x4C, 0x61, 0x76, 0x63, 0x35, 0x39, 0x2E, 0x33, 0x37, 0x2E, 0x31, 0x30,
        0x30, 0x00, 0xFF, 0xDB, 0x00, 0x43, 0x00, 0x08, 0x0A, 0x0A, 0x0B, 0x0A, 0x0B, 0x0D, 0x0D, 0x0D, 0x0D, 0x0D,
        0x0D, 0x10, 0x0F, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x12, 0x12, 0x12, 0x15,
        0x15, 0x15, 0x12, 0x12, 0x12, 0x10, 0x10, 0x12, 0x12, 0x14, 0x14, 0x15, 0x15, 0x17, 0x17, 0x17, 0x15, 0x15,
        0x15, 0x15, 0x17, 0x17, 0x19, 0x19, 0x19, 0x1E, 0x1E, 0x1C, 0x1C, 0x23, 0x23, 0x24, 0x2B, 0x2B, 0x33, 0xFF,
        0xC4, 0x00, 0x4C, 0x00, 0x01, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x06, 0x01, 0x01, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x06, 0x07, 0x10, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x11, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0xFF, 0xC0, 0x00, 0x11, 0x08, 0x00, 0x10, 0x00, 0x10, 0x03, 0x01, 0x22, 0x00,
        0x02, 0x11, 0x00, 0x03, 0x11, 0x00, 0xFF, 0xDA, 0x00, 0x0C, 0x03, 0x01, 0x00, 0x02, 0x11, 0x03, 0x11, 0x00,
        0x3F, 0x00, 0x8B, 0x00, 0x51, 0x7F, 0x7F, 0xFF, 0xD9,
    ];
}
