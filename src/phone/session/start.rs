//! Starts a session: what it needs is opened in order, so that what is missing is said before anyone is rung.
//!
//! - devices → the link to the broker, of our own or that of another program with our ID → [`Session::run`]

use std::sync::Arc;

use media::display::window::WindowClient;
use signalling::call::PhoneConfig;
use signalling::dialect::Dialect;
use signalling::id::PeerId;
use signalling::mqtt::{Link, LinkError, Sealing};
use signalling::seal::{Acquaintances, Policy, Strangers};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::open::{OpenMedia, Speaking};
use super::view::View;
use super::{Absent, Driver, Role, Session, Surroundings};
use crate::cli::Answer;
use crate::output::events::ProgramEvent;
use crate::output::exit::{ExitStatus, Failure};
use crate::output::printer::Printer;
use crate::phone::events::CallEvent;
use crate::phone::identity::{self, Identity};
use crate::phone::known_peers::KnownPeers;
use crate::phone::settings::{Security, Settings};
use crate::phone::sharing::{self, Card, Seat};

/// What guests say and the session has not heard yet; then they wait.
const GUEST_INPUTS_MAX: usize = 64;

/// Runs a session to its end. `driver` is who has a say in it.
///
/// # Errors
/// A [`Failure`] with the exit status when something is wrong beyond a call's outcome.
pub(crate) async fn run(
    mut settings: Settings,
    role: Role,
    phone_config: PhoneConfig,
    printer: Arc<Printer>,
    windows: WindowClient,
    driver: Driver,
) -> Result<ExitStatus, Failure> {
    let view = View::new(settings.media.show);
    let memory = match (&driver, &settings.security) {
        (Driver::User, Some(Security { keys: None, .. })) => KnownPeers::find(),
        (Driver::User, _) | (Driver::Owner(_), _) => None,
    };
    let (sealing, passing) = sealing(&settings, memory.as_ref(), &driver)?;
    settings.link.sealing = sealing;
    // What is remembered counts. What cannot be kept is told once.
    let memory = memory.filter(|_| passing.is_none());
    if let Some(text) = passing {
        printer.tell(&ProgramEvent::Warning { text });
    }
    // Dropped last: guests connect themselves when this program has left the broker.
    let closing = CancellationToken::new();
    let _lets_guests_go = closing.clone().drop_guard();
    let card = Card::new(&settings, role.part());
    let seat = match driver {
        Driver::User => sharing::enter(&card).await?,
        Driver::Owner(_) => Seat::Alone,
    };
    let open = match &role {
        // What is missing is said before anyone is rung.
        Role::Call { .. } => {
            Some(OpenMedia::open_aside(Arc::new(settings.media.clone()), view.own(), Speaking::Needed).await?)
        }
        Role::Listen { answer: Answer::Reject, .. } => None,
        Role::Listen { .. } => {
            OpenMedia::probe(&settings.media).await?;
            None
        }
    };
    let link_failed = |error: LinkError| Failure::new((&error).into(), error);
    let (mut link, handle, link_events) = Link::new(settings.link.clone()).map_err(link_failed)?;
    let callee = Callee::new(&role, &seat, &settings);
    if let Callee::Watched(peer) = &callee {
        link.watch_from_the_start(peer.clone());
    }
    handle.set_presence(role.at_rest());
    let stop = CancellationToken::new();
    // Also where the session is given up half-way, which only an owner inside the program does.
    let _ends_link = stop.clone().drop_guard();
    let (guests_tx, guests) = mpsc::channel(GUEST_INPUTS_MAX);
    let link_task = match seat {
        Seat::Host(listener) => {
            listener.serve(guests_tx, closing);
            tokio::spawn(link.run(stop.clone()))
        }
        Seat::Guest(visit) => {
            printer.tell(&CallEvent::Shared { process: visit.process });
            tokio::spawn(visit.carry(link, card, stop.clone(), guests_tx, closing))
        }
        Seat::Alone => tokio::spawn(link.run(stop.clone())),
    };
    let session = Session::new(
        settings,
        role,
        phone_config,
        Surroundings { link: handle, callee, guests, windows, printer, memory },
        view,
        open,
    );
    let result = session.run(link_events, driver).await;
    stop.cancel();
    if link_task.await.is_err() {
        warn!("the link to the broker panicked");
    }
    result
}

/// Whether the presence of the one whom we call, which has its key, is asked for with the first subscription. Whoever
/// waits for it, and a guest, ask when they are online.
pub(super) enum Callee {
    Watched(PeerId),
    Unwatched,
}

impl Callee {
    fn new(role: &Role, seat: &Seat, settings: &Settings) -> Self {
        match (role, seat, settings.dialect) {
            (Role::Call { peer, absent: Absent::End }, Seat::Host(_) | Seat::Alone, Dialect::Tring) => {
                Self::Watched(peer.clone())
            }
            (Role::Call { .. } | Role::Listen { .. }, _, Dialect::Tring | Dialect::Apprtc) => Self::Unwatched,
        }
    }
}

/// What seals our messages, in a dialect that can: the identity of our ID, and what is remembered of peers; and why that
/// identity is for this run alone, where it is. A session that a test runs has an identity of that test, and remembers
/// nobody.
fn sealing(
    settings: &Settings,
    memory: Option<&KnownPeers>,
    driver: &Driver,
) -> Result<(Option<Sealing>, Option<String>), Failure> {
    let Some(security) = &settings.security else { return Ok((None, None)) };
    let (keys, passing) = match (&security.keys, driver) {
        (Some(keys), _) => (Arc::clone(keys), None),
        (None, Driver::User) => {
            let Identity { keys, passing } = identity::own(&settings.link.me)?;
            (keys, passing)
        }
        (None, Driver::Owner(_)) => (identity::of_this_program(), None),
    };
    let policy = match (driver, security.policy.strangers) {
        (Driver::Owner(_), Strangers::Welcome) => Policy { strangers: Strangers::Anew, ..security.policy },
        (Driver::User | Driver::Owner(_), _) => security.policy,
    };
    let acquaintances = match memory {
        Some(memory) => memory.clone().follow()?,
        None => watch::channel(Arc::new(Acquaintances::new())).1,
    };
    Ok((Some(Sealing { keys, policy, acquaintances }), passing))
}
