//! Loops on their way: paced by absolute deadlines, within what the path carries.
//!
//! A loop has a fixed rate. Where the estimate of the path falls below it, pictures are left out: the first one that
//! would wait too long, and all after it until the loop's keyframe finds room, since they refer to it. So a narrow path
//! sees the loop begin again and again, and what it could not carry is counted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::loops::{Looped, SoundLoop, VideoLoop};
use crate::frame::{EncodedAudio, EncodedVideo};
use crate::peer::MediaSender;
use crate::stream::outgoing::{Backlog, OutgoingCounters, Switches, path_bps, wire_bytes};

/// Length of one sound packet.
const SOUND: Duration = Duration::from_millis(20);

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
struct Beat {
    next: Instant,
    period: Duration,
}

impl Beat {
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

/// Where in its loop a call is.
enum Place {
    /// This picture is next.
    At(usize),
    /// The loop's keyframe, as soon as it finds room.
    Restart,
}

async fn send_video(pictures: Arc<VideoLoop>, sender: MediaSender, switches: Switches, counters: OutgoingCounters) {
    let mut beat = Beat { next: Instant::now(), period: pictures.period };
    let mut backlog = Backlog::new(Instant::now());
    let mut place = Place::Restart;
    loop {
        let late = beat.wait().await;
        if switches.are_pictures_off() || sender.is_path_closed() {
            place = Place::Restart;
            continue;
        }
        if late > 0 {
            counters.leave_out(u64::from(late));
            place = Place::Restart;
        }
        if sender.take_keyframe_request() {
            place = Place::Restart;
        }
        if backlog.is_full(Instant::now(), path_bps(&sender)) {
            counters.leave_out(1);
            place = Place::Restart;
            continue;
        }
        let index = match place {
            Place::At(index) => index,
            Place::Restart => 0,
        };
        place = Place::At((index + 1) % pictures.pictures.len());
        if let Some(data) = &pictures.pictures[index] {
            let picture = EncodedVideo { data: data.clone(), keyframe: index == 0, captured_at: Instant::now() };
            backlog.add(wire_bytes(data.len()));
            counters.count(&picture);
            sender.video(picture);
        }
    }
}

async fn send_audio(sounds: Arc<SoundLoop>, sender: MediaSender, switches: Switches) {
    let mut beat = Beat { next: Instant::now(), period: SOUND };
    for data in sounds.iter().cycle() {
        beat.wait().await;
        if !switches.is_sound_off() && !sender.is_path_closed() {
            sender.audio(EncodedAudio { data: data.clone(), captured_at: Instant::now() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beat_that_was_held_up_catches_up_a_little_and_jumps_over_the_rest() {
        let next = Instant::now();
        let beat = Beat { next, period: Duration::from_millis(20) };
        for (late_ms, left_out) in [(0, 0), (19, 0), (199, 0), (200, 10), (1_001, 50)] {
            assert_eq!(beat.left_out(next + Duration::from_millis(late_ms)), left_out, "{late_ms} ms");
        }
    }
}
