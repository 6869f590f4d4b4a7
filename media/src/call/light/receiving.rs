//! What comes in a light call: through the jitter buffers, counted, and thrown away.
//!
//! The queues are looked at every 20 ms. What is measured does not suffer: each packet knows when it came.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::call::StreamEvent;
use crate::call::incoming::{AudioFigures, Controls, VideoFigures};
use crate::call::outgoing::send_event;
use crate::frame::{AUDIO_RATE_HZ, VideoCodec};
use crate::peer::sdp::PayloadTypes;
use crate::peer::{KeyframeRequester, PeerClock};
use crate::queue::Receiver;
use crate::receive::audio_buffer::{AudioBuffer, NoDecoder, STEP};
use crate::receive::keyframes::KeyframePacing;
use crate::receive::network_loss::Missing;
use crate::receive::video_jitter::{self as video, Output, VideoJitter};
use crate::rtp::{RtpPacket, VIDEO_CLOCK_HZ};
use crate::stats::{Freezes, Jitter};

/// How often the queues are looked at.
const TURN: Duration = Duration::from_millis(20);

/// After a longer sleep (100 ms) the past is not played after.
const STEPS_BEHIND_MAX: u32 = 10;

/// Figures go out every so many turns: 200 ms.
const TURNS_A_LOOK: u32 = 10;

/// Media that arrives; [`LightIncoming::finish`] ends it.
#[derive(Debug)]
pub struct LightIncoming {
    controls: Arc<Controls>,
    task: JoinHandle<()>,
    /// Nothing is ever sent; dropped to end the task.
    stop: oneshot::Sender<()>,
    /// The latest figures.
    pub video_figures: watch::Receiver<VideoFigures>,
    /// The latest figures.
    pub audio_figures: watch::Receiver<AudioFigures>,
}

impl LightIncoming {
    /// Starts counting what the queues bring; `types` says which payload type is what. What is missing is
    /// waited for by the round trip that `clock` knows. To be called in a tokio runtime.
    #[must_use]
    pub fn start(
        packets: (Receiver<RtpPacket>, Receiver<RtpPacket>),
        types: PayloadTypes,
        keyframes: KeyframeRequester,
        clock: &PeerClock,
        events: &mpsc::Sender<StreamEvent>,
    ) -> Self {
        let controls = Arc::new(Controls::new(types));
        let (video_out, video_figures) = watch::channel(VideoFigures::default());
        let (audio_out, audio_figures) = watch::channel(AudioFigures::default());
        let (stop, stopped) = oneshot::channel();
        let counting = Counting {
            controls: Arc::clone(&controls),
            held: false,
            pictures: Pictures::new(packets.0, keyframes, clock.clone(), events.clone()),
            sounds: Sounds::new(packets.1, events.clone()),
            video_out,
            audio_out,
        };
        let task = tokio::spawn(counting.run(stopped));
        Self { controls, task, stop, video_figures, audio_figures }
    }

    /// Counts nothing of what comes, or goes on with the next keyframe.
    pub fn set_held(&self, held: bool) {
        self.controls.set_held(held);
    }

    /// Takes what an update agreed on.
    pub fn set_types(&self, types: PayloadTypes) {
        *self.controls.types() = types;
    }

    /// Ends the task; the last figures.
    pub async fn finish(self) -> (VideoFigures, AudioFigures) {
        drop(self.stop);
        if self.task.await.is_err() {
            tracing::error!("the task that counts media panicked");
        }
        (self.video_figures.borrow().clone(), self.audio_figures.borrow().clone())
    }
}

struct Counting {
    controls: Arc<Controls>,
    held: bool,
    pictures: Pictures,
    sounds: Sounds,
    video_out: watch::Sender<VideoFigures>,
    audio_out: watch::Sender<AudioFigures>,
}

impl Counting {
    async fn run(mut self, mut stopped: oneshot::Receiver<()>) {
        let mut turns = tokio::time::interval(TURN);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut until_look = 0;
        loop {
            tokio::select! {
                biased;
                _ = &mut stopped => break,
                _ = turns.tick() => {}
            }
            self.turn(Instant::now());
            if until_look == 0 {
                until_look = TURNS_A_LOOK;
                self.publish();
            }
            until_look -= 1;
        }
        self.turn(Instant::now());
        self.publish();
    }

    fn turn(&mut self, now: Instant) {
        if self.controls.is_held() != self.held {
            self.held = !self.held;
            self.pictures.pause();
            self.sounds.buffer.begin_anew();
            if !self.held {
                self.pictures.ask_for_keyframe(now);
            }
        }
        while let Some(packet) = self.pictures.packets.try_recv() {
            self.pictures.missing.came(packet.sequence);
            let codec = self.controls.types().video.get(&packet.payload_type).copied();
            // Whoever holds the call has no use for it; what was not agreed on is nobody's.
            if let Some(codec) = codec.filter(|_| !self.held) {
                self.pictures.take(packet, codec);
            }
        }
        self.pictures.put_together(now);
        while let Some(packet) = self.sounds.packets.try_recv() {
            self.sounds.missing.came(packet.sequence);
            if !self.held {
                let red = self.controls.types().red;
                self.sounds.take(packet, red);
            }
        }
        self.sounds.play(now);
    }

    fn publish(&mut self) {
        self.video_out.send_replace(self.pictures.figures());
        self.audio_out.send_replace(self.sounds.figures());
    }
}

struct Pictures {
    packets: Receiver<RtpPacket>,
    keyframes: KeyframeRequester,
    clock: PeerClock,
    events: mpsc::Sender<StreamEvent>,
    jitter: VideoJitter,
    missing: Missing,
    pacing: KeyframePacing,
    network_jitter: Jitter,
    freezes: Freezes,
    codec: Option<VideoCodec>,
    figures: VideoFigures,
}

impl Pictures {
    fn new(
        packets: Receiver<RtpPacket>,
        keyframes: KeyframeRequester,
        clock: PeerClock,
        events: mpsc::Sender<StreamEvent>,
    ) -> Self {
        Self {
            packets,
            keyframes,
            clock,
            events,
            jitter: VideoJitter::default(),
            missing: Missing::default(),
            pacing: KeyframePacing::default(),
            network_jitter: Jitter::new(VIDEO_CLOCK_HZ),
            freezes: Freezes::default(),
            codec: None,
            figures: VideoFigures::default(),
        }
    }

    fn pause(&mut self) {
        self.jitter.begin_anew();
        self.freezes.paused();
    }

    fn take(&mut self, packet: RtpPacket, codec: VideoCodec) {
        // Padding to keep a path open, as browsers send it to probe, says nothing of the network's jitter.
        if !packet.payload.is_empty() {
            self.figures.bytes += packet.payload.len() as u64;
            self.network_jitter.add(packet.arrived, packet.timestamp);
        }
        self.jitter.insert(packet, codec);
    }

    fn put_together(&mut self, now: Instant) {
        self.jitter.set_round_trip(self.clock.round_trip());
        while let Some(output) = self.jitter.poll(now) {
            match output {
                Output::KeyframeNeeded => self.ask_for_keyframe(now),
                Output::Picture { codec, due, keyframe, .. } => {
                    if keyframe {
                        self.pacing.came(now);
                    }
                    if self.codec.replace(codec) != Some(codec) {
                        self.figures.codec = Some(codec.to_string());
                    }
                    self.freezes.shown(due);
                    self.figures.frames += 1;
                    if self.figures.frames == 1 {
                        send_event(&self.events, StreamEvent::FirstFrame(due));
                    }
                }
            }
        }
    }

    fn ask_for_keyframe(&mut self, now: Instant) {
        if self.pacing.ask(now, self.clock.round_trip()) {
            self.figures.keyframe_requests += 1;
            self.keyframes.request();
        }
    }

    fn figures(&mut self) -> VideoFigures {
        let video::Counters { received, duplicates, lost, .. } = self.jitter.counters();
        (self.figures.packets, self.figures.duplicates, self.figures.lost) = (received, duplicates, lost);
        self.figures.network = self.missing.loss();
        self.figures.jitter_ms = self.network_jitter.ms();
        self.figures.freezes = self.freezes.count;
        self.figures.frozen_ms = self.freezes.total.as_secs_f64() * 1000.0;
        self.figures.dropped = self.packets.dropped();
        self.figures.clone()
    }
}

struct Sounds {
    packets: Receiver<RtpPacket>,
    events: mpsc::Sender<StreamEvent>,
    buffer: AudioBuffer,
    missing: Missing,
    network_jitter: Jitter,
    next_step: Instant,
    came: bool,
    figures: AudioFigures,
}

impl Sounds {
    fn new(packets: Receiver<RtpPacket>, events: mpsc::Sender<StreamEvent>) -> Self {
        Self {
            packets,
            events,
            buffer: AudioBuffer::default(),
            missing: Missing::default(),
            network_jitter: Jitter::new(AUDIO_RATE_HZ),
            next_step: Instant::now(),
            came: false,
            figures: AudioFigures::default(),
        }
    }

    fn take(&mut self, packet: RtpPacket, red: Option<u8>) {
        if !self.came {
            self.came = true;
            send_event(&self.events, StreamEvent::FirstAudio(packet.arrived));
        }
        self.figures.bytes += packet.payload.len() as u64;
        self.network_jitter.add(packet.arrived, packet.timestamp);
        self.buffer.insert_any(packet, red);
    }

    /// Takes out what would have been played by now.
    fn play(&mut self, now: Instant) {
        if self.next_step + STEP * STEPS_BEHIND_MAX < now {
            self.next_step = now;
        }
        while self.next_step <= now {
            let step = self.buffer.next(self.next_step, &mut NoDecoder);
            self.next_step += STEP;
            self.figures.frames += step.decoded.len() as u64;
        }
    }

    fn figures(&mut self) -> AudioFigures {
        self.figures.take_from(&self.buffer);
        self.figures.network = self.missing.loss();
        self.figures.jitter_ms = self.network_jitter.ms();
        self.figures.clone()
    }
}
