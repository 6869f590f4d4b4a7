//! The speaker: plays mono samples on the system's audio output.
//!
//! Owns one output stream, on a thread of its own. The device's callback allocates nothing and waits for
//! nothing: it takes samples from a ring and plays silence when there are none.
//!
//! - [`Speaker::push`] → resampler → ring → callback (the sound system's thread), or → sound server
//! - the caller looks at [`Speaker::queued`] and keeps it at [`Speaker::target`]: so the device's clock sets the pace, and
//!   the delay follows what this machine needs ([`DeviceLatency`])
//! - what goes into the ring goes to [`FarEnd`] too, as the reference for its echo: before it is played, so that it is
//!   there before the echo is
//! - a device that has gone is opened again by the stream's thread, or another in its place; meanwhile nothing is played

use std::sync::Arc;
use std::time::{Duration, Instant};

use cpal::traits::{DeviceTrait, StreamTrait};
use cpal::{FromSample, I24, SampleFormat, SizedSample};

use super::PlayoutError;
use crate::frame::AUDIO_RATE_HZ;
use crate::sound::latency::{DeviceLatency, Limits};
use crate::sound::priority::ask_for_real_time;
#[cfg(target_os = "linux")]
use crate::sound::pulse::playback;
use crate::sound::stream::{CpalDevice, Health, Opened, Stream};
use crate::sound::system::{self, Found, OPEN_PATIENCE, Role, Settings};
use crate::voice::far_end::{self, FarEnd, Tap};
use crate::voice::resample::Resampler;

/// Most sound that waits for the device, beyond what a sound server takes: more is too late to play.
const RING_MS: u32 = 400;

/// A device for which so much more than the target waits has stood still: what comes is too late to play.
const STALLED: Duration = Duration::from_millis(200);

/// A device takes sound in pieces of about this length.
const PIECE: Duration = Duration::from_millis(10);

/// What waits in the ring for a device of cpal, which itself holds two pieces more.
const RING_LIMITS: Limits = Limits { floor: Duration::from_millis(30), ceiling: Duration::from_millis(160) };

/// What waits until it is heard, the server's and the sink's part included.
#[cfg(target_os = "linux")]
const SERVER_LIMITS: Limits = Limits { floor: Duration::from_millis(30), ceiling: Duration::from_millis(200) };

/// Until it is seen that a device has started it plays so much more than it could have told.
const SEEN_LATE: Duration = Duration::from_millis(20);

/// An open speaker; dropping it stops the sound and has its thread close the device, and never waits.
#[derive(Debug)]
pub struct Speaker {
    /// The device's name, for people.
    pub description: String,
    output: Output,
    resampler: Resampler,
    resampled: Vec<i16>,
    dropped: u64,
    tap: Tap,
    far_end: FarEnd,
    latency: DeviceLatency,
    call: Call,
    /// Underruns of devices that have gone.
    underruns_of_others: u64,
    /// How many there were in all when they began to count.
    underruns_before: u64,
    /// Closed when this is dropped.
    stream: Stream<Output>,
}

/// What a speaker is to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    /// There is none yet: it plays tones, or nothing.
    None,
    /// Silence was queued behind so many samples of the device, and none of it is played yet.
    Starting { played: u64, underruns: Underruns },
    /// It plays without a pause.
    Running {
        /// Underruns that [`DeviceLatency`] knows of.
        underruns: u64,
    },
}

/// What becomes of the underruns that a device has counted before it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Underruns {
    /// They were no part of the call.
    Forgotten,
    /// The call goes on at another device.
    Kept,
}

/// The near end of an open stream.
#[derive(Debug)]
struct Output {
    name: String,
    rate: u32,
    ring: rtrb::Producer<i16>,
    /// Samples that were put into the ring.
    pushed: u64,
    health: Arc<Health>,
    limits: Limits,
    /// How far the server is; `None` where the device takes from the ring itself.
    #[cfg(target_os = "linux")]
    server: Option<playback::Wire>,
}

impl Speaker {
    /// Opens the speaker called `name`, or the system's default. Waits for the device, at most some seconds.
    ///
    /// # Errors
    /// [`PlayoutError::Device`] when there is none or it cannot be opened.
    pub fn open(name: Option<&str>) -> Result<Self, PlayoutError> {
        let wanted = name.map(str::to_owned);
        let (stream, output) = Stream::open(Role::Speaker, move || Output::open(wanted.as_deref()))
            .map_err(|reason| PlayoutError::Device(format!("{reason}; run \"tring devices\", or pass --play none")))?;
        let (tap, far_end) = far_end::tap();
        Ok(Self {
            description: output.name.clone(),
            resampler: Resampler::for_device(AUDIO_RATE_HZ, output.rate),
            resampled: Vec::new(),
            dropped: 0,
            tap,
            far_end,
            latency: DeviceLatency::new(output.limits),
            call: Call::None,
            underruns_of_others: 0,
            underruns_before: 0,
            output,
            stream,
        })
    }

    /// What it plays, for whoever takes its echo out of a microphone.
    #[must_use]
    pub fn far_end(&self) -> FarEnd {
        self.far_end.clone()
    }

    /// Begins with the sound of a call: silence as long as [`Self::target`] is queued. From [`Self::has_started`] on there
    /// is to be no pause.
    pub fn start(&mut self) {
        self.start_with(Underruns::Forgotten);
    }

    /// True once the device plays what was queued by [`Self::start`]; then [`Self::target`] is queued, and underruns count
    /// from here.
    pub fn has_started(&mut self) -> bool {
        self.renew();
        let Call::Starting { played, underruns } = self.call else { return self.call != Call::None };
        if self.output.told_played() <= played {
            return false;
        }
        if underruns == Underruns::Forgotten {
            self.forget_underruns();
        }
        self.call = Call::Running { underruns: self.output.health.glitches() };
        self.queue_silence(self.target().saturating_sub(self.queued()));
        true
    }

    /// Queues mono samples at [`AUDIO_RATE_HZ`]. What would be too late is dropped and counted: where 0.4 s wait, in a call
    /// where 0.2 s more than the target do, and all before it [has started](Self::has_started).
    pub fn push(&mut self, samples: &[i16]) {
        let has_started = self.has_started();
        if let Call::Running { underruns } = &mut self.call {
            let (now, counted) = (Instant::now(), self.output.health.glitches());
            let queued = self.output.queued();
            if counted > *underruns {
                *underruns = counted;
                self.latency.ran_dry(now);
                tracing::debug!(target = ?self.latency.target(), "speaker ran dry");
            } else {
                self.latency.left(queued.saturating_sub(PIECE), now);
            }
            if queued > self.latency.target() + STALLED {
                self.dropped += samples.len() as u64;
                return;
            }
        }
        if has_started || self.call == Call::None {
            self.queue(samples);
        }
    }

    /// How much sound waits: until it is heard where that is known, else until the device takes it, which itself holds
    /// about 20 ms more.
    #[must_use]
    pub fn queued(&self) -> Duration {
        self.output.queued()
    }

    /// How much should wait on this machine, see [`Self::queued`].
    #[must_use]
    pub const fn target(&self) -> Duration {
        self.latency.target()
    }

    /// Samples that were dropped because too much waited already.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// How often the device ran out of sound after it had some.
    #[must_use]
    pub fn underruns(&self) -> u64 {
        (self.underruns_of_others + self.output.health.glitches()).saturating_sub(self.underruns_before)
    }

    /// Counts underruns anew: what was played so far was no part of a call.
    pub fn forget_underruns(&mut self) {
        self.underruns_before = self.underruns_of_others + self.output.health.glitches();
    }

    /// True while the device is gone: nothing is played and [`Self::queued`] stands still.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.output.health.has_failed()
    }

    /// Goes on with the device that was opened in place of one that has gone.
    fn renew(&mut self) {
        let Some(output) = self.stream.renewed() else { return };
        tracing::info!(speaker = %output.name, "sound is played on another device");
        // What it had was lost with it, in a call.
        let lost = u64::from(matches!(self.call, Call::Running { .. }));
        self.underruns_of_others += self.output.health.glitches() + lost;
        self.description.clone_from(&output.name);
        self.resampler = Resampler::for_device(AUDIO_RATE_HZ, output.rate);
        self.latency.set_limits(output.limits);
        self.output = output;
        match self.call {
            Call::None => {}
            Call::Starting { underruns, .. } => self.start_with(underruns),
            Call::Running { .. } => self.start_with(Underruns::Kept),
        }
    }

    fn start_with(&mut self, underruns: Underruns) {
        self.call = Call::Starting { played: self.output.pushed, underruns };
        // As much as is wanted behind whatever the device has: it may have silence of its own for seconds.
        self.queue_silence(self.target() + SEEN_LATE);
    }

    fn queue_silence(&mut self, time: Duration) {
        self.queue(&vec![0; (time.as_secs_f64() * f64::from(AUDIO_RATE_HZ)) as usize]);
    }

    fn queue(&mut self, samples: &[i16]) {
        if self.has_failed() {
            return;
        }
        self.resampled.clear();
        self.resampler.push(samples, &mut self.resampled);
        let lost = self.output.push(&self.resampled);
        self.dropped += lost as u64;
        // What is not played has no echo.
        let played = samples.len() - lost * samples.len() / self.resampled.len().max(1);
        self.tap.push(&samples[..played]);
    }
}

impl Output {
    fn open(wanted: Option<&str>) -> Result<Opened<Self>, String> {
        let found = system::find(Role::Speaker, wanted)?;
        #[cfg(target_os = "linux")]
        if found.pulse {
            return Self::open_pulse(wanted, found);
        }
        Self::open_cpal(wanted, found)
    }

    fn open_cpal(wanted: Option<&str>, found: Found) -> Result<Opened<Self>, String> {
        let name = found.name;
        let failed = |error| system::failure(Role::Speaker, wanted, &name, &error);
        let settings = system::settings(&found.device, Role::Speaker).map_err(failed)?;
        let rate = settings.config.sample_rate;
        let (ring, samples) = rtrb::RingBuffer::new(ring_samples(rate));
        let health = Arc::new(Health::default());
        let stream = build(&found.device, settings, samples, &health).map_err(failed)?;
        stream.play().map_err(failed)?;
        tracing::debug!(%name, id = %found.id, ?settings, "speaker open");
        let device = CpalDevice::new(stream, Arc::clone(&health));
        let limits = RING_LIMITS;
        #[cfg(target_os = "linux")]
        let output = Self { name, rate, ring, pushed: 0, health, limits, server: None };
        #[cfg(not(target_os = "linux"))]
        let output = Self { name, rate, ring, pushed: 0, health, limits };
        Ok((Box::new(device), output))
    }

    #[cfg(target_os = "linux")]
    fn open_pulse(wanted: Option<&str>, found: Found) -> Result<Opened<Self>, String> {
        let Found { name, id, default, .. } = found;
        // The server takes a stream that named no sink to whichever becomes the default.
        let sink = (wanted.is_some() || !default).then_some(id.as_str());
        let (device, playback::Playing { ring, wire, health }) = playback::open(sink, ring_samples(AUDIO_RATE_HZ))
            .map_err(|reason| format!("speaker {name:?} cannot be opened: {reason}"))?;
        tracing::debug!(%name, %id, "speaker open");
        let (rate, limits, server) = (AUDIO_RATE_HZ, SERVER_LIMITS, Some(wire));
        Ok((device, Self { name, rate, ring, pushed: 0, health, limits, server }))
    }

    /// Puts samples into the ring; how many did not fit.
    fn push(&mut self, samples: &[i16]) -> usize {
        #[cfg(target_os = "linux")]
        if let Some(server) = &self.server {
            server.clock().push(self.pushed, Instant::now());
        }
        let (pushed, lost) = self.ring.push_partial_slice(samples);
        self.pushed += pushed.len() as u64;
        #[cfg(target_os = "linux")]
        if let Some(server) = &self.server {
            server.wake();
        }
        lost.len()
    }

    fn queued(&self) -> Duration {
        #[cfg(target_os = "linux")]
        if let Some(server) = &self.server {
            return server.clock().waiting(self.pushed, Instant::now());
        }
        let waiting = self.ring.buffer().capacity() - self.ring.slots();
        Duration::from_micros(waiting as u64 * 1_000_000 / u64::from(self.rate))
    }

    /// How many samples are played for certain, or were taken to be played.
    fn told_played(&self) -> u64 {
        #[cfg(target_os = "linux")]
        if let Some(server) = &self.server {
            return u64::try_from(server.clock().told()).unwrap_or(0);
        }
        let waiting = self.ring.buffer().capacity() - self.ring.slots();
        self.pushed.saturating_sub(waiting as u64)
    }
}

/// Samples in a ring.
const fn ring_samples(rate: u32) -> usize {
    let samples = rate as usize * RING_MS as usize / 1_000;
    if samples == 0 { 1 } else { samples }
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
    let mut is_prioritised = false;
    let on_need = move |data: &mut [T], _: &cpal::OutputCallbackInfo| {
        if !is_prioritised {
            is_prioritised = true;
            ask_for_real_time("speaker");
        }
        feeder.feed(data);
    };
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
