//! Media that are sent, and not, and again, in one call.

use super::*;

fn listening() -> PeerConfig {
    config(&[VideoCodec::Vp8], Direction::ReceiveOnly)
}

#[tokio::test]
async fn a_call_gains_pictures_and_loses_them_again() {
    use Direction::{ReceiveOnly, SendReceive};
    let mut call = Call::standing(&listening(), &listening()).await;
    call.run(Duration::from_millis(300)).await;
    assert_eq!((call.alice.video_heard.1, call.bob.video_heard.1), (0, 0));

    call.alice.peer.set_sending(SendReceive, SendReceive);
    let (at_alice, at_bob) = call.update(Renewal::Media).await;
    assert!(at_alice.granted.video && at_bob.promised.video && !at_bob.granted.video && !at_alice.promised.video);
    call.until("pictures of the caller", Duration::from_secs(2), |call| call.bob.video_heard.1 > 10).await;
    assert_eq!(call.alice.video_heard.1, 0);

    call.bob.peer.set_sending(SendReceive, SendReceive);
    let (at_alice, at_bob) = call.update(Renewal::Media).await;
    assert!(at_bob.granted.video && at_alice.promised.video && at_alice.granted.video);
    call.until("pictures of the callee", Duration::from_secs(2), |call| call.alice.video_heard.1 > 10).await;

    call.alice.peer.set_sending(ReceiveOnly, SendReceive);
    let (at_alice, at_bob) = call.update(Renewal::Media).await;
    assert!(!at_alice.granted.video && !at_bob.promised.video && at_bob.granted.video);
    call.run(Duration::from_millis(200)).await;
    let seen = call.bob.video_heard.1;
    let heard = call.bob.audio_heard.1;
    let of_callee = call.alice.video_heard.1;
    call.run(Duration::from_millis(500)).await;
    assert_eq!(call.bob.video_heard.1, seen, "the caller sends no pictures any more");
    assert!(call.bob.audio_heard.1 > heard && call.alice.video_heard.1 > of_callee, "the rest goes on");

    call.alice.peer.set_sending(SendReceive, SendReceive);
    call.update(Renewal::IceRestart).await;
    call.until_healed(Duration::from_secs(2)).await;
    // Sound was sent from one end to the other of all this, by one stream.
    let jumps = call.bob.sequences.windows(2).map(|pair| pair[1].wrapping_sub(pair[0]));
    assert!(jumps.clone().all(|jump| (1..200).contains(&jump)), "{:?}", jumps.max());
    call.end().await;
}

#[tokio::test]
async fn sound_may_come_and_go_too() {
    use Direction::{ReceiveOnly, SendReceive};
    let silent = PeerConfig { audio: ReceiveOnly, ..talking() };
    let mut call = Call::connected(&silent, &talking()).await;
    call.until("pictures", Duration::from_secs(2), |call| call.bob.video_heard.1 > 10).await;
    assert_eq!(call.bob.audio_heard.1, 0);
    call.alice.peer.set_sending(SendReceive, SendReceive);
    call.update(Renewal::Media).await;
    call.until_healed(Duration::from_secs(2)).await;
    call.end().await;
}

/// A browser says `inactive` for a medium that pauses both ways.
#[tokio::test]
async fn a_section_that_paused_comes_back() {
    let mut call = Call::standing(&talking(), &talking()).await;
    let offer = call.alice.peer.update_offer(Renewal::Media).await.unwrap();
    let at = offer.sdp.find("m=video").unwrap();
    let paused = format!("{}{}", &offer.sdp[..at], offer.sdp[at..].replace("a=sendrecv", "a=inactive"));
    let (answer, at_bob) = call.bob.peer.answer_update(&paused).await.unwrap();
    assert_eq!(values(&answer.sdp, "a=inactive").len(), 1, "{}", answer.sdp);
    assert!(!at_bob.granted.video && !at_bob.promised.video && at_bob.granted.audio);
    let at_alice = call.alice.peer.apply_update(&answer.sdp).await.unwrap();
    assert!(!at_alice.granted.video && !at_alice.promised.video);
    call.start(&at_alice, &at_bob);
    call.run(Duration::from_millis(200)).await;
    let seen = (call.alice.video_heard.1, call.bob.video_heard.1);
    call.run(Duration::from_millis(300)).await;
    assert_eq!((call.alice.video_heard.1, call.bob.video_heard.1), seen);
    call.update(Renewal::Media).await;
    call.until_healed(Duration::from_secs(2)).await;
    call.end().await;
}

/// The answer goes by the broker, and what its author sends does not.
#[tokio::test]
async fn the_first_packets_of_a_new_stream_come_though_they_overtake_the_answer() {
    let silent = config(&[VideoCodec::Vp8], Direction::ReceiveOnly);
    let mut call = Call::standing(&talking(), &silent).await;
    call.bob.peer.set_sending(Direction::SendReceive, Direction::SendReceive);
    let offer = call.alice.peer.update_offer(Renewal::Media).await.unwrap();
    let (answer, at_bob) = call.bob.peer.answer_update(&offer.sdp).await.unwrap();
    call.bob.sender = Some(call.bob.peer.start_sending(&at_bob));
    call.run(Duration::from_millis(100)).await;
    call.bob.sender = None;
    tokio::time::sleep(Duration::from_millis(200)).await;
    call.alice.receive();
    assert_eq!(call.alice.video_heard.1, 0, "nobody knows yet what they are");
    let at_alice = call.alice.peer.apply_update(&answer.sdp).await.unwrap();
    call.alice.peer.add_candidates(answer.candidates).await;
    assert!(at_alice.promised.video);
    // At least two pictures of three packets; none is sent any more.
    call.until("the first packets", Duration::from_secs(2), |call| call.alice.video_heard.1 >= 6).await;
    call.end().await;
}
