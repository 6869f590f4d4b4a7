//! Decides how pictures are sent over the path as it is estimated: the encoder's bitrate, which pictures are left out, when
//! a keyframe is made.
//!
//! Pure: reads no clock, encodes nothing, sends nothing. The thread of an encoder and the task of a loop tell it what
//! happened and carry out what it says.
//!
//! - in: [`Event`]s, past facts, with the time
//! - out: [`Action`]s, in order
//!
//! A path that is too narrow lowers the bitrate first. What the encoder sends beyond it fills a leaky bucket; while that
//! is full, pictures are left out, which lowers the frame rate. The size of pictures stays as it was captured.

use std::time::{Duration, Instant};

/// What audio takes of the path: Opus at 32 kbit/s and, 50 times a second, about 30 bytes of RTP, extension and SRTP.
const AUDIO_WIRE_BPS: u32 = 45_000;

/// Headers of one video packet, bytes, and the payload it carries at most.
const VIDEO_HEADER_BYTES: usize = 30;
const VIDEO_PAYLOAD_BYTES: usize = 1160;

/// The encoder's part of the estimate; the rest is left for headers and retransmissions.
const VIDEO_SHARE: f64 = 0.85;

/// Below this no picture can be told from another.
const VIDEO_BPS_MIN: u32 = 40_000;

/// The encoder is told of a new bitrate only when it moved by so much, as each change unsettles its rate control.
const BITRATE_STEP: f64 = 0.05;

/// Keyframes are at least this far apart: each costs as much as ten other pictures.
const KEYFRAME_APART: Duration = Duration::from_millis(100);

/// The same at the very beginning, where the other side still sees nothing.
const FIRST_KEYFRAMES_APART: Duration = Duration::from_millis(25);

/// How long the beginning lasts.
const BEGINNING: Duration = Duration::from_secs(1);

/// How far what was sent may run ahead of the path before pictures are left out. Beyond it they would only wait in the
/// pacer, and everyone would see a picture of long ago.
const BACKLOG_MAX: Duration = Duration::from_millis(300);

/// What may be sent beyond it when nothing was sent yet: a first keyframe of a usual size, after which no picture need be
/// left out.
const START_BITS: f64 = 150_000.0;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Pictures come and none may leave: the call is held, or there is no path.
    Paused,
    /// The other side asked for a keyframe, or lost what later pictures refer to.
    KeyframeRequested,
    /// A picture can be sent, over a path that is estimated to carry so much for all media together.
    PictureReady {
        /// Bits a second.
        target_bps: u32,
        /// Whether sound goes over the path as well.
        has_audio: bool,
    },
    /// So many pictures were due and never ready: whoever sends them was held up.
    PicturesMissed(u32),
    /// A picture was handed to the engine.
    PictureSent {
        /// Its coded size.
        bytes: usize,
        /// Whether it needs no other picture.
        is_keyframe: bool,
    },
    /// The encoder refused a picture. It is given up; another one is opened with the next [`Action::SetBitrate`].
    EncoderFailed,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Encode with so many bits a second from now on. Comes before the first picture of each encoder.
    SetBitrate(u32),
    /// Send the picture that is ready: of a loop the next one.
    SendNext,
    /// Send it as a keyframe: of a loop the one it begins with.
    SendKeyframe,
    /// So many pictures are not sent.
    LeaveOut(u32),
}

/// Where pictures come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// An encoder has a bitrate, makes a keyframe of any picture, and lets each refer to the last one that was sent.
    Encoder,
    /// Pictures of a loop are coded already, each refers to the one before it, and only the first one is a keyframe.
    Loop,
}

/// Whether the next picture is to be a keyframe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keyframe {
    /// As soon as the path has room: nothing was sent yet, or not for a while.
    AtOnce,
    /// As soon as the last one is long enough ago.
    Wanted { last: Instant },
    /// No.
    NotWanted { last: Instant },
}

/// The decisions for one stream of pictures.
#[derive(Debug)]
pub struct VideoAdaptation {
    source: Source,
    started: Instant,
    keyframe: Keyframe,
    /// What the encoder was told; `None` while there is none.
    bitrate_bps: Option<u32>,
    backlog: Backlog,
}

impl VideoAdaptation {
    /// For an encoder that is started now.
    #[must_use]
    pub const fn of_encoder(now: Instant) -> Self {
        Self::new(Source::Encoder, now)
    }

    /// For a loop of coded pictures that is started now.
    #[must_use]
    pub const fn of_loop(now: Instant) -> Self {
        Self::new(Source::Loop, now)
    }

    const fn new(source: Source, now: Instant) -> Self {
        let backlog = match source {
            Source::Encoder => Backlog::with_grant(START_BITS, now),
            // Its first keyframe is as large as any later one.
            Source::Loop => Backlog::with_grant(0.0, now),
        };
        Self { source, started: now, keyframe: Keyframe::AtOnce, bitrate_bps: None, backlog }
    }

    /// Takes what happened; what is to be done, in order.
    pub fn handle(&mut self, event: Event, now: Instant) -> Vec<Action> {
        match event {
            Event::Paused => self.keyframe = Keyframe::AtOnce,
            Event::KeyframeRequested => self.want_keyframe(),
            Event::PictureReady { target_bps, has_audio } => return self.picture_ready(target_bps, has_audio, now),
            Event::PicturesMissed(pictures) => return vec![self.leave_out(pictures)],
            Event::PictureSent { bytes, is_keyframe } => {
                self.backlog.add(wire_bytes(bytes));
                if is_keyframe {
                    self.keyframe = Keyframe::NotWanted { last: now };
                }
            }
            Event::EncoderFailed => {
                self.bitrate_bps = None;
                self.want_keyframe();
            }
        }
        Vec::new()
    }

    fn picture_ready(&mut self, target_bps: u32, has_audio: bool, now: Instant) -> Vec<Action> {
        let audio_bps = if has_audio { AUDIO_WIRE_BPS } else { 0 };
        let path_bps = target_bps.saturating_sub(audio_bps).max(VIDEO_BPS_MIN);
        let mut actions: Vec<Action> = self.new_bitrate(path_bps).map(Action::SetBitrate).into_iter().collect();
        actions.push(if self.backlog.is_full(now, path_bps) {
            self.leave_out(1)
        } else if self.is_keyframe_due(now) {
            Action::SendKeyframe
        } else {
            Action::SendNext
        });
        actions
    }

    /// The encoder's bitrate when it has to be told one.
    fn new_bitrate(&mut self, path_bps: u32) -> Option<u32> {
        match self.source {
            Source::Loop => return None,
            Source::Encoder => {}
        }
        let wanted_bps = ((f64::from(path_bps) * VIDEO_SHARE) as u32).max(VIDEO_BPS_MIN);
        let moved = |told: u32| (f64::from(wanted_bps) / f64::from(told) - 1.0).abs() > BITRATE_STEP;
        if !self.bitrate_bps.is_none_or(moved) {
            return None;
        }
        self.bitrate_bps = Some(wanted_bps);
        Some(wanted_bps)
    }

    fn is_keyframe_due(&self, now: Instant) -> bool {
        match self.keyframe {
            Keyframe::AtOnce => true,
            Keyframe::Wanted { last } => now.saturating_duration_since(last) >= self.keyframes_apart(now),
            Keyframe::NotWanted { .. } => false,
        }
    }

    fn keyframes_apart(&self, now: Instant) -> Duration {
        match self.source {
            // What comes after a gap in a loop cannot be decoded without one.
            Source::Loop => Duration::ZERO,
            Source::Encoder if now.saturating_duration_since(self.started) < BEGINNING => FIRST_KEYFRAMES_APART,
            Source::Encoder => KEYFRAME_APART,
        }
    }

    fn want_keyframe(&mut self) {
        self.keyframe = match self.keyframe {
            Keyframe::AtOnce => Keyframe::AtOnce,
            Keyframe::Wanted { last } | Keyframe::NotWanted { last } => Keyframe::Wanted { last },
        };
    }

    fn leave_out(&mut self, pictures: u32) -> Action {
        match self.source {
            Source::Encoder => {}
            Source::Loop => self.want_keyframe(),
        }
        Action::LeaveOut(pictures)
    }
}

/// A leaky bucket: what was sent and has, at the rate of the path, not left yet.
#[derive(Debug)]
struct Backlog {
    bits: f64,
    at: Instant,
}

impl Backlog {
    /// A bucket that takes so many bits before it begins to fill.
    const fn with_grant(bits: f64, now: Instant) -> Self {
        Self { bits: -bits, at: now }
    }

    /// True when the next picture would wait too long.
    fn is_full(&mut self, now: Instant, path_bps: u32) -> bool {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = now;
        // What was granted at the start is kept until it is used.
        self.bits = (self.bits - passed * f64::from(path_bps)).max(self.bits.min(0.0));
        self.bits > f64::from(path_bps) * BACKLOG_MAX.as_secs_f64()
    }

    fn add(&mut self, bytes: usize) {
        self.bits += bytes as f64 * 8.0;
    }
}

/// What a picture of so many bytes takes on the wire.
const fn wire_bytes(picture: usize) -> usize {
    picture + (picture / VIDEO_PAYLOAD_BYTES + 1) * VIDEO_HEADER_BYTES
}

#[cfg(test)]
mod tests;
