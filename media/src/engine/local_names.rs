//! Looks up the names of multicast DNS (RFC 6762) behind which browsers hide the addresses of their host candidates.
//!
//! - owns: the sockets of a lookup, one for each interface, for as long as it takes
//! - must never: hold up other candidates, ask for ever
//! - flow: name → a question on each interface, again until somebody answers → the address
//!
//! The engine could look them up, but it asks by the interface of the default route alone. Where there is no such route
//! its socket cannot be bound, and then it binds no other either: an ICE restart would end the connection.

use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use rtc::mdns::{Mdns, MdnsConfig, MdnsEvent, MulticastSocket};
use rtc::sansio::Protocol as _;
use rtc::shared::{TaggedBytesMut, TransportContext, TransportProtocol};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tracing::debug;

use super::machine::interfaces;
use crate::path::addresses::Interface;

/// Between two questions for the same name: the least that is allowed (RFC 6762 §5.2).
const ASK_EVERY: Duration = Duration::from_secs(1);

/// How long an answer is waited for. Where there is none by then, the other side is on another link.
const PATIENCE: Duration = Duration::from_secs(10);

/// Largest datagram of multicast DNS, in bytes (RFC 6762 §17).
const DATAGRAM_MAX: usize = 9000;

/// The address behind `name`, by the first interface on which it is answered; `None` when nobody answers in time.
/// Nothing is left open when it is dropped.
pub(super) async fn address_of(name: &str, interfaces: Vec<Interface>) -> Option<IpAddr> {
    let mut asking = JoinSet::new();
    for interface in interfaces {
        match open(&interface) {
            Ok(socket) => drop(asking.spawn(ask(name.to_owned(), socket))),
            Err(error) => debug!(%error, interface = interface.name, "no multicast DNS here"),
        }
    }
    let first = async {
        while let Some(answer) = asking.join_next().await {
            if let Ok(Some(ip)) = answer {
                return Some(ip);
            }
        }
        None
    };
    tokio::time::timeout(PATIENCE, first).await.ok().flatten()
}

/// A socket in the group of multicast DNS that sends and receives on this interface.
fn open(interface: &Interface) -> io::Result<UdpSocket> {
    let socket = MulticastSocket::new().with_interface(interface.ip).into_std()?;
    if let Err(error) = interfaces::tie(&socket, &interface.name) {
        // It asks where the default route leads, if there is one.
        debug!(%error, interface = interface.name, "multicast DNS is not tied to its interface");
    }
    UdpSocket::from_std(socket)
}

/// Asks until somebody answers; `None` when the socket fails.
async fn ask(name: String, socket: UdpSocket) -> Option<IpAddr> {
    let local_addr = socket.local_addr().ok()?;
    let mut mdns = Mdns::new(Instant::now(), MdnsConfig::new().with_query_interval(ASK_EVERY));
    mdns.query_now(Instant::now(), &name);
    let mut buffer = vec![0; DATAGRAM_MAX];
    loop {
        while let Some(question) = mdns.poll_write() {
            if let Err(error) = socket.send_to(&question.message, question.transport.peer_addr).await {
                debug!(%error, "a question for a name was not sent");
            }
        }
        if let Some(MdnsEvent::QueryAnswered(_, ip)) = mdns.poll_event() {
            return Some(ip);
        }
        let again = mdns.poll_timeout()?;
        tokio::select! {
            received = socket.recv_from(&mut buffer) => {
                let (len, peer_addr) = received.ok()?;
                let transport =
                    TransportContext { local_addr, peer_addr, transport_protocol: TransportProtocol::UDP, ecn: None };
                let message = TaggedBytesMut { now: Instant::now(), transport, message: buffer[..len].into() };
                if let Err(error) = mdns.handle_read(message) {
                    debug!(%error, "a datagram of multicast DNS is not understood");
                }
            }
            () = tokio::time::sleep_until(again.into()) => {
                if let Err(error) = mdns.handle_timeout(Instant::now()) {
                    debug!(%error, "a name is not asked for again");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::engine::machine::ThisMachine;
    use crate::path::addresses::Network as _;

    #[test]
    fn names_are_looked_up_without_a_default_route() {
        let unshare = ["--user", "--map-root-user", "--net"];
        let made = std::process::Command::new("unshare").args(unshare).arg("true").status();
        if !made.is_ok_and(|status| status.success()) {
            assert!(std::env::var_os("CI").is_none(), "no namespace with a network of its own; allow user namespaces");
            // Not by a macro: those are silent in tests that pass.
            io::Write::write_all(&mut io::stderr(), b"\n==== NOT RUN: no namespace ====\n").unwrap();
            return;
        }
        let script = "ip link add lan type veth peer name far && ip addr add 10.9.9.1/24 dev lan && \
                      ip link set far up && ip link set lan up && \
                      exec \"$0\" --exact engine::local_names::tests::on_a_link_alone --ignored --nocapture";
        let program = std::env::current_exe().unwrap();
        let output =
            std::process::Command::new("unshare").args(unshare).args(["sh", "-c", script]).arg(program).output();
        let output = output.unwrap();
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
    }

    /// Run by the test above, on a machine with one interface and no route beyond its network.
    #[tokio::test]
    #[ignore = "needs a network without routes"]
    async fn on_a_link_alone() {
        let interfaces = ThisMachine.interfaces();
        let lan = Interface { name: "lan".to_owned(), ip: Ipv4Addr::new(10, 9, 9, 1) };
        assert_eq!(interfaces, std::slice::from_ref(&lan));
        assert!(MulticastSocket::new().into_std().is_err(), "there is a default route");
        let name = "0b1c2d3e.local";
        let answering = tokio::spawn(answer(name, open(&lan).unwrap(), lan.ip));
        assert_eq!(address_of(name, interfaces).await, Some(lan.ip.into()));
        answering.abort();
    }

    /// Answers for one name, as a browser does.
    async fn answer(name: &str, socket: UdpSocket, ip: Ipv4Addr) {
        let config = MdnsConfig::new().with_local_names(vec![name.to_owned()]).with_local_ip(ip.into());
        let mut mdns = Mdns::new(Instant::now(), config);
        let mut buffer = vec![0; DATAGRAM_MAX];
        loop {
            let (len, peer_addr) = socket.recv_from(&mut buffer).await.unwrap();
            let transport = TransportContext { peer_addr, ..TransportContext::default() };
            let message = TaggedBytesMut { now: Instant::now(), transport, message: buffer[..len].into() };
            mdns.handle_read(message).unwrap();
            while let Some(answer) = mdns.poll_write() {
                socket.send_to(&answer.message, answer.transport.peer_addr).await.unwrap();
            }
        }
    }
}
