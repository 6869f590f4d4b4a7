//! Offer and answer, at first and in mid-call.
//!
//! One side, the caller, makes all offers of a call. An offer that is not answered may be followed by another, which
//! then stands for both. A description that cannot be used changes nothing: the call goes on as it was, and a better one
//! may still come.
//!
//! Media and path are renewed apart: [`Renewal::Media`] leaves sockets and candidates alone.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use rtc::peer_connection::configuration::{RTCConfigurationBuilder, RTCOfferOptions};
use rtc::rtp_transceiver::RTCRtpTransceiverDirection;
use tracing::debug;
use webrtc::peer_connection::{RTCIceCandidateInit, RTCIceTransportPolicy, RTCSessionDescription};

use super::build::{Medium, for_engine};
use super::candidates::{Taken, Verdict};
use super::config::{Direction, IcePolicy};
use super::early::Awaited;
use super::foreign::{Refused, Setup};
use super::sdp::{self, Negotiated, Section};
use super::{IceCandidate, LocalDescription, Peer, PeerError, RemoteAddresses, Renewal, continuity, foreign};

/// How long a description waits for candidates.
#[derive(Clone, Copy)]
struct Patience {
    /// For the first: without one a description is of little use.
    first: Duration,
    /// For the rest, after that.
    rest: Duration,
}

/// An offer: a person answers much later.
const OFFER: Patience = Patience { first: Duration::from_millis(500), rest: Duration::from_millis(150) };

/// An answer: someone looks at a black screen meanwhile.
const ANSWER: Patience = Patience { first: Duration::from_millis(500), rest: Duration::from_millis(20) };

/// An update that restarts ICE: nobody hears anything meanwhile, and the other side has to restart too.
const UPDATE: Patience = Patience { first: Duration::from_millis(150), rest: Duration::from_millis(20) };

/// How long candidates are waited for when each server has answered on some address.
const STRAGGLERS: Duration = Duration::from_millis(20);

/// How often it is looked whether they have.
const LOOK: Duration = Duration::from_millis(5);

/// Where offer and answer stand.
#[derive(Debug)]
pub(super) struct Exchange {
    /// What we want to send.
    pub(super) video: Direction,
    pub(super) audio: Direction,
    /// The last description of the other side that was agreed on.
    theirs: Option<String>,
    /// An offer of ours that waits for its answer.
    offered: Option<Offered>,
    /// Candidates of the other side that were taken for the path in use.
    remote_candidates: Taken,
    /// Who begins DTLS, as our answers say it.
    setup: Setup,
    /// The version of our last description.
    version: u64,
}

#[derive(Clone, Debug)]
struct Offered {
    sdp: String,
    renewal: Renewal,
}

impl Exchange {
    pub(super) fn new(video: Direction, audio: Direction) -> Self {
        Self {
            video,
            audio,
            theirs: None,
            offered: None,
            remote_candidates: Taken::default(),
            setup: Setup::Active,
            version: 0,
        }
    }

    /// A description of ours as it is sent: of each the version is one above that of the last (RFC 8829 §5.2.2).
    fn numbered(&mut self, sdp: &str) -> String {
        self.version += 1;
        foreign::with_version(sdp, self.version)
    }
}

impl Peer {
    /// Makes an offer and starts gathering.
    ///
    /// # Errors
    /// [`PeerError`] when the engine refuses.
    pub async fn offer(&self) -> Result<LocalDescription, PeerError> {
        let sdp = self.describe("making an offer", Renewal::Media).await?;
        Ok(LocalDescription { sdp, candidates: self.gather(OFFER).await, renewed: Renewal::Media })
    }

    /// Takes an offer, makes the answer and starts gathering.
    ///
    /// # Errors
    /// [`PeerError`] when the offer is broken or has nothing in common with us.
    pub async fn answer(&self, offer: &str) -> Result<(LocalDescription, Negotiated), PeerError> {
        let (sdp, negotiated) = self.accept(&foreign::bundled(offer), Renewal::Media).await?;
        Ok((LocalDescription { sdp, candidates: self.gather(ANSWER).await, renewed: Renewal::Media }, negotiated))
    }

    /// Takes the answer to our offer.
    ///
    /// # Errors
    /// [`PeerError`] when the answer is broken or does not fit the offer.
    pub async fn apply_answer(&self, answer: &str) -> Result<Negotiated, PeerError> {
        self.conclude(&foreign::bundled(answer)).await
    }

    /// Makes an offer in mid-call, for media as [`Peer::set_sending`] says and, with [`Renewal::Restart`], over a path
    /// to be found anew. Candidates are then gathered and told as they were at first. For the caller of the call alone.
    ///
    /// # Errors
    /// [`PeerError`] when there was no first offer and answer, there is no network, or the engine refuses.
    pub async fn update_offer(&self, renewal: Renewal) -> Result<LocalDescription, PeerError> {
        const OPERATION: &str = "making an update";
        let renewal = {
            let exchange = self.exchange();
            if exchange.theirs.is_none() {
                return Err(PeerError::new(OPERATION, "there is no call yet"));
            }
            match &exchange.offered {
                // The path that an offer renewed is gone, whether or not it was heard.
                Some(Offered { renewal: Renewal::Restart, .. }) => Renewal::Restart,
                Some(Offered { renewal: Renewal::Media, .. }) | None => renewal,
            }
        };
        self.check_network(OPERATION, renewal)?;
        let sdp = self.describe(OPERATION, renewal).await?;
        Ok(LocalDescription { sdp, candidates: self.gather_for(renewal).await, renewed: renewal })
    }

    /// Takes an offer in mid-call and makes the answer, with media as [`Peer::set_sending`] says; where the offer
    /// restarts ICE, this side does too.
    ///
    /// # Errors
    /// [`PeerError`] when the offer is broken or cannot follow what was agreed on; the call then goes on as it was.
    pub async fn answer_update(&self, offer: &str) -> Result<(LocalDescription, Negotiated), PeerError> {
        const OPERATION: &str = "answering an update";
        let unfit = |reason: &str| PeerError::new(OPERATION, reason);
        let offer = foreign::bundled(offer);
        let offer = offer.as_str();
        let renewal = {
            let exchange = self.exchange();
            let before = exchange.theirs.as_deref().ok_or_else(|| unfit("there is no call yet"))?;
            if exchange.offered.is_some() {
                return Err(unfit("an update of ours is under way"));
            }
            continuity::of_offer(before, offer).map_err(|error| PeerError::new(OPERATION, error))?
        };
        self.check_network(OPERATION, renewal)?;
        let (sdp, negotiated) = self.accept(offer, renewal).await?;
        Ok((LocalDescription { sdp, candidates: self.gather_for(renewal).await, renewed: renewal }, negotiated))
    }

    /// Takes the answer to an update of ours.
    ///
    /// # Errors
    /// [`PeerError`] when the answer is broken or does not fit; the call then goes on as it was, and another answer, or
    /// at any rate another update, may follow.
    pub async fn apply_update(&self, answer: &str) -> Result<Negotiated, PeerError> {
        const OPERATION: &str = "reading the answer to an update";
        let answer = foreign::bundled(answer);
        let answer = answer.as_str();
        {
            let exchange = self.exchange();
            let (Some(before), Some(offered)) = (&exchange.theirs, &exchange.offered) else {
                return Err(PeerError::new(OPERATION, "no update of ours waits for one"));
            };
            continuity::of_answer(&offered.sdp, offered.renewal, before, answer)
                .map_err(|error| PeerError::new(OPERATION, error))?;
        }
        self.conclude(answer).await
    }

    /// Takes candidates of the other side, also none: what came before its answer waits for this. How many were left
    /// out, because they are broken or too many.
    pub async fn add_candidates(&self, candidates: Vec<IceCandidate>) -> usize {
        let mut left_out = 0;
        for candidate in candidates {
            // An empty line ends the list (W3C WebRTC §4.8.1.1); the engine needs no such mark.
            if candidate.candidate.is_empty() {
                continue;
            }
            self.remote_addresses().note(&candidate.candidate);
            match self.exchange().remote_candidates.judge(&candidate.candidate) {
                Verdict::Take => {}
                Verdict::OfNoUse => continue,
                Verdict::Broken | Verdict::TooMany => {
                    left_out += 1;
                    continue;
                }
            }
            let init = RTCIceCandidateInit {
                candidate: candidate.candidate,
                sdp_mid: candidate.mid,
                sdp_mline_index: candidate.mline,
                ..Default::default()
            };
            if let Err(error) = self.connection.add_ice_candidate(init).await {
                debug!(%error, "candidate of the other side left out");
                left_out += 1;
            }
        }
        // Only now, so that who checks is known by what it said of itself.
        if self.exchange().offered.is_none() {
            self.early.release();
        }
        left_out
    }

    /// Makes an offer and sets it: from then on candidates are gathered.
    async fn describe(&self, operation: &'static str, renewal: Renewal) -> Result<String, PeerError> {
        let failed = |error| PeerError::new(operation, error);
        for (medium, wanted) in self.media() {
            medium.transceiver.set_direction(direction(wanted, Wish::Receive)).await.map_err(failed)?;
        }
        let options = RTCOfferOptions { ice_restart: renewal == Renewal::Restart };
        let offer = self.connection.create_offer(Some(options)).await.map_err(failed)?;
        let sdp = self.exchange().numbered(&sdp::as_sent(&offer.sdp));
        if renewal == Renewal::Restart {
            self.use_renewed_servers().await.map_err(failed)?;
            self.renew();
        }
        let awaited = {
            let exchange = self.exchange();
            let streams_beside = exchange.theirs.as_deref().and_then(sdp::streams);
            Awaited { path: renewal == Renewal::Restart || exchange.theirs.is_none(), streams_beside }
        };
        self.early.hold(awaited);
        self.connection.set_local_description(offer).await.map_err(failed)?;
        self.exchange().offered = Some(Offered { sdp: sdp.clone(), renewal });
        Ok(sdp)
    }

    /// Takes an offer, makes the answer and sets it.
    async fn accept(&self, offer: &str, renewal: Renewal) -> Result<(String, Negotiated), PeerError> {
        let broken = |error| PeerError::new("reading the offer", error);
        let failed = |error| PeerError::new("making an answer", error);
        let before = self.begin_answer(offer)?;
        let (text, candidates) = sdp::split_candidates(offer);
        let text = foreign::readable(&sdp::without_pauses(&text), &before, Refused::Kept);
        let description = RTCSessionDescription::offer(text).map_err(broken)?;
        self.open_to(offer).await.map_err(broken)?;
        if let Err(error) = self.connection.set_remote_description(description).await {
            self.roll_back().await;
            return Err(broken(error));
        }
        if renewal == Renewal::Restart {
            self.use_renewed_servers().await.map_err(failed)?;
            self.renew();
        }
        self.add_candidates(candidates.into_iter().map(IceCandidate::from).collect()).await;
        let answered = self.settle(offer).await.map_err(failed);
        let (answer, sdp, negotiated) = match answered {
            Ok(answered) => answered,
            Err(error) => {
                self.roll_back().await;
                return Err(error);
            }
        };
        if negotiated.video.is_none() && negotiated.audio.is_none() {
            self.roll_back().await;
            return Err(PeerError::new("making an answer", "the offer has no codec that we speak"));
        }
        self.connection.set_local_description(answer).await.map_err(failed)?;
        self.agreed(offer, &negotiated);
        Ok((sdp, negotiated))
    }

    /// What the other side said before. The first offer decides who begins DTLS.
    fn begin_answer(&self, offer: &str) -> Result<String, PeerError> {
        continuity::certificate(offer).map_err(|error| PeerError::new("reading the offer", error))?;
        let mut exchange = self.exchange();
        if exchange.theirs.is_none() {
            exchange.setup = Setup::for_offer(offer);
        }
        Ok(exchange.theirs.clone().unwrap_or_default())
    }

    /// The answer to `offer`, which the engine has read: each medium flows as far as both sides want it to.
    async fn settle(&self, offer: &str) -> rtc::shared::error::Result<(RTCSessionDescription, String, Negotiated)> {
        for (medium, wanted) in self.media() {
            let mid = medium.transceiver.mid().await?;
            if let Some(section) =
                sdp::sections(offer).find(|section| section.mid.is_some() && section.mid == mid.as_deref())
            {
                medium.transceiver.set_direction(answering(wanted, &section)).await?;
            }
        }
        let answer = self.connection.create_answer(None).await?;
        let sdp = {
            let mut exchange = self.exchange();
            let setup = exchange.setup;
            exchange.numbered(&foreign::answer(&sdp::as_sent(&answer.sdp), offer, setup))
        };
        let mut negotiated = Negotiated::from_answer(&sdp);
        negotiated.promised = sdp::promised(offer);
        negotiated.granted = sdp::promised(&sdp);
        Ok((answer, sdp, negotiated))
    }

    /// Takes the answer to our offer, whichever it was.
    async fn conclude(&self, answer: &str) -> Result<Negotiated, PeerError> {
        let broken = |error| PeerError::new("reading the answer", error);
        let (text, candidates) = sdp::split_candidates(answer);
        let mut negotiated = Negotiated::from_answer(answer);
        if negotiated.video.is_none() && negotiated.audio.is_none() {
            return Err(PeerError::new("reading the answer", "it has no codec that we offered"));
        }
        let taken = sdp::taken(answer);
        continuity::certificate(answer).map_err(|error| PeerError::new("reading the answer", error))?;
        let ours = self.exchange().offered.as_ref().map(|offered| offered.sdp.clone()).unwrap_or_default();
        let offered = sdp::promised(&ours);
        negotiated.promised = sdp::promised(answer);
        negotiated.granted.video = offered.video && taken.video;
        negotiated.granted.audio = offered.audio && taken.audio;
        let description =
            RTCSessionDescription::answer(foreign::readable(&text, &ours, Refused::Off)).map_err(broken)?;
        self.connection.set_remote_description(description).await.map_err(broken)?;
        self.agreed(answer, &negotiated);
        if !candidates.is_empty() {
            self.add_candidates(candidates.into_iter().map(IceCandidate::from).collect()).await;
        }
        Ok(negotiated)
    }

    fn agreed(&self, theirs: &str, negotiated: &Negotiated) {
        let mut exchange = self.exchange();
        exchange.theirs = Some(theirs.to_owned());
        exchange.offered = None;
        drop(exchange);
        self.shared.watch().promise(negotiated.promised.video || negotiated.promised.audio);
    }

    /// Our media, each with what we want of it.
    fn media(&self) -> Vec<(&Medium, Direction)> {
        let (video, audio) = {
            let exchange = self.exchange();
            (exchange.video, exchange.audio)
        };
        let pictures = self.video.as_ref().map(|medium| (medium, video));
        std::iter::once((&self.audio, audio)).chain(pictures).collect()
    }

    /// Makes the engine give a first offer's sections to the media that are there: it looks for one whose direction
    /// suits, and would add another of its own.
    async fn open_to(&self, offer: &str) -> rtc::shared::error::Result<()> {
        for (medium, _) in self.media() {
            let taken = medium.transceiver.mid().await?.is_some();
            if taken {
                continue;
            }
            if let Some(section) = sdp::sections(offer).find(|section| section.kind == medium.kind && !section.refused)
            {
                let sends_only = section.sends && !section.receives;
                let wanted = if sends_only { Direction::ReceiveOnly } else { Direction::SendReceive };
                medium.transceiver.set_direction(direction(wanted, Wish::Receive)).await?;
            }
        }
        Ok(())
    }

    async fn roll_back(&self) {
        let rolled_back = match RTCSessionDescription::rollback(None) {
            Ok(rollback) => self.connection.set_remote_description(rollback).await,
            Err(error) => Err(error),
        };
        if let Err(error) = rolled_back {
            debug!(%error, "offer of the other side not taken back");
        }
    }

    /// Refuses a restart that the engine would not survive: it gives up when it cannot bind.
    fn check_network(&self, operation: &'static str, renewal: Renewal) -> Result<(), PeerError> {
        if renewal == Renewal::Restart && self.takes_multicast && !self.network.takes_multicast() {
            return Err(PeerError::new(operation, "there is no network; it can be tried again when there is one"));
        }
        Ok(())
    }

    /// Hands the engine the servers that were set since the last restart; it asks them when it gathers next.
    async fn use_renewed_servers(&self) -> rtc::shared::error::Result<()> {
        let renewed = self.renewed_servers.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(servers) = renewed else { return Ok(()) };
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
    fn renew(&self) {
        self.exchange().remote_candidates = Taken::default();
        *self.remote_addresses() = RemoteAddresses::default();
        self.shared.renew(self.network.addresses());
    }

    async fn gather_for(&self, renewal: Renewal) -> Vec<IceCandidate> {
        match renewal {
            // The other side knows them.
            Renewal::Media => Vec::new(),
            Renewal::Restart => self.gather(UPDATE).await,
        }
    }

    /// Waits for the first candidate, then a while for the rest; hands out what there is.
    async fn gather(&self, patience: Patience) -> Vec<IceCandidate> {
        let shared = &self.shared;
        let first = async {
            while !shared.is_complete() && !shared.has_candidate() {
                shared.gathered.notified().await;
            }
        };
        if tokio::time::timeout(patience.first, first).await.is_err() {
            debug!("no candidate yet; they follow");
        }
        let rest = async {
            let mut until: Option<Instant> = None;
            while !shared.is_complete() && until.is_none_or(|until| Instant::now() < until) {
                // An address from which a server cannot be reached, as a bridge has, never gets an answer.
                if until.is_none() && shared.servers.have_answered() {
                    until = Some(Instant::now() + STRAGGLERS);
                }
                let _look_again = tokio::time::timeout(LOOK, shared.gathered.notified()).await;
            }
        };
        // Running into the limit is the normal case with a slow STUN or TURN server: the rest is trickled.
        let _rest_is_trickled = tokio::time::timeout(patience.rest, rest).await;
        shared.take_candidates()
    }
}

/// Whether a medium is to be received.
#[derive(Clone, Copy)]
enum Wish {
    Receive,
    Ignore,
}

/// How we answer a section: we send what we want to and they take, and receive what they send.
fn answering(wanted: Direction, section: &Section<'_>) -> RTCRtpTransceiverDirection {
    let wish = if section.sends { Wish::Receive } else { Wish::Ignore };
    let sends = if section.receives { wanted } else { Direction::ReceiveOnly };
    direction(sends, wish)
}

fn direction(wanted: Direction, wish: Wish) -> RTCRtpTransceiverDirection {
    match (wanted, wish) {
        (Direction::SendReceive, Wish::Receive) => RTCRtpTransceiverDirection::Sendrecv,
        (Direction::SendReceive, Wish::Ignore) => RTCRtpTransceiverDirection::Sendonly,
        (Direction::ReceiveOnly, Wish::Receive) => RTCRtpTransceiverDirection::Recvonly,
        (Direction::ReceiveOnly, Wish::Ignore) => RTCRtpTransceiverDirection::Inactive,
    }
}
