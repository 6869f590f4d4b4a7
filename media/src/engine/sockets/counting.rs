//! A socket that counts what comes from the other side, shows what STUN and TURN servers answer, and lowers the payload
//! limit when the system refuses a datagram as too large.

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use webrtc::runtime::{AsyncUdpSocket, RecvMeta, Transmit};

use crate::congestion::payload_limit::PayloadLimit;
use crate::path::receive_counter::ReceiveCounter;
use crate::path::server_log::ServerLog;

/// What the system says of a datagram that the interface does not carry.
#[cfg(unix)]
const TOO_LARGE: i32 = nix::errno::Errno::EMSGSIZE as i32;
#[cfg(not(unix))]
const TOO_LARGE: i32 = 10040;

/// What it says of several datagrams in one call when it does not take them so, for their size or for another reason.
#[cfg(unix)]
const NOT_JOINED: i32 = nix::errno::Errno::EINVAL as i32;
#[cfg(not(unix))]
const NOT_JOINED: i32 = 10022;

/// A socket that counts.
pub(in crate::engine) struct CountingSocket {
    pub(in crate::engine) inner: Arc<dyn AsyncUdpSocket>,
    pub(in crate::engine) received: Arc<ReceiveCounter>,
    pub(in crate::engine) payload: Arc<PayloadLimit>,
    pub(in crate::engine) servers: Arc<ServerLog>,
}

debug_by_name!(CountingSocket);

impl AsyncUdpSocket for CountingSocket {
    as_inner!();

    fn poll_send(&self, cx: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<usize>> {
        let sent = match (self.inner.poll_send(cx, transmit), transmit.segment_size) {
            (Poll::Ready(Err(error)), segment) if error.raw_os_error() == Some(TOO_LARGE) => {
                self.payload.fit(segment.unwrap_or(transmit.contents.len()));
                // It is lost, as it would be further on.
                Poll::Ready(Ok(transmit.contents.len()))
            }
            // One by one each is sent, or refused for its size.
            (Poll::Ready(Err(error)), Some(segment)) if error.raw_os_error() == Some(NOT_JOINED) => {
                for contents in transmit.contents.chunks(segment.max(1)) {
                    let _sent_or_lost = self.poll_send(cx, &Transmit { contents, segment_size: None, ..*transmit });
                }
                Poll::Ready(Ok(transmit.contents.len()))
            }
            (sent, _) => sent,
        };
        if let Poll::Ready(Ok(_)) = sent {
            self.servers.sent(transmit.destination, transmit.contents, Instant::now());
        }
        sent
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let received = self.inner.poll_recv(cx, bufs, meta);
        if let Poll::Ready(Ok(messages)) = &received {
            // Datagrams that were joined into one message have one sender: the first stands for all.
            let datagrams = bufs.iter().zip(meta.iter()).take(*messages);
            let datagrams = datagrams.map(|(buffer, meta)| (meta.addr, &buffer[..meta.len.min(buffer.len())]));
            self.received.came(datagrams.map(|(from, datagram)| {
                self.servers.came(from, datagram);
                datagram
            }));
        }
        received
    }
}
