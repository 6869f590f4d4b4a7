//! What an ICE restart needs beside offer and answer: new servers, new sockets, and candidates counted from none.

use std::sync::PoisonError;

use rtc::peer_connection::configuration::RTCConfigurationBuilder;
use tokio::task::JoinSet;
use webrtc::peer_connection::RTCIceTransportPolicy;

use super::events::PeerError;
use super::ice_servers::for_engine;
use super::peer::Peer;
use crate::path::candidates::Taken;
use crate::path::ice_server::IcePolicy;
use crate::path::remote_addresses::RemoteAddresses;
use crate::sdp::continuity::Renewal;

impl Peer {
    /// Refuses a restart that can find no path, while there is no network any more.
    pub(super) fn check_network(&self, operation: &'static str, renewal: Renewal) -> Result<(), PeerError> {
        if renewal == Renewal::IceRestart && self.is_cut_off() {
            return Err(PeerError::new(operation, "there is no network; it can be tried again when there is one"));
        }
        Ok(())
    }

    /// True when there were addresses, and there is none.
    fn is_cut_off(&self) -> bool {
        !self.shared.watch().bound().is_empty() && self.network.addresses().usable.is_empty()
    }

    /// Hands the engine the servers that were set since the last restart; it asks them when it gathers next.
    pub(super) async fn use_renewed_servers(&self) -> rtc::shared::error::Result<()> {
        let renewed = self.renewed_servers.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(servers) = renewed else { return Ok(()) };
        self.settling.use_servers(&servers);
        let policy = self.connection.get_configuration().await.ice_transport_policy();
        let wanted = match policy {
            RTCIceTransportPolicy::Relay => IcePolicy::RelayOnly,
            _ => IcePolicy::All,
        };
        let configuration = RTCConfigurationBuilder::default()
            .with_ice_servers(for_engine(&servers, wanted))
            .with_ice_transport_policy(policy)
            .build();
        self.connection.set_configuration(configuration).await
    }

    /// ICE begins anew, with candidates of both sides counted from none.
    pub(super) fn renew(&self) {
        self.exchange().remote_candidates = Taken::default();
        *self.lookups() = JoinSet::new();
        *self.remote_addresses() = RemoteAddresses::default();
        self.shared.renew(self.network.addresses());
    }
}
