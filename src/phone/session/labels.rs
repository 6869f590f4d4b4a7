//! The words of the view: who is on the phone, what is switched off or broken, figures, keys.
//!
//! Made anew after everything that happens, and shown when they changed: what a key did is to be seen at once.

use media::display::{Labels, Own};
use media::send::picture_plan::Reason;
use signalling::call::{MediaSides, State};
use signalling::id::PeerId;

use super::LiveCall;
use super::media::CallMedia;
use crate::phone::events::{Plan, Stats};

/// What each key does, for the list that `?` shows and for manual pages.
pub(crate) const KEYS: [&str; 11] = [
    "q, Esc   hang up",
    "Ctrl-C   hang up and end the program",
    "m        microphone off and on",
    "c        camera off and on",
    "e        your voice as it is, or without echo and noise",
    "v        the words are the same on both sides; again: they are not",
    "h        hold, and talk again",
    "a        hold this call and answer the second one",
    "r        decline the second one",
    "s        talk in the other call",
    "?        show this list, or close it",
];

/// Whether the view lists all keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Help {
    Shown,
    Hidden,
}

impl Help {
    pub(super) const fn toggled(self) -> Self {
        match self {
            Self::Shown => Self::Hidden,
            Self::Hidden => Self::Shown,
        }
    }
}

/// What the view says of the call in front. `back` is the other line; `broker` says when the broker is missed.
pub(super) fn of_call(live: &LiveCall, sides: MediaSides, back: &State, broker: Option<&str>, help: Help) -> Labels {
    let help = match help {
        Help::Shown => KEYS.map(str::to_owned).to_vec(),
        Help::Hidden => Vec::new(),
    };
    let (title, state) = match back {
        State::Incoming { peer, .. } => (format!("tring: {} · {peer} is calling", live.peer), waiting(peer)),
        State::Idle
        | State::Offering { .. }
        | State::Dialing { .. }
        | State::Ringing { .. }
        | State::Answering { .. }
        | State::Connecting { .. }
        | State::Active { .. } => (format!("tring: {}", live.peer), state_of(live, sides)),
    };
    let narrow = live.stats.as_ref().filter(|_| !sides.is_held()).and_then(|stats| narrow(&stats.plan));
    let (trust, words) = trust(live);
    let parts = [Some(state.as_str()), trust.as_deref(), broker, narrow.as_deref()];
    Labels {
        title,
        peer: live.peer.to_string(),
        state: parts.into_iter().flatten().collect::<Vec<_>>().join(" · "),
        figures: live.stats.as_ref().filter(|_| !sides.is_held()).map(figures).unwrap_or_default(),
        keys: keys(sides, back, words),
        not_live: not_live(live, sides),
        own: if sides.local.hold || !sides.local.video { Own::Withheld } else { Own::Sent },
        help,
    }
}

/// Whether there are words that people are to compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Words {
    Compare,
    None,
}

/// What is known of who is at the other end; none of it where nothing is to be sealed.
fn trust(live: &LiveCall) -> (Option<String>, Words) {
    let Some(security) = &live.security else { return (None, Words::None) };
    match (security.sealed, security.verified, live.words()) {
        (false, ..) => (Some("not verified".to_owned()), Words::None),
        (true, true, _) => (Some("verified".to_owned()), Words::None),
        (true, false, Some(words)) => (Some(format!("words: {words}")), Words::Compare),
        (true, false, None) => (Some("not compared".to_owned()), Words::None),
    }
}

fn waiting(caller: &PeerId) -> String {
    format!("{caller} is calling too")
}

/// Who it is, and what of either side is off.
fn state_of(live: &LiveCall, MediaSides { local, remote }: MediaSides) -> String {
    let peer = &live.peer;
    let mut state = match (local.hold, remote.hold) {
        (true, _) => format!("{peer} is on hold"),
        (false, true) => format!("{peer} put the call on hold"),
        (false, false) => peer.to_string(),
    };
    if let Some(off) = off(!remote.audio, !remote.video) {
        state += &format!(" ({off})");
    }
    let raw = live.media.as_ref().is_some_and(CallMedia::is_microphone_raw).then_some("voice as it is");
    let own: Vec<&str> = off(!local.audio, !local.video).into_iter().chain(raw).collect();
    if !own.is_empty() {
        state += &format!(" · you: {}", own.join(", "));
    }
    if live.speaks_while_muted {
        state += " (m: speak)";
    }
    state
}

const fn off(sound: bool, pictures: bool) -> Option<&'static str> {
    match (sound, pictures) {
        (false, false) => None,
        (true, false) => Some("muted"),
        (false, true) => Some("camera off"),
        (true, true) => Some("muted, camera off"),
    }
}

/// Why the picture of the other side is not live.
fn not_live(live: &LiveCall, MediaSides { local, remote }: MediaSides) -> Option<String> {
    let peer = &live.peer;
    if live.marks.connected.is_none() {
        Some(format!("connecting with {peer} …"))
    } else if live.interrupted_at.is_some() {
        Some(format!("connection with {peer} interrupted …"))
    } else if local.hold {
        Some(format!("{peer} is on hold"))
    } else if remote.hold {
        Some(format!("{peer} put the call on hold"))
    } else if !remote.video {
        Some(format!("{peer}'s camera is off"))
    } else if remote.paused {
        Some(format!("{peer}'s line is too narrow for pictures"))
    } else {
        None
    }
}

/// What the line, or this machine, takes from our pictures.
fn narrow(plan: &Plan) -> Option<String> {
    let why = match plan.reason? {
        Reason::Whole => return None,
        Reason::Line => "narrow line",
        Reason::Machine => "slow machine",
    };
    let (Some(width), Some(height), Some(fps)) = (plan.width, plan.height, plan.fps) else {
        return Some(format!("{why}: sending sound alone"));
    };
    Some(format!("{why}: sending {width}x{height} at {fps}/s"))
}

/// The most important first.
fn keys(sides: MediaSides, back: &State, words: Words) -> Vec<String> {
    let mut keys = match back {
        State::Incoming { .. } => vec!["a answer".to_owned(), "r decline".to_owned(), "q end".to_owned()],
        State::Active { peer, .. } => vec!["q end".to_owned(), format!("s back to {peer}")],
        State::Idle
        | State::Offering { .. }
        | State::Dialing { .. }
        | State::Ringing { .. }
        | State::Answering { .. }
        | State::Connecting { .. } => vec!["q end".to_owned()],
    };
    if words == Words::Compare {
        keys.push("v same words".to_owned());
    }
    let further: &[&str] = if sides.local.hold { &["h resume"] } else { &["m mute", "c camera", "h hold"] };
    keys.extend(further.iter().chain(&["? keys"]).map(|&key| key.to_owned()));
    keys
}

fn figures(stats: &Stats) -> Vec<String> {
    let kbps = |bps: Option<f64>| bps.map_or("n/a".to_owned(), |bps| format!("{:.0}", bps / 1000.0));
    let fps = stats.received.fps.map_or("n/a".to_owned(), |fps| format!("{fps:.0}"));
    let latency = stats.received.video.as_ref().and_then(|video| video.figures.latency_p50_ms);
    let (received, sent) = (kbps(stats.received.video_bps), kbps(stats.sent.video_bps));
    let parts = [
        Some(format!("{fps} pictures/s")),
        Some(format!("in {received} out {sent} kbit/s")),
        latency.map(|ms| format!("{ms:.0} ms")),
        stats.pair.as_ref().map(|pair| format!("{} to {}", pair.local, pair.remote)),
    ];
    parts.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use media::call::outgoing::SendingPlan;
    use media::frame::Size;
    use media::send::picture_plan::{PicturePlan, Shape};
    use signalling::id::CallId;
    use signalling::seal::{Handshake, Parties, PublicKeys, SasNonce, SasPart};
    use signalling::wire::{Description, Message};

    use super::*;
    use crate::phone::events::Security;
    use crate::phone::session::marks::Marks;

    fn live() -> LiveCall {
        let marks = Marks { connected: Some(Instant::now()), ..Marks::default() };
        LiveCall::new(CallId::from_random(1), "bob".parse().unwrap(), marks)
    }

    #[test]
    fn what_is_off_is_said_of_both_sides() {
        let (mut call, mut sides) = (live(), MediaSides::default());
        assert_eq!((state_of(&call, sides).as_str(), not_live(&call, sides)), ("bob", None));
        sides.local.audio = false;
        sides.remote.video = false;
        assert_eq!(state_of(&call, sides), "bob (camera off) · you: muted");
        assert_eq!(not_live(&call, sides).unwrap(), "bob's camera is off");
        call.speaks_while_muted = true;
        assert_eq!(state_of(&call, sides), "bob (camera off) · you: muted (m: speak)");
        call.speaks_while_muted = false;
        sides.local.video = false;
        sides.remote.hold = true;
        assert_eq!(state_of(&call, sides), "bob put the call on hold (camera off) · you: muted, camera off");
        assert_eq!(not_live(&call, sides).unwrap(), "bob put the call on hold");
        call.interrupted_at = Some(Instant::now());
        assert!(not_live(&call, sides).unwrap().contains("interrupted"));
    }

    #[test]
    fn a_narrow_line_is_said_and_what_is_sent_over_it() {
        let plan = |pictures, reason| {
            let size = Size { width: 320, height: 240 };
            let pictures = if pictures { PicturePlan::Sent(Shape { size, fps: 15 }) } else { PicturePlan::Paused };
            narrow(&Plan::from(SendingPlan { pictures: Some((pictures, reason)), sound: None }))
        };
        assert_eq!((plan(true, Reason::Whole), narrow(&Plan::default())), (None, None));
        assert_eq!(plan(true, Reason::Line).unwrap(), "narrow line: sending 320x240 at 15/s");
        assert_eq!(plan(true, Reason::Machine).unwrap(), "slow machine: sending 320x240 at 15/s");
        assert_eq!(plan(false, Reason::Line).unwrap(), "narrow line: sending sound alone");
        let (call, mut sides) = (live(), MediaSides::default());
        sides.remote.paused = true;
        assert_eq!(not_live(&call, sides).unwrap(), "bob's line is too narrow for pictures");
    }

    #[test]
    fn who_is_at_the_other_end_is_said_as_far_as_it_is_known() {
        let mut call = live();
        assert_eq!(trust(&call), (None, Words::None), "nothing is to be sealed");
        for (sealed, verified, said) in
            [(false, false, "not verified"), (true, false, "not compared"), (true, true, "verified")]
        {
            call.security = Some(Security { sealed, verified, key: None });
            assert_eq!(trust(&call), (Some(said.to_owned()), Words::None));
        }
        let (parties, nonce) = (
            Parties {
                call: CallId::from_random(1),
                me: ("alice".parse().unwrap(), PublicKeys::from_bytes([1; 64])),
                peer: "bob".parse().unwrap(),
            },
            SasNonce::from_random([1; 16]),
        );
        let mut handshake = Handshake::caller(parties, nonce);
        handshake.complete(&mut Message::Offer(Description::new("v=0".into(), Vec::new())));
        let answer = Description { sas: Some(SasPart::Nonce(nonce)), ..Description::new("v=0".into(), Vec::new()) };
        handshake.answered(&PublicKeys::from_bytes([2; 64]), &answer).unwrap();
        let words = format!("words: {}", handshake.words().unwrap());
        call.handshake = Some(handshake);
        assert_eq!(trust(&call).0.unwrap(), "verified", "there is nothing left to compare");
        call.security = Some(Security { sealed: true, verified: false, key: None });
        assert_eq!(trust(&call), (Some(words), Words::Compare));
    }

    #[test]
    fn the_keys_fit_into_eighty_columns() {
        let mut sides = MediaSides::default();
        (sides.local.audio, sides.local.video) = (false, false);
        let (state, keys) = (state_of(&live(), sides), keys(sides, &State::Idle, Words::None));
        let line = Labels { state, keys, ..Labels::default() }.line(80);
        assert!(line.ends_with("q end · m mute · c camera · h hold · ? keys "), "{line}");
        let sides = MediaSides::default();
        let state = state_of(&live(), sides) + " · words: abstract abstract abstract abstract";
        let keys = super::keys(sides, &State::Idle, Words::Compare);
        let line = Labels { state, keys, ..Labels::default() }.line(80);
        assert!(line.ends_with("abstract abstract q end · v same words · ? keys "), "{line}");
        assert!(KEYS.iter().all(|key| key.chars().count() <= 70));
    }
}
