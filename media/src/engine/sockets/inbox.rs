//! Datagrams for the engine that do not come straight from the system: from the bad network, out of a stream, or made here.

use std::collections::VecDeque;
use std::io::IoSliceMut;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use tracing::trace;
use webrtc::runtime::RecvMeta;

/// Datagrams that have arrived and wait for the engine, a socket: what a stall of seconds lets go at once. More are
/// dropped, as a system drops what does not fit into the buffer of a socket.
const INBOX_MAX: usize = 4096;

/// Datagrams that have arrived, and who waits for them.
#[derive(Default)]
pub(super) struct Inbox {
    has_some: AtomicBool,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    datagrams: VecDeque<(RecvMeta, Bytes)>,
    reader: Option<Waker>,
}

impl Inbox {
    /// True when there is something to hand out, without a lock.
    pub(super) fn has_some(&self) -> bool {
        self.has_some.load(Ordering::Acquire)
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn put(&self, meta: RecvMeta, contents: Bytes) {
        let mut waiting = self.waiting();
        if waiting.datagrams.len() >= INBOX_MAX {
            return trace!("the engine is too slow: datagram dropped");
        }
        waiting.datagrams.push_back((meta, contents));
        self.has_some.store(true, Ordering::Release);
        if let Some(reader) = waiting.reader.take() {
            reader.wake();
        }
    }

    /// Fills one buffer with one datagram; without one, `cx` is woken when it comes.
    pub(super) fn poll(&self, cx: &Context<'_>, bufs: &mut [IoSliceMut<'_>], metas: &mut [RecvMeta]) -> Poll<usize> {
        let mut waiting = self.waiting();
        let mut filled = 0;
        for (buffer, slot) in bufs.iter_mut().zip(metas) {
            let Some((mut meta, contents)) = waiting.datagrams.pop_front() else { break };
            // What is longer than the buffer is cut off, as the system does.
            let length = contents.len().min(buffer.len());
            buffer[..length].copy_from_slice(&contents[..length]);
            (meta.len, meta.stride) = (length, length.max(1));
            *slot = meta;
            filled += 1;
        }
        self.has_some.store(!waiting.datagrams.is_empty(), Ordering::Release);
        if filled == 0 {
            waiting.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(filled)
    }
}
