//! Sets a peer connection up: sockets, ICE servers, the interceptor chain, one transceiver a medium, and its tasks.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::{Arc, Mutex};

use rtc::crypto::RTCCryptoProvider;
use rtc::peer_connection::configuration::RTCConfigurationBuilder;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use webrtc::peer_connection::{PeerConnection, PeerConnectionBuilder, RTCIceTransportPolicy};
use webrtc::runtime::Runtime;

use super::callbacks::Handler;
use super::config::PeerConfig;
use super::cookie_random::CookieProvider;
use super::events::{EVENTS_MAX, PeerError, PeerEvent};
use super::exchange::Exchange;
use super::ice_servers::for_engine;
use super::interceptors::{self, Parts};
use super::medium::medium;
use super::names::Names;
use super::peer::Peer;
use super::random::{random_bytes, random_u32};
use super::runtime::SettlingRuntime;
use super::shared::Shared;
use super::socket_errors::{self, Usable};
use super::sockets::dtls_cookie::CookieExchange;
use super::sockets::dtls_resending::Resends;
use super::sockets::early::Early;
use super::sockets::relay_family::Families;
use super::sockets::relay_streams::Streams;
use super::tracks::local::Outlets;
use super::tracks::remote;
use super::{path_task, setup};
use crate::congestion::estimate::SharedEstimate;
use crate::congestion::payload_limit::PayloadLimit;
use crate::path::addresses::{BindTo, Network};
use crate::path::dtls_cookie::Cookie;
use crate::path::ice_server::IcePolicy;
use crate::path::receive_counter::ReceiveCounter;
use crate::path::server_log::ServerLog;
use crate::path::stand_in::StandIns;
use crate::receive::inbox::Inbox;
use crate::receive::peer_clock::PeerClock;
use crate::send::captures::Captures;
use crate::send::keyframe_demand::KeyframeDemand;
use crate::send::media_sender::Watched;

/// What fails when there are no sockets.
const SETTING_UP: &str = "setting up the connection for media";

impl Peer {
    /// [`Peer::new`] on a runtime and a network of one's own.
    pub(super) async fn on(
        runtime: Arc<dyn Runtime>,
        network: Arc<dyn Network>,
        config: &PeerConfig,
        inbox: Inbox,
    ) -> Result<(Self, mpsc::Receiver<PeerEvent>), PeerError> {
        let (events_tx, events) = mpsc::channel(EVENTS_MAX);
        // One video and one audio track, and a spare for a stranger's mistake.
        let (tracks_tx, tracks) = mpsc::channel(4);
        let payload = Arc::new(PayloadLimit::default());
        let watched = Watched {
            estimate: SharedEstimate::new(config.bitrate.start_bps),
            gate: Arc::default(),
            keyframes: Arc::default(),
            captures: Arc::default(),
            video: Arc::default(),
            audio: Arc::default(),
        };
        let servers = Arc::new(ServerLog::new(&config.ice_servers));
        let addresses = network.addresses();
        let encoders = (Arc::clone(&watched.gate), Arc::clone(&watched.keyframes));
        let shared = Shared::new(events_tx, tracks_tx, inbox, encoders, Arc::clone(&servers), addresses.clone());
        let shared = Arc::new(shared);
        let received = Arc::new(ReceiveCounter::default());
        let (early, resends) = (Arc::new(Early::default()), Arc::new(Resends::default()));
        let audio_ssrc = random_u32();
        let names = Arc::new(Names::new(Arc::clone(&runtime)));
        let (stand_ins, dialer) = (StandIns::of(&config.ice_servers), config.dialer.clone());
        let streams = Streams::new(stand_ins, dialer, Arc::clone(&names), Arc::clone(&servers), audio_ssrc);
        let seen = (Arc::clone(&received), Arc::clone(&payload), servers);
        let (cookie, cookie_exchange) = (Cookie(random_bytes()), Arc::new(CookieExchange::default()));
        let provider = CookieProvider::new().map_err(|error| PeerError::new(SETTING_UP, error))?;
        let provider = Arc::new(provider);
        let held = (Arc::clone(&early), Arc::clone(&resends));
        let shorter = (Arc::clone(&cookie_exchange), Arc::clone(&shared.selection));
        let families =
            Arc::new(Families::new(&config.ice_servers, Arc::clone(&provider) as Arc<dyn RTCCryptoProvider>));
        let (impairments, servers) = (config.impairments.clone(), (names, Arc::new(streams), families));
        let settling = SettlingRuntime::new(runtime, Arc::clone(&network), seen, held, shorter, impairments, servers);
        let settling = Arc::new(settling);
        let clock = PeerClock::default();
        let foundation = Foundation {
            network: Arc::clone(&network),
            settling: Arc::clone(&settling),
            estimate: watched.estimate.clone(),
            clock: clock.clone(),
            payload: Arc::clone(&payload),
            demand: Arc::clone(&watched.keyframes),
            captures: Arc::clone(&watched.captures),
            provider: Arc::clone(&provider),
        };
        let connection = foundation.build(config, &shared).await.map_err(|error| {
            let bind_to = BindTo { network: Arc::clone(&network), loopback: config.loopback };
            let wanted: Vec<SocketAddr> = bind_to.to_socket_addrs().into_iter().flatten().collect();
            let usable = if addresses.usable.is_empty() { Usable::None } else { Usable::Some };
            PeerError::new(SETTING_UP, socket_errors::of_sockets(&wanted, usable).unwrap_or_else(|| error.to_string()))
        })?;

        let audio = medium(&*connection, "audio", setup::audio_codec(), audio_ssrc, None).await?;
        let video_codecs = setup::video_codecs(config);
        let video = match video_codecs.first() {
            Some(first) => {
                let codec = first.rtp_codec.clone();
                let video = medium(&*connection, "video", codec, random_u32(), Some(random_u32())).await?;
                // Offers all codecs: a track alone would offer the one it was made for.
                let preferred = video.transceiver.set_codec_preferences(video_codecs).await;
                preferred.map_err(|error| PeerError::new("choosing codecs", error))?;
                Some(video)
            }
            None => None,
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(Arc::clone(&resends).run());
        tasks.spawn(remote::route_tracks(tracks, shared.inbox.clone(), shared.keyframes.clone()));
        let seen = (Arc::clone(&received), Arc::clone(&payload));
        let path = (Arc::clone(&connection), Arc::clone(&network), Arc::clone(&settling));
        tasks.spawn(path_task::run(Arc::clone(&shared), seen, path.0, path.1, path.2));
        let peer = Self {
            connection,
            shared,
            received,
            early,
            resends,
            cookie,
            cookie_exchange,
            provider,
            network,
            video,
            audio,
            exchange: Mutex::new(Exchange::new(config.video, config.audio)),
            renewed_servers: Mutex::new(None),
            outlets: Mutex::new(Outlets::new(watched, payload)),
            remote_addresses: Mutex::default(),
            tasks: Mutex::new(tasks),
            lookups: Mutex::default(),
            clock,
            settling,
        };
        Ok((peer, events))
    }
}

/// What the engine stands on.
struct Foundation {
    network: Arc<dyn Network>,
    settling: Arc<SettlingRuntime>,
    estimate: SharedEstimate,
    clock: PeerClock,
    payload: Arc<PayloadLimit>,
    demand: Arc<KeyframeDemand>,
    captures: Arc<Captures>,
    provider: Arc<CookieProvider>,
}

impl Foundation {
    async fn build(
        self,
        config: &PeerConfig,
        shared: &Arc<Shared>,
    ) -> rtc::shared::error::Result<Arc<dyn PeerConnection>> {
        let mut media = setup::media_engine(config)?;
        let parts = Parts {
            limits: config.bitrate,
            estimate: self.estimate,
            payload: self.payload,
            clock: self.clock,
            demand: self.demand,
            captures: self.captures,
        };
        let interceptors = interceptors::chain(&mut media, &parts)?;
        let policy = match config.ice_policy {
            IcePolicy::All => RTCIceTransportPolicy::All,
            IcePolicy::RelayOnly => RTCIceTransportPolicy::Relay,
        };
        let configuration = RTCConfigurationBuilder::default()
            .with_ice_servers(for_engine(&config.ice_servers, config.ice_policy))
            .with_ice_transport_policy(policy)
            .build();
        let connection = PeerConnectionBuilder::new()
            .with_runtime(self.settling)
            .with_configuration(configuration)
            .with_media_engine(media)
            .with_interceptor_registry(interceptors)
            .with_setting_engine(setup::settings(config.ice_policy, self.provider))
            .with_handler(Arc::new(Handler(Arc::clone(shared))))
            .with_udp_addrs(vec![BindTo { network: self.network, loopback: config.loopback }])
            .build()
            .await?;
        Ok(Arc::new(connection))
    }
}
