//! Two peer connections in one process, each at a place of its own: addresses 127.0.0.x that can change and be cut off.

mod directions;
mod garbage;
mod handshake;
mod impaired;
mod negotiation;
mod relay;
mod restart;
mod set_up;
mod silence;
mod sound;
mod streams;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use rtc::peer_connection::transport::RTCDtlsTransportState;
use tokio::sync::mpsc;
use webrtc::runtime::{
    AsyncInterval, AsyncTcpListener, AsyncTcpStream, AsyncUdpSocket, JoinHandle, RecvMeta, Runtime, Transmit,
    default_runtime,
};

use super::config::PeerConfig;
use super::peer::Peer;
use super::sockets::impaired::ImpairHandle;
use super::stats;
use crate::congestion::BitrateLimits;
use crate::engine::dial::Dialer;
use crate::engine::events::PeerEvent;
use crate::frame::{EncodedAudio, EncodedVideo, VideoCodec};
use crate::path::addresses::{Addresses, Network};
use crate::path::ice_server::{IcePolicy, IceServer, IceUrl, Loopback};
use crate::path::watch::Expectation;
use crate::queue;
use crate::receive::inbox::Inbox;
use crate::rtp::RtpPacket;
use crate::sdp::continuity::Renewal;
use crate::sdp::negotiated::{Direction, Negotiated};
use crate::send::media_sender::MediaSender;
use crate::send::redundancy::Copies;

/// How often media are sent and events looked at.
const STEP: Duration = Duration::from_millis(20);

fn config(codecs: &[VideoCodec], video: Direction) -> PeerConfig {
    PeerConfig {
        ice_servers: Vec::new(),
        dialer: Dialer::default(),
        ice_policy: IcePolicy::All,
        loopback: Loopback::Exclude,
        video_codecs: codecs.to_vec(),
        video,
        audio: Direction::SendReceive,
        bitrate: BitrateLimits::for_video(640 * 480 * 30),
        impairments: ImpairHandle::default(),
    }
}

fn talking() -> PeerConfig {
    config(&[VideoCodec::Vp8], Direction::SendReceive)
}

/// Where a side is: the network and the runtime of its peer connection.
#[derive(Debug)]
struct Place {
    addresses: Mutex<Addresses>,
    gate: Arc<Gate>,
    inner: Arc<dyn Runtime>,
}

/// What its sockets let through.
#[derive(Debug, Default)]
struct Gate {
    cut: Mutex<BTreeSet<IpAddr>>,
    /// DTLS handshake records sent.
    handshakes: AtomicU64,
    /// Flights of the DTLS handshake (RFC 6347 §4.2.4), and how often each is still to be lost on its way out.
    lost: Mutex<BTreeMap<u8, u32>>,
}

impl Gate {
    /// True when a datagram belongs to a flight that is to be lost once more.
    fn loses(&self, datagram: &[u8]) -> bool {
        let mut lost = self.lost.lock().unwrap();
        let left = handshake::flight(datagram).and_then(|flight| lost.get_mut(&flight)).filter(|left| **left > 0);
        left.map(|left| *left -= 1).is_some()
    }
}

impl Place {
    fn at(last: u8) -> Arc<Self> {
        Arc::new(Self {
            addresses: Mutex::new(addresses(last)),
            gate: Arc::default(),
            inner: default_runtime().unwrap(),
        })
    }

    /// Nothing comes and goes at the address of now any more.
    fn cut(&self) {
        let now = self.addresses.lock().unwrap().usable.to_vec();
        self.gate.cut.lock().unwrap().extend(now);
    }

    fn mend(&self) {
        self.gate.cut.lock().unwrap().clear();
    }

    /// The address of now is gone, and there is another.
    fn move_to(&self, last: u8) {
        self.cut();
        *self.addresses.lock().unwrap() = addresses(last);
    }
}

fn addresses(last: u8) -> Addresses {
    let ip = IpAddr::from([127, 0, 0, last]);
    Addresses { usable: vec![ip], way_out: Some(ip) }
}

impl Network for Place {
    fn addresses(&self) -> Addresses {
        self.addresses.lock().unwrap().clone()
    }

    fn way_to(&self, _: IpAddr) -> Option<IpAddr> {
        self.addresses.lock().unwrap().way_out
    }
}

#[derive(Debug)]
struct GateSocket {
    inner: Arc<dyn AsyncUdpSocket>,
    gate: Arc<Gate>,
}

impl GateSocket {
    fn is_cut(&self) -> bool {
        self.gate.cut.lock().unwrap().contains(&self.inner.local_addr().unwrap().ip())
    }
}

impl AsyncUdpSocket for GateSocket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn poll_send(&self, cx: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<usize>> {
        if self.is_cut() || self.gate.loses(transmit.contents) {
            return Poll::Ready(Ok(transmit.contents.len()));
        }
        // Record type handshake (RFC 6347 §4.1).
        if transmit.contents.first() == Some(&22) {
            self.gate.handshakes.fetch_add(1, Ordering::Relaxed);
        }
        self.inner.poll_send(cx, transmit)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        loop {
            let received = self.inner.poll_recv(cx, bufs, meta);
            if !matches!(received, Poll::Ready(Ok(_))) || !self.is_cut() {
                return received;
            }
        }
    }

    fn max_gro_segments(&self) -> usize {
        self.inner.max_gro_segments()
    }
}

impl Runtime for Place {
    fn wrap_udp_socket(&self, socket: std::net::UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        Ok(Arc::new(GateSocket { inner: self.inner.wrap_udp_socket(socket)?, gate: Arc::clone(&self.gate) }))
    }

    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) -> Box<dyn JoinHandle> {
        self.inner.spawn(future)
    }

    fn wrap_tcp_listener(&self, listener: std::net::TcpListener) -> io::Result<Arc<dyn AsyncTcpListener>> {
        self.inner.wrap_tcp_listener(listener)
    }

    fn connect_tcp<'a>(
        &'a self,
        remote_addr: SocketAddr,
    ) -> Pin<Box<dyn Future<Output = io::Result<Arc<dyn AsyncTcpStream>>> + Send + 'a>> {
        self.inner.connect_tcp(remote_addr)
    }

    fn resolve_host<'a>(
        &'a self,
        host: &'a str,
    ) -> Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'a>> {
        self.inner.resolve_host(host)
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + 'static>> {
        self.inner.sleep(duration)
    }

    fn interval(&self, period: Duration) -> Box<dyn AsyncInterval> {
        self.inner.interval(period)
    }

    fn block_on(&self, future: Pin<Box<dyn Future<Output = ()> + '_>>) {
        self.inner.block_on(future);
    }
}

/// One side of a call, which sends made-up media and notes what comes.
struct Side {
    peer: Peer,
    place: Arc<Place>,
    events: mpsc::Receiver<PeerEvent>,
    video: queue::Receiver<RtpPacket>,
    audio: queue::Receiver<RtpPacket>,
    sender: Option<MediaSender>,
    /// Events but candidates, with the time they came.
    told: Vec<(Instant, String)>,
    /// Candidates that came as events.
    trickled: Vec<String>,
    /// When the last packet of each medium came, and how many did.
    video_heard: (Option<Instant>, usize),
    audio_heard: (Option<Instant>, usize),
    /// Sequence numbers of the sound that came.
    sequences: Vec<u16>,
}

impl Side {
    async fn at(place: Arc<Place>, config: &PeerConfig) -> Self {
        let (video_tx, video) = queue::bounded(2048);
        let (audio_tx, audio) = queue::bounded(2048);
        let inbox = Inbox { video: video_tx, audio: audio_tx };
        let (runtime, network) = (Arc::clone(&place), Arc::clone(&place));
        let (peer, events) = Peer::on(runtime, network, config, inbox).await.unwrap();
        Self {
            peer,
            place,
            events,
            video,
            audio,
            sender: None,
            told: Vec::new(),
            trickled: Vec::new(),
            video_heard: (None, 0),
            audio_heard: (None, 0),
            sequences: Vec::new(),
        }
    }

    fn send(&self, step: u64) {
        let Some(sender) = &self.sender else { return };
        let captured_at = Instant::now();
        sender.audio(EncodedAudio { data: vec![0x78; 60].into(), samples: 960, captured_at }, Copies::None);
        if step.is_multiple_of(2) {
            sender.video(EncodedVideo { data: vec![0x10; 2500].into(), keyframe: true, captured_at });
        }
    }

    fn receive(&mut self) {
        while let Some(packet) = self.video.try_recv() {
            self.video_heard = (Some(packet.arrived), self.video_heard.1 + 1);
        }
        while let Some(packet) = self.audio.try_recv() {
            self.audio_heard = (Some(packet.arrived), self.audio_heard.1 + 1);
            self.sequences.push(packet.sequence);
        }
    }

    /// Sends, takes what came, and passes candidates on.
    async fn step(&mut self, step: u64, other: &Peer) {
        self.send(step);
        self.receive();
        while let Ok(event) = self.events.try_recv() {
            match event {
                PeerEvent::Candidates(candidates) => {
                    self.trickled.extend(candidates.iter().map(|candidate| candidate.candidate.clone()));
                    other.add_candidates(candidates).await;
                }
                event => self.told.push((Instant::now(), format!("{event:?}"))),
            }
        }
    }

    fn was_told(&self, event: &str) -> usize {
        self.told.iter().filter(|(_, told)| told == event).count()
    }

    fn told_at(&self, event: &str) -> Option<Instant> {
        self.told.iter().find(|(_, told)| told == event).map(|(at, _)| *at)
    }

    /// True when both media came after `since`.
    fn hears_and_sees_since(&self, since: Instant) -> bool {
        let after = |heard: (Option<Instant>, usize)| heard.0.is_some_and(|at| at > since);
        after(self.video_heard) && after(self.audio_heard)
    }

    async fn dtls(&self) -> RTCDtlsTransportState {
        stats::transport(&*self.peer.connection).await.unwrap().state().await.unwrap()
    }
}

/// A call of alice's to bob, with signalling that takes no time.
struct Call {
    alice: Side,
    bob: Side,
    step: u64,
}

impl Call {
    /// A call that stands, both sides sending.
    async fn standing(alice: &PeerConfig, bob: &PeerConfig) -> Self {
        let mut call = Self::connected(alice, bob).await;
        call.until("first media", Duration::from_secs(5), |call| {
            call.alice.audio_heard.1 > 0 && call.bob.audio_heard.1 > 0
        })
        .await;
        call
    }

    /// A call whose path has just been found.
    async fn connected(alice: &PeerConfig, bob: &PeerConfig) -> Self {
        Self::between([Place::at(11), Place::at(21)], alice, bob).await
    }

    /// The same between two places.
    async fn between(places: [Arc<Place>; 2], alice: &PeerConfig, bob: &PeerConfig) -> Self {
        Self::with_offer(places, alice, bob, |offer| offer).await
    }

    /// The same with the offer that bob gets changed.
    async fn with_offer(
        [at_alice, at_bob]: [Arc<Place>; 2],
        alice: &PeerConfig,
        bob: &PeerConfig,
        changed: fn(String) -> String,
    ) -> Self {
        let (alice, bob) = (Side::at(at_alice, alice).await, Side::at(at_bob, bob).await);
        let mut offer = alice.peer.offer().await.unwrap();
        offer.sdp = changed(offer.sdp);
        let (answer, at_bob) = bob.peer.answer(&offer.sdp).await.unwrap();
        assert_eq!(bob.peer.add_candidates(offer.candidates).await, 0);
        let at_alice = alice.peer.apply_answer(&answer.sdp).await.unwrap();
        assert_eq!(alice.peer.add_candidates(answer.candidates).await, 0);
        let mut call = Self { alice, bob, step: 0 };
        call.until("a path", Duration::from_secs(5), |call| {
            call.alice.was_told("Connected") > 0 && call.bob.was_told("Connected") > 0
        })
        .await;
        call.start(&at_alice, &at_bob);
        call
    }

    fn start(&mut self, at_alice: &Negotiated, at_bob: &Negotiated) {
        self.alice.sender = Some(self.alice.peer.start_sending(at_alice));
        self.bob.sender = Some(self.bob.peer.start_sending(at_bob));
    }

    /// An update by the caller, and what both sides hold agreed.
    async fn update(&mut self, renewal: Renewal) -> (Negotiated, Negotiated) {
        let offer = self.alice.peer.update_offer(renewal).await.unwrap();
        let (answer, at_bob) = self.bob.peer.answer_update(&offer.sdp).await.unwrap();
        self.bob.peer.add_candidates(offer.candidates).await;
        let at_alice = self.alice.peer.apply_update(&answer.sdp).await.unwrap();
        self.alice.peer.add_candidates(answer.candidates).await;
        self.start(&at_alice, &at_bob);
        (at_alice, at_bob)
    }

    async fn step(&mut self) {
        tokio::time::sleep(STEP).await;
        self.step += 1;
        self.alice.step(self.step, &self.bob.peer).await;
        self.bob.step(self.step, &self.alice.peer).await;
    }

    async fn run(&mut self, length: Duration) {
        let end = Instant::now() + length;
        while Instant::now() < end {
            self.step().await;
        }
    }

    /// Goes on until something holds, and says how long that took.
    async fn until(&mut self, what: &str, max: Duration, holds: impl Fn(&Self) -> bool) -> Duration {
        let start = Instant::now();
        while !holds(self) {
            let told = [&self.alice.told, &self.bob.told];
            assert!(start.elapsed() < max, "waited {max:?} for {what}; told so far: {told:?}");
            self.step().await;
        }
        start.elapsed()
    }

    /// Goes on until both sides hear and see what was sent after now.
    async fn until_healed(&mut self, max: Duration) -> Duration {
        let since = Instant::now();
        self.until("media of both sides", max, |call| {
            call.alice.hears_and_sees_since(since) && call.bob.hears_and_sees_since(since)
        })
        .await
    }

    fn handshakes(&self) -> u64 {
        [&self.alice, &self.bob].iter().map(|side| side.place.gate.handshakes.load(Ordering::Relaxed)).sum()
    }

    async fn end(self) {
        self.alice.peer.close().await;
        self.bob.peer.close().await;
    }
}

/// The values of an attribute.
fn values<'a>(sdp: &'a str, name: &str) -> BTreeSet<&'a str> {
    sdp.lines().filter_map(|line| line.trim_end().strip_prefix(name)).collect()
}
