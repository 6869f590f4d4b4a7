//! Leaves the cookie out of the DTLS handshake, where the other side does so too. How is decided in
//! [`crate::path::dtls_cookie`].
//!
//! - client: the engine's first ClientHello ends here, and the answer to it is made here
//! - server: the first ClientHello is made from the second and goes to the engine before it; the engine's answer ends here
//!
//! The socket is the outermost: what it makes did not come from the other side, and counts nowhere. Once the exchange is
//! over it only hands through.

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use tracing::trace;
use webrtc::runtime::{AsyncUdpSocket, RecvMeta, Transmit};

use super::inbox::Inbox;
use crate::path::dtls::is_media;
use crate::path::dtls_cookie::{Cookie, first_hello, is_second_hello, is_verify_request, verify_request};

/// What is to be left out, for all sockets of a peer connection.
#[derive(Debug, Default)]
pub(in crate::engine) struct CookieExchange {
    part: Mutex<Part>,
    is_over: AtomicBool,
}

#[derive(Clone, Copy, Debug, Default)]
enum Part {
    /// It is not known yet who begins DTLS, nor whether the other side leaves anything out.
    #[default]
    Unknown,
    Client(Cookie),
    Server(Cookie),
    /// Server: the engine has the ClientHello that was left out, and asks for the cookie next.
    Asking(Cookie),
}

impl CookieExchange {
    /// We begin DTLS, and the other side has told this cookie.
    pub(in crate::engine) fn leave_out_as_client(&self, cookie: Cookie) {
        *self.part() = Part::Client(cookie);
        self.is_over.store(false, Ordering::Release);
    }

    /// The other side begins DTLS, and knows our cookie.
    pub(in crate::engine) fn leave_out_as_server(&self, cookie: Cookie) {
        *self.part() = Part::Server(cookie);
        self.is_over.store(false, Ordering::Release);
    }

    /// Nothing is left out, or nothing any more.
    pub(in crate::engine) fn end(&self) {
        self.is_over.store(true, Ordering::Release);
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }

    fn part(&self) -> MutexGuard<'_, Part> {
        self.part.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A socket that leaves the cookie out.
pub(in crate::engine) struct CookieSocket {
    inner: Arc<dyn AsyncUdpSocket>,
    exchange: Arc<CookieExchange>,
    /// What is made here for the engine.
    made: Inbox,
}

impl CookieSocket {
    pub(in crate::engine) fn new(inner: Arc<dyn AsyncUdpSocket>, exchange: Arc<CookieExchange>) -> Self {
        Self { inner, exchange, made: Inbox::default() }
    }

    /// True for a datagram of the engine's that ends here.
    fn ends_here(&self, destination: SocketAddr, datagram: &[u8]) -> bool {
        match *self.exchange.part() {
            Part::Client(cookie) => {
                let Some(asked) = verify_request(datagram, &cookie) else {
                    if is_second_hello(datagram, &cookie) {
                        self.exchange.end();
                    }
                    return false;
                };
                trace!("the DTLS cookie was told before: the question for it is answered here");
                let mut meta = RecvMeta::default();
                meta.addr = destination;
                self.made.put(meta, Bytes::from(asked));
                true
            }
            Part::Asking(_) if is_verify_request(datagram) => {
                self.exchange.end();
                true
            }
            // The other side began as every client does.
            Part::Server(_) if is_verify_request(datagram) => {
                self.exchange.end();
                false
            }
            Part::Asking(_) | Part::Server(_) | Part::Unknown => false,
        }
    }

    /// Puts the ClientHello that was left out in front of the one that came.
    fn complete(&self, buffer: &mut IoSliceMut<'_>, meta: &mut RecvMeta) {
        let mut part = self.exchange.part();
        let (Part::Server(cookie) | Part::Asking(cookie)) = *part else { return };
        let second = &buffer[..meta.len.min(buffer.len())];
        let Some(first) = first_hello(second, &cookie).filter(|first| first.len() <= buffer.len()) else { return };
        self.made.put(*meta, Bytes::copy_from_slice(second));
        buffer[..first.len()].copy_from_slice(&first);
        (meta.len, meta.stride) = (first.len(), first.len());
        *part = Part::Asking(cookie);
    }
}

debug_by_name!(CookieSocket);

impl AsyncUdpSocket for CookieSocket {
    as_inner!();

    fn poll_send(&self, cx: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<usize>> {
        if !self.exchange.is_over()
            && transmit.segment_size.is_none()
            && !is_media(transmit.contents)
            && self.ends_here(transmit.destination, transmit.contents)
        {
            return Poll::Ready(Ok(transmit.contents.len()));
        }
        self.inner.poll_send(cx, transmit)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let is_over = self.exchange.is_over();
        if (!is_over || self.made.has_some())
            && let Poll::Ready(count) = self.made.poll(cx, bufs, metas)
        {
            return Poll::Ready(Ok(count));
        }
        let received = self.inner.poll_recv(cx, bufs, metas);
        if let Poll::Ready(Ok(count)) = received
            && !is_over
        {
            for (buffer, meta) in bufs.iter_mut().zip(metas.iter_mut()).take(count) {
                self.complete(buffer, meta);
            }
        }
        received
    }
}
