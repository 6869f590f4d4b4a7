//! A STUN transaction over UDP (RFC 8489 §6.2.1): one request, retransmitted, and its answer.
//!
//! Owns retransmission and the matching of answers; what is asked is up to the caller. Never waits longer than
//! [`PATIENCE`].

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use rtc::stun::message::{Message, is_stun_message};
use tokio::net::{UdpSocket, lookup_host};
use tokio::time::{Instant, timeout, timeout_at};

use crate::path::ice_server::IceUrl;
use crate::system_error;

/// When a question is sent again: a lost packet on a long line costs little, a dead server is noticed soon.
pub(crate) const TRIES: [Duration; 4] =
    [Duration::from_millis(300), Duration::from_millis(600), Duration::from_millis(900), Duration::from_millis(1200)];

/// How long an answer is waited for in all.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3);

/// How long a name may take to resolve.
const RESOLVE: Duration = Duration::from_secs(3);

/// Largest datagram looked at; answers have a few hundred bytes.
const DATAGRAM_MAX: usize = 2048;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Unanswered {
    /// The host has no address that could be used.
    #[error("cannot resolve the host: {0}")]
    Unresolved(String),
    /// The host says that nothing listens on the port (ICMP).
    #[error("nothing listens on this UDP port")]
    Closed,
    /// Nothing came.
    #[error("no answer within {} s", PATIENCE.as_secs())]
    Silent,
    /// What came is no answer to what was asked.
    #[error("what answers there does not speak STUN as it should")]
    Nonsense,
    /// The socket failed on this side.
    #[error("cannot send: {0}")]
    Local(String),
}

impl Unanswered {
    /// What to try with a server that should answer on `url`.
    #[must_use]
    pub fn advice(&self, url: &IceUrl) -> String {
        match self {
            Self::Unresolved(_) => {
                format!("is {:?} spelled right, and does this machine have a name server?", url.host)
            }
            Self::Nonsense => format!("is a STUN server meant to be on port {}?", url.port),
            Self::Closed => format!("start the server, or correct the port {} in --ice", url.port),
            Self::Silent => {
                format!("is it running, and does every firewall on the way let UDP port {} through?", url.port)
            }
            Self::Local(_) => "does this machine have a network?".to_owned(),
        }
    }
}

impl From<io::Error> for Unanswered {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Closed,
            _ => Self::Local(system_error::in_words(&error)),
        }
    }
}

/// The address of a server. Media goes over IPv4 alone.
pub(crate) async fn resolve(url: &IceUrl) -> Result<SocketAddr, Unanswered> {
    let failed = |reason: &str| Unanswered::Unresolved(reason.to_owned());
    let found = timeout(RESOLVE, lookup_host(format!("{}:{}", url.host, url.port))).await;
    let mut found = found
        .map_err(|_| failed("no answer from the name server"))?
        .map_err(|e| failed(&system_error::in_words(&e)))?;
    found.find(SocketAddr::is_ipv4).ok_or_else(|| failed("it has no IPv4 address"))
}

/// A socket that speaks to many.
pub(crate) async fn open() -> Result<UdpSocket, Unanswered> {
    Ok(UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?)
}

/// A socket that speaks to `server` alone, and so hears of a closed port.
pub(crate) async fn open_to(server: SocketAddr) -> Result<UdpSocket, Unanswered> {
    let socket = open().await?;
    socket.connect(server).await?;
    Ok(socket)
}

/// Asks `server` until it answers; the answer, and how long the last try took.
pub(crate) async fn ask(
    socket: &UdpSocket,
    server: SocketAddr,
    request: &Message,
) -> Result<(Message, Duration), Unanswered> {
    for wait in TRIES {
        let asked = Instant::now();
        send(socket, server, &request.raw).await?;
        let is_answer = |from, message: &Message| from == server && message.transaction_id == request.transaction_id;
        if let Some(answer) = hear(socket, asked + wait, is_answer).await? {
            return Ok((answer, asked.elapsed()));
        }
    }
    Err(Unanswered::Silent)
}

/// Sends bytes to `server`. A connected socket sends to where it is connected: systems differ on naming that again.
pub(crate) async fn send(socket: &UdpSocket, server: SocketAddr, bytes: &[u8]) -> io::Result<()> {
    match socket.peer_addr() {
        Ok(_) => socket.send(bytes).await,
        Err(_) => socket.send_to(bytes, server).await,
    }
    .map(drop)
}

/// The first message that is wanted, or `None` when none comes until `deadline`.
pub(crate) async fn hear(
    socket: &UdpSocket,
    deadline: Instant,
    is_wanted: impl Fn(SocketAddr, &Message) -> bool,
) -> io::Result<Option<Message>> {
    let mut buffer = vec![0; DATAGRAM_MAX];
    loop {
        let Ok(received) = timeout_at(deadline, socket.recv_from(&mut buffer)).await else { return Ok(None) };
        let (length, from) = received?;
        let datagram = &buffer[..length];
        let mut message = Message::new();
        if is_stun_message(datagram) && message.unmarshal_binary(datagram).is_ok() && is_wanted(from, &message) {
            return Ok(Some(message));
        }
    }
}
