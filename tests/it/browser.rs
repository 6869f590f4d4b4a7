//! Calls with a browser: Chromium with the page of `tests/browser` at the other end, which judges what it receives.
//!
//! The page speaks the protocol by an implementation of its own, over MQTT over WebSocket; both sides send a picture
//! and sound that the other can check, or Chromium's fake camera.

use serde_json::{Value, json};

use crate::support::call::Args;
use crate::support::chromium::Chromium;
use crate::support::coturn::{self, Coturn};
use crate::support::mosquitto::Mosquitto;
use crate::support::process::Tring;
use crate::support::served::{self, OVER_TLS, Served};
use crate::support::turn::Turn;
use crate::support::{PATIENCE, peer};

/// What a call must bring at the very least, far below the 30 pictures and 50 packets a second of 6 s: a busy machine
/// may be slow, but not still.
const PICTURES_MIN: u64 = 40;
const PACKETS_MIN: u64 = 100;
/// Test tones, half a second each, that must be heard.
const TONES_MIN: usize = 4;

/// Test media, nothing shown or played, and whom to be.
fn test_peer(id: &str, broker: &str) -> Vec<String> {
    let media = ["--video", "test", "--audio", "tone", "--show", "none", "--play", "none"].map(str::to_owned);
    [peer(id, broker), media.to_vec()].concat()
}

fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no count"))
}

/// Nine of ten.
fn most(part: &Value, whole: u64) -> bool {
    count(part) * 10 >= whole * 9
}

/// The page received our test pattern and our tones: decoded, whole, in order.
fn page_received_test_media(ended: &Value, codec: &str) {
    let (video, audio) = (&ended["video"], &ended["audio"]);
    assert_eq!(video["codec"], format!("video/{codec}"), "{ended}");
    assert_eq!((count(&video["width"]), count(&video["height"])), (640, 480), "{ended}");
    assert!(count(&video["decoded"]) >= PICTURES_MIN, "{ended}");
    assert!(few_lost(&video["lost"], count(&video["decoded"])), "{ended}");
    // The browser may draw fewer pictures than it decodes, and one of them twice.
    let sampled = count(&video["sampled"]) - count(&video["repeated"]);
    assert!(sampled >= PICTURES_MIN / 2 && most(&video["inOrder"], sampled), "{ended}");
    assert_eq!(audio["codec"], "audio/opus", "{ended}");
    assert!(count(&audio["packets"]) >= PACKETS_MIN, "{ended}");
    assert!(few_lost(&audio["lost"], count(&audio["packets"])), "{ended}");
    in_steps(&audio["tones"]);
}

/// Tones that follow each other as they are sent: 400, 600, … 1800, 400 Hz.
fn in_steps(tones: &Value) {
    let tones: Vec<u64> = tones.as_array().unwrap().iter().map(count).collect();
    let steps = tones.windows(2).filter(|pair| pair[1] == if pair[0] == 1800 { 400 } else { pair[0] + 200 }).count();
    assert!(steps >= TONES_MIN && steps * 10 >= (tones.len() - 1) * 8, "{tones:?}");
}

/// Less than one in fifty. Nothing is lost on loopback but by a machine that is too busy.
fn few_lost(lost: &Value, whole: u64) -> bool {
    count(lost) * 50 <= whole
}

/// We received pictures and sound of the page.
fn tring_received_media(summary: &Value, codec: &str) {
    let (video, audio) = (&summary["received"]["video"], &summary["received"]["audio"]);
    assert_eq!((&summary["status"], &summary["video_codec"]), (&0.into(), &codec.into()), "{summary}");
    assert_eq!(video["codec"], codec, "{summary}");
    assert!(count(&video["width"]) > 0 && count(&video["height"]) > 0, "{summary}");
    assert!(count(&video["frames"]) >= PICTURES_MIN, "{summary}");
    assert!(few_lost(&video["lost"], count(&video["packets"])), "{summary}");
    assert!(count(&audio["frames"]) >= PACKETS_MIN, "{summary}");
    assert!(few_lost(&audio["lost"], count(&audio["packets"])), "{summary}");
    // Everything the other side says must be understood.
    for count in ["dropped", "candidates_left_out"] {
        assert_eq!(summary["signalling"][count], 0, "{summary}");
    }
}

/// The page sent what `tests/browser/media.js` generates.
fn tring_received_test_media(summary: &Value) {
    let video = &summary["received"]["video"];
    assert!(most(&video["pattern"]["read"], count(&video["frames"])), "{summary}");
    assert!(most(&video["pattern"]["in_order"], count(&video["pattern"]["read"])), "{summary}");
    in_steps(&summary["received"]["audio"]["tones_heard"]);
}

fn media_flows(tring: &mut Tring, page: &mut Chromium) {
    for name in ["connected", "first_frame", "first_audio"] {
        tring.wait_event(name, PATIENCE);
        page.wait_event(name, PATIENCE);
    }
}

/// The program calls over Mosquitto; the page answers with Chromium's camera; the program hangs up.
fn tring_calls(codec: &str, options: &[&str]) {
    let _turn = Turn::whole_machine();
    let mosquitto = Mosquitto::anonymous();
    let broker = mosquitto.websocket_url();
    let mut page = Chromium::open(&[("broker", &broker), ("id", "browser"), ("role", "answer")]);
    page.wait_event("online", PATIENCE);
    let call = ["call", "browser", "--duration", "6s"].map(str::to_owned).to_vec();
    let options = options.iter().map(|&option| option.to_owned()).collect();
    let mut tring = Tring::command([call, test_peer("alice", &broker), options].concat()).plain().spawn();
    page.wait_event("incoming", PATIENCE);
    tring.wait_event("ringing", PATIENCE);
    media_flows(&mut tring, &mut page);

    let ended = page.wait_event("ended", PATIENCE);
    assert_eq!((&ended["by"], &ended["reason"]), (&"remote".into(), &"hangup".into()), "{ended}");
    let summary = tring.wait_event("summary", PATIENCE);
    assert_eq!(summary["reason"], "hangup", "{summary}");
    assert_eq!(tring.wait_exit(PATIENCE), 0);
    page_received_test_media(&ended, codec);
    tring_received_media(&summary, &codec.to_ascii_lowercase());
}

/// The page calls over the embedded broker with a generated picture; the program answers; the page hangs up.
fn chromium_calls(codec: &str, options: &[&str]) {
    let _turn = Turn::whole_machine();
    let ports = ["--mqtt-port", "0", "--websocket-port", "0", "--turn-port", "0"];
    let mut serve = Tring::spawn([&["serve"][..], &ports].concat());
    let serving = serve.wait_event("serving", PATIENCE);
    let broker = serving["websocket"].as_str().unwrap();
    let listen = ["listen", "--answer", "auto", "--once"].map(str::to_owned).to_vec();
    let options = options.iter().map(|&option| option.to_owned()).collect();
    let mut tring = Tring::command([listen, test_peer("bob", broker), options].concat()).plain().spawn();
    tring.wait_event("online", PATIENCE);
    let settings = [("broker", broker), ("id", "browser"), ("role", "call"), ("peer", "bob"), ("send", "pattern")];
    let mut page = Chromium::open(&[&settings[..], &[("talk", "6")]].concat());
    let incoming = tring.wait_event("incoming", PATIENCE);
    assert_eq!(incoming["peer"], "browser");
    page.wait_event("accepted", PATIENCE);
    media_flows(&mut tring, &mut page);

    let ended = page.wait_event("ended", PATIENCE);
    assert_eq!((&ended["by"], &ended["reason"]), (&"local".into(), &"hangup".into()), "{ended}");
    let summary = tring.wait_event("summary", PATIENCE);
    assert_eq!(summary["reason"], "remote-hangup", "{summary}");
    assert_eq!(tring.wait_exit(PATIENCE), 0);
    page_received_test_media(&ended, codec);
    tring_received_media(&summary, &codec.to_ascii_lowercase());
    tring_received_test_media(&summary);
    serve.signal("TERM");
    assert_eq!(serve.wait_exit(PATIENCE), 0);
}

/// With nothing said about codecs: ours come first in our own offer.
#[test]
fn tring_calls_chromium_over_h264() {
    tring_calls("H264", &[]);
}

#[test]
fn tring_calls_chromium_over_vp8() {
    tring_calls("VP8", &["--codec", "vp8"]);
}

/// With nothing said about codecs: Chromium's come first in its offer.
#[test]
fn chromium_calls_tring_over_vp8() {
    chromium_calls("VP8", &[]);
}

#[test]
fn chromium_calls_tring_over_h264() {
    chromium_calls("H264", &["--codec", "h264"]);
}

/// A TURN server over TLS, and who may use it.
struct TurnOverTls<'a> {
    url: &'a str,
    user: &'a str,
    password: &'a str,
}

/// The page calls by the relay alone, which it reaches over TLS alone; the program has addresses of its own.
fn chromium_calls_by_relay(page_broker: &str, our_broker: &str, turn: &TurnOverTls) {
    let _turn = Turn::whole_machine();
    let listen = ["listen", "--answer", "auto", "--once"].map(str::to_owned).to_vec();
    let mut tring = Tring::command([listen, test_peer("bob", our_broker)].concat()).plain().spawn();
    tring.wait_event("online", PATIENCE);
    let who = [("broker", page_broker), ("id", "browser"), ("role", "call"), ("peer", "bob"), ("send", "pattern")];
    let relay = [("ice", turn.url), ("ice_user", turn.user), ("ice_password", turn.password), ("relay", "only")];
    let mut page = Chromium::open_trustful(&[&who[..], &relay, &[("talk", "6")]].concat());
    page.wait_event("accepted", PATIENCE);
    let connected = tring.wait_event("connected", PATIENCE);
    // Its candidate may come after its checks.
    let remote = connected["pair"]["remote"].as_str().unwrap();
    assert!(["relay", "prflx"].contains(&remote), "{connected}");
    for name in ["first_frame", "first_audio"] {
        tring.wait_event(name, PATIENCE);
        page.wait_event(name, PATIENCE);
    }
    let ended = page.wait_event("ended", PATIENCE);
    let summary = tring.wait_event("summary", PATIENCE);
    assert_eq!(ended["path"], json!({"local": "relay", "relayProtocol": "tls"}), "{ended}");
    assert_eq!(tring.wait_exit(PATIENCE), 0);
    page_received_test_media(&ended, "VP8");
    tring_received_media(&summary, "vp8");
    tring_received_test_media(&summary);
}

#[test]
fn chromium_calls_through_a_relay_over_tls() {
    let (mosquitto, coturn) = (Mosquitto::anonymous(), Coturn::long_term());
    let (broker, url) = (mosquitto.websocket_url(), format!("{}?transport=tcp", coturn.tls_url()));
    let turn = TurnOverTls { url: &url, user: coturn::USER, password: coturn::PASSWORD };
    chromium_calls_by_relay(&broker, &broker, &turn);
}

/// Broker and relay of the page are on one port of our own server.
#[test]
fn chromium_calls_through_our_own_relay_over_tls() {
    let served = Served::start(Args::new(OVER_TLS));
    let url = format!("{}?transport=tcp", served.turns());
    let turn = TurnOverTls { url: &url, user: served::LOGIN, password: served::LOGIN };
    chromium_calls_by_relay(&served.wss(), &served.mqtt, &turn);
}

/// More pictures and sound come than before.
fn goes_on(tring: &mut Tring) {
    let counts = |stats: &Value| ["video", "audio"].map(|medium| count(&stats["received"][medium]["frames"]));
    tring.send_control(&json!({"command": "stats"}));
    let before = counts(&tring.events_named("stats").last().expect("a second has passed").clone());
    tring.wait_event_where("stats", PATIENCE, |stats| {
        let now = counts(stats);
        now[0] > before[0] + 10 && now[1] > before[1] + 10
    });
}

/// A second of the call passes.
fn goes_on_for_a_second(tring: &mut Tring) {
    let last = tring.wait_event("stats", PATIENCE)["ts"].as_u64().unwrap();
    tring.wait_event_where("stats", PATIENCE, |stats| stats["ts"].as_u64().unwrap() > last + 900);
}

/// Other media and another path are agreed on in mid-call.
fn is_updated(tring: &mut Tring, page: &mut Chromium) {
    tring.wait_event("stats", PATIENCE);
    for (revision, video) in [(1, "none"), (2, "test")] {
        tring.send_control(&json!({"command": "send", "video": video}));
        let updated = page.wait_event("updated", PATIENCE);
        assert_eq!((&updated["revision"], &updated["generation"]), (&json!(revision), &json!(0)), "{updated}");
        // The page tells when its part is done; a change that is asked for before ours is goes with it.
        goes_on_for_a_second(tring);
    }
    goes_on(tring);
    tring.send_control(&json!({"command": "mute"}));
    assert_eq!(page.wait_event("media", PATIENCE)["audio"], false);

    // The browser stands still, so nothing comes from it, and the path counts as broken.
    page.stand_still(true);
    tring.wait_event("reconnecting", PATIENCE);
    page.stand_still(false);
    let updated = page.wait_event("updated", PATIENCE);
    assert!(updated["generation"].as_u64().is_some_and(|generation| generation >= 1), "{updated}");
    tring.wait_event("reconnected", PATIENCE);
    goes_on(tring);
    tring.send_control(&json!({"command": "hangup"}));
    let ended = page.wait_event("ended", PATIENCE);
    assert_eq!((&ended["by"], &ended["reason"]), (&json!("remote"), &json!("hangup")), "{ended}");
    assert_eq!(tring.wait_exit(PATIENCE), 0);
    assert_eq!(tring.events_named("connected").len(), 1);
    assert!(tring.events_named("warning").is_empty(), "{:?}", tring.events_named("warning"));
}

#[test]
fn a_call_to_chromium_gets_other_media_and_a_new_path() {
    let _turn = Turn::whole_machine();
    let mosquitto = Mosquitto::anonymous();
    let broker = mosquitto.websocket_url();
    let mut page = Chromium::open(&[("broker", &broker), ("id", "browser"), ("role", "answer")]);
    page.wait_event("online", PATIENCE);
    let call = ["call", "browser", "--control", "-"].map(str::to_owned).to_vec();
    let mut tring = Tring::command([call, test_peer("alice", &broker)].concat()).plain().spawn();
    media_flows(&mut tring, &mut page);
    is_updated(&mut tring, &mut page);
}

/// The page makes the offers here, and the program asks for them.
#[test]
fn a_call_of_chromium_gets_other_media_and_a_new_path() {
    let _turn = Turn::whole_machine();
    let mosquitto = Mosquitto::anonymous();
    let broker = mosquitto.websocket_url();
    let listen = ["listen", "--answer", "auto", "--once", "--control", "-"].map(str::to_owned).to_vec();
    let mut tring = Tring::command([listen, test_peer("bob", &broker)].concat()).plain().spawn();
    tring.wait_event("online", PATIENCE);
    let settings = [("broker", &*broker), ("id", "browser"), ("role", "call"), ("peer", "bob"), ("talk", "120")];
    let mut page = Chromium::open(&settings);
    media_flows(&mut tring, &mut page);
    is_updated(&mut tring, &mut page);
}
