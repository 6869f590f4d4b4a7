//! ICE candidates: reads their lines (RFC 8839 §5.1), limits those of the other side, sorts ours, and leaves out on both
//! sides what another candidate stands for already. Each that is left out saves pairs that would be checked for nothing.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

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
    port: &'a str,
    /// The address of the machine that a candidate of another kind stands for.
    related: Option<&'a str>,
    related_port: Option<&'a str>,
}

/// A transport address, as a candidate names it.
type Transport = (String, String);

impl<'a> Line<'a> {
    /// `None` when it is no candidate line, or of no kind that is known.
    fn parse(candidate: &'a str) -> Option<Self> {
        let mut words = candidate.split_ascii_whitespace();
        // Foundation, component, transport, priority, address, port.
        let (transport, address) = (words.nth(2)?, words.nth(1)?);
        let port = words.next()?;
        let (mut kind, mut related, mut related_port) = (None, None, None);
        while let (Some(name), Some(value)) = (words.next(), words.next()) {
            match name {
                "typ" => kind = Some(value),
                "raddr" => related = Some(value),
                "rport" => related_port = Some(value),
                _ => {}
            }
        }
        let kind = match kind? {
            "host" => Kind::Host,
            "srflx" | "prflx" => Kind::Reflexive,
            "relay" => Kind::Relayed,
            _ => return None,
        };
        Some(Self { kind, transport, address, port, related, related_port })
    }

    fn own(self) -> Transport {
        (self.address.to_ascii_lowercase(), self.port.to_owned())
    }

    /// Where packets of one of our candidates leave from (RFC 8445 §5.1.1.2).
    fn base(self) -> Transport {
        match (self.kind, self.related, self.related_port) {
            (Kind::Reflexive, Some(address), Some(port)) => (address.to_ascii_lowercase(), port.to_owned()),
            (Kind::Reflexive | Kind::Host | Kind::Relayed, _, _) => self.own(),
        }
    }

    /// False for what our sockets, which are of UDP, cannot reach, and for an address that means nothing here. A name may
    /// stand for any address.
    fn is_of_use(self) -> bool {
        let address = self.address.parse::<IpAddr>();
        let is_of_a_link = address.is_ok_and(|ip| matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local()));
        self.transport.eq_ignore_ascii_case("udp") && !is_of_a_link
    }
}

/// Candidates of ours that were gathered for one path.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    /// The address and the base of each.
    known: BTreeSet<(Transport, Transport)>,
}

impl Gathered {
    /// Takes note of a candidate. False for one that has the address and the base of an earlier one, as a server
    /// reflexive candidate without a NAT has those of its host candidate: it is redundant (RFC 8445 §5.1.3).
    pub(crate) fn is_news(&mut self, candidate: &str) -> bool {
        Line::parse(candidate).is_none_or(|line| self.known.insert((line.own(), line.base())))
    }
}

/// Candidates of the other side that were taken for one path, by kind.
#[derive(Clone, Debug, Default)]
pub(crate) struct Taken {
    host: usize,
    reflexive: usize,
    relayed: usize,
    /// Where they lead.
    known: BTreeSet<Transport>,
}

/// What becomes of a candidate of the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is checked.
    Take,
    /// It leads where an earlier one leads.
    Redundant,
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
        // Only where it leads makes a pair: its base is known to the other side alone.
        if self.known.contains(&line.own()) {
            return Verdict::Redundant;
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
        self.known.insert(line.own());
        Verdict::Take
    }
}

/// Where a candidate of the other side leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LeadsTo {
    /// To an address of its machine.
    Host(SocketAddr),
    /// To a TURN server.
    Relay(SocketAddr),
}

/// Where a host candidate or a relayed one leads; `None` for one of another kind, and for a name.
pub(crate) fn leads_to(candidate: &str) -> Option<LeadsTo> {
    let line = Line::parse(candidate)?;
    let address = SocketAddr::new(line.address.parse().ok()?, line.port.parse().ok()?);
    match line.kind {
        Kind::Host => Some(LeadsTo::Host(address)),
        Kind::Relayed => Some(LeadsTo::Relay(address)),
        Kind::Reflexive => None,
    }
}

/// The name of multicast DNS behind which a host candidate hides its address, as browsers make them.
pub(crate) fn hidden_name(candidate: &str) -> Option<&str> {
    let line = Line::parse(candidate).filter(|line| line.kind == Kind::Host)?;
    line.address.to_ascii_lowercase().ends_with(".local").then_some(line.address)
}

/// The candidate with its address in place of the name.
pub(crate) fn with_address(candidate: &str, address: IpAddr) -> String {
    let address = address.to_string();
    // RFC 8839 §5.1: the address is the fifth word.
    let words = candidate.split_ascii_whitespace().enumerate();
    words.map(|(n, word)| if n == 4 { address.as_str() } else { word }).collect::<Vec<_>>().join(" ")
}

/// Puts candidates of ours in order of use: those of the way out first, as the other side checks them in this order.
pub(crate) fn sort(candidates: &mut [IceCandidate], usable: &[IpAddr]) {
    candidates.sort_by_cached_key(|candidate| {
        let line = Line::parse(&candidate.candidate);
        let base = line.and_then(|line| line.related.unwrap_or(line.address).parse::<IpAddr>().ok());
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
        let mut number = 0;
        let mut judge = |kind: &str| {
            number += 1;
            taken.judge(&line("udp", &format!("192.0.2.{number}"), kind))
        };
        let hosts = (0..100).filter(|_| judge("typ host") == Verdict::Take).count();
        assert_eq!(hosts, REMOTE_HOST_MAX);
        assert_eq!(judge("typ host"), Verdict::TooMany);
        assert_eq!(judge("typ srflx raddr 10.0.0.1 rport 9"), Verdict::Take);
        assert_eq!(judge("typ relay raddr 0.0.0.0 rport 0 generation 0"), Verdict::Take);
    }

    #[test]
    fn ours_that_have_address_and_base_of_another_are_redundant() {
        let mut gathered = Gathered::default();
        for (address, rest, is_news) in [
            ("10.0.0.1", "typ host", true),
            // No NAT between us and the server.
            ("10.0.0.1", "typ srflx raddr 10.0.0.1 rport 9", false),
            ("198.51.100.7", "typ srflx raddr 10.0.0.1 rport 9", true),
            // By a second server.
            ("198.51.100.7", "typ srflx raddr 10.0.0.1 rport 9", false),
            // Of another socket, behind the same NAT.
            ("198.51.100.7", "typ srflx raddr 10.0.0.2 rport 9", true),
            ("203.0.113.1", "typ relay raddr 198.51.100.7 rport 9", true),
        ] {
            assert_eq!(gathered.is_news(&line("udp", address, rest)), is_news, "{address} {rest}");
        }
        assert!(gathered.is_news("candidate:1 1 udp 1 10.0.0.1 10 typ host"), "another port");
    }

    #[test]
    fn theirs_that_lead_where_another_leads_take_no_room() {
        let mut taken = Taken::default();
        let mut judge = |address: &str, rest: &str| taken.judge(&line("udp", address, rest));
        assert_eq!(judge("192.0.2.1", "typ host"), Verdict::Take);
        assert_eq!(judge("192.0.2.1", "typ srflx raddr 192.0.2.1 rport 9"), Verdict::Redundant);
        assert_eq!(judge("192.0.2.1", "typ srflx raddr 0.0.0.0 rport 0"), Verdict::Redundant);
        assert_eq!(judge("192.0.2.2", "typ srflx raddr 192.0.2.1 rport 9"), Verdict::Take);
        assert_eq!(judge("4F1A.local", "typ host"), Verdict::Take);
        assert_eq!(judge("4f1a.local", "typ host"), Verdict::Redundant);
        assert_eq!((taken.host, taken.reflexive), (2, 1));
    }

    #[test]
    fn what_our_sockets_cannot_reach_takes_no_room() {
        let mut taken = Taken::default();
        for (candidate, verdict) in [
            (line("tcp", "192.0.2.1", "typ host tcptype active"), Verdict::OfNoUse),
            (line("udp", "fe80::1", "typ host"), Verdict::OfNoUse),
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
    fn a_candidate_says_where_it_leads() {
        let to = |address: &str| SocketAddr::new(address.parse().unwrap(), 9);
        for (address, rest, expected) in [
            ("192.0.2.1", "typ host", Some(LeadsTo::Host(to("192.0.2.1")))),
            ("2001:db8::1", "typ host", Some(LeadsTo::Host(to("2001:db8::1")))),
            ("192.0.2.1", "typ relay raddr 0.0.0.0 rport 0", Some(LeadsTo::Relay(to("192.0.2.1")))),
            ("192.0.2.1", "typ srflx raddr 10.0.0.1 rport 9", None),
            ("4f1a.local", "typ host", None),
        ] {
            assert_eq!(leads_to(&line("udp", address, rest)), expected, "{address} {rest}");
        }
    }

    #[test]
    fn a_name_gives_way_to_its_address() {
        let hidden = line("udp", "0b1c2d3e.local", "typ host generation 0");
        assert_eq!(hidden_name(&hidden), Some("0b1c2d3e.local"));
        let found = with_address(&hidden, [10, 0, 0, 1].into());
        assert_eq!(found, line("udp", "10.0.0.1", "typ host generation 0"));
        for (address, rest) in [("10.0.0.1", "typ host"), ("x.local", "typ srflx"), ("x.example", "typ host")] {
            assert_eq!(hidden_name(&line("udp", address, rest)), None, "{address} {rest}");
        }
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
        sort(&mut candidates, &[[10, 0, 0, 1].into(), [172, 17, 0, 1].into()]);
        let order: Vec<_> = candidates.iter().map(|c| Line::parse(&c.candidate).unwrap().address).collect();
        assert_eq!(order, ["198.51.100.7", "10.0.0.1", "172.17.0.1", "203.0.113.1"]);
    }
}
