//! Calls with clients that speak the plain JSON of Android's WebRTC samples (`--dialect apprtc`): the client of
//! `tests/apprtc`, written from docs/PROTOCOL.md alone, at the other end, which judges what it receives.

use serde_json::{Value, json};
use signalling::dialect::Dialect;
use signalling::id::Nonce;
use signalling::mqtt::{Audience, Link, LinkConfig, LinkEvent, TlsFiles};
use tokio_util::sync::CancellationToken;

use crate::support::aiortc::Aiortc;
use crate::support::call::{self, Args, Ended, talking};
use crate::support::mallory::Mallory;
use crate::support::mosquitto::Mosquitto;
use crate::support::process::Tring;
use crate::support::turn::Turn;
use crate::support::{PATIENCE, TempDir, password_of, sound};

/// What a call must bring at the very least, far below the 15 pictures (30 of ours) and 50 packets a second of 4 s: a busy
/// machine may be slow, but not still.
const PICTURES_MIN: u64 = 25;
const PACKETS_MIN: u64 = 80;
/// Test tones, half a second each, that must be heard.
const TONES_MIN: usize = 4;

fn tring(command: &[&str], id: &str, mosquitto: &Mosquitto) -> Args {
    let args = Args::new(command.iter().copied()).and(call::TEST_MEDIA);
    args.and(["--dialect", "apprtc", "--id", id, "--broker", &mosquitto.url()])
}

/// `listen` that answers at once, takes one call, and is online.
fn listening(mosquitto: &Mosquitto, options: &[&str]) -> Tring {
    let args = tring(&["listen", "--once"], "alice", mosquitto).and(options.iter().copied());
    let mut alice = Tring::spawn(args);
    alice.wait_event("online", PATIENCE);
    alice
}

/// The other client, as phone, with alice as its partner.
fn phone(mosquitto: &Mosquitto, role: &str, options: &[&str]) -> Aiortc {
    let broker = format!("127.0.0.1:{}", mosquitto.port());
    let args = Args::new([role, "--broker", &broker, "--id", "phone", "--partner", "alice"]);
    Aiortc::start(args.and(options.iter().copied()))
}

fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no count"))
}

/// Nine of ten.
fn most(part: &Value, whole: u64) -> bool {
    count(part) * 10 >= whole * 9
}

fn in_steps(tones: &Value) {
    let steps: Vec<u32> = serde_json::from_value(tones.clone()).unwrap();
    assert!(steps.len() >= TONES_MIN && sound::follows_the_sweep(&steps), "heard {steps:?}");
}

/// Each received the other's test pattern and test tone.
fn media_flowed(alice: &Ended, phone: &Value, codec: &str) {
    let (summary, video) = (alice.summary(), &alice.summary()["received"]["video"]);
    assert_eq!((&summary["video_codec"], &video["codec"]), (&codec.into(), &codec.into()), "{summary}");
    assert_eq!((count(&video["width"]), count(&video["height"])), (320, 240), "{summary}");
    assert!(count(&video["frames"]) >= PICTURES_MIN, "{summary}");
    assert!(most(&video["pattern"]["in_order"], count(&video["frames"])), "{summary}");
    assert!(count(&summary["received"]["audio"]["frames"]) >= PACKETS_MIN, "{summary}");
    in_steps(&summary["received"]["audio"]["tones_heard"]);
    assert_eq!((&summary["signalling"]["dropped"], alice.warnings()), (&0.into(), vec![]));

    let video = &phone["video"];
    assert_eq!(video["size"], json!([640, 480]), "{phone}");
    assert!(count(&video["frames"]) >= PICTURES_MIN, "{phone}");
    assert!(most(&video["in_order"], count(&video["frames"])), "{phone}");
    assert!(count(&phone["audio"]["frames"]) >= PACKETS_MIN, "{phone}");
    in_steps(&phone["audio"]["tones"]);
}

// ---- whole calls ----

/// The other side tells its candidates one by one and hangs up.
#[test]
fn tring_calls_over_h264() {
    let _turn = Turn::whole_machine();
    let mosquitto = Mosquitto::anonymous();
    // What a tring of that ID left behind says nothing of the phone.
    let mut before = Mallory::at(mosquitto.port());
    before.retain("tring/presence/phone", r#"{"v":1,"state":"offline","run":"1-0"}"#);
    before.delivered();
    let mut phone = phone(&mosquitto, "answer", &["--trickle", "--think", "2", "--talk", "4"]);
    let alice = Ended::wait(&mut Tring::spawn(tring(&["call", "phone"], "alice", &mosquitto)));
    let ended = phone.wait_event("ended");
    assert_eq!((alice.status, alice.reason()), (0, "remote-hangup"));
    let course = ["online", "dialing", "accepted", "connecting", "connected", "first_frame", "ended", "summary"];
    assert_eq!(alice.course(), course);
    assert_eq!(ended["by"], "local");
    assert!(count(&phone.wait_event("incoming")["candidates"]) > 0, "our candidates are not in our offer");
    media_flowed(&alice, &ended, "h264");
}

/// The other side has all its candidates in its answer; we hang up. The broker knows who may say and hear what.
#[test]
fn tring_calls_over_vp8_with_logins() {
    let _turn = Turn::whole_machine();
    let (mosquitto, dir) = (Mosquitto::password(), TempDir::new("secrets"));
    let broker = format!("127.0.0.1:{}", mosquitto.port());
    let login = ["--user", "bob", "--password", password_of("bob")];
    let bob = Args::new(["answer", "--broker", &broker, "--id", "bob", "--partner", "alice"]).and(login);
    let mut bob = Aiortc::start(bob);
    let password = dir.write("alice", password_of("alice"));
    let alice = tring(&["call", "bob", "--user", "alice", "--codec", "vp8", "--duration", "4s"], "alice", &mosquitto);
    let alice = Ended::wait(&mut Tring::spawn(alice.option("--password-file", password)));
    let ended = bob.wait_event("ended");
    assert_eq!((alice.status, alice.reason()), (0, "hangup"));
    assert_eq!(ended["by"], "remote");
    media_flowed(&alice, &ended, "vp8");
}

/// The other side has a transport a medium, as some clients offer it, and hangs up.
#[test]
fn tring_is_called_over_vp8() {
    let _turn = Turn::whole_machine();
    let mosquitto = Mosquitto::anonymous();
    let mut alice = listening(&mosquitto, &["--answer", "auto", "--from", "phone"]);
    let mut phone = phone(&mosquitto, "call", &["--talk", "4"]);
    let (alice, ended) = (Ended::wait(&mut alice), phone.wait_event("ended"));
    alice.assert_answered();
    assert_eq!(ended["by"], "local");
    media_flowed(&alice, &ended, "vp8");
}

/// Anyone may call; the other side tells its candidates one by one; we hang up.
#[test]
fn tring_is_called_over_h264() {
    let _turn = Turn::whole_machine();
    let mosquitto = Mosquitto::anonymous();
    let mut alice = listening(&mosquitto, &["--answer", "auto", "--duration", "4s"]);
    let mut phone = phone(&mosquitto, "call", &["--trickle", "--max-bundle", "--codec", "H264"]);
    let (alice, ended) = (Ended::wait(&mut alice), phone.wait_event("ended"));
    assert_eq!((alice.status, alice.reason()), (0, "hangup"));
    assert_eq!(ended["by"], "remote");
    media_flowed(&alice, &ended, "h264");
}

// ---- calls that do not come about ----

#[test]
fn declined_by_either() {
    let mosquitto = Mosquitto::anonymous();
    let mut callee = phone(&mosquitto, "decline", &[]);
    let alice = Ended::wait(&mut Tring::spawn(tring(&["call", "phone"], "alice", &mosquitto)));
    assert_eq!((alice.status, alice.reason()), (11, "remote-decline"));
    callee.wait_event("ended");

    let mut alice = listening(&mosquitto, &["--answer", "reject"]);
    let ended = phone(&mosquitto, "call", &[]).wait_event("ended");
    let alice = Ended::wait(&mut alice);
    assert_eq!((alice.status, alice.reason()), (11, "decline"));
    assert_eq!(ended["by"], "remote");
}

#[test]
fn given_up_by_either() {
    let mosquitto = Mosquitto::anonymous();
    let mut callee = phone(&mosquitto, "ignore", &[]);
    let mut alice = Tring::spawn(tring(&["call", "phone"], "alice", &mosquitto));
    callee.wait_event("incoming");
    alice.interrupt();
    let alice = Ended::wait(&mut alice);
    assert_eq!((alice.status, alice.reason()), (130, "cancel"));
    assert_eq!(callee.wait_event("ended")["by"], "remote");

    let mut alice = listening(&mosquitto, &["--control", "-"]);
    let mut caller = phone(&mosquitto, "call", &["--patience", "1"]);
    caller.wait_event("ended");
    let alice = Ended::wait(&mut alice);
    assert_eq!((alice.status, alice.reason()), (14, "remote-cancel"));
    assert_eq!(alice.course(), ["online", "incoming", "ended", "summary"]);
}

#[test]
fn not_answered() {
    let mosquitto = Mosquitto::anonymous();
    let mut callee = phone(&mosquitto, "ignore", &[]);
    let call = tring(&["call", "phone", "--answer-timeout", "2s"], "alice", &mosquitto);
    let alice = Ended::wait(&mut Tring::spawn(call));
    assert_eq!((alice.status, alice.reason()), (12, "no-answer"));
    assert_eq!(callee.wait_event("ended")["by"], "remote");
    assert_eq!(callee.heard(), ["offer", "bye"]);
}

#[test]
fn waiting_for_somebody_without_presence_is_refused() {
    let mut alice = Tring::spawn(["call", "phone", "--wait", "--dialect", "apprtc", "--id", "alice"]);
    assert_eq!(alice.wait_exit(PATIENCE), 2);
    let stderr = alice.wait_stderr();
    assert!(stderr.contains("--wait") && stderr.contains("presence"), "{stderr}");
}

// ---- a second caller ----

/// Alice, who calls, and bob, who waits, in a call on these topics; carol calls bob then.
fn a_second_caller(topic: &str, carol_ends: (i32, &str), bob_warns: usize) {
    let _turn = Turn::call();
    let mosquitto = Mosquitto::anonymous();
    let peer = |command: &[&str], id: &str| tring(command, id, &mosquitto).option("--topic", topic);
    let mut bob = Tring::spawn(peer(&["listen", "--answer", "auto", "--once"], "bob"));
    bob.wait_event("online", PATIENCE);
    let mut alice = Tring::spawn(peer(&["call", "bob", "--control", "-"], "alice"));
    talking([&mut alice, &mut bob]);
    let carol = Ended::wait(&mut Tring::spawn(peer(&["call", "bob", "--answer-timeout", "2s"], "carol")));
    assert_eq!((carol.status, carol.reason()), carol_ends);
    for side in [&mut alice, &mut bob] {
        side.wait_event("stats", PATIENCE);
    }
    alice.send_control(&json!({"command": "hangup"}));
    let (alice, bob) = (Ended::wait(&mut alice), Ended::wait(&mut bob));
    assert_eq!((alice.status, alice.reason()), (0, "hangup"));
    assert_eq!((bob.status, bob.reason()), (0, "remote-hangup"));
    assert_eq!(bob.warnings().len(), bob_warns, "{:?}", bob.warnings());
    assert!(bob.warnings().iter().all(|text| text.contains("another call")), "{:?}", bob.warnings());
}

/// There busy can be said, and looks like a decline.
#[test]
fn a_second_caller_is_declined_on_topics_of_two() {
    a_second_caller("phones/{from}/{to}", (11, "remote-decline"), 0);
}

/// There it would end the call under way.
#[test]
fn a_second_caller_is_not_answered_on_bare_topics() {
    a_second_caller("{from}", (12, "no-answer"), 1);
}

// ---- the last word ----

/// A bye that nobody acknowledges is not waited for: the link is told to stop with it still in its queue.
#[tokio::test]
async fn what_is_said_last_gets_out() {
    let mosquitto = Mosquitto::anonymous();
    let mut phone = Mallory::at(mosquitto.port());
    phone.subscribe("alice");
    let (link, handle, mut events) = Link::new(LinkConfig {
        me: "alice".parse().unwrap(),
        run: Nonce(1),
        brokers: vec![mosquitto.url().parse().unwrap()],
        login: None,
        tls: TlsFiles::default(),
        proxies: signalling::mqtt::Proxies::default(),
        version: signalling::mqtt::MqttVersion::default(),
        template: Dialect::Apprtc.topics(),
        audience: Audience::Only(vec!["phone".parse().unwrap()]),
        sealing: None,
    })
    .unwrap();
    let stop = CancellationToken::new();
    let running = tokio::spawn(link.run(stop.clone()));
    while !matches!(events.recv().await, Some(LinkEvent::Up { .. })) {}
    // On one thread the link does not run between these two.
    handle.publish("phone".parse().unwrap(), br#"{"type":"bye"}"#.to_vec()).unwrap();
    stop.cancel();
    running.await.unwrap();
    assert_eq!(phone.hears("bye"), json!({"type": "bye"}));
}
