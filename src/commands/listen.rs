//! `tring listen`.

use std::io::IsTerminal as _;
use std::sync::Arc;

use media::display::window::WindowClient;
use media::existing::Existing;
use signalling::call::{Manners, Waiting};
use signalling::mqtt::Audience;
use signalling::wire::PresenceState;

use crate::cli::{Answer, Listen};
use crate::exit::{ExitStatus, Failure};
use crate::outputs;
use crate::printer::Printer;
use crate::session::{self, Calls, Driver, Role};
use crate::settings::Settings;

pub(crate) async fn run(listen: Listen, printer: Arc<Printer>, windows: WindowClient) -> Result<ExitStatus, Failure> {
    let nobody = listen.common.control.is_none() && !std::io::stdin().is_terminal();
    if listen.answer == Answer::Ask && nobody {
        return Err(Failure::usage("nobody can be asked here; pass --answer auto or reject, or --control -"));
    }
    let (settings, role, manners) = prepare(&listen)?;
    session::run(settings, role, manners, printer, windows, Driver::User).await
}

/// What a session needs to wait for calls.
///
/// # Errors
/// A usage [`Failure`] when the options do not fit together.
pub(crate) fn prepare(listen: &Listen) -> Result<(Settings, Role, Manners), Failure> {
    let audience = if listen.from.is_empty() { Audience::Anyone } else { Audience::Only(listen.from.clone()) };
    let settings = Settings::resolve(&listen.common, audience)?;
    if settings.media.record.is_some() && !listen.once {
        return Err(Failure::usage(
            "--record needs --once here: each call would replace the recording of the one before",
        ));
    }
    if settings.media.snapshot.is_some() && !listen.once && settings.media.existing == Existing::Keep {
        return Err(Failure::usage(
            "--snapshot needs --once or --overwrite here: each call would replace the picture of the one before",
        ));
    }
    outputs::check_kept(&settings.media)?;
    let calls = if listen.once { Calls::One } else { Calls::Many };
    let presence = if listen.away { PresenceState::Away } else { PresenceState::Available };
    let role = Role::Listen { answer: listen.answer, calls, presence };
    // A second caller is let through to someone who can be asked, for as long as more calls than one are taken.
    let waiting = match (listen.answer, calls) {
        (Answer::Ask, Calls::Many) => Waiting::Rings,
        (Answer::Ask, Calls::One) | (Answer::Auto | Answer::Reject, _) => Waiting::Refused,
    };
    Ok((settings, role, Manners { waiting, ..Manners::default() }))
}
