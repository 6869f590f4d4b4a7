//! A whole peer connection that is given a stranger's description: as an offer, as an update, and as the answer to its
//! own offer. It may refuse; it must do so soon, and without a panic.
//!
//! Lines that begin with `candidate:` come as messages of their own, the rest is the description. Addresses are all
//! made to be of this machine: nothing is sent elsewhere, whatever the bytes say.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use media::frame::VideoCodec;
use media::peer::config::{BitrateLimits, Dialer, Direction, IcePolicy, Loopback, PeerConfig};
use media::peer::impaired::ImpairHandle;
use media::peer::{IceCandidate, Inbox, Peer, PeerEvent};
use media::queue;
use tokio::sync::mpsc;

/// Gathering waits half a second at most; the rest is calculation.
const PATIENCE: Duration = Duration::from_secs(8);

pub(crate) fn run(data: &[u8]) {
    let (sdp, candidates) = input(data);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
    runtime.block_on(async {
        let both = tokio::time::timeout(PATIENCE, async {
            answers(&sdp, candidates.clone()).await;
            is_answered(&sdp, candidates).await;
        });
        assert!(both.await.is_ok(), "a description keeps us busy for {PATIENCE:?}");
    });
}

/// The description and the candidates beside it.
fn input(data: &[u8]) -> (String, Vec<IceCandidate>) {
    let text = String::from_utf8_lossy(data);
    let (mut sdp, mut candidates) = (String::new(), Vec::new());
    for line in text.split_inclusive('\n') {
        let line = at_home(line);
        if line.starts_with("candidate:") {
            candidates.push(IceCandidate::from((line.trim_end().to_owned(), 0)));
        } else {
            sdp.push_str(&line);
        }
    }
    (sdp, candidates)
}

/// The line with every address replaced by that of this machine, and no name that would be asked for.
fn at_home(line: &str) -> String {
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let word = |word: &str| match word.trim_end().parse::<IpAddr>() {
        Ok(_) => word.replace(word.trim_end(), &loopback.to_string()),
        Err(_) => word.replace(".local", ".here"),
    };
    line.split_inclusive(char::is_whitespace).map(word).collect()
}

async fn answers(sdp: &str, candidates: Vec<IceCandidate>) {
    let (peer, _events) = peer().await;
    if let Ok((answer, negotiated)) = peer.answer(sdp).await {
        assert!(negotiated.video.is_some() || negotiated.audio.is_some(), "agreed on nothing");
        assert!(answer.sdp.starts_with("v=0"), "no description");
        let count = candidates.len();
        assert!(peer.add_candidates(candidates).await <= count);
        let _refused_or_not = peer.answer_update(sdp).await;
    }
    peer.close().await;
}

async fn is_answered(sdp: &str, candidates: Vec<IceCandidate>) {
    let (peer, _events) = peer().await;
    peer.offer().await.expect("an offer can be made");
    if peer.apply_answer(sdp).await.is_ok() {
        peer.add_candidates(candidates).await;
        let _refused_or_not = peer.apply_update(sdp).await;
    }
    peer.close().await;
}

async fn peer() -> (Peer, mpsc::Receiver<PeerEvent>) {
    let config = PeerConfig {
        ice_servers: Vec::new(),
        dialer: Dialer::default(),
        ice_policy: IcePolicy::All,
        loopback: Loopback::Include,
        video_codecs: vec![VideoCodec::H264, VideoCodec::Vp8],
        video: Direction::SendReceive,
        audio: Direction::SendReceive,
        bitrate: BitrateLimits::for_video(640 * 480 * 30),
        impairments: ImpairHandle::default(),
    };
    let inbox = Inbox { video: queue::bounded(16).0, audio: queue::bounded(16).0 };
    Peer::new(&config, inbox).await.expect("a peer connection can be set up")
}
