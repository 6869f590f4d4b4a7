//! Our connection to the broker as a session sees it: whether it is there, what others see of us, and what is known of why
//! nobody answers.

use std::time::{Duration, Instant};

use signalling::id::PeerId;
use signalling::mqtt::{LinkConfig, LinkHandle};
use signalling::seal::Plain;
use signalling::topic::{Hearers, Template};
use signalling::wire::PresenceState;
use tracing::warn;

use super::rules::{self, Echo};
use super::start::Callee;

/// What several calls tell of a changed network within this time is one change.
const ONE_CHANGE: Duration = Duration::from_secs(1);

/// How long an echo may take.
const ECHO_WAIT: Duration = Duration::from_secs(2);

/// See the module.
pub(super) struct BrokerLink {
    handle: LinkHandle,
    state: LinkState,
    /// Whose presence the first subscription asks for.
    watched: Callee,
    /// What others see of us while no call stands.
    at_rest: PresenceState,
    /// When the network of this machine changed last.
    network_changed: Option<Instant>,
    echo: Echo,
    /// What the broker says of the one whom we call, where it says anything.
    callee: Option<PresenceState>,
}

/// Whether the broker is there.
#[derive(Clone, Debug, PartialEq, Eq)]
enum LinkState {
    Up { broker: String },
    Down,
}

impl BrokerLink {
    pub(super) fn new(handle: LinkHandle, watched: Callee, at_rest: PresenceState) -> Self {
        let state = LinkState::Down;
        Self { handle, state, watched, at_rest, network_changed: None, echo: Echo::default(), callee: None }
    }

    /// What publishes and subscribes.
    pub(super) const fn handle(&self) -> &LinkHandle {
        &self.handle
    }

    pub(super) fn went_up(&mut self, broker: String) {
        self.state = LinkState::Up { broker };
    }

    pub(super) fn went_down(&mut self) {
        self.state = LinkState::Down;
    }

    pub(super) const fn is_up(&self) -> bool {
        matches!(self.state, LinkState::Up { .. })
    }

    /// The broker that has us.
    pub(super) fn broker(&self) -> Option<&str> {
        match &self.state {
            LinkState::Up { broker } => Some(broker),
            LinkState::Down => None,
        }
    }

    /// A call tells that the network has changed: the connection to the broker began at the same address. Each call tells
    /// of it; once is enough.
    pub(super) fn network_changed(&mut self, now: Instant) {
        if self.network_changed.is_none_or(|at| now.saturating_duration_since(at) > ONE_CHANGE) {
            self.reconnect(now);
        }
    }

    /// Connects anew.
    pub(super) fn reconnect(&mut self, now: Instant) {
        self.network_changed = Some(now);
        self.handle.reconnect();
    }

    /// What others see of us while no call stands.
    pub(super) fn rest_as(&mut self, state: PresenceState) {
        self.at_rest = state;
    }

    /// Shows others whether our user is in a call.
    pub(super) fn show(&self, in_a_call: bool) {
        self.handle.set_presence(if in_a_call { PresenceState::Busy } else { self.at_rest });
    }

    /// Asks for the presence of the one whom we call, unless the first subscription did.
    pub(super) fn watch_callee(&self, peer: &PeerId) {
        let asked = match &self.watched {
            Callee::Watched(watched) if watched == peer => Ok(()),
            Callee::Watched(_) | Callee::Unwatched => self.handle.watch(peer.clone()),
        };
        if let Err(error) = asked {
            warn!(%error, "presence not asked for");
        }
    }

    /// The broker says that the one whom we call is not there.
    pub(super) fn is_callee_offline(&self) -> bool {
        self.callee == Some(PresenceState::Offline)
    }

    /// The broker says this of the one whom we call.
    pub(super) fn callee_is(&mut self, state: Option<PresenceState>) {
        self.callee = state;
    }

    /// Says something to ourselves, once, where nobody else hears it.
    pub(super) fn ask_for_echo(&mut self, template: &Template, now: Instant) {
        if self.echo == Echo::Unknown && template.hearers() == Hearers::One && self.handle.probe().is_ok() {
            self.echo = Echo::Awaited(now + ECHO_WAIT);
        }
    }

    pub(super) fn echo_heard(&mut self) {
        self.echo = Echo::Heard;
    }

    /// When the wait for the echo is over.
    pub(super) const fn echo_deadline(&self) -> Option<Instant> {
        match self.echo {
            Echo::Awaited(until) => Some(until),
            Echo::Unknown | Echo::Heard | Echo::Missing => None,
        }
    }

    /// True when the wait for the echo ends now, and none came.
    pub(super) fn echo_is_missing(&mut self, now: Instant) -> bool {
        let is_over = self.echo_deadline().is_some_and(|until| until <= now);
        if is_over {
            self.echo = Echo::Missing;
        }
        is_over
    }

    /// What is known of why `peer` did not answer.
    pub(super) fn why_unanswered(&self, link: &LinkConfig, peer: &PeerId) -> Option<String> {
        let needs_a_key = link.sealing.as_ref().is_some_and(|sealing| sealing.policy.plain == Plain::Refused);
        let lost = || Some(rules::lost_on_the_way(&link.template, &link.me, peer, self.echo));
        match self.callee {
            Some(PresenceState::Available | PresenceState::Busy | PresenceState::Away) => lost(),
            // Rules may hide its presence too.
            None if self.echo == Echo::Missing => lost(),
            None if needs_a_key => Some(rules::no_key(peer)),
            Some(PresenceState::Offline) | None => None,
        }
    }
}
