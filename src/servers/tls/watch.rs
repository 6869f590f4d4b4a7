//! Takes up a new certificate and key when their files change, so that one that was renewed needs no new start.
//!
//! - owns: the pair that is shown; when the files were looked at last
//! - must never: show a pair that cannot be used, or end a connection that stands
//! - flow: files → [`Shown::watch`] → [`Identity::read`] → [`Shown`] → handshakes
//!
//! Tools write one file after the other. So a pair that cannot be used is told only when it is still there at the next look.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::time::sleep;
use tracing::{debug, info, warn};

use super::certificate::Identity;
use super::own::Files;
use crate::platform::files::Stamp;

/// How often the files are looked at. A certificate is renewed days before its time is over.
const LOOK: Duration = Duration::from_secs(2);

/// What is shown to clients.
pub(super) struct Shown(RwLock<Arc<CertifiedKey>>);

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shown(…)")
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl Shown {
    pub(super) fn new(identity: Identity) -> Arc<Self> {
        Arc::new(Self(RwLock::new(identity.into_key())))
    }

    /// Looks at the files for ever, from how they are now.
    pub(super) async fn watch(self: Arc<Self>, files: Files) {
        let (mut taken, mut fault) = (stamps(&files), None);
        loop {
            sleep(LOOK).await;
            let (files, before) = (files.clone(), taken);
            // Files may be on a disk that is slow.
            let look = move || {
                let now = stamps(&files);
                (now, (now != before).then(|| Identity::read(&files.certificate, &files.key)))
            };
            let (now, read) = match tokio::task::spawn_blocking(look).await {
                Ok((now, Some(read))) => (now, read),
                Ok((_, None)) => continue,
                Err(error) => {
                    debug!(%error, "the certificate could not be read");
                    continue;
                }
            };
            match read {
                Ok(identity) => {
                    info!(
                        fingerprint = identity.fingerprint(),
                        "the certificate has changed, and is shown from now on"
                    );
                    *self.0.write().unwrap_or_else(PoisonError::into_inner) = identity.into_key();
                    (taken, fault) = (now, None);
                }
                Err(error) if fault == Some(now) => {
                    warn!("the certificate has changed and cannot be used; the one before is still shown: {error}");
                    taken = now;
                }
                // The other file may not be there yet.
                Err(_) => fault = Some(now),
            }
        }
    }
}

fn stamps(files: &Files) -> [Option<Stamp>; 2] {
    [&files.certificate, &files.key].map(|path| Stamp::of(path))
}
