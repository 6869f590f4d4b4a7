use std::time::Duration;

use super::*;
use crate::rtp::payload::Packetizer;

struct Sender {
    packetizer: Packetizer,
    sequence: u16,
    timestamp: u32,
}

impl Sender {
    fn new() -> Self {
        Self { packetizer: Packetizer::new(VideoCodec::Vp8), sequence: 65_530, timestamp: u32::MAX - 9000 }
    }

    /// Packets of a picture of four packets.
    fn picture(&mut self, keyframe: bool, now: Instant) -> Vec<RtpPacket> {
        let tag = if keyframe { 0x10 } else { 0x11 };
        let picture: Bytes = std::iter::once(tag).chain(std::iter::repeat_n(7, 4000)).collect();
        let payloads = self.packetizer.payloads(&picture);
        self.timestamp = self.timestamp.wrapping_add(3000);
        let last = payloads.len() - 1;
        let packets = payloads.into_iter().enumerate().map(|(index, payload)| {
            self.sequence = self.sequence.wrapping_add(1);
            RtpPacket {
                sequence: self.sequence,
                timestamp: self.timestamp,
                marker: index == last,
                payload_type: 96,
                payload,
                arrived: now,
            }
        });
        packets.collect()
    }
}

fn insert_all(jitter: &mut VideoJitter, packets: impl IntoIterator<Item = RtpPacket>) {
    for packet in packets {
        jitter.insert(packet, VideoCodec::Vp8);
    }
}

fn drain(jitter: &mut VideoJitter, now: Instant) -> Vec<&'static str> {
    std::iter::from_fn(|| jitter.poll(now))
        .map(|output| match output {
            Output::Picture { keyframe: true, .. } => "key",
            Output::Picture { keyframe: false, .. } => "delta",
            Output::KeyframeNeeded => "need",
        })
        .collect()
}

#[test]
fn whole_pictures_come_out_at_once_in_order_across_the_wraps() {
    let (mut jitter, mut sender, now) = (VideoJitter::default(), Sender::new(), Instant::now());
    for n in 0..10 {
        insert_all(&mut jitter, sender.picture(n == 0, now));
        assert_eq!(drain(&mut jitter, now), [if n == 0 { "key" } else { "delta" }]);
    }
    assert_eq!(jitter.counters(), Counters { received: 40, ..Counters::default() });
}

#[test]
fn reordered_and_repeated_packets_do_no_harm() {
    let (mut jitter, mut sender, now) = (VideoJitter::default(), Sender::new(), Instant::now());
    let key = sender.picture(true, now);
    let delta = sender.picture(false, now);
    insert_all(&mut jitter, key.clone());
    assert_eq!(drain(&mut jitter, now), ["key"]);
    let next = sender.picture(false, now);
    insert_all(&mut jitter, next.into_iter().rev());
    assert_eq!(drain(&mut jitter, now), Vec::<&str>::new());
    insert_all(&mut jitter, delta.iter().cloned().chain(delta.iter().cloned()));
    assert_eq!(drain(&mut jitter, now), ["delta", "delta"]);
    insert_all(&mut jitter, delta);
    assert_eq!((jitter.counters().duplicates, jitter.counters().late), (4, 4));
}

#[test]
fn a_gap_is_waited_for_and_mended_by_a_late_packet() {
    let (mut jitter, mut sender, now) = (VideoJitter::default(), Sender::new(), Instant::now());
    insert_all(&mut jitter, sender.picture(true, now));
    let mut broken = sender.picture(false, now);
    let missing = broken.remove(1);
    insert_all(&mut jitter, broken);
    insert_all(&mut jitter, sender.picture(false, now));
    assert_eq!(drain(&mut jitter, now), ["key"]);
    let wait = jitter.repair().wait();
    assert_eq!(jitter.poll_timeout(), Some(now + wait));
    insert_all(&mut jitter, [missing]);
    assert_eq!(drain(&mut jitter, now + wait / 2), ["delta", "delta"]);
    assert_eq!((jitter.counters().lost, jitter.poll_timeout()), (0, None));
}

#[test]
fn a_whole_keyframe_is_shown_at_once_whatever_is_missing_before_it() {
    // While pictures flow, and when a keyframe is awaited already.
    for is_awaited in [false, true] {
        let (mut jitter, mut sender, start) = (VideoJitter::default(), Sender::new(), Instant::now());
        insert_all(&mut jitter, sender.picture(true, start));
        assert_eq!(drain(&mut jitter, start), ["key"]);
        let mut now = start;
        for missing in [1, 2] {
            let mut broken = sender.picture(false, now);
            broken.remove(missing);
            insert_all(&mut jitter, broken);
        }
        assert_eq!(drain(&mut jitter, now), Vec::<&str>::new());
        if is_awaited {
            now += jitter.repair().wait();
            assert!(drain(&mut jitter, now).iter().all(|output| *output == "need"));
            let mut broken = sender.picture(false, now);
            broken.remove(1);
            insert_all(&mut jitter, broken);
        }
        insert_all(&mut jitter, sender.picture(true, now));
        insert_all(&mut jitter, sender.picture(false, now));
        assert_eq!(drain(&mut jitter, now), ["key", "delta"], "awaited: {is_awaited}");
    }
}

#[test]
fn a_lost_packet_leaves_out_everything_up_to_the_next_keyframe() {
    let (mut jitter, mut sender, now) = (VideoJitter::default(), Sender::new(), Instant::now());
    insert_all(&mut jitter, sender.picture(true, now));
    let mut broken = sender.picture(false, now);
    broken.remove(1);
    insert_all(&mut jitter, broken);
    assert_eq!(drain(&mut jitter, now), ["key"]);
    insert_all(&mut jitter, sender.picture(false, now));
    let wait = jitter.repair().wait();
    let later = now + wait;
    assert_eq!(drain(&mut jitter, later)[0], "need");
    assert!(jitter.counters().lost >= 1);
    let mut shown = Vec::new();
    for n in 0..4 {
        insert_all(&mut jitter, sender.picture(n == 2, later));
        shown.extend(drain(&mut jitter, later + wait * (n + 1)));
    }
    shown.retain(|what| *what != "need");
    assert_eq!(shown, ["key", "delta"]);
}

#[test]
fn packets_that_probe_the_path_disturb_no_picture() {
    let (mut jitter, mut sender, now) = (VideoJitter::default(), Sender::new(), Instant::now());
    insert_all(&mut jitter, sender.picture(true, now));
    let mut shown = drain(&mut jitter, now);
    for n in 0..4 {
        let mut picture = sender.picture(false, now);
        // In the middle of a picture or after it, with its time stamp and no marker.
        sender.sequence = sender.sequence.wrapping_add(1);
        let at = if n % 2 == 0 { 2 } else { picture.len() };
        let probe = RtpPacket { payload: Bytes::new(), marker: false, ..picture[0].clone() };
        picture.insert(at, probe);
        let first = picture[0].sequence;
        for (index, packet) in picture.iter_mut().enumerate() {
            packet.sequence = first.wrapping_add(index as u16);
        }
        insert_all(&mut jitter, picture);
        shown.extend(drain(&mut jitter, now));
    }
    assert_eq!(shown, ["key", "delta", "delta", "delta", "delta"]);
}

#[test]
fn a_sender_that_counts_anew_is_followed() {
    let (mut jitter, mut sender, now) = (VideoJitter::default(), Sender::new(), Instant::now());
    sender.sequence = 20_000;
    insert_all(&mut jitter, sender.picture(true, now));
    assert_eq!(drain(&mut jitter, now), ["key"]);
    sender.sequence = 1_000;
    let mut shown = Vec::new();
    for n in 0..40 {
        insert_all(&mut jitter, sender.picture(n % 10 == 0, now));
        shown.extend(drain(&mut jitter, now));
    }
    assert!(shown.iter().filter(|what| **what == "delta").count() >= 15, "{shown:?}");
}

#[test]
fn nothing_is_shown_before_the_first_keyframe() {
    let (mut jitter, mut sender, now) = (VideoJitter::default(), Sender::new(), Instant::now());
    insert_all(&mut jitter, sender.picture(false, now));
    assert_eq!(drain(&mut jitter, now), ["need"]);
    insert_all(&mut jitter, sender.picture(true, now).into_iter().skip(1));
    assert_eq!(drain(&mut jitter, now), ["need"]);
    insert_all(&mut jitter, sender.picture(true, now));
    assert_eq!(drain(&mut jitter, now), ["key"]);
}

#[test]
fn a_flood_stays_bounded() {
    let (mut jitter, now) = (VideoJitter::default(), Instant::now());
    for n in 0..50_000u32 {
        let payload = Bytes::from_static(&[0x10, 0x10, 0, 0]);
        let sequence = (n * 2) as u16;
        let packet = RtpPacket { sequence, timestamp: n, marker: false, payload_type: 96, payload, arrived: now };
        jitter.insert(packet, VideoCodec::Vp8);
        if n % 7 == 0 {
            drain(&mut jitter, now);
        }
        assert!(jitter.packets.len() <= PACKETS_MAX + 1);
    }
}

/// What is shown when of a stream of 30 pictures a second, in which the second packet of every tenth picture comes by a
/// repair, this much later. The picture is dated by when it was captured.
fn shown(repair_ms: u64, pictures: u64) -> Vec<(u64, u64)> {
    let (mut jitter, mut sender, start) = (VideoJitter::default(), Sender::new(), Instant::now());
    sender.timestamp = 0;
    let mut trip = RoundTrip::default();
    trip.measured(Duration::from_millis(repair_ms / 5), start);
    jitter.set_round_trip(trip);
    let mut coming: std::collections::BTreeMap<(u64, u16), RtpPacket> = std::collections::BTreeMap::new();
    for n in 0..pictures {
        for (index, mut packet) in sender.picture(n == 0, start).into_iter().enumerate() {
            let at_ms = n * 33 + if index == 1 && n % 10 == 9 { repair_ms } else { 0 };
            packet.timestamp = (n * 33 * 90) as u32;
            packet.arrived = start + Duration::from_millis(at_ms);
            coming.insert((at_ms, packet.sequence), packet);
        }
    }
    let mut shown = Vec::new();
    for at_ms in 0..pictures * 33 + 1000 {
        let now = start + Duration::from_millis(at_ms);
        while let Some(next) = coming.first_entry().filter(|next| next.key().0 <= at_ms) {
            insert_all(&mut jitter, [next.remove()]);
        }
        while let Some(output) = jitter.poll(now) {
            let Output::Picture { timestamp, .. } = output else { panic!("nothing was lost for good") };
            shown.push((at_ms, u64::from(timestamp) / 90));
        }
    }
    shown
}

#[test]
fn pictures_come_evenly_while_repairs_take_long() {
    let shown = shown(200, 300);
    assert_eq!(shown.len(), 300);
    let gaps: Vec<u64> = shown.windows(2).map(|two| two[1].0 - two[0].0).collect();
    assert_eq!(gaps[..11].iter().max(), Some(&233), "the first repair stops the picture");
    assert!(gaps[11..].iter().all(|gap| *gap < 110), "the later ones do not: {gaps:?}");
    let delays = shown.iter().map(|(at, captured)| at - captured);
    assert!(delays.max().unwrap() <= 201, "none is later than its repair: {shown:?}");
}

#[test]
fn quick_repairs_hold_nothing_back() {
    let shown = shown(40, 100);
    assert!(shown.iter().filter(|(at, captured)| at == captured).count() >= 80, "{shown:?}");
}
