//! From counters to the figures that events and the closing summary show.

use std::time::{Duration, Instant};

use media::call::incoming::{AudioFigures, VideoFigures};
use media::peer::config::IceTransport;
use media::peer::{MediaSender, PathStats};
use media::stats::Rate;

use super::marks::Marks;
use super::media::CallMedia;
use super::quality::{self, Judge};
use crate::phone::events::{Line, Pair, Plan, Received, Sent, Setup, Stats, Voice};

/// Counters at the last look, to make rates of.
#[derive(Debug)]
pub(super) struct Meter {
    started: Instant,
    sent_video: Rate,
    sent_audio: Rate,
    sent_frames: Rate,
    received_video: Rate,
    received_audio: Rate,
    received_frames: Rate,
    judge: Judge,
}

impl Meter {
    pub(super) fn new(now: Instant) -> Self {
        let zero = Rate::new(now, 0);
        Self {
            started: now,
            sent_video: zero,
            sent_audio: zero,
            sent_frames: zero,
            received_video: zero,
            received_audio: zero,
            received_frames: zero,
            judge: Judge::default(),
        }
    }

    /// Figures since the last look.
    pub(super) async fn look(&mut self, media: &mut CallMedia) -> Stats {
        let now = Instant::now();
        let (video, audio) = media.figures();
        let mut sent = counts(media);
        let bytes = media.sender().map(|sender| sender.bytes_sent());
        sent.video_bps = bytes.map(|(video, _)| self.sent_video.look(now, video) * 8.0);
        sent.audio_bps = bytes.map(|(_, audio)| self.sent_audio.look(now, audio) * 8.0);
        sent.fps = bytes.map(|_| self.sent_frames.look(now, sent.frames));
        let path = media.peer().path().await;
        let judged = self.judge.look(video, audio, path.as_ref().and_then(|path| path.round_trip), now);
        let (video, audio) = (&judged.video.figures, &judged.audio.figures);
        let received = Received {
            video_bps: Some(self.received_video.look(now, video.bytes) * 8.0),
            audio_bps: Some(self.received_audio.look(now, audio.bytes) * 8.0),
            fps: Some(self.received_frames.look(now, video.frames)),
            ..judged.received()
        };
        let estimate = media.sender().map(MediaSender::path_estimate);
        Stats {
            pair: path.map(pair),
            target_bps: estimate.map(|path| path.target_bps),
            line: estimate.map(Line::from),
            plan: Plan::from(media.outgoing_counters().plan()),
            voice: media.outgoing_counters().voice().map(Voice::from),
            sent,
            received,
        }
    }

    /// Averages over the whole call, and its mean opinion score as estimated; `sent` is what [`counts`] gave before the
    /// media was closed.
    pub(super) fn averages(
        &self,
        mut sent: Sent,
        bytes_sent: Option<(u64, u64)>,
        video: VideoFigures,
        audio: AudioFigures,
        round_trip: Option<Duration>,
        ended: Instant,
    ) -> (Sent, Received, Option<f64>) {
        let seconds = ended.saturating_duration_since(self.started).as_secs_f64();
        let a_second = |count: u64| (seconds > 0.0).then(|| count as f64 / seconds);
        sent.video_bps = bytes_sent.and_then(|(video, _)| a_second(video * 8));
        sent.audio_bps = bytes_sent.and_then(|(_, audio)| a_second(audio * 8));
        sent.fps = bytes_sent.and_then(|_| a_second(sent.frames));
        let judged = quality::of_call(video, audio, round_trip);
        let (video, audio, mos) = (&judged.video.figures, &judged.audio.figures, judged.audio.mos);
        let received = Received {
            video_bps: a_second(video.bytes * 8),
            audio_bps: a_second(audio.bytes * 8),
            fps: a_second(video.frames),
            ..judged.received()
        };
        (sent, received, mos)
    }
}

/// What was sent so far, without rates.
pub(super) fn counts(media: &CallMedia) -> Sent {
    let counters = media.outgoing_counters();
    let report = media.sender().and_then(|sender| sender.remote_reports().0);
    Sent {
        frames: counters.pictures(),
        keyframes: counters.keyframes(),
        dropped: media.sender().map_or(0, |sender| sender.dropped()) + counters.left_out(),
        remote_loss: report.map(|report| f64::from(report.fraction_lost)),
        remote_jitter_ms: report.map(|report| f64::from(report.jitter_ms)),
        ..Sent::default()
    }
}

pub(super) fn pair(path: PathStats) -> Pair {
    Pair {
        local: path.local.kind,
        remote: path.remote.kind,
        protocol: path.local.protocol,
        round_trip_ms: path.round_trip.map(ms),
        relay_protocol: path.relay.map(IceTransport::name),
    }
}

/// Splits the time until the first picture.
pub(super) fn setup(marks: &Marks) -> Setup {
    let between = |from: Option<Instant>, to: Option<Instant>| Some(ms(to?.checked_duration_since(from?)?));
    Setup {
        signalling_ms: between(marks.dialed.or(marks.accepted), marks.described),
        ice_ms: between(marks.described, marks.ice),
        dtls_ms: between(marks.ice, marks.connected),
        first_frame_ms: between(marks.connected, marks.first_frame),
        answer_to_first_frame_ms: between(marks.accepted, marks.first_frame),
    }
}

pub(super) fn ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1_000_000.0).round() / 1000.0
}
