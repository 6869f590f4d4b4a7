//! What a session has to do: one queue, drained in order.
//!
//! - from outside: what the loop waits for comes when the queue is empty
//! - from inside: what follows from one piece of work goes to the end, so that a list of actions is carried out to its end
//!   before what one of them brought about

use std::collections::VecDeque;

use media::display::DisplayEvent;
use signalling::call::{Action, Event};
use signalling::id::{CallId, PeerId};
use signalling::mqtt::LinkEvent;
use signalling::wire::Message;

use super::calls::MediaInput;
use super::control;
use super::jobs::Done;
use crate::phone::sharing::FromGuest;
use crate::platform::signals::End;

/// One piece of work.
pub(super) enum Work {
    /// The link to the broker tells something; `None`: it has ended.
    Link(Option<LinkEvent>),
    /// A message of another peer came, for the first time.
    Received { from: PeerId, call: CallId, message: Message },
    /// Something happened to the phone.
    Phone(Event),
    /// The phone wants something done.
    Act(Action),
    /// The media of a call tell something.
    Media(CallId, MediaInput),
    /// The viewer pressed a key or closed the view.
    Display(DisplayEvent),
    /// A job is done.
    Done(Done),
    /// A command of the user, or what is wrong with one; `None`: there will be no more.
    Control(Option<control::CommandLine>),
    /// The program is to end.
    End(End),
    /// Another program with our ID.
    Guest(FromGuest),
    /// Time alone matters.
    Time,
    /// Messages may be due to be sent again.
    DeliveryTime,
    /// Something may be due in this call.
    CallTime(CallId),
}

/// All of it, the next first.
#[derive(Default)]
pub(super) struct Queue(VecDeque<Work>);

impl Queue {
    pub(super) fn push(&mut self, work: Work) {
        self.0.push_back(work);
    }

    pub(super) fn extend(&mut self, work: impl IntoIterator<Item = Work>) {
        self.0.extend(work);
    }

    pub(super) fn pop(&mut self) -> Option<Work> {
        self.0.pop_front()
    }
}
