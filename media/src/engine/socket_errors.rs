//! Says in words why a socket could not be opened. Opens sockets to find out, as the engine does not tell.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

/// How this system says that a program has as many files open as it may (EMFILE).
const TOO_MANY_FILES: i32 = 24;

/// More sockets than one for each address: what else the engine opens.
const SPARE: usize = 2;

/// Whether this machine has an IPv4 address that others reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Usable {
    Some,
    None,
}

/// What went wrong, without the system's number behind it.
pub(super) fn of_io(error: &io::Error) -> String {
    if error.raw_os_error() == Some(TOO_MANY_FILES) {
        return too_many_files();
    }
    error.to_string().split(" (os error").next().unwrap_or_default().to_owned()
}

fn too_many_files() -> String {
    let limit = std::fs::read_to_string("/proc/self/limits").ok().and_then(|limits| {
        let line = limits.lines().find(|line| line.starts_with("Max open files"))?;
        line.split_whitespace().nth(3).map(|limit| format!(" (limit {limit})"))
    });
    format!("too many open files{}; raise the limit with ulimit -n", limit.unwrap_or_default())
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
            Err(error) if error.raw_os_error() == Some(TOO_MANY_FILES) => return Some(too_many_files()),
            Err(_) if usable == Usable::None => {
                return Some("this machine has no IPv4 address, and media goes over IPv4 alone".to_owned());
            }
            Err(error) => return Some(format!("no UDP socket can be opened: {}", of_io(&error))),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_says_what_it_lacks() {
        let told = of_io(&io::Error::from_raw_os_error(TOO_MANY_FILES));
        assert!(told.starts_with("too many open files (limit ") && told.ends_with("ulimit -n"), "{told}");
        assert_eq!(of_io(&io::Error::from_raw_os_error(113)), "No route to host");
        assert_eq!(of_sockets(&[SocketAddr::from((Ipv4Addr::LOCALHOST, 0))], Usable::None), None);
        // An address of nobody here.
        let elsewhere = SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), 0));
        assert!(of_sockets(&[elsewhere], Usable::None).is_some_and(|text| text.contains("IPv4")));
        assert!(of_sockets(&[elsewhere], Usable::Some).is_some_and(|text| text.contains("no UDP socket")));
    }
}
