//! Light media through queues of the test's own.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::*;
use crate::call::StreamEvent;
use crate::call::outgoing::{OutgoingCounters, Switches};
use crate::capture::VideoFormat;
use crate::capture::pattern;
use crate::codec::video_decoder;
use crate::frame::{Size, VideoCodec};
use crate::peer::sdp::PayloadTypes;
use crate::peer::{KeyframeRequester, MediaSender, PeerClock};
use crate::queue;
use crate::rtp::RtpPacket;
use crate::rtp::payload::Packetizer;

const FORMAT: VideoFormat = VideoFormat { size: Size { width: 160, height: 120 }, fps: 20 };

fn looped() -> Looped {
    Looped::default().with_pictures(FORMAT, &[VideoCodec::Vp8, VideoCodec::H264]).unwrap().with_sound().unwrap()
}

#[test]
fn a_loop_decodes_to_the_pattern_without_a_stamp_and_is_made_once() {
    let looped = looped();
    for (codec, pictures) in &looped.video {
        assert_eq!(pictures.pictures.len(), 40);
        let mut decoder = video_decoder(*codec).unwrap();
        // Twice round: its end joins its beginning.
        let coded = pictures.pictures.iter().chain(&pictures.pictures).flatten();
        let decoded: Vec<_> = coded.filter_map(|data| decoder.decode(data).unwrap()).collect();
        assert!(decoded.len() > 60, "{codec}: {}", decoded.len());
        for frame in &decoded {
            assert_eq!((frame.size(), pattern::read(frame)), (FORMAT.size, None));
            let (darkest, lightest) = (frame.y().iter().min().unwrap(), frame.y().iter().max().unwrap());
            assert!(lightest - darkest > 50, "{codec}: a picture is to be seen");
        }
    }
    let again = self::looped();
    for (codec, pictures) in &looped.video {
        assert!(std::sync::Arc::ptr_eq(pictures, &again.video[codec]));
    }
    assert!(std::sync::Arc::ptr_eq(looped.audio.as_ref().unwrap(), again.audio.as_ref().unwrap()));
}

#[tokio::test]
async fn a_keyframe_request_jumps_to_the_loops_beginning() {
    let looped = looped();
    let (sender, mut sent) = MediaSender::to_test(VideoCodec::Vp8);
    let mut outgoing = LightOutgoing::idle(OutgoingCounters::default());
    outgoing.add(&looped, &sender, &Switches::default());
    let collect = async |sent: &mut crate::peer::SentToTest, enough: usize| {
        let (mut pictures, mut sounds) = (Vec::new(), 0);
        while pictures.len() < enough || sounds < enough {
            tokio::time::sleep(Duration::from_millis(5)).await;
            let (more, heard) = sent.take();
            pictures.extend(more);
            sounds += heard;
        }
        pictures
    };
    let pictures = collect(&mut sent, 5).await;
    assert!(pictures[0] && !pictures[1..].contains(&true), "{pictures:?}");
    sent.close_path();
    sent.open_path();
    let pictures = collect(&mut sent, 3).await;
    assert!(pictures.contains(&true), "{pictures:?}");
}

#[tokio::test]
async fn a_held_or_muted_call_sends_nothing() {
    let looped = looped();
    let (sender, mut sent) = MediaSender::to_test(VideoCodec::Vp8);
    let switches = Switches::default();
    switches.set_held(true);
    let mut outgoing = LightOutgoing::idle(OutgoingCounters::default());
    outgoing.add(&looped, &sender, &switches);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(sent.take(), (Vec::new(), 0));
    switches.set_held(false);
    switches.set_camera_off(true);
    tokio::time::sleep(Duration::from_millis(400)).await;
    let (pictures, sounds) = sent.take();
    assert!(pictures.is_empty() && sounds > 3, "{pictures:?}, {sounds}");
}

#[tokio::test]
async fn what_a_narrow_path_cannot_carry_is_left_out_and_counted() {
    let looped = Looped::default()
        .with_pictures(VideoFormat { size: Size { width: 640, height: 480 }, fps: 30 }, &[VideoCodec::Vp8])
        .unwrap();
    let (sender, mut sent) = MediaSender::to_test(VideoCodec::Vp8);
    sent.waits(Duration::from_secs(1));
    let counters = OutgoingCounters::default();
    let mut outgoing = LightOutgoing::idle(counters.clone());
    outgoing.add(&looped, &sender, &Switches::default());
    while counters.left_out() < 20 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        // The other side is asked for keyframes only when it wants one, so none comes of that.
        sent.take();
    }
    assert_eq!(counters.pictures(), 0);
    // What was left out is missing to all that refers to it.
    sent.waits(Duration::ZERO);
    let mut pictures = Vec::new();
    while pictures.len() < 3 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        pictures.extend(sent.take().0);
    }
    assert_eq!(pictures[..2], [true, false]);
}

#[tokio::test]
async fn what_comes_is_counted_and_holes_are_lost() {
    let looped = looped();
    let ((video, video_rx), (audio, audio_rx)) = (queue::bounded(2048), queue::bounded(2048));
    let (events, mut told) = mpsc::channel(8);
    let types = PayloadTypes { video: BTreeMap::from([(96, VideoCodec::Vp8)]), red: None };
    let (keyframes, clock) = (KeyframeRequester::default(), PeerClock::default());
    let incoming = LightIncoming::start((video_rx, audio_rx), types, keyframes, &clock, &events);
    let mut packetizer = Packetizer::new(VideoCodec::Vp8);
    let mut sequence = 0u16;
    for (index, data) in looped.video[&VideoCodec::Vp8].pictures.iter().flatten().take(20).enumerate() {
        let payloads = packetizer.payloads(data);
        let last = payloads.len() - 1;
        for (part, payload) in payloads.into_iter().enumerate() {
            sequence += 1;
            let timestamp = index as u32 * 4500;
            let arrived = Instant::now();
            let packet = RtpPacket { sequence, timestamp, marker: part == last, payload_type: 96, payload, arrived };
            // Twice, as some networks do.
            video.send(packet.clone());
            video.send(packet);
        }
    }
    for (index, data) in looped.audio.as_ref().unwrap().iter().take(20).enumerate() {
        let (sequence, timestamp) = (index as u16, index as u32 * 960);
        let (payload, arrived) = (data.clone(), Instant::now());
        if index != 7 {
            audio.send(RtpPacket { sequence, timestamp, marker: false, payload_type: 111, payload, arrived });
        }
    }
    let mut figures = incoming.audio_figures.clone();
    figures.wait_for(|figures| figures.frames >= 4).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let (video, audio) = incoming.finish().await;
    assert_eq!((video.frames, video.packets, video.lost, video.freezes), (20, u64::from(sequence), 0, 0));
    assert!(video.duplicates > 0 && video.bytes > 0 && video.codec.as_deref() == Some("vp8"), "{video:?}");
    assert_eq!((video.latency_p50_ms, audio.tone_hz), (None, None), "nothing is decoded");
    assert_eq!((audio.packets, audio.tones_heard.len()), (19, 0));
    let mut names = Vec::new();
    while let Ok(event) = told.try_recv() {
        names.push(matches!(event, StreamEvent::FirstFrame(_)));
    }
    names.sort_unstable();
    assert_eq!(names, [false, true], "first picture and first sound, once each");
}
