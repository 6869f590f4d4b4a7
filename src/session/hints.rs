//! Words for a call that found no path: what this side knows of the cause, and what to try.

use std::time::Duration;

use ::media::peer::config::{IceServer, IceServerKind};

/// A search that ended sooner was given up for another reason, such as a camera that the other side cannot open.
pub(super) const SEARCHED: Duration = Duration::from_secs(5);

/// What to say when no path was found, beside the `problems` that were noted; `None` when those say enough.
pub(super) fn no_path(servers: &[IceServer], problems: &[String], has_network: bool) -> Option<&'static str> {
    let relayed = servers.iter().any(|server| server.url.kind == IceServerKind::Turn);
    match (has_network, relayed, problems.is_empty()) {
        (false, _, _) => Some("this machine has no IPv4 network, and media goes over IPv4 alone"),
        (true, false, _) => Some(
            "no TURN server is given here, and between many networks nothing else gets through; \
             pass --ice turn:HOST, --ice-user and its password file",
        ),
        (true, true, true) => Some(
            "our TURN server works; look at what the other side says, and whether a firewall there lets UDP through",
        ),
        (true, true, false) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(url: &str) -> IceServer {
        IceServer { url: url.parse().unwrap(), username: String::new(), password: String::new() }
    }

    #[test]
    fn the_cause_that_is_known_is_named() {
        let (direct, relayed) = ([server("stun:192.0.2.1")], [server("stun:192.0.2.1"), server("turn:192.0.2.1")]);
        let refused = ["allocation refused".to_owned()];
        let says = |hint: Option<&str>, words: &str| hint.is_some_and(|hint| hint.contains(words));
        assert!(says(no_path(&[], &[], true), "--ice turn:"));
        assert!(says(no_path(&direct, &[], true), "--ice turn:"));
        assert!(says(no_path(&relayed, &[], true), "the other side"));
        assert_eq!(no_path(&relayed, &refused, true), None);
        assert!(says(no_path(&direct, &[], false), "IPv4"));
        assert!(says(no_path(&relayed, &refused, false), "IPv4"));
    }
}
