//! Whether a description can follow those before it in the same call. Pure.
//!
//! The engine changes its state while it reads a description, and stops half-way when it comes upon a mistake. So what
//! it would stumble over is refused before, and the call goes on as it was.

use std::collections::BTreeMap;

use super::description::{Description, IceCredentials, fingerprint};
use super::interop::HASH;

/// Sections of one description at most: sound, pictures, and what a browser may add.
const SECTIONS_MAX: usize = 8;

/// What an update of a standing call is to renew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// Media alone; the path stays.
    Media,
    /// The path as well: an ICE restart (RFC 8445 §9).
    IceRestart,
}

/// Why a description cannot follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unfit {
    #[error("it has no {0}, or several")]
    Missing(&'static str),
    #[error("its media sections are not those agreed on")]
    Sections,
    #[error("a section that sends names no stream")]
    Stream,
    #[error("it names another certificate than the call began with")]
    Certificate,
    #[error("it renews the path, which was not asked for")]
    Renewed,
}

/// Whether `offer` can follow `before`, the last description of the same side, and whether it restarts ICE.
pub(crate) fn of_offer(before: &str, offer: &str) -> Result<Renewal, Unfit> {
    let (before, offer) = (Description::read(before), Description::read(offer));
    let known = places(&before).ok_or(Unfit::Sections)?;
    let offered = places(&offer).ok_or(Unfit::Sections)?;
    // Sections stay in their places for the whole call; new ones come after them (RFC 3264 §8).
    if offered.len() > SECTIONS_MAX || !offered.get(..known.len()).is_some_and(|kept| in_place(kept, &known)) {
        return Err(Unfit::Sections);
    }
    follows(&before, &offer)
}

/// Whether `answer` fits `offer`, which was ours and renews `renewal`, and can follow `before`.
pub(crate) fn of_answer(offer: &str, renewal: Renewal, before: &str, answer: &str) -> Result<(), Unfit> {
    let (offer, before, answer) = (Description::read(offer), Description::read(before), Description::read(answer));
    let answered = places(&answer).ok_or(Unfit::Sections)?;
    if !places(&offer).is_some_and(|offered| in_place(&answered, &offered)) {
        return Err(Unfit::Sections);
    }
    match (follows(&before, &answer)?, renewal) {
        (Renewal::IceRestart, Renewal::Media) => Err(Unfit::Renewed),
        (Renewal::Media | Renewal::IceRestart, _) => Ok(()),
    }
}

/// The same certificate as before, and the credentials of a path: others than before restart ICE (RFC 8839 §4.4.1.1.1).
fn follows(before: &Description<'_>, description: &Description<'_>) -> Result<Renewal, Unfit> {
    let of = |name, what| description.single(name).ok_or(Unfit::Missing(what));
    let (ufrag, pwd) = (of("ice-ufrag", "ICE user name")?, of("ice-pwd", "ICE password")?);
    let certificate = certificate(description)?;
    let credentials = IceCredentials { ufrag, pwd };
    if !is_lawful(credentials) {
        return Err(Unfit::Missing("lawful ICE user name and password"));
    }
    // The engine tells streams apart by them alone.
    if description.media.iter().any(|section| section.is_used() && section.sends() && !section.names_stream()) {
        return Err(Unfit::Stream);
    }
    // Hashes may be added or left out; what is told by the same one must be the same.
    let known = self::certificate(before)?;
    if known.iter().any(|(hash, digits)| certificate.get(hash).is_some_and(|told| told != digits)) {
        return Err(Unfit::Certificate);
    }
    Ok(if before.ice_credentials() == Some(credentials) { Renewal::Media } else { Renewal::IceRestart })
}

/// Lengths and letters of RFC 8839 §5.4.
fn is_lawful(IceCredentials { ufrag, pwd }: IceCredentials<'_>) -> bool {
    let lawful = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/".contains(&byte));
    let long_enough = (4..=256).contains(&ufrag.len()) && (22..=256).contains(&pwd.len());
    long_enough && lawful(ufrag) && lawful(pwd)
}

/// Kind and name of a section; one that is refused may have no name.
type Place<'a> = (&'a str, Option<&'a str>);

/// The sections in order; `None` when there is none, one has no name, two have the same, or one of media does not say its
/// direction or its payload types.
fn places<'a>(description: &Description<'a>) -> Option<Vec<Place<'a>>> {
    let mut places: Vec<Place<'_>> = Vec::new();
    for section in &description.media {
        let mid = section.mid.filter(|mid| !mid.is_empty());
        let understood = section.direction.is_some() && section.has_payload_types();
        let repeated = mid.is_some() && places.iter().any(|(_, known)| *known == mid);
        if repeated || (mid.is_none() && !section.refused) || (section.is_used() && !understood) {
            return None;
        }
        places.push((section.kind, mid));
    }
    (!places.is_empty()).then_some(places)
}

/// Whether sections are in the places of `known`.
fn in_place(sections: &[Place<'_>], known: &[Place<'_>]) -> bool {
    let same = |((kind, mid), (known_kind, known_mid)): (&Place<'_>, &Place<'_>)| {
        kind == known_kind && (mid == known_mid || mid.is_none() || known_mid.is_none())
    };
    sections.len() == known.len() && sections.iter().zip(known).all(same)
}

/// Whether a description names one certificate, by the hash that we compute.
pub(crate) fn check_certificate(description: &str) -> Result<(), Unfit> {
    certificate(&Description::read(description)).map(|_| ())
}

/// The certificate, by each hash that tells of it (RFC 8122 §5): there may be several, of the one certificate, and one
/// must be the hash that we compute.
fn certificate(description: &Description<'_>) -> Result<BTreeMap<String, String>, Unfit> {
    let mut told = BTreeMap::new();
    for (hash, digits) in description.values("fingerprint").filter_map(fingerprint) {
        let digits = digits.to_ascii_uppercase();
        let known = told.entry(hash.to_ascii_lowercase()).or_insert_with(|| digits.clone());
        if *known != digits {
            return Err(Unfit::Missing("fingerprint"));
        }
    }
    if told.contains_key(HASH) { Ok(told) } else { Err(Unfit::Missing("SHA-256 fingerprint")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=fingerprint:sha-256 AB:CD\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\na=sendrecv\r\na=ssrc:1 cname:a\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\na=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\na=recvonly\r\n";

    #[test]
    fn an_update_keeps_the_path_or_renews_it() {
        let turned = BEFORE.replace("a=recvonly", "a=sendrecv\r\na=ssrc:2 cname:a");
        assert_eq!(of_offer(BEFORE, &turned), Ok(Renewal::Media));
        let renewed = turned.replace("abcd", "efgh");
        assert_eq!(of_offer(BEFORE, &renewed), Ok(Renewal::IceRestart));
        assert_eq!(of_answer(BEFORE, Renewal::IceRestart, BEFORE, &renewed), Ok(()));
        assert_eq!(of_answer(BEFORE, Renewal::Media, BEFORE, &turned), Ok(()));
        assert_eq!(of_answer(BEFORE, Renewal::Media, BEFORE, &renewed), Err(Unfit::Renewed));
    }

    #[test]
    fn sections_keep_their_places_and_new_ones_come_after() {
        let more = format!("{BEFORE}m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:2\r\na=inactive\r\n");
        assert_eq!(of_offer(BEFORE, &more), Ok(Renewal::Media));
        assert_eq!(of_answer(BEFORE, Renewal::Media, BEFORE, &more), Err(Unfit::Sections));
        let audio_only = &BEFORE[..BEFORE.find("m=video").unwrap()];
        for broken in [
            audio_only.to_owned(),
            BEFORE.replace("a=mid:1", "a=mid:0"),
            BEFORE.replace("a=mid:1\r\n", ""),
            BEFORE.replace("a=recvonly\r\n", ""),
            BEFORE.replace("m=video", "m=text"),
            BEFORE.replace("SAVPF 96", "SAVPF x"),
            BEFORE.replace("SAVPF 96", "SAVPF"),
            (0..9).fold(BEFORE.to_owned(), |all, n| format!("{all}m=text 0 UDP 1\r\na=mid:x{n}\r\n")),
            String::new(),
            "\u{0}\nm=\nm=audio".to_owned(),
        ] {
            assert_eq!(of_offer(BEFORE, &broken), Err(Unfit::Sections), "{broken}");
        }
    }

    #[test]
    fn whoever_sends_says_what() {
        let unnamed = BEFORE.replace("a=recvonly", "a=sendrecv");
        assert_eq!(of_offer(BEFORE, &unnamed), Err(Unfit::Stream));
        assert_eq!(of_answer(BEFORE, Renewal::Media, BEFORE, &unnamed), Err(Unfit::Stream));
    }

    #[test]
    fn several_hashes_tell_of_one_certificate() {
        let three = "a=fingerprint:sha-256 AB:CD\r\na=fingerprint:sha-384 01\r\na=fingerprint:sha-512 02\r\n";
        let of_three = BEFORE.replace("a=fingerprint:sha-256 AB:CD\r\n", three);
        for (before, after) in [(BEFORE, of_three.as_str()), (&of_three, BEFORE), (&of_three, &of_three)] {
            assert_eq!(of_offer(before, after), Ok(Renewal::Media));
        }
        let other = of_three.replace("sha-512 02", "sha-512 03");
        assert_eq!(of_offer(&of_three, &other), Err(Unfit::Certificate));
        let unknown = BEFORE.replace("sha-256", "sha-512");
        assert_eq!(of_offer(BEFORE, &unknown), Err(Unfit::Missing("SHA-256 fingerprint")));
        let two = BEFORE.replace("a=mid:1", "a=mid:1\r\na=fingerprint:sha-256 AB:CE");
        assert_eq!(of_offer(BEFORE, &two), Err(Unfit::Missing("fingerprint")), "two certificates");
    }

    #[test]
    fn a_refused_section_may_say_nothing_more() {
        let refused = BEFORE.replace("m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:1", "m=video 0 UDP/TLS/RTP/SAVPF 102");
        assert_eq!(of_offer(BEFORE, &refused), Ok(Renewal::Media));
        assert_eq!(of_offer(&refused, BEFORE), Ok(Renewal::Media));
        assert_eq!(of_answer(BEFORE, Renewal::Media, BEFORE, &refused), Ok(()));
    }

    #[test]
    fn another_certificate_and_missing_names_are_refused() {
        let other = BEFORE.replace("AB:CD", "AB:CE");
        assert_eq!(of_offer(BEFORE, &other), Err(Unfit::Certificate));
        assert_eq!(of_answer(BEFORE, Renewal::Media, BEFORE, &other), Err(Unfit::Certificate));
        assert_eq!(of_offer(BEFORE, &BEFORE.replace("AB:CD", "ab:cd")), Ok(Renewal::Media));
        for broken in [
            BEFORE.replace("a=fingerprint:sha-256 AB:CD\r\n", ""),
            BEFORE.replace("a=ice-ufrag:abcd\r\n", ""),
            BEFORE.replacen("a=ice-ufrag:abcd", "a=ice-ufrag:abce", 1),
            BEFORE.replace("a=ice-ufrag:abcd", "a=ice-ufrag:abc"),
            BEFORE.replace("0123456789012345678901", "0123"),
            BEFORE.replace("0123456789012345678901", "01234567890 2345678901"),
        ] {
            assert!(matches!(of_offer(BEFORE, &broken), Err(Unfit::Missing(_))), "{broken}");
        }
    }
}
