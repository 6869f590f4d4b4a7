//! Held calls: nothing leaves, nothing is heard or seen, and what comes after begins with a keyframe. A voice is played and
//! not measured.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{mpsc, watch};

use super::incoming::{AudioFigures, Incoming, Sinks, VideoFigures};
use super::outgoing::{Captured, Outgoing, OutgoingCounters, Switches};
use crate::capture::VideoFormat;
use crate::codec::opus::OpusEncoder;
use crate::codec::{EncoderConfig, VideoEncoder, Want, video_encoder};
use crate::frame::{AUDIO_FRAME_SAMPLES, AudioFrame, Size, VideoCodec, VideoFrame};
use crate::peer::sdp::PayloadTypes;
use crate::peer::{KeyframeRequester, MediaSender, PeerClock, SentToTest};
use crate::queue;
use crate::rtp::RtpPacket;
use crate::rtp::payload::Packetizer;
use crate::send::picture_plan::Content;

const SIZE: Size = Size { width: 64, height: 48 };

/// How long one picture, or one sound, takes in these tests.
const BEAT: Duration = Duration::from_millis(20);

const CODEC: VideoCodec = VideoCodec::Vp8;

fn tone() -> AudioFrame {
    let wave = |n: usize| (8000.0 * (n as f64 * 1000.0 * std::f64::consts::TAU / 48_000.0).sin()) as i16;
    AudioFrame { samples: (0..AUDIO_FRAME_SAMPLES).map(wave).collect(), at: Instant::now() }
}

/// Encoders between two queues of the test's.
struct Sending {
    frames: queue::Sender<Arc<VideoFrame>>,
    sounds: queue::Sender<AudioFrame>,
    switches: Switches,
    sent: SentToTest,
    _outgoing: Outgoing,
}

impl Sending {
    fn start() -> Self {
        let ((frames, pictures_rx), (sounds, sounds_rx)) = (queue::bounded(2), queue::bounded(10));
        let mut captured = Captured {
            video: Some((pictures_rx, VideoFormat { size: SIZE, fps: 30 })),
            content: Content::Motion,
            audio: Some(sounds_rx),
            microphone: None,
            self_view: None,
        };
        let (sender, sent) = MediaSender::to_test(CODEC);
        let switches = Switches::default();
        let (events, _) = mpsc::channel(8);
        let mut outgoing = Outgoing::idle(OutgoingCounters::default());
        outgoing.add(&mut captured, &sender, &switches, &events).unwrap();
        Self { frames, sounds, switches, sent, _outgoing: outgoing }
    }

    /// What leaves of so many pictures and sounds.
    fn send(&mut self, count: usize) -> (Vec<bool>, usize) {
        for _ in 0..count {
            self.frames.send(Arc::new(VideoFrame::black(SIZE, Instant::now())));
            self.sounds.send(tone());
            std::thread::sleep(BEAT);
        }
        std::thread::sleep(5 * BEAT);
        self.sent.take()
    }
}

#[test]
fn a_held_call_sends_nothing_and_goes_on_with_a_keyframe() {
    let mut sending = Sending::start();
    let (pictures, sounds) = sending.send(10);
    assert!(pictures.len() > 5 && sounds > 5, "{pictures:?}, {sounds}");
    assert!(!pictures.last().unwrap(), "{pictures:?}");
    sending.switches.set_held(true);
    std::thread::sleep(5 * BEAT);
    sending.sent.take();
    assert_eq!(sending.send(10), (Vec::new(), 0));
    sending.switches.set_held(false);
    let (pictures, sounds) = sending.send(10);
    assert!(pictures.len() > 5 && sounds > 5, "{pictures:?}, {sounds}");
    assert!(pictures[0], "{pictures:?}");
}

#[test]
fn nothing_is_sent_while_there_is_no_path() {
    let mut sending = Sending::start();
    assert!(!sending.send(10).0.is_empty());
    sending.sent.close_path();
    std::thread::sleep(5 * BEAT);
    sending.sent.take();
    assert_eq!(sending.send(10), (Vec::new(), 0));
    sending.sent.open_path();
    let (pictures, sounds) = sending.send(10);
    assert!(pictures.first() == Some(&true) && sounds > 5, "{pictures:?}, {sounds}");
}

#[test]
fn a_medium_may_be_added_and_taken_away() {
    let ((frames, pictures_rx), (sender, mut sent)) = (queue::bounded(2), MediaSender::to_test(CODEC));
    let (switches, (events, _)) = (Switches::default(), mpsc::channel(8));
    let mut outgoing = Outgoing::idle(OutgoingCounters::default());
    let format = VideoFormat { size: SIZE, fps: 30 };
    let video = Some((pictures_rx, format));
    let (audio, microphone, self_view) = (None, None, None);
    let mut captured = Captured { video, content: Content::Motion, audio, microphone, self_view };
    outgoing.add(&mut captured, &sender, &switches, &events).unwrap();
    let mut send = || {
        for _ in 0..5 {
            frames.send(Arc::new(VideoFrame::black(SIZE, Instant::now())));
            std::thread::sleep(BEAT);
        }
        std::thread::sleep(5 * BEAT);
        sent.take().0.len()
    };
    assert!(send() > 0);
    outgoing.stop_video();
    assert_eq!(send(), 0);
}

/// Decoders behind two queues of the test's.
struct Receiving {
    video: queue::Sender<RtpPacket>,
    audio: queue::Sender<RtpPacket>,
    latest: watch::Receiver<Option<Arc<VideoFrame>>>,
    incoming: Incoming,
    pictures: Box<dyn VideoEncoder>,
    packetizer: Packetizer,
    sounds: OpusEncoder,
    sequences: (u16, u16),
}

impl Receiving {
    fn start() -> Self {
        let ((video, video_rx), (audio, audio_rx)) = (queue::bounded(2048), queue::bounded(2048));
        let (latest_tx, latest) = watch::channel(None);
        let sinks = Sinks { display: None, latest: latest_tx, speaker: None, recorder: None };
        let (events, _) = mpsc::channel(8);
        let types = PayloadTypes { video: BTreeMap::from([(96, CODEC)]), red: Some(63) };
        let (packets, clock) = ((video_rx, audio_rx), PeerClock::ours());
        let incoming = Incoming::start(packets, types, KeyframeRequester::default(), &clock, sinks, &events).unwrap();
        let config = EncoderConfig { size: SIZE, fps: 30, bitrate_bps: 300_000 };
        Self {
            video,
            audio,
            latest,
            incoming,
            pictures: video_encoder(CODEC, config).unwrap(),
            packetizer: Packetizer::new(CODEC),
            sounds: OpusEncoder::new(32_000).unwrap(),
            sequences: (0, 0),
        }
    }

    /// Lets so many pictures and sounds come, a keyframe first, and says what became of them.
    fn receive(&mut self, count: usize) -> (VideoFigures, AudioFigures) {
        for index in 0..count {
            let want = if index == 0 { Want::Keyframe } else { Want::Any };
            let frame = VideoFrame::black(SIZE, Instant::now());
            if let Some(picture) = self.pictures.encode(&frame, want).unwrap() {
                let payloads = self.packetizer.payloads(&picture.data);
                let last = payloads.len() - 1;
                for (part, payload) in payloads.into_iter().enumerate() {
                    self.sequences.0 += 1;
                    self.video.send(packet(96, self.sequences.0, part == last, payload));
                }
            }
            self.sequences.1 += 1;
            let sound = self.sounds.encode(&tone()).unwrap();
            self.audio.send(packet(111, self.sequences.1, false, sound.data));
            std::thread::sleep(BEAT);
        }
        std::thread::sleep(Duration::from_millis(500));
        (self.incoming.video_figures.borrow().clone(), self.incoming.audio_figures.borrow().clone())
    }
}

/// A picture, or 20 ms of sound.
fn packet(payload_type: u8, sequence: u16, marker: bool, payload: Bytes) -> RtpPacket {
    let timestamp = u32::from(sequence) * if payload_type == 111 { AUDIO_FRAME_SAMPLES as u32 } else { 1800 };
    RtpPacket { sequence, timestamp, marker, payload_type, payload, arrived: Instant::now() }
}

#[test]
fn a_held_call_is_not_heard_or_seen_and_keeps_its_last_picture() {
    let mut receiving = Receiving::start();
    let (video, audio) = receiving.receive(15);
    assert!(video.frames > 10 && audio.frames > 8, "{video:?}, {audio:?}");

    receiving.incoming.set_held(true);
    std::thread::sleep(5 * BEAT);
    receiving.latest.mark_unchanged();
    let (held_video, held_audio) = receiving.receive(15);
    assert_eq!((held_video.frames, held_audio.frames), (video.frames, audio.frames));
    assert_eq!(held_audio.tone_hz, None, "silence");
    assert_eq!(held_audio.concealed, audio.concealed, "silence is not made up of what came before");
    assert!(!receiving.latest.has_changed().unwrap() && receiving.latest.borrow().is_some());

    receiving.incoming.set_held(false);
    std::thread::sleep(5 * BEAT);
    let (video, audio) = receiving.receive(15);
    assert!(video.frames > held_video.frames + 10 && audio.frames > held_audio.frames + 8, "{video:?}, {audio:?}");
    assert_eq!(video.freezes, held_video.freezes, "the pause is no freeze");
}

#[test]
fn a_voice_is_played_and_no_tone_is_looked_for() {
    let mut receiving = Receiving::start();
    for samples in crate::quality::test_sound::tests::voice(50) {
        receiving.sequences.1 += 1;
        let sound = receiving.sounds.encode(&AudioFrame { samples, at: Instant::now() }).unwrap();
        let sequence = receiving.sequences.1;
        receiving.audio.send(packet(111, sequence, false, sound.data));
        std::thread::sleep(BEAT);
    }
    std::thread::sleep(Duration::from_millis(500));
    let (_, voice, _) = receiving.incoming.finish();
    assert!(voice.frames > 40, "{voice:?}");
    assert_eq!((voice.tone_detections, voice.tone_hz, voice.latencies.count()), (0, None, 0), "{voice:?}");

    let mut receiving = Receiving::start();
    let (_, tone) = receiving.receive(15);
    assert!(tone.tone_detections > 0 && tone.tones_heard == [1000], "{tone:?}");
}
