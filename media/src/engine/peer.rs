//! [`Peer`]: owns the state of one peer connection. Offer, answer and candidates are in files of their own.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::debug;
use webrtc::peer_connection::PeerConnection;
use webrtc::runtime::default_runtime;

use super::config::PeerConfig;
use super::cookie_random::CookieProvider;
use super::events::{Families, PathSeen, PeerError, PeerEvent};
use super::exchange::Exchange;
use super::machine::ThisMachine;
use super::medium::Medium;
use super::runtime::SettlingRuntime;
use super::shared::Shared;
use super::sockets::dtls_cookie::CookieExchange;
use super::sockets::dtls_resending::Resends;
use super::sockets::early::Early;
use super::tracks::local::Outlets;
use super::{setup, stats};
use crate::path::addresses::Network;
use crate::path::dtls_cookie::Cookie;
use crate::path::ice_server::{IceServer, Loopback};
use crate::path::pair::PathStats;
use crate::path::receive_counter::ReceiveCounter;
use crate::path::remote_addresses::RemoteAddresses;
use crate::path::watch::Expectation;
use crate::receive::inbox::Inbox;
use crate::receive::keyframes::KeyframeRequester;
use crate::receive::peer_clock::PeerClock;
use crate::sdp::negotiated::{Direction, Negotiated};
use crate::send::media_sender::{AudioStream, MediaSender, Silence, VideoStream};

/// One peer connection. Call [`Peer::close`] when done; dropping it ends its tasks but tells no TURN server.
pub struct Peer {
    pub(super) connection: Arc<dyn PeerConnection>,
    pub(super) shared: Arc<Shared>,
    pub(super) received: Arc<ReceiveCounter>,
    pub(super) early: Arc<Early>,
    pub(super) resends: Arc<Resends>,
    /// What a DTLS client has to say to us, told with our first offer.
    pub(super) cookie: Cookie,
    pub(super) cookie_exchange: Arc<CookieExchange>,
    pub(super) provider: Arc<CookieProvider>,
    pub(super) network: Arc<dyn Network>,
    pub(super) video: Option<Medium>,
    pub(super) audio: Medium,
    pub(super) exchange: Mutex<Exchange>,
    /// What the next ICE restart asks, where that is not what was asked before.
    pub(super) renewed_servers: Mutex<Option<Vec<IceServer>>>,
    pub(super) outlets: Mutex<Outlets>,
    pub(super) remote_addresses: Mutex<RemoteAddresses>,
    pub(super) tasks: Mutex<JoinSet<()>>,
    /// Names of the other side's candidates that are being looked up for the path in use.
    pub(super) lookups: Mutex<JoinSet<()>>,
    pub(super) clock: PeerClock,
    pub(super) settling: Arc<SettlingRuntime>,
}

impl std::fmt::Debug for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peer").finish_non_exhaustive()
    }
}

impl Peer {
    /// Sets a peer connection up; nothing is sent yet.
    ///
    /// # Errors
    /// [`PeerError`] when sockets cannot be opened or the engine refuses the configuration.
    pub async fn new(config: &PeerConfig, inbox: Inbox) -> Result<(Self, mpsc::Receiver<PeerEvent>), PeerError> {
        let runtime = default_runtime().expect("the engine is built with its tokio runtime");
        Self::on(runtime, Arc::new(ThisMachine), config, inbox).await
    }

    /// Says which media are to be sent from the next update on. A medium that is not sent is received all the same.
    pub fn set_sending(&self, video: Direction, audio: Direction) {
        let mut exchange = self.exchange();
        (exchange.video, exchange.audio) = (video, audio);
    }

    /// The servers that the next ICE restart asks: those of the configuration with logins made now, since the ones of the
    /// beginning may have expired. Allocations that stand keep theirs (RFC 8656 §5).
    pub fn set_ice_servers(&self, servers: Vec<IceServer>) {
        *self.renewed_servers.lock().unwrap_or_else(PoisonError::into_inner) = Some(servers);
    }

    /// True when this machine has other addresses than those that sockets are bound to.
    #[must_use]
    pub fn is_outdated(&self) -> bool {
        let now = self.network.addresses().usable;
        self.shared.watch().bound() != now
    }

    /// Says what should come from the other side; at first all that it promised.
    pub fn expect_media(&self, expectation: Expectation) {
        self.shared.watch().expect(expectation);
    }

    /// A sender for what was negotiated; encoders speak to it. To be called again after each update: senders of before
    /// go on to work for what they were made for.
    #[must_use]
    pub fn start_sending(&self, negotiated: &Negotiated) -> MediaSender {
        let video = match (negotiated.video, &self.video) {
            (Some((codec, payload_type)), Some(medium)) if negotiated.granted.video => {
                Some((&medium.track, VideoStream { codec, payload_type, ssrc: medium.ssrc }))
            }
            (Some(_) | None, Some(_) | None) => None,
        };
        let silence = if negotiated.prefers_dtx { Silence::LeftOut } else { Silence::Sent };
        let audio = negotiated.audio.filter(|_| negotiated.granted.audio).map(|payload_type| {
            (&self.audio.track, AudioStream { payload_type, red: negotiated.red, silence, ssrc: self.audio.ssrc })
        });
        self.outlets.lock().unwrap_or_else(PoisonError::into_inner).sender(&mut self.tasks(), video, audio)
    }

    /// Asks the other side for keyframes.
    #[must_use]
    pub fn keyframes(&self) -> KeyframeRequester {
        self.shared.keyframes.clone()
    }

    /// The selected pair and its round trip; `None` before there is one.
    pub async fn path(&self) -> Option<PathStats> {
        let path = stats::path(&*self.connection, &self.shared.servers, |address| self.shared.told_of(address)).await;
        if let Some(round_trip) = path.as_ref().and_then(|path| path.round_trip) {
            self.clock.stun_round_trip(round_trip);
        }
        path
    }

    /// How the clock of the other side stands to ours.
    #[must_use]
    pub fn clock(&self) -> PeerClock {
        self.clock.clone()
    }

    /// What was seen of the path so far.
    #[must_use]
    pub fn seen(&self) -> PathSeen {
        let watch = self.shared.watch();
        let has = |is_ipv4: bool| watch.bound().iter().any(|ip| ip.is_ipv4() == is_ipv4);
        let families = Families { ipv4: has(true), ipv6: has(false) };
        drop(watch);
        PathSeen {
            families,
            relays: self.shared.servers.relays(Instant::now()),
            heard: self.received.count() > 0,
            handshake: self.resends.seen(),
            theirs: *self.remote_addresses(),
        }
    }

    /// Ends the connection: releases TURN allocations, stops all tasks.
    pub async fn close(&self) {
        self.settling.close();
        if let Err(error) = self.connection.close().await {
            debug!(%error, "peer connection did not close cleanly");
        }
        let mut tasks = std::mem::take(&mut *self.tasks());
        tasks.shutdown().await;
    }

    pub(super) fn agreed(&self, theirs: &str, negotiated: &Negotiated) {
        let mut exchange = self.exchange();
        exchange.theirs = Some(theirs.to_owned());
        exchange.offered = None;
        drop(exchange);
        self.shared.watch().promise(negotiated.promised.video || negotiated.promised.audio);
    }

    /// Tells the engine which video codec was agreed on, before it begins to send. Where we send no pictures, it has
    /// nothing that sends them.
    pub(super) async fn name_codec(&self, agreed: &Negotiated) {
        let (Some(medium), Some((codec, _)), true) = (&self.video, agreed.video, agreed.granted.video) else { return };
        if let Err(error) = medium.name_codec(setup::video_codec(codec).rtp_codec).await {
            // The call goes on, but what is lost of our pictures may not be repaired.
            debug!(%error, "the engine does not know which codec is sent");
        }
    }

    /// Our media, each with what we want of it.
    pub(super) fn media(&self) -> Vec<(&Medium, Direction)> {
        let (video, audio) = {
            let exchange = self.exchange();
            (exchange.video, exchange.audio)
        };
        let pictures = self.video.as_ref().map(|medium| (medium, video));
        std::iter::once((&self.audio, audio)).chain(pictures).collect()
    }

    pub(super) fn tasks(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn remote_addresses(&self) -> MutexGuard<'_, RemoteAddresses> {
        self.remote_addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn exchange(&self) -> MutexGuard<'_, Exchange> {
        self.exchange.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// True when this machine has an address at which the other side may reach it: also in a network without a way out,
/// and its own where both are meant to be on it.
#[must_use]
pub fn has_network(loopback: Loopback) -> bool {
    loopback == Loopback::Include || !ThisMachine.addresses().usable.is_empty()
}
