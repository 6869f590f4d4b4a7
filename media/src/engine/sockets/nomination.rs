//! Nominates with the first check, and remembers nominations that come early. What becomes of a datagram is decided in
//! [`crate::path::nomination`].
//!
//! Also holds DTLS until a path is selected here: the other side has selected it already when it begins, and the engine
//! drops what comes before it has done so too.
//!
//! What is put before the engine here did not come from the other side at that moment, so the socket is around the one that
//! counts. Once a path is selected it only hands through.

use std::collections::VecDeque;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};

use bytes::Bytes;
use webrtc::runtime::{AsyncUdpSocket, RecvMeta, Transmit};

use super::inbox::Inbox;
use super::split;
use crate::path::dtls::{is_dtls, is_media};
use crate::path::nomination::{Nominations, Outgoing};

/// DTLS datagrams held until a path is selected, the first: a flight and its copies. The others are sent again.
const HELD_MAX: usize = 16;

/// Messages read in a row while all of them are held.
const READS_MAX: usize = 16;

/// The selection of a path, for all sockets of a peer connection.
#[derive(Default)]
pub(in crate::engine) struct Selection {
    nominations: Mutex<Option<Nominations>>,
    is_under_way: AtomicBool,
    held: Mutex<VecDeque<Held>>,
}

/// A datagram that came too early, and where it goes on.
struct Held {
    to: Weak<Inbox>,
    meta: RecvMeta,
    contents: Bytes,
}

debug_by_name!(Selection);

impl Selection {
    /// A path is looked for.
    pub(in crate::engine) fn begin(&self, nominations: Nominations) {
        *self.nominations.lock().unwrap_or_else(PoisonError::into_inner) = Some(nominations);
        self.is_under_way.store(true, Ordering::Release);
    }

    /// A path is selected, or the last one is given up: what was held goes on.
    pub(in crate::engine) fn end(&self) {
        self.is_under_way.store(false, Ordering::Release);
        *self.nominations.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let held = std::mem::take(&mut *self.held.lock().unwrap_or_else(PoisonError::into_inner));
        for Held { to, meta, contents } in held {
            if let Some(inbox) = to.upgrade() {
                inbox.put(meta, contents);
            }
        }
    }

    /// Holds a datagram until a path is selected; false when there is one, or too much is held.
    fn hold(&self, to: &Arc<Inbox>, meta: RecvMeta, datagram: &[u8]) -> bool {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        // With the lock: what is held goes on after this has changed.
        if !self.is_under_way.load(Ordering::Acquire) || held.len() == HELD_MAX {
            return false;
        }
        held.push_back(Held { to: Arc::downgrade(to), meta, contents: Bytes::copy_from_slice(datagram) });
        true
    }

    /// Does something with what is known, while a path is looked for.
    pub(in crate::engine) fn look<T>(&self, with: impl FnOnce(&mut Nominations) -> T) -> Option<T> {
        if !self.is_under_way.load(Ordering::Acquire) {
            return None;
        }
        self.nominations.lock().unwrap_or_else(PoisonError::into_inner).as_mut().map(with)
    }
}

/// A socket whose checks nominate.
pub(in crate::engine) struct NominatingSocket {
    inner: Arc<dyn AsyncUdpSocket>,
    /// The address of `inner`.
    local: SocketAddr,
    selection: Arc<Selection>,
    /// What is put before the engine.
    again: Arc<Inbox>,
}

impl NominatingSocket {
    /// # Errors
    /// When the system does not tell the address of `inner`.
    pub(in crate::engine) fn new(inner: Arc<dyn AsyncUdpSocket>, selection: Arc<Selection>) -> io::Result<Self> {
        Ok(Self { local: inner.local_addr()?, inner, selection, again: Arc::default() })
    }

    /// Holds what was read, if that is DTLS alone.
    fn holds(&self, count: usize, bufs: &[IoSliceMut<'_>], metas: &[RecvMeta]) -> bool {
        let read =
            || bufs.iter().zip(metas).take(count).map(|(buffer, meta)| (&buffer[..meta.len.min(buffer.len())], meta));
        let is_dtls = count > 0 && read().all(|(message, _)| is_dtls(message));
        is_dtls && read().all(|(message, meta)| self.selection.hold(&self.again, *meta, message))
    }

    fn put(&self, from: SocketAddr, contents: Bytes) {
        let mut meta = RecvMeta::default();
        meta.addr = from;
        self.again.put(meta, contents);
    }
}

debug_by_name!(NominatingSocket);

impl AsyncUdpSocket for NominatingSocket {
    as_inner!();

    fn poll_send(&self, cx: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<usize>> {
        if transmit.segment_size.is_some() || is_media(transmit.contents) {
            return self.inner.poll_send(cx, transmit);
        }
        let pair = (self.local, transmit.destination);
        match self.selection.look(|nominations| nominations.sends(pair, transmit.contents)) {
            None | Some(Outgoing::AsItIs) => self.inner.poll_send(cx, transmit),
            Some(Outgoing::Instead(contents)) => {
                let sent = self.inner.poll_send(cx, &Transmit { contents: &contents, ..*transmit });
                sent.map_ok(|_| transmit.contents.len())
            }
            Some(Outgoing::Answered(answer)) => {
                self.put(transmit.destination, answer.into());
                Poll::Ready(Ok(transmit.contents.len()))
            }
            Some(Outgoing::Dropped) => Poll::Ready(Ok(transmit.contents.len())),
        }
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        if self.again.has_some()
            && let Poll::Ready(count) = self.again.poll(cx, bufs, metas)
        {
            return Poll::Ready(Ok(count));
        }
        for _ in 0..READS_MAX {
            // The reader waits here also before a path is looked for: one is from the first moment of an ICE restart.
            let Poll::Ready(read) = self.inner.poll_recv(cx, bufs, metas) else {
                return self.again.poll(cx, bufs, metas).map(Ok);
            };
            let count = read?;
            for (buffer, meta) in bufs.iter().zip(metas.iter()).take(count) {
                let datagrams = split(&buffer[..meta.len.min(buffer.len())], meta.stride);
                for datagram in datagrams.filter(|datagram| !is_media(datagram)) {
                    let again = self.selection.look(|known| known.receives((self.local, meta.addr), datagram));
                    if let Some(again) = again.flatten() {
                        self.put(meta.addr, again);
                    }
                }
            }
            let is_held = self.selection.is_under_way.load(Ordering::Acquire) && self.holds(count, bufs, metas);
            if !is_held {
                return Poll::Ready(Ok(count));
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
