//! What must hold: the order of notices, at most one call on a line, ends that match.

use std::collections::BTreeMap;
use std::fmt;

use signalling::call::{self, Action, EndReason, Event, Notice, Phone, Renewal, State};
use signalling::id::{CallId, PeerId};
use signalling::wire::{ByeReason, MediaState, Message, MessageKind};

/// What one side's user was told of a call last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Nothing,
    Dialing,
    Ringing,
    Incoming,
    Accepted,
    Connected,
    Reconnecting,
    Superseded,
    /// By a user, a time-out or the media on this side.
    EndedHere(EndReason),
    /// By the other's bye.
    EndedThere(EndReason),
}

/// What is known of one side of one call.
#[derive(Clone, Debug)]
pub(crate) struct Side {
    pub(crate) told: Told,
    /// Candidates that this side sent.
    pub(crate) gathered: usize,
    /// Candidates of the other that reached this side's peer connection.
    pub(crate) applied: usize,
    /// The peer connection knows the other's description, so it can take candidates.
    pub(crate) described: bool,
    /// Candidates or the nonce of this side were given up: the broker was away for longer than a message is kept.
    pub(crate) gave_up: bool,
    /// The callee's program acknowledged the offer.
    pub(crate) reached: bool,
    /// This side said busy, without a word to its user.
    pub(crate) refused: bool,
    /// Its user was told to be on hold, by itself and by the other.
    pub(crate) holds: bool,
    pub(crate) is_held: bool,
    /// What its user was told of the other's microphone and camera.
    pub(crate) sees: Sees,
    /// It was told that the other's line is too narrow for pictures.
    pub(crate) is_paused: bool,
    /// Its devices are released.
    pub(crate) released: bool,
}

const NEW: Side = Side {
    told: Told::Nothing,
    gathered: 0,
    applied: 0,
    described: false,
    gave_up: false,
    reached: false,
    refused: false,
    holds: false,
    is_held: false,
    sees: Sees { audio: true, video: true },
    is_paused: false,
    released: false,
};

/// Whether the other side's microphone and camera are on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sees {
    audio: bool,
    video: bool,
}

impl Sees {
    pub(crate) const fn of(media: MediaState) -> Self {
        Self { audio: media.audio, video: media.video }
    }
}

/// Both lines of a phone at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Lines {
    front: State,
    back: State,
}

impl Lines {
    pub(crate) fn of(phone: &Phone) -> Self {
        Self { front: phone.front().clone(), back: phone.back().clone() }
    }

    fn both(&self) -> [&State; 2] {
        [&self.front, &self.back]
    }

    fn state_of(&self, call: &CallId) -> &State {
        self.both().into_iter().find(|state| state.is_call(call)).unwrap_or(&State::Idle)
    }

    fn is(&self, call: &CallId, peer: &PeerId) -> bool {
        self.state_of(call).is(call, peer)
    }

    fn is_current(&self, call: &CallId) -> bool {
        self.both().into_iter().any(|state| state.is_call(call))
    }
}

impl fmt::Display for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} and {}", self.front.name(), self.back.name())
    }
}

/// One call as both sides saw it.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) caller: PeerId,
    pub(crate) callee: PeerId,
    pub(crate) at_caller: Side,
    pub(crate) at_callee: Side,
    /// The path was to be replaced: candidates of the one before are left out then.
    pub(crate) restarted: bool,
    /// A stranger said what one side does with its media.
    pub(crate) spoofed: bool,
}

impl Record {
    pub(crate) fn side(&mut self, who: &PeerId) -> &mut Side {
        if *who == self.caller { &mut self.at_caller } else { &mut self.at_callee }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Watch {
    pub(crate) calls: BTreeMap<CallId, Record>,
}

/// Fails with what was expected.
macro_rules! hold {
    ($holds:expr, $($text:tt)*) => {
        if !$holds {
            return Err(format!($($text)*));
        }
    };
}
pub(crate) use hold;

impl Watch {
    /// A user dials; whether the line takes it is not known yet.
    pub(crate) fn dialed(&mut self, caller: PeerId, callee: PeerId, call: CallId) {
        self.calls
            .insert(call, Record { caller, callee, at_caller: NEW, at_callee: NEW, restarted: false, spoofed: false });
    }

    /// What the line of `me` made of `event`.
    pub(crate) fn stepped(
        &mut self,
        me: &PeerId,
        before: &Lines,
        event: Option<&Event>,
        actions: &[Action],
        after: &Lines,
    ) -> Result<(), String> {
        let bye = match event {
            Some(Event::Received { from, call, message: Message::Bye { reason, .. } }) if before.is(call, from) => {
                hold!(!after.is(call, from), "{me} stays in {call} after its bye");
                Some(*reason)
            }
            _ => None,
        };
        if let Some(Event::Delivered { call, message: MessageKind::Offer }) = event {
            self.of(call)?.at_caller.reached = true;
        }
        if let Some(Event::Expired {
            call,
            message: MessageKind::Candidates | MessageKind::Media | MessageKind::Nonce,
        }) = event
        {
            self.of(call)?.side(me).gave_up = true;
        }
        let timed_out = event.is_none();
        for action in actions {
            match action {
                Action::Notify(Notice::Ended { call, reason: EndReason::Offline, .. })
                    if timed_out && self.of(call)?.at_caller.reached =>
                {
                    return Err(format!("{me} calls the callee of {call} offline, who has the offer"));
                }
                Action::Notify(notice) => self.noticed(me, before, bye, actions, notice)?,
                Action::Send { call, message: Message::Bye { reason: ByeReason::Busy, .. }, .. } => {
                    self.of(call)?.side(me).refused = true;
                }
                Action::Send { message: Message::Bye { .. }, .. } | Action::CloseMedia { .. } => {}
                Action::Send { call, message: Message::Answer(_), .. }
                    if matches!(after.state_of(call), State::Incoming { .. }) =>
                {
                    return Err(format!("{me} accepts {call}, which still rings"));
                }
                Action::Send { to, call, message } => {
                    hold!(after.is(call, to), "{me} sends {} of {call}, which is not current", message.name());
                    if let Message::Candidates { candidates, .. } = message {
                        self.of(call)?.side(me).gathered += candidates.len();
                    }
                }
                Action::MakeOffer { call } => hold!(after.is_current(call), "{me} offers {call}, not current"),
                Action::MakeAnswer { call, offer } => {
                    hold!(after.is_current(call), "{me} answers {call}, which is not current");
                    hold!(may_answer(before, call, event), "{me} answers {call} unasked");
                    self.of(call)?.side(me).applied += offer.candidates.len();
                }
                Action::ApplyAnswer { call, .. } | Action::ApplyEarlyAnswer { call, .. } => {
                    hold!(after.is_current(call), "{me} applies the answer of {call}, which is not current");
                    let described = std::mem::replace(&mut self.of(call)?.side(me).described, true);
                    hold!(!described, "{me} applies two answers of {call}");
                }
                Action::MakeUpdate { call, renewal, .. } => {
                    hold!(after.is_current(call), "{me} updates {call}, which is not current");
                    let record = self.of(call)?;
                    hold!(record.caller == *me, "{me} is called and makes offers of {call}");
                    record.restarted |= *renewal == Renewal::Restart;
                }
                Action::AnswerUpdate { call, offer, .. } => {
                    hold!(after.is_current(call), "{me} answers an update of {call}, which is not current");
                    let record = self.of(call)?;
                    hold!(record.callee == *me, "{me} calls and answers an update of {call}");
                    record.side(me).applied += offer.candidates.len();
                }
                Action::ApplyUpdate { call, .. } => {
                    hold!(after.is_current(call), "{me} applies an update of {call}, which is not current");
                }
                Action::CheckNonce { call, .. } => {
                    hold!(after.is_current(call), "{me} checks the nonce of {call}, which is not current");
                    hold!(self.of(call)?.callee == *me, "{me} calls and checks a nonce of {call}");
                }
                Action::HoldMedia { call } => {
                    let released = std::mem::replace(&mut self.of(call)?.side(me).released, true);
                    hold!(!released, "{me} releases devices of {call} twice");
                }
                Action::ResumeMedia { call } => {
                    let released = std::mem::replace(&mut self.of(call)?.side(me).released, false);
                    hold!(released, "{me} takes devices of {call} twice");
                }
                Action::AddCandidates { call, candidates } => {
                    hold!(after.is_current(call), "{me} adds candidates of {call}, which is not current");
                    let side = self.of(call)?.side(me);
                    hold!(side.described, "{me} adds candidates of {call} to no peer connection");
                    side.applied += candidates.len();
                }
            }
        }
        if let (Some((ended, _)), Some((rested, _))) = (before.front.call(), before.back.call())
            && !after.is_current(ended)
            && after.is_current(rested)
        {
            hold!(!after.state_of(rested).is_held(), "{me} left {ended}, and {rested} is still on hold");
        }
        self.agrees(me, after)
    }

    pub(crate) fn mark_spoofed(&mut self, call: &CallId) {
        if let Some(record) = self.calls.get_mut(call) {
            record.spoofed = true;
        }
    }

    pub(crate) fn spoofed(&self, call: &CallId) -> bool {
        self.calls.get(call).is_some_and(|record| record.spoofed)
    }

    fn of(&mut self, call: &CallId) -> Result<&mut Record, String> {
        self.calls.get_mut(call).ok_or_else(|| format!("{call} was never dialed"))
    }

    fn noticed(
        &mut self,
        me: &PeerId,
        before: &Lines,
        bye: Option<ByeReason>,
        actions: &[Action],
        notice: &Notice,
    ) -> Result<(), String> {
        let (call, peer, next) = match notice {
            Notice::TurnedAway { peer } => {
                // A partner that calls anew ends its old call in the same step, and then another may be waiting.
                let ended = |call: &CallId| {
                    let of = |action: &Action| matches!(action, Action::Notify(Notice::Ended { call: of, .. }) if of == call);
                    actions.iter().any(of)
                };
                let lines = [&before.front, &before.back].into_iter().filter_map(|line| line.call());
                let partner = lines.filter(|(call, _)| !ended(call)).map(|(_, partner)| partner).next();
                hold!(partner.is_some_and(|partner| partner != peer), "{me} turned away {peer}, its own partner");
                return Ok(());
            }
            Notice::Held { call, side, on } => {
                let own = self.of(call)?.side(me);
                hold!(matches!(own.told, Told::Connected | Told::Reconnecting), "{me} hears of hold in {:?}", own.told);
                let known = match side {
                    call::Side::Local => &mut own.holds,
                    call::Side::Remote => &mut own.is_held,
                };
                hold!(std::mem::replace(known, *on) != *on, "{me} hears twice that {call} is held: {on}");
                return Ok(());
            }
            Notice::UpdateRefused { call, .. } => {
                let record = self.of(call)?;
                hold!(record.caller == *me, "{me} is called and hears that an update of {call} is refused");
                return Ok(());
            }
            Notice::Switched { call, audio, video } => {
                let own = self.of(call)?.side(me);
                let told = own.told;
                hold!(matches!(told, Told::Connected | Told::Reconnecting), "{me} hears of a switch in {told:?}");
                let now = Sees { audio: *audio, video: *video };
                hold!(std::mem::replace(&mut own.sees, now) != now, "{me} hears twice of a switch in {call}");
                return Ok(());
            }
            Notice::Paused { call, on } => {
                let own = self.of(call)?.side(me);
                let told = own.told;
                hold!(matches!(told, Told::Connected | Told::Reconnecting), "{me} hears of a pause in {told:?}");
                hold!(std::mem::replace(&mut own.is_paused, *on) != *on, "{me} hears twice of a pause in {call}: {on}");
                return Ok(());
            }
            Notice::Dialing { call, peer } => (call, peer, Told::Dialing),
            Notice::Ringing { call, peer } => (call, peer, Told::Ringing),
            Notice::Incoming { call, peer } => (call, peer, Told::Incoming),
            Notice::Accepted { call, peer } => (call, peer, Told::Accepted),
            Notice::Connected { call, peer } | Notice::Reconnected { call, peer } => (call, peer, Told::Connected),
            Notice::Reconnecting { call, peer } => (call, peer, Told::Reconnecting),
            Notice::Superseded { call, peer, .. } => (call, peer, Told::Superseded),
            Notice::Ended { call, peer, reason, .. } => {
                let says_bye = actions
                    .iter()
                    .any(|a| matches!(a, Action::Send { to, call: c, message: Message::Bye { .. } } if to == peer && c == call));
                hold!(bye.is_none() || !says_bye, "{me} answers the bye of {call} with a bye");
                let untold = bye.is_none() && !matches!(before.state_of(call), State::Offering { .. });
                hold!(!untold || says_bye, "{me} ends {call} without a bye");
                (call, peer, if bye.is_some() { Told::EndedThere(*reason) } else { Told::EndedHere(*reason) })
            }
        };
        let superseding =
            actions.iter().any(|action| matches!(action, Action::Notify(Notice::Superseded { by, .. }) if by == call));
        let record = self.of(call)?;
        let calls_out = record.caller == *me;
        let partner = if calls_out { &record.callee } else { &record.caller };
        hold!(partner == peer, "{me} hears of {call} with {peer}, who is not in it");
        let side = record.side(me);
        let legal = match (side.told, next) {
            (Told::Nothing, Told::Dialing) => calls_out,
            (Told::Nothing, Told::Incoming) => !calls_out,
            (Told::Nothing, Told::Accepted) => !calls_out && superseding,
            (Told::Dialing, Told::Ringing)
            | (Told::Dialing | Told::Ringing, Told::Accepted | Told::Superseded)
            | (Told::Incoming, Told::Accepted)
            | (Told::Accepted | Told::Reconnecting, Told::Connected)
            | (Told::Connected, Told::Reconnecting) => true,
            (
                Told::Dialing | Told::Ringing | Told::Incoming | Told::Accepted | Told::Connected | Told::Reconnecting,
                Told::EndedHere(_) | Told::EndedThere(_),
            ) => true,
            _ => false,
        };
        hold!(legal, "{me} hears {next:?} of {call} after {:?}", side.told);
        side.told = next;
        let unheard = record.at_callee.told == Told::Nothing && !record.at_callee.refused;
        hold!(
            !unheard || record.at_caller.told != Told::EndedHere(EndReason::NoAnswer),
            "nobody refused {call} or rang"
        );
        Ok(())
    }

    /// The notices say the same as the states; at most one call of the peer is talked in.
    fn agrees(&self, me: &PeerId, lines: &Lines) -> Result<(), String> {
        let rests = matches!(lines.back, State::Idle | State::Incoming { .. }) || lines.back.is_held();
        hold!(rests, "{me} is in two calls: {lines}");
        hold!(lines.front != State::Idle || lines.back == State::Idle, "{me} forgets a call: {lines}");
        for (call, record) in &self.calls {
            let side = if record.caller == *me {
                &record.at_caller
            } else if record.callee == *me {
                &record.at_callee
            } else {
                continue;
            };
            let (current, state) = (lines.is_current(call), lines.state_of(call));
            let held = state.is_held();
            hold!(!current || (held, held) == (side.holds, side.released), "{me} holds {call} and does not know");
            if let Some(media) = state.media() {
                let told = (side.is_held, side.sees, side.is_paused);
                hold!(
                    told == (media.remote.hold, Sees::of(media.remote), media.remote.paused),
                    "{me} is told otherwise of {call}: {told:?}"
                );
            }
            let fits = match side.told {
                Told::Nothing | Told::Superseded | Told::EndedHere(_) | Told::EndedThere(_) => !current,
                Told::Dialing => current && matches!(state, State::Offering { .. } | State::Dialing { .. }),
                Told::Ringing => current && matches!(state, State::Ringing { .. }),
                Told::Incoming => current && matches!(state, State::Incoming { .. }),
                Told::Accepted => current && matches!(state, State::Answering { .. } | State::Connecting { .. }),
                Told::Connected | Told::Reconnecting => current && matches!(state, State::Active { .. }),
            };
            hold!(fits, "{me} heard {:?} of {call} but is {}", side.told, state.name());
        }
        Ok(())
    }

    /// A word of this call was given up, since the broker was away for longer than a message is kept.
    pub(crate) fn gave_up(&self, call: &CallId) -> bool {
        self.calls.get(call).is_some_and(|record| record.at_caller.gave_up || record.at_callee.gave_up)
    }

    /// All is over: every call ended on both sides alike, or goes on at both.
    pub(crate) fn settled(&self) -> Result<(), String> {
        for (call, record) in &self.calls {
            let (caller, callee) = (&record.at_caller, &record.at_callee);
            hold!(
                legal_pair(caller.told, callee.told),
                "{call}: {:?} at its caller, {:?} at its callee",
                caller.told,
                callee.told
            );
            let gave_up = caller.gave_up || callee.gave_up;
            if callee.told == Told::Connected && !gave_up && !record.spoofed {
                hold!(
                    (caller.holds, callee.holds) == (callee.is_held, caller.is_held),
                    "{call}: who is on hold is not clear"
                );
            }
            if callee.told == Told::Connected && !gave_up && !record.restarted {
                hold!(
                    (caller.gathered, callee.gathered) == (callee.applied, caller.applied),
                    "{call}: {} of {} and {} of {} candidates came across",
                    callee.applied,
                    caller.gathered,
                    caller.applied,
                    callee.gathered
                );
            }
        }
        Ok(())
    }
}

/// A person accepted, or was itself calling the caller, who has the lower ID.
fn may_answer(before: &Lines, call: &CallId, event: Option<&Event>) -> bool {
    match (before.state_of(call), &before.front, event) {
        (State::Incoming { .. }, _, Some(Event::Accept)) => true,
        (
            _,
            State::Offering { peer, .. } | State::Dialing { peer, .. } | State::Ringing { peer, .. },
            Some(Event::Received { from, message: Message::Offer(_), .. }),
        ) => peer == from,
        _ => false,
    }
}

/// Every pair of ends that may be, as the caller and the callee heard them.
fn legal_pair(caller: Told, callee: Told) -> bool {
    use EndReason::*;
    match (caller, callee) {
        // The line was taken; or both talk.
        (Told::Nothing, Told::Nothing) | (Told::Connected, Told::Connected) => true,
        // The callee never rang: it was away, busy, or calling this caller and its own call went on.
        // (No answer: it said busy, and the broker kept that back too long.)
        (Told::EndedHere(LocalCancel | Offline | NoAnswer | NoPath | LocalFailure), Told::Nothing)
        | (Told::EndedThere(Busy), Told::Nothing)
        | (Told::Superseded, Told::Nothing) => true,
        // The callee rang before the caller's own call to be superseded was known to be.
        (Told::Superseded, Told::EndedThere(RemoteCancel | RemoteHangup)) => true,
        // (Lost: the path was there while it rang, so for the callee the call stood at once.)
        (Told::Superseded, Told::EndedHere(LocalDecline | LocalHangup | NoAnswer | NoPath | Lost | LocalFailure)) => {
            true
        }
        // One side ended it and the other was told.
        (Told::EndedHere(own), Told::EndedThere(heard)) => match own {
            LocalHangup => heard == RemoteHangup,
            LocalCancel | Offline => matches!(heard, RemoteCancel | RemoteHangup),
            NoAnswer => matches!(heard, NoAnswer | RemoteHangup),
            NoPath | Lost | LocalFailure => matches!(heard, NoPath | Lost),
            LocalDecline | RemoteHangup | RemoteCancel | RemoteDecline | Busy | Identity | Commitment => false,
        },
        (Told::EndedThere(heard), Told::EndedHere(own)) => match own {
            // Its bye may overtake its answer.
            LocalHangup => matches!(heard, RemoteHangup | RemoteDecline),
            LocalDecline => heard == RemoteDecline,
            NoAnswer => heard == NoAnswer,
            NoPath | Lost | LocalFailure => matches!(heard, NoPath | Lost),
            LocalCancel | Offline | RemoteHangup | RemoteCancel | RemoteDecline | Busy | Identity | Commitment => false,
        },
        // Both ended it before either bye arrived.
        (Told::EndedHere(caller), Told::EndedHere(callee)) => {
            matches!(caller, LocalCancel | LocalHangup | Offline | NoAnswer | NoPath | Lost | LocalFailure)
                && matches!(callee, LocalDecline | LocalHangup | NoAnswer | NoPath | Lost | LocalFailure)
        }
        _ => false,
    }
}
