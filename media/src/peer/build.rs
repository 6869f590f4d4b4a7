//! How a peer connection is put together: sockets, servers, one transceiver a medium.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex};

use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::configuration::RTCConfigurationBuilder;
use rtc::rtp_transceiver::rtp_sender::{
    RTCRtpCodec, RTCRtpCodingParameters, RTCRtpEncodingParameters, RTCRtpRtxParameters, RtpCodecKind,
};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::peer_connection::{PeerConnection, PeerConnectionBuilder, RTCIceServer, RTCIceTransportPolicy};
use webrtc::rtp_transceiver::RtpTransceiver;
use webrtc::runtime::Runtime;

use super::cause::{self, Usable};
use super::clock::PeerClock;
use super::config::{IcePolicy, IceServer, IceServerKind, IceUrl, PeerConfig};
use super::early::Early;
use super::heard::Heard;
use super::negotiate::Exchange;
use super::network::{BindTo, Network};
use super::payload_limit::PayloadLimit;
use super::runtime::SettlingRuntime;
use super::send::{Outlets, SendState};
use super::servers::Servers;
use super::shared::{Handler, Shared};
use super::{EVENTS_MAX, Inbox, Peer, PeerError, PeerEvent, engine, random_u32, receive, watch};

/// What fails when there are no sockets.
const SETTING_UP: &str = "setting up the connection for media";

/// Sound or pictures of a call: one transceiver for the whole of it, whichever way it flows at the moment.
pub(super) struct Medium {
    pub(super) kind: &'static str,
    pub(super) transceiver: Arc<dyn RtpTransceiver>,
    pub(super) track: Arc<TrackLocalStaticRTP>,
    pub(super) ssrc: u32,
}

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
        let target_bps = Arc::new(AtomicU32::new(config.bitrate.start_bps));
        let payload = Arc::new(PayloadLimit::default());
        let sending = Arc::new(SendState::new(Arc::clone(&target_bps), Arc::clone(&payload)));
        let servers = Arc::new(Servers::new(&config.ice_servers));
        let addresses = network.addresses();
        let shared =
            Shared::new(events_tx, tracks_tx, inbox, Arc::clone(&sending), Arc::clone(&servers), addresses.clone());
        let shared = Arc::new(shared);
        let heard = Arc::new(Heard::default());
        let early = Arc::new(Early::default());
        let seen = (Arc::clone(&heard), Arc::clone(&payload), servers);
        let settling =
            SettlingRuntime::new(runtime, Arc::clone(&network), seen, Arc::clone(&early), config.impairments.clone());
        let settling = Arc::new(settling);
        let takes_multicast = network.takes_multicast();
        let clock = PeerClock::default();
        let foundation = Foundation {
            network: Arc::clone(&network),
            takes_multicast,
            settling: Arc::clone(&settling),
            target_bps,
            clock: clock.clone(),
            payload,
        };
        let connection = foundation.build(config, &shared).await.map_err(|error| {
            let bind_to = BindTo { network: Arc::clone(&network), loopback: config.loopback };
            let wanted: Vec<SocketAddr> = bind_to.to_socket_addrs().into_iter().flatten().collect();
            let usable = if addresses.usable.is_empty() { Usable::None } else { Usable::Some };
            PeerError::new(SETTING_UP, cause::of_sockets(&wanted, usable).unwrap_or_else(|| error.to_string()))
        })?;

        let audio = local_track(RtpCodecKind::Audio, engine::audio_codec(), random_u32(), None);
        let audio = medium(&*connection, "audio", audio).await?;
        let video_codecs = engine::video_codecs(config);
        let video = match video_codecs.first() {
            Some(first) => {
                let track = local_track(RtpCodecKind::Video, first.rtp_codec.clone(), random_u32(), Some(random_u32()));
                let video = medium(&*connection, "video", track).await?;
                // Offers all codecs: a track alone would offer the one it was made for.
                let preferred = video.transceiver.set_codec_preferences(video_codecs).await;
                preferred.map_err(|error| PeerError::new("choosing codecs", error))?;
                Some(video)
            }
            None => None,
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(receive::route_tracks(tracks, shared.inbox.clone(), shared.keyframes.clone()));
        let watched = (Arc::clone(&connection), Arc::clone(&network), Arc::clone(&settling));
        tasks.spawn(watch::run(Arc::clone(&shared), Arc::clone(&heard), watched.0, watched.1, watched.2));
        let peer = Self {
            connection,
            shared,
            heard,
            early,
            network,
            takes_multicast,
            video,
            audio,
            exchange: Mutex::new(Exchange::new(config.video, config.audio)),
            renewed_servers: Mutex::new(None),
            outlets: Mutex::new(Outlets::new(sending)),
            remote_addresses: Mutex::default(),
            tasks: Mutex::new(tasks),
            clock,
            settling,
        };
        Ok((peer, events))
    }
}

/// What the engine stands on.
struct Foundation {
    network: Arc<dyn Network>,
    takes_multicast: bool,
    settling: Arc<SettlingRuntime>,
    target_bps: Arc<AtomicU32>,
    clock: PeerClock,
    payload: Arc<PayloadLimit>,
}

impl Foundation {
    async fn build(
        self,
        config: &PeerConfig,
        shared: &Arc<Shared>,
    ) -> rtc::shared::error::Result<Arc<dyn PeerConnection>> {
        let mut media = engine::media_engine(config)?;
        let published = (self.target_bps, self.payload);
        let interceptors = engine::interceptors(&mut media, config.bitrate, published, self.clock)?;
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
            .with_setting_engine(engine::settings(self.takes_multicast, config.ice_policy))
            .with_handler(Arc::new(Handler(Arc::clone(shared))))
            .with_udp_addrs(vec![BindTo { network: self.network, loopback: config.loopback }])
            .build()
            .await?;
        Ok(Arc::new(connection))
    }
}

/// The servers as the engine takes them.
pub(super) fn for_engine(servers: &[IceServer], policy: IcePolicy) -> Vec<RTCIceServer> {
    let server = |server: &IceServer| RTCIceServer {
        urls: vec![server.url.to_string()],
        username: server.username.clone(),
        credential: server.password.clone(),
    };
    let outer = also_stun(servers, policy).into_iter();
    let outer = outer.map(|url| RTCIceServer { urls: vec![url], ..RTCIceServer::default() });
    servers.iter().map(server).chain(outer).collect()
}

/// TURN servers that are to be asked for our outer address as well, which each of them tells (RFC 8656 §3.1): two who
/// could meet directly need no relay. As addresses of STUN servers, without those that are named as such.
fn also_stun(servers: &[IceServer], policy: IcePolicy) -> Vec<String> {
    if policy == IcePolicy::RelayOnly {
        return Vec::new();
    }
    let as_stun = |server: &IceServer| IceUrl { kind: IceServerKind::Stun, ..server.url.clone() };
    let named = |url: &IceUrl| servers.iter().any(|server| server.url == *url);
    let turn = servers.iter().filter(|server| server.url.kind == IceServerKind::Turn);
    let mut urls: Vec<String> = turn.map(as_stun).filter(|url| !named(url)).map(|url| url.to_string()).collect();
    urls.dedup();
    urls
}

/// Adds a track, and finds the transceiver that it came with.
async fn medium(
    connection: &dyn PeerConnection,
    kind: &'static str,
    (track, ssrc): (TrackLocalStaticRTP, u32),
) -> Result<Medium, PeerError> {
    let track = Arc::new(track);
    let sender = Arc::clone(&track) as Arc<dyn TrackLocal>;
    let added = connection.add_transceiver_from_track(sender, None).await;
    let transceiver = added.map_err(|error| PeerError::new("adding a track", error))?;
    Ok(Medium { kind, transceiver, track, ssrc })
}

fn local_track(kind: RtpCodecKind, codec: RTCRtpCodec, ssrc: u32, rtx_ssrc: Option<u32>) -> (TrackLocalStaticRTP, u32) {
    let name = if kind == RtpCodecKind::Video { "video" } else { "audio" };
    let coding = RTCRtpCodingParameters {
        ssrc: Some(ssrc),
        rtx: rtx_ssrc.map(|ssrc| RTCRtpRtxParameters { ssrc }),
        ..Default::default()
    };
    let encoding = RTCRtpEncodingParameters { rtp_coding_parameters: coding, codec, ..Default::default() };
    // The engine routes RTCP by track id and would mix up two sides that use the same one.
    let id = format!("{name}-{ssrc:08x}");
    // One stream for both, so that the other side plays them in sync (RFC 8830 §2).
    let track = TrackLocalStaticRTP::new(MediaStreamTrack::new("tring".into(), id, name.into(), kind, vec![encoding]));
    (track, ssrc)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_server_is_asked_for_the_outer_address_too() {
        let asked = |urls: &[&str], policy| {
            let server = |url: &&str| {
                let (username, password) = (String::new(), String::new());
                IceServer { url: url.parse().unwrap(), username, password }
            };
            also_stun(&urls.iter().map(server).collect::<Vec<_>>(), policy)
        };
        assert_eq!(asked(&["turn:a", "stun:b"], IcePolicy::All), ["stun:a:3478"]);
        assert!(asked(&["turn:a", "stun:a"], IcePolicy::All).is_empty(), "it is named as one");
        assert!(asked(&["turn:a"], IcePolicy::RelayOnly).is_empty(), "that would show the address");
    }
}
