//! The plain JSON that Android's WebRTC samples speak, as AppRTC did: offer, answer, candidate, bye.
//!
//! What the call machine needs and the dialect does not say is made up here:
//!
//! - call ids: one for each offer of a peer, from the nonce and a count; a message belongs to the call with its sender
//! - an acknowledgement: an offer counts as delivered when it is published, so the caller waits for the answer
//! - the reason of a bye: what it must mean where the call stands
//!
//! Nothing says whom a message is for. On topics without `{to}` every partner hears it, so there is one call at a time.

mod form;

use super::{Output, Publication, ReceiveError};
use crate::id::{CallId, Nonce, PeerId};
use crate::topic::Hearers;
use crate::wire::{ByeReason, Candidate, Description, Message, MessageKind};
use form::{Meaning, Origin, mids, with_candidates};

pub use form::Spoken;

/// Calls remembered: those under way, and offers that nobody took. Strangers may not grow this.
const CALLS_MAX: usize = 32;

/// Translates between the call machine and clients that speak AppRTC's JSON.
#[derive(Debug)]
pub struct Apprtc {
    me: PeerId,
    nonce: Nonce,
    hearers: Hearers,
    count: u64,
    /// At most one a peer, oldest first.
    calls: Vec<Call>,
    duplicates: u64,
}

#[derive(Debug)]
struct Call {
    peer: PeerId,
    call: CallId,
    stage: Stage,
    /// Names of the media sections of our description, in order; our candidates are to name theirs.
    mids: Vec<String>,
}

/// How far a call has come, as far as it matters for what a message means.
#[derive(Debug)]
enum Stage {
    /// Our offer is out.
    Calling,
    /// Its offer came, and the call machine has not taken it.
    Offered(Origin),
    /// Its offer rings here.
    Ringing(Origin),
    /// Answered by either; whoever it is, its side has this origin.
    Answered(Origin),
}

impl Apprtc {
    /// A translator for `me`, heard by `hearers`.
    #[must_use]
    pub const fn new(me: PeerId, nonce: Nonce, hearers: Hearers) -> Self {
        Self { me, nonce, hearers, count: 0, calls: Vec::new(), duplicates: 0 }
    }

    /// Says `message`, as far as the dialect has words for it.
    pub fn send(&mut self, to: PeerId, call: CallId, message: Message) -> Vec<Output> {
        match message {
            Message::Offer(description) => {
                // A call of theirs that was to yield to ours has yielded.
                self.calls.retain(|known| known.peer != to);
                let mids = mids(&description.sdp);
                self.remember(Call { peer: to.clone(), call: call.clone(), stage: Stage::Calling, mids });
                let spoken = Spoken::Offer { sdp: with_candidates(description) };
                let delivered = Output::Delivered { to: to.clone(), call, message: MessageKind::Offer };
                vec![Output::Transmit(Publication::Apprtc { to, spoken }), delivered]
            }
            Message::Answer(description) => {
                let Some(known) = self.known(&to, &call) else { return Vec::new() };
                known.mids = mids(&description.sdp);
                known.answer();
                vec![transmit(to, Spoken::Answer { sdp: with_candidates(description) })]
            }
            Message::Candidates { candidates, .. } => {
                let Some(known) = self.known(&to, &call) else { return Vec::new() };
                // Without text it would say that no more will come, for which there is no word.
                let told = candidates.into_iter().filter(|candidate| !candidate.candidate.is_empty());
                told.map(|candidate| transmit(to.clone(), known.spoken(candidate))).collect()
            }
            Message::Bye { .. } => self.bye(to, &call),
            Message::Ringing => {
                if let Some(known) = self.known(&to, &call) {
                    known.ring();
                }
                Vec::new()
            }
            // There are no words for these.
            Message::EarlyAnswer(_)
            | Message::Media(_)
            | Message::Update(_)
            | Message::Updated(_)
            | Message::Refused { .. }
            | Message::Renew { .. }
            | Message::Nonce { .. } => Vec::new(),
        }
    }

    /// A bye names no call: it is kept back where it would end another one of those who hear it.
    fn bye(&mut self, to: PeerId, call: &CallId) -> Vec<Output> {
        self.forget(call);
        let ends_another = self.calls.iter().any(|known| known.peer == to) || self.is_engaged_but_with(&to);
        if ends_another { Vec::new() } else { vec![transmit(to, Spoken::Bye)] }
    }

    /// Takes in what `from` said.
    ///
    /// # Errors
    /// [`ReceiveError`] on anything that is to be dropped and counted.
    pub fn receive(&mut self, from: PeerId, payload: &[u8]) -> Result<Vec<Output>, ReceiveError> {
        if from == self.me {
            return Ok(Vec::new());
        }
        match Meaning::from_bytes(payload)? {
            Meaning::Offer(description, origin) => self.offered(from, description, origin),
            Meaning::Answer(description, origin) => Ok(self.answered(from, description, origin)),
            Meaning::Candidate(candidate) => Ok(self.told(from, candidate)),
            Meaning::Bye => Ok(self.ended(from)),
            Meaning::Nothing => Ok(Vec::new()),
        }
    }

    fn offered(&mut self, from: PeerId, description: Description, origin: Origin) -> Result<Vec<Output>, ReceiveError> {
        if self.is_engaged_but_with(&from) {
            return Err(ReceiveError::Engaged);
        }
        let mut outputs = Vec::new();
        let mut stage: fn(Origin) -> Stage = Stage::Offered;
        if let Some(index) = self.calls.iter().position(|known| known.peer == from) {
            match &self.calls[index].stage {
                // Both call each other: the call of the lower ID goes on, on both sides.
                Stage::Calling if self.me < from => return Ok(Vec::new()),
                // Ours yields: the call machine takes theirs at once.
                Stage::Calling => stage = Stage::Ringing,
                Stage::Offered(known) | Stage::Ringing(known) | Stage::Answered(known) if *known == origin => {
                    self.duplicates += 1;
                    return Ok(Vec::new());
                }
                // A new peer connection: the client began anew, so the call before is over without a bye.
                before @ (Stage::Offered(_) | Stage::Ringing(_) | Stage::Answered(_)) => {
                    let bye = Message::bye(before.reason());
                    let call = self.calls[index].call.clone();
                    outputs.push(Output::Received { from: from.clone(), call, message: bye });
                }
            }
            self.calls.remove(index);
        }
        self.count += 1;
        let call = CallId::from_random(u128::from(self.nonce.0) << 64 | u128::from(self.count));
        self.remember(Call { peer: from.clone(), call: call.clone(), stage: stage(origin), mids: Vec::new() });
        outputs.push(Output::Received { from, call, message: Message::Offer(description) });
        Ok(outputs)
    }

    fn answered(&mut self, from: PeerId, description: Description, origin: Origin) -> Vec<Output> {
        let Some(known) = self.calls.iter_mut().find(|known| known.peer == from) else { return Vec::new() };
        match known.stage {
            Stage::Calling => {
                known.stage = Stage::Answered(origin);
                vec![Output::Received { from, call: known.call.clone(), message: Message::Answer(description) }]
            }
            // Not ours to be answered, or a second one: on a bare topic it may be for somebody else.
            Stage::Offered(_) | Stage::Ringing(_) | Stage::Answered(_) => Vec::new(),
        }
    }

    fn told(&self, from: PeerId, candidate: Candidate) -> Vec<Output> {
        // Late ones of a call that is over; none comes before its offer, since a topic keeps its order.
        let Some(known) = self.calls.iter().find(|known| known.peer == from) else { return Vec::new() };
        let message = Message::Candidates { generation: 0, candidates: vec![candidate] };
        vec![Output::Received { from, call: known.call.clone(), message }]
    }

    fn ended(&mut self, from: PeerId) -> Vec<Output> {
        let Some(index) = self.calls.iter().position(|known| known.peer == from) else { return Vec::new() };
        let Call { call, stage, .. } = self.calls.remove(index);
        vec![Output::Received { from, call, message: Message::bye(stage.reason()) }]
    }

    /// The call is over.
    pub fn forget(&mut self, call: &CallId) {
        self.calls.retain(|known| known.call != *call);
    }

    /// Offers that came again so far.
    #[must_use]
    pub const fn duplicates(&self) -> u64 {
        self.duplicates
    }

    /// True when somebody else than `peer` would take for theirs what we say to it.
    fn is_engaged_but_with(&self, peer: &PeerId) -> bool {
        let heard = self.hearers == Hearers::All;
        heard && self.calls.iter().any(|known| known.peer != *peer && known.stage.is_taken())
    }

    fn known(&mut self, peer: &PeerId, call: &CallId) -> Option<&mut Call> {
        self.calls.iter_mut().find(|known| known.peer == *peer && known.call == *call)
    }

    fn remember(&mut self, call: Call) {
        if self.calls.len() == CALLS_MAX {
            let idle = self.calls.iter().position(|known| !known.stage.is_taken());
            self.calls.remove(idle.unwrap_or(0));
        }
        self.calls.push(call);
    }
}

impl Call {
    fn ring(&mut self) {
        if let Stage::Offered(origin) = &mut self.stage {
            self.stage = Stage::Ringing(std::mem::take(origin));
        }
    }

    fn answer(&mut self) {
        if let Stage::Offered(origin) | Stage::Ringing(origin) = &mut self.stage {
            self.stage = Stage::Answered(std::mem::take(origin));
        }
    }

    /// Other clients want a candidate's section by position and by name.
    fn spoken(&self, candidate: Candidate) -> Spoken {
        let by_name = candidate.mid.as_ref().and_then(|mid| self.mids.iter().position(|known| known == mid));
        let label = candidate.mline.or_else(|| u16::try_from(by_name?).ok()).unwrap_or(0);
        let id = candidate.mid.or_else(|| self.mids.get(usize::from(label)).cloned());
        let id = id.unwrap_or_else(|| label.to_string());
        Spoken::Candidate { label, id, candidate: candidate.candidate }
    }
}

impl Stage {
    /// True when the call machine is at it.
    const fn is_taken(&self) -> bool {
        match self {
            Self::Calling | Self::Ringing(_) | Self::Answered(_) => true,
            Self::Offered(_) => false,
        }
    }

    /// What a bye of the other side means now.
    const fn reason(&self) -> ByeReason {
        match self {
            Self::Calling => ByeReason::Decline,
            Self::Offered(_) | Self::Ringing(_) => ByeReason::Cancel,
            Self::Answered(_) => ByeReason::Hangup,
        }
    }
}

fn transmit(to: PeerId, spoken: Spoken) -> Output {
    Output::Transmit(Publication::Apprtc { to, spoken })
}
