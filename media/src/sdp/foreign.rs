//! Descriptions of other makes, as the engine can read them, and our answers to them. Pure.
//!
//! The engine (`rtc` 0.21.1) knows one fingerprint alone, with SHA-256, and reads the first of each place; it refuses
//! sections that could also have paths of their own, and stumbles over one that is refused and says no more; its answer
//! always begins DTLS, also where the offer does.

use super::{sections, split_sections};

/// The hash of certificates that the engine computes.
pub(crate) const HASH: &str = "sha-256";

/// The description with one path for all sections of its bundle, that of the first (RFC 9143 §7.1). An offer may name one
/// for each, for a side that does not bundle; we always do.
pub(crate) fn bundled(theirs: &str) -> String {
    let parts = split_sections(theirs);
    let group = parts.first().and_then(|session| line_of(session, "a=group:BUNDLE "));
    let mids: Vec<&str> = group.unwrap_or_default().split_whitespace().collect();
    let path = |part: &str| Some((line_of(part, "a=ice-ufrag:")?.to_owned(), line_of(part, "a=ice-pwd:")?.to_owned()));
    let is_first = |part: &&&str| mids.first().is_some_and(|first| line_of(part, "a=mid:") == Some(*first));
    let Some((user, password)) = parts.iter().skip(1).find(is_first).and_then(|part| path(part)) else {
        return theirs.to_owned();
    };
    let ours = |line: &str| match line {
        _ if line.starts_with("a=ice-ufrag:") => format!("a=ice-ufrag:{user}\r\n"),
        _ if line.starts_with("a=ice-pwd:") => format!("a=ice-pwd:{password}\r\n"),
        _ if line.starts_with("a=candidate:") => String::new(),
        _ => line.to_owned(),
    };
    let mut result = String::with_capacity(theirs.len());
    for part in parts {
        let is_bundled = line_of(part, "a=mid:").is_some_and(|mid| mids.contains(&mid));
        if is_bundled && path(part).is_some_and(|path| path.0 != user || path.1 != password) {
            result.extend(part.split_inclusive('\n').map(ours));
        } else {
            result.push_str(part);
        }
    }
    result
}

/// What the engine makes of a section that is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// In an offer: one that takes and sends nothing, and may do so again. It would end an inactive one for good.
    Kept,
    /// In an answer: one that is inactive.
    Off,
}

/// A description of the other side for the engine. `known` has the sections that a refused one is told by: what that side
/// said before, or the offer that it answers.
pub(crate) fn readable(theirs: &str, known: &str, refused: Refused) -> String {
    let known = split_sections(known);
    let mut result = String::with_capacity(theirs.len());
    for (index, part) in split_sections(theirs).into_iter().enumerate() {
        if index > 0 && says_too_little(part) {
            result.push_str(&stand_in(index, part, known.get(index).copied(), refused));
        } else {
            result.extend(part.split_inclusive('\n').filter_map(with_our_hash));
        }
    }
    result
}

/// Leaves out fingerprints with another hash.
fn with_our_hash(line: &str) -> Option<String> {
    let Some((hash, digits)) = line.strip_prefix("a=fingerprint:").and_then(|rest| rest.trim().split_once(' ')) else {
        return Some(line.to_owned());
    };
    hash.eq_ignore_ascii_case(HASH).then(|| format!("a=fingerprint:{HASH} {}\r\n", digits.trim()))
}

/// A section of sound or pictures that is refused and does not tell its codecs, its name or its direction.
fn says_too_little(section: &str) -> bool {
    let text = format!("\n{section}");
    sections(&text).next().is_some_and(|read| {
        let whole = read.mid.is_some() && read.says_direction && has_codecs(section);
        read.refused && matches!(read.kind, "audio" | "video") && !whole
    })
}

/// Every payload type has its codec.
fn has_codecs(section: &str) -> bool {
    let mut types = section.lines().next().unwrap_or_default().split_whitespace().skip(3).peekable();
    let named = |payload_type: &str| {
        section.lines().any(|line| {
            line.strip_prefix("a=rtpmap:")
                .and_then(|rest| rest.split_once(' '))
                .is_some_and(|(name, _)| name == payload_type)
        })
    };
    types.peek().is_some() && types.all(named)
}

/// The refused section with what it leaves out.
fn stand_in(index: usize, refused: &str, known: Option<&str>, becomes: Refused) -> String {
    let kind = |section: &str| section.strip_prefix("m=").and_then(|rest| rest.split(' ').next()).map(str::to_owned);
    let name = |section: &str| line_of(section, "a=mid:").map(str::to_owned);
    let mid = name(refused).or_else(|| known.and_then(name)).unwrap_or_else(|| format!("refused-{index}"));
    match known.filter(|known| has_codecs(known) && kind(known) == kind(refused)) {
        Some(known) => {
            let of_codecs = ["a=rtpmap:", "a=fmtp:", "a=rtcp-fb:"];
            let kept = |line: &&str| line.starts_with("m=") || of_codecs.iter().any(|name| line.starts_with(name));
            let lines: String =
                known.lines().map(str::trim_end).filter(kept).map(|line| format!("{line}\r\n")).collect();
            let direction = match becomes {
                Refused::Kept => "recvonly",
                Refused::Off => "inactive",
            };
            format!("{lines}a=mid:{mid}\r\na={direction}\r\na=rtcp-mux\r\n")
        }
        // Nothing was ever agreed on here. The engine makes a section of its own for it, and leaves ours to others.
        None => {
            let kind = kind(refused).unwrap_or_default();
            format!("m={kind} 0 UDP/TLS/RTP/SAVPF 0\r\na=mid:{mid}\r\na=inactive\r\n")
        }
    }
}

fn line_of<'a>(section: &'a str, name: &str) -> Option<&'a str> {
    section.lines().find_map(|line| line.trim_end().strip_prefix(name)).map(str::trim)
}

/// Who begins DTLS (RFC 8842 §5.2), as an answer says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Setup {
    /// We do, wherever the offer leaves it open.
    #[default]
    Active,
    /// The other side does, as its offer says.
    Passive,
}

impl Setup {
    /// How an offer is answered. As the engine does, the first section that says it stands for all.
    pub(crate) fn for_offer(offer: &str) -> Self {
        let said = split_sections(offer).into_iter().skip(1).find_map(|section| line_of(section, "a=setup:"));
        if said == Some("active") { Self::Passive } else { Self::Active }
    }
}

/// Our answer as it is sent: with the side that begins DTLS, and sections refused that the offer refuses (RFC 3264 §6).
pub(crate) fn answer(ours: &str, offer: &str, setup: Setup) -> String {
    let offered = split_sections(offer);
    let mut result = String::with_capacity(ours.len());
    for (index, part) in split_sections(ours).into_iter().enumerate() {
        match offered.get(index).filter(|offered| index > 0 && is_refused(offered)) {
            Some(offered) => result.push_str(&refusal(offered)),
            None if setup == Setup::Passive => result.push_str(&part.replace("a=setup:active", "a=setup:passive")),
            None => result.push_str(part),
        }
    }
    result
}

fn is_refused(section: &str) -> bool {
    section.lines().next().unwrap_or_default().split_whitespace().nth(1) == Some("0")
}

fn refusal(offered: &str) -> String {
    let first = offered.lines().next().unwrap_or_default().trim_end();
    let mid = line_of(offered, "a=mid:").map(|mid| format!("a=mid:{mid}\r\n")).unwrap_or_default();
    format!("{first}\r\nc=IN IP4 0.0.0.0\r\n{mid}a=inactive\r\n")
}

/// The description with this version of the session in `o=` (RFC 8866 §5.2); the engine draws a new one each time.
pub(crate) fn with_version(sdp: &str, version: u64) -> String {
    let turned = |line: &str| {
        let Some(rest) = line.strip_prefix("o=") else { return line.to_owned() };
        let mut words: Vec<String> = rest.trim_end().split(' ').map(str::to_owned).collect();
        match words.get_mut(2) {
            Some(word) => *word = version.to_string(),
            None => return line.to_owned(),
        }
        format!("o={}\r\n", words.join(" "))
    };
    sdp.split_inclusive('\n').map(turned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const THEIRS: &str = "v=0\r\no=- 5 7 IN IP4 0.0.0.0\r\na=fingerprint:SHA-256 AB:CD\r\na=fingerprint:sha-512 AB\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=setup:active\r\na=rtpmap:111 opus/48000/2\r\na=fingerprint:sha-384 CD\r\n\
        m=video 0 UDP/TLS/RTP/SAVPF 102\r\n";

    const OFFER: &str = "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 102\r\na=mid:1\r\na=ssrc:1 cname:x\r\na=rtpmap:102 H264/90000\r\na=fmtp:102 x\r\na=sendrecv\r\n";

    #[test]
    fn of_several_fingerprints_the_one_that_can_be_computed_stays() {
        let read = readable(THEIRS, OFFER, Refused::Off);
        assert_eq!(read.matches("a=fingerprint:").count(), 1);
        assert!(read.contains("a=fingerprint:sha-256 AB:CD\r\n"), "{read}");
    }

    #[test]
    fn a_bundle_has_the_path_of_its_first_section() {
        let apart = "v=0\r\na=group:BUNDLE 0 1\r\nm=audio 5 X 111\r\na=mid:0\r\na=ice-ufrag:aaaa\r\na=ice-pwd:p1\r\na=candidate:1\r\n\
            m=video 6 X 96\r\na=mid:1\r\na=ice-ufrag:bbbb\r\na=ice-pwd:p2\r\na=candidate:2\r\n";
        let one = bundled(apart);
        let expected = apart.replace("bbbb", "aaaa").replace("p2", "p1").replace("a=candidate:2\r\n", "");
        assert_eq!((one.as_str(), bundled(&one)), (expected.as_str(), expected.clone()));
        let unbundled = apart.replace("a=group:BUNDLE 0 1\r\n", "");
        assert_eq!((bundled(&unbundled), bundled("")), (unbundled.clone(), String::new()));
    }

    #[test]
    fn a_refused_section_is_told_by_the_one_it_answers() {
        for (refused, direction) in [(Refused::Kept, "recvonly"), (Refused::Off, "inactive")] {
            let read = readable(THEIRS, OFFER, refused);
            let codecs = "m=video 9 UDP/TLS/RTP/SAVPF 102\r\na=rtpmap:102 H264/90000\r\na=fmtp:102 x\r\n";
            assert!(read.ends_with(&format!("{codecs}a=mid:1\r\na={direction}\r\na=rtcp-mux\r\n")), "{read}");
        }
        let first = readable(THEIRS, "", Refused::Kept);
        assert!(first.ends_with("m=video 0 UDP/TLS/RTP/SAVPF 0\r\na=mid:refused-2\r\na=inactive\r\n"), "{first}");
        let whole = OFFER.replace("m=video 9", "m=video 0");
        assert_eq!(readable(&whole, "", Refused::Kept), whole, "it says enough");
    }

    #[test]
    fn an_answer_refuses_what_the_offer_refuses_and_leaves_dtls_to_who_begins_it() {
        let ours = OFFER.replace("a=mid:0", "a=mid:0\r\na=setup:active");
        assert_eq!((Setup::for_offer(THEIRS), Setup::for_offer(OFFER)), (Setup::Passive, Setup::Active));
        let sent = answer(&ours, THEIRS, Setup::Passive);
        assert!(sent.contains("a=setup:passive\r\n") && !sent.contains("a=setup:active"), "{sent}");
        assert!(sent.ends_with("m=video 0 UDP/TLS/RTP/SAVPF 102\r\nc=IN IP4 0.0.0.0\r\na=inactive\r\n"), "{sent}");
        assert_eq!(answer(&ours, OFFER, Setup::Active), ours);
    }

    #[test]
    fn the_version_of_the_session_is_ours_to_count() {
        assert!(with_version(THEIRS, 8).starts_with("v=0\r\no=- 5 8 IN IP4 0.0.0.0\r\na="));
        for odd in ["", "o=", "v=0\r\no=- 1\r\n"] {
            assert_eq!(with_version(odd, 8), odd);
        }
    }
}
