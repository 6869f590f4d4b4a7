//! A certificate of our own making, for whoever has none of an authority: made once and kept, so that clients can go on
//! trusting it.
//!
//! - owns: `serve.crt` and `serve.key` in a folder
//! - must never: let anybody else read the key; make another key while there is one
//! - flow: [`Names`] → [`prepare`] → paths, for [`super::certificate::Identity::read`]
//!
//! It is not an authority, so nobody can make other certificates with its key. When names are missing, or its time is
//! nearly over, another certificate is made for the same key and subject: clients with the file of the first one trust
//! it still (RFC 5280 section 6.1: a trust anchor is a name and a key).

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use media::private_file;
use network::proxy::bare;
use network::system_error::in_words;
use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, SerialNumber};
use rustls::pki_types::ServerName;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use super::certificate::{CertificateError, broken, bytes_of, chain_of};
use crate::platform::random;

const KEY: &str = "serve.key";
const CERTIFICATE: &str = "serve.crt";
/// A certificate is for everybody to read.
const CERTIFICATE_MODE: u32 = 0o644;
/// The subject, the same for ever: what clients trust is this and the key.
const SUBJECT: &str = "tring serve";
const DAY: Duration = Duration::from_secs(24 * 3600);
/// How long it is good for, in days: ten years. Nobody but those who were given the file trusts it.
const DAYS: u32 = 3652;
/// How far clocks of clients may be behind.
const BEHIND: Duration = DAY;
/// Another one is made when less than this is left, since servers may run for months.
const LEFT_MIN: Duration = Duration::from_secs(365 * 24 * 3600);
/// Names of earlier certificates that are kept: a laptop has another address in each network.
const NAMES_MAX: usize = 40;

/// Host names and addresses that clients reach the server by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Names(BTreeSet<String>);

impl Names {
    /// This machine's own names, these addresses, and these names.
    ///
    /// # Errors
    /// [`CertificateError::NoName`] for one that is none.
    pub(crate) fn new(addresses: impl IntoIterator<Item = IpAddr>, names: &[String]) -> Result<Self, CertificateError> {
        let own = ["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
        let addresses = addresses.into_iter().map(|ip| ip.to_canonical()).filter(|ip| !ip.is_unspecified());
        let mut all: BTreeSet<String> = own.into_iter().chain(addresses.map(|ip| ip.to_string())).collect();
        for name in names {
            let bare = bare(name).to_ascii_lowercase();
            if ServerName::try_from(bare.as_str()).is_err() {
                return Err(CertificateError::NoName { name: name.clone() });
            }
            // An address has one way to be written in a certificate.
            all.insert(bare.parse::<IpAddr>().map_or(bare, |ip| ip.to_string()));
        }
        Ok(Self(all))
    }
}

/// Where certificate and key are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Files {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

/// Makes certificate and key in `folder`, or whichever of them is missing or out of date.
///
/// # Errors
/// A folder that cannot be written, a key that is there and cannot be used.
pub(crate) fn prepare(folder: &Path, names: &Names, now: SystemTime) -> Result<Files, CertificateError> {
    let files = Files { certificate: folder.join(CERTIFICATE), key: folder.join(KEY) };
    private_file::create_folder(folder).map_err(|error| unwritable(folder, &error))?;
    let key = key_in(&files.key)?;
    let old = look(&files.certificate, &key);
    if old.as_ref().is_some_and(|old| old.is_good(names, now)) {
        return Ok(files);
    }
    let mut all: Vec<String> = names.0.iter().cloned().collect();
    let kept = old.into_iter().flat_map(|old| old.names).filter(|name| !names.0.contains(name));
    all.extend(kept.take(NAMES_MAX));
    let certificate = make(&key, all, now).map_err(|error| broken(&files.certificate, &error))?;
    private_file::replace_whole(&files.certificate, certificate, CERTIFICATE_MODE)
        .map_err(|error| unwritable(&files.certificate, &error))?;
    Ok(files)
}

/// The key that is there, or a new one. Of two programs that start at once, both get the same.
fn key_in(path: &Path) -> Result<KeyPair, CertificateError> {
    if !path.exists() {
        let key = KeyPair::generate().map_err(|error| broken(path, &error))?;
        private_file::add_whole(path, key.serialize_pem()).map_err(|error| unwritable(path, &error))?;
    }
    fs::set_permissions(path, Permissions::from_mode(private_file::FILE_MODE))
        .map_err(|error| unwritable(path, &error))?;
    let unusable = || broken(path, &"it is not the key that was written there; remove it, and a new one is made");
    let text = String::from_utf8(bytes_of(path)?).map_err(|_| unusable())?;
    KeyPair::from_pem(&text).map_err(|_| unusable())
}

/// What a certificate says that is there already.
struct Old {
    names: Vec<String>,
    expires: i64,
}

impl Old {
    fn is_good(&self, names: &Names, now: SystemTime) -> bool {
        let soon = (now + LEFT_MIN).duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        names.0.iter().all(|name| self.names.contains(name)) && self.expires > i64::try_from(soon).unwrap_or(i64::MAX)
    }
}

/// The certificate of this key; `None` when there is none, or one of another key.
fn look(path: &Path, key: &KeyPair) -> Option<Old> {
    let chain = chain_of(path).ok()?;
    let (_, certificate) = X509Certificate::from_der(chain.first()?).ok()?;
    if certificate.public_key().subject_public_key.data != key.public_key_raw() {
        return None;
    }
    let alternatives = certificate.subject_alternative_name().ok()??;
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => address(bytes).map(|ip| ip.to_string()),
        _ => None,
    };
    let names = alternatives.value.general_names.iter().filter_map(name).collect();
    Some(Old { names, expires: certificate.validity().not_after.timestamp() })
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

fn make(key: &KeyPair, names: Vec<String>, now: SystemTime) -> Result<String, rcgen::Error> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, SUBJECT);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.serial_number = Some(SerialNumber::from(random::nonce().0 >> 1));
    params.not_before = (now - BEHIND).into();
    params.not_after = (now + DAYS * DAY).into();
    Ok(params.self_signed(key)?.pem())
}

fn unwritable(path: &Path, error: &io::Error) -> CertificateError {
    CertificateError::Unwritable { path: path.to_owned(), reason: in_words(error) }
}

#[cfg(test)]
#[path = "own_tests.rs"]
mod tests;
