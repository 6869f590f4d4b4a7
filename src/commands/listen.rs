//! `tring listen`.

use std::io::IsTerminal as _;
use std::sync::Arc;

use media::display::window::WindowClient;
use signalling::call::Timeouts;
use signalling::mqtt::Audience;
use signalling::wire::PresenceState;

use crate::cli::{Answer, Listen};
use crate::exit::{ExitStatus, Failure};
use crate::printer::Printer;
use crate::session::{self, Calls, Role};
use crate::settings::{Control, Settings};

pub(crate) async fn run(listen: Listen, printer: Arc<Printer>, windows: WindowClient) -> Result<ExitStatus, Failure> {
    let audience = if listen.from.is_empty() { Audience::Anyone } else { Audience::Only(listen.from.clone()) };
    let settings = Settings::resolve(&listen.common, audience)?;
    let nobody = settings.control == Control::Terminal && !std::io::stdin().is_terminal();
    if listen.answer == Answer::Ask && nobody {
        return Err(Failure::usage("nobody can be asked here; pass --answer auto or reject, or --control -"));
    }
    if settings.media.record.is_some() && !listen.once {
        return Err(Failure::usage(
            "--record needs --once here: each call would replace the recording of the one before",
        ));
    }
    let calls = if listen.once { Calls::One } else { Calls::Many };
    let presence = if listen.away { PresenceState::Away } else { PresenceState::Available };
    let role = Role::Listen { answer: listen.answer, calls, presence };
    session::run(settings, role, Timeouts::default(), printer, windows).await
}
