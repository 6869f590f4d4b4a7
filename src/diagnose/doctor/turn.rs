//! Each TURN server: does it give us an allocation, and does a packet come through it?

use std::net::IpAddr;
use std::time::Duration;

use media::peer::config::{Dialer, IceServer};
use media::peer::probe::{Allocation, Trouble};
use tokio::time::timeout;

use super::{Finding, Group, Look, calendar, in_ms};
use crate::output::exit::ExitStatus;
use crate::platform::clock::unix_ms;

/// How long all may take; the call through the relay comes after it.
const PATIENCE: Duration = Duration::from_secs(9);

/// Nothing to ask.
pub(super) fn none_given() -> Finding {
    Look::at("turn").skipped("no server given by --ice turn:HOST; of use where firewalls let no direct path through")
}

/// Allocation, permission, and a packet to ourselves through the relay.
pub(super) async fn check(index: usize, server: &IceServer, dialer: &Dialer) -> Finding {
    let look = Look::at_one_of("turn", &server.url, Group::Turn(index));
    let tried = timeout(PATIENCE, relay(server, dialer)).await.unwrap_or(Err(Trouble::Slow { limit: PATIENCE }));
    match tried {
        Err(trouble) => told(look, server, &trouble),
        Ok(Relayed { server, relayed, .. }) if !server.is_none_or(is_inner) && is_inner(relayed) => look.warning(
            format!("relays from {relayed}, an address of its inner network, where peers outside cannot send to"),
            "tell the server its outer address; coTURN: external-ip=OUTER/INNER",
        ),
        Ok(Relayed { open_to_all: true, .. }) => look.warning(
            "relays for anyone: it does not ask for a login",
            "let it ask for one; coTURN: lt-cred-mech or use-auth-secret",
        ),
        Ok(Relayed { took, software, .. }) => {
            let software = software.map(|name| format!(" ({name})")).unwrap_or_default();
            look.ok(format!("login, allocation, and a packet through the relay in {}{software}", in_ms(took)))
        }
    }
}

/// What came of an allocation.
struct Relayed {
    /// `None` behind a proxy.
    server: Option<IpAddr>,
    relayed: IpAddr,
    open_to_all: bool,
    software: Option<String>,
    took: Duration,
}

/// One allocation, one packet through it; given back whatever comes of it.
async fn relay(server: &IceServer, dialer: &Dialer) -> Result<Relayed, Trouble> {
    let allocation = Allocation::make(server, dialer).await?;
    let relayed = allocation.relayed.ip();
    let sent = match allocation.permit(relayed).await {
        Ok(()) => allocation.bounce().await,
        Err(trouble) => Err(trouble),
    };
    let (open_to_all, software) = (allocation.is_open_to_all(), allocation.software.clone());
    let server = allocation.server_ip();
    allocation.release().await;
    Ok(Relayed { server, relayed, open_to_all, software, took: sent? })
}

fn told(look: Look, server: &IceServer, trouble: &Trouble) -> Finding {
    let now = Duration::from_millis(unix_ms());
    let (detail, fix) = explain(server, trouble, now);
    look.failed(ExitStatus::NoPath, detail, fix)
}

/// Cause and advice. Time-limited logins that `now` is beyond are known to have expired.
fn explain(server: &IceServer, trouble: &Trouble, now: Duration) -> (String, String) {
    let detail = trouble.to_string();
    let advice = |fix: &str| (detail.clone(), fix.to_owned());
    match trouble {
        Trouble::Unanswered(unanswered) => (detail, unanswered.advice(&server.url)),
        Trouble::NoRealm => advice("the server needs a realm; coTURN: realm=example.org"),
        Trouble::Login { .. } => match expiry(&server.username) {
            None => advice(
                "check --ice-user and --ice-password-file (or --ice-secret-file, where the server has use-auth-secret)",
            ),
            Some(expiry) if expiry.as_secs() <= now.as_secs() => {
                let expired = calendar::date_time(i64::try_from(expiry.as_secs()).unwrap_or_default());
                (format!("{detail}: it expired at {expired}"), "get a new login, or pass --ice-secret-file".to_owned())
            }
            Some(_) => advice(
                "is --ice-secret-file the server's static-auth-secret (coTURN, with use-auth-secret), and are both clocks right?",
            ),
        },
        Trouble::Refused { code: 403, .. } => advice(
            "let two relayed peers meet; coTURN: allowed-peer-ip=RELAY-IP, or allow-loopback-peers where all is one machine",
        ),
        Trouble::Refused { code: 486, .. } => advice("wait until other calls end, or raise user-quota (coTURN)"),
        Trouble::Refused { code: 508, .. } => advice("give the server more relay ports (coTURN: min-port, max-port)"),
        Trouble::Refused { code: 442, .. } => advice("let the server relay UDP (coTURN: without no-udp-relay)"),
        Trouble::Refused { .. } => advice("look at the server's log"),
        Trouble::Slow { .. } => advice("is it, or the line to it, too busy?"),
        Trouble::Lost { relayed } => {
            let fix = "does a firewall on the server drop its relay ports, or has it another outer address (coTURN: external-ip)?";
            (detail, format!("{fix} They are around {}", relayed.port()))
        }
    }
}

/// When a time-limited login expires: `<unix expiry>` or `<unix expiry>:<id>` (draft-uberti-behave-turn-rest-00 §2.2).
fn expiry(username: &str) -> Option<Duration> {
    let seconds = username.split(':').next()?;
    // A shorter number is somebody's name.
    (seconds.len() >= 9).then(|| seconds.parse().ok()).flatten().map(Duration::from_secs)
}

/// True for addresses that the internet does not route to.
fn is_inner(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let shared = ip.octets()[0] == 100 && (64..128).contains(&ip.octets()[1]);
            ip.is_private() || ip.is_loopback() || ip.is_link_local() || ip.is_unspecified() || shared
        }
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unspecified() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use media::peer::probe::{StreamFault, Unanswered};

    use super::*;

    const NOW: Duration = Duration::from_secs(1_795_611_909);

    fn explained(username: &str, trouble: &Trouble) -> (String, String) {
        let url = "turn:turn.example".parse().unwrap();
        let server = IceServer { url, username: username.into(), password: "do not tell".into() };
        let (detail, fix) = explain(&server, trouble, NOW);
        assert!(!format!("{detail} {fix}").contains("do not tell"));
        (detail, fix)
    }

    #[test]
    fn every_refusal_has_its_cause() {
        let refused = |code| Trouble::Refused { what: "an allocation", reason: "no".into(), code };
        for (trouble, advice) in [
            (Trouble::Unanswered(Unanswered::Silent), "UDP port 3478"),
            (Trouble::Unanswered(Unanswered::Closed), "start the server"),
            (Trouble::Unanswered(Unanswered::Stream(StreamFault::Refused)), "start the server"),
            (Trouble::NoRealm, "realm="),
            (refused(403), "allowed-peer-ip"),
            (refused(486), "user-quota"),
            (refused(508), "min-port"),
            (refused(500), "log"),
            (Trouble::Lost { relayed: "192.0.2.1:50000".parse().unwrap() }, "external-ip"),
        ] {
            let (detail, fix) = explained("alice", &trouble);
            assert!(fix.contains(advice), "{detail}: {fix}");
        }
    }

    #[test]
    fn a_login_that_expired_is_told_from_one_that_is_wrong() {
        let login = |user: &str| Trouble::Login { user: user.into(), realm: "tring.test".into(), code: 401 };
        let (detail, fix) = explained("1795611908:alice", &login("1795611908:alice"));
        assert!(detail.contains("expired at 2026-11-25 13:05:08 UTC") && fix.contains("new login"), "{detail}: {fix}");
        let (detail, fix) = explained("1795698309:alice", &login("1795698309:alice"));
        assert!(!detail.contains("expired") && fix.contains("clocks"), "{detail}: {fix}");
        for user in ["alice", "007", "007:bond"] {
            let (detail, fix) = explained(user, &login(user));
            assert!(!detail.contains("expired") && fix.contains("--ice-password-file"), "{detail}: {fix}");
        }
    }

    #[tokio::test]
    async fn our_own_server_passes_and_refuses_a_wrong_password() {
        use crate::servers::turn::{Credentials, PeerPolicy, Transports, TurnConfig, start};
        let listen = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        let (user, password) = ("alice".to_owned(), "secret".to_owned());
        let credentials = Credentials::LongTerm { user, password };
        let config = TurnConfig {
            listen,
            transports: Transports::Udp,
            relay_ip: listen.ip(),
            realm: "r".into(),
            credentials,
            peers: PeerPolicy::PublicOnly,
            quota: None,
        };
        let turn = start(config).await.unwrap();
        let url: media::peer::config::IceUrl = format!("turn:{}", turn.addr()).parse().unwrap();
        let server =
            |password: &str| IceServer { url: url.clone(), username: "alice".into(), password: password.into() };
        let found = check(0, &server("secret"), &Dialer::default()).await;
        assert_eq!(found.status(), "ok", "{found:?}");
        let found = check(0, &server("wrong"), &Dialer::default()).await;
        assert_eq!((found.status(), found.detail.contains("401")), ("failed", true), "{found:?}");
        turn.stop().await;
    }

    #[test]
    fn inner_addresses_are_known() {
        for inner in ["10.1.2.3", "127.0.0.1", "192.168.0.1", "100.64.0.1", "169.254.1.1", "0.0.0.0", "::1", "fd00::1"]
        {
            assert!(is_inner(inner.parse().unwrap()), "{inner}");
        }
        for outer in ["192.0.2.1", "100.128.0.1", "8.8.8.8", "2001:db8::1"] {
            assert!(!is_inner(outer.parse().unwrap()), "{outer}");
        }
    }
}
