//! What offer and answer agree on, and that packets would follow it.

use super::*;

/// A peer on this machine's own network.
async fn peer(config: PeerConfig) -> Peer {
    let (video, _) = queue::bounded(1);
    let (audio, _) = queue::bounded(1);
    Peer::new(&PeerConfig { loopback: Loopback::Include, ..config }, Inbox { video, audio }).await.unwrap().0
}

/// What both sides hold agreed: the caller's view and the callee's.
async fn negotiate(caller: PeerConfig, callee: PeerConfig) -> (Negotiated, Negotiated) {
    let (alice, bob) = (peer(caller).await, peer(callee).await);
    let offer = alice.offer().await.unwrap();
    let (answer, at_bob) = bob.answer(&offer.sdp).await.unwrap();
    let at_alice =
        alice.apply_answer(&answer.sdp).await.unwrap_or_else(|error| panic!("{error}\n{}\n{}", offer.sdp, answer.sdp));
    assert!(at_alice.video.is_some(), "offer\n{}\nanswer\n{}", offer.sdp, answer.sdp);
    alice.close().await;
    bob.close().await;
    (at_alice, at_bob)
}

#[tokio::test]
async fn the_codec_both_speak_is_found_whatever_the_order_and_direction() {
    use Direction::{ReceiveOnly, SendReceive};
    use VideoCodec::{H264, Vp8};
    for (offered, accepted, expected) in [
        (&[H264, Vp8][..], &[H264, Vp8][..], H264),
        (&[H264, Vp8], &[Vp8], Vp8),
        (&[Vp8], &[H264, Vp8], Vp8),
        (&[Vp8, H264], &[H264], H264),
    ] {
        for caller in [SendReceive, ReceiveOnly] {
            for callee in [SendReceive, ReceiveOnly] {
                let (at_alice, at_bob) = negotiate(config(offered, caller), config(accepted, callee)).await;
                let case = format!("{offered:?} {caller:?} with {accepted:?} {callee:?}");
                assert_eq!(at_alice.video.map(|(codec, _)| codec), Some(expected), "{case}");
                assert_eq!(at_bob.video, at_alice.video, "{case}");
                assert_eq!(at_alice.granted.video, caller == SendReceive, "{case}");
                assert_eq!(at_bob.granted.video, callee == SendReceive, "{case}");
                assert_eq!((at_alice.promised, at_bob.promised), (at_bob.granted, at_alice.granted), "{case}");
            }
        }
    }
}
