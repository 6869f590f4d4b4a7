//! Words for a call that found no path: what this side has seen of the cause, and what to try.

use std::time::Duration;

use ::media::peer::{Families, HandshakeSeen, PathSeen, Refused, RelaySeen, RemoteAddresses};

/// A search that ended sooner was given up for another reason, such as a camera that the other side cannot open.
pub(super) const SEARCHED: Duration = Duration::from_secs(5);

/// Why none of the other side's addresses leads here, if that is so; `here` where this machine may be its own.
fn lead_nowhere(theirs: RemoteAddresses, ours: Families, here: bool) -> Option<&'static str> {
    let RemoteAddresses { ipv4, loopback, ipv6, names } = theirs;
    match (ours, ipv4.saturating_add(names), ipv6) {
        (Families { ipv4: true, ipv6: false }, 0, 1..) => {
            return Some(
                "the other side gave IPv6 addresses alone, and this machine has IPv4 alone: a TURN server that relays \
                 both brings them together",
            );
        }
        (Families { ipv4: false, ipv6: true }, 1.., 0) => {
            return Some(
                "the other side gave IPv4 addresses alone, and this machine has IPv6 alone: a TURN server that relays \
                 both brings them together",
            );
        }
        _ => {}
    }
    match (ipv4.saturating_add(names).saturating_add(ipv6), loopback) {
        (1.., _) => None,
        (0, 1..) if here => None,
        (0, 0) => Some("the other side gave no address to reach it at"),
        (0, 1..) => Some("the other side gave no address that others reach: it has no network"),
    }
}

/// What this side knows of a search for a path.
pub(super) struct Evidence<'a> {
    /// This machine has an address to be reached at now; [`PathSeen::families`]: when the search began.
    pub(super) has_network: bool,
    /// The other side may be on this very machine.
    pub(super) same_machine: bool,
    /// ICE found a pair.
    pub(super) found: bool,
    pub(super) seen: &'a PathSeen,
    /// Something wrong was told already.
    pub(super) has_problems: bool,
}

/// What to say when no path was found, beside the problems that were noted; `None` when those say enough.
pub(super) fn no_path(evidence: &Evidence<'_>) -> Option<String> {
    let relays = &evidence.seen.relays;
    let known = if evidence.found {
        Some(no_handshake(evidence.seen.handshake).to_owned())
    } else if let Some(network) = no_network(evidence) {
        Some(network.to_owned())
    } else {
        // Without a network both sides can only be here.
        let here = evidence.same_machine || !(evidence.has_network || evidence.seen.families.any());
        lead_nowhere(evidence.seen.theirs, evidence.seen.families, here)
            .map(str::to_owned)
            .or_else(|| forbidden(relays))
    };
    if known.is_some() || evidence.has_problems {
        return known;
    }
    let heard = if evidence.seen.heard {
        "something of the other side came, but no path works in both directions"
    } else {
        "nothing of the other side came"
    };
    let through = "look at what the other side says, and whether a firewall there lets UDP through";
    Some(match relays.as_slice() {
        [] => format!(
            "{heard}: no TURN server is given here, and between many networks nothing else gets through; pass --ice \
             turn:HOST, --ice-user and its password file"
        ),
        relays if relays.iter().any(|relay| relay.passed) => {
            format!("our TURN server works, packets of the other side came through it; {through}")
        }
        _ => format!("our TURN server gave us an address, but nothing came through it; {through}"),
    })
}

/// What is wrong with this machine's network, if that is the cause. Where something of the other side came, it is not:
/// two on one machine without a network meet all the same.
fn no_network(evidence: &Evidence<'_>) -> Option<&'static str> {
    if evidence.same_machine {
        return None;
    }
    match (evidence.seen.families.any(), evidence.has_network) {
        (false, false) if !evidence.seen.heard => Some("this machine has no network, neither by IPv4 nor by IPv6"),
        (true, false) => Some("this machine lost its network meanwhile; look at its cable or radio, and call again"),
        (false, true) if !evidence.seen.heard => {
            Some("this machine had no network when the call began, and has one now; call again")
        }
        (true | false, true) | (false, false) => None,
    }
}

/// ICE found a pair, and the handshake over it did not end.
const fn no_handshake(seen: HandshakeSeen) -> &'static str {
    match seen {
        HandshakeSeen::Begun => {
            "a path was found, but the encryption of media (DTLS) did not come up over it: packets of its handshake \
             came, not all of them; the line loses many packets, or large ones"
        }
        HandshakeSeen::Nothing => {
            "a path was found, but nothing of the other side's handshake for encryption (DTLS) came over it: the line \
             loses many packets, or a firewall lets the first ones through alone"
        }
        HandshakeSeen::Refused(Refused::Here) => {
            "a path was found, but this side refused the handshake for encryption (DTLS) over it: the certificate was \
             not the one that the other side had named, or it offered nothing that we take; make sure who answers there"
        }
        HandshakeSeen::Refused(Refused::There) => {
            "a path was found, but the other side refused our handshake for encryption (DTLS) over it; look at what it \
             says, and whether something between the two changes what they send"
        }
    }
}

fn forbidden(relays: &[RelaySeen]) -> Option<String> {
    let (url, ip) = relays.iter().find_map(|relay| Some((&relay.url, relay.forbids?)))?;
    Some(format!(
        "{url}: it forbids packets to the other side, at {ip} (403); let its rules allow that address (coTURN: \
         allowed-peer-ip, denied-peer-ip), or give the other side a TURN server too"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A side that gave one address that others reach.
    const REACHED: RemoteAddresses = RemoteAddresses { ipv4: 1, loopback: 0, ipv6: 0, names: 0 };

    /// A side that gave an address of its own machine alone.
    const LOOPBACK: RemoteAddresses = RemoteAddresses { ipv4: 0, loopback: 1, ipv6: 0, names: 0 };

    /// Addresses of both families, or of none.
    fn families(network: bool) -> Families {
        Families { ipv4: network, ipv6: network }
    }

    fn unheard() -> PathSeen {
        PathSeen { theirs: REACHED, families: families(true), ..PathSeen::default() }
    }

    fn relay(forbids: Option<&str>, passed: bool) -> RelaySeen {
        let forbids = forbids.map(|ip| ip.parse().unwrap());
        RelaySeen { url: "turn:h:3478?transport=udp".into(), trouble: None, forbids, passed }
    }

    /// What is said, with all well but what `change` changes.
    fn said(change: impl FnOnce(&mut Evidence<'_>), seen: &PathSeen) -> String {
        let mut evidence = Evidence { has_network: true, same_machine: false, found: false, seen, has_problems: false };
        change(&mut evidence);
        no_path(&evidence).unwrap_or_default()
    }

    #[test]
    fn the_cause_that_was_seen_is_named() {
        let nothing = unheard();
        assert!(said(|_| {}, &nothing).contains("--ice turn:"));
        assert_eq!(said(|evidence| evidence.has_problems = true, &nothing), "", "what was told says enough");
    }

    #[test]
    fn a_path_without_a_handshake_is_no_lack_of_a_path() {
        for (handshake, words) in [
            (HandshakeSeen::Nothing, "nothing of the other side's handshake"),
            (HandshakeSeen::Begun, "not all of them"),
            (HandshakeSeen::Refused(Refused::Here), "this side refused"),
            (HandshakeSeen::Refused(Refused::There), "the other side refused"),
        ] {
            // Also where both sides are on one machine that has no network.
            for network in [true, false] {
                let seen = PathSeen { heard: true, handshake, families: families(network), ..unheard() };
                let told = said(|evidence| (evidence.found, evidence.has_network) = (true, network), &seen);
                assert!(
                    told.contains("DTLS") && told.contains(words) && !told.contains("no network"),
                    "{handshake:?}: {told}"
                );
            }
        }
    }

    #[test]
    fn a_lack_of_a_network_is_told_only_where_there_was_one() {
        for (began, now, heard, words) in [
            (false, false, false, "has no network"),
            (false, true, false, "had no network when the call began"),
            (true, false, false, "lost its network meanwhile"),
            (true, false, true, "lost its network meanwhile"),
            (true, true, false, "nothing of the other side came"),
            // Two on one machine, whose checks are lost.
            (false, false, true, "something of the other side came"),
            (false, true, true, "something of the other side came"),
        ] {
            let seen = PathSeen { families: families(began), heard, ..unheard() };
            let told = said(|evidence| evidence.has_network = now, &seen);
            assert!(told.contains(words), "{began} {now} {heard}: {told}");
            assert_eq!(told.contains("this machine"), words.contains("network"), "{told}");
        }
        let seen = PathSeen { heard: true, theirs: LOOPBACK, ..PathSeen::default() };
        let told = said(|evidence| evidence.has_network = false, &seen);
        assert!(told.contains("something of the other side came") && !told.contains("this machine"), "{told}");
        let told = said(|evidence| evidence.same_machine = true, &PathSeen::default());
        assert!(told.contains("no address"), "it is looked for on this machine: {told}");
    }

    #[test]
    fn a_relay_works_once_something_came_through_it() {
        let seen = |relay| PathSeen { relays: vec![relay], heard: true, ..unheard() };
        let told = said(|_| {}, &seen(relay(None, true)));
        assert!(told.contains("our TURN server works"), "{told}");
        let told = said(|_| {}, &seen(relay(None, false)));
        assert!(told.contains("nothing came through it") && !told.contains("works"), "{told}");
        let told = said(|_| {}, &seen(relay(Some("198.51.100.7"), false)));
        assert!(told.contains("forbids packets to the other side, at 198.51.100.7 (403)"), "{told}");
    }

    #[test]
    fn addresses_that_lead_nowhere_are_told() {
        let of = |ipv4, loopback, ipv6, names| RemoteAddresses { ipv4, loopback, ipv6, names };
        for (theirs, words) in [
            (of(0, 0, 0, 0), "no address"),
            (of(0, 0, 1, 0), "--ice turn:"),
            (of(0, 1, 0, 0), "it has no network"),
            (of(0, 1, 1, 0), "--ice turn:"),
            (of(1, 0, 1, 0), "--ice turn:"),
            (of(0, 0, 0, 1), "--ice turn:"),
        ] {
            let told = said(|_| {}, &PathSeen { theirs, ..unheard() });
            assert!(told.contains(words), "{theirs:?}: {told}");
        }
        let v4 = Families { ipv4: true, ipv6: false };
        let v6 = Families { ipv4: false, ipv6: true };
        for (families, theirs, words) in [
            (v4, of(0, 0, 2, 0), "gave IPv6 addresses alone"),
            (v4, of(0, 1, 2, 0), "gave IPv6 addresses alone"),
            (v6, of(2, 0, 0, 0), "gave IPv4 addresses alone"),
            (v4, of(1, 0, 2, 0), "--ice turn:"),
            (v6, of(1, 0, 2, 0), "--ice turn:"),
        ] {
            let told = said(|_| {}, &PathSeen { theirs, families, ..unheard() });
            assert!(told.contains(words), "{families:?} {theirs:?}: {told}");
        }
        let here = PathSeen { theirs: LOOPBACK, ..unheard() };
        assert!(said(|evidence| evidence.same_machine = true, &here).contains("--ice turn:"));
    }
}
