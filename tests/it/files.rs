//! Files of a call, as a person meets them: what is sent from one, what is recorded into one, what stays as it is.

use std::path::Path;
use std::process::Command;

use crate::support::call::{self, Args, Ended, TEST_MEDIA, talking};
use crate::support::mosquitto::Mosquitto;
use crate::support::process::Tring;
use crate::support::turn::Turn;
use crate::support::{PATIENCE, TempDir, alice, bob, require, run};

/// Runs ffmpeg; its output is the last argument.
fn ffmpeg(arguments: &[&str]) {
    run(Command::new(require("ffmpeg", "ffmpeg")).args(["-v", "error", "-y"]).args(arguments));
}

/// Alice calls bob with these options until the time is over; what she and he said.
fn call_with(broker: &str, options: &[&str]) -> (Ended, Ended) {
    let mut bob = call::listen(Args::new(["--answer", "auto", "--once"]).and(bob(broker)));
    let media = ["--audio", "tone", "--show", "none", "--play", "none", "--duration", "2s"];
    let mut alice = Tring::spawn(Args::new(["call", "bob"]).and(media).and(options).and(alice(broker)));
    (Ended::wait(&mut alice), Ended::wait(&mut bob))
}

fn refused(args: Args) -> String {
    let mut tring = Tring::spawn(args);
    assert_eq!(tring.wait_exit(PATIENCE), 2);
    tring.wait_stderr()
}

#[test]
fn a_film_of_a_telephone_arrives_upright() {
    let _turn = Turn::call();
    let (mosquitto, dir) = (Mosquitto::anonymous(), TempDir::new("phone"));
    let (plain, phone) = (dir.file("plain.mp4"), dir.file("phone.mp4"));
    let (plain, phone) = (plain.to_str().unwrap(), phone.to_str().unwrap());
    let source = ["-f", "lavfi", "-i", "testsrc2=size=320x240:rate=25:duration=2", "-pix_fmt", "yuv420p"];
    ffmpeg(&[&source[..], &[plain]].concat());
    ffmpeg(&["-i", plain, "-c", "copy", "-metadata:s:v:0", "rotate=90", phone]);
    let (alice, bob) = call_with(&mosquitto.url(), &["--video", &format!("file:{phone}")]);
    assert_eq!((alice.status, bob.status), (0, 0));
    let video = &bob.summary()["received"]["video"];
    assert_eq!((video["width"].as_u64(), video["height"].as_u64()), (Some(240), Some(320)), "{video}");
}

#[test]
fn a_film_of_one_picture_is_sent_at_a_sane_rate() {
    let _turn = Turn::call();
    let (mosquitto, dir) = (Mosquitto::anonymous(), TempDir::new("one"));
    let one = dir.file("one.webm");
    let one = one.to_str().unwrap();
    ffmpeg(&["-f", "lavfi", "-i", "testsrc2", "-frames:v", "1", "-c:v", "libvpx", one]);
    let (alice, bob) = call_with(&mosquitto.url(), &["--video", &format!("file:{one}")]);
    assert_eq!((alice.status, bob.status), (0, 0));
    let rate = bob.summary()["received"]["fps"].as_f64().unwrap();
    assert!((20.0..=35.0).contains(&rate), "{rate} pictures a second");
}

#[test]
fn a_file_that_is_there_stays_unless_asked_otherwise() {
    let _turn = Turn::call();
    let (mosquitto, dir) = (Mosquitto::anonymous(), TempDir::new("kept"));
    let film = dir.write("film.mp4", "somebody's wedding");
    let film = film.to_str().unwrap();
    let link = || Args::new(TEST_MEDIA).and(alice(&mosquitto.url()));
    for option in ["--record", "--snapshot"] {
        let said = refused(Args::new(["call", "bob", option, film]).and(link()));
        assert!(said.contains("film.mp4 is there already") && said.contains("--overwrite"), "{said}");
        let said = refused(Args::new(["listen", "--once", "--answer", "auto", option, film]).and(link()));
        assert!(said.contains("--overwrite"), "{said}");
    }
    assert_eq!(std::fs::read_to_string(film).unwrap(), "somebody's wedding");
    let (alice, _) = call_with(&mosquitto.url(), &["--video", "test", "--record", film, "--overwrite"]);
    assert_eq!(alice.status, 0);
    assert!(std::fs::metadata(film).unwrap().len() > 1000);
}

#[test]
fn a_call_that_failed_leaves_no_empty_file() {
    let (mosquitto, dir) = (Mosquitto::anonymous(), TempDir::new("empty"));
    for name in ["film.mp4", "film.webm"] {
        let film = dir.file(name);
        let args = Args::new(["call", "bob"]).and(TEST_MEDIA).option("--record", &film).and(alice(&mosquitto.url()));
        assert_eq!(Tring::spawn(args).wait_exit(PATIENCE), 13);
        assert!(!film.exists(), "{name}");
    }
}

#[test]
fn a_full_disk_is_told_and_ends_the_recording_alone() {
    let _turn = Turn::call();
    let (mosquitto, dir) = (Mosquitto::anonymous(), TempDir::new("full"));
    let disk = dir.file("disk");
    std::fs::create_dir(&disk).unwrap();
    for name in ["film.mp4", "film.webm"] {
        // The disk is seen by the program and its shell alone, which brings the film out of it.
        let script = format!(
            "mount -t tmpfs -o size=100k tmpfs {0} || exit 99; \"$@\"; status=$?; cp {0}/{1} {2}; exit $status",
            disk.display(),
            name,
            dir.path().display()
        );
        let mut bob = call::listen(Args::new(["--answer", "auto", "--once"]).and(bob(&mosquitto.url())));
        let args = Args::new(["call", "bob"]).and(TEST_MEDIA).option("--record", disk.join(name));
        let args = args.option("--duration", "5s").and(alice(&mosquitto.url()));
        let mut alice = Tring::command(args)
            .through(["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", &script, "sh"])
            .spawn();
        talking([&mut alice, &mut bob]);
        let told = alice.wait_event("warning", PATIENCE);
        assert!(told["text"].as_str().is_some_and(|text| text.contains("No space left on device")), "{told}");
        let ended = Ended::wait(&mut alice);
        assert_eq!((ended.status, ended.event("ended")["reason"].as_str()), (1, Some("hangup")), "{name}");
        assert_eq!(Ended::wait(&mut bob).status, 0);
        assert!(ended.summary()["duration_ms"].as_f64().is_some_and(|ms| ms > 4500.0), "the call went on");
        let film = dir.file(name);
        assert!(seconds(&film) > 0.5, "{name} plays for {} s", seconds(&film));
    }
}

/// How long ffprobe says a film is, and all of it can be decoded.
fn seconds(film: &Path) -> f64 {
    let mut probe = Command::new(require("ffprobe", "ffmpeg"));
    probe.args(["-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0"]).arg(film);
    run(Command::new(require("ffmpeg", "ffmpeg")).args(["-v", "fatal", "-i"]).arg(film).args(["-f", "null", "-"]));
    run(&mut probe).trim().parse().expect("ffprobe prints the length in seconds")
}
