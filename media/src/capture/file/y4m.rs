//! YUV4MPEG2: one text line of parameters, then raw 4:2:0 pictures, each after a line `FRAME`.
//!
//! Streams one picture at a time. Odd sizes are cropped to even ones, full range is brought to limited range.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::time::{Duration, Instant};

use super::{NextPicture, Pictures, ReadError, SIDE_MAX};
use crate::frame::{Size, VideoFrame};

/// Longest line of parameters; ffmpeg and mjpegtools write fewer than 100 bytes.
const LINE_BYTES_MAX: u64 = 1024;

/// Highest rate that is believed, pictures a second.
const RATE_MAX: u64 = 1000;

/// Reads one Y4M file.
pub(super) struct Reader {
    file: BufReader<File>,
    header: Header,
    first_frame_at: u64,
    pictures_read: u64,
}

/// What the first line says.
#[derive(Debug, PartialEq, Eq)]
struct Header {
    width: u32,
    height: u32,
    /// Pictures a second as a fraction, both above 0.
    rate: (u32, u32),
    range: Range,
}

#[derive(Debug, PartialEq, Eq)]
enum Range {
    Limited,
    Full,
}

impl Reader {
    /// Reads the first line; `default_fps` is the pace of a file that names none.
    pub(super) fn open(file: File, default_fps: u32) -> Result<Self, ReadError> {
        let mut file = BufReader::new(file);
        let line = line(&mut file)?.ok_or_else(|| broken("it is empty"))?;
        let header = Header::parse(&line, default_fps)?;
        let first_frame_at = file.stream_position()?;
        Ok(Self { file, header, first_frame_at, pictures_read: 0 })
    }

    fn due(&self, picture: u64) -> Duration {
        let (num, den) = self.header.rate;
        super::ticks(picture.saturating_mul(u64::from(den)), num)
    }
}

impl Pictures for Reader {
    fn next(&mut self) -> Result<NextPicture, ReadError> {
        let due = self.due(self.pictures_read);
        let Some(line) = line(&mut self.file)? else {
            return Ok(NextPicture::End { length: due });
        };
        if !(line == b"FRAME" || line.starts_with(b"FRAME ")) {
            return Err(broken("a picture does not begin with FRAME"));
        }
        let frame = self.header.read_picture(&mut self.file)?;
        self.pictures_read += 1;
        Ok(NextPicture::Picture { frame, due })
    }

    fn rewind(&mut self) -> Result<(), ReadError> {
        self.file.seek(SeekFrom::Start(self.first_frame_at))?;
        self.pictures_read = 0;
        Ok(())
    }
}

/// One line without its end; `None` at the end of the file.
fn line(file: &mut impl BufRead) -> Result<Option<Vec<u8>>, ReadError> {
    let mut line = Vec::new();
    file.take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
    match line.pop() {
        None => Ok(None),
        Some(b'\n') => Ok(Some(line)),
        Some(_) => Err(broken("a line of its header does not end")),
    }
}

fn broken(reason: &str) -> ReadError {
    ReadError::Broken(reason.to_owned())
}

impl Header {
    fn parse(line: &[u8], default_fps: u32) -> Result<Self, ReadError> {
        let line = std::str::from_utf8(line).map_err(|_| broken("its first line is not text"))?;
        let (mut width, mut height, mut rate, mut range) = (0, 0, (default_fps.max(1), 1), Range::Limited);
        for word in line.split(' ').skip(1).filter(|word| !word.is_empty()) {
            let (tag, value) = word.split_at(word.chars().next().map_or(0, char::len_utf8));
            match tag {
                "W" => width = value.parse().map_err(|_| broken("its width is not a number"))?,
                "H" => height = value.parse().map_err(|_| broken("its height is not a number"))?,
                "F" => rate = parse_rate(value)?.unwrap_or(rate),
                "C" if !matches!(value, "420" | "420jpeg" | "420mpeg2" | "420paldv") => {
                    return Err(ReadError::Unsupported(format!("a Y4M C{value}")));
                }
                "X" if value == "COLORRANGE=FULL" => range = Range::Full,
                // I (interlacing), A (pixel aspect) and other X change nothing here.
                _ => {}
            }
        }
        if !(2..=SIDE_MAX).contains(&width) || !(2..=SIDE_MAX).contains(&height) {
            return Err(broken(&format!("its size is {width}x{height}, not 2x2 to {SIDE_MAX}x{SIDE_MAX}")));
        }
        Ok(Self { width, height, rate, range })
    }

    fn read_picture(&self, file: &mut impl Read) -> Result<VideoFrame, ReadError> {
        let size = Size { width: self.width & !1, height: self.height & !1 };
        let mut frame = VideoFrame::black(size, Instant::now());
        let (y, u, v) = frame.planes_mut();
        let chroma = size.chroma();
        read_plane(file, y, (self.width, self.height), size)?;
        for plane in [&mut *u, &mut *v] {
            read_plane(file, plane, (self.width.div_ceil(2), self.height.div_ceil(2)), chroma)?;
        }
        if self.range == Range::Full {
            y.iter_mut().for_each(|y| *y = 16 + ((u32::from(*y) * 219 + 127) / 255) as u8);
            for c in u.iter_mut().chain(v) {
                // 128 stays 128; the product is at most 128 * 224.
                *c = (128 + (i32::from(*c) - 128) * 224 / 255) as u8;
            }
        }
        Ok(frame)
    }
}

/// Reads a plane of `stored` samples and keeps the upper left part of `kept`.
fn read_plane(file: &mut impl Read, plane: &mut [u8], stored: (u32, u32), kept: Size) -> Result<(), ReadError> {
    if stored == (kept.width, kept.height) {
        return Ok(file.read_exact(plane)?);
    }
    let mut row = vec![0; stored.0 as usize];
    let mut kept_rows = plane.chunks_exact_mut(kept.width as usize);
    for _ in 0..stored.1 {
        file.read_exact(&mut row)?;
        if let Some(kept_row) = kept_rows.next() {
            kept_row.copy_from_slice(&row[..kept.width as usize]);
        }
    }
    Ok(())
}

/// `num:den`; `None` for the 0:0 that means unknown.
fn parse_rate(value: &str) -> Result<Option<(u32, u32)>, ReadError> {
    let rate = value.split_once(':').and_then(|(num, den)| Some((num.parse().ok()?, den.parse().ok()?)));
    match rate {
        Some((0, _)) => Ok(None),
        Some((num, den)) if den > 0 && u64::from(num) <= RATE_MAX * u64::from(den) => Ok(Some((num, den))),
        _ => Err(broken(&format!("its rate F{value} is not 0 to {RATE_MAX} pictures a second"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_without_tags_has_the_asked_rate() {
        let header = Header::parse(b"YUV4MPEG2 W64 H48", 15).unwrap();
        assert_eq!(header, Header { width: 64, height: 48, rate: (15, 1), range: Range::Limited });
        let header = Header::parse(b"YUV4MPEG2 W64 H48 F30000:1001 Ip A1:1 C420jpeg XCOLORRANGE=FULL", 15).unwrap();
        assert_eq!(header, Header { width: 64, height: 48, rate: (30_000, 1001), range: Range::Full });
    }

    #[test]
    fn hostile_headers_are_refused() {
        for text in [
            "YUV4MPEG2",
            "YUV4MPEG2 W64",
            "YUV4MPEG2 W64 H4097",
            "YUV4MPEG2 W1 H48",
            "YUV4MPEG2 W99999999999 H48",
            "YUV4MPEG2 W64 H48 F1:0",
            "YUV4MPEG2 W64 H48 F30",
            "YUV4MPEG2 W64 H48 F4000000000:1",
        ] {
            let parsed = Header::parse(text.as_bytes(), 30);
            assert!(matches!(parsed, Err(ReadError::Broken(_))), "{text}: {parsed:?}");
        }
        for tag in ["C444", "C420p10", "Cmono", "C422"] {
            let parsed = Header::parse(format!("YUV4MPEG2 W64 H48 {tag}").as_bytes(), 30);
            assert!(matches!(parsed, Err(ReadError::Unsupported(found)) if found.contains(tag)), "{tag}");
        }
    }

    #[test]
    fn odd_sizes_are_cropped_and_full_range_is_squeezed() {
        let header = Header { width: 3, height: 3, rate: (30, 1), range: Range::Full };
        let data = [0, 255, 9, 255, 0, 9, 9, 9, 9, /* u */ 128, 0, 0, 0, /* v */ 255, 0, 0, 0];
        let frame = header.read_picture(&mut &data[..]).unwrap();
        assert_eq!(frame.size(), Size { width: 2, height: 2 });
        assert_eq!((frame.y(), frame.u(), frame.v()), (&[16, 235, 235, 16][..], &[128][..], &[239][..]));
        assert!(header.read_picture(&mut &data[1..]).is_err());
    }
}
