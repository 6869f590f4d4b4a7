//! The answering side of a negotiation: takes an offer, makes the answer, at first and in mid-call.
//!
//! - offer → [`interop`] and [`rewrite`] → the engine → answer → [`rewrite`] → the other side
//!
//! An offer that cannot be used changes nothing: the engine is rolled back, and the call goes on as it was.

use rtc::rtp_transceiver::RTCRtpTransceiverDirection;
use tracing::debug;
use webrtc::peer_connection::RTCSessionDescription;

use super::events::{LocalDescription, PeerError};
use super::gather::ANSWER;
use super::medium::{Reception, direction};
use super::peer::Peer;
use crate::path::candidates::IceCandidate;
use crate::path::nomination::Nominations;
use crate::sdp::continuity::{self, Renewal};
use crate::sdp::description::{Description, Section};
use crate::sdp::dtls_cookie;
use crate::sdp::interop::{self, Refused, Setup};
use crate::sdp::negotiated::{self, Direction, Negotiated};
use crate::sdp::rewrite;

impl Peer {
    /// Takes an offer, makes the answer and starts gathering.
    ///
    /// # Errors
    /// [`PeerError`] when the offer is broken or has nothing in common with us.
    pub async fn answer(&self, offer: &str) -> Result<(LocalDescription, Negotiated), PeerError> {
        let (sdp, negotiated) = self.accept(&interop::bundled(offer), Renewal::Media).await?;
        Ok((LocalDescription { sdp, candidates: self.gather(ANSWER).await, renewed: Renewal::Media }, negotiated))
    }

    /// Takes an offer in mid-call and makes the answer, with media as [`Peer::set_sending`] says; where the offer
    /// restarts ICE, this side does too.
    ///
    /// # Errors
    /// [`PeerError`] when the offer is broken or cannot follow what was agreed on; the call then goes on as it was.
    pub async fn answer_update(&self, offer: &str) -> Result<(LocalDescription, Negotiated), PeerError> {
        const OPERATION: &str = "answering an update";
        let unfit = |reason: &str| PeerError::new(OPERATION, reason);
        let offer = interop::bundled(offer);
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

    /// Takes an offer, makes the answer and sets it.
    async fn accept(&self, offer: &str, renewal: Renewal) -> Result<(String, Negotiated), PeerError> {
        let broken = |error| PeerError::new("reading the offer", error);
        let failed = |error| PeerError::new("making an answer", error);
        let before = self.begin_answer(offer)?;
        let (text, candidates) = rewrite::split_candidates(offer);
        let text = interop::readable(&rewrite::without_pauses(&text), &before, Refused::Kept);
        let description = RTCSessionDescription::offer(text).map_err(broken)?;
        self.open_to(offer).await.map_err(broken)?;
        if let Err(error) = self.connection.set_remote_description(description).await {
            self.roll_back().await;
            return Err(broken(error));
        }
        if renewal == Renewal::IceRestart {
            self.use_renewed_servers().await.map_err(failed)?;
            self.renew();
        }
        if self.exchange().theirs.is_none() || renewal == Renewal::IceRestart {
            self.shared.selection.begin(Nominations::by_them());
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
        self.name_codec(&negotiated).await;
        self.connection.set_local_description(answer).await.map_err(failed)?;
        self.agreed(offer, &negotiated);
        Ok((sdp, negotiated))
    }

    /// What the other side said before. The first offer decides who begins DTLS.
    fn begin_answer(&self, offer: &str) -> Result<String, PeerError> {
        continuity::check_certificate(offer).map_err(|error| PeerError::new("reading the offer", error))?;
        let mut exchange = self.exchange();
        if exchange.theirs.is_none() {
            exchange.setup = Setup::for_offer(offer);
            match (exchange.setup, dtls_cookie::told(offer).and_then(|told| told.parse().ok())) {
                (Setup::Active, Some(cookie)) => self.cookie_exchange.leave_out_as_client(cookie),
                (Setup::Active, None) | (Setup::Passive, _) => self.cookie_exchange.end(),
            }
        }
        Ok(exchange.theirs.clone().unwrap_or_default())
    }

    /// The answer to `offer`, which the engine has read: each medium flows as far as both sides want it to.
    async fn settle(&self, offer: &str) -> rtc::shared::error::Result<(RTCSessionDescription, String, Negotiated)> {
        let description = Description::read(offer);
        for (medium, wanted) in self.media() {
            let mid = medium.transceiver.mid().await?;
            let mut sections = description.media.iter().filter(|section| section.mid.is_some());
            if let Some(section) = sections.find(|section| section.mid == mid.as_deref()) {
                medium.transceiver.set_direction(answering(wanted, section)).await?;
            }
        }
        let answer = self.connection.create_answer(None).await?;
        let sdp = {
            let mut exchange = self.exchange();
            let setup = exchange.setup;
            exchange.numbered(&interop::answer(&rewrite::as_sent(&answer.sdp), offer, setup))
        };
        let mut agreed = Negotiated::from_answer(&sdp);
        agreed.promised = negotiated::promised(offer);
        agreed.prefers_dtx = negotiated::prefers_dtx(offer);
        agreed.granted = negotiated::promised(&sdp);
        Ok((answer, sdp, agreed))
    }

    /// Makes the engine give a first offer's sections to the media that are there: it looks for one whose direction
    /// suits, and would add another of its own.
    async fn open_to(&self, offer: &str) -> rtc::shared::error::Result<()> {
        let description = Description::read(offer);
        for (medium, _) in self.media() {
            let taken = medium.transceiver.mid().await?.is_some();
            if taken {
                continue;
            }
            let mut sections = description.media.iter().filter(|section| !section.refused);
            if let Some(section) = sections.find(|section| section.kind == medium.kind) {
                let sends_only = section.sends() && !section.receives();
                let wanted = if sends_only { Direction::ReceiveOnly } else { Direction::SendReceive };
                medium.transceiver.set_direction(direction(wanted, Reception::Receive)).await?;
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
}

/// How we answer a section: we send what we want to and they take, and receive what they send.
fn answering(wanted: Direction, section: &Section<'_>) -> RTCRtpTransceiverDirection {
    let reception = if section.sends() { Reception::Receive } else { Reception::Ignore };
    let sends = if section.receives() { wanted } else { Direction::ReceiveOnly };
    direction(sends, reception)
}
