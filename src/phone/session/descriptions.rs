//! Where the two libraries meet: a session description and a candidate are text on both sides. Also what is made of them
//! in a standing call.

use std::sync::Arc;

use media::peer::sdp::Negotiated;
use media::peer::{IceCandidate, LocalDescription, Peer, PeerError, Renewal};
use signalling::wire::{Candidate, Description};

/// A description made in a standing call.
pub(super) struct Revision {
    pub(super) description: Description,
    pub(super) renewed: Renewal,
    /// What was agreed on; with an offer nothing is yet.
    pub(super) negotiated: Option<Negotiated>,
}

/// Makes a new offer in a standing call.
pub(super) async fn make_update(peer: Arc<Peer>, renewal: Renewal) -> Result<Revision, PeerError> {
    let local = peer.update_offer(renewal).await?;
    Ok(Revision { renewed: local.renewed, description: to_description(local), negotiated: None })
}

/// Answers a new offer in a standing call.
pub(super) async fn answer_update(peer: Arc<Peer>, offer: Description) -> Result<Revision, PeerError> {
    let (local, negotiated) = peer.answer_update(&offer.sdp).await?;
    peer.add_candidates(to_media(offer.candidates)).await;
    Ok(Revision { renewed: local.renewed, description: to_description(local), negotiated: Some(negotiated) })
}

pub(super) fn to_description(local: LocalDescription) -> Description {
    Description::new(local.sdp, to_wire(local.candidates))
}

pub(super) fn to_wire(candidates: Vec<IceCandidate>) -> Vec<Candidate> {
    let convert = |c: IceCandidate| Candidate { candidate: c.candidate, mid: c.mid, mline: c.mline };
    candidates.into_iter().map(convert).collect()
}

pub(super) fn to_media(candidates: Vec<Candidate>) -> Vec<IceCandidate> {
    let convert = |c: Candidate| IceCandidate { candidate: c.candidate, mid: c.mid, mline: c.mline };
    candidates.into_iter().map(convert).collect()
}
