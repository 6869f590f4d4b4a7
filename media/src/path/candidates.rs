//! ICE candidates: reads their lines (RFC 8839 §5.1), limits those of the other side, and sorts ours.

use std::net::{IpAddr, Ipv4Addr};

/// An ICE candidate as the engine writes and reads it.
#[derive(Clone, PartialEq, Eq)]
pub struct IceCandidate {
    /// `candidate:…` (RFC 8839 §5.1).
    pub candidate: String,
    /// Media section by name.
    pub mid: Option<String>,
    /// Media section by position.
    pub mline: Option<u16>,
}

impl From<(String, u16)> for IceCandidate {
    fn from((candidate, mline): (String, u16)) -> Self {
        Self { candidate, mid: None, mline: Some(mline) }
    }
}

impl std::fmt::Debug for IceCandidate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("IceCandidate(…)")
    }
}

/// Candidates taken from the other side for one path, of each kind; more are left out and counted. Each is checked from
/// each of ours, several times a second and at an address of the other side's choice: this bounds that work, and what we
/// can be made to send to a third party. A useful one that is left out still shows by its own checks.
pub(crate) const REMOTE_HOST_MAX: usize = 8;
const REMOTE_REFLEXIVE_MAX: usize = 4;
const REMOTE_RELAYED_MAX: usize = 4;

/// What kind of address a candidate is (RFC 8445 §5.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Of the machine itself.
    Host,
    /// As others see it: server or peer reflexive.
    Reflexive,
    /// At a TURN server.
    Relayed,
}

/// What is read of a candidate line.
#[derive(Clone, Copy)]
struct Line<'a> {
    kind: Kind,
    transport: &'a str,
    address: &'a str,
    /// The address of the machine that a candidate of another kind stands for.
    related: Option<&'a str>,
}

impl<'a> Line<'a> {
    /// `None` when it is no candidate line, or of no kind that is known.
    fn parse(candidate: &'a str) -> Option<Self> {
        let mut words = candidate.split_ascii_whitespace();
        // Foundation, component, transport, priority, address, port.
        let (transport, address) = (words.nth(2)?, words.nth(1)?);
        let _port = words.next()?;
        let (mut kind, mut related) = (None, None);
        while let (Some(name), Some(value)) = (words.next(), words.next()) {
            match name {
                "typ" => kind = Some(value),
                "raddr" => related = Some(value),
                _ => {}
            }
        }
        let kind = match kind? {
            "host" => Kind::Host,
            "srflx" | "prflx" => Kind::Reflexive,
            "relay" => Kind::Relayed,
            _ => return None,
        };
        Some(Self { kind, transport, address, related })
    }

    /// False for what our sockets, IPv4 and UDP, cannot reach. A name may stand for any address.
    fn is_of_use(self) -> bool {
        let is_ipv6 = self.address.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6());
        self.transport.eq_ignore_ascii_case("udp") && !is_ipv6
    }
}

/// Candidates of the other side that were taken for one path, by kind.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Taken {
    host: usize,
    reflexive: usize,
    relayed: usize,
}

/// What becomes of a candidate of the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is checked.
    Take,
    /// Too many of its kind came before.
    TooMany,
    /// It leads nowhere from our sockets.
    OfNoUse,
    /// It is no candidate that we know how to read.
    Broken,
}

impl Taken {
    /// Judges the next candidate, and counts it.
    pub(crate) fn judge(&mut self, candidate: &str) -> Verdict {
        let Some(line) = Line::parse(candidate) else { return Verdict::Broken };
        if !line.is_of_use() {
            return Verdict::OfNoUse;
        }
        let (taken, most) = match line.kind {
            Kind::Host => (&mut self.host, REMOTE_HOST_MAX),
            Kind::Reflexive => (&mut self.reflexive, REMOTE_REFLEXIVE_MAX),
            Kind::Relayed => (&mut self.relayed, REMOTE_RELAYED_MAX),
        };
        if *taken == most {
            return Verdict::TooMany;
        }
        *taken += 1;
        Verdict::Take
    }
}

/// Puts candidates of ours in order of use: those of the way out first, as the other side checks them in this order.
pub(crate) fn sort(candidates: &mut [IceCandidate], usable: &[Ipv4Addr]) {
    candidates.sort_by_cached_key(|candidate| {
        let line = Line::parse(&candidate.candidate);
        let base = line.and_then(|line| line.related.unwrap_or(line.address).parse::<Ipv4Addr>().ok());
        base.and_then(|base| usable.iter().position(|ip| *ip == base)).unwrap_or(usize::MAX)
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(transport: &str, address: &str, rest: &str) -> String {
        format!("candidate:1 1 {transport} 2130706431 {address} 9 {rest}")
    }

    #[test]
    fn many_of_one_kind_leave_room_for_the_others() {
        let mut taken = Taken::default();
        let mut judge = |kind: &str| taken.judge(&line("udp", "192.0.2.1", kind));
        let hosts = (0..100).filter(|_| judge("typ host") == Verdict::Take).count();
        assert_eq!(hosts, REMOTE_HOST_MAX);
        assert_eq!(judge("typ host"), Verdict::TooMany);
        assert_eq!(judge("typ srflx raddr 10.0.0.1 rport 9"), Verdict::Take);
        assert_eq!(judge("typ relay raddr 0.0.0.0 rport 0 generation 0"), Verdict::Take);
    }

    #[test]
    fn what_our_sockets_cannot_reach_takes_no_room() {
        let mut taken = Taken::default();
        for (candidate, verdict) in [
            (line("tcp", "192.0.2.1", "typ host tcptype active"), Verdict::OfNoUse),
            (line("udp", "2001:db8::1", "typ host"), Verdict::OfNoUse),
            (line("UDP", "4f1a2b3c.local", "typ host"), Verdict::Take),
            (line("udp", "192.0.2.1", "typ later"), Verdict::Broken),
            ("candidate:1 1 udp".to_owned(), Verdict::Broken),
            (String::new(), Verdict::Broken),
        ] {
            assert_eq!(taken.judge(&candidate), verdict, "{candidate}");
        }
        assert_eq!((taken.host, taken.reflexive, taken.relayed), (1, 0, 0));
    }

    #[test]
    fn the_way_out_comes_first() {
        let candidate = |address: &str, rest: &str| IceCandidate {
            candidate: line("udp", address, rest),
            mid: None,
            mline: Some(0),
        };
        let mut candidates = vec![
            candidate("172.17.0.1", "typ host"),
            candidate("198.51.100.7", "typ srflx raddr 10.0.0.1 rport 9"),
            candidate("203.0.113.1", "typ relay raddr 0.0.0.0 rport 0"),
            candidate("10.0.0.1", "typ host"),
        ];
        sort(&mut candidates, &[Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(172, 17, 0, 1)]);
        let order: Vec<_> = candidates.iter().map(|c| Line::parse(&c.candidate).unwrap().address).collect();
        assert_eq!(order, ["198.51.100.7", "10.0.0.1", "172.17.0.1", "203.0.113.1"]);
    }
}
