//! The microphone: sound from the system's audio input as frames of 20 ms.
//!
//! Owns one input stream and the thread that gathers its samples. The device's callback allocates nothing and waits
//! for nothing: it mixes to mono and pushes into a ring; what does not fit is dropped and counted.
//!
//! - callback (the sound system's thread) → ring → [`Resampler`] → [`AudioFrame`] → queue

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use cpal::traits::{DeviceTrait, StreamTrait};
use cpal::{FromSample, I24, SampleFormat, SizedSample};

use super::{Capture, CaptureError, StopFlag};
use crate::devices::audio::{self, OPEN_PATIENCE, Role, Settings};
use crate::devices::resample::Resampler;
use crate::frame::{AUDIO_FRAME_SAMPLES, AUDIO_RATE_HZ, AudioFrame};
use crate::queue;

/// Samples the ring holds: over half a second at 48 kHz, so that a late gathering thread loses nothing.
const RING_SAMPLES: usize = 32_768;

/// A microphone that gives nothing for this long is reported, once.
const SILENT_AFTER: Duration = Duration::from_secs(3);

/// Opens the microphone called `name`, or the system's default, and sends its sound until dropped.
///
/// # Errors
/// [`CaptureError::Device`] when there is none or it cannot be opened.
pub(super) fn open(name: Option<&str>, out: queue::Sender<AudioFrame>) -> Result<Capture, CaptureError> {
    let wanted = name.map(str::to_owned);
    let (ready, opened) = sync_channel(1);
    // The stream is made on the thread that keeps it: not every system lets streams change threads.
    let mut capture = Capture::spawn("microphone", "microphone".to_owned(), move |stop| {
        match Input::open(wanted.as_deref()) {
            Ok(input) => {
                if ready.send(Ok(input.name.clone())).is_ok() {
                    input.run(&out, &stop);
                }
            }
            // Nobody waits any more when this cannot be sent.
            Err(reason) => drop(ready.send(Err(reason))),
        }
    })
    .map_err(|error| unavailable(&error.to_string()))?;
    match opened.recv_timeout(2 * OPEN_PATIENCE) {
        Ok(Ok(name)) => {
            capture.description = name;
            Ok(capture)
        }
        Ok(Err(reason)) => Err(unavailable(&reason)),
        Err(_) => {
            // The thread hangs inside the sound system; joining it would hang us too. It ends when that answers.
            drop(capture.thread.take());
            Err(unavailable("the sound system does not answer"))
        }
    }
}

fn unavailable(reason: &str) -> CaptureError {
    CaptureError::Device(format!("{reason}; run \"tring devices\", or pass --audio tone or --audio none"))
}

/// An open input stream and the far end of its ring.
struct Input {
    name: String,
    stream: cpal::Stream,
    rate: u32,
    samples: rtrb::Consumer<i16>,
    shared: Arc<Shared>,
}

/// What the callbacks tell the gathering thread.
#[derive(Debug, Default)]
struct Shared {
    overruns: AtomicU64,
    failed: AtomicBool,
}

impl Input {
    fn open(wanted: Option<&str>) -> Result<Self, String> {
        let found = audio::find(Role::Microphone, wanted)?;
        let name = found.name;
        let failed = |reason: String| format!("microphone {name:?} cannot be opened: {reason}");
        let settings = audio::settings(&found.device, Role::Microphone).map_err(&failed)?;
        let (ring, samples) = rtrb::RingBuffer::new(RING_SAMPLES);
        let shared = Arc::new(Shared::default());
        let stream = build(&found.device, settings, ring, &shared).map_err(&failed)?;
        stream.play().map_err(|error| failed(audio::reason(&error)))?;
        tracing::debug!(%name, id = %found.id, ?settings, "microphone open");
        Ok(Self { name, stream, rate: settings.config.sample_rate, samples, shared })
    }

    /// Gathers frames until the capture is stopped, nobody listens any more, or the device is gone.
    fn run(mut self, out: &queue::Sender<AudioFrame>, stop: &StopFlag) {
        let mut resampler = Resampler::new(self.rate, AUDIO_RATE_HZ);
        let mut pending = Vec::with_capacity(RING_SAMPLES);
        let mut last_sound = Instant::now();
        let mut reported = 0;
        while !stop.is_set() && !self.shared.failed.load(Ordering::Relaxed) {
            if let Ok(chunk) = self.samples.read_chunk(self.samples.slots())
                && !chunk.is_empty()
            {
                let (first, second) = chunk.as_slices();
                resampler.process(first, &mut pending);
                resampler.process(second, &mut pending);
                chunk.commit_all();
                last_sound = Instant::now();
            } else if last_sound.elapsed() >= SILENT_AFTER {
                tracing::warn!(microphone = %self.name, "microphone gives no samples");
                last_sound += Duration::from_secs(3_600);
            }
            if !send_frames(&mut pending, out) {
                break;
            }
            let overruns = self.shared.overruns.load(Ordering::Relaxed);
            if overruns > reported {
                tracing::warn!(samples = overruns - reported, "microphone samples lost: this machine is too busy");
                reported = overruns;
            }
            std::thread::sleep(until_full(pending.len()));
        }
        drop(self.stream);
    }
}

/// Sends every whole frame in `pending`; false when nobody listens any more.
fn send_frames(pending: &mut Vec<i16>, out: &queue::Sender<AudioFrame>) -> bool {
    let now = Instant::now();
    while pending.len() >= AUDIO_FRAME_SAMPLES {
        let samples: Vec<i16> = pending.drain(..AUDIO_FRAME_SAMPLES).collect();
        let at = now.checked_sub(sound_time(pending.len())).unwrap_or(now);
        if !out.send(AudioFrame { samples, at }) {
            return false;
        }
    }
    true
}

/// How long the rest of a frame takes to arrive, at least 1 ms.
fn until_full(pending: usize) -> Duration {
    sound_time(AUDIO_FRAME_SAMPLES.saturating_sub(pending)).max(Duration::from_millis(1))
}

/// How long so many 48 kHz samples last.
fn sound_time(samples: usize) -> Duration {
    Duration::from_micros(samples as u64 * 1_000_000 / u64::from(AUDIO_RATE_HZ))
}

fn build(
    device: &cpal::Device,
    settings: Settings,
    ring: rtrb::Producer<i16>,
    shared: &Arc<Shared>,
) -> Result<cpal::Stream, String> {
    match settings.format {
        SampleFormat::I8 => build_for::<i8>(device, settings, ring, shared),
        SampleFormat::I16 => build_for::<i16>(device, settings, ring, shared),
        SampleFormat::I24 => build_for::<I24>(device, settings, ring, shared),
        SampleFormat::I32 => build_for::<i32>(device, settings, ring, shared),
        SampleFormat::U8 => build_for::<u8>(device, settings, ring, shared),
        SampleFormat::U16 => build_for::<u16>(device, settings, ring, shared),
        SampleFormat::F32 => build_for::<f32>(device, settings, ring, shared),
        other => Err(format!("it gives samples of an unknown format, {other}")),
    }
}

fn build_for<T>(
    device: &cpal::Device,
    settings: Settings,
    mut ring: rtrb::Producer<i16>,
    shared: &Arc<Shared>,
) -> Result<cpal::Stream, String>
where
    T: SizedSample,
    i16: FromSample<T>,
{
    let channels = usize::from(settings.config.channels);
    let counters = Arc::clone(shared);
    let on_samples = move |data: &[T], _: &cpal::InputCallbackInfo| {
        let lost = push_mono(data, channels, &mut ring);
        if lost > 0 {
            counters.overruns.fetch_add(lost, Ordering::Relaxed);
        }
    };
    let shared = Arc::clone(shared);
    let on_error = move |error: cpal::Error| match error.kind() {
        cpal::ErrorKind::DeviceChanged | cpal::ErrorKind::Xrun | cpal::ErrorKind::RealtimeDenied => {
            tracing::debug!(%error, "microphone hiccup");
        }
        _ => {
            tracing::warn!(%error, "microphone lost");
            shared.failed.store(true, Ordering::Relaxed);
        }
    };
    device
        .build_input_stream(settings.config, on_samples, on_error, Some(OPEN_PATIENCE))
        .map_err(|error| audio::reason(&error))
}

/// Averages the channels of each instant into the ring; returns how many instants did not fit.
fn push_mono<T: Copy>(data: &[T], channels: usize, ring: &mut rtrb::Producer<i16>) -> u64
where
    i16: FromSample<T>,
{
    let mut lost = 0;
    for instant in data.chunks_exact(channels.max(1)) {
        let sum: i32 = instant.iter().map(|&sample| i32::from(i16::from_sample_(sample))).sum();
        // An average of 16-bit values fits 16 bits.
        let mono = (sum / instant.len() as i32) as i16;
        lost += u64::from(ring.push(mono).is_err());
    }
    lost
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_averaged_and_what_does_not_fit_is_counted() {
        let (mut ring, mut samples) = rtrb::RingBuffer::new(3);
        assert_eq!(push_mono(&[100_i16, 300, -4, -8, i16::MAX, i16::MAX, 1, 1], 2, &mut ring), 1);
        assert_eq!(std::iter::from_fn(|| samples.pop().ok()).collect::<Vec<_>>(), [200, -6, i16::MAX]);
    }

    #[test]
    fn every_sample_format_keeps_silence_and_full_scale() {
        fn one<T: Copy>(sample: T) -> i16
        where
            i16: FromSample<T>,
        {
            let (mut ring, mut samples) = rtrb::RingBuffer::new(1);
            push_mono(&[sample], 1, &mut ring);
            samples.pop().unwrap()
        }
        assert_eq!([one(0_i16), one(0_i32), one(0.0_f32), one(0x80_u8), one(0x8000_u16), one(0_i8)], [0; 6]);
        assert_eq!([one(i32::MIN), one(-1.0_f32), one(0_u8), one(0_u16), one(-1.5_f32)], [i16::MIN; 5]);
        assert!(one(1.0_f32) == i16::MAX && one(f32::NAN) == 0);
    }

    #[test]
    fn frames_leave_whole_with_the_time_of_their_last_sample() {
        let (out, frames) = queue::bounded(4);
        let mut pending = vec![7; 2 * AUDIO_FRAME_SAMPLES + 480];
        assert!(send_frames(&mut pending, &out));
        assert_eq!(pending.len(), 480);
        let (first, second) = (frames.try_recv().unwrap(), frames.try_recv().unwrap());
        assert_eq!(first.samples, [7; AUDIO_FRAME_SAMPLES]);
        assert_eq!(second.at - first.at, Duration::from_millis(20));
        assert_eq!(until_full(480), Duration::from_millis(10));
        drop(frames);
        pending.resize(AUDIO_FRAME_SAMPLES, 0);
        assert!(!send_frames(&mut pending, &out));
    }

    #[test]
    fn a_microphone_that_does_not_exist_says_what_to_try() {
        let (out, _frames) = queue::bounded(1);
        let error = open(Some("no such microphone anywhere"), out).unwrap_err().to_string();
        assert!(error.contains("tring devices") && error.contains("--audio tone"), "{error}");
    }
}
