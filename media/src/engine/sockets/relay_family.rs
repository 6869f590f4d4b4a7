//! A socket that asks TURN servers without IPv4 for an IPv6 address. What becomes of a datagram is decided in
//! [`crate::path::relay_family`].

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use rtc::crypto::RTCCryptoProvider;
use rtc::stun::integrity::MessageIntegrity;
use webrtc::runtime::{AsyncUdpSocket, RecvMeta, Transmit};

use crate::path::ice_server::IceServer;
use crate::path::relay_family::{LoginKeys, RelayFamily};

/// Where in a message the transaction begins (RFC 8489 §5).
const TRANSACTION_AT: usize = 8;

/// What is known of the servers, for all sockets of a peer connection.
pub(in crate::engine) struct Families {
    family: Mutex<RelayFamily>,
    keys: Keys,
}

/// The logins of the servers that are in use.
struct Keys {
    servers: Mutex<Vec<IceServer>>,
    crypto: Arc<dyn RTCCryptoProvider>,
}

impl LoginKeys for Keys {
    fn key(&self, user: &str, realm: &str) -> Option<Vec<u8>> {
        let servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        let password = servers.iter().find(|server| server.username == user)?.password.clone();
        drop(servers);
        let crypto = self.crypto.crypto();
        MessageIntegrity::long_term_integrity_key(user.to_owned(), realm.to_owned(), password, crypto).ok()
    }
}

impl Families {
    pub(in crate::engine) fn new(servers: &[IceServer], crypto: Arc<dyn RTCCryptoProvider>) -> Self {
        Self { family: Mutex::default(), keys: Keys { servers: Mutex::new(servers.to_vec()), crypto } }
    }

    /// From now on these logins are used.
    pub(in crate::engine) fn renew(&self, servers: &[IceServer]) {
        *self.keys.servers.lock().unwrap_or_else(PoisonError::into_inner) = servers.to_vec();
    }

    fn family(&self) -> MutexGuard<'_, RelayFamily> {
        self.family.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A socket whose requests for an allocation name a family where they have to.
pub(in crate::engine) struct FamilySocket {
    pub(in crate::engine) inner: Arc<dyn AsyncUdpSocket>,
    pub(in crate::engine) families: Arc<Families>,
}

impl FamilySocket {
    /// Looks at what came: a refusal that is answered here tells the engine nothing any more.
    fn look(&self, cx: &mut Context<'_>, server: SocketAddr, datagram: &mut [u8]) {
        if !RelayFamily::concerns(datagram) {
            return;
        }
        let request = self.families.family().receives(server, datagram, &self.families.keys);
        if let Some(request) = request {
            self.ask(cx, server, &request);
            // Of a transaction that nobody has begun.
            datagram.iter_mut().skip(TRANSACTION_AT).for_each(|byte| *byte = !*byte);
        }
    }

    /// Sends a request again, with the family. One that finds no room is lost: the engine sends it again.
    fn ask(&self, cx: &mut Context<'_>, server: SocketAddr, request: &[u8]) {
        let transmit = Transmit { destination: server, ecn: None, contents: request, segment_size: None, src_ip: None };
        let _sent_or_lost = self.inner.poll_send(cx, &transmit);
    }
}

debug_by_name!(FamilySocket);

impl AsyncUdpSocket for FamilySocket {
    as_inner!();

    fn poll_send(&self, cx: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<usize>> {
        if transmit.segment_size.is_some() || !RelayFamily::concerns(transmit.contents) {
            return self.inner.poll_send(cx, transmit);
        }
        match self.families.family().sends(transmit.destination, transmit.contents, &self.families.keys) {
            None => self.inner.poll_send(cx, transmit),
            Some(contents) => {
                let sent = self.inner.poll_send(cx, &Transmit { contents: &contents, ..*transmit });
                sent.map_ok(|_| transmit.contents.len())
            }
        }
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let received = self.inner.poll_recv(cx, bufs, metas);
        if let Poll::Ready(Ok(count)) = &received {
            for (buffer, meta) in bufs.iter_mut().zip(metas.iter()).take(*count) {
                let length = meta.len.min(buffer.len());
                for datagram in buffer[..length].chunks_mut(meta.stride.max(1)) {
                    self.look(cx, meta.addr, datagram);
                }
            }
        }
        received
    }
}
