//! Each STUN server: does it answer, and as whom does it see us?

use media::peer::config::IceServer;
use media::peer::probe;

use super::{Finding, Look, in_ms};

/// One server asked.
pub(super) async fn check(server: IceServer) -> Finding {
    let look = Look::at_one_of("stun", &server.url, super::Group::Alone);
    match probe::mapped_address(&server).await {
        Ok((mapped, took)) => look.ok(format!("sees this machine as {mapped}, answered in {}", in_ms(took))),
        Err(error) => look.warning(
            format!("{error}; peers outside this network may not reach this machine directly"),
            error.advice(&server.url),
        ),
    }
}

/// Nothing to ask.
pub(super) fn none_given() -> Finding {
    Look::at("stun").skipped("no server given by --ice stun:HOST; of use for peers outside this network")
}
