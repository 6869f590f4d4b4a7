//! TURN over TCP and TLS behind the face of a UDP socket (RFC 8656 §3.1). The engine knows TURN over UDP alone; it is
//! given a stand-in for the server's address ([`crate::path::stand_in`]).
//!
//! - out: a datagram to a stand-in → [`classify`] → [`StreamQueue`] → [`StreamGate`] → the stream of this socket to that
//!   server; any other datagram → the socket below
//! - in: the stream → [`TurnStreamDecoder`] → [`Inbox`] → the engine, as if it came from the stand-in
//!
//! A socket has one stream for each server. It is opened by the first datagram, from the socket's own address, and is
//! carried by a task of its own. An allocation ends with its stream (RFC 8656 §3.1), so a stream that was up and has
//! closed is not opened again: the call falls silent, and an ICE restart brings new sockets with new streams. A stream
//! that never was up is tried again when the engine sends its request again. A socket that is dropped gives its streams
//! [`GOODBYE`] to say what is left to say.

use std::collections::BTreeMap;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rtc::shared::turn_framing::TurnStreamDecoder;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::Notify;
use tokio::time::timeout;
use tracing::debug;
use webrtc::runtime::{AsyncUdpSocket, RecvMeta, Transmit};

use super::inbox::Inbox;
use super::split;
use crate::engine::dial::{Connection, Dialer, Start};
use crate::engine::names::Names;
use crate::engine::unacknowledged::Unacknowledged;
use crate::path::ice_server::IceUrl;
use crate::path::server_log::ServerLog;
use crate::path::stand_in::StandIns;
use crate::path::stream_fault::StreamFault;
use crate::path::stream_gate::StreamGate;
use crate::path::stream_messages::{HeadStart, Lane, Outgoing, Requests, classify, is_incoming_check, padded};
use crate::path::stream_queue::StreamQueue;

/// How long a stream of a closed socket may take to give its allocation back.
const GOODBYE: Duration = Duration::from_millis(500);

/// How often it is looked whether a picture that waits may go: less than a packet takes on a narrow path.
const LOOK: Duration = Duration::from_millis(5);

/// Bytes read at once: a dozen packets.
const READ_BYTES: usize = 16 * 1024;

/// What the streams of a peer connection share.
pub(in crate::engine) struct Streams {
    stand_ins: StandIns,
    dialer: Dialer,
    names: Arc<Names>,
    log: Arc<ServerLog>,
    /// The SSRC of our sound.
    sound: u32,
    /// The number of the next stream.
    next: AtomicU64,
}

impl Streams {
    pub(in crate::engine) fn new(
        stand_ins: StandIns,
        dialer: Dialer,
        names: Arc<Names>,
        log: Arc<ServerLog>,
        sound: u32,
    ) -> Self {
        Self { stand_ins, dialer, names, log, sound, next: AtomicU64::new(0) }
    }

    /// True when the address stands for a server.
    pub(in crate::engine) fn is_stand_in(&self, address: SocketAddr) -> bool {
        self.stand_ins.server(address).is_some()
    }

    /// Puts the streams beside a socket, which is bound to an address of `interface` where packets have to leave by it.
    pub(in crate::engine) fn beside(
        self: &Arc<Self>,
        inner: Arc<dyn AsyncUdpSocket>,
        interface: Option<String>,
    ) -> Arc<dyn AsyncUdpSocket> {
        let address = inner.local_addr().ok().map(|address| address.ip());
        let start = Start { address: address.filter(|ip| !ip.is_unspecified()), interface };
        let streams = Arc::clone(self);
        Arc::new(StreamingSocket { inner, streams, start, inbox: Arc::default(), open: Mutex::default() })
    }
}

/// A socket with streams beside it.
struct StreamingSocket {
    inner: Arc<dyn AsyncUdpSocket>,
    streams: Arc<Streams>,
    start: Start,
    inbox: Arc<Inbox>,
    /// By stand-in.
    open: Mutex<BTreeMap<SocketAddr, Arc<RelayStream>>>,
}

impl StreamingSocket {
    fn open(&self) -> MutexGuard<'_, BTreeMap<SocketAddr, Arc<RelayStream>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a datagram to the server behind a stand-in; what is not sent is lost, as on the way.
    fn send(&self, stand_in: SocketAddr, url: &IceUrl, datagram: &[u8]) {
        let Some(kind) = classify(datagram, self.streams.sound) else { return };
        let mut open = self.open();
        let known = open.get(&stand_in).filter(|stream| !stream.may_be_tried_again());
        let stream = match known {
            Some(stream) => Arc::clone(stream),
            None => {
                let stream = Arc::new(RelayStream::new(url, stand_in));
                open.insert(stand_in, Arc::clone(&stream));
                // It ends by itself, soon after its socket is gone.
                let carry = carry(
                    Arc::clone(&stream),
                    Arc::clone(&self.streams),
                    url.clone(),
                    self.start.clone(),
                    Arc::clone(&self.inbox),
                );
                tokio::spawn(carry);
                stream
            }
        };
        drop(open);
        stream.put(kind, datagram, &self.streams.log);
    }
}

impl Drop for StreamingSocket {
    fn drop(&mut self) {
        for stream in self.open().values() {
            stream.close();
        }
    }
}

debug_by_name!(StreamingSocket);

impl AsyncUdpSocket for StreamingSocket {
    as_inner!();

    fn poll_send(&self, cx: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<usize>> {
        let Some(url) = self.streams.stand_ins.server(transmit.destination) else {
            return self.inner.poll_send(cx, transmit);
        };
        for datagram in split(transmit.contents, transmit.segment_size.unwrap_or(usize::MAX)) {
            self.send(transmit.destination, url, datagram);
        }
        Poll::Ready(Ok(transmit.contents.len()))
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        match self.inbox.poll(cx, bufs, metas) {
            Poll::Ready(count) => Poll::Ready(Ok(count)),
            Poll::Pending => self.inner.poll_recv(cx, bufs, metas),
        }
    }
}

/// One stream to one server.
struct RelayStream {
    stand_in: SocketAddr,
    state: Mutex<State>,
    /// There is something to send, or nothing will come any more. One waits for this.
    changed: Notify,
    /// The socket is gone. One waits for this.
    closing: Notify,
}

struct State {
    queue: StreamQueue<Vec<u8>>,
    requests: Requests,
    head_start: HeadStart,
    life: Life,
}

/// Where a stream stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    /// It is opened, or carries.
    Open,
    /// Its socket is gone: what waits is sent, and then it ends.
    Closing,
    /// It never was up, and may be tried again.
    NotYet,
    /// It is over for this socket.
    Over,
}

impl RelayStream {
    fn new(url: &IceUrl, stand_in: SocketAddr) -> Self {
        let state = State {
            queue: StreamQueue::default(),
            requests: Requests::default(),
            head_start: HeadStart::of(url.transport),
            life: Life::Open,
        };
        Self { stand_in, state: Mutex::new(state), changed: Notify::new(), closing: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn may_be_tried_again(&self) -> bool {
        self.state().life == Life::NotYet
    }

    /// A datagram of the engine.
    fn put(&self, kind: Outgoing, datagram: &[u8], log: &ServerLog) {
        let now = Instant::now();
        let mut state = self.state();
        if state.life != Life::Open {
            return;
        }
        let lane = match kind {
            Outgoing::Request(transaction) if !state.requests.is_new(transaction) => return,
            Outgoing::Check if state.head_start.holds(log.best_allocated(), now) => return,
            Outgoing::Request(_) | Outgoing::Check => Lane::Control,
            Outgoing::ToPeer(lane) => lane,
        };
        state.queue.push(lane, padded(datagram), now);
        drop(state);
        self.changed.notify_one();
    }

    /// A message of the server; `None` for a check that comes too early.
    fn take(&self, message: Vec<u8>, log: &ServerLog) -> Option<(RecvMeta, Bytes)> {
        if is_incoming_check(&message) && self.state().head_start.holds(log.best_allocated(), Instant::now()) {
            return None;
        }
        let mut meta = RecvMeta::default();
        meta.addr = self.stand_in;
        Some((meta, Bytes::from(message)))
    }

    fn close(&self) {
        let mut state = self.state();
        if state.life == Life::Open {
            state.life = Life::Closing;
        }
        drop(state);
        self.changed.notify_one();
        self.closing.notify_one();
    }

    fn is_closing(&self) -> bool {
        self.state().life == Life::Closing
    }

    /// Fires when the socket is gone.
    async fn closed(&self) {
        while !self.is_closing() {
            self.closing.notified().await;
        }
    }

    /// The next message to send; `None` when there will be none. Pictures wait until the gate is open.
    async fn next(&self, flow: &mut Flow) -> Option<Vec<u8>> {
        loop {
            let picture_waits = {
                let now = Instant::now();
                let mut state = self.state();
                if let Some(message) = state.queue.pop(Lane::Sound, now) {
                    return Some(message);
                }
                let is_open = !state.queue.has(Lane::Pictures) || flow.is_open(now);
                if is_open && let Some(message) = state.queue.pop(Lane::Pictures, now) {
                    return Some(message);
                }
                if state.life != Life::Open {
                    return None;
                }
                !is_open
            };
            if picture_waits {
                let _look_again = timeout(LOOK, self.changed.notified()).await;
            } else {
                self.changed.notified().await;
            }
        }
    }
}

/// How much of a stream is under way, where the system tells.
struct Flow {
    unacknowledged: Option<Unacknowledged>,
    gate: StreamGate,
}

impl Flow {
    fn is_open(&mut self, now: Instant) -> bool {
        let progress = self.unacknowledged.as_ref().and_then(Unacknowledged::look);
        progress.is_none_or(|progress| self.gate.is_open(now, progress))
    }
}

/// Opens a stream and carries what goes and comes, until one of both sides ends it.
async fn carry(stream: Arc<RelayStream>, streams: Arc<Streams>, url: IceUrl, start: Start, inbox: Arc<Inbox>) {
    let (log, stand_in) = (&streams.log, stream.stand_in);
    let number = streams.next.fetch_add(1, Ordering::Relaxed);
    log.stream_opens(number, stand_in);
    let names = Arc::clone(&streams.names);
    let dialing = streams.dialer.dial(&url, &start, |name| async move { names.look_up(&name).await });
    let dialed = tokio::select! {
        dialed = dialing => dialed,
        () = stream.closed() => return log.stream_forgotten(number),
    };
    let carried = match dialed {
        Ok(Connection { stream: carrier, unacknowledged, .. }) => {
            debug!(%url, "stream to the TURN server is up");
            log.stream_is_up(number);
            let (from_server, to_server) = tokio::io::split(carrier);
            let reading = read(from_server, &stream, log, &inbox);
            let writing = write(to_server, &stream, Flow { unacknowledged, gate: StreamGate::default() });
            tokio::select! {
                fault = reading => Some((fault, Life::Over)),
                fault = writing => fault.map(|fault| (fault, Life::Over)),
            }
        }
        Err(fault) => {
            let life = if fault.may_pass() { Life::NotYet } else { Life::Over };
            Some((fault, life))
        }
    };
    let [control, sound, pictures] = {
        let mut state = stream.state();
        let was_closing = std::mem::replace(&mut state.life, carried.as_ref().map_or(Life::Over, |(_, life)| *life));
        match carried {
            Some((fault, _)) if was_closing != Life::Closing => {
                debug!(%url, %fault, "no stream to the TURN server");
                log.stream_ended(number, fault);
            }
            Some(_) | None => log.stream_forgotten(number),
        }
        state.queue.dropped()
    };
    if control + sound + pictures > 0 {
        debug!(%url, control, sound, pictures, "the stream to the TURN server was too slow: packets dropped");
    }
}

/// Reads until the stream ends; why.
async fn read(
    mut from_server: impl AsyncRead + Unpin,
    stream: &RelayStream,
    log: &ServerLog,
    inbox: &Inbox,
) -> StreamFault {
    let mut decoder = TurnStreamDecoder::new();
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match from_server.read(&mut buffer).await {
            Ok(0) => return StreamFault::Closed,
            Ok(length) => decoder.extend_from_slice(&buffer[..length]),
            Err(error) => return StreamFault::of_io(&error),
        }
        loop {
            match decoder.next_message() {
                Ok(Some(message)) => {
                    if let Some((meta, contents)) = stream.take(message, log) {
                        inbox.put(meta, contents);
                    }
                }
                Ok(None) => break,
                Err(_) => return StreamFault::NotTurn,
            }
        }
    }
}

/// Writes until the stream ends, or the socket is gone and all is said: then there is no fault.
async fn write(mut to_server: impl AsyncWrite + Unpin, stream: &RelayStream, mut flow: Flow) -> Option<StreamFault> {
    let writing = async {
        while let Some(message) = stream.next(&mut flow).await {
            to_server.write_all(&message).await?;
            // What TLS has taken is to be with the system before the next message is chosen.
            to_server.flush().await?;
        }
        to_server.shutdown().await
    };
    let late = async {
        stream.closed().await;
        tokio::time::sleep(GOODBYE).await;
    };
    tokio::select! {
        written = writing => written.err().map(|error| StreamFault::of_io(&error)),
        () = late => None,
    }
}
