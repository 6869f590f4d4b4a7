//! TLS with a broker, looked at by itself: is its certificate trusted, and for how long?
//!
//! And the time by a broker over WebSocket: it speaks HTTP first, and an HTTP answer is dated. Both block; run them aside.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use network::system_error::in_words;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, Stream};
use signalling::mqtt::{BrokerUrl, Cause, TlsFiles};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::calendar;

/// How long one step may take: one read, one write.
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

/// TLS is not up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// For this cause.
    Tls(Cause),
    /// It may not be TLS that is spoken there.
    NoTls(Cause),
}

/// Shakes hands with the broker of `url` by a connection to it.
pub(super) fn shake_hands(
    url: &BrokerUrl,
    mut socket: TcpStream,
    config: Arc<ClientConfig>,
    files: &TlsFiles,
) -> Result<Secured, Fault> {
    let mut tls = open(url, &socket, config).map_err(|error| explain(&error, url, files))?;
    while tls.is_handshaking() {
        tls.complete_io(&mut socket).map_err(|error| explain(&error, url, files))?;
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

/// The time by the HTTP server in front of a broker over WebSocket, by a connection to it; `None` where it tells none.
/// `tls` for `wss`.
pub(super) fn time_told(url: &BrokerUrl, mut socket: TcpStream, tls: Option<Arc<ClientConfig>>) -> Option<i64> {
    let told = match tls {
        None => bound(&socket).and_then(|()| ask_time(url, &mut socket)),
        Some(config) => {
            open(url, &socket, config).and_then(|mut tls| ask_time(url, &mut Stream::new(&mut tls, &mut socket)))
        }
    };
    told.inspect_err(|error| tracing::debug!(%url, %error, "the broker tells no time")).ok().flatten()
}

fn open(url: &BrokerUrl, socket: &TcpStream, config: Arc<ClientConfig>) -> io::Result<ClientConnection> {
    bound(socket)?;
    let name = ServerName::try_from(url.host.clone()).map_err(io::Error::other)?;
    ClientConnection::new(config, name).map_err(io::Error::other)
}

/// Makes a connection block, for [`STEP`] at most.
fn bound(socket: &TcpStream) -> io::Result<()> {
    socket.set_nonblocking(false)?;
    socket.set_read_timeout(Some(STEP))?;
    socket.set_write_timeout(Some(STEP))
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
fn explain(error: &io::Error, url: &BrokerUrl, files: &TlsFiles) -> Fault {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(error @ rustls::Error::InvalidMessage(_)) => Fault::NoTls(Cause::of_tls(error, &url.host, files)),
        Some(error) => Fault::Tls(Cause::of_tls(error, &url.host, files)),
        None => match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Fault::NoTls(Cause {
                cause: format!("no answer within {} s", STEP.as_secs()),
                fix: "is this the broker's port for TLS? Without TLS it is mqtt:// (ws://)".to_owned(),
            }),
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                Fault::NoTls(Cause::closed_in_handshake())
            }
            _ => Fault::Tls(Cause { cause: in_words(error), fix: "look at the broker's log".to_owned() }),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url() -> BrokerUrl {
        "mqtts://broker.example".parse().unwrap()
    }

    #[test]
    fn what_may_be_no_tls_is_told_from_what_is() {
        let explain = |error: io::Error| explain(&error, &url(), &TlsFiles::default());
        let expired = rustls::Error::InvalidCertificate(rustls::CertificateError::Expired);
        let told = explain(io::Error::new(io::ErrorKind::InvalidData, expired));
        assert!(matches!(&told, Fault::Tls(cause) if cause.cause.contains("expired")), "{told:?}");
        let told = explain(io::ErrorKind::UnexpectedEof.into());
        assert!(matches!(&told, Fault::NoTls(cause) if cause.fix.contains("--cert")), "{told:?}");
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
