//! Words for a call that found no path: what this side has seen of the cause, and what to try.

use std::time::Duration;

use ::media::peer::{PathSeen, RelaySeen, RemoteAddresses};

/// A search that ended sooner was given up for another reason, such as a camera that the other side cannot open.
pub(super) const SEARCHED: Duration = Duration::from_secs(5);

/// Why none of the other side's addresses leads here, if that is so; `here` where this machine may be its own.
fn lead_nowhere(theirs: RemoteAddresses, here: bool) -> Option<&'static str> {
    let RemoteAddresses { ipv4, loopback, ipv6, names } = theirs;
    match (ipv4.saturating_add(names), loopback, ipv6) {
        (1.., _, _) => None,
        (0, 1.., _) if here => None,
        (0, 0, 0) => Some("the other side gave no address to reach it at"),
        (0, 0, _) => Some("the other side gave IPv6 addresses alone, and media goes over IPv4"),
        (0, 1.., _) => Some(
            "the other side gave no address that others reach: it has no IPv4 network, and media goes over IPv4 alone",
        ),
    }
}

/// What this side knows of a search for a path.
pub(super) struct Evidence<'a> {
    /// This machine has an address to be reached at.
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
        Some(no_handshake(evidence.seen).to_owned())
    } else if !evidence.has_network {
        Some("this machine has no IPv4 network, and media goes over IPv4 alone".to_owned())
    } else {
        let nowhere = lead_nowhere(evidence.seen.theirs, evidence.same_machine).map(str::to_owned);
        nowhere.or_else(|| forbidden(relays))
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

/// ICE found a pair, and the handshake over it did not end.
fn no_handshake(seen: &PathSeen) -> &'static str {
    if seen.handshake {
        "a path was found, but the encryption of media (DTLS) did not come up over it: packets of its handshake came, \
         not all of them; the line loses many packets, or large ones"
    } else {
        "a path was found, but nothing of the other side's handshake for encryption (DTLS) came over it: the line loses \
         many packets, or a firewall lets the first ones through alone"
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

    fn unheard() -> PathSeen {
        PathSeen { theirs: REACHED, ..PathSeen::default() }
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
        assert!(said(|evidence| evidence.has_network = false, &nothing).contains("no IPv4 network"));
        let shaken = PathSeen { heard: true, handshake: true, ..unheard() };
        let told = said(|evidence| (evidence.found, evidence.has_network) = (true, false), &shaken);
        assert!(told.contains("DTLS") && !told.contains("IPv4"), "{told}");
        let told = said(|evidence| evidence.found = true, &nothing);
        assert!(told.contains("nothing of the other side's handshake"), "{told}");
        assert_eq!(said(|evidence| evidence.has_problems = true, &nothing), "", "what was told says enough");
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
            (of(0, 0, 1, 0), "IPv6 addresses alone"),
            (of(0, 1, 0, 0), "no IPv4 network"),
            (of(0, 1, 1, 0), "no IPv4 network"),
            (of(1, 0, 1, 0), "--ice turn:"),
            (of(0, 0, 0, 1), "--ice turn:"),
        ] {
            let told = said(|_| {}, &PathSeen { theirs, ..PathSeen::default() });
            assert!(told.contains(words), "{theirs:?}: {told}");
        }
        let here = PathSeen { theirs: of(0, 1, 0, 0), ..PathSeen::default() };
        assert!(said(|evidence| evidence.same_machine = true, &here).contains("--ice turn:"));
    }
}
