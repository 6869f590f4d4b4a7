//! Updates that cannot be used are errors, and the call goes on.

use super::*;

/// A description that can be used, broken in many ways.
fn broken(sdp: &str) -> Vec<String> {
    let one_line_less = (0..sdp.lines().count()).filter_map(|left_out| {
        let line = sdp.lines().nth(left_out)?;
        // Without these there is nothing to agree on, nothing to check, or nowhere to put it.
        let needed = ["m=", "a=mid:0", "a=mid:1", "a=fingerprint:"].iter().any(|start| line.starts_with(start));
        let lines = sdp.lines().enumerate().filter(|(index, _)| *index != left_out);
        needed.then(|| lines.map(|(_, line)| format!("{line}\r\n")).collect::<String>())
    });
    let fingerprint = values(sdp, "a=fingerprint:").into_iter().next().unwrap();
    let (name, digits) = fingerprint.split_once(' ').unwrap();
    let turned: String = digits.chars().rev().collect();
    let mut all: Vec<String> = one_line_less.collect();
    all.extend([
        String::new(),
        "v=0".to_owned(),
        "\u{0}\u{1}\u{2}".to_owned(),
        "m=audio".repeat(1000),
        sdp[..sdp.len() / 2].to_owned(),
        sdp.replace(fingerprint, &format!("{name} {turned}")),
        sdp.replace("a=ice-pwd:", "a=ice-pwd:x x"),
        sdp.replace("a=ice-ufrag:", "a=ice-ufrag"),
        sdp.replace("a=mid:1", "a=mid:0"),
        sdp.replace("m=video", "m=audio"),
        sdp.replace("\r\nm=", "\r\na=m="),
        sdp.replace("a=sendrecv", "a=both"),
        sdp.replace("UDP/TLS/RTP/SAVPF", "UDP/TLS/RTP/SAVPF x"),
    ]);
    all
}

#[tokio::test]
async fn a_broken_offer_changes_nothing() {
    let mut call = Call::standing(&talking(), &talking()).await;
    let offer = call.alice.peer.update_offer(Renewal::Media).await.unwrap();
    let told = call.bob.told.len();
    let mut refused = 0;
    // Only the engine sees what is wrong with the last one.
    let misnumbered = offer.sdp.replace("a=extmap:", "a=extmap:x");
    for garbage in broken(&offer.sdp).into_iter().chain([misnumbered]) {
        match call.bob.peer.answer_update(&garbage).await {
            Err(_) => refused += 1,
            Ok(_) => panic!("taken: {garbage}"),
        }
    }
    assert!(refused > 15);
    call.until_healed(Duration::from_millis(500)).await;
    assert_eq!(call.bob.told.len(), told, "{:?}", call.bob.told);
    call.update(Renewal::Media).await;
    call.update(Renewal::IceRestart).await;
    call.until_healed(Duration::from_secs(2)).await;
    call.end().await;
}

#[tokio::test]
async fn a_broken_answer_changes_nothing_and_a_good_one_may_follow() {
    let mut call = Call::standing(&talking(), &talking()).await;
    assert!(call.alice.peer.apply_update("").await.is_err(), "none was asked for");
    for renewal in [Renewal::Media, Renewal::IceRestart] {
        let offer = call.alice.peer.update_offer(renewal).await.unwrap();
        let (answer, at_bob) = call.bob.peer.answer_update(&offer.sdp).await.unwrap();
        for garbage in broken(&answer.sdp) {
            assert!(call.alice.peer.apply_update(&garbage).await.is_err(), "taken: {garbage}");
        }
        if renewal == Renewal::Media {
            call.until_healed(Duration::from_millis(500)).await;
        }
        let at_alice = call.alice.peer.apply_update(&answer.sdp).await.unwrap();
        call.bob.peer.add_candidates(offer.candidates).await;
        call.alice.peer.add_candidates(answer.candidates).await;
        call.start(&at_alice, &at_bob);
        call.until_healed(Duration::from_secs(2)).await;
    }
    call.end().await;
}

#[tokio::test]
async fn updates_out_of_turn_are_refused() {
    let early = Side::at(Place::at(31), &talking()).await;
    assert!(early.peer.update_offer(Renewal::IceRestart).await.is_err());
    let offer = early.peer.offer().await.unwrap();
    assert!(early.peer.answer_update(&offer.sdp).await.is_err());
    assert!(early.peer.apply_update(&offer.sdp).await.is_err());
    early.peer.close().await;

    let mut call = Call::standing(&talking(), &talking()).await;
    let ours = call.alice.peer.update_offer(Renewal::Media).await.unwrap();
    let theirs = call.bob.peer.update_offer(Renewal::Media).await.unwrap();
    assert!(call.alice.peer.answer_update(&theirs.sdp).await.is_err(), "both at once");
    assert!(call.bob.peer.answer_update(&ours.sdp).await.is_err(), "both at once");
    call.until_healed(Duration::from_millis(500)).await;
    call.end().await;
}
