//! Files as camera and microphone: which reader a file needs is decided by its first bytes, never by its name.
//!
//! Owns the readers and the thread that paces them. Never loads a whole file: Y4M and WAV are streamed, of MP4 only the
//! sample table is kept. A file is data from outside: whatever it holds, the answer is a picture, sound or an error.
//!
//! - [`y4m`], [`webm`], [`mp4`] → pictures with their due time → [`player`] → queue
//! - [`wav`], [`webm`], [`mp4`] → samples at 48 kHz → [`player`] → queue

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use self::orientation::upright;
use super::{Capture, CaptureError, VideoFormat};
use crate::container::ContainerError;
use crate::frame::{AudioFrame, VideoFrame};
use crate::queue;
use network::system_error::in_words;

mod h264;
mod matroska;
mod mp4;
mod opus;
mod orientation;
mod player;
mod sample_table;
mod schedule;
mod wav;
mod webm;
mod y4m;

/// No picture may be wider or higher than this: the same limit as the decoders have.
const SIDE_MAX: u32 = 4096;

/// No coded picture or packet may be larger than this. A raw 4096x4096 picture has 24 MiB; coded ones stay far below.
const PACKET_BYTES_MAX: u64 = 16 << 20;

/// Why a reader cannot go on. The texts name what was found, without the file.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    /// A healthy file of a kind that this program does not play.
    #[error("{0}")]
    Unsupported(String),
    /// The file holds nothing of what was asked for.
    #[error("it holds no {0}")]
    Nothing(&'static str),
    /// The file lies about itself, or ends too early.
    #[error("{0}")]
    Broken(String),
    /// The system does not let it be read.
    #[error("{0}")]
    Refused(std::io::Error),
    /// It is no file that can be read again and again.
    #[error("{0}")]
    NoFile(&'static str),
}

impl From<std::io::Error> for ReadError {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::UnexpectedEof => Self::Broken("it ends too early".to_owned()),
            _ => Self::Broken(in_words(&error)),
        }
    }
}

impl From<ContainerError> for ReadError {
    fn from(error: ContainerError) -> Self {
        match error {
            ContainerError::Broken(reason) => Self::Broken(reason),
            ContainerError::Io(error) => error.into(),
        }
    }
}

impl From<crate::codec::CodecError> for ReadError {
    fn from(error: crate::codec::CodecError) -> Self {
        Self::Broken(error.to_string())
    }
}

/// What a picture reader gives next.
enum NextPicture {
    /// A picture, and when it is due, counted from the beginning of the file.
    Picture { frame: VideoFrame, due: Duration },
    /// The file ended; `length` is when its first picture is due again.
    End { length: Duration },
}

/// Reads the pictures of one file in the order in which they are shown.
trait Pictures: Send {
    fn next(&mut self) -> Result<NextPicture, ReadError>;
    fn rewind(&mut self) -> Result<(), ReadError>;
}

/// Whether a sound reader may give more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    More,
    End,
}

/// Reads the sound of one file as mono samples at [`crate::frame::AUDIO_RATE_HZ`], a bounded number a call.
trait Sounds: Send {
    fn read(&mut self, out: &mut Vec<i16>) -> Result<Progress, ReadError>;
    fn rewind(&mut self) -> Result<(), ReadError>;
}

/// Opens a Y4M, WebM (VP8) or MP4 (H.264) file as a camera: its own size and pace, repeated at its end without a gap.
///
/// # Errors
/// [`CaptureError::File`] with what was found and how to convert it; the first picture was decoded when there is none.
pub(super) fn open_video(
    path: &Path,
    format: VideoFormat,
    out: queue::Sender<Arc<VideoFrame>>,
) -> Result<Capture, CaptureError> {
    let explain = |error| explain(path, Target::Video, &error);
    let mut pictures = pictures(path, format).map_err(explain)?;
    let first = match pictures.next().map_err(explain)? {
        NextPicture::Picture { frame, due } => player::FirstPicture { frame, due },
        NextPicture::End { .. } => return Err(explain(ReadError::Nothing("picture"))),
    };
    let name = path.display().to_string();
    let shown = name.clone();
    Capture::spawn("file-video", name, move |stop| {
        player::play_pictures(&shown, format.fps, pictures, first, &out, &stop)
    })
    .map_err(|error| CaptureError::File(format!("cannot start a thread for {}: {}", path.display(), in_words(&error))))
}

/// Opens a WAV, WebM (Opus) or MP4 (Opus) file as a microphone, repeated at its end without a gap.
///
/// # Errors
/// [`CaptureError::File`] with what was found and how to convert it; the first sound was decoded when there is none.
pub(super) fn open_audio(path: &Path, out: queue::Sender<AudioFrame>) -> Result<Capture, CaptureError> {
    let explain = |error| explain(path, Target::Audio, &error);
    let mut sounds = sounds(path).map_err(explain)?;
    let mut first = Vec::new();
    while first.is_empty() {
        if sounds.read(&mut first).map_err(explain)? == Progress::End {
            break;
        }
    }
    if first.is_empty() {
        return Err(explain(ReadError::Nothing("sound")));
    }
    let name = path.display().to_string();
    let shown = name.clone();
    Capture::spawn("file-audio", name, move |stop| player::play_sounds(&shown, sounds, first, &out, &stop)).map_err(
        |error| CaptureError::File(format!("cannot start a thread for {}: {}", path.display(), in_words(&error))),
    )
}

fn pictures(path: &Path, format: VideoFormat) -> Result<Box<dyn Pictures>, ReadError> {
    let (file, kind) = open(path)?;
    Ok(match kind {
        Kind::Y4m => Box::new(y4m::Reader::open(file, format.fps)?),
        Kind::Matroska => {
            let reader = webm::VideoReader::open(file)?;
            let orientation = reader.orientation();
            upright(Box::new(reader), orientation)
        }
        Kind::Mp4 => {
            let reader = mp4::VideoReader::open(file)?;
            let orientation = reader.orientation();
            upright(Box::new(reader), orientation)
        }
        Kind::Wav | Kind::OtherSound(_) => return Err(ReadError::Nothing("picture")),
        Kind::Other(what) => return Err(ReadError::Unsupported(what.to_owned())),
    })
}

fn sounds(path: &Path) -> Result<Box<dyn Sounds>, ReadError> {
    let (file, kind) = open(path)?;
    Ok(match kind {
        Kind::Wav => Box::new(wav::Reader::open(file)?),
        Kind::Matroska => Box::new(webm::AudioReader::open(file)?),
        Kind::Mp4 => Box::new(mp4::AudioReader::open(file)?),
        Kind::Y4m => return Err(ReadError::Nothing("sound")),
        Kind::OtherSound(what) | Kind::Other(what) => return Err(ReadError::Unsupported(what.to_owned())),
    })
}

/// What the first bytes say.
#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Y4m,
    Wav,
    Matroska,
    Mp4,
    /// Not played, and without pictures anyway.
    OtherSound(&'static str),
    Other(&'static str),
}

fn open(path: &Path) -> Result<(File, Kind), ReadError> {
    // Asked first, because opening a named pipe would wait for its writer.
    let kind = std::fs::metadata(path).map_err(ReadError::Refused)?.file_type();
    if !kind.is_file() {
        return Err(ReadError::NoFile(if kind.is_dir() { "a folder" } else { "a pipe or a device" }));
    }
    let mut file = File::open(path).map_err(ReadError::Refused)?;
    let mut head = Vec::new();
    file.by_ref().take(16).read_to_end(&mut head)?;
    if head.is_empty() {
        return Err(ReadError::Broken("it is empty".to_owned()));
    }
    std::io::Seek::rewind(&mut file)?;
    Ok((file, sniff(&head)))
}

fn sniff(head: &[u8]) -> Kind {
    let at = |offset: usize, magic: &[u8]| head.get(offset..).is_some_and(|rest| rest.starts_with(magic));
    if at(0, b"YUV4MPEG2") {
        Kind::Y4m
    } else if at(0, b"RIFF") && at(8, b"WAVE") {
        Kind::Wav
    } else if at(0, &[0x1a, 0x45, 0xdf, 0xa3]) {
        Kind::Matroska
    } else if [b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide"].iter().any(|kind| at(4, *kind)) {
        Kind::Mp4
    } else if at(0, b"RF64") || at(0, b"BW64") {
        Kind::OtherSound("a 64-bit WAV")
    } else if at(0, b"RIFF") && at(8, b"AVI ") {
        Kind::Other("an AVI")
    } else if at(0, b"OggS") {
        Kind::Other("an Ogg")
    } else if at(0, b"fLaC") {
        Kind::OtherSound("a FLAC")
    } else if at(0, b"ID3") || matches!(head, [0xff, second, ..] if second & 0xe0 == 0xe0) {
        Kind::OtherSound("an MP3 or AAC")
    } else if at(0, b"FLV") {
        Kind::Other("an FLV")
    } else if at(0, &[0, 0, 0, 1]) || at(0, &[0, 0, 1]) {
        Kind::Other("an MPEG or H.264 stream")
    } else {
        Kind::Other("an unknown kind of")
    }
}

/// What the file was opened for; decides the line that converts.
#[derive(Clone, Copy)]
enum Target {
    Video,
    Audio,
}

fn explain(path: &Path, target: Target, error: &ReadError) -> CaptureError {
    let shown = path.display();
    CaptureError::File(match (error, target) {
        (ReadError::Unsupported(found), _) => {
            format!("{shown} is {found} file, which is not played here; convert it: {}", conversion(path, target))
        }
        (ReadError::Nothing(_), Target::Video) => {
            format!("{shown}: {error}; name another file, or use --video test or --video none")
        }
        (ReadError::Nothing(_), Target::Audio) => {
            format!("{shown}: {error}; name another file, or use --audio tone or --audio none")
        }
        (ReadError::Refused(cause), _) => {
            let advice = match cause.kind() {
                std::io::ErrorKind::NotFound => "; check the name after file:",
                std::io::ErrorKind::PermissionDenied => "; let your user read it",
                _ => "",
            };
            format!("{shown} cannot be opened: {}{advice}", in_words(cause))
        }
        (ReadError::NoFile("a folder"), _) => format!("{shown} is a folder; name a file in it"),
        (ReadError::NoFile(_), _) => {
            format!("{shown} is {error}, and a file is read again from its beginning; name a regular file")
        }
        (ReadError::Broken(_), _) => {
            format!("{shown} cannot be played: {error}; write it anew: {}", conversion(path, target))
        }
    })
}

/// The ffmpeg line that turns `path` into a file which is played, ready for a shell.
fn conversion(path: &Path, target: Target) -> String {
    let (options, extension) = match target {
        Target::Video => ("-pix_fmt yuv420p", "y4m"),
        Target::Audio => ("-ac 1 -ar 48000", "wav"),
    };
    let mut output = path.with_extension(extension);
    if output == path {
        output = path.with_extension(format!("converted.{extension}"));
    }
    format!("ffmpeg -i {} {options} {}", quoted(path), quoted(&output))
}

fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    if text.chars().all(|c| c.is_alphanumeric() || "/._-+,@%:".contains(c)) && !text.starts_with('-') {
        return text;
    }
    let guard = if text.starts_with('-') { "./" } else { "" };
    format!("'{guard}{}'", text.replace('\'', r"'\''"))
}

/// `ticks` of `1 / rate` seconds as a duration, without overflow. `rate` must not be 0.
fn ticks(ticks: u64, rate: u32) -> Duration {
    let rate = u64::from(rate);
    // The remainder is below 2^32, times 10^9 stays below 2^62; the result is below 10^9.
    Duration::new(ticks / rate, ((ticks % rate) * 1_000_000_000 / rate) as u32)
}

#[cfg(test)]
mod shape_tests;
#[cfg(test)]
mod tests;
