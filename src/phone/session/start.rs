//! Starts a session: what it needs is opened in order, so that what is missing is said before anyone is rung.
//!
//! - devices → the link to the broker, of our own or that of another program with our ID → [`Session::run`]

use std::sync::Arc;

use media::display::window::WindowClient;
use signalling::call::PhoneConfig;
use signalling::mqtt::{Link, LinkError, Sealing};
use signalling::seal::Acquaintances;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::open::{OpenMedia, Speaking};
use super::view::View;
use super::{Driver, Role, Session, Surroundings};
use crate::cli::Answer;
use crate::output::exit::{ExitStatus, Failure};
use crate::output::printer::Printer;
use crate::phone::events::CallEvent;
use crate::phone::identity;
use crate::phone::known_peers::KnownPeers;
use crate::phone::settings::Settings;
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
    let memory = match &driver {
        Driver::User => KnownPeers::find(),
        Driver::Owner(_) => None,
    };
    let memory = memory.filter(|_| settings.security.as_ref().is_some_and(|security| security.keys.is_none()));
    settings.link.sealing = sealing(&settings, memory.as_ref(), &driver)?;
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
    let (link, handle, link_events) = Link::new(settings.link.clone()).map_err(link_failed)?;
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
        Surroundings { link: handle, guests, windows, printer, memory },
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

/// What seals our messages, if the user asks for it: the identity of our ID, and what is remembered of peers. A session
/// that a test runs has an identity of that test, and remembers nobody.
fn sealing(settings: &Settings, memory: Option<&KnownPeers>, driver: &Driver) -> Result<Option<Sealing>, Failure> {
    let Some(security) = &settings.security else { return Ok(None) };
    let keys = match (&security.keys, driver) {
        (Some(keys), _) => Arc::clone(keys),
        (None, Driver::User) => identity::own(&settings.link.me)?,
        (None, Driver::Owner(_)) => identity::of_this_program(),
    };
    let acquaintances = match memory {
        Some(memory) => memory.clone().follow()?,
        None => watch::channel(Arc::new(Acquaintances::new())).1,
    };
    Ok(Some(Sealing { keys, policy: security.policy, acquaintances }))
}
