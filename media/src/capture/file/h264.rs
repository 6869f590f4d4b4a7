//! H.264 from files: pictures leave in the order in which they are shown, which B pictures make different from the order
//! in which they are coded.
//!
//! The decoder of [`crate::codec::h264`] gives each picture at once, as calls need it, and so cannot reorder. This one
//! holds pictures back as long as the stream asks for, and gives the last ones at the end.

use std::collections::VecDeque;
use std::time::Instant;

use openh264::decoder::{DecodeOptions, Decoder, Flush};
use openh264::formats::YUVSource;

use super::{ReadError, SIDE_MAX};
use crate::frame::{Size, VideoFrame};

/// Decodes one stream from its first keyframe to its end.
pub(super) struct ReorderingDecoder {
    library: Decoder,
    /// What the library still held at the end of the stream; `None` before the end.
    rest: Option<VecDeque<VideoFrame>>,
}

impl ReorderingDecoder {
    pub(super) fn new() -> Result<Self, ReadError> {
        Ok(Self { library: Decoder::new().map_err(|error| broken(&error))?, rest: None })
    }

    /// Takes one coded picture as Annex B and gives the next one to show, if that is certain already.
    pub(super) fn decode(&mut self, data: &[u8]) -> Result<Option<VideoFrame>, ReadError> {
        if data.is_empty() {
            // The library takes an empty buffer for the end of the stream.
            return Ok(None);
        }
        let options = DecodeOptions::new().flush_after_decode(Flush::NoFlush);
        let picture = self.library.decode_with_options(data, options).map_err(|error| broken(&error))?;
        picture.map(|picture| copy(&picture)).transpose()
    }

    /// After the last coded picture: the pictures that were held back, one a call.
    pub(super) fn rest(&mut self) -> Result<Option<VideoFrame>, ReadError> {
        if self.rest.is_none() {
            let pictures = self.library.flush_remaining().map_err(|error| broken(&error))?;
            self.rest = Some(pictures.iter().map(copy).collect::<Result<_, _>>()?);
        }
        Ok(self.rest.as_mut().and_then(VecDeque::pop_front))
    }
}

fn broken(error: &openh264::Error) -> ReadError {
    ReadError::Broken(format!("h264 decode failed: {}", error.to_string().to_lowercase()))
}

/// Takes the visible part out of the library's padded planes.
fn copy(picture: &impl YUVSource) -> Result<VideoFrame, ReadError> {
    let wrong_size = |(width, height)| ReadError::Broken(format!("it has a picture of {width}x{height}"));
    let (width, height) = picture.dimensions();
    if !(2..=SIDE_MAX as usize).contains(&width) || !(2..=SIDE_MAX as usize).contains(&height) {
        return Err(wrong_size((width, height)));
    }
    let size = Size { width: (width & !1) as u32, height: (height & !1) as u32 };
    let (y_stride, u_stride, v_stride) = picture.strides();
    let planes =
        [(picture.y(), y_stride, size), (picture.u(), u_stride, size.chroma()), (picture.v(), v_stride, size.chroma())];
    let mut i420 = Vec::with_capacity(size.i420_len());
    for (plane, stride, part) in planes {
        for row in plane.chunks(stride.max(1)).take(part.height as usize) {
            i420.extend_from_slice(row.get(..part.width as usize).ok_or_else(|| wrong_size((width, height)))?);
        }
    }
    VideoFrame::from_i420(size, i420, Instant::now()).ok_or_else(|| wrong_size((width, height)))
}
