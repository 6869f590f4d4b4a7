//! The way to a broker: TCP to its name, through a proxy where one is on the way, and words for what fails.
//!
//! A name may have several addresses; they are tried side by side (RFC 8305), see [`network::race`]. Proxies are for
//! brokers over TLS alone: others are in networks of their own, and a proxy would read along.

use std::time::Duration;

use network::proxy::Proxies;
use network::race::{Attempt, AttemptFailure};
use network::reach::{Reached, Route, Unreached};

use super::cause::{self, Cause};
use super::{BrokerUrl, Scheme};

/// How long one try may take until there is a TCP connection: three packets of TCP, sent after 0, 1 and 3 s.
pub const REACH: Duration = Duration::from_secs(4);

/// How many addresses an error tells of.
const TOLD_MAX: usize = 4;

/// The way to `broker`.
pub(super) fn route<'a>(broker: &'a BrokerUrl, proxies: &'a Proxies, interface: Option<&'a str>) -> Route<'a> {
    let proxy = match broker.scheme {
        Scheme::Mqtts | Scheme::Wss => proxies.on_the_way_to(&broker.host, broker.port),
        Scheme::Mqtt | Scheme::Ws => None,
    };
    Route { host: &broker.host, port: broker.port, proxy, interface }
}

/// Connects to a broker, or has the proxy on the way connect to it.
///
/// # Errors
/// Why not, within `limit`; [`explain_unreached`] has the words for it.
pub async fn reach(broker: &BrokerUrl, proxies: &Proxies, limit: Duration) -> Result<Reached, Unreached> {
    network::reach::reach(&route(broker, proxies, None), limit).await
}

/// What it means that a broker is not reached.
#[must_use]
pub fn explain_unreached(broker: &BrokerUrl, proxies: &Proxies, unreached: &Unreached) -> Cause {
    let cause = in_words(&route(broker, proxies, None), unreached);
    let fix = cause::advice(&cause).to_owned();
    Cause { cause, fix }
}

/// Which proxy is on the way to a broker, if one is: `HOST:PORT`.
#[must_use]
pub fn proxy_to(broker: &BrokerUrl, proxies: &Proxies) -> Option<String> {
    route(broker, proxies, None).proxy.map(ToString::to_string)
}

/// Why a broker is not reached.
pub(super) fn in_words(route: &Route<'_>, unreached: &Unreached) -> String {
    let proxy = route.proxy.map(|proxy| format!("{}{proxy}", cause::PROXY)).unwrap_or_default();
    match unreached {
        Unreached::Unresolved(error) => cause::of_io(error),
        Unreached::NoNameServer(limit) => format!("{} within {} s", cause::NO_NAME_SERVER, limit.as_secs()),
        Unreached::Unanswered(attempts) => attempts_in_words(attempts),
        Unreached::NoProxy(unreached) => {
            let direct = Route { proxy: None, ..*route };
            format!("{proxy} is not reached: {}", in_words(&direct, unreached))
        }
        Unreached::Proxy(fault) => format!("{proxy} {}", fault.cause),
        Unreached::SilentProxy(limit) => format!("{proxy} does not answer within {} s", limit.as_secs()),
    }
}

/// What the only address said; of several each with what it said.
fn attempts_in_words(attempts: &[Attempt]) -> String {
    if let [only] = attempts {
        return attempt_in_words(only);
    }
    let told = attempts.iter().take(TOLD_MAX);
    let mut told: Vec<String> =
        told.map(|attempt| format!("{} {}", attempt.address.ip(), attempt_in_words(attempt))).collect();
    if attempts.len() > TOLD_MAX {
        told.push(format!("{} more addresses do no better", attempts.len() - TOLD_MAX));
    }
    format!("none of its {} addresses answers ({})", attempts.len(), told.join(", "))
}

fn attempt_in_words(attempt: &Attempt) -> String {
    match &attempt.failure {
        AttemptFailure::Said(error) => cause::of_io(error),
        AttemptFailure::Silent(limit) => format!("no answer within {:.0} s", limit.as_secs_f64()),
        AttemptFailure::NotTried => "not tried for want of time".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn attempt(address: &str, failure: AttemptFailure) -> Attempt {
        Attempt { address: format!("{address}:1883").parse().unwrap(), failure }
    }

    fn refused() -> AttemptFailure {
        AttemptFailure::Said(io::ErrorKind::ConnectionRefused.into())
    }

    #[test]
    fn proxies_are_for_brokers_over_tls() {
        let proxies = Proxies::read(Some("http://p:3128"), None, Some("near.example")).unwrap();
        for (url, proxy) in [
            ("mqtts://far.example", Some("p:3128")),
            ("wss://far.example", Some("p:3128")),
            ("mqtt://far.example", None),
            ("ws://far.example", None),
            ("wss://near.example", None),
        ] {
            assert_eq!(proxy_to(&url.parse().unwrap(), &proxies).as_deref(), proxy, "{url}");
        }
    }

    #[test]
    fn every_address_is_told_with_what_it_said() {
        let broker: BrokerUrl = "mqtt://broker.example".parse().unwrap();
        let proxies = Proxies::default();
        let told = |attempts| in_words(&route(&broker, &proxies, None), &Unreached::Unanswered(attempts));
        assert_eq!(told(vec![attempt("192.0.2.1", refused())]), "connection refused");
        let silent = AttemptFailure::Silent(Duration::from_millis(3990));
        assert_eq!(
            told(vec![attempt("[2001:db8::1]", silent), attempt("192.0.2.1", refused())]),
            "none of its 2 addresses answers (2001:db8::1 no answer within 4 s, 192.0.2.1 connection refused)"
        );
        let many = told((0..9).map(|_| attempt("192.0.2.1", refused())).collect());
        assert!(many.ends_with("5 more addresses do no better)"), "{many}");
    }

    #[test]
    fn a_fault_of_the_proxy_names_it_and_says_what_to_try() {
        let broker: BrokerUrl = "wss://broker.example".parse().unwrap();
        let proxies = Proxies::read(Some("http://u:secret@p:3128"), None, None).unwrap();
        let route = route(&broker, &proxies, None);
        let inner = Unreached::Unanswered(vec![attempt("192.0.2.1", refused())]);
        let told = in_words(&route, &Unreached::NoProxy(Box::new(inner)));
        assert_eq!(told, "the proxy p:3128 is not reached: connection refused");
        assert!(cause::advice(&told).contains("HTTPS_PROXY"));
        let told = in_words(&route, &Unreached::Proxy("wants a login (407)".into()));
        assert_eq!(told, "the proxy p:3128 wants a login (407)");
        assert!(cause::advice(&told).contains("USER:PASSWORD"));
    }
}
