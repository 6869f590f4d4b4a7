//! [`Unacknowledged`]: what of a TCP stream the other end has not acknowledged, asked of the system.
//!
//! Linux and Android tell it by `sock_diag(7)`, for one connection in some microseconds and without waiting. Where it is
//! not to be had (another system, a kernel without it, a sandbox), nothing is known.

#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) use linux::Unacknowledged;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) use other::Unacknowledged;

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod other {
    use tokio::net::TcpStream;

    use crate::path::stream_gate::Progress;

    /// Nothing is known here.
    pub(in crate::engine) struct Unacknowledged;

    impl Unacknowledged {
        pub(in crate::engine) const fn of(_stream: &TcpStream, _interface: Option<&str>) -> Option<Self> {
            None
        }

        pub(in crate::engine) const fn look(&self) -> Option<Progress> {
            None
        }
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod linux {
    use std::net::{IpAddr, SocketAddr};
    use std::os::fd::{AsRawFd as _, OwnedFd};
    use std::time::Duration;

    use nix::net::if_::if_nametoindex;
    use nix::sys::socket::{
        AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket,
    };
    use tokio::net::TcpStream;

    use crate::path::stream_gate::Progress;

    /// Of a message, and of its answer: `SOCK_DIAG_BY_FAMILY`.
    const BY_FAMILY: u16 = 20;
    /// `NLM_F_REQUEST`.
    const REQUEST: u16 = 1;
    /// Length of `nlmsghdr`, and of `inet_diag_msg` behind it.
    const HEADER: usize = 16;
    const ANSWER: usize = 72;
    /// Where `idiag_wqueue` is in the latter.
    const QUEUED: usize = 60;
    /// `INET_DIAG_INFO`, the attribute that holds a `tcp_info`; where `tcpi_bytes_acked` and `tcpi_min_rtt` are in that.
    const INFO: u16 = 2;
    const ACKNOWLEDGED: usize = 120;
    const ROUND_TRIP: usize = 148;

    /// Asks for one connection.
    pub(in crate::engine) struct Unacknowledged {
        netlink: OwnedFd,
        question: Vec<u8>,
    }

    impl Unacknowledged {
        /// Of this stream, which leaves by `interface` where it is tied to one. `None` where the system does not tell.
        pub(in crate::engine) fn of(stream: &TcpStream, interface: Option<&str>) -> Option<Self> {
            let (local, remote) = (stream.local_addr().ok()?, stream.peer_addr().ok()?);
            let index = interface.map_or(Some(0), |name| if_nametoindex(name).ok())?;
            let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
            let netlink =
                socket(AddressFamily::Netlink, SockType::Datagram, flags, SockProtocol::NetlinkSockDiag).ok()?;
            let asked = Self { netlink, question: question(local, remote, index) };
            asked.look()?;
            Some(asked)
        }

        /// How far it is now; `None` when it has ended.
        pub(in crate::engine) fn look(&self) -> Option<Progress> {
            let netlink = self.netlink.as_raw_fd();
            sendto(netlink, &self.question, &NetlinkAddr::new(0, 0), MsgFlags::empty()).ok()?;
            let mut buffer = [0; 1024];
            let length = recv(netlink, &mut buffer, MsgFlags::MSG_DONTWAIT).ok()?;
            answer(buffer.get(..length)?)
        }
    }

    /// An `inet_diag_req_v2` for one connection.
    fn question(local: SocketAddr, remote: SocketAddr, interface: u32) -> Vec<u8> {
        /// `AF_INET`, `AF_INET6`, and `IPPROTO_TCP`.
        const FAMILIES: [u8; 2] = [2, 10];
        const TCP: u8 = 6;
        let address = |ip: IpAddr| match ip {
            IpAddr::V4(ip) => [&ip.octets()[..], &[0; 12]].concat(),
            IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        let body = [
            &[FAMILIES[usize::from(local.is_ipv6())], TCP, 1 << (INFO - 1), 0][..],
            &u32::MAX.to_ne_bytes(),
            &local.port().to_be_bytes(),
            &remote.port().to_be_bytes(),
            &address(local.ip()),
            &address(remote.ip()),
            &interface.to_ne_bytes(),
            // No cookie.
            &[0xff; 8],
        ]
        .concat();
        let length = u32::try_from(HEADER + body.len()).unwrap_or_default();
        let header = [
            &length.to_ne_bytes()[..],
            &BY_FAMILY.to_ne_bytes(),
            &REQUEST.to_ne_bytes(),
            // Number and sender: one question, one answer.
            &[0; 8],
        ];
        [&header.concat()[..], &body].concat()
    }

    fn answer(message: &[u8]) -> Option<Progress> {
        if u16::from_ne_bytes(bytes(message, 4)?) != BY_FAMILY {
            return None;
        }
        let under_way = u32::from_ne_bytes(bytes(message, HEADER + QUEUED)?);
        let mut attributes = message.get(HEADER + ANSWER..)?;
        loop {
            let (length, kind) = (u16::from_ne_bytes(bytes(attributes, 0)?), u16::from_ne_bytes(bytes(attributes, 2)?));
            let length = usize::from(length);
            if kind == INFO {
                let info = attributes.get(4..length)?;
                let micros = u32::from_ne_bytes(bytes(info, ROUND_TRIP)?);
                return Some(Progress {
                    acknowledged: u64::from_ne_bytes(bytes(info, ACKNOWLEDGED)?),
                    under_way,
                    round_trip: Duration::from_micros(micros.into()),
                });
            }
            attributes = attributes.get(length.max(4).next_multiple_of(4)..)?;
        }
    }

    fn bytes<const N: usize>(of: &[u8], at: usize) -> Option<[u8; N]> {
        of.get(at..at.checked_add(N)?)?.try_into().ok()
    }

    #[cfg(test)]
    mod tests {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        use tokio::net::TcpListener;

        use super::*;

        #[tokio::test]
        async fn the_system_tells_what_is_under_way() {
            for ip in ["127.0.0.1", "::1"] {
                let listener = TcpListener::bind((ip, 0)).await.unwrap();
                let mut stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
                let (mut other, _) = listener.accept().await.unwrap();
                let asked = Unacknowledged::of(&stream, None).expect("this kernel tells it");
                let before = asked.look().unwrap();
                assert_eq!(before.under_way, 0);
                stream.write_all(&[7; 1000]).await.unwrap();
                let mut room = [0; 1000];
                other.read_exact(&mut room).await.unwrap();
                let acknowledged = async {
                    while asked.look().unwrap().acknowledged != before.acknowledged + 1000 {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                };
                tokio::time::timeout(Duration::from_secs(20), acknowledged).await.expect("it is acknowledged");
                // More than both systems take, since nobody reads.
                while let Ok(Ok(())) =
                    tokio::time::timeout(Duration::from_millis(100), stream.write_all(&[7; 65_536])).await
                {
                }
                assert!(asked.look().unwrap().under_way > 65_536);
                assert!(Unacknowledged::of(&stream, Some("nosuch0")).is_none());
            }
        }

        #[test]
        fn what_is_no_answer_says_nothing() {
            let whole = [&[0; 4][..], &BY_FAMILY.to_ne_bytes(), &[0; 10 + ANSWER], &[4, 0, 1, 0]].concat();
            for length in 0..whole.len() {
                assert_eq!(answer(&whole[..length]), None, "{length}");
            }
            assert_eq!(answer(&[0xff; 300]), None);
        }
    }
}
