//! Recordings are read back with a demuxer that shares no code with the muxers.

use std::fs::File;
use std::path::PathBuf;

use super::time_line::TimeLine;
use super::*;
use crate::existing::Existing;

const SIZE: Size = Size { width: 320, height: 240 };

/// Annex B with parameter sets; the muxer reads only their first bytes.
fn h264(kind: PictureKind, payload: u8) -> Vec<u8> {
    let slice = |header: u8| vec![0, 0, 0, 1, header, payload, 0, 0, 3, 1];
    match kind {
        PictureKind::Key => {
            let sets = [0, 0, 0, 1, 0x67, 0x42, 0xc0, 0x1f, 0x55, 0, 0, 0, 1, 0x68, 0xce, 0x3c, 0x80];
            [&sets[..], &slice(0x65)].concat()
        }
        PictureKind::Delta => slice(0x41),
    }
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn picture(data: &[u8], kind: PictureKind, pts: Duration) -> Picture<'_> {
    Picture { data, kind, size: SIZE, pts }
}

/// Two seconds from 5 s on: pictures each 40 ms, a keyframe each second, sound each 20 ms that arrives 100 ms late.
fn record(path: &Path) -> Recorder {
    let mut recorder = Recorder::create(path, Tracks::AudioAndVideo, Existing::Keep).unwrap();
    recorder.write_audio(&[0xfc, 1], ms(4990)).unwrap();
    let delta = h264(PictureKind::Delta, 0);
    recorder.write_video(picture(&delta, PictureKind::Delta, ms(4999))).unwrap();
    for n in 0..50_u64 {
        let kind = if n % 25 == 0 { PictureKind::Key } else { PictureKind::Delta };
        let data = h264(kind, n as u8 + 1);
        recorder.write_video(picture(&data, kind, ms(5000 + n * 40))).unwrap();
        for sound in [n * 40, n * 40 + 20] {
            recorder.write_audio(&[0xfc; 400], ms(4900 + sound)).unwrap();
        }
    }
    recorder
}

#[test]
fn the_extension_decides() {
    for (name, container) in [("a.webm", Container::WebM), ("b.MP4", Container::Mp4)] {
        assert_eq!(Container::from_path(Path::new(name)).unwrap(), container);
    }
    for name in ["a", "a.mkv", "a.webm.gz", ".mp4"] {
        let error = Container::from_path(Path::new(name)).unwrap_err().to_string();
        assert!(error.contains(".webm") && error.contains(".mp4"), "{error}");
    }
}

#[test]
fn a_path_that_cannot_be_written_is_known_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let error = Recorder::create(&folder.path().join("missing/a.webm"), Tracks::Audio, Existing::Keep).unwrap_err();
    assert!(matches!(error, RecordError::Create { .. }), "{error}");
}

#[test]
fn both_containers_hold_what_came_after_the_first_keyframe() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.webm", "a.mp4"] {
        let path = folder.path().join(name);
        let summary = record(&path).finish().unwrap();
        // Sound of 5000 ms and later: 100 packets came, the first five were too early.
        assert_eq!(summary, Summary { video_frames: 50, audio_frames: 95, duration: ms(1960) }, "{name}");
        assert!(std::fs::metadata(&path).unwrap().len() > 50 * 10);
    }
}

#[test]
fn webm_reads_back_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.webm");
    record(&path).finish().unwrap();
    let mut file = matroska_demuxer::MatroskaFile::open(File::open(&path).unwrap()).unwrap();
    assert_eq!(file.info().duration(), Some(1960.0));
    let codecs: Vec<_> = file.tracks().iter().map(|track| track.codec_id().to_owned()).collect();
    assert_eq!(codecs, ["V_VP8", "A_OPUS"]);
    assert_eq!(file.tracks()[1].codec_private().map(|head| (&head[..8], head.len())), Some((&b"OpusHead"[..], 19)));
    let (mut frame, mut times) = (matroska_demuxer::Frame::default(), [Vec::new(), Vec::new()]);
    let mut last = 0;
    while file.next_frame(&mut frame).unwrap() {
        assert!(frame.timestamp >= last, "out of order");
        last = frame.timestamp;
        times[frame.track as usize - 1].push(frame.timestamp);
    }
    assert_eq!(times[0], (0..50).map(|n| n * 40).collect::<Vec<_>>());
    assert_eq!(times[1], (0..95).map(|n| n * 20).collect::<Vec<_>>());
}

#[test]
fn a_killed_recording_still_reads() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.webm");
    let recorder = record(&path);
    let cut = folder.path().join("cut.webm");
    std::fs::copy(&path, &cut).unwrap();
    drop(recorder);
    let mut file = matroska_demuxer::MatroskaFile::open(File::open(&cut).unwrap()).unwrap();
    let (mut frame, mut count) = (matroska_demuxer::Frame::default(), 0);
    while file.next_frame(&mut frame).unwrap() {
        count += 1;
    }
    // 145 packets in two seconds, of which those of 600 ms waited, and some were in a buffer of 4 KiB.
    assert!((60..145).contains(&count), "{count}");
    assert!(
        std::fs::metadata(&path).unwrap().len() > std::fs::metadata(&cut).unwrap().len(),
        "drop completes the file"
    );
}

/// How many packets ffprobe and our own reader's kind find, and how long the file says it is, in seconds.
fn probed(path: &Path) -> (u64, f64) {
    let output = std::process::Command::new("ffprobe")
        .args(["-v", "quiet", "-count_packets", "-show_entries", "stream=nb_read_packets:format=duration"])
        .args(["-of", "csv=p=0"])
        .arg(path)
        .output()
        .expect("install the package ffmpeg");
    let text = String::from_utf8(output.stdout).unwrap();
    let mut lines: Vec<f64> = text.lines().filter_map(|line| line.trim_end_matches(',').parse().ok()).collect();
    let duration = lines.pop().unwrap_or_default();
    (lines.iter().sum::<f64>() as u64, duration)
}

/// The boxes of the file: where each begins, and what it is.
fn boxes(content: &[u8]) -> Vec<(usize, [u8; 4])> {
    let mut boxes = Vec::new();
    let mut at = 0;
    while let Some(&[a, b, c, d, kind @ ..]) = content.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        boxes.push((at, kind));
        at += u32::from_be_bytes([a, b, c, d]) as usize;
    }
    boxes
}

/// What is on the disk when a recording stops within the write of byte `cut`: a fragment is free space until it is whole.
fn stopped_at(content: &[u8], cut: usize) -> Vec<u8> {
    let mut content = content.to_vec();
    let starts: Vec<usize> = boxes(&content).iter().filter(|(_, kind)| kind == b"moof").map(|(at, _)| *at).collect();
    if let Some(at) = starts.into_iter().rfind(|at| *at < cut) {
        let end = boxes(&content)
            .iter()
            .find(|(start, kind)| *start > at && kind != b"mdat")
            .map_or(content.len(), |(at, _)| *at);
        if cut < end {
            content[at..at + 8].copy_from_slice(&crate::container::isobmff::header(b"free", end - at - 8));
        }
    }
    content.truncate(cut);
    content
}

#[test]
fn an_mp4_that_stopped_anywhere_plays_its_whole_fragments() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.mp4");
    record(&path).finish().unwrap();
    let content = std::fs::read(&path).unwrap();
    let starts = boxes(&content);
    assert_eq!(starts.iter().filter(|(_, kind)| kind == b"moof").count(), 3, "{starts:?}");
    // At each box, within its header, in its middle.
    let cuts = starts.iter().flat_map(|(at, _)| [0, 1, 4, 7, 8, 9, 12, 16, 20, 60].map(|more| at + more));
    let first = starts.iter().find(|(_, kind)| kind == b"moof").unwrap().0;
    let (mut most, mut tried) = (0, 0);
    for cut in cuts.filter(|cut| (first..content.len()).contains(cut)) {
        let stopped = folder.path().join("stopped.mp4");
        std::fs::write(&stopped, stopped_at(&content, cut)).unwrap();
        let (packets, _) = probed(&stopped);
        assert!(packets >= most, "stopped at {cut}: {packets} packets, {most} before");
        most = packets;
        tried += 1;
    }
    assert!(tried >= 40 && most == 145, "{tried} cuts, {most} packets");
}

#[test]
fn a_recording_that_was_killed_says_how_long_it_is() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.webm", "a.mp4"] {
        let path = folder.path().join(name);
        let recorder = record(&path);
        let killed = folder.path().join(format!("killed-{name}"));
        std::fs::copy(&path, &killed).unwrap();
        drop(recorder);
        let (packets, duration) = probed(&killed);
        assert!(packets > 60 && (0.95..=2.0).contains(&duration), "{name}: {packets} packets, {duration} s");
    }
}

#[test]
fn a_disk_that_is_full_leaves_what_was_recorded_and_says_so() {
    /// Bytes of which the disk takes the first; beyond that, it is full.
    const ROOM: &str = "16k";
    let mounted = std::process::Command::new("unshare").args(["--user", "--map-root-user", "--mount", "true"]).status();
    if !mounted.is_ok_and(|status| status.success()) {
        assert!(std::env::var_os("CI").is_none(), "no namespace with a small disk; allow user namespaces");
        // Not by a macro: those are silent in tests that pass.
        std::io::Write::write_all(&mut std::io::stderr(), b"\n==== NOT RUN: no namespace with a small disk ====\n")
            .unwrap();
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let script = format!(
        "mount -t tmpfs -o size={ROOM} tmpfs {0} && TRING_FULL_DISK={0} \"$0\" --exact record::tests::on_a_full_disk --ignored --nocapture",
        folder.path().display()
    );
    let program = std::env::current_exe().unwrap();
    let shell = ["--user", "--map-root-user", "--mount", "sh", "-c", &script];
    let output = std::process::Command::new("unshare").args(shell).arg(program).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

/// Run by the test above, where there is such a disk.
#[test]
#[ignore = "needs a small disk"]
fn on_a_full_disk() {
    let folder = PathBuf::from(std::env::var_os("TRING_FULL_DISK").unwrap());
    for name in ["a.webm", "a.mp4"] {
        let path = folder.join(name);
        let mut recorder = Recorder::create(&path, Tracks::AudioAndVideo, Existing::Keep).unwrap();
        let delta = h264(PictureKind::Delta, 1);
        let mut failed = None;
        for n in 0..1000_u64 {
            let key = h264(PictureKind::Key, 1);
            let (data, kind) = if n % 25 == 0 { (&key, PictureKind::Key) } else { (&delta, PictureKind::Delta) };
            let written = recorder.write_video(picture(data, kind, ms(n * 40)));
            failed = written.and_then(|()| recorder.write_audio(&[0xfc; 100], ms(n * 40))).err();
            if failed.is_some() {
                break;
            }
        }
        let failed = failed.expect("the disk is full").to_string();
        assert!(failed.contains("No space left") && failed.contains("make room"), "{failed}");
        // Later packets are no errors again.
        recorder.write_audio(&[0xfc; 100], ms(60_000)).unwrap();
        recorder.finish().unwrap();
        let (packets, duration) = probed(&path);
        assert!(packets > 50 && duration > 1.0, "{name}: {packets} packets, {duration} s");
        std::fs::remove_file(&path).unwrap();
    }
    // Not even the header fits: the file is gone again.
    std::fs::write(folder.join("filler"), vec![0; 16 << 10]).unwrap();
    for name in ["b.webm", "b.mp4"] {
        let path = folder.join(name);
        let mut recorder = Recorder::create(&path, Tracks::AudioAndVideo, Existing::Keep).unwrap();
        let mut failed = None;
        for n in 0..200 {
            let key = h264(PictureKind::Key, 1);
            failed = failed.or(recorder.write_video(picture(&key, PictureKind::Key, ms(n * 40))).err());
        }
        assert!(failed.is_some(), "{name}");
        drop(recorder);
        assert!(!path.exists(), "{name}");
    }
}

#[test]
fn an_old_file_stays_until_something_takes_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.mp4");
    std::fs::write(&path, "old").unwrap();
    let refused = Recorder::create(&path, Tracks::Audio, Existing::Keep).unwrap_err();
    assert!(matches!(refused, RecordError::Exists { .. }), "{refused}");
    drop(Recorder::create(&path, Tracks::Audio, Existing::Replace).unwrap());
    assert_eq!(std::fs::read(&path).unwrap(), b"old");
    let mut recorder = Recorder::create(&path, Tracks::Audio, Existing::Replace).unwrap();
    recorder.write_audio(&[0xfc, 1], ms(0)).unwrap();
    recorder.finish().unwrap();
    assert!(std::fs::read(&path).unwrap().starts_with(b"\0\0\0"));
    // A file of ours in which nothing is goes away again; one that was there before does not.
    let (empty, new) = (folder.path().join("empty.mp4"), folder.path().join("new.mp4"));
    std::fs::write(&empty, "").unwrap();
    for path in [&empty, &new] {
        Recorder::create(path, Tracks::Audio, Existing::Keep).unwrap().finish().unwrap();
    }
    assert!(empty.exists() && !new.exists());
}

#[test]
fn times_rise_even_when_they_do_not() {
    let mut line = TimeLine::default();
    let times = [5000, 5040, 5040, 5030, 5080].map(|pts| line.video(ms(pts)).as_millis());
    assert_eq!(times, [0, 40, 41, 42, 80]);
    assert_eq!([4000, 5060].map(|pts| line.audio(ms(pts)).as_millis()), [0, 60]);
}

#[test]
fn sound_alone_begins_with_sound() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.webm", "a.mp4"] {
        let mut recorder = Recorder::create(&folder.path().join(name), Tracks::Audio, Existing::Keep).unwrap();
        recorder.write_video(picture(&h264(PictureKind::Key, 1), PictureKind::Key, ms(0))).unwrap();
        for n in 0..10 {
            recorder.write_audio(&[0xfc, 1], ms(100 + n * 20)).unwrap();
        }
        let summary = recorder.finish().unwrap();
        assert_eq!(summary, Summary { video_frames: 0, audio_frames: 10, duration: ms(180) }, "{name}");
    }
}

#[test]
fn nothing_came_is_no_error() {
    let folder = tempfile::tempdir().unwrap();
    let recorder = Recorder::create(&folder.path().join("a.mp4"), Tracks::AudioAndVideo, Existing::Keep).unwrap();
    assert_eq!(recorder.finish().unwrap(), Summary::default());
}

#[test]
fn an_mp4_waits_for_a_keyframe_with_parameter_sets() {
    let folder = tempfile::tempdir().unwrap();
    let mut recorder = Recorder::create(&folder.path().join("a.mp4"), Tracks::AudioAndVideo, Existing::Keep).unwrap();
    let bare = [0, 0, 1, 0x65, 1, 2, 3];
    recorder.write_video(picture(&bare, PictureKind::Key, ms(0))).unwrap();
    recorder.write_video(picture(&h264(PictureKind::Key, 1), PictureKind::Key, ms(40))).unwrap();
    assert_eq!(recorder.finish().unwrap().video_frames, 1);
}
