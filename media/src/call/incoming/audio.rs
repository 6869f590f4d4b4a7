//! Sound that arrives: jitter buffer → decoder → speaker, recording; one step every 20 ms.
//!
//! What tests read out of sound is measured by [`TestSound`], which leaves alone what is no test sound.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use tokio::sync::{mpsc, watch};
use tracing::warn;

use super::{Common, Controls, FIGURES_EVERY, RtpTimeLine};
use crate::call::outgoing::send_event;
use crate::call::recording::Entry;
use crate::call::{POLL, StreamEvent};
use crate::codec::opus::OpusDecoder;
use crate::frame::{AUDIO_FRAME_SAMPLES, AUDIO_RATE_HZ};
use crate::peer::PeerClock;
use crate::playout::speaker::Speaker;
use crate::quality::concealment::{StepCounter, Steps};
use crate::quality::sweep::{self, Origin};
use crate::quality::test_sound::TestSound;
use crate::quality::{Latency, Recent};
use crate::queue::{Receiver, RecvError, Sender};
use crate::receive::audio_jitter::{AudioJitter, Counters, Tick};
use crate::receive::network_loss::{Missing, NetworkLoss};
use crate::rtp::RtpPacket;
use crate::stats::Jitter;

/// Length of one tick of the playout clock.
const TICK: Duration = Duration::from_millis(20);

/// Sound that waits in the speaker's ring: less stutters on a busy machine, more is delay.
const SPEAKER_QUEUED: Duration = Duration::from_millis(40);

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
    /// Ticks concealed for lack of a packet.
    pub concealed: u64,
    /// Packets left out to shorten the delay.
    pub skipped: u64,
    /// Interarrival jitter, milliseconds.
    pub jitter_ms: f64,
    /// What the jitter buffer holds back, milliseconds.
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

pub(super) struct AudioDecodeThread {
    packets: Receiver<RtpPacket>,
    controls: Arc<Controls>,
    speaker: Option<Speaker>,
    entries: Option<Sender<Entry>>,
    events: mpsc::Sender<StreamEvent>,
    jitter: AudioJitter,
    line: RtpTimeLine,
    missing: Missing,
    network_jitter: Jitter,
    test_sound: TestSound,
    clock: PeerClock,
    latency: Latency,
    steps: StepCounter,
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
            jitter: AudioJitter::default(),
            line: RtpTimeLine::new(common.started, AUDIO_RATE_HZ),
            missing: Missing::default(),
            network_jitter: Jitter::new(AUDIO_RATE_HZ),
            test_sound: TestSound::default(),
            clock: common.clock,
            latency: Latency::default(),
            steps: StepCounter::default(),
            figures: AudioFigures::default(),
            out,
        }
    }

    pub(super) fn run(mut self, stop: &AtomicBool) {
        let mut decoder = match OpusDecoder::new() {
            Ok(decoder) => decoder,
            Err(error) => return send_event(&self.events, StreamEvent::CodecFailed(error.to_string())),
        };
        let mut next_tick = Instant::now() + TICK;
        let mut figures_due = Instant::now();
        let mut held = false;
        while !stop.load(Ordering::Relaxed) {
            if self.controls.is_held() != held {
                held = !held;
                self.jitter.begin_anew();
                self.steps.begin_anew();
            }
            let wait = next_tick.saturating_duration_since(Instant::now());
            match self.packets.recv_timeout(wait.min(POLL)) {
                // Whoever holds the call hears nothing of it.
                Ok(packet) if held => self.missing.came(packet.sequence),
                Ok(packet) => {
                    self.missing.came(packet.sequence);
                    self.figures.bytes += packet.payload.len() as u64;
                    self.network_jitter.add(packet.arrived, packet.timestamp);
                    self.jitter.insert(packet);
                }
                Err(RecvError::Timeout) => {}
                Err(RecvError::Closed) => std::thread::sleep(wait.min(POLL)),
            }
            if Instant::now() >= next_tick {
                next_tick = self.next_tick(next_tick);
                self.tick(&mut decoder);
            }
            if Instant::now() >= figures_due {
                figures_due = Instant::now() + FIGURES_EVERY;
                self.publish();
            }
        }
        self.publish();
    }

    /// The wall clock paces the ticks, and the speaker's own clock corrects it: its ring is to stay at its mark.
    fn next_tick(&self, last: Instant) -> Instant {
        let next = match self.speaker.as_ref().filter(|speaker| !speaker.has_failed()) {
            Some(speaker) if speaker.queued() < SPEAKER_QUEUED => last + TICK - Duration::from_millis(2),
            Some(speaker) if speaker.queued() > SPEAKER_QUEUED + TICK => last + TICK + Duration::from_millis(2),
            Some(_) | None => last + TICK,
        };
        // After a long sleep the past is not played after.
        let now = Instant::now();
        if next + 5 * TICK < now { now } else { next }
    }

    fn tick(&mut self, decoder: &mut OpusDecoder) {
        let (decoded, origin) = match self.jitter.tick() {
            Tick::Packet { payload, timestamp } => {
                self.steps.played();
                let decoded = decoder.decode(&payload);
                if decoded.is_ok() {
                    self.figures.frames += 1;
                    if self.figures.frames == 1 {
                        send_event(&self.events, StreamEvent::FirstAudio(Instant::now()));
                    }
                }
                if let Some(entries) = &self.entries {
                    let pts = self.line.pts(timestamp, Instant::now());
                    entries.send(Entry::Audio { data: payload, pts });
                }
                (decoded, Origin::Packet { timestamp })
            }
            Tick::Missing { next } => {
                self.steps.concealed();
                let made_up = match next {
                    Some(next) => decoder.recover(&next, AUDIO_FRAME_SAMPLES),
                    None => decoder.conceal(AUDIO_FRAME_SAMPLES),
                };
                (made_up, Origin::Concealment)
            }
            Tick::Silence => {
                // A hole that is too long to be made up is heard as well; before the first sound there is none.
                if self.figures.frames > 0 {
                    self.steps.concealed();
                }
                (Ok(vec![0; AUDIO_FRAME_SAMPLES]), Origin::Silence)
            }
        };
        match decoded {
            Ok(samples) => self.play(&samples, origin),
            Err(error) => warn!(%error, "sound left out"),
        }
    }

    fn play(&mut self, samples: &[i16], origin: Origin) {
        let played = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() + self.waits_in_speaker();
        if let Some(latency_ms) = self.test_sound.add(samples, played, origin) {
            self.latency.add(Instant::now(), latency_ms);
        }
        if let Some(speaker) = &mut self.speaker {
            speaker.push(samples);
        }
    }

    fn waits_in_speaker(&self) -> Duration {
        let speaker = self.speaker.as_ref().filter(|speaker| !speaker.has_failed());
        speaker.map_or(Duration::ZERO, Speaker::queued)
    }

    fn publish(&mut self) {
        let Counters { received, missing, skipped, .. } = self.jitter.counters();
        (self.figures.packets, self.figures.lost, self.figures.skipped) = (received, missing, skipped);
        self.figures.concealed = self.steps.steps().concealed;
        self.figures.network = self.missing.loss();
        self.figures.jitter_ms = self.network_jitter.ms();
        self.figures.buffer_ms = self.jitter.target() as f64 * 20.0;
        self.figures.underruns = self.speaker.as_ref().map_or(0, Speaker::underruns);
        self.figures.tone_hz = self.test_sound.tone_hz();
        self.figures.tone_detections = self.test_sound.detections();
        self.figures.tones_heard.clear();
        self.figures.tones_heard.extend_from_slice(self.test_sound.tones_heard());
        self.latency.settle(self.clock.estimate().map(|clock| clock.ahead_ms), sweep::put_right);
        self.figures.latencies.clone_from(&self.latency.recent);
        self.figures.latency_p50_ms = self.latency.percentile(50.0);
        self.figures.speaker_ms = self.waits_in_speaker().as_secs_f64() * 1000.0;
        self.figures.steps = self.steps.steps();
        self.out.send_replace(self.figures.clone());
    }
}
