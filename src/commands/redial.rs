//! `tring redial`: a call to whom the log says was called last.

use std::collections::BTreeMap;
use std::sync::Arc;

use media::display::window::WindowClient;

use super::call;
use crate::cli::{Call, Redial};
use crate::output::exit::{ExitStatus, Failure};
use crate::output::printer::Printer;
use crate::phone::call_log::{CallLog, Direction, Entry, Read};

pub(crate) async fn run(redial: Redial, printer: Arc<Printer>, windows: WindowClient) -> Result<ExitStatus, Failure> {
    let read = match CallLog::of_this_user() {
        Some(log) => super::log::read(&log)?,
        None => Read::default(),
    };
    let is_ours = |entry: &&Entry| entry.direction == Direction::Out;
    let Some(last) = read.entries.iter().rev().find(is_ours) else {
        return Err(Failure::usage("the call log names nobody who was called; pass a peer: \"tring call PEER\""));
    };
    if read.is_last_unclear {
        let text = format!(
            "the call log has a line after the call to {} that cannot be read, and it may be of a later call; pass a \
             peer: \"tring call PEER\"",
            last.peer
        );
        return Err(Failure::usage(text));
    }
    let call = Call { peer: last.peer.clone(), dial: redial.dial, common: redial.common };
    call::run(call, &BTreeMap::new(), printer, windows).await
}
