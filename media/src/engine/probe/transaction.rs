//! A STUN transaction (RFC 8489 §6.2): one request and its answer, over UDP or in a stream.
//!
//! Owns retransmission, which UDP alone needs, and the matching of answers; what is asked is up to the caller. Never waits
//! longer than [`PATIENCE`].

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use rtc::shared::turn_framing::TurnStreamDecoder;
use rtc::stun::message::{Message, is_stun_message};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UdpSocket, lookup_host};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout, timeout_at};

use crate::engine::dial::{Connection, Dialer, Start};
use crate::path::ice_server::IceUrl;
use crate::path::stream_fault::StreamFault;
use network::system_error;

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
    /// There is no stream to the server, or not any more.
    #[error(transparent)]
    Stream(#[from] StreamFault),
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
                let protocol = url.transport.protocol();
                format!("is it running, and does every firewall on the way let {protocol} port {} through?", url.port)
            }
            Self::Stream(fault) => fault.advice(url),
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

/// The address of a server: by IPv4 where it has one and this machine has a way there.
pub(crate) async fn resolve(url: &IceUrl) -> Result<SocketAddr, Unanswered> {
    let failed = |reason: &str| Unanswered::Unresolved(reason.to_owned());
    let found = timeout(RESOLVE, lookup_host(format!("{}:{}", url.host, url.port))).await;
    let found = found
        .map_err(|_| failed("no answer from the name server"))?
        .map_err(|e| failed(&system_error::in_words(&e)))?;
    let found: Vec<SocketAddr> = found.collect();
    let first_of = |is_ipv4: bool| found.iter().find(|address| address.is_ipv4() == is_ipv4).copied();
    let by_ipv4 = first_of(true).filter(|address| has_way_to(*address));
    by_ipv4.or_else(|| first_of(false)).or_else(|| first_of(true)).ok_or_else(|| failed("it has no address"))
}

/// Whether there is a route. Connecting a UDP socket sends nothing.
fn has_way_to(server: SocketAddr) -> bool {
    std::net::UdpSocket::bind((any_for(server), 0)).is_ok_and(|socket| socket.connect(server).is_ok())
}

/// Any address of ours, of the family of `server`.
pub(crate) const fn any_for(server: SocketAddr) -> IpAddr {
    match server {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}

/// A socket that speaks to many, over IPv4: what a NAT does is seen there.
pub(crate) async fn open() -> Result<UdpSocket, Unanswered> {
    Ok(UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?)
}

/// A socket that speaks to `server` alone, and so hears of a closed port.
pub(crate) async fn open_to(server: SocketAddr) -> Result<UdpSocket, Unanswered> {
    let socket = UdpSocket::bind((any_for(server), 0)).await?;
    socket.connect(server).await?;
    Ok(socket)
}

/// The way to one server.
pub(crate) enum Line {
    /// Datagrams.
    Datagrams {
        /// Connected to the server.
        socket: UdpSocket,
        /// Where the server is.
        server: SocketAddr,
    },
    /// A stream over TCP or TLS.
    Stream {
        /// What comes and goes.
        framed: Mutex<Framed>,
        /// Where the server is; `None` behind a proxy.
        server: Option<SocketAddr>,
    },
}

/// A stream, and what came of it that is no whole message yet.
pub(crate) struct Framed {
    connection: Connection,
    decoder: TurnStreamDecoder,
}

impl Line {
    /// A way to the server of `url`.
    pub(crate) async fn to(url: &IceUrl, dialer: &Dialer) -> Result<Self, Unanswered> {
        if url.transport.is_stream() {
            let look_up = |name: String| async move { Ok(lookup_host(name).await?.collect()) };
            let connection = dialer.dial(url, &Start::default(), look_up).await?;
            let server = connection.server;
            let framed = Mutex::new(Framed { connection, decoder: TurnStreamDecoder::new() });
            return Ok(Self::Stream { framed, server });
        }
        let server = resolve(url).await?;
        Ok(Self::Datagrams { socket: open_to(server).await?, server })
    }

    /// The address of the server; `None` where it is behind a proxy.
    pub(crate) const fn server(&self) -> Option<SocketAddr> {
        match self {
            Self::Datagrams { server, .. } => Some(*server),
            Self::Stream { server, .. } => *server,
        }
    }

    /// Asks until there is an answer; the answer, and how long the last try took.
    pub(crate) async fn ask(&self, request: &Message) -> Result<(Message, Duration), Unanswered> {
        let is_answer = |message: &Message| message.transaction_id == request.transaction_id;
        match self {
            Self::Datagrams { socket, server } => ask(socket, *server, request).await,
            // A stream delivers the question, or breaks.
            Self::Stream { .. } => {
                let asked = Instant::now();
                self.send(&request.raw).await?;
                let answer = self.hear(asked + PATIENCE, is_answer).await?;
                answer.map(|answer| (answer, asked.elapsed())).ok_or(Unanswered::Silent)
            }
        }
    }

    /// Sends one message.
    pub(crate) async fn send(&self, bytes: &[u8]) -> Result<(), Unanswered> {
        match self {
            Self::Datagrams { socket, server } => Ok(send(socket, *server, bytes).await?),
            Self::Stream { framed, .. } => {
                let stream = &mut framed.lock().await.connection.stream;
                let writing = async {
                    stream.write_all(bytes).await?;
                    stream.flush().await
                };
                let written = timeout(PATIENCE, writing).await.map_err(|_| Unanswered::Silent)?;
                Ok(written.map_err(|error| StreamFault::of_io(&error))?)
            }
        }
    }

    /// The first message that is wanted, or `None` when none comes until `deadline`.
    pub(crate) async fn hear(
        &self,
        deadline: Instant,
        is_wanted: impl Fn(&Message) -> bool,
    ) -> Result<Option<Message>, Unanswered> {
        match self {
            Self::Datagrams { socket, .. } => {
                Ok(hear(socket, deadline, |_from, message: &Message| is_wanted(message)).await?)
            }
            Self::Stream { framed, .. } => {
                let mut framed = framed.lock().await;
                timeout_at(deadline, framed.hear(is_wanted)).await.map_or(Ok(None), |heard| Ok(Some(heard?)))
            }
        }
    }
}

impl Framed {
    async fn hear(&mut self, is_wanted: impl Fn(&Message) -> bool) -> Result<Message, Unanswered> {
        let mut buffer = vec![0; DATAGRAM_MAX];
        loop {
            while let Some(frame) = self.decoder.next_message().map_err(|_| StreamFault::NotTurn)? {
                let mut message = Message::new();
                if is_stun_message(&frame) && message.unmarshal_binary(&frame).is_ok() && is_wanted(&message) {
                    return Ok(message);
                }
            }
            let length = self.connection.stream.read(&mut buffer).await.map_err(|error| StreamFault::of_io(&error))?;
            if length == 0 {
                return Err(StreamFault::Closed.into());
            }
            self.decoder.extend_from_slice(&buffer[..length]);
        }
    }
}

/// Asks `server` over UDP until it answers; the answer, and how long the last try took.
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
