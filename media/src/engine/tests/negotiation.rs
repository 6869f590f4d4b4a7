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

/// A call whose descriptions another make would write so: `offer` and `answer` are changed on their way.
async fn agree(offer: impl Fn(&str) -> String, answer: impl Fn(&str) -> String) -> (Negotiated, Negotiated, String) {
    let (alice, bob) = (peer(talking()).await, peer(talking()).await);
    let sent = alice.offer().await.unwrap();
    let (answered, at_bob) = bob.answer(&offer(&sent.sdp)).await.unwrap();
    let at_alice = alice.apply_answer(&answer(&answered.sdp)).await.unwrap();
    alice.close().await;
    bob.close().await;
    (at_alice, at_bob, answered.sdp)
}

fn same(sdp: &str) -> String {
    sdp.to_owned()
}

/// The description with its section of pictures refused, and nothing more said of it.
fn refused(sdp: &str, payload_type: &str) -> String {
    format!("{}m=video 0 UDP/TLS/RTP/SAVPF {payload_type}\r\n", &sdp[..sdp.find("m=video").unwrap()])
}

#[tokio::test]
async fn a_section_that_is_refused_without_a_word_more_leaves_the_other() {
    for payload_type in ["0", "102"] {
        let (at_alice, _, _) = agree(same, |answer| refused(answer, payload_type)).await;
        assert_eq!((at_alice.video, at_alice.audio), (None, Some(111)), "answer, {payload_type}");
        let (_, at_bob, answer) = agree(|offer| refused(offer, payload_type), |answer| refused(answer, "0")).await;
        assert_eq!((at_bob.video, at_bob.audio), (None, Some(111)), "offer, {payload_type}");
        assert_eq!(answer.matches("\nm=").count(), 2, "{answer}");
        assert!(answer.contains(&format!("m=video 0 UDP/TLS/RTP/SAVPF {payload_type}\r\n")), "{answer}");
    }
}

#[tokio::test]
async fn who_offers_to_begin_dtls_is_let() {
    let active = |offer: &str| offer.replace("a=setup:actpass", "a=setup:active");
    let (_, _, answer) = agree(active, same).await;
    assert!(answer.contains("a=setup:passive") && !answer.contains("a=setup:active"), "{answer}");
    let (_, _, answer) = agree(same, same).await;
    assert!(answer.contains("a=setup:active") && !answer.contains("a=setup:passive"), "{answer}");
}

#[tokio::test]
async fn of_several_fingerprints_one_must_be_known() {
    let with = |sdp: &str, hash: &str| {
        sdp.replacen("a=fingerprint:", &format!("a=fingerprint:{hash} AB:CD\r\na=fingerprint:"), 1)
    };
    agree(|offer| with(offer, "sha-512"), |answer| with(answer, "sha-384")).await;
    let (alice, bob) = (peer(talking()).await, peer(talking()).await);
    let offer = alice.offer().await.unwrap().sdp.replace("a=fingerprint:sha-256", "a=fingerprint:sha-512");
    let error = bob.answer(&offer).await.unwrap_err();
    assert!(error.to_string().contains("SHA-256"), "{error}");
    alice.close().await;
    bob.close().await;
}

/// The description as a side writes it that knows no copies of earlier packets, and has no wish about silence.
fn plain(sdp: &str) -> String {
    let known = |line: &&str| !line.starts_with("a=rtpmap:63 ") && !line.starts_with("a=fmtp:63 ");
    let lines: String = sdp.split_inclusive('\n').filter(known).collect();
    lines.replace("SAVPF 111 63\r\n", "SAVPF 111\r\n").replace(";usedtx=1", "")
}

#[tokio::test]
async fn copies_of_earlier_packets_are_agreed_on_where_both_know_them() {
    let (at_alice, at_bob, answer) = agree(same, same).await;
    assert!(answer.contains("a=rtpmap:63 red/48000/2\r\n") && answer.contains("a=fmtp:63 111/111\r\n"), "{answer}");
    let of = |agreed: &Negotiated| (agreed.audio, agreed.red, agreed.prefers_dtx);
    assert_eq!([of(&at_alice), of(&at_bob)], [(Some(111), Some(63), true); 2]);

    let (at_alice, at_bob, answer) = agree(plain, plain).await;
    assert_eq!([of(&at_alice), of(&at_bob)], [(Some(111), None, false); 2], "{answer}");
    let (at_alice, _, _) = agree(same, plain).await;
    assert_eq!(of(&at_alice), (Some(111), None, false));
}

#[tokio::test]
async fn copies_are_agreed_on_by_the_numbers_and_beside_the_wishes_of_the_offer() {
    let other = |sdp: &str| {
        let numbered = sdp.replace("SAVPF 111 63", "SAVPF 109 121").replace(":63 111/111", ":121 109/109");
        let numbered = numbered.replace(":111 ", ":109 ").replace(":63 ", ":121 ");
        numbered.replace("minptime=10;useinbandfec=1;usedtx=1", "minptime=20;useinbandfec=1;usedtx=0")
    };
    let (alice, bob) = (peer(talking()).await, peer(talking()).await);
    let offer = other(&alice.offer().await.unwrap().sdp);
    let (answer, at_bob) = bob.answer(&offer).await.unwrap();
    assert_eq!((at_bob.audio, at_bob.red, at_bob.prefers_dtx), (Some(109), Some(121), false), "{}", answer.sdp);
    alice.close().await;
    bob.close().await;
}
