//! Counts the kinds of addresses in the other side's candidates: some cannot be reached from here.

use std::net::IpAddr;

/// How many there were of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RemoteAddresses {
    /// IPv4 addresses that may be reached.
    pub ipv4: u32,
    /// IPv4 addresses that lead nowhere but to the machine itself.
    pub loopback: u32,
    /// IPv6 addresses.
    pub ipv6: u32,
    /// Names of multicast DNS, behind which browsers hide.
    pub names: u32,
}

impl RemoteAddresses {
    /// Takes note of a candidate (RFC 8839 §5.1: the address is its fifth word).
    pub fn note(&mut self, candidate: &str) {
        let Some(address) = candidate.split_whitespace().nth(4) else { return };
        let kind = match address.parse() {
            Ok(IpAddr::V4(ip)) if ip.is_loopback() => &mut self.loopback,
            Ok(IpAddr::V4(_)) => &mut self.ipv4,
            Ok(IpAddr::V6(_)) => &mut self.ipv6,
            Err(_) => &mut self.names,
        };
        *kind = kind.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_counted() {
        let mut remote = RemoteAddresses::default();
        for address in ["192.0.2.1", "127.0.0.1", "2001:db8::1", "0b1c.local", "192.0.2.2"] {
            remote.note(&format!("candidate:1 1 udp 1 {address} 9 typ host"));
        }
        remote.note("candidate:1 1 udp 1");
        assert_eq!(remote, RemoteAddresses { ipv4: 2, loopback: 1, ipv6: 1, names: 1 });
    }
}
