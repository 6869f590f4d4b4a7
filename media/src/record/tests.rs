//! Recordings are read back with a demuxer that shares no code with the muxers.

use super::*;

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
    let mut recorder = Recorder::create(path, Tracks::AudioAndVideo).unwrap();
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
    let error = Recorder::create(&folder.path().join("missing/a.webm"), Tracks::Audio).unwrap_err();
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
        let mut recorder = Recorder::create(&folder.path().join(name), Tracks::Audio).unwrap();
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
    let recorder = Recorder::create(&folder.path().join("a.mp4"), Tracks::AudioAndVideo).unwrap();
    assert_eq!(recorder.finish().unwrap(), Summary::default());
}

#[test]
fn an_mp4_waits_for_a_keyframe_with_parameter_sets() {
    let folder = tempfile::tempdir().unwrap();
    let mut recorder = Recorder::create(&folder.path().join("a.mp4"), Tracks::AudioAndVideo).unwrap();
    let bare = [0, 0, 1, 0x65, 1, 2, 3];
    recorder.write_video(picture(&bare, PictureKind::Key, ms(0))).unwrap();
    recorder.write_video(picture(&h264(PictureKind::Key, 1), PictureKind::Key, ms(40))).unwrap();
    assert_eq!(recorder.finish().unwrap().video_frames, 1);
}
