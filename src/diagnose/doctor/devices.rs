//! Camera, microphone and speaker as a call would use them, opened for a moment.
//!
//! Each runs on a thread that may block, and is left behind when a driver does not answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use media::capture::{self, AudioSource, CaptureError, VideoSource};
use media::frame::{AUDIO_FRAME_SAMPLES, AudioFrame, VideoFrame};
use media::playout::{AudioSink, Speaker};
use media::queue;

use super::{Finding, Look, aside, printable};
use crate::output::exit::ExitStatus;
use crate::phone::settings::MediaSettings;

/// How long a device may take in all: opening a camera alone may take 10 s.
const PATIENCE: Duration = Duration::from_secs(15);

/// How long the first picture or sound may take after opening. A sound server that has slept may first finish a
/// buffer of two seconds (PulseAudio's longest).
const FIRST: Duration = Duration::from_secs(4);

/// How long pictures are counted for, and sound is listened to.
const COUNTED: Duration = Duration::from_secs(1);
const LISTENED: Duration = Duration::from_millis(600);

/// Pictures and sounds that wait: all that come while nobody looks.
const WAITING: usize = 64;

/// Mean luma at and below which a picture is black: 16 is, and a covered lens adds some noise.
const BLACK_MAX: u64 = 20;

/// Level below which a microphone is taken as muted; a quiet room is at about -60 dBFS.
const SILENCE_DBFS: f64 = -80.0;

/// Sound given to the speaker: silence, which nobody is disturbed by.
const GIVEN: Duration = Duration::from_millis(200);

/// How long the speaker may take to play it, for the same reason.
const PLAYED: Duration = Duration::from_secs(4);

/// What `--video` names.
pub(super) async fn camera(settings: MediaSettings) -> Finding {
    let look = Look::at("camera");
    if settings.video == VideoSource::None {
        return look.skipped("no pictures are sent, as --video none asks");
    }
    match aside(PATIENCE, move || watch(&settings)).await {
        None => unanswered(look, "--video test or --video none"),
        Some(Err(error)) => refused(look, error),
        Some(Ok(Watched { name, pictures: None })) => look.failed(
            ExitStatus::Device,
            format!("{name}: opened, but gives no picture within {} s", FIRST.as_secs()),
            "unplug it and plug it in again; --video test or --video none do without it",
        ),
        Some(Ok(Watched { name, pictures: Some(pictures) })) => {
            let detail = format!("{name}: {}, {:.1} pictures/s", pictures.size, pictures.rate);
            if pictures.is_black {
                look.warning(format!("{detail}, but the picture is black"), "is the lens covered?")
            } else {
                look.ok(detail)
            }
        }
    }
}

struct Watched {
    name: String,
    pictures: Option<Pictures>,
}

struct Pictures {
    size: media::frame::Size,
    rate: f64,
    is_black: bool,
}

fn watch(settings: &MediaSettings) -> Result<Watched, CaptureError> {
    let (frames_tx, frames) = queue::bounded::<Arc<VideoFrame>>(WAITING);
    let capture = capture::open_video(&settings.video, settings.format, frames_tx)?;
    let name = capture.as_ref().map(|capture| printable(&capture.description)).unwrap_or_default();
    let Ok(first) = frames.recv_timeout(FIRST) else { return Ok(Watched { name, pictures: None }) };
    let began = Instant::now();
    let (mut count, mut last, mut last_at) = (0_u32, first, began);
    while let Some(left) = COUNTED.checked_sub(began.elapsed()) {
        if let Ok(frame) = frames.recv_timeout(left) {
            (count, last, last_at) = (count + 1, frame, Instant::now());
        }
    }
    // From the first picture to the last, so that a slow camera's rate is right too.
    let rate = f64::from(count) / last_at.duration_since(began).as_secs_f64().max(f64::EPSILON);
    let luma = last.y().iter().map(|luma| u64::from(*luma)).sum::<u64>() / (last.y().len() as u64).max(1);
    let rate = if count == 0 { 0.0 } else { rate };
    Ok(Watched { name, pictures: Some(Pictures { size: last.size(), rate, is_black: luma <= BLACK_MAX }) })
}

/// What `--audio` names.
pub(super) async fn microphone(source: AudioSource) -> Finding {
    let look = Look::at("microphone");
    if source == AudioSource::None {
        return look.skipped("no sound is sent, as --audio none asks");
    }
    match aside(PATIENCE, move || listen(&source)).await {
        None => unanswered(look, "--audio tone or --audio none"),
        Some(Err(error)) => refused(look, error),
        Some(Ok((name, samples))) if samples.is_empty() => look.failed(
            ExitStatus::Device,
            format!("{name}: opened, but gives no sound within {} s", FIRST.as_secs()),
            "unplug it and plug it in again; --audio tone or --audio none do without it",
        ),
        Some(Ok((name, samples))) => match level(&samples) {
            Some(dbfs) if dbfs >= SILENCE_DBFS => look.ok(format!("{name}: {dbfs:.0} dBFS")),
            quiet => {
                let level = quiet.map_or_else(|| "silence".to_owned(), |dbfs| format!("{dbfs:.0} dBFS"));
                look.warning(
                    format!("{name}: {level}: it gives sound, but there is none in it"),
                    "is it muted, on the device or in the system's mixer?",
                )
            }
        },
    }
}

fn listen(source: &AudioSource) -> Result<(String, Vec<i16>), CaptureError> {
    let (sounds_tx, sounds) = queue::bounded::<AudioFrame>(WAITING);
    let capture = capture::open_audio(source, sounds_tx)?;
    let name = capture.as_ref().map(|capture| printable(&capture.description)).unwrap_or_default();
    let Ok(first) = sounds.recv_timeout(FIRST) else { return Ok((name, Vec::new())) };
    let (began, mut samples) = (Instant::now(), first.samples);
    while let Some(left) = LISTENED.checked_sub(began.elapsed()) {
        if let Ok(sound) = sounds.recv_timeout(left) {
            samples.extend(sound.samples);
        }
    }
    Ok((name, samples))
}

/// The mean level below full scale; `None` for silence.
fn level(samples: &[i16]) -> Option<f64> {
    let squares: f64 = samples.iter().map(|sample| f64::from(*sample).powi(2)).sum();
    let mean = (squares / samples.len().max(1) as f64).sqrt() / f64::from(i16::MAX);
    (mean > 0.0).then(|| 20.0 * mean.log10())
}

/// What `--play` names.
pub(super) async fn speaker(sink: AudioSink) -> Finding {
    let look = Look::at("speaker");
    let AudioSink::Speaker(name) = sink else {
        return look.skipped("nothing is played, as --play none asks");
    };
    match aside(PATIENCE, move || play(name.as_deref())).await {
        None => unanswered(look, "--play none"),
        Some(Err(text)) => told(look, &text),
        Some(Ok((name, true))) => look.ok(format!("{name}: takes sound")),
        Some(Ok((name, false))) => look.failed(
            ExitStatus::Device,
            format!("{name}: opened, but does not take sound"),
            "unplug it and plug it in again, or restart the sound server; --play none does without it",
        ),
    }
}

/// The speaker's name, and whether it played what it got.
fn play(name: Option<&str>) -> Result<(String, bool), String> {
    let mut speaker = Speaker::open(name).map_err(|error| error.to_string())?;
    let frames = GIVEN.as_millis() / 20;
    for _ in 0..frames {
        speaker.push(&[0; AUDIO_FRAME_SAMPLES]);
    }
    let began = Instant::now();
    while began.elapsed() < PLAYED && !speaker.has_failed() && !speaker.queued().is_zero() {
        std::thread::sleep(Duration::from_millis(20));
    }
    let played = !speaker.has_failed() && speaker.queued().is_zero();
    Ok((printable(&speaker.description), played))
}

fn unanswered(look: Look, without: &str) -> Finding {
    let detail = format!("does not answer within {} s", PATIENCE.as_secs());
    look.failed(ExitStatus::Device, detail, format!("unplug it and plug it in again; {without} does without it"))
}

fn refused(look: Look, error: CaptureError) -> Finding {
    match error {
        CaptureError::Device(text) => told(look, &text),
        CaptureError::File(text) => {
            let (detail, fix) = split(&text, "pass another file");
            look.failed(ExitStatus::Usage, detail, fix)
        }
    }
}

fn told(look: Look, text: &str) -> Finding {
    let (detail, fix) = split(text, "run \"tring devices\"");
    look.failed(ExitStatus::Device, detail, fix)
}

/// Cause and advice of one of our texts, which has the advice behind its last semicolon.
fn split(text: &str, otherwise: &str) -> (String, String) {
    let (detail, fix) = text.rsplit_once("; ").unwrap_or((text, otherwise));
    (detail.to_owned(), fix.to_owned())
}

#[cfg(test)]
mod tests {
    use media::capture::VideoFormat;
    use media::display::Show;
    use media::frame::Size;
    use media::send::picture_plan::Content;
    use media::voice::Processing;

    use super::*;
    use crate::phone::settings::Weight;

    fn settings(video: VideoSource) -> MediaSettings {
        MediaSettings {
            video,
            audio: AudioSource::None,
            voice: Processing::Raw,
            format: VideoFormat { size: Size { width: 64, height: 48 }, fps: 20 },
            content: Content::Motion,
            show: Show::None,
            play: AudioSink::None,
            record: None,
            snapshot: None,
            existing: media::existing::Existing::Keep,
            duration: None,
            weight: Weight::Full,
        }
    }

    #[test]
    fn levels_are_below_full_scale() {
        assert_eq!(level(&[]), None);
        assert_eq!(level(&[0; 100]), None);
        let near = |samples: &[i16], expected: f64| (level(samples).unwrap() - expected).abs() < 0.1;
        assert!(near(&[i16::MAX; 10], 0.0));
        assert!(near(&[3277, -3277], -20.0));
        assert!(near(&[1], -90.3));
    }

    #[test]
    fn advice_is_taken_from_our_own_texts() {
        let text = "no camera found; run \"tring devices\", or pass --video test or --video none";
        let (detail, fix) = split(text, "");
        assert_eq!(detail, "no camera found");
        assert!(fix.contains("--video none"));
        assert_eq!(split("it burns", "flee"), ("it burns".to_owned(), "flee".to_owned()));
    }

    #[tokio::test]
    async fn test_media_is_seen_and_heard_and_none_is_skipped() {
        let found = camera(settings(VideoSource::Test)).await;
        assert_eq!(found.status(), "ok", "{found:?}");
        assert!(found.detail.contains("64x48"), "{}", found.detail);
        let found = microphone(AudioSource::Tone).await;
        assert_eq!(found.status(), "ok", "{found:?}");
        assert!(found.detail.contains("dBFS"), "{}", found.detail);
        for (found, option) in [
            (camera(settings(VideoSource::None)).await, "--video none"),
            (microphone(AudioSource::None).await, "--audio none"),
            (speaker(AudioSink::None).await, "--play none"),
        ] {
            assert_eq!(found.status(), "skipped");
            assert!(found.detail.contains(option), "{}", found.detail);
        }
    }

    #[tokio::test]
    async fn what_is_missing_says_what_avoids_it() {
        let found = microphone(AudioSource::Microphone(Some("no such one anywhere".into()))).await;
        assert_eq!(found.status(), "failed");
        assert!(found.fix().is_some_and(|fix| fix.contains("--audio none")), "{found:?}");
        let found = camera(settings(VideoSource::File("/nonexistent/a.y4m".into()))).await;
        assert!(matches!(found.verdict, super::super::Verdict::Failed { end: ExitStatus::Usage, .. }), "{found:?}");
    }
}
