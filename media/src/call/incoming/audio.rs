//! Sound that arrives: audio buffer with its decoder → speaker, recording; one step every 10 ms.
//!
//! What tests read out of sound is measured by [`TestSound`], which leaves alone what is no test sound.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::{mpsc, watch};

use super::{Common, Controls, FIGURES_EVERY, RtpTimeLine, unix_now};
use crate::call::outgoing::send_event;
use crate::call::recording::Entry;
use crate::call::{POLL, StreamEvent};
use crate::codec::opus::OpusDecoder;
use crate::frame::AUDIO_RATE_HZ;
use crate::peer::PeerClock;
use crate::playout::speaker::Speaker;
use crate::quality::concealment::{Origin, Steps};
use crate::quality::sweep;
use crate::quality::test_sound::TestSound;
use crate::quality::{Latency, Recent};
use crate::queue::{Receiver, RecvError, Sender};
use crate::receive::audio_buffer::{AudioBuffer, Counters, STEP};
use crate::receive::lip_sync::{Medium, SharedLipSync};
use crate::receive::network_loss::{Missing, NetworkLoss};
use crate::rtp::RtpPacket;
use crate::sound::priority::ask_for_real_time;
use crate::stats::Jitter;

/// So much more than the speaker's target is put right: it comes and goes by steps of 10 ms.
const SPEAKER_QUEUED_OVER: Duration = Duration::from_millis(10);

/// A device that takes so long to take its first sound has let none of it wait.
const SPEAKER_STARTS_AT_ONCE: Duration = Duration::from_millis(100);

/// One that takes no sound for so long is not waited for: then sound is decoded, and thrown away until it does.
const SPEAKER_STARTS_WITHIN: Duration = Duration::from_secs(2);

/// By so much a step is shorter or longer then.
const STEP_SHIFT: Duration = Duration::from_millis(1);

/// Sound comes out of Opus so much later than its time stamp says: the look-ahead of the encoder (RFC 6716 §2).
const OPUS_LATE_MS: f64 = 6.5;

/// How often sound is compared with pictures.
const LIPS_EVERY: Duration = Duration::from_millis(100);

/// After a longer sleep (100 ms) the past is not played after.
const STEPS_BEHIND_MAX: u32 = 10;

/// Figures of the sound that arrives.
#[derive(Clone, Debug, Default, Serialize)]
pub struct AudioFigures {
    /// Packets decoded.
    pub frames: u64,
    /// Payload bytes.
    #[serde(skip)]
    pub bytes: u64,
    /// Packets that came.
    pub packets: u64,
    /// Packets that did not come in time.
    pub lost: u64,
    /// What the network lost.
    #[serde(flatten)]
    pub network: NetworkLoss,
    /// Steps of 20 ms concealed for lack of a packet.
    pub concealed: u64,
    /// Packets that did not come in time, but whose sound came with a later one.
    pub recovered: u64,
    /// Times that sound was concealed because a packet was late, and none was lost.
    pub holes: u64,
    /// Packets thrown away to shorten the delay.
    pub skipped: u64,
    /// Sound added by playing slower, milliseconds.
    pub stretched_ms: f64,
    /// Sound left out by playing faster, milliseconds.
    pub shrunk_ms: f64,
    /// Interarrival jitter, milliseconds.
    pub jitter_ms: f64,
    /// How much later sound leaves the buffer than it could if its packet had been as fast as the fastest one,
    /// milliseconds.
    pub buffer_ms: f64,
    /// Dominant tone of the last 100 ms, hertz; `None` when there is none.
    pub tone_hz: Option<f64>,
    /// Steps of the test sweep heard so far, hertz, in order.
    pub tones_heard: Vec<u32>,
    /// Windows of 100 ms in which a tone was looked for: none of sound that is not like one.
    #[serde(skip)]
    pub tone_detections: u64,
    /// Times the speaker ran dry.
    pub underruns: u64,
    /// Latencies of the latest steps of the test sweep, milliseconds; none until it is known how far the clocks of the two
    /// sides are apart.
    #[serde(skip)]
    pub latencies: Recent,
    /// Their median over the call.
    #[serde(skip)]
    pub latency_p50_ms: Option<f64>,
    /// What waits in the speaker's ring, milliseconds; 0 without one.
    #[serde(skip)]
    pub speaker_ms: f64,
    /// What each 20 ms were made of.
    #[serde(skip)]
    pub steps: Steps,
}

impl AudioFigures {
    /// Takes over what the buffer counted.
    pub(in crate::call) fn take_from(&mut self, buffer: &AudioBuffer) {
        const SAMPLES_PER_MS: f64 = AUDIO_RATE_HZ as f64 / 1000.0;
        let Counters { received, lost, recovered, skipped, holes, stretched, shrunk, .. } = buffer.counters();
        (self.packets, self.lost, self.recovered) = (received, lost, recovered);
        (self.skipped, self.holes) = (skipped, holes);
        self.stretched_ms = (stretched as f64 / SAMPLES_PER_MS).round();
        self.shrunk_ms = (shrunk as f64 / SAMPLES_PER_MS).round();
        self.steps = buffer.steps();
        self.concealed = self.steps.concealed;
        self.buffer_ms = (buffer.delay().as_secs_f64() * 1000.0).round();
    }
}

pub(super) struct AudioDecodeThread {
    packets: Receiver<RtpPacket>,
    controls: Arc<Controls>,
    speaker: Option<Speaker>,
    entries: Option<Sender<Entry>>,
    events: mpsc::Sender<StreamEvent>,
    buffer: AudioBuffer,
    line: RtpTimeLine,
    missing: Missing,
    network_jitter: Jitter,
    test_sound: TestSound,
    clock: PeerClock,
    lips: SharedLipSync,
    /// When lips are looked at next.
    lips_due: Instant,
    latency: Latency,
    figures: AudioFigures,
    out: watch::Sender<AudioFigures>,
}

impl AudioDecodeThread {
    pub(super) fn new(
        packets: Receiver<RtpPacket>,
        common: Common,
        speaker: Option<Speaker>,
        out: watch::Sender<AudioFigures>,
    ) -> Self {
        Self {
            packets,
            controls: common.controls,
            speaker,
            entries: common.entries,
            events: common.events,
            buffer: AudioBuffer::default(),
            line: RtpTimeLine::new(common.started, AUDIO_RATE_HZ),
            missing: Missing::default(),
            network_jitter: Jitter::new(AUDIO_RATE_HZ),
            test_sound: TestSound::default(),
            clock: common.clock,
            lips: common.lips,
            lips_due: common.started,
            latency: Latency::default(),
            figures: AudioFigures::default(),
            out,
        }
    }

    pub(super) fn run(mut self, stop: &AtomicBool) {
        let mut decoder = match OpusDecoder::new() {
            Ok(decoder) => decoder,
            Err(error) => return send_event(&self.events, StreamEvent::CodecFailed(error.to_string())),
        };
        ask_for_real_time("audio-decode");
        let begun = Instant::now();
        if let Some(speaker) = &mut self.speaker {
            speaker.start();
        }
        let mut has_started = self.speaker.is_none();
        let mut due = Instant::now() + STEP;
        let mut figures_due = Instant::now();
        let mut held = false;
        while !stop.load(Ordering::Relaxed) {
            if self.controls.is_held() != held {
                held = !held;
                self.buffer.begin_anew();
            }
            let wait = due.saturating_duration_since(Instant::now());
            match self.packets.recv_timeout(wait.min(POLL)) {
                Ok(packet) => {
                    self.take(packet, held);
                    // What came by now is there for the step that is due.
                    while let Some(packet) = self.packets.try_recv() {
                        self.take(packet, held);
                    }
                }
                Err(RecvError::Timeout) => {}
                Err(RecvError::Closed) => std::thread::sleep(wait.min(POLL)),
            }
            if has_started {
                due = self.begin_in_time(due);
            }
            if !has_started && Instant::now() >= due {
                // The clock of the steps begins when the device's does: what a cold one takes to begin is no delay then.
                has_started = self.has_speaker_started(begun.elapsed());
                due = Instant::now() + STEP;
            } else if Instant::now() >= due {
                self.step(due, &mut decoder);
                due = self.next_due(due);
            }
            if Instant::now() >= figures_due {
                figures_due = Instant::now() + FIGURES_EVERY;
                self.publish();
            }
        }
        self.publish();
    }

    /// True once the speaker takes sound, or is not waited for any more.
    fn has_speaker_started(&mut self, waited: Duration) -> bool {
        let has_started = self.speaker.as_mut().is_none_or(Speaker::has_started);
        if !has_started && waited < SPEAKER_STARTS_WITHIN {
            return false;
        }
        if waited > SPEAKER_STARTS_AT_ONCE {
            // What came meanwhile would be late for the whole call.
            self.buffer.begin_anew();
        }
        true
    }

    fn take(&mut self, packet: RtpPacket, held: bool) {
        self.missing.came(packet.sequence);
        // Whoever holds the call hears nothing of it.
        if !held {
            self.figures.bytes += packet.payload.len() as u64;
            self.network_jitter.add(packet.arrived, packet.timestamp);
            let red = self.controls.types().red;
            self.buffer.insert_any(packet, red);
        }
    }

    /// When the step after this one is due. The wall clock paces the steps, and the speaker's own clock corrects it:
    /// what waits for it is to stay at its target.
    fn next_due(&self, last: Instant) -> Instant {
        let speaker = self.speaker.as_ref().filter(|speaker| !speaker.has_failed());
        let next = match speaker.map(|speaker| (speaker.queued(), speaker.target())) {
            Some((queued, target)) if queued < target => last + STEP - STEP_SHIFT,
            Some((queued, target)) if queued > target + SPEAKER_QUEUED_OVER => last + STEP + STEP_SHIFT,
            Some(_) | None => last + STEP,
        };
        let now = Instant::now();
        if next + STEPS_BEHIND_MAX * STEP < now { now } else { next }
    }

    /// The step that is due at `due`, or the moment at which sound begins when that is near: a step then begins with it.
    fn begin_in_time(&self, due: Instant) -> Instant {
        let is_near = |at: &Instant| *at < due + STEP && *at + STEP > due;
        self.buffer.begins_at().filter(is_near).unwrap_or(due)
    }

    /// Plays the step that is due at `due`: a thread that wakes up late plays it as if it had not.
    fn step(&mut self, due: Instant, decoder: &mut OpusDecoder) {
        self.keep_with_pictures(due);
        let step = self.buffer.next(due, decoder);
        for decoded in step.decoded {
            self.figures.frames += 1;
            if self.figures.frames == 1 {
                send_event(&self.events, StreamEvent::FirstAudio(Instant::now()));
            }
            if let Some(entries) = &self.entries {
                let pts = self.line.pts(decoded.timestamp, Instant::now());
                entries.send(Entry::Audio { data: decoded.payload, pts });
            }
        }
        self.play(&step.samples, step.origin);
    }

    /// Has pictures and sound wait for each other, before the step that is due at `due`.
    fn keep_with_pictures(&mut self, due: Instant) {
        if due < self.lips_due {
            return;
        }
        let Some(timestamp) = self.buffer.next_timestamp() else { return };
        let Some(captured_s) = self.clock.captured_s(Medium::Sound, timestamp) else { return };
        self.lips_due = due + LIPS_EVERY;
        let way_ms = (self.heard_at().as_secs_f64() - captured_s) * 1000.0 + OPUS_LATE_MS;
        let held = self.buffer.target();
        self.buffer.hold_at_least(self.lips.presented(Medium::Sound, way_ms, held, due));
    }

    fn play(&mut self, samples: &[i16], origin: Origin) {
        let played = self.heard_at();
        if let Some(latency_ms) = self.test_sound.add(samples, played, origin) {
            self.latency.add(Instant::now(), latency_ms);
        }
        if let Some(speaker) = &mut self.speaker {
            speaker.push(samples);
        }
    }

    /// When sound that is played now is heard, Unix time: once the speaker has played what waits.
    fn heard_at(&self) -> Duration {
        unix_now() + self.waits_in_speaker()
    }

    fn waits_in_speaker(&self) -> Duration {
        let speaker = self.speaker.as_ref().filter(|speaker| !speaker.has_failed());
        speaker.map_or(Duration::ZERO, Speaker::queued)
    }

    fn publish(&mut self) {
        self.figures.take_from(&self.buffer);
        self.figures.network = self.missing.loss();
        self.figures.jitter_ms = self.network_jitter.ms();
        self.figures.underruns = self.speaker.as_ref().map_or(0, Speaker::underruns);
        self.figures.tone_hz = self.test_sound.tone_hz();
        self.figures.tone_detections = self.test_sound.detections();
        self.figures.tones_heard.clear();
        self.figures.tones_heard.extend_from_slice(self.test_sound.tones_heard());
        self.latency.settle(self.clock.estimate().map(|clock| clock.ahead_ms), sweep::put_right);
        self.figures.latencies.clone_from(&self.latency.recent);
        self.figures.latency_p50_ms = self.latency.percentile(50.0);
        self.figures.speaker_ms = self.waits_in_speaker().as_secs_f64() * 1000.0;
        self.out.send_replace(self.figures.clone());
    }
}
