//! Descriptions rewritten: ours as they are sent, and those of the other side as the engine should read them. What a
//! rewrite is not about stays as it is, to the letter.

use super::description::{Description, Flow, value_of};

/// Takes the candidates out of a description, each with the position of its section: they are to pass the same limits as
/// those that come one by one.
#[must_use]
pub fn split_candidates(sdp: &str) -> (String, Vec<(String, u16)>) {
    let (mut rest, mut candidates) = (String::with_capacity(sdp.len()), Vec::new());
    for (index, part) in Description::read(sdp).parts().enumerate() {
        let section = u16::try_from(index.saturating_sub(1)).unwrap_or(u16::MAX);
        for line in part.lines() {
            match line.trim_end().strip_prefix("a=candidate:") {
                Some(candidate) => candidates.push((format!("candidate:{candidate}"), section)),
                None => rest.push_str(line),
            }
        }
    }
    (rest, candidates)
}

/// A description of the engine's as it is sent: candidates travel beside it, and a section that sends nothing names no
/// stream (RFC 9429 §5.2.1).
#[must_use]
pub fn as_sent(sdp: &str) -> String {
    let (sdp, _) = split_candidates(sdp);
    let description = Description::read(&sdp);
    let names_stream = |line: &str| ["msid", "ssrc", "ssrc-group"].iter().any(|name| value_of(line, name).is_some());
    let mut result = description.session.text.to_owned();
    for section in &description.media {
        let silent = matches!(section.direction, Some(Flow::Receives | Flow::Neither));
        result.extend(section.part.lines().filter(|line| !(silent && names_stream(line))));
    }
    let result: String = result.split_inclusive('\n').filter(|line| line.trim_end() != "a=end-of-candidates").collect();
    announce_trickle(&result)
}

/// Adds `a=ice-options:trickle` (RFC 8840 §4.1.1), which says that candidates follow.
#[must_use]
pub fn announce_trickle(sdp: &str) -> String {
    if sdp.contains("a=ice-options:") {
        return sdp.to_owned();
    }
    with_session_line(sdp, "a=ice-options:trickle")
}

/// The description with a line more in its session part.
pub(crate) fn with_session_line(sdp: &str, line: &str) -> String {
    sdp.replacen("\r\nm=", &format!("\r\n{line}\r\nm="), 1)
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
    use crate::sdp::ANSWER;

    #[test]
    fn candidates_come_out_of_a_description() {
        let with = ANSWER.replace("a=rtpmap:96", "a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\na=rtpmap:96");
        let (rest, candidates) = split_candidates(&with);
        assert_eq!(rest, ANSWER);
        assert_eq!(candidates, [("candidate:1 1 udp 1 192.0.2.1 9 typ host".to_owned(), 1)]);
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

    #[test]
    fn the_version_of_the_session_is_ours_to_count() {
        let theirs = "v=0\r\no=- 5 7 IN IP4 0.0.0.0\r\na=x\r\n";
        assert!(with_version(theirs, 8).starts_with("v=0\r\no=- 5 8 IN IP4 0.0.0.0\r\na="));
        for odd in ["", "o=", "v=0\r\no=- 1\r\n"] {
            assert_eq!(with_version(odd, 8), odd);
        }
    }
}
