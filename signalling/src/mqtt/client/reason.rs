//! From an error with all its causes to what people want to know.

use std::error::Error;

use crate::mqtt::cause;

/// Longest text of a broker that is passed on, in characters.
const BROKER_TEXT_CHARS_MAX: usize = 200;

/// What certificate checking says, on either side, if that is what failed: trying again would not help then.
pub(super) fn tls(error: &(dyn Error + 'static)) -> Option<rustls::Error> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        let tls = error.downcast_ref::<rustls::Error>().or_else(|| inner?.downcast_ref());
        match tls {
            Some(tls) => return Some(tls.clone()),
            None => cause = error.source(),
        }
    }
    None
}

/// The innermost cause, which says most, without the library's words around it.
pub(super) fn plain(error: &(dyn Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    match innermost.downcast_ref::<std::io::Error>() {
        Some(error) => cause::of_io(error),
        None => innermost.to_string(),
    }
}

/// What the state of a connection says without an innermost cause: the library's words would mean nothing to people.
pub(super) const CLOSED: &str = "the broker closed the connection";
pub(super) const UNREADABLE: &str = "what came is no MQTT, or broken";
pub(super) const OTHER_WEBSOCKET: &str = "an HTTP server gives a WebSocket, but none for MQTT";
pub(super) const SILENT: &str = "the broker does not answer any more";

/// An HTTP server that gives no WebSocket: what it says (`404 Not Found`) out of `HTTP error: 404 Not Found`.
pub(super) fn http_status(error: &(dyn Error + 'static)) -> Option<String> {
    error.to_string().split_once("HTTP error: ").map(|(_, status)| status.to_owned())
}

/// True when an HTTP server that says this may give a WebSocket soon.
pub(super) fn may_pass(status: &str) -> bool {
    ["429", "502", "503", "504"].iter().any(|code| status.starts_with(code))
}

/// True when the connection broke below what it carries.
pub(super) fn is_io(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.is::<std::io::Error>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// True when a connection ended before TLS was up.
pub(super) fn ended_in_tls(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.to_string().contains("tls handshake eof") {
            return true;
        }
        cause = error.source();
    }
    false
}

/// A reason code in words, with what the broker adds to it, which may be anything: no control characters get out.
pub(super) fn with_text(words: &str, added: Option<&str>) -> String {
    let added: String =
        added.unwrap_or_default().chars().filter(|c| !c.is_control()).take(BROKER_TEXT_CHARS_MAX).collect();
    if added.trim().is_empty() { words.to_owned() } else { format!("{words} ({})", added.trim()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_brokers_own_words_are_cut_and_cleaned() {
        assert_eq!(with_text("quota exceeded", None), "quota exceeded");
        assert_eq!(with_text("quota exceeded", Some(" \n")), "quota exceeded");
        assert_eq!(with_text("busy", Some("try\u{1b}[2J later")), "busy (try[2J later)");
        assert!(with_text("busy", Some(&"x".repeat(10_000))).len() < 300);
    }

    #[test]
    fn the_innermost_cause_is_told() {
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        assert_eq!(plain(&rumqttc::ConnectionError::Io(refused)), "connection refused");
        let unknown = std::io::Error::other(rustls::Error::General("no".into()));
        assert!(tls(&rumqttc::ConnectionError::Io(unknown)).is_some());
    }
}
