//! Says in words why a socket could not be opened. Opens sockets to find out, as the engine does not tell.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

use network::system_error::{self, TOO_MANY_FILES};

/// More sockets than one for each address: what else the engine opens.
const SPARE: usize = 2;

/// Whether this machine has an address that others reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Usable {
    Some,
    None,
}

/// Why sockets could not be opened on these addresses, which the engine does not say: found out by opening them again.
/// `None` when that works.
pub(super) fn of_sockets(addresses: &[SocketAddr], usable: Usable) -> Option<String> {
    let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let addresses = addresses.iter().copied().chain(std::iter::repeat_n(any, SPARE));
    // All of them at once, as the engine does.
    let mut open = Vec::new();
    for address in addresses {
        match UdpSocket::bind(address) {
            Ok(socket) => open.push(socket),
            Err(error) if error.raw_os_error() == Some(TOO_MANY_FILES) => return Some(system_error::too_many_files()),
            Err(_) if usable == Usable::None => {
                return Some("this machine has no address for a call: neither IPv4 nor IPv6".to_owned());
            }
            Err(error) => return Some(format!("no UDP socket can be opened: {}", system_error::in_words(&error))),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_says_what_it_lacks() {
        assert_eq!(of_sockets(&[SocketAddr::from((Ipv4Addr::LOCALHOST, 0))], Usable::None), None);
        // An address of nobody here.
        let elsewhere = SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), 0));
        assert!(of_sockets(&[elsewhere], Usable::None).is_some_and(|text| text.contains("IPv4")));
        assert!(of_sockets(&[elsewhere], Usable::Some).is_some_and(|text| text.contains("no UDP socket")));
    }
}
