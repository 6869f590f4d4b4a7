//! A Binding transaction (RFC 8489 §3): at which address a STUN server sees a socket.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use rtc::stun::message::{BINDING_REQUEST, BINDING_SUCCESS, Getter as _, Message, Setter, TransactionId};
use rtc::stun::xoraddr::XorMappedAddress;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::transaction::{self, TRIES, Unanswered};
use crate::path::ice_server::IceServer;

/// How one server sees a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Where the socket sends from on the way to this server.
    pub local: SocketAddr,
    /// Where it seems to send from.
    pub mapped: SocketAddr,
}

/// Asks one server; at which address it sees a socket of ours, and how long the answer took.
///
/// # Errors
/// Why there is no answer.
pub async fn mapped_address(server: &IceServer) -> Result<(SocketAddr, Duration), Unanswered> {
    let address = transaction::resolve(&server.url).await?;
    let socket = transaction::open_to(address).await?;
    let (answer, took) = transaction::ask(&socket, address, &request()?).await?;
    Ok((mapped(&answer).ok_or(Unanswered::Nonsense)?, took))
}

/// Asks all servers over UDP from one socket; how each sees it that answers in time. TURN servers answer too.
///
/// # Errors
/// When the socket fails on this side.
pub async fn mapped_addresses(servers: Vec<IceServer>) -> Result<Vec<Seen>, Unanswered> {
    let mut resolving = JoinSet::new();
    for server in servers.into_iter().filter(|server| !server.url.transport.is_stream()) {
        resolving.spawn(async move { transaction::resolve(&server.url).await.ok() });
    }
    let addresses: BTreeSet<SocketAddr> = resolving.join_all().await.into_iter().flatten().collect();
    let socket = transaction::open().await?;
    let mut open = Vec::new();
    for address in addresses {
        open.push((address, request()?));
    }
    let mut seen = Vec::new();
    for wait in TRIES {
        for (address, request) in &open {
            // One that cannot be reached at all must not keep the others from being asked.
            let _unreachable = transaction::send(&socket, *address, &request.raw).await;
        }
        let deadline = Instant::now() + wait;
        while !open.is_empty() {
            let is_answer = |from, message: &Message| {
                open.iter().any(|(server, request)| *server == from && request.transaction_id == message.transaction_id)
            };
            let Some(answer) = transaction::hear(&socket, deadline, is_answer).await? else { break };
            let asked = |(_, request): &(SocketAddr, Message)| request.transaction_id == answer.transaction_id;
            let Some(index) = open.iter().position(asked) else { continue };
            let (server, _) = open.swap_remove(index);
            if let Some(mapped) = mapped(&answer) {
                seen.push(Seen { local: local(&socket, server)?, mapped });
            }
        }
    }
    Ok(seen)
}

/// Where packets from `socket` to `server` leave from. Connecting a UDP socket sends nothing.
fn local(socket: &UdpSocket, server: SocketAddr) -> Result<SocketAddr, Unanswered> {
    let probe = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    probe.connect(server)?;
    let ip: IpAddr = probe.local_addr()?.ip();
    Ok(SocketAddr::new(ip, socket.local_addr()?.port()))
}

fn request() -> Result<Message, Unanswered> {
    let mut request = Message::new();
    let parts: [Box<dyn Setter>; 2] = [Box::new(TransactionId::new()), Box::new(BINDING_REQUEST)];
    request.build(&parts).map_err(|error| Unanswered::Local(error.to_string()))?;
    Ok(request)
}

/// The address in an answer to [`request`].
fn mapped(answer: &Message) -> Option<SocketAddr> {
    if answer.typ != BINDING_SUCCESS {
        return None;
    }
    let mut address = XorMappedAddress::default();
    address.get_from(answer).ok()?;
    Some(SocketAddr::new(address.ip, address.port))
}
