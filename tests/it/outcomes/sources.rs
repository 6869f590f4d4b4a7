//! Cameras, microphones and files that are not there.

use super::{alice, bob, refused};
use crate::support::call::{self, Args, Ended};
use crate::support::mosquitto::Mosquitto;
use crate::support::process::Tring;
use crate::support::turn::Turn;
use crate::support::{PATIENCE, TempDir};

#[test]
fn a_missing_file() {
    let _turn = Turn::small_call();
    let mosquitto = Mosquitto::anonymous();
    for file in ["file:/nonexistent/film.webm", "file:/nonexistent/film.y4m"] {
        let args = alice(&mosquitto.url()).option("--audio", "tone").option("--video", file);
        let ended = refused(Args::new(["call", "bob", "--show", "none", "--play", "none"]).and(args));
        assert_eq!(ended.status, 2);
        let said = ended.failure();
        assert!(said.contains("/nonexistent/film"), "{said}");
    }
}

#[test]
fn no_camera_and_no_microphone() {
    let _turn = Turn::small_call();
    let mosquitto = Mosquitto::anonymous();
    for (video, audio, play) in
        [("camera", "none", "none"), ("test", "mic", "none"), ("test", "tone", "speaker"), ("camera:9", "tone", "none")]
    {
        let sources = ["call", "bob", "--show", "none", "--video", video, "--audio", audio, "--play", play];
        let ended = refused(Args::new(sources).and(alice(&mosquitto.url())));
        assert_eq!(ended.status, 25, "--video {video} --audio {audio} --play {play}");
        let said = ended.failure();
        assert!(said.contains("tring devices"), "{said}");
    }
}

#[test]
fn a_listener_without_a_camera_says_so_before_anyone_calls() {
    let mosquitto = Mosquitto::anonymous();
    let sources = ["listen", "--answer", "auto", "--show", "none", "--play", "none", "--video", "camera:9"];
    let bob = refused(Args::new(sources).and(bob(&mosquitto.url())));
    assert_eq!((bob.status, bob.course()), (25, vec!["error"]));
    assert!(bob.error().contains("tring devices"), "{}", bob.error());
}

#[test]
fn a_source_that_went_away_before_the_call() {
    let _turn = Turn::small_call();
    let (mosquitto, dir) = (Mosquitto::anonymous(), TempDir::new("film"));
    let grey = "FRAME\n".to_owned() + &"x".repeat(64 * 48 * 3 / 2);
    let film = dir.write("film.y4m", &format!("YUV4MPEG2 W64 H48 F30:1 C420jpeg\n{grey}{grey}"));
    let sources = ["listen", "--answer", "auto", "--once", "--show", "none", "--play", "none", "--audio", "none"];
    let file = format!("file:{}", film.display());
    let mut bob = Tring::spawn(Args::new(sources).option("--video", file).and(bob(&mosquitto.url())));
    bob.wait_event("online", PATIENCE);
    std::fs::remove_file(&film).unwrap();
    let alice = Ended::wait(&mut call::call_bob(alice(&mosquitto.url())));
    let bob = Ended::wait(&mut bob);
    assert_eq!((bob.status, bob.reason()), (2, "failed"));
    assert!(bob.failure().contains("film.y4m"), "{}", bob.failure());
    assert_eq!((alice.status, alice.reason()), (22, "no-path"));
}
