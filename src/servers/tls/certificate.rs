//! The certificate and key that the server shows, read from files and checked before anybody connects.
//!
//! - in: two PEM files → [`Identity::read`] → [`Identity`], with [`Flaw`]s that clients will mind
//! - must never: print or log a key

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use network::system_error::in_words;
use ring::digest::{SHA256, digest};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject as _, SectionKind};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use thiserror::Error;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::platform::files::read_bounded;

/// Why a certificate or key cannot be used.
#[derive(Debug, Error)]
pub(crate) enum CertificateError {
    /// A file that is not there, or not ours to read.
    #[error("cannot read {}: {reason}", path.display())]
    Unreadable { path: PathBuf, reason: String },
    /// A certificate is expected.
    #[error(
        "{} holds no certificate; a PEM file is needed, with a line \"-----BEGIN CERTIFICATE-----\"{hint}",
        path.display()
    )]
    NoCertificate { path: PathBuf, hint: &'static str },
    /// A key is expected.
    #[error("{} holds no private key; a PEM file is needed, with a line \"-----BEGIN PRIVATE KEY-----\"{hint}", path.display())]
    NoKey { path: PathBuf, hint: &'static str },
    /// A key with a passphrase, which nobody is there to type.
    #[error("the key in {0} is encrypted; take its passphrase away: openssl pkey -in {0} -out FILE", path.display())]
    Encrypted { path: PathBuf },
    /// Not what its label says.
    #[error("cannot use {}: {reason}", path.display())]
    Broken { path: PathBuf, reason: String },
    /// They do not belong together.
    #[error(
        "the key in {} is not that of the first certificate in {}; pass the two that were made together",
        key.display(), certificate.display()
    )]
    OtherKey { certificate: PathBuf, key: PathBuf },
    /// Nowhere to keep one of our own.
    #[error("there is no folder to keep a certificate in; set HOME or XDG_STATE_HOME, or pass --cert and --key")]
    NoFolder,
    /// One of our own cannot be kept.
    #[error("cannot write {}: {reason}; pass --cert and --key to use others", path.display())]
    Unwritable { path: PathBuf, reason: String },
    /// A name that no certificate can be for.
    #[error("{name:?} is no name for a certificate; pass a host name or an IP address")]
    NoName { name: String },
}

/// What clients will mind in a certificate that works otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// Its time is over.
    Expired { date: String },
    /// Its time has not come.
    NotYetValid { date: String },
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expired { date } => write!(f, "has expired ({date}); clients will refuse it"),
            Self::NotYetValid { date } => {
                write!(f, "is not valid before {date}; clients will refuse it, unless the clock here is wrong")
            }
        }
    }
}

/// Certificate and key.
pub(crate) struct Identity(Arc<CertifiedKey>);

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Identity").field(&self.fingerprint()).finish()
    }
}

impl Identity {
    /// Reads a certificate, with those of the authorities between it and the root behind it, and its key.
    ///
    /// # Errors
    /// Each naming the file and what is wrong with it.
    pub(crate) fn read(certificate: &Path, key: &Path) -> Result<Self, CertificateError> {
        let chain = chain_of(certificate)?;
        let key_der = key_of(key)?;
        match CertifiedKey::from_der(chain, key_der, &provider()) {
            Ok(certified) => Ok(Self(Arc::new(certified))),
            Err(rustls::Error::InconsistentKeys(_)) => {
                Err(CertificateError::OtherKey { certificate: certificate.to_owned(), key: key.to_owned() })
            }
            Err(error @ rustls::Error::InvalidCertificate(_)) => Err(broken(certificate, &error)),
            Err(error) => Err(broken(key, &error)),
        }
    }

    /// SHA-256 of the certificate, as `openssl x509 -fingerprint -sha256` prints it.
    pub(crate) fn fingerprint(&self) -> String {
        let certificate = self.0.cert.first().map_or(&[][..], |certificate| certificate);
        let bytes = digest(&SHA256, certificate);
        bytes.as_ref().iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
    }

    /// What clients will mind.
    pub(crate) fn flaw(&self, now: SystemTime) -> Option<Flaw> {
        let (_, certificate) = X509Certificate::from_der(self.0.cert.first()?).ok()?;
        let now = i64::try_from(now.duration_since(UNIX_EPOCH).ok()?.as_secs()).ok()?;
        let validity = certificate.validity();
        if validity.not_after.timestamp() < now {
            Some(Flaw::Expired { date: validity.not_after.to_string() })
        } else if validity.not_before.timestamp() > now {
            Some(Flaw::NotYetValid { date: validity.not_before.to_string() })
        } else {
            None
        }
    }

    pub(super) fn into_key(self) -> Arc<CertifiedKey> {
        self.0
    }
}

/// The cryptography of all our TLS.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

pub(super) fn chain_of(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let bytes = bytes_of(path)?;
    let chain =
        CertificateDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>().map_err(|error| broken(path, &error))?;
    if let Some(first) = chain.first() {
        X509Certificate::from_der(first).map_err(|_| broken(path, &"its certificate cannot be read"))?;
        return Ok(chain);
    }
    let hint = if kinds(&bytes).any(is_key) { ". It holds a key: were --cert and --key mixed up?" } else { "" };
    Err(CertificateError::NoCertificate { path: path.to_owned(), hint })
}

fn key_of(path: &Path) -> Result<PrivateKeyDer<'static>, CertificateError> {
    let bytes = bytes_of(path)?;
    match PrivateKeyDer::from_pem_slice(&bytes) {
        Ok(key) => Ok(key),
        Err(pem::Error::NoItemsFound) => {
            let path = path.to_owned();
            if bytes.windows(b"ENCRYPTED".len()).any(|window| window == b"ENCRYPTED") {
                return Err(CertificateError::Encrypted { path });
            }
            let is_certificate = kinds(&bytes).any(|kind| kind == SectionKind::Certificate);
            let hint = if is_certificate { ". It holds a certificate: were --cert and --key mixed up?" } else { "" };
            Err(CertificateError::NoKey { path, hint })
        }
        Err(error) => Err(broken(path, &error)),
    }
}

/// What a PEM file holds, as far as it can be read.
fn kinds(bytes: &[u8]) -> impl Iterator<Item = SectionKind> + '_ {
    <(SectionKind, Vec<u8>)>::pem_slice_iter(bytes).map_while(Result::ok).map(|(kind, _)| kind)
}

fn is_key(kind: SectionKind) -> bool {
    matches!(kind, SectionKind::PrivateKey | SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey)
}

pub(super) fn bytes_of(path: &Path) -> Result<Vec<u8>, CertificateError> {
    read_bounded(path).map_err(|error| CertificateError::Unreadable { path: path.to_owned(), reason: in_words(&error) })
}

pub(super) fn broken(path: &Path, reason: &dyn fmt::Display) -> CertificateError {
    CertificateError::Broken { path: path.to_owned(), reason: reason.to_string() }
}
