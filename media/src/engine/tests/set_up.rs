//! Round trips of a set-up, over a line that takes time: each is worth more than all that a machine does.

use super::*;

/// One way, of each direction.
const ONE_WAY: &str = "delay=75ms";
const ROUND_TRIP: Duration = Duration::from_millis(150);

/// What a busy machine and the steps of a test add.
const SLACK: Duration = Duration::from_millis(100);

/// From the answer, which takes no time, to what alice and bob are told of the path, over a line that takes time.
async fn set_up(changed: fn(String) -> String) -> [(Duration, Duration); 2] {
    let network = ImpairHandle::new(ONE_WAY.parse().unwrap());
    let alice = PeerConfig { impairments: network, ..talking() };
    let began = Instant::now();
    let call = Call::with_offer([Place::at(11), Place::at(21)], &alice, &talking(), changed).await;
    let after = |side: &Side, event| side.told_at(event).unwrap().duration_since(began);
    let told = [&call.alice, &call.bob].map(|side| (after(side, "IceConnected"), after(side, "Connected")));
    call.end().await;
    told
}

/// One for a check and its answer, two for DTLS 1.2. The nominated side answers a nomination when its own check has
/// succeeded, so the other one has its path half a round trip later; it has keys sooner all the same.
#[tokio::test]
async fn a_call_stands_after_three_round_trips() {
    let [alice, bob] = set_up(|offer| offer).await;
    assert!(bob.0 < ROUND_TRIP + SLACK, "a path at bob: {bob:?}");
    assert!(alice.0 < ROUND_TRIP * 3 / 2 + SLACK, "a path at alice: {alice:?}");
    assert!(bob.1 < ROUND_TRIP * 3 + SLACK, "keys at bob: {bob:?}");
    assert!(alice.1 < ROUND_TRIP * 5 / 2 + SLACK, "keys at alice: {alice:?}");
}

/// A client that does not know the cookie is asked for it: one round trip more, and everything works.
#[tokio::test]
async fn a_client_of_another_make_is_asked_for_the_cookie() {
    let [_, bob] = set_up(handshake::without_cookie).await;
    let without = ROUND_TRIP * 3;
    assert!((without + ROUND_TRIP / 2..without + ROUND_TRIP + SLACK).contains(&bob.1), "keys at bob: {bob:?}");
}
