//! Calls in a network that is bad on purpose.

use super::*;
use crate::impair::Impairments;

const SECOND: Duration = Duration::from_secs(1);

fn impairments(text: &str) -> Impairments {
    text.parse().unwrap()
}

/// A call of one whose network is that of the handle.
async fn standing_in(network: &ImpairHandle) -> Call {
    Call::standing(&PeerConfig { impairments: network.clone(), ..talking() }, &talking()).await
}

#[tokio::test]
async fn a_network_that_stalls_is_silent_and_brings_everything_in_the_end() {
    let network = ImpairHandle::default();
    let mut call = standing_in(&network).await;
    call.run(SECOND).await;
    let before = call.alice.sequences.len();
    network.set(impairments("down:stall=1500ms"));
    call.until("silence", 2 * SECOND, |call| call.alice.was_told("Silent") > 0).await;
    assert!(call.alice.sequences.len() <= before + 2, "nothing comes while it stalls");
    call.until("its end", 2 * SECOND, |call| call.alice.was_told("Heard") > 0).await;
    call.run(SECOND / 2).await;
    let jumps = call.alice.sequences.windows(2).filter(|pair| pair[1].wrapping_sub(pair[0]) != 1).count();
    assert_eq!((jumps, call.bob.was_told("Silent")), (0, 0), "sound that waited came, in order");
    call.end().await;
}

#[tokio::test]
async fn an_ice_restart_does_not_get_out_of_the_network() {
    let network = ImpairHandle::default();
    let mut call = standing_in(&network).await;
    network.set(impairments("loss=100%"));
    call.until("silence", 2 * SECOND, |call| call.alice.was_told("Silent") > 0).await;
    call.update(Renewal::IceRestart).await;
    let since = Instant::now();
    call.run(2 * SECOND).await;
    assert!(!call.alice.hears_and_sees_since(since + SECOND / 2) && !call.bob.hears_and_sees_since(since + SECOND / 2));
    network.set(Impairments::default());
    call.until_healed(3 * SECOND).await;
    call.end().await;
}
