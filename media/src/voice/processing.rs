//! Echo, noise and gain of a microphone: takes the speaker's echo out, lowers noise, evens the level out.
//!
//! Pure: blocks of 10 ms in, blocks of 10 ms out, no clock. The work is done by `sonora`, which is WebRTC's AEC3, noise
//! suppression and AGC2 in Rust. A panic in there costs what it has learnt, and not the call.
//!
//! - [`Voice::far`]: what the speaker plays, as it comes: a device of 20 ms gives two blocks at once
//! - [`Voice::near`]: what the microphone gave → what is sent; each block takes one block of the far end
//!
//! The canceller finds the delay between the two by itself, up to half a second. All that it needs is that the echo comes
//! after its reference, and that their distance holds still. So blocks of the far end wait in [`Pairing`] until a block of
//! the microphone takes them, and [`Reference`] makes them later when their echo comes later than before.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};

use sonora::config::{
    AdaptiveDigital, EchoCanceller, GainController2, HighPassFilter, MaxProcessingRate, NoiseSuppression,
    NoiseSuppressionLevel, Pipeline, TransparentModeType,
};
use sonora::{AudioProcessing, Config, StreamConfig};

use super::level::dbfs;
use super::reference::Reference;
use super::{BLOCK_SAMPLES, Echo};
use crate::frame::AUDIO_RATE_HZ;

/// Blocks of the far end that wait at most: 500 ms. Beyond it the oldest are of no use: their echo has come.
const FAR_MAX: usize = 50;

/// Blocks that may wait all the time: 20 ms. Each is delay of the reference, which its own echo must not overtake.
const FAR_SPARE: usize = 2;

/// Blocks that come at once: a frame of the microphone has as many.
const FAR_AT_ONCE: usize = 2;

/// One block more or less is no loss: devices give their sound at odd times.
const FAR_SLACK: usize = 1;

/// After so many times that blocks of the far end came too late one more may wait.
const LATE_MAX: u32 = 3;

/// After so many blocks of the microphone (250 ms) it is looked at how many waited all the time.
const PAIRING_WINDOW: u32 = 25;

/// Samples that a loss is measured over: a second, long against the delay of an echo.
const MEASURE_SAMPLES: usize = AUDIO_RATE_HZ as usize;

/// From this level of the speaker on it is measured, dBFS: somebody speaks.
const FAR_DBFS: f64 = -50.0;

/// Seconds of speech of the far end that count.
const MEASURES_MAX: usize = 10;

/// After so many panics the microphone is left as it is.
const PANICS_MAX: u32 = 10;

/// The most that the level is raised. Beyond it a quiet room is louder than the one who is silent in it.
const GAIN_MAX_DB: f32 = 24.0;

/// Gain at the start. AGC2 begins with 15 dB, which is too much for a microphone that has the right level.
const GAIN_FIRST_DB: f32 = 0.0;

/// What processes blocks; a test has its own.
pub(crate) trait Engine: Send {
    /// Takes what the speaker plays.
    fn far(&mut self, block: &[i16; BLOCK_SAMPLES]);
    /// Replaces what the microphone gave by what is sent.
    fn near(&mut self, block: &mut [i16; BLOCK_SAMPLES]);
    /// How late the echo is, in milliseconds.
    fn delay_ms(&self) -> Option<f64>;
}

/// Processes the sound of one microphone in one call.
pub(crate) struct Voice {
    make: fn() -> Box<dyn Engine>,
    engine: Box<dyn Engine>,
    pairing: Pairing,
    reference: Reference,
    losses: Losses,
    panics: u32,
}

impl Voice {
    pub(crate) fn new() -> Self {
        Self::with(|| Box::new(Sonora::new()))
    }

    fn with(make: fn() -> Box<dyn Engine>) -> Self {
        Self {
            make,
            engine: make(),
            pairing: Pairing::default(),
            reference: Reference::new(),
            losses: Losses::default(),
            panics: 0,
        }
    }

    /// Takes 10 ms of what the speaker plays.
    pub(crate) fn far(&mut self, block: &[i16; BLOCK_SAMPLES]) {
        self.pairing.push(*block);
    }

    /// Replaces 10 ms of the microphone by what is to be sent.
    pub(crate) fn near(&mut self, block: &mut [i16; BLOCK_SAMPLES]) {
        if self.panics == PANICS_MAX {
            return;
        }
        let mut processed = *block;
        let far = self.pairing.next();
        if !self.pairing.is_in_step() {
            self.reference.doubt();
        }
        self.reference.follow(&far, block, self.engine.delay_ms());
        let reference = self.reference.block();
        let engine = &mut self.engine;
        // What is broken by a panic is thrown away.
        let done = catch_unwind(AssertUnwindSafe(|| {
            engine.far(&reference);
            engine.near(&mut processed);
        }));
        match done {
            Ok(()) => {
                self.losses.add(&far, block, &processed);
                *block = processed;
            }
            Err(_) => {
                self.panics += 1;
                tracing::error!(panics = self.panics, "processing of the microphone panicked: begun anew");
                self.engine = (self.make)();
            }
        }
    }

    /// What is known of the echo; `None` as long as the speaker has played next to nothing.
    pub(crate) fn echo(&self) -> Option<Echo> {
        let (return_loss_db, sent_return_loss_db) = self.losses.usual()?;
        let delay_ms = self.engine.delay_ms()? + self.reference.later_ms();
        Some(Echo { return_loss_db, sent_return_loss_db, delay_ms })
    }
}

/// Blocks of the far end until a block of the near end takes them.
///
/// Their number tells when one of the two devices has lost sound: then it is put right, so that the echo is where it was.
#[derive(Default)]
struct Pairing {
    waiting: VecDeque<[i16; BLOCK_SAMPLES]>,
    /// So many wait when fewest do, in usual times: as many as devices need that give their sound at odd times.
    usual: usize,
    /// How often blocks of the far end came too late, since `usual` is what it is.
    late: u32,
    /// Blocks of silence that were taken in place of blocks that may still come.
    owed: usize,
    window: Window,
}

/// What was seen since the last look.
#[derive(Default)]
struct Window {
    /// Blocks of the near end.
    near: u32,
    /// Blocks of the far end.
    far: u32,
    /// Fewest that waited.
    least: Option<usize>,
    /// Blocks of the near end for which there was none of the far end.
    alone: u32,
}

impl Pairing {
    fn push(&mut self, block: [i16; BLOCK_SAMPLES]) {
        if self.waiting.len() == FAR_MAX {
            self.waiting.pop_front();
        }
        self.window.far += 1;
        self.waiting.push_back(block);
    }

    /// What belongs to the next block of the near end; silence where nothing is there.
    fn next(&mut self) -> [i16; BLOCK_SAMPLES] {
        // What comes at last belongs to a time that is over.
        let too_many = self.waiting.len().saturating_sub(self.usual + FAR_AT_ONCE).min(self.owed);
        self.waiting.drain(..too_many);
        self.owed -= too_many;
        let block = self.waiting.pop_front();
        self.owed += usize::from(block.is_none());
        let waiting = self.waiting.len();
        self.window.near += 1;
        self.window.alone += u32::from(block.is_none());
        self.window.least = Some(self.window.least.map_or(waiting, |least| least.min(waiting)));
        if self.window.near >= PAIRING_WINDOW {
            self.put_right();
        }
        block.unwrap_or([0; BLOCK_SAMPLES])
    }

    /// Whether as many wait as usual. Where there are more, a device has lost sound, and that will be put right.
    fn is_in_step(&self) -> bool {
        self.waiting.len() <= self.usual + FAR_SLACK + FAR_AT_ONCE
    }

    /// Throws away what waits in vain: the microphone has lost as much, or silence was taken in its place.
    fn put_right(&mut self) {
        let Window { far, least, alone, .. } = std::mem::take(&mut self.window);
        // The speaker's blocks come late, where they come at all; once may be chance.
        self.late += u32::from(alone > 0 && far > 0);
        if self.late == LATE_MAX {
            (self.usual, self.late) = ((self.usual + 1).min(FAR_SPARE), 0);
        }
        if alone == 0 {
            self.owed = 0;
        }
        let least = least.unwrap_or_default();
        if least > self.usual + FAR_SLACK {
            self.waiting.drain(..least - self.usual);
        }
    }
}

/// Measures how much quieter the microphone, and what is sent, are than what the speaker plays.
#[derive(Default)]
struct Losses {
    /// Of the far end, the microphone, and what is sent: samples of the measure that is not full.
    samples: [Vec<i16>; 3],
    /// The last measures, of the microphone and of what is sent, dB.
    measured: VecDeque<(f64, f64)>,
}

impl Losses {
    fn add(&mut self, far: &[i16], near: &[i16], sent: &[i16]) {
        for (samples, added) in self.samples.iter_mut().zip([far, near, sent]) {
            samples.extend_from_slice(added);
        }
        if self.samples[0].len() < MEASURE_SAMPLES {
            return;
        }
        let [far, near, sent] = std::array::from_fn(|n| dbfs(&self.samples[n]));
        self.samples.iter_mut().for_each(Vec::clear);
        if far >= FAR_DBFS {
            self.measured.truncate(MEASURES_MAX - 1);
            self.measured.push_front((far - near, far - sent));
        }
    }

    /// The upper quartile of each: one who speaks makes some of them too small.
    fn usual(&self) -> Option<(f64, f64)> {
        let quartile = |loss: fn(&(f64, f64)) -> f64| {
            let mut losses: Vec<f64> = self.measured.iter().map(loss).collect();
            losses.sort_by(f64::total_cmp);
            losses.get(losses.len() * 3 / 4).copied()
        };
        Some((quartile(|loss| loss.0)?, quartile(|loss| loss.1)?))
    }
}

/// `sonora`, as it is used here.
struct Sonora(AudioProcessing);

impl Sonora {
    fn new() -> Self {
        let mono = StreamConfig::new(AUDIO_RATE_HZ, 1);
        let config = Config {
            // The whole band, as Opus codes it; by default all above 16 kHz would be lost.
            pipeline: Pipeline {
                maximum_internal_processing_rate: MaxProcessingRate::Rate48kHz,
                multi_channel_render: false,
                multi_channel_capture: false,
                ..Pipeline::default()
            },
            high_pass_filter: Some(HighPassFilter::default()),
            // It knows within two seconds that headphones give no echo; the default takes eight.
            echo_canceller: Some(EchoCanceller {
                transparent_mode: TransparentModeType::Hmm,
                ..EchoCanceller::default()
            }),
            noise_suppression: Some(NoiseSuppression { level: NoiseSuppressionLevel::High, ..Default::default() }),
            gain_controller2: Some(GainController2 {
                adaptive_digital: Some(AdaptiveDigital {
                    max_gain_db: GAIN_MAX_DB,
                    initial_gain_db: GAIN_FIRST_DB,
                    ..AdaptiveDigital::default()
                }),
                ..GainController2::default()
            }),
            ..Config::default()
        };
        Self(AudioProcessing::builder().config(config).capture_config(mono).render_config(mono).build())
    }
}

impl Engine for Sonora {
    fn far(&mut self, block: &[i16; BLOCK_SAMPLES]) {
        let mut unused = [0; BLOCK_SAMPLES];
        if let Err(error) = self.0.process_render_i16(block, &mut unused) {
            tracing::debug!(?error, "the far end was not taken");
        }
    }

    fn near(&mut self, block: &mut [i16; BLOCK_SAMPLES]) {
        let captured = *block;
        if let Err(error) = self.0.process_capture_i16(&captured, block) {
            tracing::debug!(?error, "the microphone was not processed");
            *block = captured;
        }
    }

    fn delay_ms(&self) -> Option<f64> {
        self.0.statistics().delay_ms.map(f64::from)
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
