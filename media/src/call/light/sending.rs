//! Loops on their way: paced by absolute deadlines, within what the path carries.
//!
//! A loop has a fixed rate. [`VideoAdaptation`] decides what leaves, and the task carries it out. Where the path is too
//! narrow, pictures are left out: the first one that would wait too long, and all after it until the loop's keyframe finds
//! room, since they refer to it. So a narrow path sees the loop begin again and again, and what it could not carry is
//! counted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::loops::{Looped, SoundLoop, VideoLoop};
use crate::call::outgoing::{OutgoingCounters, Switches, path};
use crate::frame::{AUDIO_FRAME_SAMPLES, EncodedAudio, EncodedVideo};
use crate::peer::MediaSender;
use crate::send::adaptation::{Action, Event, VideoAdaptation};
use crate::send::redundancy::Copies;

/// Length of one sound packet.
const SOUND: Duration = Duration::from_millis(20);
const SOUND_SAMPLES: u32 = AUDIO_FRAME_SAMPLES as u32;

/// A task that was held up sends up to this much at once; what is older is left out.
const CATCH_UP: Duration = Duration::from_millis(200);

/// The loops under way; dropping ends them.
#[derive(Debug)]
pub struct LightOutgoing {
    tasks: JoinSet<()>,
    video: Medium,
    audio: Medium,
    counters: OutgoingCounters,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Medium {
    Idle,
    Sent,
}

impl LightOutgoing {
    /// Nothing is sent yet; what will be is counted on from `counters`.
    #[must_use]
    pub fn idle(counters: OutgoingCounters) -> Self {
        Self { tasks: JoinSet::new(), video: Medium::Idle, audio: Medium::Idle, counters }
    }

    /// Starts what there is a loop of, was negotiated and does not run yet. To be called in a tokio runtime.
    pub fn add(&mut self, looped: &Looped, sender: &MediaSender, switches: &Switches) {
        let pictures = sender.video_codec().and_then(|codec| looped.video.get(&codec));
        if let (Medium::Idle, Some(pictures)) = (self.video, pictures) {
            self.video = Medium::Sent;
            let (sender, switches, counters) = (sender.clone(), switches.clone(), self.counters.clone());
            self.tasks.spawn(send_video(Arc::clone(pictures), sender, switches, counters));
        }
        if let (Medium::Idle, true, Some(sounds)) = (self.audio, sender.has_audio(), &looped.audio) {
            self.audio = Medium::Sent;
            self.tasks.spawn(send_audio(Arc::clone(sounds), sender.clone(), switches.clone()));
        }
    }
}

/// Absolute deadlines a fixed time apart.
struct Ticker {
    next: Instant,
    period: Duration,
}

impl Ticker {
    /// Waits for the next one; how many were left out because they were long past.
    async fn wait(&mut self) -> u32 {
        tokio::time::sleep_until(self.next.into()).await;
        let left_out = self.left_out(Instant::now());
        self.next += self.period * (left_out + 1);
        left_out
    }

    /// How many deadlines to jump over at this time.
    fn left_out(&self, now: Instant) -> u32 {
        let behind = now.saturating_duration_since(self.next);
        if behind < CATCH_UP { 0 } else { (behind.as_nanos() / self.period.as_nanos().max(1)) as u32 }
    }
}

async fn send_video(pictures: Arc<VideoLoop>, sender: MediaSender, switches: Switches, counters: OutgoingCounters) {
    let size = pictures.size;
    let mut ticker = Ticker { next: Instant::now(), period: pictures.period };
    let adaptation = VideoAdaptation::of_loop(Instant::now());
    let mut sending = LoopSending { pictures, next: 0, adaptation, sender, counters };
    loop {
        let missed = ticker.wait().await;
        if switches.are_pictures_off() || sending.sender.is_path_closed() {
            sending.happened(Event::Paused);
            continue;
        }
        if missed > 0 {
            sending.happened(Event::PicturesMissed(missed));
        }
        if let Some(cause) = sending.sender.take_keyframe_demand() {
            sending.happened(Event::KeyframeWanted(cause));
        }
        sending.happened(Event::PictureReady(size, path(&sending.sender, Copies::None)));
    }
}

/// One call's way through a loop of pictures.
struct LoopSending {
    pictures: Arc<VideoLoop>,
    /// The picture that is next.
    next: usize,
    adaptation: VideoAdaptation,
    sender: MediaSender,
    counters: OutgoingCounters,
}

impl LoopSending {
    fn happened(&mut self, event: Event) {
        for action in self.adaptation.handle(event, Instant::now()) {
            match action {
                Action::SendNext => self.send(),
                Action::SendKeyframe => {
                    self.next = 0;
                    self.send();
                }
                Action::LeaveOut(pictures) => self.counters.leave_out(pictures.into()),
                // A loop is coded already.
                Action::Encode(_) => {}
            }
        }
    }

    fn send(&mut self) {
        let index = self.next;
        self.next = (index + 1) % self.pictures.pictures.len();
        // Rate control left some out when the loop was made.
        let Some(data) = self.pictures.pictures[index].clone() else { return };
        let sent = Event::PictureSent { bytes: data.len(), is_keyframe: index == 0, took: Duration::ZERO };
        let picture = EncodedVideo { data, keyframe: index == 0, captured_at: Instant::now() };
        self.counters.count(&picture);
        self.sender.video(picture);
        self.happened(sent);
    }
}

async fn send_audio(sounds: Arc<SoundLoop>, sender: MediaSender, switches: Switches) {
    let mut ticker = Ticker { next: Instant::now(), period: SOUND };
    for data in sounds.iter().cycle() {
        ticker.wait().await;
        if !switches.is_sound_off() && !sender.is_path_closed() {
            let sound = EncodedAudio { data: data.clone(), samples: SOUND_SAMPLES, captured_at: Instant::now() };
            sender.audio(sound, Copies::None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticker_that_was_held_up_catches_up_a_little_and_jumps_over_the_rest() {
        let next = Instant::now();
        let ticker = Ticker { next, period: Duration::from_millis(20) };
        for (late_ms, left_out) in [(0, 0), (19, 0), (199, 0), (200, 10), (1_001, 50)] {
            assert_eq!(ticker.left_out(next + Duration::from_millis(late_ms)), left_out, "{late_ms} ms");
        }
    }
}
