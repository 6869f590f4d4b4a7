//! Certificates of our own, as clients see them: by rustls, with nothing but the file as authority.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::pki_types::UnixTime;
use rustls::{CertificateError as Refusal, RootCertStore};

use super::super::certificate::{Flaw, Identity, provider};
use super::*;

/// A folder of its own, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        Self(std::env::temp_dir().join(format!("tring-own-{}", random::mark(16))))
    }

    fn prepare(&self, names: &[&str], now: SystemTime) -> Files {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        prepare(&self.0, &Names::new([], &names).unwrap(), now).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Whether a client that trusts the certificate `anchor` takes `shown` from a server of this name.
fn is_trusted(anchor: &[u8], shown: &Path, name: &str, now: SystemTime) -> Result<(), rustls::Error> {
    let mut roots = RootCertStore::empty();
    let file = std::env::temp_dir().join(format!("tring-anchor-{}", random::mark(16)));
    fs::write(&file, anchor).unwrap();
    roots.add(chain_of(&file).unwrap().remove(0)).unwrap();
    fs::remove_file(&file).unwrap();
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build().unwrap();
    let now = UnixTime::since_unix_epoch(now.duration_since(UNIX_EPOCH).unwrap());
    let name = ServerName::try_from(name.to_owned()).unwrap();
    verifier.verify_server_cert(&chain_of(shown).unwrap()[0], &[], &name, &[], now).map(drop)
}

#[test]
fn it_is_made_once_trusted_by_its_file_and_for_its_names_only() {
    let (folder, now) = (Folder::new(), SystemTime::now());
    let files = folder.prepare(&["phone.example", "192.0.2.7"], now);
    let anchor = fs::read(&files.certificate).unwrap();
    for name in ["localhost", "127.0.0.1", "::1", "phone.example", "192.0.2.7"] {
        is_trusted(&anchor, &files.certificate, name, now).unwrap();
    }
    let other = is_trusted(&anchor, &files.certificate, "other.example", now).unwrap_err();
    assert!(matches!(other, rustls::Error::InvalidCertificate(Refusal::NotValidForNameContext { .. })), "{other:?}");
    assert_eq!(fs::metadata(&files.key).unwrap().permissions().mode() & 0o777, 0o600);

    let key = fs::read(&files.key).unwrap();
    assert_eq!(folder.prepare(&["phone.example"], now + DAY), files);
    assert_eq!((fs::read(&files.key).unwrap(), fs::read(&files.certificate).unwrap()), (key, anchor));
    assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 2, "drafts are left behind");
    let identity = Identity::read(&files.certificate, &files.key).unwrap();
    assert_eq!((identity.fingerprint().len(), identity.flaw(now)), (95, None));
    assert!(matches!(identity.flaw(now - 3 * DAY), Some(Flaw::NotYetValid { .. })));
    assert!(matches!(identity.flaw(now + DAYS * DAY + DAY), Some(Flaw::Expired { .. })));
}

#[test]
fn a_new_name_or_old_age_renews_it_for_those_who_have_the_old_file_too() {
    let (folder, now) = (Folder::new(), SystemTime::now());
    let files = folder.prepare(&["one.example"], now);
    let (key, first) = (fs::read(&files.key).unwrap(), fs::read(&files.certificate).unwrap());

    folder.prepare(&["two.example"], now);
    let second = fs::read(&files.certificate).unwrap();
    assert_ne!(first, second);
    for name in ["one.example", "two.example"] {
        is_trusted(&first, &files.certificate, name, now).unwrap();
    }
    let late = now + DAYS * DAY - 10 * DAY;
    folder.prepare(&["two.example"], late);
    assert_ne!(fs::read(&files.certificate).unwrap(), second);
    is_trusted(&first, &files.certificate, "one.example", late + 100 * DAY).unwrap();
    assert_eq!(fs::read(&files.key).unwrap(), key);
}

#[test]
fn a_key_that_others_could_read_is_closed_and_one_that_is_broken_is_told() {
    let (folder, now) = (Folder::new(), SystemTime::now());
    let files = folder.prepare(&[], now);
    fs::set_permissions(&files.key, Permissions::from_mode(0o644)).unwrap();
    folder.prepare(&[], now);
    assert_eq!(fs::metadata(&files.key).unwrap().permissions().mode() & 0o777, 0o600);
    fs::write(&files.key, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n").unwrap();
    let error = prepare(&folder.0, &Names::new([], &[]).unwrap(), now).unwrap_err().to_string();
    assert!(error.contains("serve.key") && error.contains("remove it"), "{error}");
}

#[test]
fn what_is_no_name_is_told() {
    let error = Names::new([], &["not a name".to_owned()]).unwrap_err();
    assert!(error.to_string().contains("not a name"), "{error}");
    let names = Names::new(["0.0.0.0".parse().unwrap()], &["[2001:DB8:0::1]".to_owned()]).unwrap();
    assert!(names.0.contains("2001:db8::1") && !names.0.contains("0.0.0.0"), "{names:?}");
}
