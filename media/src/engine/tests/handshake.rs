//! Flights of the DTLS handshake are lost on purpose: each is sent again long before the engine would do it.

use super::relay::Server;
use super::*;
use crate::path::dtls;

/// Of a handshake in which one flight is lost once: it is sent again after 50 ms, the engine would wait for a second.
const ONE_LOST_MAX: Duration = Duration::from_millis(600);

/// Lost three times, it gets through after 350 ms.
const THREE_LOST_MAX: Duration = Duration::from_millis(900);

/// Which flight (RFC 6347 §4.2.4, the client's first is 1) a datagram begins, also inside what is relayed. By the first
/// record's type, and by type and number of the first handshake message.
pub(super) fn flight(datagram: &[u8]) -> Option<u8> {
    match dtls::carried(datagram) {
        [20, 254, ..] => Some(6),
        [22, 254, _, 0, 0, _, _, _, _, _, _, _, _, kind, _, _, _, _, number, ..] => match (*kind, *number) {
            (1, 0) => Some(1),
            (3, _) => Some(2),
            (1, _) => Some(3),
            (2, _) => Some(4),
            _ => Some(5),
        },
        _ => None,
    }
}

/// How a client of another make reads an offer: it does not know the cookie.
pub(super) fn without_cookie(offer: String) -> String {
    let others = |line: &&str| !line.starts_with("a=tring-dtls-cookie:");
    offer.split_inclusive('\n').filter(others).collect()
}

/// How long it takes from a path to a call, when each of these flights is lost so many times; bob is the client, and knows
/// nothing of cookies that are told.
async fn handshake_without(lost: &[(u8, u32)], alice: &PeerConfig, bob: &PeerConfig) -> Duration {
    shorter_handshake_without(lost, alice, bob, without_cookie).await
}

/// The same with the offer changed so.
async fn shorter_handshake_without(
    lost: &[(u8, u32)],
    alice: &PeerConfig,
    bob: &PeerConfig,
    changed: fn(String) -> String,
) -> Duration {
    let places = [Place::at(11), Place::at(21)];
    for place in &places {
        *place.gate.lost.lock().unwrap() = lost.iter().copied().collect();
    }
    let call = Call::with_offer(places, alice, bob, changed).await;
    for side in [&call.alice, &call.bob] {
        assert_eq!(side.dtls().await, RTCDtlsTransportState::Connected);
    }
    let left: u32 =
        [&call.alice, &call.bob].iter().map(|side| side.place.gate.lost.lock().unwrap().values().sum::<u32>()).sum();
    let wanted: u32 = lost.iter().map(|(_, times)| times).sum();
    assert_eq!(left, wanted, "each is lost on one side, and never sent by the other");
    let at = |side: &Side, event| side.told_at(event).unwrap();
    let began = at(&call.alice, "IceConnected").min(at(&call.bob, "IceConnected"));
    let took = at(&call.alice, "Connected").max(at(&call.bob, "Connected")).duration_since(began);
    call.end().await;
    took
}

#[tokio::test]
async fn each_flight_may_be_lost() {
    for number in 1..=6 {
        let took = handshake_without(&[(number, 1)], &talking(), &talking()).await;
        assert!(took < ONE_LOST_MAX, "flight {number} lost once: {took:?}");
    }
}

#[tokio::test]
async fn each_flight_may_be_lost_three_times() {
    for number in 1..=6 {
        let took = handshake_without(&[(number, 3)], &talking(), &talking()).await;
        assert!(took < THREE_LOST_MAX, "flight {number} lost three times: {took:?}");
    }
}

#[tokio::test]
async fn every_flight_may_be_lost_once() {
    let lost = [(1, 1), (2, 1), (3, 1), (4, 1), (5, 1), (6, 1)];
    let took = handshake_without(&lost, &talking(), &talking()).await;
    assert!(took < THREE_LOST_MAX, "{took:?}");
}

/// Flights that carry the cookie do not leave, so they are not lost either; of the others each may be.
#[tokio::test]
async fn the_cookie_takes_no_round_trip() {
    for number in 3..=6 {
        let took = shorter_handshake_without(&[(number, 1)], &talking(), &talking(), |offer| offer).await;
        assert!(took < ONE_LOST_MAX, "flight {number} lost once: {took:?}");
    }
    let places = [Place::at(11), Place::at(21)];
    for place in &places {
        *place.gate.lost.lock().unwrap() = [(1, 1), (2, 1)].into();
    }
    let call = Call::between(places, &talking(), &talking()).await;
    for side in [&call.alice, &call.bob] {
        assert_eq!(side.place.gate.lost.lock().unwrap().values().sum::<u32>(), 2, "neither was sent");
        assert_eq!(side.dtls().await, RTCDtlsTransportState::Connected);
    }
    call.end().await;
}

#[tokio::test]
async fn a_relayed_handshake_takes_no_round_trip_for_the_cookie() {
    let server = Server::start();
    let client = server.client();
    for number in 3..=6 {
        let took = shorter_handshake_without(&[(number, 1)], &client, &client, |offer| offer).await;
        assert!(took < ONE_LOST_MAX, "flight {number} lost once: {took:?}");
    }
}

/// To the TURN server a flight goes inside of a Send indication or a channel.
#[tokio::test]
async fn a_relayed_flight_may_be_lost() {
    let server = Server::start();
    let client = server.client();
    for number in 1..=6 {
        let took = handshake_without(&[(number, 1)], &client, &client).await;
        assert!(took < ONE_LOST_MAX, "flight {number} lost once: {took:?}");
    }
}

/// When the engine has waited for a second, it sends its own copy of the client's flight. That stops the timer of the
/// server's engine, which then never sends its flight again.
#[tokio::test]
async fn a_flight_may_be_lost_for_longer_than_the_engine_waits() {
    let took = handshake_without(&[(4, 8)], &talking(), &talking()).await;
    assert!((Duration::from_secs(1)..Duration::from_secs(4)).contains(&took), "{took:?}");
}
