//! Certificates for `mqtts` and `wss`.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::{LinkError, TlsFiles};
use network::system_error::without_number;

/// How a connection over TLS is secured, loaded and checked once.
#[derive(Clone, Debug)]
pub struct Tls {
    pub(super) config: Arc<ClientConfig>,
}

impl Tls {
    /// Reads the files; without an own certificate authority the system's are trusted.
    ///
    /// # Errors
    /// [`LinkError::TlsFile`] naming the file and what is wrong with it.
    pub fn load(files: &TlsFiles) -> Result<Self, LinkError> {
        let mut roots = RootCertStore::empty();
        match &files.ca {
            Some(path) => {
                for certificate in certificates(path)? {
                    roots.add(certificate).map_err(|error| bad_file(path, &error))?;
                }
            }
            None => {
                // A system without certificates shows when a TLS broker is not trusted, and only then matters.
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring supports the default TLS versions")
            .with_root_certificates(roots);
        let config = match &files.client {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let key_der = PrivateKeyDer::from_pem_file(key).map_err(|error| bad_file(key, &error))?;
                builder.with_client_auth_cert(certificates(chain)?, key_der).map_err(|error| bad_file(chain, &error))?
            }
        };
        Ok(Self { config: Arc::new(config) })
    }

    /// The same, as rustls takes it.
    #[must_use]
    pub fn client_config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.config)
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, LinkError> {
    let all = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| bad_file(path, &error))?;
    if all.is_empty() { Err(bad_file(path, &"it holds no certificate")) } else { Ok(all) }
}

fn bad_file(path: &Path, reason: &dyn std::fmt::Display) -> LinkError {
    let reason = reason.to_string();
    LinkError::TlsFile(format!("cannot use {}: {}; a PEM file is needed", path.display(), without_number(&reason)))
}
