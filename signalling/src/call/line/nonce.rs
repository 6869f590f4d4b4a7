//! The caller's nonce in a sealed call. What it is for, and whether it fits, is not this machine's business: see
//! [`crate::seal::Handshake`].

use super::super::{Action, EndReason, ReadyAnswer, Role, State};
use super::Step;
use crate::id::{CallId, PeerId};
use crate::seal::SasNonce;
use crate::wire::{ByeReason, Message};

impl Step<'_> {
    /// The caller has our answer, and tells its nonce.
    pub(super) fn nonce_received(&self, from: &PeerId, call: &CallId, nonce: SasNonce) -> Vec<Action> {
        if self.state.is(call, from) && self.has_answered() {
            return vec![Action::CheckNonce { call: call.clone(), nonce }];
        }
        Vec::new()
    }

    /// The caller's nonce does not fit its commitment.
    pub(super) fn commitment_broken(&mut self) -> Vec<Action> {
        // Nothing of a caller was checked before our answer was out.
        if !self.has_answered() {
            return Vec::new();
        }
        let Some((call, peer)) = self.state.call() else { return Vec::new() };
        let text = Some("the nonce is not the one of the commitment".to_owned());
        let message = Message::Bye { reason: ByeReason::Identity, text };
        let mut actions = vec![Action::Send { to: peer.clone(), call: call.clone(), message }];
        actions.extend(self.leave(EndReason::Commitment, None));
        actions
    }

    /// Whether we are called, and our answer is out.
    const fn has_answered(&self) -> bool {
        match &*self.state {
            State::Incoming { answer: Some(ReadyAnswer { path: Some(_), .. }), .. }
            | State::Connecting { role: Role::Callee, .. } => true,
            State::Active { talk, .. } => matches!(talk.role, Role::Callee),
            // We call, or nobody has our answer.
            State::Idle
            | State::Offering { .. }
            | State::Dialing { .. }
            | State::Ringing { .. }
            | State::Incoming { .. }
            | State::Answering { .. }
            | State::Connecting { role: Role::Caller, .. } => false,
        }
    }
}
