//! What arrives, judged: from sums of the media to the figures of the last second, and of the whole call.

use std::time::{Duration, Instant};

use media::call::incoming::{AudioFigures, VideoFigures};
use media::clock::Estimate;
use media::quality::PictureQuality;
use media::quality::concealment::Steps;
use media::quality::mos::{self, OPUS, OPUS_DELAY};

use crate::phone::events::{AudioReceived, Clock, Latencies, Received, VideoReceived};

/// Latency of sound and its sync with the picture are medians of so long: four steps of the test sweep.
const SYNC_OVER: Duration = Duration::from_secs(2);

/// What was there at the last look.
#[derive(Debug, Default)]
pub(super) struct Judge {
    quality: PictureQuality,
    latencies: u64,
    steps: Steps,
}

/// How good it is; what is not known is null.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) video: VideoReceived,
    pub(super) audio: AudioReceived,
    /// Latency of sound less that of pictures: positive where sound is late.
    pub(super) sync_ms: Option<f64>,
}

impl Judged {
    /// As an event tells it, without rates.
    pub(super) fn received(self) -> Received {
        Received {
            sync_ms: self.sync_ms,
            clock: self.video.figures.clock.map(clock),
            video: Some(Box::new(self.video)),
            audio: Some(Box::new(self.audio)),
            ..Received::default()
        }
    }
}

impl Judge {
    /// Judges what came since the last look.
    pub(super) fn look(
        &mut self,
        video: VideoFigures,
        audio: AudioFigures,
        round_trip: Option<Duration>,
        now: Instant,
    ) -> Judged {
        let quality = video.quality.since(std::mem::replace(&mut self.quality, video.quality));
        let steps = audio.steps.since(std::mem::replace(&mut self.steps, audio.steps));
        let (latencies, latencies_left_out) = video.latencies.since(self.latencies);
        self.latencies = video.latencies.count();
        let latencies_ms = latencies.into_iter().map(|ms| ms.round() as i64).collect();
        // Without a past there is nothing older to leave out either.
        let since = now.checked_sub(SYNC_OVER).unwrap_or(now);
        let latency_ms = audio.latencies.median(since);
        Judged {
            sync_ms: difference(latency_ms, video.latencies.median(since)),
            video: VideoReceived {
                psnr_db: quality.psnr_db(),
                ssim: quality.ssim(),
                latencies: Some(Latencies { latencies_ms, latencies_left_out }),
                figures: video,
            },
            audio: AudioReceived { latency_ms, mos: estimate(&audio, latency_ms, round_trip, steps), figures: audio },
        }
    }
}

/// Judges the whole call.
pub(super) fn of_call(video: VideoFigures, audio: AudioFigures, round_trip: Option<Duration>) -> Judged {
    let latency_ms = audio.latency_p50_ms;
    let mos = estimate(&audio, latency_ms, round_trip, audio.steps);
    Judged {
        sync_ms: difference(latency_ms, video.latency_p50_ms),
        video: VideoReceived {
            psnr_db: video.quality.psnr_db(),
            ssim: video.quality.ssim(),
            latencies: None,
            figures: video,
        },
        audio: AudioReceived { latency_ms, mos, figures: audio },
    }
}

fn clock(estimate: Estimate) -> Clock {
    let rounded = |ms: f64| (ms * 1000.0).round() / 1000.0;
    Clock { ahead_ms: rounded(estimate.ahead_ms), within_ms: rounded(estimate.within_ms) }
}

fn difference(sound_ms: Option<f64>, picture_ms: Option<f64>) -> Option<f64> {
    Some(sound_ms? - picture_ms?)
}

/// The mean opinion score that the E-model estimates; `None` when no sound was played or no delay is known.
fn estimate(audio: &AudioFigures, latency_ms: Option<f64>, round_trip: Option<Duration>, steps: Steps) -> Option<f64> {
    let loss = steps.loss()?;
    let measured = latency_ms.map(|ms| seconds(ms / 1000.0));
    let summed = || {
        let buffers = seconds((audio.buffer_ms + audio.speaker_ms) / 1000.0);
        round_trip.map(|round_trip| round_trip / 2 + buffers + OPUS_DELAY)
    };
    let delay = measured.or_else(summed)?;
    Some(mos::mos(mos::rating(delay, loss, OPUS)))
}

/// A delay; one below 0, which is within what is known of the clocks, is none.
fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn talk(played: u64, concealed: u64) -> AudioFigures {
        let steps = Steps { played, concealed, bursts: concealed };
        AudioFigures { buffer_ms: 60.0, steps, ..AudioFigures::default() }
    }

    #[test]
    fn a_second_has_what_came_in_it_and_the_call_has_all() {
        let (start, mut judge) = (Instant::now(), Judge::default());
        let (mut video, mut audio) = (VideoFigures::default(), talk(50, 0));
        for ms in [100.0, 101.0, 105.0] {
            video.latencies.add(start, ms);
        }
        audio.latencies.add(start, 140.0);
        let first = judge.look(video.clone(), audio.clone(), None, start);
        assert_eq!(first.sync_ms, Some(39.0));
        assert_eq!(serde_json::to_value(&first.video).unwrap()["latencies_ms"], json!([100, 101, 105]));

        let later = start + Duration::from_secs(3);
        video.latencies.add(later, 99.6);
        audio.steps = talk(75, 25).steps;
        let second = judge.look(video.clone(), audio.clone(), Some(Duration::from_millis(20)), later);
        let shown = serde_json::to_value(&second.video).unwrap();
        assert_eq!((&shown["latencies_ms"], &shown["latencies_left_out"]), (&json!([100]), &json!(0)));
        assert_eq!((second.sync_ms, second.audio.latency_ms), (None, None), "the step is too long ago");
        // Half of these steps were lost, of the call's a quarter.
        let call = of_call(video, audio, Some(Duration::from_millis(20)));
        assert!(second.audio.mos < call.audio.mos, "{second:?} {call:?}");
        let shown = serde_json::to_value(&call.video).unwrap();
        assert_eq!(shown.get("latencies_ms"), None);
        assert_eq!((&shown["psnr_db"], &shown["frames"]), (&Value::Null, &json!(0)));
    }

    #[test]
    fn an_estimate_needs_sound_and_a_delay() {
        let round_trip = Some(Duration::from_millis(30));
        let of =
            |audio: &AudioFigures, round_trip| of_call(VideoFigures::default(), audio.clone(), round_trip).audio.mos;
        assert_eq!(of(&talk(0, 0), round_trip), None);
        assert_eq!(of(&talk(500, 0), None), None);
        // 15 + 60 + 26.5 ms: next to no impairment.
        assert!(of(&talk(500, 0), round_trip).is_some_and(|mos| (mos - 4.41).abs() < 0.01));
        let measured = AudioFigures { latency_p50_ms: Some(400.0), ..talk(500, 0) };
        assert!(of(&measured, None).is_some_and(|mos| (mos - 3.56).abs() < 0.02), "{:?}", of(&measured, None));
        let early = AudioFigures { latency_p50_ms: Some(-50.0), ..talk(500, 0) };
        assert!(of(&early, None).is_some_and(|mos| mos > 4.4), "within what is known of the clocks");
    }
}
