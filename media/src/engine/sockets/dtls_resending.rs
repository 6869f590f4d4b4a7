//! Sends datagrams of the DTLS handshake again, which the engine does too late. Which and when is decided in
//! [`crate::path::dtls_flights`].
//!
//! - out: the engine → [`ResendingSocket`] → the socket below; a copy of a flight → [`Flights`]
//! - in: the socket below → a look by [`Flights`] → the engine
//! - [`Resends::run`], a task of the peer connection: what is due → the socket that it left by last
//!
//! Relayed datagrams are copied as the engine wrapped them for the TURN server. Once the handshake is over, a socket
//! only hands through.

use std::future::poll_fn;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::Notify;
use tracing::trace;
use webrtc::runtime::{AsyncUdpSocket, EcnCodepoint, RecvMeta, Transmit};

use super::split;
use crate::path::dtls_flights::{Flights, HandshakeSeen};

/// The flights of a peer connection, on all of its sockets: an ICE restart during the handshake binds new ones.
#[derive(Default)]
pub(in crate::engine) struct Resends {
    flights: Mutex<Flights<Route>>,
    is_over: AtomicBool,
    /// The task has to look when something is due.
    changed: Notify,
}

/// How a datagram left.
#[derive(Clone)]
struct Route {
    socket: Weak<dyn AsyncUdpSocket>,
    destination: SocketAddr,
    ecn: Option<EcnCodepoint>,
    src_ip: Option<IpAddr>,
}

impl Resends {
    fn flights(&self) -> MutexGuard<'_, Flights<Route>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was seen of the handshake so far.
    pub(in crate::engine) fn seen(&self) -> HandshakeSeen {
        self.flights().seen()
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }

    /// Lets the flights see what went or came.
    fn look(&self, see: impl FnOnce(&mut Flights<Route>)) {
        let mut flights = self.flights();
        let before = flights.poll_timeout();
        see(&mut flights);
        if flights.is_over() {
            self.is_over.store(true, Ordering::Release);
            self.changed.notify_one();
        } else if flights.poll_timeout() != before {
            self.changed.notify_one();
        }
    }

    /// Sends what is due, until the handshake is over.
    pub(in crate::engine) async fn run(self: Arc<Self>) {
        while !self.is_over() {
            let due = self.flights().poll_timeout();
            match due {
                Some(at) => {
                    tokio::select! {
                        () = self.changed.notified() => {}
                        () = tokio::time::sleep_until(at.into()) => {}
                    }
                }
                None => self.changed.notified().await,
            }
            let copies = self.flights().poll(Instant::now());
            for (route, contents) in copies {
                transmit(&route, &contents).await;
            }
        }
    }
}

/// Sends one copy; what the system refuses is lost, as it would be further on.
async fn transmit(route: &Route, contents: &Bytes) {
    let Route { socket, destination, ecn, src_ip } = route;
    // An ICE restart has closed it: the engine's own copy goes over the new path.
    let Some(socket) = socket.upgrade() else { return };
    let transmit = Transmit { destination: *destination, ecn: *ecn, contents, segment_size: None, src_ip: *src_ip };
    match poll_fn(|cx| socket.poll_send(cx, &transmit)).await {
        Ok(_) => trace!(bytes = contents.len(), "DTLS handshake datagram sent again"),
        Err(error) => trace!(%error, "DTLS handshake datagram not sent again"),
    }
}

/// A socket whose handshake datagrams are sent again.
pub(in crate::engine) struct ResendingSocket {
    pub(in crate::engine) inner: Arc<dyn AsyncUdpSocket>,
    pub(in crate::engine) resends: Arc<Resends>,
}

debug_by_name!(ResendingSocket);

impl AsyncUdpSocket for ResendingSocket {
    as_inner!();

    fn poll_send(&self, cx: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<usize>> {
        let sent = self.inner.poll_send(cx, transmit);
        // What the system refused is lost, and to be sent again like what is lost on the way.
        if sent.is_ready() && !self.resends.is_over() {
            let route = Route {
                socket: Arc::downgrade(&self.inner),
                destination: transmit.destination,
                ecn: transmit.ecn,
                src_ip: transmit.src_ip,
            };
            self.resends.look(|flights| {
                for datagram in split(transmit.contents, transmit.segment_size.unwrap_or(usize::MAX)) {
                    flights.sent(datagram, route.clone(), Instant::now());
                }
            });
        }
        sent
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let received = self.inner.poll_recv(cx, bufs, metas);
        if let Poll::Ready(Ok(messages)) = &received
            && !self.resends.is_over()
        {
            self.resends.look(|flights| {
                for (buffer, meta) in bufs.iter().zip(metas.iter()).take(*messages) {
                    for datagram in split(&buffer[..meta.len.min(buffer.len())], meta.stride) {
                        flights.received(datagram, Instant::now());
                    }
                }
            });
        }
        received
    }
}
