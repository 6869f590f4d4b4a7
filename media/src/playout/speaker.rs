//! The speaker: plays mono samples on the system's audio output.
//!
//! Owns one output stream and the thread that keeps it. The device's callback allocates nothing and waits for
//! nothing: it takes samples from a ring and plays silence when there are none.
//!
//! - [`Speaker::push`] → resampler → ring → callback (the sound system's thread)
//! - the caller looks at [`Speaker::queued`] and keeps it at about 40 ms: so the device's clock, not ours, sets the pace

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use cpal::traits::{DeviceTrait, StreamTrait};
use cpal::{FromSample, I24, SampleFormat, SizedSample};

use super::PlayoutError;
use crate::devices::audio::{self, OPEN_PATIENCE, Role, Settings};
use crate::devices::join_or_leave;
use crate::devices::resample::Resampler;
use crate::frame::AUDIO_RATE_HZ;

/// Most sound that waits for the device. Ten times what the caller aims at: beyond it, sound is too late to play.
const RING_MS: u32 = 400;

/// How long a stream may take to close.
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);

/// An open speaker; dropping it stops the sound and closes the device.
#[derive(Debug)]
pub struct Speaker {
    /// The device's name, for people.
    pub description: String,
    rate: u32,
    ring: rtrb::Producer<i16>,
    resampler: Resampler,
    resampled: Vec<i16>,
    dropped: u64,
    shared: Arc<Shared>,
    /// Dropped to end the thread.
    keep: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What the callbacks tell us.
#[derive(Debug, Default)]
struct Shared {
    underruns: AtomicU64,
    failed: AtomicBool,
}

/// What the stream's thread hands over once the device plays.
struct Opened {
    name: String,
    rate: u32,
    ring: rtrb::Producer<i16>,
    shared: Arc<Shared>,
}

impl Speaker {
    /// Opens the speaker called `name`, or the system's default. Waits for the device, at most some seconds.
    ///
    /// # Errors
    /// [`PlayoutError::Device`] when there is none or it cannot be opened.
    pub fn open(name: Option<&str>) -> Result<Self, PlayoutError> {
        let wanted = name.map(str::to_owned);
        let (ready, opened) = sync_channel(1);
        let (keep, kept) = sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("speaker".to_owned())
            .spawn(move || keep_stream(wanted.as_deref(), &ready, &kept))
            .map_err(|error| unavailable(&error.to_string()))?;
        let Opened { name, rate, ring, shared } = match opened.recv_timeout(2 * OPEN_PATIENCE) {
            Ok(Ok(opened)) => opened,
            Ok(Err(reason)) => return Err(unavailable(&reason)),
            // The thread is left inside the sound system; it ends when that answers.
            Err(_) => return Err(unavailable("the sound system does not answer")),
        };
        Ok(Self {
            description: name,
            rate,
            ring,
            resampler: Resampler::new(AUDIO_RATE_HZ, rate),
            resampled: Vec::new(),
            dropped: 0,
            shared,
            keep: Some(keep),
            thread: Some(thread),
        })
    }

    /// Queues mono samples at [`AUDIO_RATE_HZ`]. What does not fit (0.4 s wait already) is dropped and counted.
    pub fn push(&mut self, samples: &[i16]) {
        self.resampled.clear();
        self.resampler.process(samples, &mut self.resampled);
        let (_, lost) = self.ring.push_partial_slice(&self.resampled);
        self.dropped += lost.len() as u64;
    }

    /// How much sound waits in the ring; the sound system itself holds about 20 ms more.
    #[must_use]
    pub fn queued(&self) -> Duration {
        let waiting = self.ring.buffer().capacity() - self.ring.slots();
        Duration::from_micros(waiting as u64 * 1_000_000 / u64::from(self.rate))
    }

    /// Samples (at the device's rate) that were dropped because the ring was full.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// How often the device ran out of sound after it had some.
    #[must_use]
    pub fn underruns(&self) -> u64 {
        self.shared.underruns.load(Ordering::Relaxed)
    }

    /// True once the device is gone: nothing is played any more and [`Self::queued`] stands still.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.shared.failed.load(Ordering::Relaxed)
    }
}

impl Drop for Speaker {
    fn drop(&mut self) {
        drop(self.keep.take());
        if let Some(thread) = self.thread.take() {
            join_or_leave(thread, CLOSE_PATIENCE, "speaker");
        }
    }
}

fn unavailable(reason: &str) -> PlayoutError {
    PlayoutError::Device(format!("{reason}; run \"tring devices\", or pass --play none"))
}

/// Runs on the stream's thread, because not every system lets streams change threads: opens, then keeps, then closes.
fn keep_stream(wanted: Option<&str>, ready: &SyncSender<Result<Opened, String>>, kept: &Receiver<()>) {
    match open_stream(wanted) {
        Ok((stream, opened)) => {
            if ready.send(Ok(opened)).is_ok() {
                // Nothing is ever sent: this returns when the speaker is dropped.
                let _: Result<(), _> = kept.recv();
            }
            drop(stream);
        }
        // Nobody waits any more when this cannot be sent.
        Err(reason) => drop(ready.send(Err(reason))),
    }
}

fn open_stream(wanted: Option<&str>) -> Result<(cpal::Stream, Opened), String> {
    let found = audio::find(Role::Speaker, wanted)?;
    let name = found.name;
    let failed = |reason: String| format!("speaker {name:?} cannot be opened: {reason}");
    let settings = audio::settings(&found.device, Role::Speaker).map_err(&failed)?;
    let rate = settings.config.sample_rate;
    let (ring, samples) = rtrb::RingBuffer::new((rate as usize * RING_MS as usize / 1_000).max(1));
    let shared = Arc::new(Shared::default());
    let stream = build(&found.device, settings, samples, &shared).map_err(&failed)?;
    stream.play().map_err(|error| failed(audio::reason(&error)))?;
    tracing::debug!(%name, id = %found.id, ?settings, "speaker open");
    Ok((stream, Opened { name, rate, ring, shared }))
}

fn build(
    device: &cpal::Device,
    settings: Settings,
    ring: rtrb::Consumer<i16>,
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
        other => Err(format!("it takes samples of an unknown format, {other}")),
    }
}

fn build_for<T>(
    device: &cpal::Device,
    settings: Settings,
    ring: rtrb::Consumer<i16>,
    shared: &Arc<Shared>,
) -> Result<cpal::Stream, String>
where
    T: SizedSample + FromSample<i16>,
{
    let mut feeder =
        Feeder { ring, channels: usize::from(settings.config.channels), playing: false, shared: Arc::clone(shared) };
    let shared = Arc::clone(shared);
    let on_error = move |error: cpal::Error| match error.kind() {
        cpal::ErrorKind::DeviceChanged | cpal::ErrorKind::Xrun | cpal::ErrorKind::RealtimeDenied => {
            tracing::debug!(%error, "speaker hiccup");
        }
        _ => {
            tracing::warn!(%error, "speaker lost");
            shared.failed.store(true, Ordering::Relaxed);
        }
    };
    let on_need = move |data: &mut [T], _: &cpal::OutputCallbackInfo| feeder.feed(data);
    device
        .build_output_stream(settings.config, on_need, on_error, Some(OPEN_PATIENCE))
        .map_err(|error| audio::reason(&error))
}

/// The callback's state.
struct Feeder {
    ring: rtrb::Consumer<i16>,
    channels: usize,
    /// True while the last callback was fed to its end.
    playing: bool,
    shared: Arc<Shared>,
}

impl Feeder {
    /// Fills `data` with the same sound on every channel, with silence once the ring is empty.
    fn feed<T: Copy + FromSample<i16>>(&mut self, data: &mut [T]) {
        let mut fed = true;
        for instant in data.chunks_mut(self.channels.max(1)) {
            let sample = self.ring.pop().unwrap_or_else(|_| {
                fed = false;
                0
            });
            instant.fill(T::from_sample_(sample));
        }
        if self.playing && !fed {
            self.shared.underruns.fetch_add(1, Ordering::Relaxed);
        }
        self.playing = fed;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_channel_plays_and_running_dry_counts_once() {
        let (mut ring, samples) = rtrb::RingBuffer::new(16);
        let shared = Arc::new(Shared::default());
        let mut feeder = Feeder { ring: samples, channels: 2, playing: false, shared: Arc::clone(&shared) };
        let mut data = [1_i16; 4];
        feeder.feed(&mut data);
        assert_eq!(data, [0; 4]);
        assert_eq!(shared.underruns.load(Ordering::Relaxed), 0, "silence before the first sound is no underrun");
        ring.push_entire_slice(&[5, 6, 7]).unwrap();
        feeder.feed(&mut data);
        assert_eq!(data, [5, 5, 6, 6]);
        feeder.feed(&mut data);
        assert_eq!(data, [7, 7, 0, 0]);
        feeder.feed(&mut data);
        assert_eq!(shared.underruns.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn silence_is_the_middle_of_unsigned_formats() {
        let (_ring, samples) = rtrb::RingBuffer::new(1);
        let mut feeder = Feeder { ring: samples, channels: 1, playing: false, shared: Arc::default() };
        let mut data = [0_u8; 2];
        feeder.feed(&mut data);
        assert_eq!(data, [0x80; 2]);
    }

    #[test]
    fn a_speaker_that_does_not_exist_says_what_to_try() {
        let error = Speaker::open(Some("no such speaker anywhere")).unwrap_err().to_string();
        assert!(error.contains("tring devices") && error.contains("--play none"), "{error}");
    }
}
