//! The thread of sound: one packet of Opus after the other, as [`SoundRate`] decides.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tracing::warn;

use super::{OutgoingCounters, Switches, send_event};
use crate::call::microphone::MicrophoneSound;
use crate::call::{POLL, StreamEvent};
use crate::codec::opus::OpusEncoder;
use crate::frame::{AUDIO_FRAME_SAMPLES, AUDIO_RATE_HZ, AudioFrame};
use crate::peer::MediaSender;
use crate::queue::{Receiver, RecvError};
use crate::send::redundancy::{Copies, Redundancy};
use crate::send::sound_rate::{SoundCoding, SoundRate};

/// Length of one captured frame: 20 ms.
const FRAME: Duration = Duration::from_millis(AUDIO_FRAME_SAMPLES as u64 * 1000 / AUDIO_RATE_HZ as u64);

/// What the thread works on.
pub(super) struct AudioEncodeThread {
    pub(super) frames: Receiver<AudioFrame>,
    pub(super) microphone: Option<MicrophoneSound>,
    pub(super) sender: MediaSender,
    pub(super) switches: Switches,
    pub(super) counters: OutgoingCounters,
    pub(super) events: mpsc::Sender<StreamEvent>,
}

impl AudioEncodeThread {
    /// Until `stop`, or until what is captured ends.
    pub(super) fn run(self, stop: &AtomicBool) {
        let counters = self.counters.clone();
        self.encode(stop);
        counters.set_voice(None);
    }

    fn encode(mut self, stop: &AtomicBool) {
        let mut rate = SoundRate::default();
        let mut coding = SoundCoding::BEST;
        let mut encoder = match OpusEncoder::new(coding.bps) {
            Ok(encoder) => encoder,
            Err(error) => return send_event(&self.events, StreamEvent::CodecFailed(error.to_string())),
        };
        if self.sender.leaves_silence_out()
            && let Err(error) = encoder.leave_silence_out()
        {
            warn!(%error, "silence is sent");
        }
        self.counters.change_plan(|plan| plan.sound = Some(coding));
        let (mut redundancy, mut expected_loss) = (Redundancy::default(), 0);
        let mut gathered = Gathered::default();
        // What was captured before the call stood is old.
        let mut next = self.frames.latest();
        while !stop.load(Ordering::Relaxed) {
            let mut frame = match next.take().map_or_else(|| self.frames.recv_timeout(POLL), Ok) {
                Ok(frame) => frame,
                Err(RecvError::Timeout) => continue,
                Err(RecvError::Closed) => return send_event(&self.events, StreamEvent::SourceEnded("audio")),
            };
            // Also while nothing leaves: what the canceller knows stays true.
            let held = self.switches.held.load(Ordering::Relaxed);
            self.process(&mut frame, held);
            if held || self.sender.is_path_closed() {
                gathered.clear();
                continue;
            }
            if self.switches.muted.load(Ordering::Relaxed) {
                frame.samples.fill(0);
            }
            redundancy.follow(self.sender.remote_reports().1.map_or(0.0, |report| report.fraction_lost), FRAME);
            let wanted = if self.sender.has_redundancy() { redundancy.wanted() } else { Copies::None };
            if let Some(changed) = rate.follow(self.sender.path_estimate().target_bps, wanted) {
                coding = changed;
                self.set_coding(&mut encoder, coding);
            }
            let loss = if coding.copies.has_inband_fec() { redundancy.loss_percent() } else { 0 };
            if loss != expected_loss && encoder.set_expected_loss(loss).is_ok() {
                expected_loss = loss;
            }
            let Some(packet) = gathered.add(frame, coding.frames) else { continue };
            match encoder.encode(&packet) {
                Ok(sound) => self.sender.audio(sound, coding.copies),
                Err(error) => warn!(%error, "sound left out"),
            }
        }
    }

    /// What is done to the sound of a microphone.
    fn process(&mut self, frame: &mut AudioFrame, held: bool) {
        let Some(microphone) = &mut self.microphone else { return };
        if let Some(figures) = microphone.process(&mut frame.samples, self.switches.processing()) {
            self.counters.set_voice(Some(figures));
        }
        let muted = self.switches.muted.load(Ordering::Relaxed);
        // Nobody who holds expects to be heard.
        if !held && microphone.is_spoken_into_while_muted(&frame.samples, muted) {
            send_event(&self.events, StreamEvent::SpokeWhileMuted);
        }
    }

    /// Copies that come and go with the loss are told by statistics alone.
    fn set_coding(&self, encoder: &mut OpusEncoder, coding: SoundCoding) {
        if let Err(error) = encoder.set_bitrate(coding.bps) {
            return warn!(%error, "encoder keeps its old bitrate");
        }
        let told = |sound: SoundCoding| (sound.bps, sound.frames);
        let before = self.counters.plan().sound.map(told);
        let plan = self.counters.change_plan(|plan| plan.sound = Some(coding));
        if before != Some(told(coding)) {
            send_event(&self.events, StreamEvent::PlanChanged(plan));
        }
    }
}

/// Frames of sound that share a packet.
#[derive(Default)]
struct Gathered {
    frames: u32,
    samples: Vec<i16>,
}

impl Gathered {
    /// Adds a frame; all of them together when there are enough.
    fn add(&mut self, frame: AudioFrame, enough: u32) -> Option<AudioFrame> {
        self.frames += 1;
        self.samples.extend_from_slice(&frame.samples);
        if self.frames < enough {
            return None;
        }
        self.frames = 0;
        Some(AudioFrame { samples: std::mem::take(&mut self.samples), at: frame.at })
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}
