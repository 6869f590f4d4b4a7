//! `tring call PEER`.

use std::collections::BTreeMap;
use std::sync::Arc;

use media::display::window::WindowClient;
use signalling::call::{Manners, Timeouts};
use signalling::dialect::Dialect;
use signalling::id::PeerId;
use signalling::mqtt::Audience;

use crate::cli::Call;
use crate::exit::{ExitStatus, Failure};
use crate::outputs;
use crate::printer::Printer;
use crate::session::{self, Absent, Driver, Role};
use crate::settings::Settings;

pub(crate) async fn run(
    call: Call,
    nicks: &BTreeMap<String, PeerId>,
    printer: Arc<Printer>,
    windows: WindowClient,
) -> Result<ExitStatus, Failure> {
    let peer = call.peer.clone();
    let (settings, role, manners) = prepare(call)?;
    let told = Arc::clone(&printer);
    let status = session::run(settings, role, manners, printer, windows, Driver::User).await?;
    if status == ExitStatus::Offline && told.is_text() {
        told.result(&next_step(&peer, nicks));
    }
    Ok(status)
}

/// What to try when nobody is there by this ID.
fn next_step(peer: &PeerId, nicks: &BTreeMap<String, PeerId>) -> String {
    let word = peer.as_str();
    let distance = |nick: &&String| strsim::damerau_levenshtein(word, nick);
    let is_known = nicks.values().any(|known| known == peer);
    let near = nicks.keys().filter(|nick| !is_known && distance(nick) <= 1 + word.chars().count() / 4);
    let meant = near.min_by_key(distance).map(|nick| format!("did you mean {nick}? "));
    let meant = meant.unwrap_or_default();
    format!("{meant}\"tring contacts\" shows who is there, and \"tring call {peer} --wait\" rings as soon as {peer} is")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nick_that_is_meant_is_named() {
        let nicks = BTreeMap::from([("mum".to_owned(), "alice-laptop".parse().unwrap())]);
        let said = |peer: &str| next_step(&peer.parse().unwrap(), &nicks);
        assert!(said("mun").starts_with("did you mean mum? \"tring contacts\""), "{}", said("mun"));
        for other in ["bob", "alice-laptop"] {
            assert!(!said(other).contains("did you mean") && said(other).contains("--wait"), "{}", said(other));
        }
    }
}
