//! The offering side of a negotiation: makes an offer, takes the answer, at first and in mid-call.
//!
//! - the engine → offer → [`rewrite`] → the other side
//! - answer → [`interop`] → the engine
//!
//! The caller makes all offers of a call. When an offer is not answered, another one may follow, which then stands for
//! both. An answer that cannot be used changes nothing: a better one may still come.
//!
//! [`Renewal::Media`] leaves the path alone; [`Renewal::IceRestart`] looks for a new one.

use rtc::peer_connection::configuration::RTCOfferOptions;
use webrtc::peer_connection::RTCSessionDescription;

use super::events::{LocalDescription, PeerError};
use super::exchange::Offered;
use super::gather::OFFER;
use super::medium::{Reception, direction};
use super::peer::Peer;
use crate::path::candidates::IceCandidate;
use crate::path::early::Awaited;
use crate::path::nomination::Nominations;
use crate::sdp::continuity::{self, Renewal};
use crate::sdp::description::Description;
use crate::sdp::dtls_cookie;
use crate::sdp::early_answer;
use crate::sdp::interop::{self, Refused};
use crate::sdp::negotiated::{self, Negotiated};
use crate::sdp::rewrite;

impl Peer {
    /// Makes an offer and starts gathering.
    ///
    /// # Errors
    /// [`PeerError`] when the engine refuses.
    pub async fn offer(&self) -> Result<LocalDescription, PeerError> {
        let sdp = self.describe("making an offer", Renewal::Media).await?;
        Ok(LocalDescription { sdp, candidates: self.gather(OFFER).await, renewed: Renewal::Media })
    }

    /// Takes the answer to our offer.
    ///
    /// # Errors
    /// [`PeerError`] when the answer is broken or does not fit the offer.
    pub async fn apply_answer(&self, answer: &str) -> Result<Negotiated, PeerError> {
        self.conclude(&interop::bundled(answer)).await
    }

    /// Makes an offer in mid-call, for media as [`Peer::set_sending`] says and, with [`Renewal::IceRestart`], over a path
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
                Some(Offered { renewal: Renewal::IceRestart, .. }) => Renewal::IceRestart,
                Some(Offered { renewal: Renewal::Media, .. }) | None => renewal,
            }
        };
        self.check_network(OPERATION, renewal)?;
        let sdp = self.describe(OPERATION, renewal).await?;
        Ok(LocalDescription { sdp, candidates: self.gather_for(renewal).await, renewed: renewal })
    }

    /// Takes the answer to an update of ours.
    ///
    /// # Errors
    /// [`PeerError`] when the answer is broken or does not fit; the call then goes on as it was, and another answer, or
    /// at any rate another update, may follow.
    pub async fn apply_update(&self, answer: &str) -> Result<Negotiated, PeerError> {
        const OPERATION: &str = "reading the answer to an update";
        let answer = interop::bundled(answer);
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

    /// Makes an offer and sets it: from then on candidates are gathered.
    async fn describe(&self, operation: &'static str, renewal: Renewal) -> Result<String, PeerError> {
        let failed = |error| PeerError::new(operation, error);
        for (medium, wanted) in self.media() {
            medium.transceiver.set_direction(direction(wanted, Reception::Receive)).await.map_err(failed)?;
        }
        let options = RTCOfferOptions { ice_restart: renewal == Renewal::IceRestart };
        let offer = self.connection.create_offer(Some(options)).await.map_err(failed)?;
        let sdp = {
            let mut exchange = self.exchange();
            let sent = rewrite::as_sent(&offer.sdp);
            // Who begins DTLS is settled with the first answer.
            let sent = if exchange.theirs.is_none() {
                early_answer::promise(&dtls_cookie::tell(&sent, &self.cookie))
            } else {
                sent
            };
            exchange.numbered(&sent)
        };
        if renewal == Renewal::IceRestart {
            self.use_renewed_servers().await.map_err(failed)?;
            self.renew();
        }
        let awaited = {
            let exchange = self.exchange();
            let streams_beside = exchange.theirs.as_deref().and_then(|theirs| Description::read(theirs).streams());
            Awaited { path: renewal == Renewal::IceRestart || exchange.theirs.is_none(), streams_beside }
        };
        self.early.hold(awaited);
        self.connection.set_local_description(offer).await.map_err(failed)?;
        self.exchange().offered = Some(Offered { sdp: sdp.clone(), renewal });
        Ok(sdp)
    }

    /// The first answer says who begins DTLS. Whoever begins it knows our cookie, if they have read it.
    fn expect_hello(&self, answer: &str) {
        if dtls_cookie::begins(answer) {
            self.provider.set_cookie(self.cookie);
            self.cookie_exchange.leave_out_as_server(self.cookie);
        } else {
            self.cookie_exchange.end();
        }
    }

    /// Takes the answer to our offer, whichever it was.
    async fn conclude(&self, answer: &str) -> Result<Negotiated, PeerError> {
        let broken = |error| PeerError::new("reading the answer", error);
        let (text, candidates) = rewrite::split_candidates(answer);
        let mut agreed = Negotiated::from_answer(answer);
        if agreed.video.is_none() && agreed.audio.is_none() {
            return Err(PeerError::new("reading the answer", "it has no codec that we offered"));
        }
        let taken = negotiated::taken(answer);
        continuity::check_certificate(answer).map_err(|error| PeerError::new("reading the answer", error))?;
        let (ours, renews_path) = {
            let exchange = self.exchange();
            let offered = exchange.offered.as_ref();
            let renews_path =
                exchange.theirs.is_none() || offered.is_some_and(|offered| offered.renewal == Renewal::IceRestart);
            (offered.map(|offered| offered.sdp.clone()).unwrap_or_default(), renews_path)
        };
        let offered = negotiated::promised(&ours);
        agreed.promised = negotiated::promised(answer);
        agreed.prefers_dtx = negotiated::prefers_dtx(answer);
        agreed.granted.video = offered.video && taken.video;
        agreed.granted.audio = offered.audio && taken.audio;
        let description =
            RTCSessionDescription::answer(interop::readable(&text, &ours, Refused::Off)).map_err(broken)?;
        self.name_codec(&agreed).await;
        if self.exchange().theirs.is_none() {
            self.expect_hello(answer);
        }
        if renews_path && let Some(credentials) = Description::read(answer).ice_credentials() {
            self.shared.selection.begin(Nominations::by_us(credentials.pwd.to_owned()));
        }
        self.connection.set_remote_description(description).await.map_err(broken)?;
        self.agreed(answer, &agreed);
        if !candidates.is_empty() {
            self.add_candidates(candidates.into_iter().map(IceCandidate::from).collect()).await;
        }
        Ok(agreed)
    }
}
