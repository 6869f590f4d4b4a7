//! `tring call PEER`.

use std::collections::BTreeMap;
use std::sync::Arc;

use media::display::window::WindowClient;
use signalling::id::PeerId;

use crate::cli::Call;
use crate::output::exit::{ExitStatus, Failure};
use crate::output::printer::Printer;
use crate::phone::plan;
use crate::phone::session::{self, Driver};

pub(crate) async fn run(
    call: Call,
    nicks: &BTreeMap<String, PeerId>,
    printer: Arc<Printer>,
    windows: WindowClient,
) -> Result<ExitStatus, Failure> {
    let peer = call.peer.clone();
    let (settings, role, phone_config) = plan::of_call(call)?;
    let told = Arc::clone(&printer);
    let status = session::run(settings, role, phone_config, printer, windows, Driver::User).await?;
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
