//! What peers say to each other, read along at the broker and drawn as a ladder. Pure, but for the [`recorder`].
//!
//! - [`reading`]: a payload becomes a [`Message`]: who says what to whom, in words; addresses, keys and descriptions end here
//! - [`words`]: what a message means
//! - [`book`]: since when a call goes on, what was said again, and which message an acknowledgement is of
//! - [`ladder`]: lines of text, one column a peer, one line a message
//! - [`recorder`]: all messages of a run, for [`draw`]
//!
//! Nothing here is trusted: whatever a stranger wrote is cut and holds no control characters when it gets out.

mod book;
pub(crate) mod events;
mod ladder;
mod reading;
pub(crate) mod recorder;
mod words;

use std::time::Duration;

use signalling::id::{CallId, MessageId, PeerId};
use signalling::wire::PresenceState;

pub(crate) use book::{Book, Kind};
pub(crate) use ladder::Ladder;
pub(crate) use ladder::draw;
pub(crate) use reading::Reader;

/// One payload as the broker passed it on, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    /// When it came, since the reading began.
    pub(crate) at: Duration,
    /// Whose topic carried it.
    pub(crate) from: PeerId,
    /// Whom it is for; a topic may not say.
    pub(crate) to: Option<PeerId>,
    /// Size of the payload.
    pub(crate) bytes: usize,
    /// What it says.
    pub(crate) content: Content,
}

/// What a payload says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// A message of a call.
    Said {
        /// The call, where the dialect names it.
        call: Option<CallId>,
        /// Names the message, where the dialect does: the same when it is sent again.
        id: Option<MessageId>,
        /// Its name on the wire.
        name: &'static str,
        /// What it means.
        words: String,
    },
    /// A message arrived.
    Ack {
        /// That message.
        of: MessageId,
    },
    /// A peer came, went, or does something else now.
    Presence {
        /// What it is now; none for what is empty or unreadable.
        state: Option<PresenceState>,
        /// True for what the broker held before the reading began: no news.
        retained: bool,
    },
    /// Nobody can read it.
    Unreadable {
        /// Why.
        why: String,
    },
}
