//! Snapshots of every message, and hostile bytes.

use super::*;
use crate::id::Nonce;
use crate::seal::{Commitment, PublicKeys};

fn envelope(content: Content) -> Envelope {
    Envelope {
        v: VERSION,
        id: MessageId::numbered(Nonce(7), 1),
        from: "alice".parse().unwrap(),
        to: "bob".parse().unwrap(),
        ts: 1_700_000_000_000,
        content,
    }
}

fn call(message: Message) -> Content {
    Content::Call { call: CallId::from_random(1), message }
}

fn nonce() -> SasNonce {
    SasNonce::from_random([0x0b; 16])
}

fn commitment() -> Commitment {
    nonce().commitment(&CallId::from_random(1), &PublicKeys::from_bytes([7; 64]))
}

fn candidate(n: u16) -> Candidate {
    Candidate {
        candidate: format!("candidate:{n} 1 udp 1 192.0.2.1 9 typ host"),
        mid: Some("0".into()),
        mline: Some(0),
    }
}

#[test]
fn every_message_has_its_snapshot() {
    let head = r#"{"v":1,"id":"0000000000000007-1","from":"alice","to":"bob","ts":1700000000000,"#;
    let in_call = r#""call":"00000000000000000000000000000001","#;
    let description = Description::new("v=0\r\n".into(), vec![candidate(1)]);
    let bare = Description::new("v=0\r\n".into(), Vec::new());
    let json_candidate = r#"{"candidate":"candidate:1 1 udp 1 192.0.2.1 9 typ host","mid":"0","mline":0}"#;
    for (message, expected) in [
        (
            Message::Offer(description.clone()),
            format!(r#""type":"offer","sdp":"v=0\r\n","candidates":[{json_candidate}]}}"#),
        ),
        (
            Message::Answer(description.clone()),
            format!(r#""type":"answer","sdp":"v=0\r\n","candidates":[{json_candidate}]}}"#),
        ),
        (
            Message::EarlyAnswer(description.clone()),
            format!(r#""type":"early-answer","sdp":"v=0\r\n","candidates":[{json_candidate}]}}"#),
        ),
        (Message::Ringing, r#""type":"ringing"}"#.to_owned()),
        (
            Message::Candidates { generation: 0, candidates: vec![candidate(1)] },
            format!(r#""type":"candidates","candidates":[{json_candidate}]}}"#),
        ),
        (
            Message::Candidates { generation: 2, candidates: vec![candidate(1)] },
            format!(r#""type":"candidates","generation":2,"candidates":[{json_candidate}]}}"#),
        ),
        (Message::bye(ByeReason::NoAnswer), r#""type":"bye","reason":"no-answer"}"#.to_owned()),
        (
            Message::Bye { reason: ByeReason::Decline, text: Some("in a meeting".into()) },
            r#""type":"bye","reason":"decline","text":"in a meeting"}"#.to_owned(),
        ),
        (
            Message::Media(MediaState { revision: 3, audio: false, ..MediaState::default() }),
            r#""type":"media","revision":3,"audio":false,"video":true,"hold":false}"#.to_owned(),
        ),
        (
            Message::Media(MediaState { revision: 4, paused: true, ..MediaState::default() }),
            r#""type":"media","revision":4,"audio":true,"video":true,"hold":false,"paused":true}"#.to_owned(),
        ),
        (
            Message::Update(Revised { revision: 2, generation: 1, description: description.clone() }),
            format!(r#""type":"update","revision":2,"generation":1,"sdp":"v=0\r\n","candidates":[{json_candidate}]}}"#),
        ),
        (
            Message::Updated(Revised { revision: 2, generation: 1, description }),
            format!(
                r#""type":"updated","revision":2,"generation":1,"sdp":"v=0\r\n","candidates":[{json_candidate}]}}"#
            ),
        ),
        (Message::Refused { revision: 2, text: None }, r#""type":"refused","revision":2}"#.to_owned()),
        (
            Message::refused(2, "it has no fingerprint".into()),
            r#""type":"refused","revision":2,"text":"it has no fingerprint"}"#.to_owned(),
        ),
        (Message::Renew { generation: Some(1) }, r#""type":"renew","generation":1}"#.to_owned()),
        (Message::Renew { generation: None }, r#""type":"renew"}"#.to_owned()),
        (
            Message::Offer(Description { sas: Some(SasPart::Commitment(commitment())), ..bare.clone() }),
            format!(r#""type":"offer","sdp":"v=0\r\n","commitment":"{}"}}"#, commitment()),
        ),
        (
            Message::Answer(Description { sas: Some(SasPart::Nonce(nonce())), ..bare }),
            r#""type":"answer","sdp":"v=0\r\n","nonce":"CwsLCwsLCwsLCwsLCwsLCw"}"#.to_owned(),
        ),
        (Message::Nonce { nonce: nonce() }, r#""type":"nonce","nonce":"CwsLCwsLCwsLCwsLCwsLCw"}"#.to_owned()),
    ] {
        let envelope = envelope(call(message));
        let bytes = envelope.to_bytes().unwrap();
        assert_eq!(String::from_utf8(bytes.clone()).unwrap(), format!("{head}{in_call}{expected}"));
        assert_eq!(Envelope::from_bytes(&bytes).unwrap(), envelope);
    }
    let ack = envelope(Content::Ack(Ack { of: MessageId::numbered(Nonce(9), 2) }));
    let bytes = ack.to_bytes().unwrap();
    assert_eq!(String::from_utf8(bytes.clone()).unwrap(), format!(r#"{head}"type":"ack","of":"0000000000000009-2"}}"#));
    assert_eq!(Envelope::from_bytes(&bytes).unwrap(), ack);
}

#[test]
fn hostile_bytes_are_errors() {
    let good = String::from_utf8(envelope(call(Message::Ringing)).to_bytes().unwrap()).unwrap();
    let sdp = Message::Offer(Description::new("x".repeat(SDP_BYTES_MAX + 1), vec![]));
    let mut hostile: Vec<Vec<u8>> = vec![
        vec![],
        vec![0xff; 100],
        vec![b'['; 100_000],
        vec![b' '; ENVELOPE_BYTES_MAX + 1],
        b"null".to_vec(),
        good.replace(r#""v":1"#, r#""v":2"#).into(),
        good.replace(r#""v":1"#, r#""v":-1"#).into(),
        good.replace("ringing", "non sense").into(),
        good.replace("ringing", &"x".repeat(65)).into(),
        good.replace("ringing", "offer").into(),
        good.replace("ringing", "ack").into(),
        good.replace("ringing", "candidates").into(),
        good.replace("ringing", "nonce").into(),
        good.replace("alice", "a/lice").into(),
        good.replace("0000000000000007-1", "").into(),
        good.replace("0000000000000007-1", &"9".repeat(65)).into(),
    ];
    hostile.push(serde_json::to_vec(&envelope(call(sdp))).unwrap());
    for bytes in hostile {
        assert!(Envelope::from_bytes(&bytes).is_err(), "{:?}", String::from_utf8_lossy(&bytes[..bytes.len().min(80)]));
    }
}

#[test]
fn what_is_too_large_is_not_written() {
    let sdp = Description::new("x".repeat(ENVELOPE_BYTES_MAX), vec![]);
    assert!(matches!(envelope(call(Message::Offer(sdp))).to_bytes(), Err(WireError::TooLarge(_))));
}

#[test]
fn later_reasons_are_understood_as_an_end() {
    let text = String::from_utf8(envelope(call(Message::bye(ByeReason::Busy))).to_bytes().unwrap()).unwrap();
    let later = Envelope::from_bytes(text.replace("busy", "moon-phase").as_bytes()).unwrap();
    assert_eq!(later.content, call(Message::bye(ByeReason::Other)));
}

#[test]
fn debug_output_holds_no_address() {
    let description = Description::new("c=IN IP4 192.0.2.1".into(), vec![candidate(1)]);
    let text = format!("{:?}", envelope(call(Message::Offer(description))));
    assert!(!text.contains("192.0.2.1") && text.contains("1 candidates"), "{text}");
}

#[test]
fn presence_round_trip() {
    let run = MessageId::numbered(Nonce(1), 0);
    let presence = Presence { v: VERSION, state: PresenceState::Available, run, seal: None };
    let bytes = presence.to_bytes();
    assert_eq!(String::from_utf8_lossy(&bytes), r#"{"v":1,"state":"available","run":"0000000000000001-0"}"#);
    assert_eq!(Presence::from_bytes(&bytes).unwrap(), presence);
    let away = br#"{"v":1,"state":"away","run":"0000000000000001-0"}"#;
    assert_eq!(Presence::from_bytes(away).unwrap(), Presence { state: PresenceState::Away, ..presence });
    for unreadable in ["", "null", r#"{"v":1,"state":"asleep","run":"1-0"}"#, r#"{"v":2,"state":"away","run":"1-0"}"#] {
        assert!(Presence::from_bytes(unreadable.as_bytes()).is_err(), "{unreadable}");
    }
}

fn read(said: &str) -> Content {
    let head = r#"{"v":1,"id":"0000000000000007-1","from":"alice","to":"bob","ts":1700000000000,"call":"c","#;
    Envelope::from_bytes(format!("{head}{said}}}").as_bytes()).unwrap().content
}

fn message(said: &str) -> Message {
    match read(said) {
        Content::Call { message, .. } => message,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_text_that_is_too_long_is_cut_and_the_bye_stays() {
    let long = "ä".repeat(TEXT_BYTES_MAX / 2) + "x";
    let Message::Bye { reason, text: Some(text) } =
        message(&format!(r#""type":"bye","reason":"decline","text":"{long}""#))
    else {
        panic!("no bye")
    };
    assert_eq!((reason, text.len()), (ByeReason::Decline, TEXT_BYTES_MAX));
    let odd = message(&format!(r#""type":"bye","reason":"decline","text":"x{long}""#));
    assert!(
        matches!(odd, Message::Bye { text: Some(text), .. } if text.len() == TEXT_BYTES_MAX - 1),
        "whole characters"
    );
}

#[test]
fn a_mistake_in_a_field_that_may_be_absent_costs_that_field() {
    let other = Message::bye(ByeReason::Other);
    for said in [r#""type":"bye""#, r#""type":"bye","reason":7"#, r#""type":"bye","reason":null,"text":["x"]"#] {
        assert_eq!(message(said), other, "{said}");
    }
    assert_eq!(message(r#""type":"renew","generation":"x""#), Message::Renew { generation: None });
    let bare = Message::Offer(Description::new("v=0".into(), Vec::new()));
    assert_eq!(message(r#""type":"offer","sdp":"v=0","candidates":null"#), bare);
    for part in
        [r#""commitment":7"#, r#""commitment":null"#, r#""commitment":"AAAA""#, r#""nonce":"=""#, r#""nonce":{}"#]
    {
        assert_eq!(message(&format!(r#""type":"offer","sdp":"v=0",{part}"#)), bare, "{part}");
    }
    let without_time = r#"{"v":1,"id":"7","from":"alice","to":"bob","ts":1.5,"call":"c","type":"ringing"}"#;
    assert_eq!(Envelope::from_bytes(without_time.as_bytes()).unwrap().ts, 0);
}

#[test]
fn candidates_that_cannot_be_used_leave_the_others() {
    let long = "x".repeat(CANDIDATE_BYTES_MAX + 1);
    let said = format!(
        r#""type":"candidates","candidates":[null,{{"candidate":"{long}"}},{{"mid":"0"}},7,{{"candidate":"a","mid":"{long}","mline":70000}}]"#
    );
    let left = Candidate { candidate: "a".into(), mid: None, mline: None };
    assert_eq!(message(&said), Message::Candidates { generation: 0, candidates: vec![left] });
    let many = Message::Candidates { generation: 0, candidates: (0..1000).map(candidate).collect() };
    let bytes = serde_json::to_vec(&envelope(call(many))).unwrap();
    let few = Message::Candidates { generation: 0, candidates: (0..64).map(candidate).collect() };
    assert_eq!(Envelope::from_bytes(&bytes).unwrap().content, call(few));
}

#[test]
fn candidates_may_have_the_names_that_browsers_give_them() {
    let expected = Candidate { candidate: "a".into(), mid: Some("0".into()), mline: Some(1) };
    for said in [
        r#"{"candidate":"a","sdpMid":"0","sdpMLineIndex":1,"usernameFragment":"u"}"#,
        r#"{"candidate":"a","mid":"0","mline":1}"#,
        r#"{"candidate":"a","mid":"0","mline":1,"sdpMid":"7","sdpMLineIndex":7}"#,
        r#"{"candidate":"a","mid":null,"sdpMid":"0","mline":null,"sdpMLineIndex":1}"#,
    ] {
        assert_eq!(serde_json::from_str::<Candidate>(said).unwrap(), expected, "{said}");
    }
}

#[test]
fn what_a_later_version_says_has_a_type_and_no_more() {
    let Content::Unknown(Unknown { kind }) = read(r#""type":"transfer","whom":{"id":"carol"}"#) else {
        panic!("known")
    };
    assert_eq!(kind.as_str(), "transfer");
}
