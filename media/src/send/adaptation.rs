//! Decides how pictures are sent over the path as it is estimated: the encoder's bitrate and size, which pictures are left
//! out, when a keyframe is made.
//!
//! Pure: reads no clock, encodes nothing, sends nothing. The thread of an encoder and the task of a loop tell it what
//! happened and carry out what it says.
//!
//! - in: [`Event`]s, past facts, with the time
//! - out: [`Action`]s, in order
//!
//! A path that is too narrow lowers the bitrate first, then, by [`PicturePlanner`], the size of pictures and how many are
//! sent a second, and in the end none are. While the pacer still has much to send, pictures are left out: they would only
//! wait there. A loop is coded already, so of it pictures can only be left out.

use std::time::{Duration, Instant};

use super::keyframe_demand::KeyframeCause;
use super::picture_plan::{Content, PicturePlan, PicturePlanner, Reason};
use super::redundancy::Copies;
use super::sound_rate;
use crate::frame::Size;

/// The encoder's part of the estimate; the rest is left for headers and retransmissions.
const VIDEO_SHARE: f64 = 0.85;

/// With less than this left no picture is sent.
const VIDEO_BPS_MIN: u32 = 10_000;

/// The encoder is told of a new bitrate only when it moved by so much, as each change unsettles its rate control.
const BITRATE_STEP: f64 = 0.05;

/// Keyframes are at least this far apart: each costs as much as ten other pictures.
const KEYFRAME_APART: Duration = Duration::from_millis(100);

/// The same at the very beginning, where the other side still sees nothing.
const FIRST_KEYFRAMES_APART: Duration = Duration::from_millis(25);

/// How long the beginning lasts.
const BEGINNING: Duration = Duration::from_secs(1);

/// Pictures that would wait for longer before they leave are left out: everyone would see a picture of long ago.
const QUEUE_MAX: Duration = Duration::from_millis(200);

/// Where fewer pictures are sent than are captured, one that comes this much before its turn is not early: cameras are not
/// that even. Share of the distance.
const EARLY: f64 = 0.25;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Event {
    /// Pictures come and none may leave: the call is held, or there is no path.
    Paused,
    /// The other side has to get a keyframe.
    KeyframeWanted(KeyframeCause),
    /// A picture of this size can be sent over a path like this.
    PictureReady(Size, Path),
    /// So many pictures were due and never ready: whoever sends them was held up.
    PicturesMissed(u32),
    /// A picture was handed to the engine.
    PictureSent {
        /// Its coded size.
        bytes: usize,
        /// Whether it needs no other picture.
        is_keyframe: bool,
        /// How long it took to encode.
        took: Duration,
    },
    /// The encoder refused a picture. It is given up; another one is opened with the next [`Action::Encode`].
    EncoderFailed,
}

/// The path, as far as pictures need to know.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Path {
    /// What it is estimated to carry for all media together, bits a second.
    pub target_bps: u32,
    /// The same for longer than a moment: what size and rate of pictures go by.
    pub lasting_bps: u32,
    /// How long a picture that is sent now waits before it leaves.
    pub pacer_queue: Duration,
    /// How long it takes until the other side's word on what is sent now is here.
    pub answer: Duration,
    /// The copies that sound is sent with, which goes over it as well; `None` where there is none.
    pub sound: Option<Copies>,
}

impl Path {
    /// What sound leaves to an encoder of pictures of `bps` bits a second in all.
    fn for_pictures(&self, bps: u32) -> u32 {
        let sound_bps = self.sound.map_or(0, |copies| sound_rate::wire_bps(bps, copies));
        (f64::from(bps.saturating_sub(sound_bps)) * VIDEO_SHARE) as u32
    }
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Encode like this from now on. Comes before the first picture of each encoder.
    Encode(Coding),
    /// Send the picture that is ready: of a loop the next one.
    SendNext,
    /// Send it as a keyframe: of a loop the one it begins with.
    SendKeyframe,
    /// So many pictures are not sent.
    LeaveOut(u32),
}

/// What an encoder is to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coding {
    /// Bits a second.
    pub bitrate_bps: u32,
    /// Pictures of this size.
    pub size: Size,
}

/// Where pictures come from.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one for each stream of pictures, and it stays where it is")]
enum Source {
    /// An encoder makes pictures of any size and bitrate, makes a keyframe of any picture, and lets each refer to the last
    /// one that was sent.
    Encoder {
        planner: PicturePlanner,
        /// How many pictures are captured a second.
        fps: u32,
        /// What the encoder was told; `None` while there is none.
        coding: Option<Coding>,
        /// When a picture was last sent.
        last: Option<Instant>,
        /// When the next one is due.
        due: Option<Instant>,
    },
    /// Pictures of a loop are coded already, each refers to the one before it, and only the first one is a keyframe.
    Loop,
}

/// Whether the next picture is to be a keyframe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keyframe {
    /// As soon as the path has room: nothing was sent yet, or not for a while.
    AtOnce,
    /// As soon as the last one is long enough ago.
    Wanted { last: Instant, cause: KeyframeCause },
    /// No.
    NotWanted { last: Instant },
}

/// The decisions for one stream of pictures.
#[derive(Debug)]
pub struct VideoAdaptation {
    source: Source,
    started: Instant,
    keyframe: Keyframe,
}

impl VideoAdaptation {
    /// For an encoder that is started now, of pictures that are captured `fps` times a second.
    #[must_use]
    pub fn of_encoder(content: Content, fps: u32, now: Instant) -> Self {
        let planner = PicturePlanner::new(content, fps, now);
        Self::new(Source::Encoder { planner, fps, coding: None, last: None, due: None }, now)
    }

    /// For a loop of coded pictures that is started now.
    #[must_use]
    pub const fn of_loop(now: Instant) -> Self {
        Self::new(Source::Loop, now)
    }

    const fn new(source: Source, now: Instant) -> Self {
        Self { source, started: now, keyframe: Keyframe::AtOnce }
    }

    /// Takes what happened; what is to be done, in order.
    pub fn handle(&mut self, event: Event, now: Instant) -> Vec<Action> {
        match event {
            Event::Paused => self.keyframe = Keyframe::AtOnce,
            Event::KeyframeWanted(cause) => self.want_keyframe(cause),
            Event::PictureReady(size, path) => return self.picture_ready(size, path, now),
            Event::PicturesMissed(pictures) => return vec![self.leave_out(pictures)],
            Event::PictureSent { bytes, is_keyframe, took } => self.picture_sent(bytes, is_keyframe, took, now),
            Event::EncoderFailed => {
                if let Source::Encoder { coding, .. } = &mut self.source {
                    *coding = None;
                }
                self.want_keyframe(KeyframeCause::Dropped);
            }
        }
        Vec::new()
    }

    /// What is sent of pictures, and why; `None`: whatever the loop has, or nothing was captured yet.
    #[must_use]
    pub fn plan(&self) -> Option<(PicturePlan, Reason)> {
        match &self.source {
            Source::Encoder { planner, .. } => planner.in_force(),
            Source::Loop => None,
        }
    }

    fn picture_ready(&mut self, source_size: Size, path: Path, now: Instant) -> Vec<Action> {
        let mut actions = Vec::new();
        if let Source::Encoder { planner, fps, coding, due, .. } = &mut self.source {
            let bitrate_bps = path.for_pictures(path.target_bps);
            let shape = match planner.picture_captured(source_size, path.for_pictures(path.lasting_bps), now) {
                PicturePlan::Sent(shape) => shape,
                PicturePlan::Paused => {
                    self.keyframe = Keyframe::AtOnce;
                    return vec![Action::LeaveOut(1)];
                }
            };
            let apart = Duration::from_secs(1) / shape.fps.max(1);
            if shape.fps < *fps && due.is_some_and(|due| now + apart.mul_f64(EARLY) < due) {
                return vec![Action::LeaveOut(1)];
            }
            // A queue is drained, or nothing is heard: for the moment sound has the path to itself.
            if bitrate_bps < VIDEO_BPS_MIN {
                return vec![Action::LeaveOut(1)];
            }
            let wanted = Coding { bitrate_bps, size: shape.size };
            if coding.is_none_or(|told| told.size != wanted.size || has_moved(told.bitrate_bps, wanted.bitrate_bps)) {
                *coding = Some(wanted);
                actions.push(Action::Encode(wanted));
            }
        }
        self.forget_early_request(path.answer, now);
        actions.push(if path.pacer_queue > QUEUE_MAX {
            self.leave_out(1)
        } else if self.is_keyframe_due(now) {
            Action::SendKeyframe
        } else {
            Action::SendNext
        });
        actions
    }

    fn picture_sent(&mut self, bytes: usize, is_keyframe: bool, took: Duration, now: Instant) {
        if is_keyframe {
            self.keyframe = Keyframe::NotWanted { last: now };
        }
        let Source::Encoder { planner, coding: Some(coding), last, due, .. } = &mut self.source else { return };
        let PicturePlan::Sent(shape) = planner.plan() else { return };
        let apart = Duration::from_secs(1) / shape.fps.max(1);
        // Pictures that were left out take nothing, and leave their share to the next.
        let since_last = last.map_or(apart, |last| now.saturating_duration_since(last)).clamp(apart / 2, apart * 4);
        let share = f64::from(coding.bitrate_bps) * since_last.as_secs_f64();
        planner.picture_encoded(bytes as f64 * 8.0, share, took, since_last, now);
        *last = Some(now);
        // What came late is not made up for.
        *due = Some(due.map_or(now, |due| due.max(now - apart)) + apart);
    }

    /// Whoever asked before the last keyframe came has it by now. It asks again, should it need another.
    fn forget_early_request(&mut self, answer: Duration, now: Instant) {
        if let Keyframe::Wanted { last, cause: KeyframeCause::Asked } = self.keyframe
            && now.saturating_duration_since(last) < answer
        {
            self.keyframe = Keyframe::NotWanted { last };
        }
    }

    fn is_keyframe_due(&self, now: Instant) -> bool {
        match self.keyframe {
            Keyframe::AtOnce => true,
            Keyframe::Wanted { last, .. } => now.saturating_duration_since(last) >= self.keyframes_apart(now),
            Keyframe::NotWanted { .. } => false,
        }
    }

    fn keyframes_apart(&self, now: Instant) -> Duration {
        match self.source {
            // What comes after a gap in a loop cannot be decoded without one.
            Source::Loop => Duration::ZERO,
            Source::Encoder { .. } if now.saturating_duration_since(self.started) < BEGINNING => FIRST_KEYFRAMES_APART,
            Source::Encoder { .. } => KEYFRAME_APART,
        }
    }

    fn want_keyframe(&mut self, cause: KeyframeCause) {
        self.keyframe = match self.keyframe {
            Keyframe::AtOnce => Keyframe::AtOnce,
            Keyframe::Wanted { last, cause: KeyframeCause::Dropped } => {
                Keyframe::Wanted { last, cause: KeyframeCause::Dropped }
            }
            Keyframe::Wanted { last, .. } | Keyframe::NotWanted { last } => Keyframe::Wanted { last, cause },
        };
    }

    fn leave_out(&mut self, pictures: u32) -> Action {
        match self.source {
            Source::Encoder { .. } => {}
            Source::Loop => self.want_keyframe(KeyframeCause::Dropped),
        }
        Action::LeaveOut(pictures)
    }
}

fn has_moved(told_bps: u32, wanted_bps: u32) -> bool {
    (f64::from(wanted_bps) / f64::from(told_bps) - 1.0).abs() > BITRATE_STEP
}

#[cfg(test)]
mod tests;
