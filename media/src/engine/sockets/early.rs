//! Holds datagrams that come before the answer that they belong to. The answer goes by the broker, and is slower.
//!
//! - ICE checks for a path whose description has not come (RFC 8445 §7.3 wants them answered). The engine drops a check
//!   from somebody it does not know yet, and some engines send the next one half a second later
//! - the first RTP packets of a stream that the answer to an update names. The engine drops packets of streams it does
//!   not know: the first picture would lack its beginning, and nobody would NACK it
//!
//! [`Awaited`] tells which datagrams these are. They are handed on once the answer and its candidates are known.

use std::collections::VecDeque;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use webrtc::runtime::{AsyncUdpSocket, RecvMeta, Transmit};

use crate::path::early::{Awaited, Kind};

/// Checks held a socket, the latest: each pair of addresses is checked a few times a second.
const CHECKS_MAX: usize = 64;

/// Packets held a socket, the first: half a second of pictures. Those behind them are dropped by the engine.
const PACKETS_MAX: usize = 512;

/// Readers that wait for what is held: one a socket, and sockets of a path that was replaced.
const READERS_MAX: usize = 64;

/// Messages read in a row while all of them are held.
const READS_MAX: usize = 16;

/// What is held now, for all sockets of a peer connection.
#[derive(Debug, Default)]
pub(in crate::engine) struct Early {
    is_awaited: AtomicBool,
    awaited: Mutex<Awaited>,
    readers: Mutex<Vec<Waker>>,
}

impl Early {
    /// An offer of ours is made: its answer is not known.
    pub(in crate::engine) fn hold(&self, awaited: Awaited) {
        let mut held = self.awaited();
        // An answer that never came leaves its path to be told.
        held.path |= awaited.path;
        held.streams_beside = awaited.streams_beside;
        self.is_awaited.store(true, Ordering::Release);
    }

    /// The answer is known: what was held is handed on.
    pub(in crate::engine) fn release(&self) {
        *self.awaited() = Awaited::default();
        self.is_awaited.store(false, Ordering::Release);
        for reader in std::mem::take(&mut *self.readers()) {
            reader.wake();
        }
    }

    fn holds(&self) -> bool {
        self.is_awaited.load(Ordering::Acquire)
    }

    /// Wakes this reader when what is held is handed on.
    fn wait(&self, reader: &Waker) {
        let mut readers = self.readers();
        if !readers.iter().any(|known| known.will_wake(reader)) && readers.len() < READERS_MAX {
            readers.push(reader.clone());
        }
        drop(readers);
        if !self.holds() {
            reader.wake_by_ref();
        }
    }

    fn readers(&self) -> MutexGuard<'_, Vec<Waker>> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn awaited(&self) -> MutexGuard<'_, Awaited> {
        self.awaited.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A socket that holds what comes too early.
pub(in crate::engine) struct EarlySocket {
    inner: Arc<dyn AsyncUdpSocket>,
    early: Arc<Early>,
    has_held: AtomicBool,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    checks: VecDeque<(RecvMeta, Bytes)>,
    packets: VecDeque<(RecvMeta, Bytes)>,
}

impl Held {
    fn put(&mut self, kind: Kind, meta: &RecvMeta, datagram: &[u8]) {
        let mut meta = *meta;
        (meta.len, meta.stride) = (datagram.len(), datagram.len().max(1));
        let item = (meta, Bytes::copy_from_slice(datagram));
        match kind {
            Kind::Check => {
                if self.checks.len() == CHECKS_MAX {
                    self.checks.pop_front();
                }
                self.checks.push_back(item);
            }
            Kind::Packet if self.packets.len() < PACKETS_MAX => self.packets.push_back(item),
            Kind::Packet => {}
        }
    }

    fn is_empty(&self) -> bool {
        self.checks.is_empty() && self.packets.is_empty()
    }
}

impl EarlySocket {
    pub(in crate::engine) fn new(inner: Arc<dyn AsyncUdpSocket>, early: Arc<Early>) -> Self {
        Self { inner, early, has_held: AtomicBool::new(false), held: Mutex::default() }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes out of the first `count` messages what is too early; how many messages are left, at the front.
    fn sift(&self, count: usize, bufs: &mut [IoSliceMut<'_>], metas: &mut [RecvMeta]) -> usize {
        let (awaited, mut held) = (self.early.awaited(), self.held());
        let mut left = 0;
        for index in 0..count.min(bufs.len()).min(metas.len()) {
            let mut meta = metas[index];
            let length = meta.len.min(bufs[index].len());
            let keep = |datagram: &[u8]| {
                let kind = awaited.kind(datagram);
                kind.inspect(|kind| held.put(*kind, &meta, datagram)).is_none()
            };
            let mut kept = compact(&mut bufs[index][..length], meta.stride, keep);
            if kept == 0 && length > 0 {
                continue;
            }
            if left < index {
                let (front, back) = bufs.split_at_mut(index);
                kept = kept.min(front[left].len());
                front[left][..kept].copy_from_slice(&back[0][..kept]);
            }
            meta.len = kept;
            metas[left] = meta;
            left += 1;
        }
        self.has_held.store(!held.is_empty(), Ordering::Release);
        left
    }

    /// Hands on what was held: checks first, since they are of the path.
    fn hand_on(&self, bufs: &mut [IoSliceMut<'_>], metas: &mut [RecvMeta]) -> usize {
        let mut held = self.held();
        let mut filled = 0;
        for (buffer, slot) in bufs.iter_mut().zip(metas) {
            let next = held.checks.pop_front().or_else(|| held.packets.pop_front());
            let Some((mut meta, contents)) = next else { break };
            let length = contents.len().min(buffer.len());
            buffer[..length].copy_from_slice(&contents[..length]);
            meta.len = length;
            *slot = meta;
            filled += 1;
        }
        self.has_held.store(!held.is_empty(), Ordering::Release);
        filled
    }
}

/// Moves the datagrams that `keep` wants to the front of a message in which they are joined, `stride` bytes each but the
/// last; how many bytes they have.
fn compact(message: &mut [u8], stride: usize, mut keep: impl FnMut(&[u8]) -> bool) -> usize {
    let stride = stride.max(1);
    let (mut at, mut kept) = (0, 0);
    while at < message.len() {
        let end = (at + stride).min(message.len());
        if keep(&message[at..end]) {
            message.copy_within(at..end, kept);
            kept += end - at;
        }
        at = end;
    }
    kept
}

debug_by_name!(EarlySocket);

impl AsyncUdpSocket for EarlySocket {
    as_inner!();

    fn poll_send(&self, cx: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<usize>> {
        self.inner.poll_send(cx, transmit)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        if !self.early.holds() {
            if self.has_held.load(Ordering::Acquire) {
                return Poll::Ready(Ok(self.hand_on(bufs, metas)));
            }
            return self.inner.poll_recv(cx, bufs, metas);
        }
        for _ in 0..READS_MAX {
            let Poll::Ready(read) = self.inner.poll_recv(cx, bufs, metas) else {
                self.early.wait(cx.waker());
                return Poll::Pending;
            };
            let left = self.sift(read?, bufs, metas);
            if left > 0 {
                return Poll::Ready(Ok(left));
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::early::stream_of;

    fn packet(stream: u32) -> Vec<u8> {
        [&[0x80, 96, 0, 1, 0, 0, 0, 0][..], &stream.to_be_bytes(), &[7; 4]].concat()
    }

    #[test]
    fn datagrams_that_are_joined_are_told_apart() {
        let mut message = [packet(1), packet(2), packet(1), packet(2)[..13].to_vec()].concat();
        let kept = compact(&mut message, 16, |datagram| stream_of(datagram) == Some(1));
        assert_eq!(message[..kept], [packet(1), packet(1)].concat());
        assert_eq!(compact(&mut [], 16, |_| true), 0);
        assert_eq!(compact(&mut packet(2), usize::MAX / 2, |_| false), 0);
    }

    #[test]
    fn what_is_held_is_bounded() {
        let mut held = Held::default();
        let meta = RecvMeta::default();
        for n in 0..2000u32 {
            held.put(Kind::Check, &meta, &n.to_be_bytes());
            held.put(Kind::Packet, &meta, &n.to_be_bytes());
        }
        assert_eq!((held.checks.len(), held.packets.len()), (CHECKS_MAX, PACKETS_MAX));
        assert_eq!(held.checks[0].1[..], (2000 - CHECKS_MAX as u32).to_be_bytes());
        assert_eq!(held.packets[0].1[..], 0u32.to_be_bytes());
    }
}
