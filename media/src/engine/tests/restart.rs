//! ICE restarts in mid-call: media go on over new sockets with the keys of before.

use rtc::stun::message::{BINDING_SUCCESS, Message};
use rtc::stun::xoraddr::XorMappedAddress;
use tokio::net::UdpSocket;

use super::*;
use crate::path::candidates::{IceCandidate, REMOTE_HOST_MAX};

#[tokio::test]
async fn media_go_on_after_a_restart_with_the_keys_of_before() {
    let mut call = Call::standing(&talking(), &talking()).await;
    call.run(Duration::from_millis(300)).await;
    let handshakes = call.handshakes();
    assert!(handshakes > 0);
    let before = call.alice.peer.update_offer(Renewal::Media).await.unwrap();
    let offer = call.alice.peer.update_offer(Renewal::IceRestart).await.unwrap();
    assert_eq!(values(&offer.sdp, "a=fingerprint:"), values(&before.sdp, "a=fingerprint:"));
    assert!(values(&offer.sdp, "a=ice-ufrag:").is_disjoint(&values(&before.sdp, "a=ice-ufrag:")));
    assert!(!offer.candidates.is_empty(), "candidates of the new sockets travel with the offer");

    call.update(Renewal::IceRestart).await;
    let since = Instant::now();
    while !call.alice.hears_and_sees_since(since) || !call.bob.hears_and_sees_since(since) {
        assert!(since.elapsed() < Duration::from_secs(2), "not healed");
        call.step().await;
        for side in [&call.alice, &call.bob] {
            assert_eq!(side.dtls().await, RTCDtlsTransportState::Connected);
        }
    }
    call.run(Duration::from_millis(500)).await;
    assert_eq!(call.handshakes(), handshakes, "DTLS went on as it was");
    // The stream goes on where it was; one that began anew would start anywhere in 2^15 numbers.
    for side in [&call.alice, &call.bob] {
        let jumps = side.sequences.windows(2).map(|pair| pair[1].wrapping_sub(pair[0]));
        assert!(jumps.clone().all(|jump| (1..200).contains(&jump)), "{:?}", jumps.max());
        assert_eq!((side.was_told("Failed"), side.was_told("Silent")), (0, 0));
    }
    call.end().await;
}

#[tokio::test]
async fn an_update_of_media_leaves_the_path_alone() {
    let mut call = Call::standing(&talking(), &talking()).await;
    let first = call.alice.peer.update_offer(Renewal::Media).await.unwrap();
    let second = call.alice.peer.update_offer(Renewal::Media).await.unwrap();
    assert_eq!(values(&first.sdp, "a=ice-ufrag:"), values(&second.sdp, "a=ice-ufrag:"));
    assert!(second.candidates.is_empty() && !second.sdp.contains("a=candidate"), "{}", second.sdp);
    let told = (call.alice.told.len(), call.bob.told.len());
    call.update(Renewal::Media).await;
    let gap = call.until_healed(Duration::from_millis(500)).await;
    call.run(Duration::from_millis(500)).await;
    assert_eq!((call.alice.told.len(), call.bob.told.len()), told, "{gap:?}");
    call.end().await;
}

#[tokio::test]
async fn the_caller_moves_to_another_address() {
    let mut call = Call::standing(&talking(), &talking()).await;
    call.run(Duration::from_millis(300)).await;
    let cut_at = Instant::now();
    call.alice.place.move_to(12);
    call.until("the change to be told", Duration::from_secs(1), |call| call.alice.was_told("NetworkChanged") > 0).await;
    call.update(Renewal::IceRestart).await;
    call.until_healed(Duration::from_secs(2)).await;
    assert!(cut_at.elapsed() < Duration::from_millis(1500), "{:?}", cut_at.elapsed());
    let address = stats::ends(&*call.alice.peer.connection).await.map(|ends| ends.from);
    assert_eq!(address, Some([127, 0, 0, 12].into()));
    call.run(Duration::from_millis(1200)).await;
    assert_eq!(call.alice.was_told("NetworkChanged"), 1, "{:?}", call.alice.told);
    assert_eq!(call.bob.was_told("NetworkChanged"), 0);
    call.end().await;
}

#[tokio::test]
async fn the_callee_moves_and_the_caller_offers() {
    let mut call = Call::standing(&talking(), &talking()).await;
    let cut_at = Instant::now();
    call.bob.place.move_to(22);
    call.until("the change to be told", Duration::from_secs(1), |call| call.bob.was_told("NetworkChanged") > 0).await;
    call.update(Renewal::IceRestart).await;
    call.until_healed(Duration::from_secs(2)).await;
    assert!(cut_at.elapsed() < Duration::from_millis(1500), "{:?}", cut_at.elapsed());
    let address = stats::ends(&*call.bob.peer.connection).await.map(|ends| ends.from);
    assert_eq!(address, Some([127, 0, 0, 22].into()));
    call.end().await;
}

#[tokio::test]
async fn an_update_that_was_lost_may_be_followed_by_another() {
    let mut call = Call::standing(&talking(), &talking()).await;
    let _lost = call.alice.peer.update_offer(Renewal::IceRestart).await.unwrap();
    call.run(Duration::from_millis(300)).await;
    // The path is gone with the first: the second has to renew it whatever it was asked for.
    let offer = call.alice.peer.update_offer(Renewal::Media).await.unwrap();
    assert!(!offer.candidates.is_empty());
    call.update(Renewal::Media).await;
    call.until_healed(Duration::from_secs(2)).await;
    call.end().await;
}

#[tokio::test]
async fn candidates_are_counted_anew_for_each_restart() {
    let mut call = Call::standing(&talking(), &talking()).await;
    let flood = || {
        // Port 9 of an address that nobody here listens on.
        let candidate = |n: usize| format!("candidate:{n} 1 udp 2130706431 127.0.0.{} 9 typ host", 100 + n);
        let candidate = |n| IceCandidate { candidate: candidate(n), mid: None, mline: Some(0) };
        (0..=REMOTE_HOST_MAX).map(candidate).collect::<Vec<_>>()
    };
    assert!(call.bob.peer.add_candidates(flood()).await > 1, "those of the first path count");
    call.update(Renewal::IceRestart).await;
    let left_out = call.bob.peer.add_candidates(flood()).await;
    assert!((1..8).contains(&left_out), "{left_out}");
    call.until_healed(Duration::from_secs(2)).await;
    call.end().await;
}

#[tokio::test]
async fn candidates_are_trickled_after_a_restart() {
    let (server, url) = slow_stun_server().await;
    let alice = PeerConfig {
        ice_servers: vec![IceServer { url, username: String::new(), password: String::new() }],
        ..talking()
    };
    let mut call = Call::standing(&alice, &talking()).await;
    let reflexive = |side: &Side| side.trickled.iter().filter(|candidate| candidate.contains("typ srflx")).count();
    call.until("the first", Duration::from_secs(3), |call| reflexive(&call.alice) > 0).await;
    call.alice.trickled.clear();
    call.update(Renewal::IceRestart).await;
    call.until_healed(Duration::from_secs(2)).await;
    call.until("another", Duration::from_secs(3), |call| reflexive(&call.alice) > 0).await;
    call.end().await;
    server.abort();
}

/// A STUN server that takes its time, so that what it says comes after the description is out.
async fn slow_stun_server() -> (tokio::task::JoinHandle<()>, IceUrl) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("stun:{}", socket.local_addr().unwrap()).parse().unwrap();
    let serving = tokio::spawn(async move {
        let mut buffer = [0; 1500];
        loop {
            let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
            let mut request = Message { raw: buffer[..length].to_vec(), ..Message::default() };
            request.decode().unwrap();
            let mut response = Message::new();
            let mapped = XorMappedAddress { ip: Ipv4Addr::new(127, 0, 0, 77).into(), port: 7 };
            response.build(&[Box::new(request.transaction_id), Box::new(BINDING_SUCCESS), Box::new(mapped)]).unwrap();
            tokio::time::sleep(Duration::from_millis(300)).await;
            socket.send_to(&response.raw, from).await.unwrap();
        }
    });
    (serving, url)
}
