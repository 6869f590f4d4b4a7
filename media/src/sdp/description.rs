//! Reads a session description (SDP, RFC 8866): the one place that knows its lines. [`Description`] is what the rest of
//! this room asks.
//!
//! - a description → what is said of the session, and a [`Section`] for each medium, in order
//! - each of these is a [`Part`], which keeps its text, so that what is not understood stays as it is
//!
//! It comes from strangers: nothing here fails; what cannot be read is not there.

use std::collections::{BTreeMap, BTreeSet};

/// A description that was read.
#[derive(Clone, Debug)]
pub(crate) struct Description<'a> {
    /// What comes before the first media section.
    pub(crate) session: Part<'a>,
    pub(crate) media: Vec<Section<'a>>,
}

/// Lines that belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part<'a> {
    /// With line ends.
    pub(crate) text: &'a str,
}

/// A media section: what it is, and which way its author wants it to flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Section<'a> {
    pub(crate) part: Part<'a>,
    /// `audio`, `video` or another word.
    pub(crate) kind: &'a str,
    /// Not to be used at all.
    pub(crate) refused: bool,
    /// As they are written.
    pub(crate) payload_types: Vec<&'a str>,
    /// Its name (RFC 9143 §7).
    pub(crate) mid: Option<&'a str>,
    /// `None`: it is not written down, as both ways need not be (RFC 8866 §6.7).
    pub(crate) direction: Option<Flow>,
}

/// Which way a section flows, for its author.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    Both,
    Sends,
    Receives,
    Neither,
}

/// How connectivity checks are signed (RFC 8839 §5.4). Other credentials than before are an ICE restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IceCredentials<'a> {
    pub(crate) ufrag: &'a str,
    pub(crate) pwd: &'a str,
}

impl<'a> Description<'a> {
    pub(crate) fn read(text: &'a str) -> Self {
        let (mut parts, mut rest) = (Vec::new(), text);
        while let Some(at) = rest.find("\nm=") {
            let (part, after) = rest.split_at(at + 1);
            parts.push(Part { text: part });
            rest = after;
        }
        parts.push(Part { text: rest });
        let session = parts.remove(0);
        Self { session, media: parts.into_iter().map(Section::read).collect() }
    }

    /// The session and each section.
    pub(crate) fn parts(&self) -> impl Iterator<Item = Part<'a>> {
        std::iter::once(self.session).chain(self.media.iter().map(|section| section.part))
    }

    /// The values of an attribute, wherever it stands.
    pub(crate) fn values(&self, name: &str) -> impl Iterator<Item = &'a str> {
        self.parts().flat_map(move |part| part.values(name))
    }

    /// The value of an attribute that may stand in several places, but must be the same in all.
    pub(crate) fn single(&self, name: &str) -> Option<&'a str> {
        let mut values = self.values(name);
        let first = values.next()?;
        values.all(|value| value == first).then_some(first)
    }

    /// The credentials, which must be the same in all places.
    pub(crate) fn ice_credentials(&self) -> Option<IceCredentials<'a>> {
        Some(IceCredentials { ufrag: self.single("ice-ufrag")?, pwd: self.single("ice-pwd")? })
    }

    /// Names of sections that share one path (RFC 9143).
    pub(crate) fn bundle(&self) -> Vec<&'a str> {
        let group = self.session.values("group").find_map(|group| group.strip_prefix("BUNDLE "));
        group.unwrap_or_default().split_whitespace().collect()
    }

    /// The numbers of all streams that are named (RFC 5576); `None` when some have names of another kind (RFC 8851).
    pub(crate) fn streams(&self) -> Option<BTreeSet<u32>> {
        if self.values("rid").next().is_some() {
            return None;
        }
        Some(self.values("ssrc").filter_map(|value| value.split(' ').next()?.parse().ok()).collect())
    }
}

impl<'a> Part<'a> {
    /// Line by line, with line ends.
    pub(crate) fn lines(self) -> impl Iterator<Item = &'a str> {
        self.text.split_inclusive('\n')
    }

    /// The values of an attribute.
    pub(crate) fn values(self, name: &str) -> impl Iterator<Item = &'a str> {
        self.lines().filter_map(move |line| value_of(line, name))
    }

    /// The value of an attribute, at its first place.
    pub(crate) fn value(self, name: &str) -> Option<&'a str> {
        self.values(name).next()
    }

    /// How checks of this part's path are signed, if it says so itself.
    pub(crate) fn ice_credentials(self) -> Option<IceCredentials<'a>> {
        Some(IceCredentials { ufrag: self.value("ice-ufrag")?, pwd: self.value("ice-pwd")? })
    }
}

impl<'a> Section<'a> {
    fn read(part: Part<'a>) -> Self {
        let first = part.text.lines().next().unwrap_or_default();
        // Kind, port, protocol, payload types.
        let mut words = first.strip_prefix("m=").unwrap_or_default().split_whitespace();
        let kind = words.next().unwrap_or_default();
        let refused = words.next() == Some("0");
        let payload_types = words.skip(1).collect();
        let flow = |line: &str| match line.trim_end() {
            "a=sendrecv" => Some(Flow::Both),
            "a=sendonly" => Some(Flow::Sends),
            "a=recvonly" => Some(Flow::Receives),
            "a=inactive" => Some(Flow::Neither),
            _ => None,
        };
        let direction = part.lines().find_map(flow);
        Self { part, kind, refused, payload_types, mid: part.value("mid"), direction }
    }

    /// Its author sends.
    pub(crate) fn sends(&self) -> bool {
        !self.refused && matches!(self.direction, None | Some(Flow::Both | Flow::Sends))
    }

    /// Its author receives.
    pub(crate) fn receives(&self) -> bool {
        !self.refused && matches!(self.direction, None | Some(Flow::Both | Flow::Receives))
    }

    /// It has sound or pictures, and is not refused.
    pub(crate) fn is_used(&self) -> bool {
        self.is_media() && !self.refused
    }

    /// It has sound or pictures.
    pub(crate) fn is_media(&self) -> bool {
        matches!(self.kind, "audio" | "video")
    }

    /// It tells by which number the packets of its author's stream are known (RFC 5576, RFC 8851).
    pub(crate) fn names_stream(&self) -> bool {
        self.part.value("ssrc").is_some() || self.part.value("rid").is_some()
    }

    /// It has payload types, all of them numbers.
    pub(crate) fn has_payload_types(&self) -> bool {
        !self.payload_types.is_empty()
            && self.payload_types.iter().all(|payload_type| payload_type.parse::<u8>().is_ok())
    }

    /// Codec names, lower case, by payload type (RFC 8866 §6.6).
    pub(crate) fn codecs(&self) -> BTreeMap<u8, String> {
        let codec = |map: &str| {
            let (payload_type, format) = map.split_once(' ')?;
            let name = format.split('/').next().unwrap_or_default().trim();
            Some((payload_type.parse().ok()?, name.to_ascii_lowercase()))
        };
        self.part.values("rtpmap").filter_map(codec).collect()
    }

    /// The parameters of a payload type (RFC 8866 §6.15).
    pub(crate) fn format(&self, payload_type: u8) -> Option<&'a str> {
        self.part.values("fmtp").find_map(|value| {
            let (of, parameters) = value.split_once(' ')?;
            (of.parse() == Ok(payload_type)).then(|| parameters.trim())
        })
    }

    /// Each of its payload types has its codec, and there is one.
    pub(crate) fn has_codecs(&self) -> bool {
        let codecs = self.codecs();
        let has_codec = |payload_type: &&str| payload_type.parse().is_ok_and(|number: u8| codecs.contains_key(&number));
        !self.payload_types.is_empty() && self.payload_types.iter().all(has_codec)
    }
}

/// The value in a line of an attribute.
pub(crate) fn value_of<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.strip_prefix("a=")?.strip_prefix(name)?.strip_prefix(':').map(str::trim)
}

/// The hash and the digits of a fingerprint (RFC 8122 §5).
pub(crate) fn fingerprint(value: &str) -> Option<(&str, &str)> {
    value.split_once(' ').map(|(hash, digits)| (hash, digits.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sdp::ANSWER;

    #[test]
    fn which_way_a_section_flows() {
        let mixed = ANSWER.replace("a=rtpmap:111", "a=mid:0\r\na=sendonly\r\na=rtpmap:111");
        let description = Description::read(&mixed);
        let [audio, video] = &description.media[..] else { panic!("{description:?}") };
        assert_eq!((audio.kind, audio.mid, audio.sends(), audio.receives()), ("audio", Some("0"), true, false));
        assert_eq!((video.kind, video.mid, video.sends(), video.receives()), ("video", None, true, true));
        assert_eq!((audio.direction, video.direction, video.refused), (Some(Flow::Sends), None, false));
    }

    #[test]
    fn streams_are_known_by_their_numbers() {
        let named =
            "v=0\r\na=ssrc:1 cname:x\r\na=ssrc:1 msid:x\r\na=ssrc:4000000000 cname:x\r\na=ssrc:x\r\na=ssrc:7\r\n";
        assert_eq!(Description::read(named).streams(), Some([1, 4_000_000_000, 7].into()));
        let streams = |text| Description::read(text).streams();
        assert_eq!((streams(""), streams("a=rid:a send\r\n")), (Some(BTreeSet::new()), None));
    }

    #[test]
    fn what_is_read_is_the_whole_text() {
        for text in [ANSWER, "", "m=", "\nm=", "\nm=video", "v=0\nm=a 0\n\nm=\n", "\u{0}"] {
            let description = Description::read(text);
            assert_eq!(description.parts().map(|part| part.text).collect::<String>(), text);
        }
    }

    #[test]
    fn an_attribute_has_its_whole_name() {
        let part = Part { text: "a=mid:0\r\na=mid-level:9\r\na=ssrc-group:FID 1 2\r\n" };
        assert_eq!((part.value("mid"), part.value("ssrc"), part.value("mi")), (Some("0"), None, None));
    }
}
