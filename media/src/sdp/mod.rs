//! The little of SDP (RFC 8866) that is read here: which payload type means which codec, and who sends.

pub(crate) mod continuity;
pub(crate) mod foreign;

use std::collections::{BTreeMap, BTreeSet};

use crate::frame::VideoCodec;

/// Whether a medium is sent as well as received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Both ways.
    SendReceive,
    /// Only received.
    ReceiveOnly,
}

/// What offer and answer agreed on, read from the answer, which has the last word (RFC 3264 §6.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Negotiated {
    /// Video codec and payload type that both prefer; `None` when there is no video.
    pub video: Option<(VideoCodec, u8)>,
    /// Payload type of Opus; `None` when there is no audio.
    pub audio: Option<u8>,
    /// Every agreed video payload type: the other side may switch among them.
    pub video_types: BTreeMap<u8, VideoCodec>,
    /// What the other side said it sends.
    pub promised: Promised,
    /// What we said we send, and the other side takes.
    pub granted: Promised,
}

/// Which media a side said it sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Promised {
    /// Pictures.
    pub video: bool,
    /// Sound.
    pub audio: bool,
}

impl Negotiated {
    /// Reads an answer; what is not understood is left out.
    #[must_use]
    pub fn from_answer(sdp: &str) -> Self {
        let mut result = Self::default();
        for section in sdp.split("\nm=").skip(1) {
            let mut lines = section.lines().map(str::trim_end);
            let media: Vec<&str> = lines.next().unwrap_or_default().split_whitespace().collect();
            let [kind, port, _protocol, types @ ..] = &media[..] else { continue };
            if *port == "0" {
                continue;
            }
            let names = codec_names(section);
            for payload_type in types.iter().filter_map(|t| t.parse::<u8>().ok()) {
                match (*kind, names.get(&payload_type).map(String::as_str)) {
                    ("audio", Some("opus")) => result.audio = result.audio.or(Some(payload_type)),
                    ("video", Some("h264")) => result.add_video(payload_type, VideoCodec::H264),
                    ("video", Some("vp8")) => result.add_video(payload_type, VideoCodec::Vp8),
                    _ => {}
                }
            }
        }
        result
    }

    fn add_video(&mut self, payload_type: u8, codec: VideoCodec) {
        self.video = self.video.or(Some((codec, payload_type)));
        self.video_types.insert(payload_type, codec);
    }
}

/// Takes the candidates out of a description, each with the position of its section: they are to pass the same limits as
/// those that come one by one.
#[must_use]
pub fn split_candidates(sdp: &str) -> (String, Vec<(String, u16)>) {
    let (mut rest, mut candidates) = (String::with_capacity(sdp.len()), Vec::new());
    let mut section: Option<u16> = None;
    for line in sdp.split_inclusive('\n') {
        if line.starts_with("m=") {
            section = Some(section.map_or(0, |section| section.saturating_add(1)));
        }
        match line.trim_end().strip_prefix("a=candidate:") {
            Some(candidate) => candidates.push((format!("candidate:{candidate}"), section.unwrap_or(0))),
            None => rest.push_str(line),
        }
    }
    (rest, candidates)
}

/// A media section: what it is, and which way its author wants it to flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Section<'a> {
    /// `audio`, `video` or another word.
    pub(crate) kind: &'a str,
    /// Its name (RFC 9143 §7).
    pub(crate) mid: Option<&'a str>,
    /// Its author sends.
    pub(crate) sends: bool,
    /// Its author receives.
    pub(crate) receives: bool,
    /// Whether that is written down: both ways need not be (RFC 8866 §6.7).
    pub(crate) says_direction: bool,
    /// It tells by which number the packets of its author's stream are known (RFC 5576, RFC 8851).
    pub(crate) names_stream: bool,
    /// Payload types, all of them numbers.
    pub(crate) has_payload_types: bool,
    /// Not to be used at all.
    pub(crate) refused: bool,
}

/// The media sections of a description, in order.
pub(crate) fn sections(sdp: &str) -> impl Iterator<Item = Section<'_>> {
    sdp.split("\nm=").skip(1).map(|section| {
        let mut words = section.lines().next().unwrap_or_default().split_whitespace();
        let kind = words.next().unwrap_or_default();
        let refused = words.next() == Some("0");
        let mut types = words.skip(1).peekable();
        let attributes = || section.lines().filter_map(|line| line.trim_end().strip_prefix("a="));
        let direction = attributes().find(|name| matches!(*name, "sendrecv" | "sendonly" | "recvonly" | "inactive"));
        Section {
            kind,
            mid: attributes().find_map(|attribute| attribute.strip_prefix("mid:")).map(str::trim),
            sends: !refused && !matches!(direction, Some("recvonly" | "inactive")),
            receives: !refused && !matches!(direction, Some("sendonly" | "inactive")),
            says_direction: direction.is_some(),
            names_stream: attributes().any(|attribute| attribute.starts_with("ssrc:") || attribute.starts_with("rid:")),
            has_payload_types: types.peek().is_some() && types.all(|payload_type| payload_type.parse::<u8>().is_ok()),
            refused,
        }
    })
}

/// What a description says that its author sends.
#[must_use]
pub fn promised(sdp: &str) -> Promised {
    media_where(sdp, |section| section.sends)
}

/// What a description says that its author takes.
#[must_use]
pub fn taken(sdp: &str) -> Promised {
    media_where(sdp, |section| section.receives)
}

/// The numbers of all streams that a description names (RFC 5576); `None` when some have names of another kind (RFC 8851).
pub(crate) fn streams(sdp: &str) -> Option<BTreeSet<u32>> {
    if sdp.lines().any(|line| line.starts_with("a=rid:")) {
        return None;
    }
    let numbers = sdp.lines().filter_map(|line| line.strip_prefix("a=ssrc:")?.split([' ', '\r']).next()?.parse().ok());
    Some(numbers.collect())
}

fn media_where(sdp: &str, holds: impl Fn(&Section<'_>) -> bool) -> Promised {
    let mut result = Promised::default();
    for section in sections(sdp).filter(|section| holds(section)) {
        result.audio |= section.kind == "audio";
        result.video |= section.kind == "video";
    }
    result
}

/// A description of the engine's as it is sent: candidates travel beside it, and a section that sends nothing names no
/// stream (RFC 9429 §5.2.1).
#[must_use]
pub fn as_sent(sdp: &str) -> String {
    let (sdp, _) = split_candidates(sdp);
    let names_stream = |line: &str| ["a=msid:", "a=ssrc:", "a=ssrc-group:"].iter().any(|name| line.starts_with(name));
    let mut result = String::with_capacity(sdp.len());
    for (index, section) in split_sections(&sdp).into_iter().enumerate() {
        let silent = index > 0 && section.lines().any(|line| matches!(line.trim_end(), "a=recvonly" | "a=inactive"));
        let kept = section.split_inclusive('\n').filter(|line| {
            let ends_candidates = line.trim_end() == "a=end-of-candidates";
            !(ends_candidates || (silent && names_stream(line)))
        });
        result.extend(kept);
    }
    announce_trickle(&result)
}

/// A description as the engine should read it: it would end a section for good that is `inactive` for a while, so that
/// is read as one that sends nothing. Whether it takes anything is asked of the description itself.
#[must_use]
pub fn without_pauses(sdp: &str) -> String {
    let turned = |line: &str| match line.trim_end() {
        "a=inactive" => "a=recvonly\r\n".to_owned(),
        _ => line.to_owned(),
    };
    sdp.split_inclusive('\n').map(turned).collect()
}

/// What comes before the first section, and each section.
pub(crate) fn split_sections(sdp: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = sdp;
    while let Some(at) = rest.find("\nm=") {
        let (part, after) = rest.split_at(at + 1);
        parts.push(part);
        rest = after;
    }
    parts.push(rest);
    parts
}

/// Codec names, lower case, by payload type, from `a=rtpmap` lines (RFC 8866 §6.6).
fn codec_names(section: &str) -> BTreeMap<u8, String> {
    let mut names = BTreeMap::new();
    for line in section.lines() {
        if let Some((payload_type, format)) = line.strip_prefix("a=rtpmap:").and_then(|rest| rest.split_once(' '))
            && let Ok(payload_type) = payload_type.parse()
        {
            names.insert(payload_type, format.split('/').next().unwrap_or_default().trim().to_ascii_lowercase());
        }
    }
    names
}

/// Adds `a=ice-options:trickle` (RFC 8840 §4.1.1), which says that candidates follow.
#[must_use]
pub fn announce_trickle(sdp: &str) -> String {
    if sdp.contains("a=ice-options:") {
        return sdp.to_owned();
    }
    sdp.replacen("\r\nm=", "\r\na=ice-options:trickle\r\nm=", 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=rtpmap:111 opus/48000/2\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 125 96 97\r\na=rtpmap:96 VP8/90000\r\na=rtpmap:97 rtx/90000\r\na=rtpmap:125 H264/90000\r\n";

    #[test]
    fn the_first_known_codec_of_the_answer_is_the_one() {
        let negotiated = Negotiated::from_answer(ANSWER);
        assert_eq!(negotiated.video, Some((VideoCodec::H264, 125)));
        assert_eq!(negotiated.audio, Some(111));
        assert_eq!(negotiated.video_types, BTreeMap::from([(96, VideoCodec::Vp8), (125, VideoCodec::H264)]));
    }

    #[test]
    fn refused_sections_and_nonsense_are_left_out() {
        let refused = ANSWER.replace("m=video 9", "m=video 0");
        assert_eq!(Negotiated::from_answer(&refused).video, None);
        for text in ["", "m=", "\nm=", "\nm=video", "\nm=video 9 X 999 -1 a\na=rtpmap:x y\na=rtpmap:1", "\u{0}"] {
            assert_eq!(Negotiated::from_answer(text), Negotiated::default(), "{text:?}");
        }
    }

    #[test]
    fn candidates_come_out_of_a_description() {
        let with = ANSWER.replace("a=rtpmap:96", "a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\na=rtpmap:96");
        let (rest, candidates) = split_candidates(&with);
        assert_eq!(rest, ANSWER);
        assert_eq!(candidates, [("candidate:1 1 udp 1 192.0.2.1 9 typ host".to_owned(), 1)]);
    }

    #[test]
    fn a_side_that_only_listens_promises_nothing() {
        assert_eq!(promised(ANSWER), Promised { video: true, audio: true });
        let deaf = ANSWER.replace("a=rtpmap:111", "a=recvonly\r\na=rtpmap:111");
        assert_eq!(promised(&deaf), Promised { video: true, audio: false });
        let silent = deaf.replace("a=rtpmap:96", "a=inactive\r\na=rtpmap:96");
        assert_eq!((promised(&silent), promised("")), (Promised::default(), Promised::default()));
        assert_eq!(promised(&ANSWER.replace("m=video 9", "m=application 9")), Promised { video: false, audio: true });
    }

    #[test]
    fn which_way_a_section_flows() {
        let mixed = ANSWER.replace("a=rtpmap:111", "a=mid:0\r\na=sendonly\r\na=rtpmap:111");
        let sections: Vec<_> = sections(&mixed).collect();
        let [audio, video] = sections[..] else { panic!("{sections:?}") };
        assert_eq!((audio.kind, audio.mid, audio.sends, audio.receives), ("audio", Some("0"), true, false));
        assert_eq!((video.kind, video.mid, video.sends, video.receives), ("video", None, true, true));
        assert!(audio.says_direction && !video.says_direction && !video.refused);
        assert_eq!(taken(&mixed), Promised { video: true, audio: false });
    }

    #[test]
    fn what_is_sent_names_streams_only_where_there_are_some() {
        let named = ANSWER
            .replace("a=rtpmap:111", "a=recvonly\r\na=msid:s a\r\na=ssrc:1 cname:x\r\na=rtpmap:111")
            .replace("a=rtpmap:97", "a=sendrecv\r\na=msid:s v\r\na=end-of-candidates\r\na=candidate:1\r\na=rtpmap:97");
        let sent = as_sent(&named);
        let expected = announce_trickle(
            &ANSWER
                .replace("a=rtpmap:111", "a=recvonly\r\na=rtpmap:111")
                .replace("a=rtpmap:97", "a=sendrecv\r\na=msid:s v\r\na=rtpmap:97"),
        );
        assert_eq!(sent, expected);
        assert_eq!(as_sent(""), "");
    }

    #[test]
    fn streams_are_known_by_their_numbers() {
        let named =
            "v=0\r\na=ssrc:1 cname:x\r\na=ssrc:1 msid:x\r\na=ssrc:4000000000 cname:x\r\na=ssrc:x\r\na=ssrc:7\r\n";
        assert_eq!(streams(named), Some([1, 4_000_000_000, 7].into()));
        assert_eq!((streams(""), streams("a=rid:a send\r\n")), (Some(BTreeSet::new()), None));
    }

    #[test]
    fn a_pause_is_read_as_sending_nothing() {
        let paused = ANSWER.replace("a=rtpmap:111", "a=inactive\r\na=rtpmap:111");
        assert_eq!(without_pauses(&paused), ANSWER.replace("a=rtpmap:111", "a=recvonly\r\na=rtpmap:111"));
        assert_eq!(without_pauses(ANSWER), ANSWER);
    }

    #[test]
    fn trickle_is_announced_once() {
        let once = announce_trickle(ANSWER);
        assert_eq!(once.matches("a=ice-options:trickle\r\n").count(), 1);
        assert_eq!(announce_trickle(&once), once);
    }
}
