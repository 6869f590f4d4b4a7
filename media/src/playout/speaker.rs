//! The speaker: plays mono samples on the system's audio output.
//!
//! Owns one output stream, on a thread of its own. The device's callback allocates nothing and waits for
//! nothing: it takes samples from a ring and plays silence when there are none.
//!
//! - [`Speaker::push`] → resampler → ring → callback (the sound system's thread)
//! - the caller looks at [`Speaker::queued`] and keeps it at about 40 ms: so the device's clock sets the pace
//! - what goes into the ring goes to [`FarEnd`] too, as the reference for its echo: 40 ms before it is played, so that it
//!   is there before the echo is

use std::sync::Arc;
use std::time::Duration;

use cpal::traits::{DeviceTrait, StreamTrait};
use cpal::{FromSample, I24, SampleFormat, SizedSample};

use super::PlayoutError;
use crate::frame::AUDIO_RATE_HZ;
use crate::sound::stream::{Health, Stream};
use crate::sound::system::{self, OPEN_PATIENCE, Role, Settings};
use crate::voice::far_end::{self, FarEnd, Tap};
use crate::voice::resample::Resampler;

/// Most sound that waits for the device. Ten times what the caller aims at: beyond it, sound is too late to play.
const RING_MS: u32 = 400;

/// An open speaker; dropping it stops the sound and has its thread close the device, and never waits.
#[derive(Debug)]
pub struct Speaker {
    /// The device's name, for people.
    pub description: String,
    rate: u32,
    ring: rtrb::Producer<i16>,
    resampler: Resampler,
    resampled: Vec<i16>,
    dropped: u64,
    tap: Tap,
    far_end: FarEnd,
    health: Arc<Health>,
    /// What [`Health::glitches`] was when they began to count.
    underruns_before: u64,
    /// Closed when this is dropped.
    _stream: Stream,
}

/// The near end of an open stream's ring.
struct Output {
    name: String,
    rate: u32,
    ring: rtrb::Producer<i16>,
    health: Arc<Health>,
}

impl Speaker {
    /// Opens the speaker called `name`, or the system's default. Waits for the device, at most some seconds.
    ///
    /// # Errors
    /// [`PlayoutError::Device`] when there is none or it cannot be opened.
    pub fn open(name: Option<&str>) -> Result<Self, PlayoutError> {
        let wanted = name.map(str::to_owned);
        let (stream, Output { name, rate, ring, health }) = Stream::open(Role::Speaker, move || {
            Output::open(wanted.as_deref())
        })
        .map_err(|reason| PlayoutError::Device(format!("{reason}; run \"tring devices\", or pass --play none")))?;
        let (tap, far_end) = far_end::tap();
        Ok(Self {
            description: name,
            rate,
            ring,
            resampler: Resampler::new(AUDIO_RATE_HZ, rate),
            resampled: Vec::new(),
            dropped: 0,
            tap,
            far_end,
            health,
            underruns_before: 0,
            _stream: stream,
        })
    }

    /// What it plays, for whoever takes its echo out of a microphone.
    #[must_use]
    pub fn far_end(&self) -> FarEnd {
        self.far_end.clone()
    }

    /// Queues mono samples at [`AUDIO_RATE_HZ`]. What does not fit (0.4 s wait already) is dropped and counted.
    pub fn push(&mut self, samples: &[i16]) {
        self.resampled.clear();
        self.resampler.push(samples, &mut self.resampled);
        let (_, lost) = self.ring.push_partial_slice(&self.resampled);
        self.dropped += lost.len() as u64;
        // What is not played has no echo.
        let played = samples.len() - lost.len() * samples.len() / self.resampled.len().max(1);
        self.tap.push(&samples[..played]);
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
        self.health.glitches() - self.underruns_before
    }

    /// Counts underruns anew: what was played so far was no part of a call.
    pub fn forget_underruns(&mut self) {
        self.underruns_before = self.health.glitches();
    }

    /// True once the device is gone: nothing is played any more and [`Self::queued`] stands still.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.health.has_failed()
    }
}

impl Output {
    fn open(wanted: Option<&str>) -> Result<(cpal::Stream, Self), String> {
        let found = system::find(Role::Speaker, wanted)?;
        let name = found.name;
        let failed = |error| system::failure(Role::Speaker, wanted, &name, &error);
        let settings = system::settings(&found.device, Role::Speaker).map_err(failed)?;
        let rate = settings.config.sample_rate;
        let (ring, samples) = rtrb::RingBuffer::new((rate as usize * RING_MS as usize / 1_000).max(1));
        let health = Arc::new(Health::default());
        let stream = build(&found.device, settings, samples, &health).map_err(failed)?;
        stream.play().map_err(failed)?;
        tracing::debug!(%name, id = %found.id, ?settings, "speaker open");
        Ok((stream, Self { name, rate, ring, health }))
    }
}

fn build(
    device: &cpal::Device,
    settings: Settings,
    ring: rtrb::Consumer<i16>,
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
    ring: rtrb::Consumer<i16>,
    health: &Arc<Health>,
) -> Result<cpal::Stream, cpal::Error>
where
    T: SizedSample + FromSample<i16>,
{
    let mut feeder =
        Feeder { ring, channels: usize::from(settings.config.channels), playing: false, health: Arc::clone(health) };
    let on_need = move |data: &mut [T], _: &cpal::OutputCallbackInfo| feeder.feed(data);
    device.build_output_stream(settings.config, on_need, health.on_error(Role::Speaker), Some(OPEN_PATIENCE))
}

/// The callback's state.
struct Feeder {
    ring: rtrb::Consumer<i16>,
    channels: usize,
    /// True while the last callback was fed to its end.
    playing: bool,
    health: Arc<Health>,
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
            self.health.count(1);
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
        let health = Arc::new(Health::default());
        let mut feeder = Feeder { ring: samples, channels: 2, playing: false, health: Arc::clone(&health) };
        let mut data = [1_i16; 4];
        feeder.feed(&mut data);
        assert_eq!(data, [0; 4]);
        assert_eq!(health.glitches(), 0, "silence before the first sound is no underrun");
        ring.push_entire_slice(&[5, 6, 7]).unwrap();
        feeder.feed(&mut data);
        assert_eq!(data, [5, 5, 6, 6]);
        feeder.feed(&mut data);
        assert_eq!(data, [7, 7, 0, 0]);
        feeder.feed(&mut data);
        assert_eq!(health.glitches(), 1);
    }

    #[test]
    fn silence_is_the_middle_of_unsigned_formats() {
        let (_ring, samples) = rtrb::RingBuffer::new(1);
        let mut feeder = Feeder { ring: samples, channels: 1, playing: false, health: Arc::default() };
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
