//! What offer and answer agreed on: codecs, payload types, and who sends.

use std::collections::BTreeMap;

use super::description::{Description, Section};
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
    /// Payload type of packets of Opus that carry copies of earlier ones (RED, RFC 2198); `None` when a side takes none.
    pub red: Option<u8>,
    /// The other side would rather get no packets of silence (`usedtx=1`, RFC 7587 §6.1).
    pub prefers_dtx: bool,
    /// Every agreed video payload type: the other side may switch among them.
    pub video_types: BTreeMap<u8, VideoCodec>,
    /// What the other side said it sends.
    pub promised: Promised,
    /// What we said we send, and the other side takes.
    pub granted: Promised,
}

/// Which payload type is what, of the packets that come. Sound that is not named here is Opus.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PayloadTypes {
    /// Pictures.
    pub video: BTreeMap<u8, VideoCodec>,
    /// Sound with copies of earlier packets (RED, RFC 2198).
    pub red: Option<u8>,
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
        for section in Description::read(sdp).media.iter().filter(|section| !section.refused) {
            let codecs = section.codecs();
            result.red = result.red.or_else(|| red_of_opus(section));
            for payload_type in section.payload_types.iter().filter_map(|t| t.parse::<u8>().ok()) {
                match (section.kind, codecs.get(&payload_type).map(String::as_str)) {
                    ("audio", Some("opus")) => result.audio = result.audio.or(Some(payload_type)),
                    ("video", Some("h264")) => result.add_video(payload_type, VideoCodec::H264),
                    ("video", Some("vp8")) => result.add_video(payload_type, VideoCodec::Vp8),
                    _ => {}
                }
            }
        }
        result
    }

    /// Which payload type is what, of the packets that come.
    #[must_use]
    pub fn payload_types(&self) -> PayloadTypes {
        PayloadTypes { video: self.video_types.clone(), red: self.red }
    }

    fn add_video(&mut self, payload_type: u8, codec: VideoCodec) {
        self.video = self.video.or(Some((codec, payload_type)));
        self.video_types.insert(payload_type, codec);
    }
}

/// The payload type of packets that carry nothing but Opus, twice or more often (RFC 2198 §5).
fn red_of_opus(section: &Section<'_>) -> Option<u8> {
    let codecs = section.codecs();
    let named = |name: &str| {
        let types = section.payload_types.iter().filter_map(|t| t.parse::<u8>().ok());
        types.filter(|payload_type| codecs.get(payload_type).is_some_and(|codec| codec == name)).collect::<Vec<u8>>()
    };
    let opus = *named("opus").first().filter(|_| section.kind == "audio")?;
    let is_of_opus = |red: &u8| {
        let format = section.format(*red).unwrap_or_default();
        !format.is_empty() && format.split('/').all(|payload_type| payload_type.trim().parse() == Ok(opus))
    };
    named("red").into_iter().find(is_of_opus)
}

/// Whether the author of a description would rather get no packets of silence (`usedtx=1`, RFC 7587 §6.1).
#[must_use]
pub(crate) fn prefers_dtx(sdp: &str) -> bool {
    let description = Description::read(sdp);
    let mut sections = description.media.iter().filter(|section| section.kind == "audio" && !section.refused);
    sections.any(|section| {
        let opus = section.codecs().into_iter().find(|(_, codec)| codec == "opus");
        let format = opus.and_then(|(payload_type, _)| section.format(payload_type)).unwrap_or_default();
        format.split(';').any(|parameter| parameter.trim() == "usedtx=1")
    })
}

/// What a description says that its author sends.
#[must_use]
pub fn promised(sdp: &str) -> Promised {
    media_where(sdp, |section| section.sends())
}

/// What a description says that its author takes.
#[must_use]
pub fn taken(sdp: &str) -> Promised {
    media_where(sdp, |section| section.receives())
}

fn media_where(sdp: &str, holds: impl Fn(&Section<'_>) -> bool) -> Promised {
    let mut result = Promised::default();
    for section in Description::read(sdp).media.iter().filter(|section| holds(section)) {
        result.audio |= section.kind == "audio";
        result.video |= section.kind == "video";
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sdp::ANSWER;

    #[test]
    fn the_first_known_codec_of_the_answer_is_the_one() {
        let negotiated = Negotiated::from_answer(ANSWER);
        assert_eq!(negotiated.video, Some((VideoCodec::H264, 125)));
        assert_eq!(negotiated.audio, Some(111));
        assert_eq!(negotiated.video_types, BTreeMap::from([(96, VideoCodec::Vp8), (125, VideoCodec::H264)]));
    }

    #[test]
    fn redundant_sound_is_taken_where_it_is_all_of_opus() {
        assert_eq!(Negotiated::from_answer(ANSWER).red, None);
        let with = |format: &str| {
            let added = format!("a=rtpmap:111 opus/48000/2\r\na=rtpmap:63 red/48000/2\r\n{format}");
            let answer = ANSWER.replace("SAVPF 111", "SAVPF 111 63").replace("a=rtpmap:111 opus/48000/2\r\n", &added);
            let agreed = Negotiated::from_answer(&answer);
            assert_eq!(agreed.audio, Some(111));
            agreed.red
        };
        assert_eq!([with("a=fmtp:63 111/111\r\n"), with("a=fmtp:63 111/111/111\r\n")], [Some(63); 2]);
        for other in ["", "a=fmtp:63 \r\n", "a=fmtp:63 111/0\r\n", "a=fmtp:111 63/63\r\n", "a=fmtp:63 x\r\n"] {
            assert_eq!(with(other), None, "{other}");
        }
    }

    #[test]
    fn silence_is_left_out_for_who_prefers_it() {
        let with = |format: &str| {
            prefers_dtx(&ANSWER.replace("a=rtpmap:111", &format!("a=fmtp:111 {format}\r\na=rtpmap:111")))
        };
        assert!(with("minptime=10;useinbandfec=1;usedtx=1") && with("usedtx=1; minptime=10"));
        assert!(!with("minptime=10") && !with("usedtx=0") && !with("xusedtx=1") && !prefers_dtx(ANSWER));
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
    fn a_side_that_only_listens_promises_nothing() {
        assert_eq!(promised(ANSWER), Promised { video: true, audio: true });
        let deaf = ANSWER.replace("a=rtpmap:111", "a=recvonly\r\na=rtpmap:111");
        assert_eq!(promised(&deaf), Promised { video: true, audio: false });
        let silent = deaf.replace("a=rtpmap:96", "a=inactive\r\na=rtpmap:96");
        assert_eq!((promised(&silent), promised("")), (Promised::default(), Promised::default()));
        assert_eq!(promised(&ANSWER.replace("m=video 9", "m=application 9")), Promised { video: false, audio: true });
        let mixed = ANSWER.replace("a=rtpmap:111", "a=mid:0\r\na=sendonly\r\na=rtpmap:111");
        assert_eq!(taken(&mixed), Promised { video: true, audio: false });
    }
}
