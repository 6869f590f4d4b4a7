//! What a message means, in words. Of candidates only the kinds get out, of descriptions codecs and DTLS role.

use std::collections::BTreeMap;

use signalling::wire::{ByeReason, Candidate, Description, MediaState, Message, Revised};

use crate::output::sanitize::harmless;

/// Codecs named of one description; browsers list a dozen.
const CODECS_MAX: usize = 6;

/// Longest name of a codec (RFC 8866 §6.6 has encoding names of some ten letters).
const CODEC_CHARS_MAX: usize = 16;

/// Payload formats that carry no medium of their own: retransmission, redundancy, comfort noise, tones.
const AUXILIARY: [&str; 8] = ["rtx", "red", "ulpfec", "flexfec-03", "cn", "telephone-event", "rrtr", "flexfec"];

/// What this message means.
pub(super) fn of(message: &Message) -> String {
    match message {
        Message::Offer(description) | Message::EarlyAnswer(description) | Message::Answer(description) => {
            of_description(&description.sdp, &description.candidates)
        }
        Message::Ringing | Message::Nonce { .. } => String::new(),
        Message::Candidates { generation, candidates } => of_candidates(*generation, candidates),
        Message::Bye { reason, text } => of_bye(*reason, text.as_deref()),
        Message::Media(state) => of_media(*state),
        Message::Update(revised) | Message::Updated(revised) => of_revised(revised),
        Message::Refused { revision, text } => {
            let why = text.as_deref().map(|text| format!(": {}", harmless(text))).unwrap_or_default();
            format!("revision {revision}{why}")
        }
        Message::Renew { generation: Some(generation) } => format!("the path of generation {generation} is broken"),
        Message::Renew { generation: None } => "wants other media".to_owned(),
    }
}

/// Codecs, candidates by kind, and who begins DTLS (`a=setup`, RFC 8842 §5.2).
pub(super) fn of_description(sdp: &str, candidates: &[Candidate]) -> String {
    let inside = sdp.lines().filter_map(|line| line.strip_prefix("a=")).filter(|line| line.starts_with("candidate:"));
    let kinds = kinds(inside.chain(candidates.iter().map(|candidate| candidate.candidate.as_str())));
    let mut parts = vec![codecs(sdp), kinds];
    let setup = sdp.lines().find_map(|line| line.strip_prefix("a=setup:"));
    let known = setup.and_then(|role| ["actpass", "active", "passive"].into_iter().find(|known| *known == role.trim()));
    parts.extend(known.map(|role| format!("setup {role}")));
    parts.join("; ")
}

/// One candidate more, by its kind.
pub(super) fn of_candidate(candidate: &str) -> String {
    if candidate.is_empty() { "no more will come".to_owned() } else { format!("1 more ({})", kind(candidate)) }
}

fn of_candidates(generation: u32, candidates: &[Candidate]) -> String {
    let of_generation = if generation == 0 { String::new() } else { format!("; generation {generation}") };
    match candidates.len() {
        0 => format!("no more will come{of_generation}"),
        count => {
            let kinds = by_kind(candidates.iter().map(|candidate| candidate.candidate.as_str()));
            format!("{count} more ({}){of_generation}", told(&kinds))
        }
    }
}

fn of_revised(revised: &Revised) -> String {
    let Revised { revision, generation, description: Description { sdp, candidates, sas: _ } } = revised;
    let restart = if *generation == 0 { String::new() } else { format!("; ICE generation {generation}") };
    format!("revision {revision}{restart}; {}", of_description(sdp, candidates))
}

fn of_media(state: MediaState) -> String {
    let MediaState { revision: _, audio, video, hold, paused } = state;
    if hold {
        return "on hold".to_owned();
    }
    let switched = match (audio, video) {
        (true, true) => "microphone and camera on",
        (false, true) => "microphone muted",
        (true, false) => "camera off",
        (false, false) => "microphone muted, camera off",
    };
    let paused = if paused { "; the line is too narrow for pictures" } else { "" };
    format!("{switched}{paused}")
}

fn of_bye(reason: ByeReason, text: Option<&str>) -> String {
    let reason = match reason {
        ByeReason::Hangup => "hung up",
        ByeReason::Cancel => "the caller gave up",
        ByeReason::Decline => "declined",
        ByeReason::Busy => "busy",
        ByeReason::NoAnswer => "nobody answered",
        ByeReason::Failed => "no path, or it cannot take part",
        ByeReason::Identity => "the key of the caller is not taken, or its nonce",
        ByeReason::Other => "for a reason of a later version",
    };
    match text {
        Some(text) => format!("{reason}: {:?}", harmless(text)),
        None => reason.to_owned(),
    }
}

fn codecs(sdp: &str) -> String {
    let mut names: Vec<String> = Vec::new();
    for line in sdp.lines().filter_map(|line| line.strip_prefix("a=rtpmap:")) {
        let name = line.split_whitespace().nth(1).and_then(|codec| codec.split('/').next()).unwrap_or_default();
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_' || c == '.';
        let name: String =
            name.chars().filter(|c| is_plain(*c)).take(CODEC_CHARS_MAX).collect::<String>().to_ascii_lowercase();
        if !name.is_empty() && !names.contains(&name) && !AUXILIARY.contains(&name.as_str()) {
            names.push(name);
        }
    }
    let hidden = names.len().saturating_sub(CODECS_MAX);
    names.truncate(CODECS_MAX);
    match (&names[..], hidden) {
        ([], _) => "no codec".to_owned(),
        ([only], 0) => only.clone(),
        ([all @ .., last], 0) => format!("{} and {last}", all.join(", ")),
        (all, hidden) => format!("{} and {hidden} more", all.join(", ")),
    }
}

fn kinds<'a>(candidates: impl Iterator<Item = &'a str>) -> String {
    let kinds = by_kind(candidates);
    match kinds.values().sum() {
        0 => "no candidate yet".to_owned(),
        1 => format!("1 candidate ({})", told(&kinds)),
        count => format!("{count} candidates ({})", told(&kinds)),
    }
}

fn by_kind<'a>(candidates: impl Iterator<Item = &'a str>) -> BTreeMap<&'static str, usize> {
    let mut kinds = BTreeMap::new();
    for candidate in candidates.filter(|candidate| !candidate.is_empty()) {
        *kinds.entry(kind(candidate)).or_insert(0) += 1;
    }
    kinds
}

/// `host`, or `2 host, 1 relay`.
fn told(kinds: &BTreeMap<&'static str, usize>) -> String {
    match kinds.iter().next() {
        Some((only, _)) if kinds.len() == 1 => (*only).to_owned(),
        _ => kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect::<Vec<_>>().join(", "),
    }
}

/// The kind of a candidate (RFC 8839 §5.1); a stranger's own word does not get out.
fn kind(candidate: &str) -> &'static str {
    let word = candidate.split_whitespace().skip_while(|word| *word != "typ").nth(1);
    ["host", "srflx", "prflx", "relay"].into_iter().find(|kind| Some(*kind) == word).unwrap_or("unknown kind")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SDP: &str = "v=0\r\no=- 1 2 IN IP4 192.0.2.9\r\na=fingerprint:sha-256 AA:BB\r\na=setup:actpass\r\n\
        m=video 9 X 102 97 103\r\na=rtpmap:102 H264/90000\r\na=rtpmap:97 rtx/90000\r\na=rtpmap:103 VP8/90000\r\n\
        a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\nm=audio 9 X 111\r\na=rtpmap:111 opus/48000/2\r\n";

    fn candidate(kind: &str) -> Candidate {
        let candidate = format!("candidate:1 1 udp 1 192.0.2.1 9 typ {kind} raddr 192.0.2.7 rport 9");
        Candidate { candidate, mid: None, mline: Some(0) }
    }

    #[test]
    fn a_description_tells_codecs_kinds_and_role_and_no_address() {
        assert_eq!(of_description(SDP, &[]), "h264, vp8 and opus; 1 candidate (host); setup actpass");
        let words = of_description(SDP, &[candidate("relay"), candidate("host"), candidate("\u{1b}[2J")]);
        assert_eq!(words, "h264, vp8 and opus; 4 candidates (2 host, 1 relay, 1 unknown kind); setup actpass");
        assert_eq!(of_description("v=0\r\na=setup:192.0.2.1", &[]), "no codec; no candidate yet");
        let many: String = (0..20).map(|n| format!("a=rtpmap:{n} codec{n}/90000\r\n")).collect();
        assert!(of_description(&many, &[]).starts_with("codec0, codec1, codec2, codec3, codec4, codec5 and 14 more;"));
    }

    #[test]
    fn each_message_has_its_words() {
        let media = |audio, video, hold| {
            Message::Media(MediaState { revision: 1, audio, video, hold, ..MediaState::default() })
        };
        let paused = MediaState { revision: 1, paused: true, ..MediaState::default() };
        let description = Description::new(SDP.into(), Vec::new());
        let revised = Revised { revision: 2, generation: 1, description };
        for (message, words) in [
            (Message::Ringing, ""),
            (Message::Candidates { generation: 0, candidates: vec![candidate("srflx")] }, "1 more (srflx)"),
            (Message::Candidates { generation: 1, candidates: Vec::new() }, "no more will come; generation 1"),
            (media(true, true, true), "on hold"),
            (media(true, true, false), "microphone and camera on"),
            (Message::Media(paused), "microphone and camera on; the line is too narrow for pictures"),
            (media(false, true, false), "microphone muted"),
            (media(false, false, false), "microphone muted, camera off"),
            (Message::bye(ByeReason::Busy), "busy"),
            (Message::Bye { reason: ByeReason::Decline, text: Some("no\u{1b}[2J".into()) }, "declined: \"no [2J\""),
            (Message::Renew { generation: Some(0) }, "the path of generation 0 is broken"),
            (Message::Renew { generation: None }, "wants other media"),
            (
                Message::Update(revised),
                "revision 2; ICE generation 1; h264, vp8 and opus; 1 candidate (host); setup actpass",
            ),
        ] {
            assert_eq!(of(&message), words, "{message:?}");
        }
    }
}
