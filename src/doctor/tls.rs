//! TLS with a broker, looked at by itself: is its certificate trusted, and for how long?
//!
//! And the time by a broker over WebSocket: it speaks HTTP first, and an HTTP answer is dated. Both block; run them aside.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{CertificateError, ClientConfig, ClientConnection, Stream};
use signalling::mqtt::BrokerUrl;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::calendar;

/// How long one step may take: connecting, one read, one write.
const STEP: Duration = Duration::from_secs(2);

/// Most of an HTTP answer that is read: its head.
const HEAD_BYTES_MAX: u64 = 8 * 1024;

/// A certificate that expires within this time is worth a warning, Unix seconds.
pub(super) const SOON: i64 = 14 * 24 * 3600;

/// TLS is up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Secured {
    /// `TLS 1.3`.
    pub(super) version: &'static str,
    /// When the certificate expires, Unix time; `None` when it cannot be read.
    pub(super) expires: Option<i64>,
}

/// TLS is not up: cause and advice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Untrusted {
    /// What TLS says.
    pub(super) cause: String,
    /// What to try.
    pub(super) fix: String,
}

/// Shakes hands with the broker of `url` at `address`.
pub(super) fn shake_hands(
    url: &BrokerUrl,
    address: SocketAddr,
    config: Arc<ClientConfig>,
) -> Result<Secured, Untrusted> {
    let (mut socket, mut tls) = open(url, address, config).map_err(|error| explain(&error, url))?;
    while tls.is_handshaking() {
        tls.complete_io(&mut socket).map_err(|error| explain(&error, url))?;
    }
    let version = match tls.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_3) => "TLS 1.3",
        Some(rustls::ProtocolVersion::TLSv1_2) => "TLS 1.2",
        Some(_) | None => "TLS",
    };
    let certificate = tls.peer_certificates().and_then(<[_]>::first);
    let expires = certificate.and_then(|der| X509Certificate::from_der(der).ok());
    let expires = expires.map(|(_, certificate)| certificate.validity().not_after.timestamp());
    Ok(Secured { version, expires })
}

/// The time by the HTTP server in front of a broker over WebSocket; `None` where it tells none. `tls` for `wss`.
pub(super) fn time_told(url: &BrokerUrl, address: SocketAddr, tls: Option<Arc<ClientConfig>>) -> Option<i64> {
    let told = match tls {
        None => connect(address).and_then(|mut socket| ask_time(url, &mut socket)),
        Some(config) => open(url, address, config)
            .and_then(|(mut socket, mut tls)| ask_time(url, &mut Stream::new(&mut tls, &mut socket))),
    };
    told.inspect_err(|error| tracing::debug!(%url, %error, "the broker tells no time")).ok().flatten()
}

fn open(url: &BrokerUrl, address: SocketAddr, config: Arc<ClientConfig>) -> io::Result<(TcpStream, ClientConnection)> {
    let name = ServerName::try_from(url.host.clone()).map_err(io::Error::other)?;
    let tls = ClientConnection::new(config, name).map_err(io::Error::other)?;
    Ok((connect(address)?, tls))
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpStream::connect_timeout(&address, STEP)?;
    socket.set_read_timeout(Some(STEP))?;
    socket.set_write_timeout(Some(STEP))?;
    Ok(socket)
}

/// A plain HTTP question, which a WebSocket server refuses: with a date, if it is a proper one.
fn ask_time(url: &BrokerUrl, stream: &mut (impl Read + Write)) -> io::Result<Option<i64>> {
    let request = format!("GET {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", url.path, url.host);
    stream.write_all(request.as_bytes())?;
    stream.flush()?;
    let mut answer = Vec::new();
    // However it ends, by a time-out or a closed connection: the head may be there by then.
    let _partly = stream.take(HEAD_BYTES_MAX).read_to_end(&mut answer);
    Ok(dated(&String::from_utf8_lossy(&answer)))
}

/// The `Date` of an HTTP answer.
fn dated(answer: &str) -> Option<i64> {
    let mut lines = answer.lines();
    lines.next().filter(|status| status.starts_with("HTTP/"))?;
    let head = lines.take_while(|line| !line.is_empty());
    let mut fields = head.filter_map(|line| line.split_once(':'));
    fields.find(|(name, _)| name.eq_ignore_ascii_case("date")).and_then(|(_, date)| calendar::from_http(date.trim()))
}

/// What went wrong, by what rustls says inside an IO error.
fn explain(error: &io::Error, url: &BrokerUrl) -> Untrusted {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let (cause, fix) = match inner {
        Some(rustls::Error::InvalidCertificate(reason)) => certificate(reason, url),
        Some(rustls::Error::InvalidMessage(_)) => (
            "what answers there does not speak TLS".to_owned(),
            "another port, or mqtt:// (ws://) without TLS".to_owned(),
        ),
        Some(other) => (other.to_string(), "look at the broker's log".to_owned()),
        None => match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => (
                format!("no answer within {} s", STEP.as_secs()),
                "is this the broker's port for TLS? Without TLS it is mqtt:// (ws://)".to_owned(),
            ),
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => (
                "the broker closed the connection".to_owned(),
                "is this its port for TLS, and does it want a client certificate (--cert, --key)?".to_owned(),
            ),
            _ => (error.to_string(), "look at the broker's log".to_owned()),
        },
    };
    Untrusted { cause, fix }
}

fn certificate(reason: &CertificateError, url: &BrokerUrl) -> (String, String) {
    let host = &url.host;
    match reason {
        CertificateError::UnknownIssuer => (
            "its certificate is of an authority that is not trusted here".to_owned(),
            "pass the authority's certificate: --ca-file ca.crt".to_owned(),
        ),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => (
            "its certificate has expired, by this machine's clock".to_owned(),
            "renew it at the broker, or set this machine's clock".to_owned(),
        ),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => (
            "its certificate is not valid yet, by this machine's clock".to_owned(),
            "set this machine's clock".to_owned(),
        ),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => (
            format!("its certificate is not for {host:?}"),
            "call the broker by a name in its certificate, or give it one that names this host".to_owned(),
        ),
        other => {
            (format!("its certificate is not accepted: {other}"), "give the broker another certificate".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url() -> BrokerUrl {
        "mqtts://broker.example".parse().unwrap()
    }

    #[test]
    fn what_tls_says_becomes_cause_and_advice() {
        let of = |reason| {
            let error = io::Error::new(io::ErrorKind::InvalidData, rustls::Error::InvalidCertificate(reason));
            explain(&error, &url())
        };
        assert!(of(CertificateError::UnknownIssuer).fix.contains("--ca-file"));
        assert!(of(CertificateError::Expired).cause.contains("expired"));
        assert!(of(CertificateError::NotValidForName).cause.contains("broker.example"));
        assert!(of(CertificateError::NotValidYet).fix.contains("clock"));
        let closed = explain(&io::ErrorKind::UnexpectedEof.into(), &url());
        assert!(closed.fix.contains("--cert"), "{closed:?}");
    }

    #[test]
    fn the_date_of_an_answer_is_found() {
        let answer = "HTTP/1.1 404 Not Found\r\nServer: x\r\ndate: Wed, 25 Nov 2026 13:05:09 GMT\r\n\r\nDate: no\r\n";
        assert_eq!(dated(answer), Some(1_795_611_909));
        assert_eq!(dated("HTTP/1.1 200 OK\r\n\r\nDate: Wed, 25 Nov 2026 13:05:09 GMT\r\n"), None);
        for text in ["", "\u{0}\u{1}", "Date: Wed, 25 Nov 2026 13:05:09 GMT\r\n", "HTTP/1.1 200 OK\r\nDate: x\r\n"] {
            assert_eq!(dated(text), None, "{text:?}");
        }
    }
}
