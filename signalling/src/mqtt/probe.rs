//! What a port speaks that does not speak as the broker's address says: asked in MQTT, in TLS and in HTTP, one after
//! the other, until something answers.
//!
//! Each question is a connection of its own. None carries a login, and none is asked of a broker that works.

use std::time::Duration;

use network::proxy::Proxies;
use rustls::ClientConnection;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::reach::reach;
use super::{BrokerUrl, Scheme, Tls};

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(1);

/// How long each answer is waited for.
const ANSWER: Duration = Duration::from_millis(500);

/// A CONNECT of MQTT 3.1.1 with a clean session, no ClientId and no login.
const MQTT: [u8; 14] = [0x10, 12, 0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 10, 0, 0];

const HTTP: &[u8] = b"GET / HTTP/1.0\r\n\r\n";

/// How much of an answer is looked at.
const LOOK_BYTES: usize = 64;

/// How the first bytes of an answer tell what speaks.
const BANNERS: [(&[u8], Speech); 13] = [
    (b"HTTP/", Speech::Http),
    (b"<!DOCTYPE", Speech::Http),
    (b"<html", Speech::Http),
    (b"SSH-", Speech::Known("SSH")),
    (b"220", Speech::Known("SMTP or FTP")),
    (b"+OK", Speech::Known("POP3")),
    (b"* OK", Speech::Known("IMAP")),
    (b"AMQP", Speech::Known("AMQP")),
    (b"RFB ", Speech::Known("VNC")),
    (b"-ERR", Speech::Known("Redis")),
    (b"INFO {", Speech::Known("NATS")),
    (b"\x16\x03", Speech::Tls),
    (b"\x15\x03", Speech::Tls),
];

/// What was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speech {
    Mqtt,
    Tls,
    Http,
    Known(&'static str),
    Unknown,
    /// The connection was closed.
    Closed,
    /// Nothing at all.
    Nothing,
}

/// Something else than what the broker's address says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherProtocol {
    /// What it does: `speaks TLS`.
    pub cause: String,
    /// What to try.
    pub fix: String,
}

/// Looks what the port of `url` speaks; `None` where it is what it should be, or cannot be told.
pub async fn other_protocol(url: &BrokerUrl, tls: &Tls, proxies: &Proxies) -> Option<OtherProtocol> {
    let mut silent = true;
    let hello = client_hello(url, tls).unwrap_or_default();
    for question in [&MQTT[..], &hello, HTTP] {
        match ask(url, proxies, question).await? {
            Speech::Nothing => {}
            Speech::Closed | Speech::Unknown => silent = false,
            heard => return meaning(heard, url.scheme),
        }
    }
    silent.then(|| OtherProtocol {
        cause: "takes connections, but answers neither MQTT nor TLS nor HTTP".to_owned(),
        fix: "is it at work, and is the port in --broker right?".to_owned(),
    })
}

/// One question; `None` when there is no connection.
async fn ask(url: &BrokerUrl, proxies: &Proxies, question: &[u8]) -> Option<Speech> {
    let mut socket = reach(url, proxies, CONNECT).await.ok()?.stream;
    if question.is_empty() || socket.write_all(question).await.is_err() {
        return Some(Speech::Closed);
    }
    let mut answer = [0; LOOK_BYTES];
    Some(match timeout(ANSWER, socket.read(&mut answer)).await {
        Err(_) => Speech::Nothing,
        Ok(Ok(0) | Err(_)) => Speech::Closed,
        Ok(Ok(length)) => heard(&answer[..length]),
    })
}

fn heard(answer: &[u8]) -> Speech {
    // A CONNACK has two bytes in version 3.1.1.
    if let [0x20, 2, ..] = answer {
        return Speech::Mqtt;
    }
    BANNERS.iter().find(|(begin, _)| answer.starts_with(begin)).map_or(Speech::Unknown, |(_, speech)| *speech)
}

fn meaning(heard: Speech, scheme: Scheme) -> Option<OtherProtocol> {
    let other = |cause: &str, fix: &str| Some(OtherProtocol { cause: cause.to_owned(), fix: fix.to_owned() });
    match (heard, scheme) {
        (Speech::Mqtt, Scheme::Mqtt)
        | (Speech::Tls, Scheme::Mqtts | Scheme::Wss)
        | (Speech::Unknown | Speech::Closed | Speech::Nothing, _) => None,
        (Speech::Mqtt, Scheme::Mqtts) => other("speaks MQTT without TLS", "use mqtt://, or the broker's port for TLS"),
        (Speech::Mqtt, Scheme::Ws | Scheme::Wss) => {
            other("speaks MQTT without WebSocket", "use mqtt://, or the broker's port for WebSocket")
        }
        (Speech::Tls, Scheme::Mqtt) => other("speaks TLS", "use mqtts://, or the broker's port without TLS"),
        (Speech::Tls, Scheme::Ws) => other("speaks TLS", "use wss://, or the broker's port without TLS"),
        (Speech::Http, Scheme::Mqtt | Scheme::Mqtts) => other(
            "speaks HTTP, not MQTT",
            "use ws:// if this is the broker's port for WebSocket, else correct the port in --broker",
        ),
        // It was asked because WebSocket did not work.
        (Speech::Http, Scheme::Ws) => {
            other("speaks HTTP, but gives no WebSocket for MQTT", "correct port and path in --broker")
        }
        (Speech::Http, Scheme::Wss) => other("speaks HTTP without TLS", "use ws://, or the broker's port for TLS"),
        (Speech::Known(name), _) => other(&format!("speaks {name}, not MQTT"), "correct the port in --broker"),
    }
}

/// The first bytes of a TLS handshake.
fn client_hello(url: &BrokerUrl, tls: &Tls) -> Option<Vec<u8>> {
    let name = ServerName::try_from(url.host.clone()).ok()?;
    let mut connection = ClientConnection::new(tls.client_config(), name).ok()?;
    let mut hello = Vec::new();
    connection.write_tls(&mut hello).ok()?;
    Some(hello)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_words_tell_who_speaks() {
        for (answer, speech) in [
            (&b"\x20\x02\x00\x00"[..], Speech::Mqtt),
            (b"HTTP/1.1 400 Bad Request\r\n", Speech::Http),
            (b"SSH-2.0-OpenSSH_9.2\r\n", Speech::Known("SSH")),
            (b"\x15\x03\x01\x00\x02\x02\x46", Speech::Tls),
            (b"220 mail.example ESMTP", Speech::Known("SMTP or FTP")),
            (b"?", Speech::Unknown),
        ] {
            assert_eq!(heard(answer), speech, "{answer:?}");
        }
    }

    #[test]
    fn what_an_address_promises_is_no_surprise() {
        for (speech, scheme) in [(Speech::Mqtt, Scheme::Mqtt), (Speech::Tls, Scheme::Mqtts), (Speech::Tls, Scheme::Wss)]
        {
            assert_eq!(meaning(speech, scheme), None);
        }
        for (speech, scheme, advice) in [
            (Speech::Tls, Scheme::Mqtt, "mqtts://"),
            (Speech::Mqtt, Scheme::Mqtts, "mqtt://"),
            (Speech::Http, Scheme::Mqtt, "ws://"),
            (Speech::Mqtt, Scheme::Ws, "mqtt://"),
            (Speech::Known("SSH"), Scheme::Mqtt, "port"),
        ] {
            assert!(meaning(speech, scheme).is_some_and(|other| other.fix.contains(advice)), "{speech:?}");
        }
    }
}
