//! Descriptions of the other side as text: what we read in them, and how we rewrite them.

use media::peer::sdp::{self, Negotiated, Promised};

pub(crate) fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let text: &str = &text;

    let negotiated = Negotiated::from_answer(text);
    if let Some((codec, payload_type)) = negotiated.video {
        assert_eq!(negotiated.video_types.get(&payload_type), Some(&codec));
    } else {
        assert!(negotiated.video_types.is_empty());
    }
    assert_eq!((negotiated.promised, negotiated.granted), (Promised::default(), Promised::default()));

    let (rest, candidates) = sdp::split_candidates(text);
    let lines = |text: &str| text.split_inclusive('\n').count();
    assert_eq!(lines(&rest) + candidates.len(), lines(text), "each line is kept or is a candidate");
    assert!(candidates.iter().all(|(candidate, _)| candidate.starts_with("candidate:") && !candidate.contains('\n')));
    assert_eq!(sdp::split_candidates(&rest), (rest.clone(), Vec::new()));
    assert_eq!(sdp::promised(&rest), sdp::promised(text), "a candidate promises nothing");

    settles("as it is sent", text, sdp::as_sent);
    settles("with trickle announced", text, sdp::announce_trickle);
    settles("without pauses", text, sdp::without_pauses);
    let sent = sdp::as_sent(text);
    assert!(sdp::split_candidates(&sent).1.is_empty() && sent.len() <= text.len() + "a=ice-options:trickle\r\n".len());
    assert_eq!(sdp::promised(&sent), sdp::promised(text), "what is left out promises nothing");
    assert_eq!(sdp::taken(&sent), sdp::taken(text), "what is left out takes nothing");
    assert_eq!(sdp::promised(&sdp::without_pauses(text)), sdp::promised(text), "a pause sends nothing either way");
}

/// Done twice is as done once.
fn settles(what: &str, text: &str, rewrite: impl Fn(&str) -> String) {
    let once = rewrite(text);
    assert_eq!(rewrite(&once), once, "{what}");
}
