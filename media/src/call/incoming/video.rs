//! Pictures that arrive: jitter buffer → decoder → display, snapshots, recording.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use serde::Serialize;
use tokio::sync::{mpsc, watch};
use tracing::debug;

use super::compare::Comparison;
use super::{Common, Controls, FIGURES_EVERY, RtpTimeLine, unix_now};
use crate::call::outgoing::send_event;
use crate::call::recording::Entry;
use crate::call::{POLL, StreamEvent};
use crate::capture::pattern;
use crate::clock::Estimate;
use crate::codec::{VideoDecoder, video_decoder};
use crate::frame::{VideoCodec, VideoFrame};
use crate::peer::{KeyframeRequester, PeerClock};
use crate::quality::{Latency, PictureQuality, Recent};
use crate::queue::{Receiver, RecvError, Sender};
use crate::receive::keyframes::KeyframePacing;
use crate::receive::lip_sync::{Medium, SharedLipSync};
use crate::receive::network_loss::{Missing, NetworkLoss};
use crate::receive::video_jitter::{Counters, Output, VideoJitter};
use crate::record::PictureKind;
use crate::rtp::{RtpPacket, VIDEO_CLOCK_HZ};
use crate::stats::{Freezes, Jitter, PatternCount};

/// Figures of the video that arrives.
#[derive(Clone, Debug, Default, Serialize)]
pub struct VideoFigures {
    /// Codec; `None` before the first picture.
    pub codec: Option<String>,
    /// Width of the latest picture.
    pub width: u32,
    /// Height of the latest picture.
    pub height: u32,
    /// Pictures decoded.
    pub frames: u64,
    /// Payload bytes.
    #[serde(skip)]
    pub bytes: u64,
    /// Packets that came.
    pub packets: u64,
    /// Packets given up.
    pub lost: u64,
    /// What the network lost, before any repair.
    #[serde(flatten)]
    pub network: NetworkLoss,
    /// Packets that came twice.
    pub duplicates: u64,
    /// Interarrival jitter, milliseconds.
    pub jitter_ms: f64,
    /// How long whole pictures are held back, for repairs or for sound, milliseconds.
    pub held_ms: f64,
    /// Freezes by the W3C rule.
    pub freezes: u32,
    /// Their length, milliseconds.
    pub frozen_ms: f64,
    /// Keyframes asked for.
    pub keyframe_requests: u64,
    /// Packets dropped here because decoding is too slow.
    pub dropped: u64,
    /// End-to-end latency of the test pattern, milliseconds: median; `None` without the pattern, and until it is known how
    /// far the clocks of the two sides are apart.
    pub latency_p50_ms: Option<f64>,
    /// 95th percentile of the same.
    pub latency_p95_ms: Option<f64>,
    /// How the counted pictures of the test pattern came through.
    pub pattern: PatternCount,
    /// Latencies of the latest pictures with a stamp, milliseconds.
    #[serde(skip)]
    pub latencies: Recent,
    /// Sampled pictures compared with the test pattern.
    #[serde(skip)]
    pub quality: PictureQuality,
    /// How the clock of the other side stands to ours.
    #[serde(skip)]
    pub clock: Option<Estimate>,
}

/// Who gets to see the pictures.
pub(super) struct Views {
    pub(super) display: Option<Sender<Arc<VideoFrame>>>,
    pub(super) latest: watch::Sender<Option<Arc<VideoFrame>>>,
}

pub(super) struct VideoDecodeThread {
    packets: Receiver<RtpPacket>,
    controls: Arc<Controls>,
    held: bool,
    keyframes: KeyframeRequester,
    display: Option<Sender<Arc<VideoFrame>>>,
    latest: watch::Sender<Option<Arc<VideoFrame>>>,
    entries: Option<Sender<Entry>>,
    events: mpsc::Sender<StreamEvent>,
    jitter: VideoJitter,
    decoder: Option<(VideoCodec, Box<dyn VideoDecoder>)>,
    line: RtpTimeLine,
    pacing: KeyframePacing,
    missing: Missing,
    network_jitter: Jitter,
    freezes: Freezes,
    clock: PeerClock,
    lips: SharedLipSync,
    latency: Latency,
    comparison: Comparison,
    figures: VideoFigures,
    out: watch::Sender<VideoFigures>,
}

impl VideoDecodeThread {
    pub(super) fn new(
        packets: Receiver<RtpPacket>,
        common: Common,
        keyframes: KeyframeRequester,
        views: Views,
        out: watch::Sender<VideoFigures>,
    ) -> Self {
        Self {
            packets,
            controls: common.controls,
            held: false,
            keyframes,
            display: views.display,
            latest: views.latest,
            entries: common.entries,
            events: common.events,
            jitter: VideoJitter::default(),
            decoder: None,
            line: RtpTimeLine::new(common.started, VIDEO_CLOCK_HZ),
            pacing: KeyframePacing::default(),
            missing: Missing::default(),
            network_jitter: Jitter::new(VIDEO_CLOCK_HZ),
            freezes: Freezes::default(),
            clock: common.clock,
            lips: common.lips,
            latency: Latency::default(),
            comparison: Comparison::default(),
            figures: VideoFigures::default(),
            out,
        }
    }

    pub(super) fn run(mut self, stop: &AtomicBool) {
        let mut figures_due = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            if self.controls.is_held() != self.held {
                self.held = !self.held;
                self.pause();
            }
            self.jitter.set_round_trip(self.clock.round_trip());
            let wait = self.jitter.poll_timeout().map_or(POLL, |at| at.saturating_duration_since(Instant::now()));
            match self.packets.recv_timeout(wait.min(POLL)) {
                Ok(packet) => self.take(packet),
                Err(RecvError::Timeout) => {}
                // The peer connection is gone; the owner ends this thread soon.
                Err(RecvError::Closed) => std::thread::sleep(POLL),
            }
            while let Some(packet) = self.packets.try_recv() {
                self.take(packet);
            }
            while let Some(output) = self.jitter.poll(Instant::now()) {
                match output {
                    Output::KeyframeNeeded => self.ask_for_keyframe(),
                    Output::Picture { data, keyframe, codec, timestamp, arrived, .. } => {
                        if keyframe {
                            self.pacing.came(Instant::now());
                        }
                        let kind = if keyframe { PictureKind::Key } else { PictureKind::Delta };
                        if let Some(size) = self.decode(codec, &data) {
                            self.keep_with_sound(timestamp);
                            let pts = self.line.pts(timestamp, arrived);
                            if let Some(entries) = &self.entries {
                                entries.send(Entry::Video { data, kind, size, pts });
                            }
                        }
                    }
                }
            }
            if Instant::now() >= figures_due {
                figures_due = Instant::now() + FIGURES_EVERY;
                self.publish();
            }
        }
        self.publish();
    }

    /// The call was held, or goes on: what came before does not fit what comes after.
    fn pause(&mut self) {
        self.jitter.begin_anew();
        self.freezes.paused();
        if !self.held {
            self.ask_for_keyframe();
        }
    }

    fn take(&mut self, packet: RtpPacket) {
        self.missing.came(packet.sequence);
        if self.held {
            return;
        }
        let codec = self.controls.types().video.get(&packet.payload_type).copied();
        let Some(codec) = codec else {
            debug!(payload_type = packet.payload_type, "packet of a type that was not agreed on left out");
            return;
        };
        // Padding to keep a path open, as browsers send it to probe.
        if packet.payload.is_empty() {
            self.jitter.insert(packet, codec);
            return;
        }
        self.figures.bytes += packet.payload.len() as u64;
        self.network_jitter.add(packet.arrived, packet.timestamp);
        self.jitter.insert(packet, codec);
    }

    /// Decodes and shows a picture; its size when that worked.
    fn decode(&mut self, codec: VideoCodec, data: &[u8]) -> Option<crate::frame::Size> {
        if self.decoder.as_ref().is_none_or(|(current, _)| *current != codec) {
            match video_decoder(codec) {
                Ok(decoder) => self.decoder = Some((codec, decoder)),
                Err(error) => {
                    send_event(&self.events, StreamEvent::CodecFailed(error.to_string()));
                    return None;
                }
            }
            self.figures.codec = Some(codec.to_string());
        }
        let (_, decoder) = self.decoder.as_mut()?;
        match decoder.decode(data) {
            Ok(Some(frame)) => {
                let size = frame.size();
                self.show(frame);
                Some(size)
            }
            Ok(None) => None,
            Err(error) => {
                debug!(%error, "picture not decodable");
                self.ask_for_keyframe();
                None
            }
        }
    }

    fn show(&mut self, frame: VideoFrame) {
        let (now, stamp) = (Instant::now(), pattern::read(&frame));
        if let Some(stamp) = stamp {
            self.figures.pattern.add(stamp);
            // Both clocks wrap at 2^32 ms. How far they are apart is taken out once it is known.
            let latency_ms = f64::from(pattern::now_ms().wrapping_sub(stamp.sent_ms) as i32);
            self.latency.add(now, latency_ms);
        }
        self.freezes.shown(now);
        self.figures.frames += 1;
        (self.figures.width, self.figures.height) = (frame.size().width, frame.size().height);
        let frame = Arc::new(frame);
        if let Some(stamp) = stamp {
            self.comparison.add(&frame, stamp, now);
        }
        self.latest.send_replace(Some(Arc::clone(&frame)));
        if let Some(display) = &self.display {
            display.send(frame);
        }
        if self.figures.frames == 1 {
            send_event(&self.events, StreamEvent::FirstFrame(now));
        }
    }

    /// The picture of this time stamp was shown.
    fn keep_with_sound(&mut self, timestamp: u32) {
        let Some(captured_s) = self.clock.captured_s(Medium::Pictures, timestamp) else { return };
        let (way_ms, held) = ((unix_now().as_secs_f64() - captured_s) * 1000.0, self.jitter.delay());
        self.jitter.hold_at_least(self.lips.presented(Medium::Pictures, way_ms, held, Instant::now()));
    }

    fn ask_for_keyframe(&mut self) {
        if self.pacing.ask(Instant::now(), self.clock.round_trip()) {
            self.figures.keyframe_requests += 1;
            self.keyframes.request();
        }
    }

    fn publish(&mut self) {
        let Counters { received, duplicates, lost, .. } = self.jitter.counters();
        (self.figures.packets, self.figures.duplicates, self.figures.lost) = (received, duplicates, lost);
        self.figures.network = self.missing.loss();
        self.figures.jitter_ms = self.network_jitter.ms();
        self.figures.freezes = self.freezes.count;
        self.figures.frozen_ms = self.freezes.total.as_secs_f64() * 1000.0;
        self.figures.dropped = self.packets.dropped();
        self.figures.held_ms = (self.jitter.delay().as_secs_f64() * 1000.0).round();
        self.figures.clock = self.clock.estimate();
        self.latency.settle(self.figures.clock.map(|clock| clock.ahead_ms), pattern::put_right);
        self.figures.latencies.clone_from(&self.latency.recent);
        self.figures.latency_p50_ms = self.latency.percentile(50.0);
        self.figures.latency_p95_ms = self.latency.percentile(95.0);
        self.figures.quality = self.comparison.quality();
        self.out.send_replace(self.figures.clone());
    }
}
