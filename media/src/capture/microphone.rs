//! The microphone: sound from the system's audio input as frames of 20 ms.
//!
//! Owns one input stream, on a thread of its own, and the thread that gathers its samples. The device's callback
//! allocates nothing and waits for nothing: it mixes to mono and pushes into a ring; what does not fit is dropped and
//! counted.
//!
//! - callback (the sound system's thread, or that of the sound server's connection) → ring → [`Resampler`] →
//!   [`AudioFrame`] → queue
//! - a device that has gone is opened again by the stream's thread, or another in its place; meanwhile nothing is sent

use std::sync::Arc;
use std::time::{Duration, Instant};

use cpal::traits::{DeviceTrait, StreamTrait};
use cpal::{FromSample, I24, SampleFormat, SizedSample};

use super::{Capture, CaptureError, Overruns, StopFlag};
use crate::frame::{AUDIO_FRAME_SAMPLES, AUDIO_RATE_HZ, AudioFrame};
use crate::queue;
use crate::sound::priority::ask_for_real_time;
#[cfg(target_os = "linux")]
use crate::sound::pulse::record;
use crate::sound::stream::{CLOSE_PATIENCE, CpalDevice, Health, Opened, Stream};
use crate::sound::system::{self, Found, OPEN_PATIENCE, Role, Settings};
use crate::threads::wait_for_ended;
use crate::voice::resample::Resampler;
use network::system_error::in_words;

/// Samples the ring holds: over half a second at 48 kHz, so that a late gathering thread loses nothing.
const RING_SAMPLES: usize = 32_768;

/// The thread that gathers samples and closes the stream.
const THREAD: &str = "microphone";

/// A microphone that gives nothing for this long is reported, once.
const SILENT_AFTER: Duration = Duration::from_secs(3);

/// Opens the microphone called `name`, or the system's default, and sends its sound until dropped.
///
/// # Errors
/// [`CaptureError::Device`] when there is none or it cannot be opened.
pub(super) fn open(name: Option<&str>, out: queue::Sender<AudioFrame>) -> Result<Capture, CaptureError> {
    wait_for_ended(THREAD, CLOSE_PATIENCE);
    let wanted = name.map(str::to_owned);
    let (stream, input) = Stream::open(Role::Microphone, move || Input::open(wanted.as_deref()))
        .map_err(|reason| unavailable(&reason))?;
    let (description, overruns) = (input.name.clone(), Overruns::default());
    let counter = overruns.clone();
    let mut capture = Capture::spawn(THREAD, description, move |stop| {
        ask_for_real_time(THREAD);
        input.run(&stream, &counter, &out, &stop);
        stream.close();
    })
    .map_err(|error| unavailable(&in_words(&error)))?;
    capture.overruns = overruns;
    Ok(capture)
}

fn unavailable(reason: &str) -> CaptureError {
    CaptureError::Device(format!("{reason}; run \"tring devices\", or pass --audio tone or --audio none"))
}

/// The far end of an open stream's ring.
struct Input {
    name: String,
    rate: u32,
    samples: rtrb::Consumer<i16>,
    health: Arc<Health>,
}

impl Input {
    fn open(wanted: Option<&str>) -> Result<Opened<Self>, String> {
        let found = system::find(Role::Microphone, wanted)?;
        let (ring, samples) = rtrb::RingBuffer::new(RING_SAMPLES);
        let health = Arc::new(Health::default());
        #[cfg(target_os = "linux")]
        if found.pulse {
            let Found { name, id, default, .. } = found;
            let follows = wanted.is_none() && default;
            let device = record::open(&id, follows, ring, Arc::clone(&health))
                .map_err(|reason| format!("microphone {name:?} cannot be opened: {reason}"))?;
            tracing::debug!(%name, %id, "microphone open");
            return Ok((device, Self { name, rate: AUDIO_RATE_HZ, samples, health }));
        }
        let Found { name, id, device, .. } = found;
        let failed = |error| system::failure(Role::Microphone, wanted, &name, &error);
        let settings = system::settings(&device, Role::Microphone).map_err(failed)?;
        let stream = build(&device, settings, ring, &health).map_err(failed)?;
        stream.play().map_err(failed)?;
        tracing::debug!(%name, %id, ?settings, "microphone open");
        let device = CpalDevice::new(stream, Arc::clone(&health));
        Ok((Box::new(device), Self { name, rate: settings.config.sample_rate, samples, health }))
    }

    /// Gathers frames until the capture is stopped or nobody listens any more.
    fn run(mut self, stream: &Stream<Self>, overruns: &Overruns, out: &queue::Sender<AudioFrame>, stop: &StopFlag) {
        let mut resampler = Resampler::for_device(self.rate, AUDIO_RATE_HZ);
        let mut pending = Vec::with_capacity(RING_SAMPLES);
        let mut last_sound = Instant::now();
        let mut reported = 0;
        while !stop.is_set() {
            if let Some(renewed) = stream.renewed() {
                tracing::info!(microphone = %renewed.name, "sound comes from another device");
                self = renewed;
                resampler = Resampler::for_device(self.rate, AUDIO_RATE_HZ);
                (last_sound, reported) = (Instant::now(), 0);
            }
            if let Ok(chunk) = self.samples.read_chunk(self.samples.slots())
                && !chunk.is_empty()
            {
                let (first, second) = chunk.as_slices();
                resampler.push(first, &mut pending);
                resampler.push(second, &mut pending);
                chunk.commit_all();
                last_sound = Instant::now();
            } else if last_sound.elapsed() >= SILENT_AFTER && !self.health.has_failed() {
                tracing::warn!(microphone = %self.name, "microphone gives no samples");
                last_sound += Duration::from_secs(3_600);
            }
            if !send_frames(&mut pending, out) {
                break;
            }
            let lost = self.health.glitches();
            if lost > reported {
                tracing::warn!(times = lost - reported, "microphone sound lost: this machine is too busy");
                overruns.add(lost - reported);
                reported = lost;
            }
            std::thread::sleep(until_full(pending.len()));
        }
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
    health: &Arc<Health>,
) -> Result<cpal::Stream, cpal::Error> {
    match settings.format {
        SampleFormat::I8 => build_for::<i8>(device, settings, ring, health),
        SampleFormat::I16 => build_for::<i16>(device, settings, ring, health),
        SampleFormat::I24 => build_for::<I24>(device, settings, ring, health),
        SampleFormat::I32 => build_for::<i32>(device, settings, ring, health),
        SampleFormat::U8 => build_for::<u8>(device, settings, ring, health),
        SampleFormat::U16 => build_for::<u16>(device, settings, ring, health),
        SampleFormat::F32 => build_for::<f32>(device, settings, ring, health),
        other => Err(system::unknown_format(other)),
    }
}

fn build_for<T>(
    device: &cpal::Device,
    settings: Settings,
    mut ring: rtrb::Producer<i16>,
    health: &Arc<Health>,
) -> Result<cpal::Stream, cpal::Error>
where
    T: SizedSample,
    i16: FromSample<T>,
{
    let channels = usize::from(settings.config.channels);
    let counters = Arc::clone(health);
    let mut is_prioritised = false;
    let on_samples = move |data: &[T], _: &cpal::InputCallbackInfo| {
        if !is_prioritised {
            is_prioritised = true;
            ask_for_real_time("microphone");
        }
        if push_mono(data, channels, &mut ring) > 0 {
            counters.count(1);
        }
    };
    let on_error = health.on_error(Role::Microphone);
    device.build_input_stream(settings.config, on_samples, on_error, Some(OPEN_PATIENCE))
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
