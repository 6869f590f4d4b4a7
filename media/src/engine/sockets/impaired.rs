//! A network that is bad on purpose, between the engine and its UDP sockets.
//!
//! - out: the engine → `up` [`Link`] → socket
//! - in: socket → `down` [`Link`] → inbox of the socket → the engine
//!
//! There is one link a direction for all that an [`ImpairHandle`] was given to, STUN, TURN and host candidates alike:
//! they are the network of this machine. An ICE restart binds new sockets and finds the same network, outage and queue
//! included. One task, [`pump`], lets out what is due; it lives as long as there are sockets or packets, and sleeps until
//! the next packet is due. Where a link does nothing and is empty, packets go past it, at the price of looking.
//!
//! Multicast DNS stays outside, and so does signalling. Timers of the runtime are exact to a millisecond: so are delays
//! here, while [`Link`] itself is exact.

use std::fmt;
use std::future::poll_fn;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::Notify;
use tracing::{debug, trace};
use webrtc::runtime::{AsyncUdpSocket, EcnCodepoint, RecvMeta, Runtime, Transmit};

use super::inbox::Inbox;
use super::split;
use crate::impair::{Counters, Impairment, Impairments, Link};

/// Messages taken from a socket in a row, before others of the same task have their turn.
const READS_MAX: usize = 64;

/// The network of the peer connections that it was given to. Cheap to clone: clones are one and the same network.
#[derive(Clone, Default)]
pub struct ImpairHandle(Arc<Network>);

impl ImpairHandle {
    /// A network with these impairments; a stall begins with the first packet.
    #[must_use]
    pub fn new(impairments: Impairments) -> Self {
        Self(Arc::new(Network {
            up: Lane::new(impairments.up),
            down: Lane::new(impairments.down),
            ..Network::default()
        }))
    }

    /// Changes the impairments, also of calls that stand; see [`Link::set`]. A stall begins now.
    pub fn set(&self, impairments: Impairments) {
        let now = Instant::now();
        self.0.up.change(impairments.up, now);
        self.0.down.change(impairments.down, now);
        self.0.wake.notify_one();
        debug!(%impairments, counters = ?self.counters(), "network changed on purpose");
    }

    /// The impairments of now.
    #[must_use]
    pub fn impairments(&self) -> Impairments {
        Impairments { up: *self.0.up.link().spec(), down: *self.0.down.link().spec() }
    }

    /// What became of the packets so far, up and down; those that went past a link that does nothing are not counted.
    #[must_use]
    pub fn counters(&self) -> (Counters, Counters) {
        (self.0.up.link().counters(), self.0.down.link().counters())
    }

    /// Puts the network before a socket.
    pub(in crate::engine) fn wrap(
        &self,
        inner: Arc<dyn AsyncUdpSocket>,
        runtime: &dyn Runtime,
    ) -> Arc<dyn AsyncUdpSocket> {
        self.0.attach(runtime);
        Arc::new(ImpairedSocket { inner, network: Arc::clone(&self.0), inbox: Arc::default() })
    }
}

impl fmt::Debug for ImpairHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ImpairHandle({})", self.impairments())
    }
}

#[derive(Default)]
struct Network {
    up: Lane<Outgoing>,
    down: Lane<Incoming>,
    /// There is something new for the pump.
    wake: Notify,
    users: Mutex<Users>,
}

#[derive(Default)]
struct Users {
    sockets: usize,
    has_pump: bool,
}

/// A link, and whether packets go past it.
struct Lane<P> {
    link: Mutex<Link<P>>,
    is_clear: AtomicBool,
}

impl<P: Clone> Default for Lane<P> {
    fn default() -> Self {
        Self::new(Impairment::default())
    }
}

impl<P: Clone> Lane<P> {
    fn new(spec: Impairment) -> Self {
        Self { is_clear: AtomicBool::new(spec.is_none()), link: Mutex::new(Link::new(spec)) }
    }

    fn link(&self) -> MutexGuard<'_, Link<P>> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_clear(&self) -> bool {
        self.is_clear.load(Ordering::Acquire)
    }

    fn change(&self, spec: Impairment, now: Instant) {
        let mut link = self.link();
        link.set(spec, now);
        // That it is clear is for the pump to say: it may have something in its hands.
        if !spec.is_none() {
            self.is_clear.store(false, Ordering::Release);
        }
    }

    /// Puts a packet in; `wake` is for the pump, when something is due before what it waits for.
    fn push(&self, packet: P, bytes: usize, now: Instant, wake: &Notify) {
        let mut link = self.link();
        let before = link.poll_timeout();
        link.push(packet, bytes, now);
        let after = link.poll_timeout();
        if link.held() > 0 {
            // What comes next does not go past what is in here.
            self.is_clear.store(false, Ordering::Release);
        }
        if after.is_some_and(|after| before.is_none_or(|before| after < before)) {
            wake.notify_one();
        }
    }

    /// What the pump does when it has let out all that was due: when it has to come back.
    fn settle(&self) -> Option<Instant> {
        let link = self.link();
        self.is_clear.store(link.is_clear(), Ordering::Release);
        link.poll_timeout()
    }
}

/// A datagram that leaves.
#[derive(Clone)]
struct Outgoing {
    socket: Arc<dyn AsyncUdpSocket>,
    destination: SocketAddr,
    ecn: Option<EcnCodepoint>,
    src_ip: Option<IpAddr>,
    contents: Bytes,
}

/// A datagram that comes.
#[derive(Clone)]
struct Incoming {
    inbox: Weak<Inbox>,
    meta: RecvMeta,
    contents: Bytes,
}

impl Network {
    /// There is one more socket, and a pump.
    fn attach(self: &Arc<Self>, runtime: &dyn Runtime) {
        let mut users = self.users();
        users.sockets += 1;
        if !users.has_pump {
            users.has_pump = true;
            let work = Pump { network: Arc::clone(self), has_left: false };
            // It ends by itself.
            runtime.spawn(Box::pin(pump(work))).detach();
        }
    }

    fn detach(&self) {
        self.users().sockets -= 1;
        self.wake.notify_one();
    }

    fn users(&self) -> MutexGuard<'_, Users> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands out what has arrived.
    fn deliver(&self, now: Instant) {
        let mut link = self.down.link();
        while let Some(Incoming { inbox, meta, contents }) = link.poll(now) {
            // A socket that was closed meanwhile hears nothing any more.
            if let Some(inbox) = inbox.upgrade() {
                inbox.put(meta, contents);
            }
        }
    }
}

/// What the pump works for. That it was ended from outside is noted, so that the next socket starts another.
struct Pump {
    network: Arc<Network>,
    has_left: bool,
}

impl Drop for Pump {
    fn drop(&mut self) {
        if !self.has_left {
            self.network.users().has_pump = false;
        }
    }
}

/// Lets out what is due, until there is neither a socket nor a packet that leaves.
async fn pump(mut pump: Pump) {
    let network = Arc::clone(&pump.network);
    loop {
        loop {
            let due = network.up.link().poll(Instant::now());
            let Some(packet) = due else { break };
            transmit(&packet).await;
        }
        network.deliver(Instant::now());
        let due = [network.up.settle(), network.down.settle()].into_iter().flatten().min();
        {
            let mut users = network.users();
            if users.sockets == 0 && network.up.link().held() == 0 {
                // Under the lock, so that a socket that comes now starts another.
                (users.has_pump, pump.has_left) = (false, true);
                return;
            }
        }
        match due {
            Some(at) => {
                tokio::select! {
                    () = network.wake.notified() => {}
                    () = tokio::time::sleep_until(at.into()) => {}
                }
            }
            None => network.wake.notified().await,
        }
    }
}

/// Sends one datagram; what the system refuses is lost, as it would be further on.
async fn transmit(packet: &Outgoing) {
    let Outgoing { socket, destination, ecn, src_ip, contents } = packet;
    let transmit = Transmit {
        destination: *destination,
        ecn: *ecn,
        contents: contents.as_ref(),
        segment_size: None,
        src_ip: *src_ip,
    };
    if let Err(error) = poll_fn(|cx| socket.poll_send(cx, &transmit)).await {
        trace!(%error, "datagram not sent");
    }
}

/// A socket behind the network.
struct ImpairedSocket {
    inner: Arc<dyn AsyncUdpSocket>,
    network: Arc<Network>,
    inbox: Arc<Inbox>,
}

impl Drop for ImpairedSocket {
    fn drop(&mut self) {
        self.network.detach();
    }
}

debug_by_name!(ImpairedSocket);

impl ImpairedSocket {
    /// Moves what the socket has into the link.
    ///
    /// # Errors
    /// What the socket says.
    fn drain(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Result<(), io::Error> {
        for _ in 0..READS_MAX {
            let Poll::Ready(read) = self.inner.poll_recv(cx, bufs, metas) else { return Ok(()) };
            let messages = read?;
            let now = Instant::now();
            for (buffer, meta) in bufs.iter().zip(&*metas).take(messages) {
                let message = &buffer[..meta.len.min(buffer.len())];
                for contents in split(message, meta.stride) {
                    let contents = Bytes::copy_from_slice(contents);
                    let bytes = contents.len();
                    let packet = Incoming { inbox: Arc::downgrade(&self.inbox), meta: *meta, contents };
                    self.network.down.push(packet, bytes, now, &self.network.wake);
                }
            }
        }
        cx.waker().wake_by_ref();
        Ok(())
    }
}

impl AsyncUdpSocket for ImpairedSocket {
    as_inner!();

    fn poll_send(&self, cx: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<usize>> {
        if self.network.up.is_clear() {
            return self.inner.poll_send(cx, transmit);
        }
        let now = Instant::now();
        for contents in split(transmit.contents, transmit.segment_size.unwrap_or(usize::MAX)) {
            let packet = Outgoing {
                socket: Arc::clone(&self.inner),
                destination: transmit.destination,
                ecn: transmit.ecn,
                src_ip: transmit.src_ip,
                contents: Bytes::copy_from_slice(contents),
            };
            let bytes = packet.contents.len();
            self.network.up.push(packet, bytes, now, &self.network.wake);
        }
        Poll::Ready(Ok(transmit.contents.len()))
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        if self.network.down.is_clear() && !self.inbox.has_some() {
            return self.inner.poll_recv(cx, bufs, meta);
        }
        if let Err(error) = self.drain(cx, bufs, meta) {
            return Poll::Ready(Err(error));
        }
        self.network.deliver(Instant::now());
        self.inbox.poll(cx, bufs, meta).map(Ok)
    }
}

#[cfg(test)]
#[path = "impaired_tests.rs"]
mod tests;
