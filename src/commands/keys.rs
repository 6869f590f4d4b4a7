//! `tring contacts known|trust|verify|forget|block`: what is remembered of the keys of peers. Programs that run take a
//! change up within a second.

use serde_json::json;
use signalling::id::PeerId;
use signalling::seal::{Acquaintance, Acquaintances, Opinion, fingerprint_words};

use crate::cli::Keys;
use crate::output::exit::{ExitStatus, Failure};
use crate::output::printer::Printer;
use crate::phone::known_peers::KnownPeers;

pub(crate) fn run(keys: Keys, printer: &Printer) -> Result<ExitStatus, Failure> {
    let Some(file) = KnownPeers::find() else {
        return Err(Failure::usage("nothing is remembered without a home; set HOME or XDG_STATE_HOME"));
    };
    let said = match keys {
        Keys::Known => return known(&file, printer),
        Keys::Trust { peer, words } => {
            let words = parsed(&words)?;
            let known = Acquaintance { words: Some(words), opinion: Opinion::Verified };
            change(&file, |all| all.insert(peer.clone(), known))?;
            format!("{peer} is trusted by these words")
        }
        Keys::Verify { peer, words } => {
            verify(&file, &peer, &words)?;
            format!("{peer} is verified")
        }
        Keys::Forget { peer } => {
            change(&file, |all| all.remove(&peer))?;
            format!("nothing is remembered of {peer}")
        }
        Keys::Block { peer } => {
            change(&file, |all| {
                let words = all.remove(&peer).and_then(|known| known.words);
                all.insert(peer.clone(), Acquaintance { words, opinion: Opinion::Blocked })
            })?;
            format!("{peer} is blocked")
        }
    };
    if printer.is_text() {
        printer.result(&said);
    }
    Ok(ExitStatus::Done)
}

fn known(file: &KnownPeers, printer: &Printer) -> Result<ExitStatus, Failure> {
    let acquaintances = file.load()?;
    for (peer, Acquaintance { words, opinion }) in &acquaintances {
        let line = if printer.is_json() {
            json!({"id": peer, "words": words, "opinion": opinion}).to_string()
        } else {
            format!("{peer}  {}  {}", opinion.name(), words.as_deref().unwrap_or_default())
        };
        printer.result(&line);
    }
    if acquaintances.is_empty() && printer.is_text() {
        printer.result("no keys are remembered");
    }
    Ok(ExitStatus::Done)
}

fn verify(file: &KnownPeers, peer: &PeerId, words: &[String]) -> Result<(), Failure> {
    let given = if words.is_empty() { None } else { Some(parsed(words)?) };
    change(file, |all| {
        let Some(Acquaintance { words: Some(remembered), opinion }) = all.get_mut(peer) else {
            return Err(Failure::usage(format!(
                "no key of {peer} is remembered; call each other first, or run `tring contacts trust {peer} WORDS`"
            )));
        };
        if given.is_some_and(|given| given != *remembered) {
            return Err(Failure::new(
                ExitStatus::Identity,
                format!("these are not the words of {peer} that are remembered, which are: {remembered}"),
            ));
        }
        *opinion = Opinion::Verified;
        Ok(())
    })?
}

fn parsed(words: &[String]) -> Result<String, Failure> {
    fingerprint_words(&words.join(" ")).ok_or_else(|| {
        Failure::usage("these are not the twelve words of a key; `tring id` shows them at the other side")
    })
}

fn change<T>(file: &KnownPeers, change: impl FnOnce(&mut Acquaintances) -> T) -> Result<T, Failure> {
    let changed = file.change(change);
    changed.map_err(|why| Failure::usage(format!("cannot change {}: {why}", file.path().display())))
}
