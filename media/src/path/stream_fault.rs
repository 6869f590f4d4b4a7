//! [`StreamFault`]: why there is no stream to a TURN server over TCP or TLS, with what to try.

use std::io;

use super::ice_server::IceUrl;
use network::system_error;

/// How long one step may take: the name server's answer, the TCP connection, a proxy's answer, the TLS handshake.
pub(crate) const STEP: std::time::Duration = std::time::Duration::from_secs(3);

/// Why there is no stream, or not any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StreamFault {
    /// The host has no address that could be used.
    #[error("cannot resolve the host: {0}")]
    Unresolved(String),
    /// The host says that nothing listens on the port.
    #[error("connection refused: nothing listens on this TCP port")]
    Refused,
    /// No address of the host answers, and they do not agree why.
    #[error("none of its {addresses} addresses answers ({told})")]
    Unreached {
        /// How many were tried.
        addresses: usize,
        /// What some of them said.
        told: String,
    },
    /// A step took too long.
    #[error("{0} within {step} s", step = STEP.as_secs())]
    Timeout(&'static str),
    /// What answers does not speak TLS.
    #[error("what answers on this port does not speak TLS")]
    NotTls,
    /// The connection ended in the middle of the TLS handshake.
    #[error("the server closed the connection before TLS was up")]
    ClosedInTls,
    /// TLS does not come up for another reason, such as a certificate that is not trusted.
    #[error("{cause}")]
    Tls {
        /// What was seen.
        cause: String,
        /// What to try.
        fix: String,
    },
    /// The proxy does not lead there.
    #[error("the proxy {proxy} {cause}")]
    Proxy {
        /// Its address, without a login.
        proxy: String,
        /// What it says.
        cause: String,
    },
    /// What comes is not TURN.
    #[error("what answers on this port does not speak TURN")]
    NotTurn,
    /// The server ended the connection, and with it the allocation.
    #[error("the server closed the connection")]
    Closed,
    /// The connection failed on this side, or on the way.
    #[error("the connection failed: {0}")]
    Local(String),
    /// From this address of ours the server is not to be reached; another one may do.
    #[error("not to be reached from this address")]
    OtherSide,
}

impl StreamFault {
    /// What ended a stream that was up.
    pub(crate) fn of_io(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::UnexpectedEof => Self::Closed,
            _ => Self::Local(system_error::in_words(error)),
        }
    }

    /// What to try with the server at `url`.
    #[must_use]
    pub fn advice(&self, url: &IceUrl) -> String {
        let port = url.port;
        match self {
            Self::Unresolved(_) => {
                format!("is {:?} spelled right, and does this machine have a name server?", url.host)
            }
            Self::Refused => format!("start the server, or correct the port {port} in --ice"),
            Self::Timeout(_) | Self::Unreached { .. } => {
                format!("is it running, and does every firewall on the way let TCP port {port} through?")
            }
            Self::NotTls => {
                format!("is {port} the server's port for TLS? Without TLS it is turn:{}?transport=tcp", url.host)
            }
            Self::ClosedInTls => {
                format!("is {port} the server's port for TLS, and has it a certificate? Look at the server's log")
            }
            Self::Tls { fix, .. } => fix.clone(),
            Self::Proxy { .. } => {
                format!("let the proxy connect to port {port}, or name the host in NO_PROXY if it is not to be used")
            }
            Self::NotTurn => format!("is a TURN server meant to be on port {port}?"),
            Self::Closed => "look at the server's log".to_owned(),
            Self::Local(_) | Self::OtherSide => "does this machine have a network?".to_owned(),
        }
    }

    /// True where the next attempt on the same path may end in another way.
    pub(crate) const fn may_pass(&self) -> bool {
        match self {
            Self::Unresolved(_) | Self::Refused | Self::Unreached { .. } | Self::Timeout(_) => true,
            Self::ClosedInTls | Self::Proxy { .. } => true,
            Self::Closed | Self::Local(_) => true,
            Self::NotTls | Self::Tls { .. } | Self::NotTurn | Self::OtherSide => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_names_the_port_and_what_to_type() {
        let url: IceUrl = "turns:turn.example:443".parse().unwrap();
        for (fault, words) in [
            (StreamFault::Refused, "port 443"),
            (StreamFault::Timeout("no TCP connection"), "TCP port 443"),
            (StreamFault::NotTls, "turn:turn.example?transport=tcp"),
            (StreamFault::Proxy { proxy: "p:1".into(), cause: "says no".into() }, "NO_PROXY"),
        ] {
            assert!(fault.advice(&url).contains(words), "{fault}: {}", fault.advice(&url));
        }
        assert_eq!(StreamFault::Timeout("no TCP connection").to_string(), "no TCP connection within 3 s");
    }
}
