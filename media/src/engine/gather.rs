//! Candidates: waits for our own, within a time, and gives the engine those of the other side, within bounds.

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tracing::debug;
use webrtc::peer_connection::RTCIceCandidateInit;

use super::local_names;
use super::peer::Peer;
use crate::path::candidates::{IceCandidate, Verdict, hidden_name, with_address};
use crate::sdp::continuity::Renewal;

/// How long a description waits for candidates.
#[derive(Clone, Copy)]
pub(super) struct Timeouts {
    /// For the first: without one a description is of little use.
    first: Duration,
    /// For the rest, after that.
    rest: Duration,
}

/// An offer: a person answers much later.
pub(super) const OFFER: Timeouts = Timeouts { first: Duration::from_millis(500), rest: Duration::from_millis(150) };

/// An answer: someone looks at a black screen meanwhile.
pub(super) const ANSWER: Timeouts = Timeouts { first: Duration::from_millis(500), rest: Duration::from_millis(20) };

/// An update that restarts ICE: nobody hears anything meanwhile, and the other side has to restart too.
const UPDATE: Timeouts = Timeouts { first: Duration::from_millis(150), rest: Duration::from_millis(20) };

/// How long candidates are waited for when each server has answered on some address.
const STRAGGLERS: Duration = Duration::from_millis(20);

/// How often it is looked whether they have.
const LOOK: Duration = Duration::from_millis(5);

impl Peer {
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
                Verdict::OfNoUse | Verdict::Redundant => continue,
                Verdict::Broken | Verdict::TooMany => {
                    left_out += 1;
                    continue;
                }
            }
            if let Some(name) = hidden_name(&candidate.candidate) {
                self.look_up(name.to_owned(), candidate);
                continue;
            }
            self.shared.note_remote(&candidate);
            if let Err(error) = self.connection.add_ice_candidate(for_engine(candidate)).await {
                debug!(%error, "candidate of the other side left out");
                left_out += 1;
            }
        }
        // Only now, so that who checks is known by what it said of itself.
        if self.exchange().offered.is_none() {
            self.early.release();
        }
        self.settling.wake();
        left_out
    }

    /// Gives the engine a candidate once the address behind its name is known.
    fn look_up(&self, name: String, candidate: IceCandidate) {
        let (connection, interfaces) = (Arc::clone(&self.connection), self.network.interfaces());
        let (shared, settling) = (Arc::clone(&self.shared), Arc::clone(&self.settling));
        self.lookups().spawn(async move {
            let Some(ip) = local_names::address_of(&name, interfaces).await else {
                return debug!("a name of the other side is not known on this link");
            };
            let found = IceCandidate { candidate: with_address(&candidate.candidate, ip), ..candidate };
            shared.note_remote(&found);
            if let Err(error) = connection.add_ice_candidate(for_engine(found)).await {
                debug!(%error, "candidate of the other side left out");
            }
            settling.wake();
        });
    }

    pub(super) fn lookups(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.lookups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn gather_for(&self, renewal: Renewal) -> Vec<IceCandidate> {
        match renewal {
            // The other side knows them.
            Renewal::Media => Vec::new(),
            Renewal::IceRestart => self.gather(UPDATE).await,
        }
    }

    /// Waits for the first candidate, then a while for the rest; hands out what there is.
    pub(super) async fn gather(&self, timeouts: Timeouts) -> Vec<IceCandidate> {
        let shared = &self.shared;
        let first = async {
            while !shared.is_complete() && !shared.has_candidate() {
                shared.gathered.notified().await;
            }
        };
        if tokio::time::timeout(timeouts.first, first).await.is_err() {
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
        let _rest_is_trickled = tokio::time::timeout(timeouts.rest, rest).await;
        shared.take_candidates()
    }
}

fn for_engine(candidate: IceCandidate) -> RTCIceCandidateInit {
    RTCIceCandidateInit {
        candidate: candidate.candidate,
        sdp_mid: candidate.mid,
        sdp_mline_index: candidate.mline,
        ..Default::default()
    }
}
