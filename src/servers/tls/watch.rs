//! Takes up a new certificate and key when their files change, so that one that was renewed needs no new start.
//!
//! - owns: the pair that is shown; when the files were looked at last
//! - must never: show a pair that cannot be used, or end a connection that stands
//! - flow: files → [`Shown::watch`] → [`Identity::read`] → [`Shown`] → handshakes
//!
//! Tools write one file after the other. So a pair that cannot be used is told only when it is still there at the next look.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::time::sleep;
use tracing::{debug, info, warn};

use super::certificate::Identity;
use super::own::Files;

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
        let (mut taken, mut fault) = (State::of(&files), None);
        loop {
            sleep(LOOK).await;
            let state = State::of(&files);
            if state == taken {
                continue;
            }
            let read_from = files.clone();
            // Files may be on a disk that is slow.
            let reading = tokio::task::spawn_blocking(move || Identity::read(&read_from.certificate, &read_from.key));
            match reading.await {
                Ok(Ok(identity)) => {
                    info!(
                        fingerprint = identity.fingerprint(),
                        "the certificate has changed, and is shown from now on"
                    );
                    *self.0.write().unwrap_or_else(PoisonError::into_inner) = identity.into_key();
                    (taken, fault) = (state, None);
                }
                Ok(Err(error)) if fault.as_ref() == Some(&state) => {
                    warn!("the certificate has changed and cannot be used; the one before is still shown: {error}");
                    taken = state;
                }
                // The other file may not be there yet.
                Ok(Err(_)) => fault = Some(state),
                Err(error) => debug!(%error, "the certificate could not be read"),
            }
        }
    }
}

/// What tells that a file is another one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct State([Option<(u64, u64, i64, i64)>; 2]);

impl State {
    fn of(files: &Files) -> Self {
        let look = |path: &Path| {
            let file = fs::metadata(path).ok()?;
            Some((file.ino(), file.len(), file.mtime(), file.mtime_nsec()))
        };
        Self([look(&files.certificate), look(&files.key)])
    }
}
