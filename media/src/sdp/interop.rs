//! Descriptions of other makes, as the engine can read them, and our answers to them. Pure.
//!
//! The engine (`rtc` 0.21.1) knows one fingerprint alone, with SHA-256, and reads the first of each place; it refuses
//! sections that could also have paths of their own, and stumbles over one that is refused and says no more; its answer
//! always begins DTLS, also where the offer does.

use super::description::{Description, Section, fingerprint, value_of};

/// The hash of certificates that the engine computes.
pub(crate) const HASH: &str = "sha-256";

/// The description with one path for all sections of its bundle, that of the first (RFC 9143 §7.1). An offer may name one
/// for each, for a side that does not bundle; we always do.
pub(crate) fn bundled(theirs: &str) -> String {
    let theirs = with_bundle_only(theirs);
    let description = Description::read(&theirs);
    let mids = description.bundle();
    let is_bundled = |section: &&Section<'_>| section.mid.is_some_and(|mid| mids.contains(&mid));
    let first = description.media.iter().find(|section| section.mid.is_some() && section.mid == mids.first().copied());
    let Some(credentials) = first.and_then(|first| first.part.ice_credentials()) else { return theirs.clone() };
    let ours = |line: &str| {
        if value_of(line, "ice-ufrag").is_some() {
            format!("a=ice-ufrag:{}\r\n", credentials.ufrag)
        } else if value_of(line, "ice-pwd").is_some() {
            format!("a=ice-pwd:{}\r\n", credentials.pwd)
        } else if value_of(line, "candidate").is_some() {
            String::new()
        } else {
            line.to_owned()
        }
    };
    let mut result = description.session.text.to_owned();
    for section in &description.media {
        let has_other = section.part.ice_credentials().is_some_and(|own| own != credentials);
        if is_bundled(&section) && has_other {
            result.extend(section.part.lines().map(ours));
        } else {
            result.push_str(section.part.text);
        }
    }
    result
}

/// The description with a port in each section that is there for bundling sides alone (RFC 9143 §6): such a section has
/// port 0 and is not refused. Browsers with the policy `max-bundle` offer pictures so.
fn with_bundle_only(theirs: &str) -> String {
    const MARK: &str = "a=bundle-only";
    let description = Description::read(theirs);
    let mids = description.bundle();
    let mut result = description.session.text.to_owned();
    for section in &description.media {
        let is_bundled = section.mid.is_some_and(|mid| mids.contains(&mid));
        let is_marked = section.part.lines().any(|line| line.trim_end() == MARK);
        if section.refused && is_bundled && is_marked {
            let text = section.part.text.replacen(" 0 ", " 9 ", 1);
            result.extend(text.split_inclusive('\n').filter(|line| line.trim_end() != MARK));
        } else {
            result.push_str(section.part.text);
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
    let (theirs, known) = (Description::read(theirs), Description::read(known));
    let mut result: String = theirs.session.lines().filter_map(with_our_hash).collect();
    for (index, section) in theirs.media.iter().enumerate() {
        if says_too_little(section) {
            result.push_str(&stand_in(index, section, known.media.get(index), refused));
        } else {
            let opus = section.codecs().into_iter().find(|(_, codec)| codec == "opus").map(|(number, _)| number);
            let lines = section.part.lines().filter_map(with_our_hash);
            result
                .extend(lines.map(|line| opus.map_or_else(|| line.clone(), |opus| without_other_wishes(&line, opus))));
        }
    }
    result
}

/// Leaves out fingerprints with another hash.
fn with_our_hash(line: &str) -> Option<String> {
    let Some((hash, digits)) = value_of(line, "fingerprint").and_then(fingerprint) else {
        return Some(line.to_owned());
    };
    hash.eq_ignore_ascii_case(HASH).then(|| format!("a=fingerprint:{HASH} {digits}\r\n"))
}

/// Parameters of Opus that we state (RFC 7587 §6.1), as we state them. They are wishes of the side that receives, and may
/// differ; but of several codecs the engine drops those whose parameters do.
pub(crate) const OPUS_WISHES: [(&str, &str); 3] = [("minptime", "10"), ("useinbandfec", "1"), ("usedtx", "1")];

/// The line without parameters of Opus that we state otherwise.
fn without_other_wishes(line: &str, opus: u8) -> String {
    let format = value_of(line, "fmtp").and_then(|value| value.split_once(' '));
    let Some((_, parameters)) = format.filter(|(of, _)| of.parse() == Ok(opus)) else { return line.to_owned() };
    let is_other = |parameter: &str| {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        OPUS_WISHES.iter().any(|&(ours, as_ours)| name.trim() == ours && value.trim() != as_ours)
    };
    if !parameters.split(';').any(is_other) {
        return line.to_owned();
    }
    let kept: Vec<&str> = parameters.split(';').map(str::trim).filter(|parameter| !is_other(parameter)).collect();
    if kept.is_empty() { String::new() } else { format!("a=fmtp:{opus} {}\r\n", kept.join(";")) }
}

/// A section of sound or pictures that is refused and does not tell its codecs, its name or its direction.
fn says_too_little(section: &Section<'_>) -> bool {
    let is_whole = section.mid.is_some() && section.direction.is_some() && section.has_codecs();
    section.refused && section.is_media() && !is_whole
}

/// The refused section with what it leaves out.
fn stand_in(index: usize, refused: &Section<'_>, known: Option<&Section<'_>>, becomes: Refused) -> String {
    let mid = refused.mid.or_else(|| known.and_then(|known| known.mid)).map(str::to_owned);
    // Sections are counted from 1 in names of our own.
    let mid = mid.unwrap_or_else(|| format!("refused-{}", index + 1));
    let Some(known) = known.filter(|known| known.has_codecs() && known.kind == refused.kind) else {
        // Nothing was ever agreed on here. The engine makes a section of its own for it, and leaves ours to others.
        return format!("m={} 0 UDP/TLS/RTP/SAVPF 0\r\na=mid:{mid}\r\na=inactive\r\n", refused.kind);
    };
    let is_of_codecs = |line: &str| ["rtpmap", "fmtp", "rtcp-fb"].iter().any(|name| value_of(line, name).is_some());
    let kept = known.part.lines().map(str::trim_end).filter(|line| line.starts_with("m=") || is_of_codecs(line));
    let lines: String = kept.map(|line| format!("{line}\r\n")).collect();
    let direction = match becomes {
        Refused::Kept => "recvonly",
        Refused::Off => "inactive",
    };
    format!("{lines}a=mid:{mid}\r\na={direction}\r\na=rtcp-mux\r\n")
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
        let said = Description::read(offer).media.iter().find_map(|section| section.part.value("setup"));
        if said == Some("active") { Self::Passive } else { Self::Active }
    }
}

/// Our answer as it is sent: with the side that begins DTLS, and sections refused that the offer refuses (RFC 3264 §6),
/// which are no part of the bundle (RFC 9143 §7.3.3).
pub(crate) fn answer(ours: &str, offer: &str, setup: Setup) -> String {
    let (ours, offer) = (Description::read(ours), Description::read(offer));
    let with_setup = |text: &str| match setup {
        Setup::Active => text.to_owned(),
        Setup::Passive => text.replace("a=setup:active", "a=setup:passive"),
    };
    let refused: Vec<&str> = offer.media.iter().filter(|section| section.refused).filter_map(|s| s.mid).collect();
    let session: String = ours.session.lines().map(|line| without_mids(line, &refused)).collect();
    let mut result = with_setup(&session);
    for (index, section) in ours.media.iter().enumerate() {
        match offer.media.get(index).filter(|offered| offered.refused) {
            Some(offered) => result.push_str(&refusal(offered)),
            None => result.push_str(&with_setup(section.part.text)),
        }
    }
    result
}

/// The line without these names, where it is that of the bundle.
fn without_mids(line: &str, refused: &[&str]) -> String {
    let Some(mids) = value_of(line, "group").and_then(|group| group.strip_prefix("BUNDLE ")) else {
        return line.to_owned();
    };
    let kept: Vec<&str> = mids.split_whitespace().filter(|mid| !refused.contains(mid)).collect();
    format!("a=group:BUNDLE {}\r\n", kept.join(" "))
}

fn refusal(offered: &Section<'_>) -> String {
    let first = offered.part.lines().next().unwrap_or_default().trim_end();
    let mid = offered.mid.map(|mid| format!("a=mid:{mid}\r\n")).unwrap_or_default();
    format!("{first}\r\nc=IN IP4 0.0.0.0\r\n{mid}a=inactive\r\n")
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
    fn other_wishes_for_opus_do_not_cost_it() {
        let with =
            |format: &str| format!("v=0\r\nm=audio 9 X 111 63\r\na=mid:0\r\na=rtpmap:111 opus/48000/2\r\n{format}");
        let read = |format: &str| readable(&with(format), "", Refused::Off);
        for same in
            ["", "a=fmtp:111 minptime=10; usedtx=1;stereo=1\r\n", "a=fmtp:63 111/111\r\n", "a=fmtp:112 usedtx=0\r\n"]
        {
            assert_eq!(read(same), with(same));
        }
        assert_eq!(read("a=fmtp:111 minptime=20;stereo=1; usedtx=0\r\n"), with("a=fmtp:111 stereo=1\r\n"));
        assert_eq!(read("a=fmtp:111 useinbandfec=0\r\n"), with(""));
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
    fn a_section_for_bundling_sides_alone_is_not_refused() {
        let offer = "v=0\r\na=group:BUNDLE 0 1\r\nm=audio 9 X 0\r\na=mid:0\r\na=ice-ufrag:aaaa\r\na=ice-pwd:p1\r\n\
            m=video 0 X 0 96\r\na=bundle-only\r\na=mid:1\r\na=x:0 0 0\r\n";
        let read = bundled(offer);
        assert_eq!(read, offer.replace("m=video 0 X", "m=video 9 X").replace("a=bundle-only\r\n", ""));
        assert_eq!(bundled(&read), read);
        for refused in [offer.replace("a=bundle-only\r\n", ""), offer.replace("BUNDLE 0 1", "BUNDLE 0")] {
            assert_eq!(bundled(&refused), refused);
        }
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

        let bundle = |mids: &str| format!("a=group:BUNDLE {mids}\r\nm=audio");
        let (ours, refused) = (ours.replacen("m=audio", &bundle("0 1"), 1), OFFER.replace("m=video 9", "m=video 0"));
        assert!(answer(&ours, &refused, Setup::Active).contains(&bundle("0")), "what is refused is no part of it");
        assert!(answer(&ours, OFFER, Setup::Active).contains(&bundle("0 1")));
    }
}
