//! How a dead path is noticed, and that a restart is given its time.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_dead_path_is_told_at_once_and_a_lost_one_in_time() {
    let mut call = Call::standing(&talking(), &talking()).await;
    call.run(SECOND).await;
    assert_eq!((call.alice.was_told("Silent"), call.bob.was_told("Silent")), (0, 0));
    let cut_at = Instant::now();
    call.bob.place.cut();
    call.until("the loss", 12 * SECOND, |call| call.alice.was_told("Failed") > 0).await;
    let after = |event| call.alice.told_at(event).unwrap().duration_since(cut_at).as_millis();
    assert!((700..1300).contains(&after("Silent")), "{} ms", after("Silent"));
    assert!((1500..3000).contains(&after("Disconnected")), "{} ms", after("Disconnected"));
    assert!((9500..11_000).contains(&after("Failed")), "{} ms", after("Failed"));
    assert_eq!(call.alice.was_told("Silent"), 1);
    call.end().await;
}

#[tokio::test]
async fn a_silence_that_heals_is_told_again() {
    let mut call = Call::standing(&talking(), &talking()).await;
    for times in 1..=2 {
        call.bob.place.cut();
        call.until("silence", 2 * SECOND, |call| call.alice.was_told("Silent") == times).await;
        call.bob.place.mend();
        call.until_healed(SECOND).await;
    }
    assert_eq!(call.alice.was_told("Disconnected"), 0, "{:?}", call.alice.told);
    call.end().await;
}

#[tokio::test]
async fn a_held_call_and_one_that_has_not_begun_are_not_silent() {
    let mut held = Call::standing(&talking(), &talking()).await;
    held.run(SECOND / 2).await;
    held.alice.peer.expect_media(Expectation::Nothing);
    held.alice.place.cut();
    let mut early = Call::connected(&talking(), &talking()).await;
    early.alice.place.cut();
    for call in [&mut held, &mut early] {
        call.until("the interruption", 4 * SECOND, |call| call.alice.was_told("Disconnected") > 0).await;
        assert_eq!(call.alice.was_told("Silent"), 0, "{:?}", call.alice.told);
    }
    held.end().await;
    early.end().await;
}

#[tokio::test]
async fn a_restart_that_leads_nowhere_stalls_and_is_lost_in_the_end() {
    let mut call = Call::standing(&talking(), &talking()).await;
    call.run(SECOND / 2).await;
    call.bob.place.cut();
    call.until("silence", 2 * SECOND, |call| call.alice.was_told("Silent") > 0).await;
    let restarted = Instant::now();
    // Heard by nobody.
    let _offer = call.alice.peer.update_offer(Renewal::IceRestart).await.unwrap();
    call.until("the loss", 15 * SECOND, |call| call.alice.was_told("Failed") > 0).await;
    let after = |event| call.alice.told_at(event).unwrap().duration_since(restarted).as_millis();
    assert!((2900..3400).contains(&after("Stalled")), "{} ms", after("Stalled"));
    assert!((9900..10_600).contains(&after("Failed")), "{} ms", after("Failed"));
    assert_eq!((call.alice.was_told("Stalled"), call.alice.was_told("Silent")), (1, 1));

    // Too late for the session, which has hung up by now; the engine would still do it.
    call.bob.place.mend();
    call.update(Renewal::IceRestart).await;
    call.until_healed(2 * SECOND).await;
    call.end().await;
}
