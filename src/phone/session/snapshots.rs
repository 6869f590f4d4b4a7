//! What a session tells, as JSON, byte by byte: scripts rely on it.

use std::time::{Duration, Instant};

use media::call::incoming::{AudioFigures, VideoFigures};
use media::clock::Estimate;
use media::send::picture_plan::Reason;
use media::voice::{Echo, Processing, VoiceFigures};
use signalling::call::{EndReason, Side};
use signalling::wire::PresenceState;

use super::figures::Meter;
use super::quality::Judge;
use crate::output::events::{Event, ProgramEvent};
use crate::phone::events::{
    CallEvent, Line, Pair, Pictures, Plan, Process, Received, Recording, Security, Sent, Setup, Signalling, Stats,
    Summary, Voice,
};

/// One line an event.
const TOLD: &str = include_str!("events.snapshot");

fn pair() -> Pair {
    Pair {
        local: "host".into(),
        remote: "relay".into(),
        protocol: "udp".into(),
        round_trip_ms: Some(12.5),
        relay_protocol: None,
    }
}

fn sent() -> Sent {
    Sent { video_bps: Some(812_345.5), frames: 31, keyframes: 2, remote_loss: Some(0.25), ..Sent::default() }
}

fn arrived(now: Instant) -> (VideoFigures, AudioFigures) {
    let mut video = VideoFigures {
        codec: Some("VP8".into()),
        width: 640,
        height: 480,
        frames: 30,
        bytes: 100_000,
        packets: 120,
        lost: 3,
        jitter_ms: 1.1,
        freezes: 1,
        frozen_ms: 250.0,
        latency_p50_ms: Some(81.25),
        clock: Some(Estimate { ahead_ms: 0.123_456, within_ms: 1.5 }),
        ..VideoFigures::default()
    };
    video.network.expected = 123;
    video.network.network_loss = Some(0.1);
    video.latencies.add(now, 80.0);
    let mut audio = AudioFigures {
        frames: 50,
        bytes: 4000,
        packets: 50,
        buffer_ms: 60.0,
        tone_hz: Some(440.0),
        tones_heard: vec![440, 880],
        latency_p50_ms: Some(90.5),
        ..AudioFigures::default()
    };
    audio.latencies.add(now, 91.0);
    (video, audio)
}

fn known_line() -> Line {
    Line {
        sent_bps: 870_000,
        acknowledged_bps: Some(860_000),
        repair_bps: 10_000,
        pacer_ms: 3.5,
        queue_ms: 0.0,
        loss: 0.01,
        round_trip_ms: Some(12.5),
    }
}

fn plan() -> Plan {
    Plan {
        pictures: Some(Pictures::Sent),
        width: Some(320),
        height: Some(240),
        fps: Some(15),
        reason: Some(Reason::Line),
        sound_bps: Some(16_000),
        sound_packet_ms: Some(40),
        sound_copies: Some(0),
    }
}

fn voice() -> Voice {
    let echo = Echo { return_loss_db: 10.52, sent_return_loss_db: 63.0, delay_ms: 96.0 };
    Voice::from(VoiceFigures { processing: Processing::Full, level_dbfs: -31.24, echo: Some(echo), overruns: 0 })
}

fn stats(now: Instant) -> Stats {
    let (video, audio) = arrived(now);
    let judged = Judge::default().look(video, audio, None, now).received();
    let received = Received { video_bps: Some(800_000.0), audio_bps: None, fps: Some(30.0), ..judged };
    let (target_bps, line, plan, voice) = (Some(900_000), Some(known_line()), plan(), Some(voice()));
    Stats { pair: Some(pair()), target_bps, line, plan, voice, sent: sent(), received }
}

fn summary(now: Instant) -> Summary {
    let (video, audio) = arrived(now);
    let ended = now + Duration::from_secs(2);
    let bytes = Some((50_000, 4000));
    let (sent, received, mos) = Meter::new(now).averages(sent(), bytes, video, audio, None, ended);
    Summary {
        reason: EndReason::RemoteHangup,
        status: 0,
        duration_ms: Some(2000.0),
        setup: Setup { ice_ms: Some(3.25), ..Setup::default() },
        pair: Some(pair()),
        video_codec: Some("VP8".into()),
        sent,
        received,
        mos: mos.or(Some(4.25)),
        recording: Some(Recording { file: "a.webm".into(), video_frames: 30, audio_frames: 50, duration_ms: 1000.0 }),
        signalling: Signalling { dropped: 1, duplicates: 2, candidates_left_out: 3 },
        process: Process { cores: Some(0.5), memory_peak_bytes: Some(1024) },
    }
}

fn sealed() -> Security {
    Security { sealed: true, verified: false, key: Some("able zoo".into()) }
}

fn line(event: &impl Event) -> String {
    serde_json::to_string(event).unwrap()
}

fn lines() -> Vec<String> {
    let now = Instant::now();
    let unconnected = Summary { status: 12, ..Summary::of(EndReason::NoAnswer) };
    let ended = |reason: EndReason| line(&CallEvent::Ended { reason, detail: None, text: None });
    let presence = |state: Option<PresenceState>| {
        line(&ProgramEvent::Presence { id: "bob".into(), state: state.map(PresenceState::name) })
    };
    let states = [PresenceState::Available, PresenceState::Busy, PresenceState::Away, PresenceState::Offline];
    let mut lines = vec![
        line(&ProgramEvent::Online { id: "alice".into(), broker: "mqtt://localhost:1883".into() }),
        line(&CallEvent::Shared { process: 7 }),
        line(&ProgramEvent::Offline { reason: "gone".into() }),
        presence(None),
        line(&CallEvent::Dialing),
        line(&CallEvent::Ringing),
        line(&CallEvent::Incoming { waiting: true }),
        line(&CallEvent::PathReady),
        line(&CallEvent::Accepted),
        line(&CallEvent::Connecting { video: Some("VP8".into()), audio: None }),
        line(&CallEvent::Connected { pair: Some(pair()), security: Security::default() }),
        line(&CallEvent::Connected { pair: None, security: sealed() }),
        line(&CallEvent::Words { words: "able zoo able zoo".into(), verified: false }),
        line(&CallEvent::Verified { on: true }),
        line(&CallEvent::FirstFrame { after_accept_ms: Some(312.25) }),
        line(&CallEvent::FirstAudio { after_accept_ms: None }),
        line(&CallEvent::Stats(Box::new(stats(now)))),
        line(&CallEvent::Muted { side: Side::Local, audio: true, video: false }),
        line(&CallEvent::Voice { processing: Processing::Raw }),
        line(&CallEvent::Held { side: Side::Remote, on: true }),
        line(&CallEvent::Plan { side: Side::Local, plan: plan() }),
        line(&CallEvent::Plan { side: Side::Remote, plan: Plan::of_other_side(true) }),
        line(&CallEvent::Reconnecting),
        line(&CallEvent::Reconnected { pair: None, after_ms: Some(812.0) }),
        line(&CallEvent::TurnedAway { caller: "carol".into() }),
        line(&CallEvent::Missed { caller: "carol".into(), started: 1_700_000_000_000 }),
        line(&CallEvent::Impaired { up: Some("loss=5%".into()), down: None }),
        line(&CallEvent::Snapshot { file: "a.png".into() }),
        line(&ProgramEvent::Warning { text: "careful".into() }),
        line(&CallEvent::Ended { reason: EndReason::Lost, detail: Some("detail".into()), text: Some("text".into()) }),
        line(&CallEvent::Summary(Box::new(summary(now)))),
        line(&CallEvent::Summary(Box::new(unconnected))),
    ];
    lines.extend(states.map(|state| presence(Some(state))));
    lines.extend(EndReason::ALL.map(ended));
    lines
}

#[test]
fn every_event_is_written_as_it_always_was() {
    let told = lines();
    for (told, expected) in told.iter().zip(TOLD.lines()) {
        assert_eq!(told, expected);
    }
    assert_eq!(told.len(), TOLD.lines().count(), "{}", told.join("\n"));
}
