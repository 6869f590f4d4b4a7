//! Whether the author of an offer takes an answer before the call is accepted: `a=tring-early-answer` in its session part.
//! Who does not know the attribute ignores it (RFC 8866 §5.13).

use super::description::Description;
use super::rewrite::with_session_line;

const LINE: &str = "a=tring-early-answer";

/// The offer with that promise.
pub(crate) fn promise(offer: &str) -> String {
    with_session_line(offer, LINE)
}

/// True of an offer with that promise.
#[must_use]
pub fn takes_early_answer(offer: &str) -> bool {
    Description::read(offer).session.lines().any(|line| line.trim_end() == LINE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sdp::ANSWER;

    #[test]
    fn what_is_promised_is_read() {
        let offer = promise(ANSWER);
        assert!(takes_early_answer(&offer) && !takes_early_answer(ANSWER));
        assert_eq!(offer.replace("a=tring-early-answer\r\n", ""), ANSWER);
        let elsewhere = ANSWER.replace("a=rtpmap:111", "a=tring-early-answer\r\na=rtpmap:111");
        assert!(!takes_early_answer(&elsewhere), "it is said for the session");
    }
}
