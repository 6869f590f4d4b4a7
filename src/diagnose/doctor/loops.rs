//! Two peers of this process call each other: on this machine alone, and through each TURN server alone.
//!
//! The first proves codecs, UDP and DTLS here; the second that media of two peers behind the strictest firewalls
//! would meet at the relay.

use std::time::Duration;

use media::peer::config::{IcePolicy, IceServer, IceTransport, Loopback, PeerConfig};
use tokio::time::Instant;

use super::talk::{NoTalk, Talk, talk};
use super::{Finding, Group, Look, in_ms};
use crate::output::exit::ExitStatus;

/// How long one try may take; a call gives up after 15 s, but needs well below one.
const PATIENCE: Duration = Duration::from_secs(6);

/// What a firewall on this very machine would block.
const HERE: &str = "does a firewall of this machine block UDP between its own programs?";

/// A call on this machine, once for each codec that would be offered.
pub(super) async fn direct(config: PeerConfig) -> Finding {
    let look = Look::at("direct");
    // A call that may use relays alone does not need a direct path.
    let needed = config.ice_policy == IcePolicy::All;
    let mut talks = Vec::new();
    for codec in &config.video_codecs {
        let alone = PeerConfig {
            ice_servers: Vec::new(),
            ice_policy: IcePolicy::All,
            loopback: Loopback::Include,
            video_codecs: vec![*codec],
            ..sending(&config)
        };
        match talk(&alone, Instant::now() + PATIENCE).await {
            Ok(talk) => talks.push(describe(&talk)),
            Err(NoTalk::NoPath) if !needed => return look.warning(format!("{codec}: {}", NoTalk::NoPath), HERE),
            Err(error) => {
                let (end, fix) = consequence(&error, HERE);
                return look.failed(end, format!("two peers on this machine, {codec}: {error}"), fix);
            }
        }
    }
    look.ok(format!("two peers on this machine: {}", talks.join("; ")))
}

/// A call through one TURN server, both ends relayed.
pub(super) async fn relay(index: usize, server: IceServer, config: PeerConfig) -> Finding {
    let look = Look::at_one_of("relay", &server.url, Group::Turn(index));
    let relayed = PeerConfig { ice_servers: vec![server], ice_policy: IcePolicy::RelayOnly, ..sending(&config) };
    match talk(&relayed, Instant::now() + PATIENCE).await {
        Ok(talk) => look.ok(format!("two peers through the relay alone: {}", describe(&talk))),
        Err(error) => {
            let fix = "does the server let its relayed peers meet, and are its relay ports open? See its log";
            let (end, fix) = consequence(&error, fix);
            let text = error.to_string();
            // What the server said has its advice behind the semicolon.
            let (detail, fix) =
                text.split_once("; ").map_or((text.as_str(), fix), |(detail, own)| (detail, own.into()));
            look.failed(end, format!("through the relay alone: {detail}"), fix)
        }
    }
}

/// The relay is not worth a try.
pub(super) fn no_relay(index: usize, server: &IceServer) -> Finding {
    let look = Look::at_one_of("relay", &server.url, Group::Turn(index));
    look.skipped("the TURN server does not work, see above")
}

/// The same configuration with media both ways, whatever the user would send, and in a network as it is.
fn sending(config: &PeerConfig) -> PeerConfig {
    use media::peer::config::Direction::SendReceive;
    let impairments = media::peer::impaired::ImpairHandle::default();
    PeerConfig { video: SendReceive, audio: SendReceive, impairments, ..config.clone() }
}

fn describe(talk: &Talk) -> String {
    let codec = talk.codec.map_or_else(|| "no pictures".to_owned(), |codec| codec.to_string());
    let path = match &talk.path {
        Some(path) => {
            let turn = match path.relay {
                None | Some(IceTransport::Udp) => String::new(),
                Some(stream) => format!(" (TURN over {})", stream.name().to_uppercase()),
            };
            format!("{} to {} over {}{turn}", path.local.kind, path.remote.kind, path.local.protocol)
        }
        None => "path not known".to_owned(),
    };
    let round_trip = talk.path.as_ref().and_then(|path| path.round_trip);
    let round_trip = round_trip.map(|time| format!(", round trip {}", in_ms(time))).unwrap_or_default();
    format!(
        "{codec} and opus, {path}, connected in {}, media {} later{round_trip}",
        in_ms(talk.connected),
        in_ms(talk.seen)
    )
}

/// How a call would end, and what to try.
fn consequence(error: &NoTalk, no_path: &str) -> (ExitStatus, String) {
    match error {
        NoTalk::NoPath => (ExitStatus::NoPath, no_path.to_owned()),
        NoTalk::NoRelay(_) => {
            (ExitStatus::NoPath, "a call takes a relay port on each side, for each address of this machine".to_owned())
        }
        NoTalk::Engine(_) => (ExitStatus::NoPath, "does this machine have a network?".to_owned()),
        NoTalk::Nothing(_) => {
            (ExitStatus::NoMedia, "is this machine too busy? Try again, or with a smaller --size".to_owned())
        }
        NoTalk::Codec(_) => (ExitStatus::NoMedia, "try the other codec: --codec vp8 or --codec h264".to_owned()),
        NoTalk::Start(_) => (ExitStatus::NoMedia, "does the system let this program start threads?".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use media::frame::VideoCodec;
    use media::peer::config::{BitrateLimits, Dialer, Direction};
    use media::peer::impaired::ImpairHandle;

    use super::*;

    fn config(codecs: &[VideoCodec]) -> PeerConfig {
        PeerConfig {
            ice_servers: Vec::new(),
            dialer: Dialer::default(),
            ice_policy: IcePolicy::All,
            loopback: Loopback::Exclude,
            video_codecs: codecs.to_vec(),
            video: Direction::ReceiveOnly,
            audio: Direction::ReceiveOnly,
            bitrate: BitrateLimits::for_video(320 * 240 * 15),
            impairments: ImpairHandle::default(),
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn two_peers_here_talk_in_every_codec() {
        let found = direct(config(&[VideoCodec::H264, VideoCodec::Vp8])).await;
        assert_eq!(found.status(), "ok", "{found:?}");
        for part in ["h264 and opus", "vp8 and opus", "host to host over udp"] {
            assert!(found.detail.contains(part), "{}", found.detail);
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn without_a_relay_two_that_need_one_do_not_connect() {
        let nowhere = "turn:127.0.0.1:9".parse().unwrap();
        let server = IceServer { url: nowhere, username: "u".into(), password: "p".into() };
        let relayed =
            PeerConfig { ice_servers: vec![server], ice_policy: IcePolicy::RelayOnly, ..config(&[VideoCodec::Vp8]) };
        let error = talk(&relayed, Instant::now() + Duration::from_millis(500)).await.unwrap_err();
        assert!(matches!(error, NoTalk::NoPath), "{error}");
    }
}
