//! Sound with copies of earlier packets, and sound of which silence is left out.

use super::*;
use crate::rtp::payload::red::Red;

/// A packet of 20 ms.
fn sound(data: &'static [u8]) -> EncodedAudio {
    EncodedAudio { data: data.into(), samples: 960, captured_at: Instant::now() }
}

#[tokio::test]
async fn copies_come_with_later_packets() {
    let mut call = Call::standing(&talking(), &talking()).await;
    let (mut plain, mut redundant) = (0, Vec::new());
    for _ in 0..50 {
        tokio::time::sleep(STEP).await;
        call.alice.sender.as_ref().unwrap().audio(sound(b"voice"), Copies::LastAndFourth);
        while let Some(packet) = call.bob.audio.try_recv() {
            match packet.payload_type {
                63 => redundant.push(Red::read(&packet.payload).unwrap()),
                _ => plain += 1,
            }
        }
    }
    assert!(redundant.len() > 30, "{} and {plain} without copies", redundant.len());
    let last = redundant.last().unwrap();
    let copies: Vec<_> = last.copies.iter().map(|copy| (copy.payload_type, copy.age, &copy.data[..])).collect();
    assert_eq!(copies, [(111, 3840, &b"voice"[..]), (111, 960, b"voice")]);
    assert_eq!((last.payload_type, &last.data[..]), (111, &b"voice"[..]));
    call.bob.receive();
    call.end().await;
}

#[tokio::test]
async fn a_peer_whose_silence_is_left_out_is_not_taken_for_a_dead_path() {
    let mut call = Call::standing(&talking(), &talking()).await;
    call.run(Duration::from_millis(200)).await;
    let before = call.bob.audio_heard.1;
    // No pictures either.
    for step in 0..100 {
        tokio::time::sleep(STEP).await;
        call.alice.sender.as_ref().unwrap().audio(sound(&[8]), Copies::LastAndFourth);
        call.bob.step(step, &call.alice.peer).await;
    }
    let came = call.bob.audio_heard.1 - before;
    assert!((6..=20).contains(&came), "{came} packets in 2 s");
    assert_eq!(call.bob.was_told("Silent"), 0, "{:?}", call.bob.told);
    call.end().await;
}
