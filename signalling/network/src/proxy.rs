//! Proxies on the way to servers: which one is used, and what is said to it. Pure.
//!
//! - [`Proxies`]: from the texts of `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` to the proxy for a host
//! - CONNECT of HTTP (RFC 9110 §9.3.6): [`connect_request`], [`connect_answer`]
//! - SOCKS5 (RFC 1928) with a login (RFC 1929): [`socks`]

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

/// What a user name or a password of SOCKS5 may have, bytes (RFC 1929 §2).
const SOCKS_TEXT_MAX: usize = 255;

/// Longest text of a proxy that is passed on, in characters.
const WORDS_CHARS_MAX: usize = 80;

/// What is on the way to servers that are reached over TCP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies {
    proxy: Option<Proxy>,
    direct: Vec<Exception>,
}

/// One proxy.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    /// How it is spoken to.
    pub kind: ProxyKind,
    /// Host name or IPv4 address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// User and password, if it wants them.
    pub login: Option<(String, String)>,
}

/// How a proxy is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyKind {
    /// HTTP, by its method CONNECT.
    Http,
    /// SOCKS5; names are looked up here.
    Socks5,
    /// SOCKS5; names are looked up by the proxy.
    Socks5h,
}

/// A text that names no usable proxy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidProxy {
    /// TLS with the proxy itself, SOCKS4, or something unknown.
    #[error("proxies of the kind {0:?} are not known; use http://HOST:PORT, socks5://HOST:PORT or socks5h://HOST:PORT")]
    Scheme(String),
    /// No host, or no port from 1 to 65535. The text is not repeated: it may hold a password.
    #[error("it has no usable host or port; use http://[USER:PASSWORD@]HOST:PORT")]
    Address,
    /// SOCKS5 takes at most 255 bytes of each.
    #[error("user name or password is longer than {SOCKS_TEXT_MAX} bytes")]
    Login,
}

/// Why a proxy does not lead to a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyFault {
    /// What it does or says, to be read after its name: `refuses the login`.
    pub cause: String,
    /// What to try, where that is known.
    pub fix: Option<&'static str>,
}

/// Cause and advice in one.
impl fmt::Display for ProxyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.cause)?;
        self.fix.map_or(Ok(()), |fix| write!(f, "; {fix}"))
    }
}

impl From<&str> for ProxyFault {
    fn from(cause: &str) -> Self {
        cause.to_owned().into()
    }
}

impl From<String> for ProxyFault {
    fn from(cause: String) -> Self {
        Self { cause, fix: None }
    }
}

/// A host, or many, that are reached without a proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Exception {
    Everything,
    Name { name: String, port: Option<u16> },
    Network { address: Ipv4Addr, prefix: u32 },
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({self}, …)")
    }
}

/// Without its login.
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl Proxies {
    /// Reads what the variables hold: of the first two, the first that is not empty names the proxy.
    ///
    /// # Errors
    /// [`InvalidProxy`] where that one names none that can be used.
    pub fn read(https: Option<&str>, all: Option<&str>, no_proxy: Option<&str>) -> Result<Self, InvalidProxy> {
        let named = [https, all].into_iter().flatten().map(str::trim).find(|text| !text.is_empty());
        let proxy = named.map(str::parse).transpose()?;
        let direct = no_proxy.unwrap_or_default().split([',', ' ']).filter_map(Exception::read).collect();
        Ok(Self { proxy, direct })
    }

    /// The proxy on the way to `host`; `None` where it is reached directly.
    #[must_use]
    pub fn on_the_way_to(&self, host: &str, port: u16) -> Option<&Proxy> {
        let is_direct = self.direct.iter().any(|exception| exception.covers(host, port));
        self.proxy.as_ref().filter(|_| !is_direct)
    }
}

impl std::str::FromStr for Proxy {
    type Err = InvalidProxy;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        let (kind, default_port) = match scheme.to_ascii_lowercase().as_str() {
            "http" => (ProxyKind::Http, 80),
            "socks5" => (ProxyKind::Socks5, 1080),
            "socks5h" => (ProxyKind::Socks5h, 1080),
            _ => return Err(InvalidProxy::Scheme(scheme.to_owned())),
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let (login, address) = match authority.rsplit_once('@') {
            Some((login, address)) => (Some(login), address),
            None => (None, authority),
        };
        let (host, port) = match address.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().ok().filter(|port| *port > 0).ok_or(InvalidProxy::Address)?),
            None => (address, default_port),
        };
        if host.is_empty() || !host.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c)) {
            return Err(InvalidProxy::Address);
        }
        let login = login.map(|login| {
            let (user, password) = login.split_once(':').unwrap_or((login, ""));
            (decoded(user), decoded(password))
        });
        let is_long = |text: &String| text.len() > SOCKS_TEXT_MAX;
        if login.as_ref().is_some_and(|(user, password)| is_long(user) || is_long(password)) {
            return Err(InvalidProxy::Login);
        }
        Ok(Self { kind, host: host.to_owned(), port, login })
    }
}

impl Exception {
    fn read(text: &str) -> Option<Self> {
        let text = text.trim().trim_start_matches("*.").to_ascii_lowercase();
        if text.is_empty() {
            return None;
        }
        if text == "*" {
            return Some(Self::Everything);
        }
        if let Some((address, prefix)) = text.split_once('/') {
            let (address, prefix) = (address.parse().ok()?, prefix.parse().ok().filter(|prefix| *prefix <= 32)?);
            return Some(Self::Network { address, prefix });
        }
        let (name, port) = match text.rsplit_once(':') {
            Some((name, port)) if !name.contains(':') => (name, Some(port.parse().ok()?)),
            _ => (text.as_str(), None),
        };
        Some(Self::Name { name: bare(name).trim_start_matches('.').to_owned(), port })
    }

    fn covers(&self, host: &str, port: u16) -> bool {
        let host = bare(host).to_ascii_lowercase();
        match self {
            Self::Everything => true,
            Self::Name { port: Some(wanted), .. } if *wanted != port => false,
            Self::Name { name, .. } => {
                let above = host.strip_suffix(name.as_str()).unwrap_or("no");
                host == *name || (above.ends_with('.') && host.parse::<IpAddr>().is_err())
            }
            Self::Network { address, prefix } => host.parse::<Ipv4Addr>().is_ok_and(|host| {
                let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
                u32::from(host) & mask == u32::from(*address) & mask
            }),
        }
    }
}

/// A host without the brackets that an IPv6 address may have.
#[must_use]
pub fn bare(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

/// `%40` as `@`; what is no such code stays.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let code = match after {
            [high, low, ..] if *first == b'%' => {
                let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
                digit(*high).zip(digit(*low)).map(|(high, low)| high * 16 + low)
            }
            _ => None,
        };
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The line by which HTTP logs in at a proxy (RFC 7617, RFC 9110 §11.7.2), without its end.
#[must_use]
pub fn basic_login(user: &str, password: &str) -> String {
    format!("Proxy-Authorization: Basic {}", BASE64.encode(format!("{user}:{password}")))
}

/// What asks an HTTP proxy for a tunnel to `host`.
#[must_use]
pub(crate) fn connect_request(proxy: &Proxy, host: &str, port: u16) -> Vec<u8> {
    let login = proxy.login.as_ref().map(|(user, password)| basic_login(user, password) + "\r\n");
    let login = login.unwrap_or_default();
    let host = bare(host);
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n{login}\r\n").into_bytes()
}

/// What the head of an HTTP proxy's answer means.
///
/// # Errors
/// Its words where it gives no tunnel.
pub(crate) fn connect_answer(head: &[u8]) -> Result<(), ProxyFault> {
    let head = String::from_utf8_lossy(head);
    let status = head.lines().next().unwrap_or_default();
    let Some((_, status)) = status.split_once(' ').filter(|(version, _)| version.starts_with("HTTP/1.")) else {
        return Err("answers, but not as an HTTP proxy does".into());
    };
    match status.get(..3) {
        Some(code) if code.starts_with('2') => Ok(()),
        Some("407") => {
            let cause = "wants a login, or another one (407)".to_owned();
            Err(ProxyFault { cause, fix: Some("put it into the URL of the proxy: http://USER:PASSWORD@HOST:PORT") })
        }
        _ => Err(format!("refuses the connection: {}", printable(status)).into()),
    }
}

/// A proxy's own words as part of a line: without control characters, at most [`WORDS_CHARS_MAX`] characters.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(WORDS_CHARS_MAX).collect()
}

/// Messages of SOCKS5.
pub(crate) mod socks {
    use std::net::IpAddr;

    use super::{Proxy, ProxyFault, bare};

    const VERSION: u8 = 5;
    const NO_LOGIN: u8 = 0;
    const LOGIN: u8 = 2;

    /// Which ways to log in we know (RFC 1928 §3).
    pub(crate) fn greeting(proxy: &Proxy) -> Vec<u8> {
        match proxy.login {
            Some(_) => vec![VERSION, 2, NO_LOGIN, LOGIN],
            None => vec![VERSION, 1, NO_LOGIN],
        }
    }

    /// What is sent after the greeting was answered: a login (RFC 1929 §2), if that is wanted.
    pub(crate) fn login(proxy: &Proxy, answer: [u8; 2]) -> Result<Option<Vec<u8>>, ProxyFault> {
        match (answer, &proxy.login) {
            ([VERSION, NO_LOGIN], _) => Ok(None),
            ([VERSION, LOGIN], Some((user, password))) => {
                let mut message = vec![1];
                for text in [user, password] {
                    message.push(u8::try_from(text.len()).map_err(|_| "takes no login as long as this")?);
                    message.extend(text.as_bytes());
                }
                Ok(Some(message))
            }
            ([VERSION, _], None) => {
                let fix = Some("put it into the URL of the proxy: socks5://USER:PASSWORD@HOST:PORT");
                Err(ProxyFault { cause: "wants a login".to_owned(), fix })
            }
            ([VERSION, _], Some(_)) => Err("takes no login by user and password".into()),
            _ => Err("answers, but not as a SOCKS5 proxy does".into()),
        }
    }

    /// What the answer to a login means.
    pub(crate) fn logged_in(answer: [u8; 2]) -> Result<(), ProxyFault> {
        if answer[1] == 0 { Ok(()) } else { Err("refuses the login".into()) }
    }

    /// Asks for a connection (RFC 1928 §4) to an address, or to a name that the proxy looks up.
    pub(crate) fn request(host: &str, port: u16) -> Result<Vec<u8>, ProxyFault> {
        let mut message = vec![VERSION, 1, 0];
        let host = bare(host);
        match host.parse::<IpAddr>() {
            Ok(IpAddr::V4(ip)) => {
                message.push(1);
                message.extend(ip.octets());
            }
            Ok(IpAddr::V6(ip)) => {
                message.push(4);
                message.extend(ip.octets());
            }
            Err(_) => {
                message.push(3);
                message.push(u8::try_from(host.len()).map_err(|_| "takes no name as long as this")?);
                message.extend(host.as_bytes());
            }
        }
        message.extend(port.to_be_bytes());
        Ok(message)
    }

    /// How many bytes follow the first five of the answer to a request; they hold an address of no use to us.
    pub(crate) fn rest_of_answer(answer: [u8; 5]) -> Result<usize, ProxyFault> {
        let [VERSION, code, _, kind, first] = answer else {
            return Err("answers, but not as a SOCKS5 proxy does".into());
        };
        match code {
            0 => {}
            2 => return Err("does not allow the connection".into()),
            3 | 4 => return Err("cannot reach the server".into()),
            5 => return Err("was refused the connection: nothing listens on the server's port".into()),
            6 => return Err("got no answer from the server".into()),
            code => return Err(format!("gives no connection (SOCKS5 code {code})").into()),
        }
        // One byte of the address was read; a port follows.
        match kind {
            1 => Ok(3 + 2),
            3 => Ok(usize::from(first) + 2),
            4 => Ok(15 + 2),
            _ => Err("answers, but not as a SOCKS5 proxy does".into()),
        }
    }
}

#[cfg(test)]
#[path = "proxy_tests.rs"]
mod tests;
