//! Test media encoded once a program: loops that every call sends from their beginning.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::capture::VideoFormat;
use crate::capture::pattern::{self, Stamp};
use crate::capture::tone::Sweep;
use crate::codec::opus::OpusEncoder;
use crate::codec::{CodecError, EncoderConfig, Want, video_encoder};
use crate::frame::{AUDIO_FRAME_SAMPLES, AudioFrame, Size, VideoCodec, VideoFrame};
use crate::send::sound_rate::SoundCoding;

/// Length of the loop of pictures: a keyframe every two seconds, as a broadcast has.
const VIDEO_LOOP_S: u32 = 2;

/// Bits a pixel: 500 kbit/s at 640x480 and 30 pictures a second, about half of what a camera starts with.
const BITS_A_PIXEL: f64 = 0.054;

/// Bounds of a loop's rate, bits a second: below no picture can be told from another, above nobody needs it for load.
const VIDEO_BPS: std::ops::RangeInclusive<f64> = 64_000.0..=4_000_000.0;

/// Sound packets in the loop: one cycle of the test tone, 4 s.
const SOUNDS: usize = 200;

/// Luma of a stamp that is wiped out: neither black nor white, so that nobody measures latency by an old time.
const WIPED: u8 = 128;

/// Coded pictures from a keyframe on, each referring to the ones before it alone.
#[derive(Debug)]
pub(super) struct VideoLoop {
    /// `None`: rate control left this one out.
    pub(super) pictures: Vec<Option<Bytes>>,
    /// From one picture to the next.
    pub(super) period: Duration,
    pub(super) size: Size,
}

/// Opus packets of 20 ms.
pub(super) type SoundLoop = Vec<Bytes>;

/// What a light call sends; a medium that is not sent has none. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Looped {
    /// One of each codec that may be agreed on.
    pub(super) video: BTreeMap<VideoCodec, Arc<VideoLoop>>,
    pub(super) audio: Option<Arc<SoundLoop>>,
}

impl Looped {
    /// With the test pattern, in each of these codecs. Blocks: the first time in a program it encodes two seconds.
    ///
    /// # Errors
    /// [`CodecError`] when a codec cannot be set up, or refuses.
    pub fn with_pictures(mut self, format: VideoFormat, codecs: &[VideoCodec]) -> Result<Self, CodecError> {
        for codec in codecs {
            self.video.insert(*codec, video_loop(*codec, format)?);
        }
        Ok(self)
    }

    /// With the test tone. Blocks: the first time in a program it encodes four seconds.
    ///
    /// # Errors
    /// [`CodecError`] when the codec cannot be set up, or refuses.
    pub fn with_sound(self) -> Result<Self, CodecError> {
        Ok(Self { audio: Some(sound_loop()?), ..self })
    }
}

/// What a loop of pictures was made for.
type Key = (VideoCodec, u32, u32, u32);

fn video_loop(codec: VideoCodec, format: VideoFormat) -> Result<Arc<VideoLoop>, CodecError> {
    static LOOPS: Mutex<BTreeMap<Key, Arc<VideoLoop>>> = Mutex::new(BTreeMap::new());
    let key = (codec, format.size.width, format.size.height, format.fps);
    // Held while it encodes: whoever comes meanwhile wants the same loop.
    let mut loops = LOOPS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = loops.get(&key) {
        return Ok(Arc::clone(known));
    }
    let made = Arc::new(encode_pictures(codec, format)?);
    loops.insert(key, Arc::clone(&made));
    Ok(made)
}

fn sound_loop() -> Result<Arc<SoundLoop>, CodecError> {
    static LOOP: Mutex<Option<Arc<SoundLoop>>> = Mutex::new(None);
    let mut known = LOOP.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = &*known {
        return Ok(Arc::clone(known));
    }
    let made = Arc::new(encode_sound()?);
    *known = Some(Arc::clone(&made));
    Ok(made)
}

fn encode_pictures(codec: VideoCodec, format: VideoFormat) -> Result<VideoLoop, CodecError> {
    let period = Duration::from_secs(1) / format.fps;
    let pixels_a_second = format.size.area() as f64 * f64::from(format.fps);
    let bitrate_bps = (pixels_a_second * BITS_A_PIXEL).clamp(*VIDEO_BPS.start(), *VIDEO_BPS.end()) as u32;
    let mut encoder = video_encoder(codec, EncoderConfig { size: format.size, fps: format.fps, bitrate_bps })?;
    let start = Instant::now();
    let mut frame = VideoFrame::black(format.size, start);
    let mut pictures = Vec::new();
    for counter in 0..VIDEO_LOOP_S * format.fps {
        pattern::draw(&mut frame, Stamp { counter, sent_ms: 0 });
        wipe_stamp(&mut frame);
        frame.at = start + period * counter;
        let want = if counter == 0 { Want::Keyframe } else { Want::Any };
        pictures.push(encoder.encode(&frame, want)?.map(|picture| picture.data));
    }
    Ok(VideoLoop { pictures, period, size: format.size })
}

/// Greys the strip that the stamp of [`pattern`] lies in: two rows of blocks, or four in a narrow picture.
fn wipe_stamp(frame: &mut VideoFrame) {
    let width = frame.size().width as usize;
    let rows = if width < 128 { 4 * width / 16 } else { 2 * width / 32 };
    let (luma, _, _) = frame.planes_mut();
    let strip = (rows.next_multiple_of(2) * width).min(luma.len());
    luma[..strip].fill(WIPED);
}

fn encode_sound() -> Result<SoundLoop, CodecError> {
    let mut encoder = OpusEncoder::new(SoundCoding::BEST.bps)?;
    let mut sweep = Sweep::new();
    let at = Instant::now();
    const { assert!(SOUNDS * AUDIO_FRAME_SAMPLES == 192_000, "a whole cycle joins its beginning") };
    (0..SOUNDS).map(|_| Ok(encoder.encode(&AudioFrame { samples: sweep.next_frame(), at })?.data)).collect()
}
