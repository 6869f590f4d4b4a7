//! The cookie of a DTLS handshake, as the offer of the side tells it that will be the server:
//! `a=tring-dtls-cookie:` and the bytes in hexadecimal digits. Who does not know the attribute ignores it (RFC 8866 §5.13).

use std::fmt::Display;

use super::description::Description;
use super::rewrite::with_session_line;

const NAME: &str = "tring-dtls-cookie";

/// The offer with this cookie, among the lines of the session.
pub(crate) fn tell(offer: &str, cookie: &impl Display) -> String {
    with_session_line(offer, &format!("a={NAME}:{cookie}"))
}

/// The cookie that an offer tells.
pub(crate) fn told(offer: &str) -> Option<&str> {
    Description::read(offer).session.value(NAME)
}

/// Whether the author of an answer begins DTLS (RFC 8842 §5.3).
pub(crate) fn begins(answer: &str) -> bool {
    Description::read(answer).values("setup").next() == Some("active")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sdp::ANSWER;

    #[test]
    fn what_is_told_is_read() {
        let offer = tell(ANSWER, &"0123");
        assert_eq!(told(&offer), Some("0123"));
        assert_eq!(offer.replace("a=tring-dtls-cookie:0123\r\n", ""), ANSWER);
        assert_eq!(told(ANSWER), None);
    }

    #[test]
    fn an_answer_says_who_begins() {
        for (setup, expected) in [("active", true), ("passive", false), ("actpass", false)] {
            let answer = ANSWER.replace("a=rtpmap:111", &format!("a=setup:{setup}\r\na=rtpmap:111"));
            assert_eq!(begins(&answer), expected, "{setup}");
        }
        assert!(!begins(ANSWER));
    }
}
