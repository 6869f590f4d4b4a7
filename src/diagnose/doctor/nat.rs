//! What kind of NAT is in the way: do different servers see the same socket at the same address?
//!
//! One socket asks every server. A NAT that gives each destination another address (symmetric, RFC 4787 §4.1:
//! address-dependent mapping) lets no peer in at the address that a STUN server told.

use media::peer::config::IceServer;
use media::peer::probe::{self, Seen};

use super::{Finding, Look};

/// What all servers see together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mapping {
    /// Our own address.
    Own,
    /// Another one, the same for all.
    Same,
    /// Another one for each.
    Different,
    /// Another one; a single server cannot tell more.
    Unknown,
}

/// Asks STUN and TURN servers alike: TURN servers answer questions of STUN too.
pub(super) async fn check(servers: Vec<IceServer>, relays: usize) -> Finding {
    let look = Look::at("nat");
    if servers.is_empty() {
        return look.skipped("no server given by --ice to ask");
    }
    if servers.iter().all(|server| server.url.transport.is_stream()) {
        return look.skipped("no server given by --ice that is asked over UDP");
    }
    let seen = match probe::mapped_addresses(servers).await {
        Ok(seen) => seen,
        Err(error) => return look.skipped(error.to_string()),
    };
    let several = seen.len();
    match judge(&seen) {
        _ if seen.is_empty() => look.skipped("no server answered"),
        Mapping::Own => look.ok("none on the way to the servers: they see this machine's own address"),
        Mapping::Same => {
            look.ok(format!("{several} servers see this machine at the same address: peers can usually reach it there"))
        }
        Mapping::Unknown => look.skipped("there is one; a second server by --ice would tell of which kind"),
        Mapping::Different if relays > 0 => {
            look.ok("symmetric: calls to peers outside this network go through the TURN server")
        }
        Mapping::Different => look.warning(
            "symmetric: each server sees another address, so peers outside this network cannot reach this machine",
            "a TURN server is needed: --ice turn:HOST with its credentials",
        ),
    }
}

/// What all of them see; servers are compared only where we send from the same address to both.
fn judge(seen: &[Seen]) -> Mapping {
    if seen.iter().all(|seen| seen.mapped == seen.local) {
        return Mapping::Own;
    }
    let pairs = seen.iter().enumerate().flat_map(|(n, one)| seen[n + 1..].iter().map(move |other| (one, other)));
    let same: Vec<bool> =
        pairs.filter(|(one, other)| one.local == other.local).map(|(one, other)| one.mapped == other.mapped).collect();
    match &same[..] {
        [] => Mapping::Unknown,
        all if all.iter().all(|same| *same) => Mapping::Same,
        _ => Mapping::Different,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(local: &str, mapped: &str) -> Seen {
        Seen { local: local.parse().unwrap(), mapped: mapped.parse().unwrap() }
    }

    #[test]
    fn mappings_are_told_apart() {
        let own = seen("192.0.2.1:5", "192.0.2.1:5");
        let (first, second) = (seen("10.0.0.2:5", "203.0.113.1:7"), seen("10.0.0.2:5", "203.0.113.1:8"));
        assert_eq!(judge(&[own, own]), Mapping::Own);
        assert_eq!(judge(&[first]), Mapping::Unknown);
        assert_eq!(judge(&[first, first]), Mapping::Same);
        assert_eq!(judge(&[first, second]), Mapping::Different);
        assert_eq!(judge(&[first, first, second]), Mapping::Different);
    }

    #[test]
    fn servers_on_different_sides_of_this_machine_are_not_compared() {
        let (near, far) = (seen("127.0.0.1:5", "127.0.0.1:5"), seen("10.0.0.2:5", "203.0.113.1:7"));
        assert_eq!(judge(&[near, far]), Mapping::Unknown);
        assert_eq!(judge(&[near, far, far]), Mapping::Same);
    }
}
