//! Calls made in this process: each caller and each answerer is a session with a connection to the broker of its own.
//!
//! - [`Site`]: what all sessions have in common
//! - [`calling`]: a step, from its first call to its last
//! - [`answerers`]: those who answer, for a step or for another machine

mod answerers;
mod calling;

use std::time::Duration;

use media::display::window::WindowClient;
use media::peer::impaired::ImpairHandle;
use signalling::call::PhoneConfig;
use signalling::id::PeerId;
use signalling::mqtt::Audience;
use signalling::wire::PresenceState;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::worker::{Report, Work};
use crate::calltest::peers::PeerHandle;
use crate::calltest::peers::here::{self, Inside};
use crate::cli::Answer;
use crate::phone::session::{Absent, Calls, Role};
use crate::phone::settings::Settings;
use crate::platform::random;

/// What all sessions have in common.
#[derive(Clone)]
pub(crate) struct Site {
    /// As the options resolve to; each session has an ID of its own.
    pub(crate) settings: Settings,
    /// Whom to call; empty: answerers of our own.
    pub(crate) to: Vec<PeerId>,
    /// What this program held before the first step, bytes.
    pub(crate) memory_before: Option<u64>,
    pub(crate) windows: WindowClient,
}

impl Site {
    fn caller(&self, me: PeerId, peer: PeerId, talk: Duration) -> PeerHandle {
        let mut settings = self.settings_of(me, Audience::Only(vec![peer.clone()]));
        settings.media.duration = Some(talk);
        let role = Role::Call { peer, absent: Absent::End };
        here::start(Inside { settings, role, phone_config: PhoneConfig::default(), windows: self.windows.clone() })
    }

    fn answerer(&self, me: PeerId) -> PeerHandle {
        let settings = self.settings_of(me, Audience::Anyone);
        let role = Role::Listen { answer: Answer::Auto, calls: Calls::Many, presence: PresenceState::Available };
        here::start(Inside { settings, role, phone_config: PhoneConfig::default(), windows: self.windows.clone() })
    }

    fn settings_of(&self, me: PeerId, audience: Audience) -> Settings {
        let mut settings = self.settings.clone();
        (settings.link.me, settings.link.run, settings.link.audience) = (me, random::nonce(), audience);
        // Each has a network of its own, be it as bad as the others'.
        settings.peer.impairments = ImpairHandle::new(settings.peer.impairments.impairments());
        settings
    }
}

/// Does the work, telling of it; stops early when told to.
pub(crate) async fn run(site: Site, work: Work, reports: mpsc::Sender<Report>, stop: CancellationToken) {
    let outcome = match work {
        Work::Call { at_once, rate, talk, lasting } => {
            let step = calling::Step { at_once, rate, talk, lasting };
            calling::run(&site, step, &reports, &stop).await
        }
        Work::Answer { answerers, lasting } => answerers::run(&site, answerers, lasting, &reports, &stop).await,
    };
    // Whoever asked may be gone.
    let _gone = reports.send(Report::Ended(outcome)).await;
}
