//! How TURN servers over TCP and TLS are connected to: whom we trust, by `--ca-file`, and which proxy is in between, by the
//! environment. The words for what is wrong with a certificate are those for brokers.

use std::path::Path;
use std::sync::Arc;

use media::peer::config::{Dialer, IceServer, IceTransport, TlsClient, TlsWords};
use network::proxy::{InvalidProxy, Proxies};
use signalling::mqtt::{Cause, Tls, TlsFiles};

use crate::output::exit::Failure;

/// What the TURN servers among `servers` need; for those over UDP alone nothing is read.
///
/// # Errors
/// A usage [`Failure`] when the authority's file or a variable of a proxy cannot be used.
pub(super) fn dialer(servers: &[IceServer], ca: Option<&Path>) -> Result<Dialer, Failure> {
    let best_needs = servers.iter().map(|server| server.url.transport).max();
    let proxies = || proxies(|name| std::env::var(name).ok());
    match best_needs {
        None | Some(IceTransport::Udp) => Ok(Dialer::default()),
        Some(IceTransport::Tcp) => Ok(Dialer::without_tls(proxies()?)),
        Some(IceTransport::Tls) => {
            // The certificate that we show to brokers is not for others.
            let files = TlsFiles { ca: ca.map(Path::to_owned), client: None };
            let tls = Tls::load(&files).map_err(|error| Failure::usage(error.to_string()))?;
            let explain = Arc::new(move |error: &rustls::Error, host: &str| {
                let Cause { cause, fix } =
                    Cause::of_tls(error, host, &files).of_another_server("the TURN server", "--ice");
                TlsWords { cause, fix }
            });
            Ok(Dialer::new(TlsClient { config: tls.client_config(), explain }, proxies()?))
        }
    }
}

/// The proxy that variables of the environment name, in lower case first.
fn proxies(variable: impl Fn(&str) -> Option<String>) -> Result<Proxies, Failure> {
    let of = |name: &str| variable(&name.to_lowercase()).or_else(|| variable(name));
    let (https, all, none) = (of("HTTPS_PROXY"), of("ALL_PROXY"), of("NO_PROXY"));
    Proxies::read(https.as_deref(), all.as_deref(), none.as_deref()).map_err(|error: InvalidProxy| {
        Failure::usage(format!("the proxy in HTTPS_PROXY or ALL_PROXY cannot be used: {error}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_in_lower_case_go_before_those_in_upper_case() {
        let proxies = |variables: &[(&str, &str)]| {
            let variable =
                |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
            proxies(variable)
        };
        let named = |variables: &[(&str, &str)]| {
            let all = proxies(variables).unwrap();
            all.on_the_way_to("turn.example", 443).map(ToString::to_string)
        };
        assert_eq!(named(&[("HTTPS_PROXY", "http://a:1"), ("https_proxy", "http://b:2")]).as_deref(), Some("b:2"));
        assert_eq!(named(&[("ALL_PROXY", "socks5h://u:p@c")]).as_deref(), Some("c:1080"));
        assert_eq!(named(&[("ALL_PROXY", "http://c:1"), ("no_proxy", ".example")]), None);
        assert_eq!(named(&[]), None);
        let told = proxies(&[("HTTPS_PROXY", "ftp://u:secret@c")]).unwrap_err().to_string();
        assert!(told.contains("HTTPS_PROXY") && !told.contains("secret"), "{told}");
    }

    #[test]
    fn a_fault_of_a_certificate_names_the_turn_server() {
        let expired = rustls::Error::InvalidCertificate(rustls::CertificateError::Expired);
        let told = Cause::of_tls(&expired, "h", &TlsFiles::default()).of_another_server("the TURN server", "--ice");
        assert!(told.cause.contains("has expired") && told.fix.contains("the TURN server"), "{told:?}");
        let name = rustls::Error::InvalidCertificate(rustls::CertificateError::NotValidForName);
        let told = Cause::of_tls(&name, "h", &TlsFiles::default()).of_another_server("the TURN server", "--ice");
        assert!(!format!("{told:?}").contains("broker"), "{told:?}");
    }
}
