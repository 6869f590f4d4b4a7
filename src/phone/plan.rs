//! Plans a session: from the options of `tring call` and `tring listen` to what [`session::run`](super::session::run)
//! needs. Reads nothing but the files that options name.

use std::collections::BTreeMap;

use media::existing::Existing;
use signalling::call::{PhoneConfig, Timeouts, Waiting};
use signalling::dialect::Dialect;
use signalling::id::PeerId;
use signalling::mqtt::Audience;
use signalling::wire::PresenceState;

use super::outputs;
use super::session::{Absent, Calls, Role};
use super::settings::{EarlyPeers, Settings};
use crate::cli::{Answer, Call, Listen};
use crate::output::exit::Failure;

/// What a session needs to make the call.
///
/// # Errors
/// A usage [`Failure`] when the options do not fit together.
pub(crate) fn of_call(call: Call) -> Result<(Settings, Role, PhoneConfig), Failure> {
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
    Ok((settings, Role::Call { peer: call.peer, absent }, PhoneConfig { timeouts, ..PhoneConfig::default() }))
}

/// What a session needs to wait for calls, of a user who knows `contacts`.
///
/// # Errors
/// A usage [`Failure`] when the options do not fit together.
pub(crate) fn of_listen(
    listen: &Listen,
    contacts: &BTreeMap<String, PeerId>,
) -> Result<(Settings, Role, PhoneConfig), Failure> {
    let audience = if listen.from.is_empty() { Audience::Anyone } else { Audience::Only(listen.from.clone()) };
    let mut settings = Settings::resolve(&listen.common, audience)?;
    settings.early_media = EarlyPeers::new(listen.early_media, contacts.values());
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
    Ok((settings, role, PhoneConfig { waiting, ..PhoneConfig::default() }))
}
