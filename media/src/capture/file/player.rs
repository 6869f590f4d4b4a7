//! The pace of a file: each picture and each 20 ms of sound leaves at its own absolute deadline, and the end of the file
//! joins its beginning without a gap.
//!
//! Owns the two loops that run on capture threads. Never sleeps longer than [`NAP`], so that a dropped capture ends soon.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::StopFlag;
use super::schedule::Schedule;
use super::{NextPicture, Pictures, Progress, ReadError, Sounds};
use crate::frame::{AUDIO_FRAME_SAMPLES, AUDIO_RATE_HZ, AudioFrame, VideoFrame};
use crate::queue;

/// Longest sleep between two looks at the stop flag.
const NAP: Duration = Duration::from_millis(50);

/// Behind by more than this (a suspended or overloaded machine), the pace starts anew instead of catching up in a burst.
const LATE_MAX: Duration = Duration::from_millis(500);

/// A picture that stays longer is sent again: whoever lost it, or comes later, must not wait for the next one.
const HOLD_MAX: Duration = Duration::from_millis(500);

/// The picture that was decoded to find out whether the file plays at all.
pub(super) struct FirstPicture {
    pub(super) frame: VideoFrame,
    pub(super) due: Duration,
}

/// Absolute deadlines from one start.
struct Pace {
    start: Instant,
}

/// What to do after waiting.
#[derive(PartialEq, Eq)]
enum Waited {
    Due,
    Stopped,
}

impl Pace {
    fn wait(&mut self, due: Duration, stop: &StopFlag) -> Waited {
        loop {
            if stop.is_set() {
                return Waited::Stopped;
            }
            let Some(deadline) = self.start.checked_add(due) else {
                // Further away than the clock reaches: only a stop can end this wait.
                std::thread::sleep(NAP);
                continue;
            };
            let now = Instant::now();
            let left = deadline.saturating_duration_since(now);
            if left.is_zero() {
                let late = now - deadline;
                if late > LATE_MAX {
                    self.start += late;
                }
                return Waited::Due;
            }
            std::thread::sleep(left.min(NAP));
        }
    }
}

/// Says once that the file is damaged; it is then repeated up to that point.
struct Complaint<'a> {
    path: &'a str,
    said: bool,
}

impl Complaint<'_> {
    fn say(&mut self, error: &ReadError) {
        if !self.said {
            self.said = true;
            tracing::warn!(file = self.path, %error, "the file cannot be read further; repeating what was read");
        }
    }
}

/// Sends pictures where they are due, and again while nothing else is.
struct Screen<'a> {
    out: &'a queue::Sender<Arc<VideoFrame>>,
    stop: &'a StopFlag,
    pace: Pace,
    /// The last picture, and when it was sent last.
    shown: Option<(Arc<VideoFrame>, Duration)>,
}

impl Screen<'_> {
    fn show(&mut self, frame: VideoFrame, at: Duration) -> Waited {
        while let Some((shown, sent)) = &self.shown
            && at.saturating_sub(*sent) > HOLD_MAX
        {
            let (again, at) = (VideoFrame::clone(shown), *sent + HOLD_MAX);
            if self.send(again, at) == Waited::Stopped {
                return Waited::Stopped;
            }
        }
        self.send(frame, at)
    }

    fn send(&mut self, mut frame: VideoFrame, at: Duration) -> Waited {
        if self.pace.wait(at, self.stop) == Waited::Stopped {
            return Waited::Stopped;
        }
        frame.at = Instant::now();
        let frame = Arc::new(frame);
        self.shown = Some((Arc::clone(&frame), at));
        if self.out.send(frame) { Waited::Due } else { Waited::Stopped }
    }
}

/// Sends pictures until the capture is dropped, the receiver is gone or nothing can be read any more. `fps` is the pace
/// of a file that has none.
pub(super) fn play_pictures(
    path: &str,
    fps: u32,
    mut pictures: Box<dyn Pictures>,
    first: FirstPicture,
    out: &queue::Sender<Arc<VideoFrame>>,
    stop: &StopFlag,
) {
    let mut complaint = Complaint { path, said: false };
    let mut schedule = Schedule::new(fps);
    let mut screen = Screen { out, stop, pace: Pace { start: Instant::now() }, shown: None };
    let mut next = Ok(NextPicture::Picture { frame: first.frame, due: first.due });
    loop {
        let mut read = 0_u64;
        let length = loop {
            match next {
                Ok(NextPicture::Picture { frame, due }) => {
                    read += 1;
                    if let Some(at) = schedule.next(due)
                        && screen.show(frame, at) == Waited::Stopped
                    {
                        return;
                    }
                }
                Ok(NextPicture::End { length }) => break Some(length),
                Err(error) => {
                    complaint.say(&error);
                    break None;
                }
            }
            if stop.is_set() {
                return;
            }
            next = pictures.next();
        };
        if read == 0 {
            tracing::error!(file = path, "no picture can be read any more");
            return;
        }
        schedule.end(length);
        if let Err(error) = pictures.rewind() {
            tracing::error!(file = path, %error, "the file cannot be repeated");
            return;
        }
        next = pictures.next();
    }
}

/// Sends 20 ms frames until the capture is dropped, the receiver is gone or nothing can be read any more.
///
/// `first` is what was read to find out whether the file plays at all.
pub(super) fn play_sounds(
    path: &str,
    mut sounds: Box<dyn Sounds>,
    first: Vec<i16>,
    out: &queue::Sender<AudioFrame>,
    stop: &StopFlag,
) {
    let mut complaint = Complaint { path, said: false };
    let mut pace = Pace { start: Instant::now() };
    let mut waiting = first;
    let mut sent: u64 = 0;
    let mut pass_samples = waiting.len();
    let mut passes_without_sound = 0;
    loop {
        while waiting.len() < AUDIO_FRAME_SAMPLES {
            if stop.is_set() {
                return;
            }
            let before = waiting.len();
            let progress = sounds.read(&mut waiting).unwrap_or_else(|error| {
                complaint.say(&error);
                Progress::End
            });
            if waiting.len() > before {
                pass_samples = pass_samples.saturating_add(waiting.len() - before);
                passes_without_sound = 0;
            }
            if progress == Progress::End {
                // A file of a few samples is filled up with silence, or it would be opened thousands of times a second.
                let missing = AUDIO_FRAME_SAMPLES.saturating_sub(pass_samples);
                if pass_samples > 0 {
                    waiting.extend(std::iter::repeat_n(0, missing));
                }
                pass_samples = 0;
                passes_without_sound += 1;
                // Two in a row: the whole file was tried from its beginning and gave nothing.
                if passes_without_sound > 2 {
                    tracing::error!(file = path, "no sound can be read any more");
                    return;
                }
                if let Err(error) = sounds.rewind() {
                    tracing::error!(file = path, %error, "the file cannot be repeated");
                    return;
                }
            }
        }
        for samples in waiting.chunks_exact(AUDIO_FRAME_SAMPLES) {
            sent += AUDIO_FRAME_SAMPLES as u64;
            // A frame is complete, and so due, when its last sample was heard.
            if pace.wait(super::ticks(sent, AUDIO_RATE_HZ), stop) == Waited::Stopped {
                return;
            }
            if !out.send(AudioFrame { samples: samples.to_vec(), at: Instant::now() }) {
                return;
            }
        }
        let rest = waiting.len() % AUDIO_FRAME_SAMPLES;
        waiting.drain(..waiting.len() - rest);
    }
}
