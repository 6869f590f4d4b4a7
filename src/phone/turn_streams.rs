//! How TURN servers over TCP and TLS are connected to: whom we trust, by `--ca-file`, and which proxy is in between, by
//! [`proxies`]. The words for what is wrong with a certificate are those for brokers.

use std::path::Path;
use std::sync::Arc;

use media::peer::config::{Dialer, IceServer, IceTransport, TlsClient, TlsWords};
use signalling::mqtt::{Cause, Tls, TlsFiles};

use super::proxies;
use crate::output::exit::Failure;

/// What the TURN servers among `servers` need; for those over UDP alone nothing is read.
///
/// # Errors
/// A usage [`Failure`] when the authority's file or a variable of a proxy cannot be used.
pub(super) fn dialer(servers: &[IceServer], ca: Option<&Path>) -> Result<Dialer, Failure> {
    let best_needs = servers.iter().map(|server| server.url.transport).max();
    match best_needs {
        None | Some(IceTransport::Udp) => Ok(Dialer::default()),
        Some(IceTransport::Tcp) => Ok(Dialer::without_tls(proxies::of_environment()?)),
        Some(IceTransport::Tls) => {
            // The certificate that we show to brokers is not for others.
            let files = TlsFiles { ca: ca.map(Path::to_owned), client: None };
            let tls = Tls::load(&files).map_err(|error| Failure::usage(error.to_string()))?;
            let explain = Arc::new(move |error: &rustls::Error, host: &str| {
                let Cause { cause, fix } =
                    Cause::of_tls(error, host, &files).of_another_server("the TURN server", "--ice");
                TlsWords { cause, fix }
            });
            Ok(Dialer::new(TlsClient { config: tls.client_config(), explain }, proxies::of_environment()?))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
