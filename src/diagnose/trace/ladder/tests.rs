use super::*;

pub(in crate::diagnose::trace) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn id(text: &str) -> PeerId {
    text.parse().unwrap()
}

fn message(at: u64, from: &str, to: &str, content: Content) -> Message {
    let to = (!to.is_empty()).then(|| id(to));
    Message { at: ms(at), from: id(from), to, bytes: 100, content }
}

pub(in crate::diagnose::trace) fn said(
    at: u64,
    from: &str,
    to: &str,
    call: &str,
    number: &str,
    name: &'static str,
    words: &str,
) -> Message {
    let call = Some(call.to_owned().try_into().unwrap());
    let number = Some(number.to_owned().try_into().unwrap());
    message(at, from, to, Content::Said { call, id: number, name, words: words.into() })
}

pub(in crate::diagnose::trace) fn ack(at: u64, from: &str, to: &str, of: &str) -> Message {
    message(at, from, to, Content::Ack { of: of.to_owned().try_into().unwrap() })
}

fn presence(at: u64, peer: &str, state: PresenceState, retained: bool) -> Message {
    message(at, peer, "", Content::Presence { state: Some(state), retained })
}

fn check(drawn: &str, expected: &[&str]) {
    let lines: Vec<&str> = drawn.lines().collect();
    assert_eq!(lines, expected, "drawn:\n{drawn}");
}

#[test]
fn a_call_of_two() {
    let messages = [
        presence(0, "bob", PresenceState::Available, true),
        said(10, "alice", "bob", "0123456789abcdef", "1-1", "offer", "vp8 and opus; 1 candidate (host)"),
        ack(14, "bob", "alice", "1-1"),
        said(16, "bob", "alice", "0123456789abcdef", "2-1", "ringing", ""),
        said(17, "alice", "bob", "0123456789abcdef", "1-2", "candidates", "no more will come"),
        ack(18, "alice", "bob", "2-1"),
        ack(19, "bob", "alice", "1-2"),
        presence(300, "bob", PresenceState::Busy, false),
        presence(301, "bob", PresenceState::Busy, false),
        said(2010, "alice", "bob", "0123456789abcdef", "1-3", "bye", "hung up"),
    ];
    check(
        &draw(&messages),
        &[
            "call 01234567: alice → bob",
            "                  alice                          bob  acknowledged",
            "   +0.000 s         │── offer ───────────────────▶│   4 ms          vp8 and opus; 1 candidate (host)",
            "   +0.006 s         │◀───────────────── ringing ──│   2 ms",
            "   +0.007 s         │── candidates ──────────────▶│   2 ms          no more will come",
            "   +0.290 s         │                             ● busy",
            "   +2.000 s         │── bye ─────────────────────▶│   none          hung up",
        ],
    );
}

#[test]
fn what_is_said_again_and_what_nobody_can_read() {
    let unreadable = Content::Unreadable { why: "no message of this protocol".into() };
    let messages = [
        said(0, "alice", "bob", "1", "1-1", "offer", "vp8"),
        said(1000, "alice", "bob", "1", "1-1", "offer", "vp8"),
        ack(1002, "bob", "alice", "1-1"),
        ack(1003, "bob", "alice", "1-1"),
        said(1004, "alice", "bob", "1", "1-1", "offer", "vp8"),
        message(1005, "mallory", "bob", unreadable),
        ack(1006, "bob", "alice", "9-9"),
    ];
    check(
        &draw(&messages),
        &[
            "call 1: alice → bob",
            "                  alice                          bob                         mallory  acknowledged",
            "   +0.000 s         │── offer ───────────────────▶│                             │     1.00 s        vp8",
            "   +1.000 s         │── offer ───────────────────▶│                             │     3 ms          sent again (×2)",
            "   +1.004 s         │── offer ───────────────────▶│                             │     none          duplicate (×3)",
            "   +1.005 s         │                             │◀────────────── unreadable ──│                   100 bytes: no message of this protocol",
            "   +1.006 s         │◀───────────────────── ack ──│                             │                   of a message that was not seen",
        ],
    );
}

#[test]
fn two_calls_at_once_and_an_arrow_over_a_lifeline() {
    let messages = [
        said(0, "alice", "bob", "1", "1-1", "offer", "vp8"),
        ack(1, "bob", "alice", "1-1"),
        said(10, "carol", "alice", "2", "3-1", "offer", "h264"),
        ack(12, "alice", "carol", "3-1"),
        said(20, "bob", "alice", "1", "2-1", "ringing", ""),
    ];
    check(
        &draw(&messages),
        &[
            "call 1: alice → bob",
            "                  alice                          bob                          carol  acknowledged",
            "   +0.000 s         │── offer ───────────────────▶│                             │    1 ms          vp8",
            "",
            "call 2: carol → alice",
            "   +0.000 s         │◀────────────────────────────┼──────────────────── offer ──│    2 ms          h264",
            "",
            "call 1 goes on",
            "   +0.020 s         │◀───────────────── ringing ──│                             │    none",
        ],
    );
}

#[test]
fn wide_names_are_cut_and_more_peers_than_columns_are_told_in_words() {
    let wide = "w".repeat(64);
    let drawn = draw(&[said(0, &wide, "bob", "1", "1-1", "offer", "")]);
    let head = drawn.lines().nth(1).unwrap();
    assert!(head.contains(&format!(" {}… ", "w".repeat(GAP_OF_FEW - 3))), "{head}");
    let pairs = (0..COLUMNS_MAX).map(|n| said(0, &format!("p{n}"), "p0", "1", &format!("{n}"), "bye", ""));
    let mut messages: Vec<Message> = pairs.collect();
    messages.push(said(1, "late", "p0", "1", "9", "bye", "busy"));
    let drawn = draw(&messages);
    let last = drawn.lines().last().unwrap();
    assert!(last.ends_with("late → p0: bye busy"), "{last}");
    assert_eq!(last.matches('│').count(), COLUMNS_MAX, "{last}");
}

#[test]
fn a_topic_without_a_listener_is_a_mark_unless_the_listener_is_known() {
    let offer =
        |to| message(0, "alice", to, Content::Said { call: None, id: None, name: "offer", words: "vp8".into() });
    check(
        &draw(&[offer("")]),
        &["                  alice  acknowledged", "   +0.000 s         ● offer               vp8"],
    );
    assert!(draw(&[offer("bob")]).contains("│── offer ─"), "{}", draw(&[offer("bob")]));
}

#[test]
fn a_line_waits_for_its_acknowledgement_and_not_for_ever() {
    let mut ladder = Ladder::of(&[id("bob"), id("alice")]);
    ladder.take(&said(0, "alice", "bob", "1", "1-1", "offer", "vp8"));
    ladder.take(&said(5, "bob", "alice", "1", "2-1", "ringing", ""));
    ladder.take(&ack(6, "alice", "bob", "2-1"));
    assert!(ladder.ready(ms(999)).is_empty(), "the second waits behind the first");
    assert_eq!(ladder.due(), Some(ms(1000)));
    let lines = ladder.ready(ms(1000));
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert!(lines[1].find("bob") < lines[1].find("alice"), "columns in the order asked for: {}", lines[1]);
    assert!(lines[2].ends_with("not yet       vp8") && lines[3].ends_with("1 ms"), "{lines:?}");
    ladder.take(&ack(1250, "bob", "alice", "1-1"));
    let lines = ladder.ready(ms(1250));
    assert!(matches!(&lines[..], [late] if late.ends_with("of offer, after 1.25 s")), "{lines:?}");
    assert!(ladder.due().is_none() && ladder.finish().is_empty());
}

#[test]
fn what_waits_is_bounded() {
    let mut ladder = Ladder::default();
    for n in 0..ROWS_MAX + 10 {
        ladder.take(&said(0, "alice", "bob", "1", &n.to_string(), "candidates", ""));
    }
    ladder.ready(ms(0));
    assert_eq!(ladder.rows.len(), ROWS_MAX);
}
