//! From an error with all its causes to what people want to know.

use std::error::Error;

use rustls::AlertDescription;

/// Longest text of a broker that is passed on, in characters.
const BROKER_TEXT_CHARS_MAX: usize = 200;

/// What certificate checking says, on either side, if that is what failed: trying again would not help then.
pub(super) fn tls(error: &(dyn Error + 'static)) -> Option<String> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        let tls = error.downcast_ref::<rustls::Error>().or_else(|| inner?.downcast_ref());
        match tls {
            Some(rustls::Error::AlertReceived(AlertDescription::CertificateRequired)) => {
                return Some("the broker asks for a client certificate; pass --cert and --key".to_owned());
            }
            Some(tls) => return Some(tls.to_string()),
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
        Some(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        Some(error) if error.kind() == std::io::ErrorKind::ConnectionReset => "connection reset".to_owned(),
        _ => innermost.to_string(),
    }
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
