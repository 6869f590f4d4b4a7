//! TURN over TCP and TLS (RFC 8656 section 3.1): a server of the `turn` crate for each stream, as if the stream were a UDP
//! socket that one client alone can reach.
//!
//! - owns: how long a stream may be silent, how much may wait to be sent into it
//! - must never: let one stream hold up another; let a stream act on an allocation of another
//! - flow in: stream → [`frames`] → [`Policy::judge`] → `turn` crate → relayed socket
//! - flow out: relayed socket → `turn` crate → [`StreamConn::send_to`] → queue → [`write()`] → stream
//!
//! An allocation ends with its stream. Places for relayed sockets are those of clients over UDP, and so are logins and
//! rules. A packet of a peer that finds the queue full, or waited too long, is dropped as on a slow line; answers wait.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use ::turn::server::Server;
use async_trait::async_trait;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader, ReadHalf};
use tokio::sync::{Mutex, mpsc};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::datagrams::Datagrams;
use super::frames::{self, Kind};
use super::guard::{Policy, Verdict};
use super::quota::Requester;
use super::relays::Relays;
use super::{Core, STOP_TIMEOUT};
use crate::servers::lobby::Guest;

/// How long each step may take.
struct Deadlines {
    /// without an allocation
    login: Duration,
    /// from the first byte of a message to its last
    message: Duration,
    /// with an allocation, and without a word
    silence: Duration,
    /// until one message is out, before the client counts as gone
    write: Duration,
    /// until a packet of a peer is on its way, before it is dropped
    packet: Duration,
}

const DEADLINES: Deadlines = Deadlines {
    // Time for some round trips of the slowest line.
    login: Duration::from_secs(20),
    message: Duration::from_secs(10),
    // By then the client has no permission left (5 minutes, RFC 8656 section 9), so nothing is relayed any more.
    silence: Duration::from_secs(360),
    write: Duration::from_secs(20),
    // Whoever is called has filled the gap by then.
    packet: Duration::from_millis(400),
};

/// How often it is looked whether a silent client still has an allocation.
const LOOK: Duration = Duration::from_secs(1);
/// How long the end of a stream may take to get out.
const GOODBYE: Duration = Duration::from_millis(500);
/// Messages that may wait for one stream: two large pictures. Of packets of peers, those above are dropped.
const QUEUE: usize = 256;
/// Messages before the first allocation: a login takes two. More cost memory, as each unsigned request gets a nonce.
const MESSAGES_BEFORE_LOGIN_MAX: u32 = 50;

/// Serves TURN to clients of streams. Clones are the same server.
#[derive(Clone)]
pub(in crate::servers) struct StreamServer {
    core: Arc<Core>,
    stopping: CancellationToken,
}

impl StreamServer {
    pub(super) const fn new(core: Arc<Core>, stopping: CancellationToken) -> Self {
        Self { core, stopping }
    }

    /// Serves the client of one stream until either side ends it. `guest` is given back once the client has an allocation.
    pub(in crate::servers) async fn serve<S>(&self, stream: S, from: SocketAddr, local: SocketAddr, guest: Guest)
    where
        S: AsyncRead + AsyncWrite + Send + Sync + Unpin + 'static,
    {
        // A listener of both families writes IPv4 addresses as IPv6; clients are to hear their own.
        let from = SocketAddr::new(from.ip().to_canonical(), from.port());
        let (reading, mut writing) = tokio::io::split(stream);
        let (sender, mut queue) = mpsc::channel(QUEUE);
        let (over, dropped) = (CancellationToken::new(), Arc::new(AtomicU64::new(0)));
        let relays = self.core.relays.for_one_client();
        let reader = Reader::new(BufReader::new(reading), relays.clone(), guest, &DEADLINES);
        let conn = StreamConn {
            reader: Mutex::new(reader),
            queue: sender,
            dropped: Arc::clone(&dropped),
            from,
            local,
            policy: Arc::clone(&self.core.policy),
            requester: relays.requester(),
            over: over.clone(),
        };
        let server = match self.core.server(conn, relays).await {
            Ok(server) => server,
            Err(error) => return debug!(%error, "no TURN for a stream"),
        };
        tokio::select! {
            biased;
            () = self.stopping.cancelled() => {}
            () = over.cancelled() => {}
            fault = write(&mut writing, &mut queue, &dropped, &DEADLINES) => debug!(%fault, "a TURN client takes nothing any more"),
        }
        end(server).await;
        let dropped = dropped.load(Ordering::Relaxed);
        if dropped > 0 {
            debug!(dropped, "the stream of a TURN client was too slow: packets dropped");
        }
        // The client may be gone, or take nothing.
        let _unheard = timeout(GOODBYE, writing.shutdown()).await;
    }
}

/// Ends all relaying of a server.
async fn end(server: Server) {
    match timeout(STOP_TIMEOUT, server.close()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "the TURN server of a stream was closed before"),
        Err(_) => debug!("the TURN server of a stream did not close in time"),
    }
}

/// A message on its way to a client.
struct Outgoing {
    since: Instant,
    bytes: Vec<u8>,
    /// carries a packet of a peer, which is worth little when it is late
    is_data: bool,
}

/// Writes what is queued until the stream fails; why.
async fn write(
    stream: &mut (impl AsyncWrite + Unpin),
    queue: &mut mpsc::Receiver<Outgoing>,
    dropped: &AtomicU64,
    deadlines: &Deadlines,
) -> io::Error {
    while let Some(message) = queue.recv().await {
        if message.is_data && message.since.elapsed() > deadlines.packet {
            dropped.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        let writing = async {
            stream.write_all(&message.bytes).await?;
            // What TLS has taken is to be with the system before the next message is chosen.
            stream.flush().await
        };
        match timeout(deadlines.write, writing).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return error,
            Err(_) => return io::ErrorKind::TimedOut.into(),
        }
    }
    io::ErrorKind::NotConnected.into()
}

/// Reads the messages of one client, and ends the stream of one that keeps us waiting.
struct Reader<R> {
    stream: R,
    relays: Relays,
    standing: Standing,
    deadlines: &'static Deadlines,
}

/// What the client has achieved so far.
enum Standing {
    /// It has had no allocation yet.
    Unknown { since: Instant, messages: u32, _guest: Guest },
    /// It has one, as far as we looked.
    Allocated,
    /// It had one.
    Done { since: Instant },
}

impl Standing {
    /// Before an allocation there is no channel, and not much to say. Whoever speaks HTTP here, by mistake, seems to begin
    /// with ChannelData.
    fn allows(&mut self, kind: Kind) -> io::Result<()> {
        match (self, kind) {
            (Self::Unknown { messages, .. }, Kind::Stun) if *messages < MESSAGES_BEFORE_LOGIN_MAX => {
                *messages += 1;
                Ok(())
            }
            (Self::Unknown { .. }, Kind::Stun | Kind::ChannelData) => {
                Err(io::Error::new(io::ErrorKind::InvalidData, "no login"))
            }
            (Self::Allocated | Self::Done { .. }, Kind::Stun | Kind::ChannelData) => Ok(()),
        }
    }
}

impl<R: AsyncRead + Unpin> Reader<BufReader<R>> {
    fn new(stream: BufReader<R>, relays: Relays, guest: Guest, deadlines: &'static Deadlines) -> Self {
        let standing = Standing::Unknown { since: Instant::now(), messages: 0, _guest: guest };
        Self { stream, relays, standing, deadlines }
    }

    /// The next message that fits into `room`: its length. Only to be dropped together with the stream.
    async fn next(&mut self, room: &mut [u8]) -> io::Result<usize> {
        loop {
            self.begin_message().await?;
            let reading = async {
                let head = frames::begin(&mut self.stream).await?;
                self.standing.allows(head.kind)?;
                frames::finish(&mut self.stream, head, room).await
            };
            let late = |_| io::Error::new(io::ErrorKind::TimedOut, "half a message");
            match timeout(self.deadlines.message, reading).await.map_err(late)?? {
                Some(length) => return Ok(length),
                None => debug!("a TURN client sent a message that fits into no packet"),
            }
        }
    }

    /// Waits for the first byte of a message.
    async fn begin_message(&mut self) -> io::Result<()> {
        let begun = Instant::now();
        loop {
            self.look();
            let deadline = match self.standing {
                Standing::Unknown { since, .. } | Standing::Done { since } => since + self.deadlines.login,
                Standing::Allocated => begun + self.deadlines.silence,
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "silence, or no allocation"));
            }
            match timeout(left.min(LOOK), self.stream.fill_buf()).await {
                Ok(Ok([])) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(error)) => return Err(error),
                Err(_) => {}
            }
        }
    }

    fn look(&mut self) {
        match (&self.standing, self.relays.is_any_open()) {
            (Standing::Unknown { .. } | Standing::Done { .. }, true) => self.standing = Standing::Allocated,
            (Standing::Allocated, false) => self.standing = Standing::Done { since: Instant::now() },
            (Standing::Unknown { .. } | Standing::Done { .. }, false) | (Standing::Allocated, true) => {}
        }
    }
}

/// A stream behind the face of a UDP socket.
struct StreamConn<S> {
    reader: Mutex<Reader<BufReader<ReadHalf<S>>>>,
    queue: mpsc::Sender<Outgoing>,
    dropped: Arc<AtomicU64>,
    from: SocketAddr,
    local: SocketAddr,
    policy: Arc<Policy>,
    requester: Requester,
    /// fires when nothing more will be read
    over: CancellationToken,
}

impl<S> StreamConn<S> {
    /// Queues a message; one that cannot be sent is lost, as a datagram would be.
    async fn put(&self, message: &[u8]) {
        let is_data = frames::carries_data(message);
        let outgoing = Outgoing { since: Instant::now(), bytes: frames::padded(message), is_data };
        if !is_data {
            // An error means that the stream has ended. Only this client waits, and no longer than a message may take.
            let _ended = self.queue.send(outgoing).await;
        } else if let Err(mpsc::error::TrySendError::Full(_)) = self.queue.try_send(outgoing) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[async_trait]
impl<S: AsyncRead + AsyncWrite + Send + Sync + Unpin + 'static> Datagrams for StreamConn<S> {
    async fn recv_from(&self, buf: &mut [u8]) -> webrtc_util::Result<(usize, SocketAddr)> {
        let mut reader = self.reader.lock().await;
        loop {
            let length = match reader.next(buf).await {
                Ok(length) => length,
                Err(error) => {
                    debug!(%error, "the stream of a TURN client ended");
                    self.over.cancel();
                    return Err(error.into());
                }
            };
            match self.policy.judge(&buf[..length], SystemTime::now()) {
                Verdict::Pass => return Ok((length, self.from)),
                Verdict::Allocate { user } => {
                    self.requester.set(user);
                    return Ok((length, self.from));
                }
                Verdict::Answer(response) => self.put(&response).await,
                Verdict::Drop => {}
            }
        }
    }

    async fn send_to(&self, buf: &[u8], _target: SocketAddr) -> webrtc_util::Result<usize> {
        self.put(buf).await;
        Ok(buf.len())
    }

    fn local_addr(&self) -> webrtc_util::Result<SocketAddr> {
        Ok(self.local)
    }
}

#[cfg(test)]
#[path = "streams_tests.rs"]
mod tests;
