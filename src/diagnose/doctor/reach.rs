//! The way to a broker: its name, a TCP connection, and the proxy if one is on the way.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use network::race::{Attempt, AttemptFailure};
use network::reach::Unreached as Fault;
use network::system_error::{TOO_MANY_FILES, in_words};
use signalling::mqtt::{BrokerUrl, Cause, Proxies, REACH, explain_unreached, proxy_to};
use tokio::net::TcpStream;

use super::NamedBroker;

/// Where the broker is.
pub(super) struct Reached {
    /// A connection on which nothing was said yet.
    pub(super) stream: TcpStream,
    /// The address that answered; the proxy's, where there is one.
    pub(super) address: IpAddr,
    /// The proxy on the way.
    pub(super) proxy: Option<String>,
    /// How long connecting took.
    pub(super) took: Duration,
}

/// Why there is no TCP connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreached {
    /// No such name.
    #[error("its name has no address: {0}")]
    Unresolved(String),
    /// The machine says so.
    #[error("nothing listens on port {0} there")]
    Closed(u16),
    /// Nobody says anything.
    #[error("no answer within {} s", REACH.as_secs())]
    Silent,
    /// This program may open no more files.
    #[error("too many open files here")]
    TooManyFiles,
    /// The rest: several addresses that do not agree, a proxy.
    #[error("{}", .0.cause)]
    Other(Cause),
}

impl Unreached {
    fn of(fault: &Fault, url: &BrokerUrl, proxies: &Proxies) -> Self {
        let is_refused = |attempt: &Attempt| match &attempt.failure {
            AttemptFailure::Said(error) => error.kind() == io::ErrorKind::ConnectionRefused,
            AttemptFailure::Silent(_) | AttemptFailure::NotTried => false,
        };
        let has_no_file = |attempt: &Attempt| match &attempt.failure {
            AttemptFailure::Said(error) => error.raw_os_error() == Some(TOO_MANY_FILES),
            AttemptFailure::Silent(_) | AttemptFailure::NotTried => false,
        };
        match fault {
            Fault::Unresolved(error) => Self::Unresolved(in_words(error)),
            Fault::Unanswered(attempts) if attempts.iter().all(is_refused) => Self::Closed(url.port),
            Fault::Unanswered(attempts) if attempts.iter().any(has_no_file) => Self::TooManyFiles,
            Fault::Unanswered(attempts)
                if matches!(&attempts[..], [Attempt { failure: AttemptFailure::Silent(_), .. }]) =>
            {
                Self::Silent
            }
            Fault::Unanswered(_)
            | Fault::NoNameServer(_)
            | Fault::NoProxy(_)
            | Fault::Proxy(_)
            | Fault::SilentProxy(_) => Self::Other(explain_unreached(url, proxies, fault)),
        }
    }

    /// What to try.
    pub(super) fn advice(&self, url: &BrokerUrl, named: NamedBroker) -> String {
        match self {
            Self::Closed(_) if named == NamedBroker::Default => {
                "no broker was named, so this is the default: name yours by --broker, or start one here by `tring serve`"
                    .to_owned()
            }
            Self::TooManyFiles => "raise the limit with ulimit -n".to_owned(),
            Self::Unresolved(_) => {
                format!("is {:?} spelled right, and does this machine have a name server?", url.host)
            }
            Self::Closed(_) => "start the broker, or correct the port in --broker".to_owned(),
            Self::Silent => format!("is the machine on, and does every firewall let TCP port {} through?", url.port),
            Self::Other(cause) => cause.fix.clone(),
        }
    }
}

/// Tries all addresses of the broker, as a call does.
pub(super) async fn reach(url: &BrokerUrl, proxies: &Proxies) -> Result<Reached, Unreached> {
    let reached = signalling::mqtt::reach(url, proxies, REACH).await;
    let reached = reached.map_err(|fault| Unreached::of(&fault, url, proxies))?;
    let proxy = proxy_to(url, proxies);
    Ok(Reached { stream: reached.stream, address: reached.address.ip(), proxy, took: reached.took })
}
