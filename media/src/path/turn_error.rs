//! [`TurnError`]: why a TURN server is of no use, in words for the user.

use std::time::Duration;

use super::ice_server::IceUrl;
use super::stream_fault::StreamFault;

/// A server that does not answer for so long is of no use to a call that begins.
pub(crate) const SILENT_AFTER: Duration = Duration::from_secs(4);

/// Most of a server's own words that are passed on, in characters.
const REASON_CHARS_MAX: usize = 80;

/// Why a TURN server is of no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TurnError {
    /// Its name has no address.
    #[error("{url}: cannot resolve the host: {reason}")]
    Resolve {
        /// The server.
        url: String,
        /// What the resolver says.
        reason: String,
    },
    /// It does not answer.
    #[error("{url}: no answer for {} s; is it running, and does a firewall let {protocol} through?", SILENT_AFTER.as_secs())]
    Silent {
        /// The server.
        url: String,
        /// `UDP` or `TCP`.
        protocol: &'static str,
    },
    /// There is no stream to it.
    #[error("{url}: {fault}; {fix}")]
    Stream {
        /// The server.
        url: String,
        /// Why not.
        fault: StreamFault,
        /// What to try.
        fix: String,
    },
    /// Its machine says that nothing listens there.
    #[error("{url}: nothing listens on this UDP port; is it running there?")]
    Closed {
        /// The server.
        url: String,
    },
    /// The login is right, and too old.
    #[error(
        "{url}: login refused: it has expired ({code}); get another for --ice-user and --ice-password-file, or, with \
         --ice-secret-file, set the clock of this machine"
    )]
    Expired {
        /// The server.
        url: String,
        /// 401 or 441.
        code: u16,
    },
    /// It does not take the login.
    #[error("{url}: login refused ({code}); check --ice-user, --ice-password-file or --ice-secret-file")]
    Login {
        /// The server.
        url: String,
        /// 401 or 441.
        code: u16,
    },
    /// It gives no relay address for another reason.
    #[error("{url}: no relay address: {reason} ({code}); {fix}")]
    Refused {
        /// The server.
        url: String,
        /// Why.
        reason: String,
        /// By which code.
        code: u16,
        /// What to do.
        fix: &'static str,
    },
    /// The socket failed on this side.
    #[error("{url}: {reason}")]
    Local {
        /// The server.
        url: String,
        /// What failed.
        reason: String,
    },
}

impl TurnError {
    /// What the refusal of a relay address by this code means; `reason` are the server's own words.
    pub(crate) fn of_code(url: String, code: u16, reason: &str) -> Self {
        let refused = |reason: &str, fix| Self::Refused { url: url.clone(), reason: reason.to_owned(), code, fix };
        match code {
            401 | 441 if says_expired(reason) => Self::Expired { url, code },
            401 | 441 => Self::Login { url, code },
            403 => refused("the server forbids it", "look at its rules and its log"),
            437 => refused("the server holds an older one for this port", "try again"),
            440 => refused(
                "the server relays no IPv4",
                "let it relay IPv4, or IPv6 for whoever comes by it (coTURN: allocation-default-address-family=keep)",
            ),
            443 => refused("the server relays another family of addresses", "let it relay both, IPv4 and IPv6"),
            442 => refused("the server relays no UDP", "let it relay UDP (coTURN: without no-udp-relay)"),
            486 => refused(
                "the quota of this login, or of the server, is used up",
                "wait until other calls end, or raise it (coTURN: user-quota, total-quota; tring serve: --relay-quota)",
            ),
            508 => refused(
                "the server has no relay port left",
                "wait until other calls end, or give it more ports (coTURN: min-port, max-port)",
            ),
            _ => {
                let own = printable(reason);
                let own = if own.trim().is_empty() { "the server refuses it" } else { own.trim() };
                refused(own, "look at the server's log")
            }
        }
    }

    /// It does not answer.
    pub(crate) fn silent(url: &IceUrl) -> Self {
        Self::Silent { url: url.to_string(), protocol: url.transport.protocol() }
    }

    /// There is no stream to it.
    pub(crate) fn of_stream(url: &IceUrl, fault: &StreamFault) -> Self {
        Self::Stream { url: url.to_string(), fault: fault.clone(), fix: fault.advice(url) }
    }

    /// Which server it is about.
    #[must_use]
    pub fn url(&self) -> &str {
        match self {
            Self::Resolve { url, .. }
            | Self::Silent { url, .. }
            | Self::Stream { url, .. }
            | Self::Closed { url }
            | Self::Expired { url, .. }
            | Self::Login { url, .. }
            | Self::Refused { url, .. }
            | Self::Local { url, .. } => url,
        }
    }
}

/// True for the words of `tring serve` about a login whose time is over.
fn says_expired(reason: &str) -> bool {
    reason.to_ascii_lowercase().contains("expired")
}

/// A server's own words as part of a line: without control characters, at most [`REASON_CHARS_MAX`] characters.
pub(crate) fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(REASON_CHARS_MAX).collect()
}
