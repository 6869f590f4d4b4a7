//! STUN and TURN servers: addresses and credentials. Which candidates may be used.

use std::net::Ipv6Addr;
use std::str::FromStr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

/// Which ICE candidates may be used (W3C WebRTC `iceTransportPolicy`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IcePolicy {
    /// Any.
    All,
    /// Only through a TURN server: hides our address and proves the relay.
    RelayOnly,
}

/// Whether candidates on 127.0.0.1 are gathered; of use only when both peers are on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loopback {
    /// Yes.
    Include,
    /// No.
    Exclude,
}

/// A STUN or TURN server.
#[derive(Clone, PartialEq, Eq)]
pub struct IceServer {
    /// What it is.
    pub url: IceUrl,
    /// User name for TURN; empty for STUN.
    pub username: String,
    /// Password for TURN; empty for STUN.
    pub password: String,
}

impl std::fmt::Debug for IceServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "IceServer({}, user {:?}, …)", self.url, self.username)
    }
}

/// Address of a STUN or TURN server (RFC 7064, RFC 7065), of a kind that this program can use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IceUrl {
    /// What it is asked for.
    pub kind: IceServerKind,
    /// How packets travel to it; a STUN server is asked over UDP.
    pub transport: IceTransport,
    /// Host name or address; IPv6 in brackets.
    pub host: String,
    /// UDP or TCP port.
    pub port: u16,
}

/// How packets travel to an ICE server, the best one first: TCP holds up everything behind a lost packet, and TLS needs
/// more round trips before the first packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum IceTransport {
    /// Datagrams.
    Udp,
    /// A stream (RFC 8656 §3.1).
    Tcp,
    /// An encrypted stream.
    Tls,
}

impl IceTransport {
    /// True where packets travel in a stream.
    #[must_use]
    pub const fn is_stream(self) -> bool {
        match self {
            Self::Udp => false,
            Self::Tcp | Self::Tls => true,
        }
    }

    /// What a firewall has to let through: `UDP` or `TCP`.
    #[must_use]
    pub const fn protocol(self) -> &'static str {
        if self.is_stream() { "TCP" } else { "UDP" }
    }

    /// `udp`, `tcp` or `tls`, as W3C webrtc-stats has it (`relayProtocol`).
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
        }
    }

    /// The port where a URL names none (RFC 7065 §3.1).
    const fn default_port(self) -> u16 {
        match self {
            Self::Udp | Self::Tcp => 3478,
            Self::Tls => 5349,
        }
    }
}

/// What an ICE server is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IceServerKind {
    /// Our address as seen from outside.
    Stun,
    /// A relay.
    Turn,
}

/// A text that is no usable STUN or TURN address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidIceUrl {
    /// Another scheme, or none.
    #[error("{0:?} is no ICE server; use stun:HOST[:3478], turn:HOST[:3478], or turns:HOST[:5349]")]
    Scheme(String),
    /// A transport that is not known here.
    #[error(
        "{0:?} cannot be used; use turn:HOST?transport=udp, turn:HOST?transport=tcp, turns:HOST (TLS), or stun:HOST"
    )]
    Transport(String),
    /// No host, or no port from 1 to 65535.
    #[error("{0:?} has no usable host or port")]
    Address(String),
}

impl FromStr for IceUrl {
    type Err = InvalidIceUrl;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (scheme, rest) = text.split_once(':').ok_or_else(|| InvalidIceUrl::Scheme(text.to_owned()))?;
        let (address, query) = rest.split_once('?').map_or((rest, None), |(address, query)| (address, Some(query)));
        let (kind, transport) = match (scheme, query) {
            ("stun", None | Some("transport=udp")) => (IceServerKind::Stun, IceTransport::Udp),
            ("turn", None | Some("transport=udp")) => (IceServerKind::Turn, IceTransport::Udp),
            ("turn", Some("transport=tcp")) => (IceServerKind::Turn, IceTransport::Tcp),
            ("turns", None | Some("transport=tcp")) => (IceServerKind::Turn, IceTransport::Tls),
            ("stun" | "turn" | "turns" | "stuns", _) => return Err(InvalidIceUrl::Transport(text.to_owned())),
            _ => return Err(InvalidIceUrl::Scheme(text.to_owned())),
        };
        let bad_address = || InvalidIceUrl::Address(text.to_owned());
        let (host, port) = match address.rsplit_once(':') {
            Some((host, port)) if host.ends_with(']') || !host.contains(':') => (host, Some(port)),
            _ => (address, None),
        };
        let port = match port {
            None => transport.default_port(),
            Some(port) => port.parse().ok().filter(|port| *port > 0).ok_or_else(bad_address)?,
        };
        let usable = match host.strip_prefix('[') {
            Some(rest) => rest.strip_suffix(']').is_some_and(|address| address.parse::<Ipv6Addr>().is_ok()),
            None => !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c)),
        };
        if !usable {
            return Err(bad_address());
        }
        Ok(Self { kind, transport, host: host.to_owned(), port })
    }
}

impl std::fmt::Display for IceUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { kind, transport, host, port } = self;
        match (kind, transport) {
            (IceServerKind::Stun, _) => write!(f, "stun:{host}:{port}"),
            (IceServerKind::Turn, IceTransport::Udp) => write!(f, "turn:{host}:{port}?transport=udp"),
            (IceServerKind::Turn, IceTransport::Tcp) => write!(f, "turn:{host}:{port}?transport=tcp"),
            (IceServerKind::Turn, IceTransport::Tls) => write!(f, "turns:{host}:{port}?transport=tcp"),
        }
    }
}

/// Time-limited TURN credentials from a shared secret, as coTURN's `use-auth-secret` checks them
/// (draft-uberti-behave-turn-rest-00 §2.2): user name `<expiry>:<id>`, password base64(HMAC-SHA1(secret, user name)).
/// `expiry` is Unix time.
///
/// They are made anew for every call and every ICE restart. An allocation keeps those it was made with. coTURN checks the
/// expiry when an allocation is made, and not when it is refreshed; a server that checks it then refuses the refresh, and
/// the ICE restart that follows brings new ones.
#[must_use]
pub fn time_limited_credentials(secret: &str, id: &str, expiry: Duration) -> (String, String) {
    let username = format!("{}:{id}", expiry.as_secs());
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes());
    let password = BASE64.encode(ring::hmac::sign(&key, username.as_bytes()));
    (username, password)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ice_urls_read_and_write_back() {
        for (text, expected) in [
            ("stun:h", "stun:h:3478"),
            ("stun:192.0.2.1:19302", "stun:192.0.2.1:19302"),
            ("turn:h", "turn:h:3478?transport=udp"),
            ("turn:[::1]:1?transport=udp", "turn:[::1]:1?transport=udp"),
            ("turn:h?transport=tcp", "turn:h:3478?transport=tcp"),
            ("turns:h", "turns:h:5349?transport=tcp"),
            ("turns:h:443?transport=tcp", "turns:h:443?transport=tcp"),
        ] {
            assert_eq!(text.parse::<IceUrl>().unwrap().to_string(), expected);
        }
    }

    #[test]
    fn unusable_ice_urls_say_why() {
        for text in ["turns:h?transport=udp", "stuns:h", "stun:h?transport=tcp", "turn:h:1?transport=tls", "turn:h?"] {
            assert!(matches!(text.parse::<IceUrl>(), Err(InvalidIceUrl::Transport(_))), "{text}");
        }
        for text in ["stun:", "turn:h:0", "turn:h:99999", "turn:::1", "turn:user@h", "turn:a b", "turn:[1]::"] {
            assert!(matches!(text.parse::<IceUrl>(), Err(InvalidIceUrl::Address(_))), "{text}");
        }
        for text in ["", "h", "http://h"] {
            assert!(matches!(text.parse::<IceUrl>(), Err(InvalidIceUrl::Scheme(_))), "{text}");
        }
    }

    #[test]
    fn credentials_match_those_of_another_implementation() {
        // printf '%s' '1700086400:alice' | openssl dgst -sha1 -hmac secret -binary | base64
        let (user, password) = time_limited_credentials("secret", "alice", Duration::from_secs(1_700_086_400));
        assert_eq!(user, "1700086400:alice");
        assert_eq!(password, "bQkkJ09au//1ZGbK+3Pt69JC3qg=");
    }
}
