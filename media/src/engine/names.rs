//! Names of servers that were looked up for one peer connection.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use webrtc::runtime::Runtime;

/// How long a name is looked up that was known before.
const LOOKUP_AGAIN_MAX: Duration = Duration::from_millis(300);

/// See the module.
pub(super) struct Names {
    runtime: Arc<dyn Runtime>,
    known: Mutex<BTreeMap<String, Vec<SocketAddr>>>,
}

impl Names {
    /// None known yet.
    pub(super) fn new(runtime: Arc<dyn Runtime>) -> Self {
        Self { runtime, known: Mutex::default() }
    }

    /// The addresses of a `host:port`. One that is known is looked up for [`LOOKUP_AGAIN_MAX`] at most: a name server
    /// that does not answer would end the call.
    pub(super) async fn look_up(&self, host: &str) -> io::Result<Vec<SocketAddr>> {
        let known = self.known().get(host).cloned();
        let addresses = match known {
            None => self.runtime.resolve_host(host).await?,
            Some(known) => match tokio::time::timeout(LOOKUP_AGAIN_MAX, self.runtime.resolve_host(host)).await {
                Ok(Ok(addresses)) => addresses,
                Ok(Err(_)) | Err(_) => known,
            },
        };
        self.known().insert(host.to_owned(), addresses.clone());
        Ok(addresses)
    }

    /// The address, of this family, of a server that was looked up.
    pub(super) fn first(&self, is_ipv4: bool) -> Option<IpAddr> {
        self.known().values().flatten().map(SocketAddr::ip).find(|ip| ip.is_ipv4() == is_ipv4)
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<String, Vec<SocketAddr>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
