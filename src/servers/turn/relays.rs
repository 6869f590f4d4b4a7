//! The relayed sockets: one for each allocation, a real UDP port of this machine.
//!
//! - owns: the sockets, wrapped, and how many there may be, over all transports of clients together; of one user's, see
//!   [`super::quota`]
//! - must never: exchange a packet that [`Policy::may_exchange`] forbids
//! - flow: [`Relay::send_to`] and [`Relay::recv_from`] → [`Policy::may_exchange`] → socket

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ::turn::relay::RelayAddressGenerator;
use async_trait::async_trait;
use tokio::net::UdpSocket;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use webrtc_util::Conn;

use super::datagrams::{Datagrams, Unconnected};
use super::guard::{Policy, receive};
use super::quota::{Requester, Seat};

/// Relayed sockets at once: two a peer of a LAN, and below the usual limit of 1024 open files with room for the broker.
const ALLOCATIONS_MAX: usize = 400;

/// Opens the relayed sockets. Clones share the places.
#[derive(Clone)]
pub(super) struct Relays {
    policy: Arc<Policy>,
    bind_ip: IpAddr,
    places: Arc<Semaphore>,
    requester: Requester,
    /// sockets now open for the clients of these `Relays`
    open: Arc<AtomicUsize>,
}

impl Relays {
    pub(super) fn new(policy: Arc<Policy>, bind_ip: IpAddr) -> Self {
        let places = Arc::new(Semaphore::new(ALLOCATIONS_MAX));
        Self { policy, bind_ip, places, requester: Requester::default(), open: Arc::default() }
    }

    /// Who tells for whom the next socket is.
    pub(super) fn requester(&self) -> Requester {
        self.requester.clone()
    }

    /// The same places and rules, with a count of its own: [`Self::is_any_open`] tells of one client then.
    pub(super) fn for_one_client(&self) -> Self {
        Self { open: Arc::default(), requester: Requester::default(), ..self.clone() }
    }

    /// Whether any socket of these `Relays` is open.
    pub(super) fn is_any_open(&self) -> bool {
        self.open.load(Ordering::Relaxed) > 0
    }
}

#[async_trait]
impl RelayAddressGenerator for Relays {
    fn validate(&self) -> Result<(), ::turn::Error> {
        Ok(())
    }

    async fn allocate_conn(
        &self,
        use_ipv4: bool,
        requested_port: u16,
    ) -> Result<(Arc<dyn Conn + Send + Sync>, SocketAddr), ::turn::Error> {
        if use_ipv4 != self.policy.relay_ip.is_ipv4() {
            return Err(::turn::Error::ErrInvalidRequestedFamilyValue);
        }
        let full = |_| ::turn::Error::Other("all places are taken".to_owned());
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(full)?;
        let user = self.requester.take().unwrap_or_default();
        let used_up = || ::turn::Error::Other("the quota of the user is used up".to_owned());
        let seat = self.policy.quota.enter(user).ok_or_else(used_up)?;
        let no_socket = |error: io::Error| ::turn::Error::Other(network::system_error::in_words(&error));
        let socket = UdpSocket::bind((self.bind_ip, requested_port)).await.map_err(no_socket)?;
        let port = socket.local_addr().map_err(no_socket)?.port();
        self.policy.with_ports(|ports| ports.insert(port));
        self.open.fetch_add(1, Ordering::Relaxed);
        let (policy, open) = (Arc::clone(&self.policy), Arc::clone(&self.open));
        let relay = Relay { socket, port, policy, _place: place, _seat: seat, open };
        Ok((Arc::new(Unconnected(relay)), SocketAddr::new(self.policy.relay_ip, port)))
    }
}

/// A relayed socket; its port and its places are free again when it is dropped.
struct Relay {
    socket: UdpSocket,
    port: u16,
    policy: Arc<Policy>,
    _place: OwnedSemaphorePermit,
    _seat: Seat,
    open: Arc<AtomicUsize>,
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.policy.with_ports(|ports| ports.remove(&self.port));
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[async_trait]
impl Datagrams for Relay {
    async fn recv_from(&self, buf: &mut [u8]) -> webrtc_util::Result<(usize, SocketAddr)> {
        loop {
            let (len, from) = receive(&self.socket, buf).await?;
            if self.policy.may_exchange(from) {
                return Ok((len, from));
            }
        }
    }

    async fn send_to(&self, buf: &[u8], target: SocketAddr) -> webrtc_util::Result<usize> {
        if !self.policy.may_exchange(target) {
            return Err(io::Error::from(io::ErrorKind::PermissionDenied).into());
        }
        Ok(self.socket.send_to(buf, target).await?)
    }

    fn local_addr(&self) -> webrtc_util::Result<SocketAddr> {
        Ok(self.socket.local_addr()?)
    }
}
