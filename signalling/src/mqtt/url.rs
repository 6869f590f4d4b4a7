//! Where a broker is: `mqtt[s]://HOST[:PORT]` or `ws[s]://HOST[:PORT][/PATH]`.

use std::fmt;
use std::str::FromStr;

/// How to speak to a broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// MQTT over TCP, port 1883.
    Mqtt,
    /// MQTT over TLS, port 8883.
    Mqtts,
    /// MQTT over WebSocket, port 80.
    Ws,
    /// MQTT over WebSocket over TLS, port 443.
    Wss,
}

/// A broker's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerUrl {
    /// How to speak to it.
    pub scheme: Scheme,
    /// User name in the URL, if any.
    pub user: Option<String>,
    /// Host name or IP address, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Path of the WebSocket, starting with `/`; `/mqtt` unless given. Empty for TCP.
    pub path: String,
}

/// A text that is no broker address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidBrokerUrl {
    /// Another scheme, or none.
    #[error(
        "{0:?} is no broker address; use mqtt://HOST[:1883], mqtts://HOST[:8883], ws://HOST[:PORT]/PATH or wss://…"
    )]
    Scheme(String),
    /// No host, or one that cannot be.
    #[error("broker address {0:?} has no usable host")]
    Host(String),
    /// The port is no number from 1 to 65535.
    #[error("broker address {0:?} has no usable port; it must be 1 to 65535")]
    Port(String),
    /// A password in a URL ends in shell histories and process lists.
    #[error("a password does not belong into the broker address; pass it by --password-file or TRING_PASSWORD")]
    Password,
}

impl FromStr for BrokerUrl {
    type Err = InvalidBrokerUrl;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad_scheme = || InvalidBrokerUrl::Scheme(text.to_owned());
        let (scheme, rest) = text.split_once("://").ok_or_else(bad_scheme)?;
        let (scheme, default_port) = match scheme {
            "mqtt" => (Scheme::Mqtt, 1883),
            "mqtts" => (Scheme::Mqtts, 8883),
            "ws" => (Scheme::Ws, 80),
            "wss" => (Scheme::Wss, 443),
            _ => return Err(bad_scheme()),
        };
        let (authority, path) = match rest.split_once('/') {
            Some((authority, path)) => (authority, format!("/{path}")),
            None => (rest, String::new()),
        };
        let (user, address) = match authority.rsplit_once('@') {
            Some((user, _)) if user.contains(':') => return Err(InvalidBrokerUrl::Password),
            Some((user, address)) => (Some(user.to_owned()), address),
            None => (None, authority),
        };
        let (host, port) = split_port(address);
        let port = match port {
            None => default_port,
            Some(port) => match port.parse() {
                Ok(port) if port > 0 => port,
                _ => return Err(InvalidBrokerUrl::Port(text.to_owned())),
            },
        };
        let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        if bare.is_empty() || bare.chars().any(|c| c.is_whitespace() || c.is_control() || "[]@?#".contains(c)) {
            return Err(InvalidBrokerUrl::Host(text.to_owned()));
        }
        let path = match scheme {
            Scheme::Mqtt | Scheme::Mqtts if path.len() > 1 => return Err(bad_scheme()),
            Scheme::Mqtt | Scheme::Mqtts => String::new(),
            Scheme::Ws | Scheme::Wss if path.is_empty() => "/mqtt".to_owned(),
            Scheme::Ws | Scheme::Wss => path,
        };
        Ok(Self { scheme, user, host: bare.to_owned(), port, path })
    }
}

fn split_port(address: &str) -> (&str, Option<&str>) {
    match address.rsplit_once(':') {
        // An IPv6 address without brackets has several colons; with them, the last ']' ends the host.
        Some((host, port)) if !port.contains(']') && (host.ends_with(']') || !host.contains(':')) => (host, Some(port)),
        _ => (address, None),
    }
}

impl fmt::Display for BrokerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Mqtt => "mqtt",
            Scheme::Mqtts => "mqtts",
            Scheme::Ws => "ws",
            Scheme::Wss => "wss",
        };
        if self.host.contains(':') {
            write!(f, "{scheme}://[{}]:{}{}", self.host, self.port, self.path)
        } else {
            write!(f, "{scheme}://{}:{}{}", self.host, self.port, self.path)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_with_their_defaults() {
        for (text, expected) in [
            ("mqtt://h", "mqtt://h:1883"),
            ("mqtt://alice@h:99", "mqtt://h:99"),
            ("mqtt://h/", "mqtt://h:1883"),
            ("mqtts://h", "mqtts://h:8883"),
            ("mqtt://[::1]:7", "mqtt://[::1]:7"),
            ("mqtt://[::1]", "mqtt://[::1]:1883"),
            ("ws://h", "ws://h:80/mqtt"),
            ("wss://h:444/a/b", "wss://h:444/a/b"),
        ] {
            assert_eq!(text.parse::<BrokerUrl>().unwrap().to_string(), expected);
        }
        assert_eq!("mqtt://alice@h".parse::<BrokerUrl>().unwrap().user.as_deref(), Some("alice"));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            "h",
            "http://h",
            "mqtt://",
            "mqtt://:1",
            "mqtt://h:0",
            "mqtt://h:99999",
            "mqtt://h:x",
            "mqtt://a b",
            "mqtt://h/path",
        ] {
            assert!(text.parse::<BrokerUrl>().is_err(), "{text}");
        }
        assert_eq!("mqtt://a:b@h".parse::<BrokerUrl>(), Err(InvalidBrokerUrl::Password));
    }
}
