//! `tring call PEER`.

use std::sync::Arc;

use media::display::window::WindowClient;
use signalling::call::{Manners, Timeouts};
use signalling::dialect::Dialect;
use signalling::mqtt::Audience;

use crate::cli::Call;
use crate::exit::{ExitStatus, Failure};
use crate::outputs;
use crate::printer::Printer;
use crate::session::{self, Absent, Driver, Role};
use crate::settings::Settings;

pub(crate) async fn run(call: Call, printer: Arc<Printer>, windows: WindowClient) -> Result<ExitStatus, Failure> {
    let (settings, role, manners) = prepare(call)?;
    session::run(settings, role, manners, printer, windows, Driver::User).await
}

/// What a session needs to make the call.
///
/// # Errors
/// A usage [`Failure`] when the options do not fit together.
pub(crate) fn prepare(call: Call) -> Result<(Settings, Role, Manners), Failure> {
    let settings = Settings::resolve(&call.common, Audience::Only(vec![call.peer.clone()]))?;
    if settings.link.me == call.peer {
        return Err(Failure::usage(format!("{} is this peer itself; call another, or pass another --id", call.peer)));
    }
    outputs::check_kept(&settings.media)?;
    if call.dial.wait && settings.dialect == Dialect::Apprtc {
        return Err(Failure::usage("--wait needs the presence of the other side, which --dialect apprtc has not"));
    }
    let timeouts = Timeouts { answer: call.dial.answer_timeout, ..Timeouts::default() };
    let absent = if call.dial.wait { Absent::Wait } else { Absent::End };
    Ok((settings, Role::Call { peer: call.peer, absent }, Manners { timeouts, ..Manners::default() }))
}
