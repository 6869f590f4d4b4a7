//! `tring listen`.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::sync::Arc;

use media::display::window::WindowClient;
use signalling::id::PeerId;

use crate::cli::{Answer, Listen};
use crate::output::exit::{ExitStatus, Failure};
use crate::output::printer::Printer;
use crate::phone::plan;
use crate::phone::session::{self, Driver};

pub(crate) async fn run(
    listen: Listen,
    contacts: &BTreeMap<String, PeerId>,
    printer: Arc<Printer>,
    windows: WindowClient,
) -> Result<ExitStatus, Failure> {
    let nobody = listen.common.control.is_none() && !std::io::stdin().is_terminal();
    if listen.answer == Answer::Ask && nobody {
        return Err(Failure::usage("nobody can be asked here; pass --answer auto or reject, or --control -"));
    }
    let (settings, role, phone_config) = plan::of_listen(&listen, contacts)?;
    session::run(settings, role, phone_config, printer, windows, Driver::User).await
}
