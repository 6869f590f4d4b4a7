//! Media of strange shape, made by ffmpeg: turned, cut off, without times, of one picture, of odd sizes.

use std::process::Command;
use std::time::{Duration, Instant};

use super::tests::TempFile;
use super::*;
use crate::frame::Size;

const FORMAT: VideoFormat = VideoFormat { size: Size { width: 64, height: 48 }, fps: 25 };

/// A second of pictures that move, of a size that is no multiple of a macroblock.
const MOVING: [&str; 4] = ["-f", "lavfi", "-i", "testsrc2=size=96x64:rate=30:duration=1"];

/// Runs a program of the Debian package ffmpeg; what it wrote to standard output.
fn run(program: &str, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(program).args(["-v", "error"]).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}; install the package ffmpeg"));
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn ffmpeg(arguments: &[&str], extension: &str) -> TempFile {
    let file = TempFile::new(extension);
    run("ffmpeg", &[arguments, &["-y", file.path().to_str().unwrap()]].concat());
    file
}

fn opened(file: &TempFile) -> Box<dyn Pictures> {
    pictures(file.path(), FORMAT).map_err(|error| error.to_string()).unwrap()
}

/// Everything that can be read: times, the last picture, and how it ended.
fn read_all(pictures: &mut dyn Pictures) -> (Vec<Duration>, Option<VideoFrame>, Result<Duration, ReadError>) {
    let (mut times, mut last) = (Vec::new(), None);
    loop {
        match pictures.next() {
            Ok(NextPicture::Picture { frame, due }) => {
                times.push(due);
                last = Some(frame);
            }
            Ok(NextPicture::End { length }) => return (times, last, Ok(length)),
            Err(error) => return (times, last, Err(error)),
        }
    }
}

#[test]
fn telephones_pictures_stand_upright() {
    let plain = ffmpeg(&[&MOVING[..], &["-pix_fmt", "yuv420p", "-c:v", "libx264"]].concat(), "mp4");
    for degrees in [0, 90, 180, 270] {
        let rotate = format!("rotate={degrees}");
        let input = plain.path().to_str().unwrap();
        let phone = ffmpeg(&["-i", input, "-c", "copy", "-metadata:s:v:0", &rotate], "mp4");
        let (times, last, end) = read_all(&mut *opened(&phone));
        let last = last.unwrap();
        // ffmpeg turns the pictures itself when it decodes.
        let path = phone.path().to_str().unwrap();
        let wanted = run("ffmpeg", &["-i", path, "-f", "rawvideo", "-pix_fmt", "yuv420p", "-"]);
        let size = if degrees % 180 == 0 { (96, 64) } else { (64, 96) };
        assert_eq!((last.size().width, last.size().height), size, "{degrees}");
        assert_eq!((times.len(), end.is_ok()), (30, true), "{degrees}");
        assert!(last.i420() == &wanted[wanted.len() - 96 * 64 * 3 / 2..], "{degrees}");
    }
}

#[test]
fn one_picture_is_sent_at_the_rate_that_was_asked_for() {
    for (codec, extension) in [("libvpx", "webm"), ("libx264", "mp4")] {
        let arguments = [&MOVING[..], &["-frames:v", "1", "-pix_fmt", "yuv420p", "-c:v", codec]].concat();
        let file = ffmpeg(&arguments, extension);
        let (out, received) = queue::bounded(1000);
        let capture = open_video(file.path(), FORMAT, out).unwrap();
        let began = Instant::now();
        std::thread::sleep(Duration::from_millis(1000));
        capture.close();
        let (seconds, count) = (began.elapsed().as_secs_f64(), std::iter::from_fn(|| received.try_recv()).count());
        let rate = count as f64 / seconds;
        // An MP4 says how long its picture stays; ffmpeg writes a tick of its rate.
        assert!((10.0..=33.0).contains(&rate), "{extension}: {rate} pictures a second");
    }
}

#[test]
fn a_webm_that_was_cut_off_is_read_as_far_as_it_goes() {
    let arguments = [&MOVING[..], &["-g", "10", "-c:v", "libvpx", "-cluster_time_limit", "300"]].concat();
    let whole = [
        std::fs::read(ffmpeg(&arguments, "webm").path()).unwrap(),
        // Into a pipe: segment and clusters of unknown size, no index.
        run("ffmpeg", &[&arguments[..], &["-f", "webm", "-live", "1", "-"]].concat()),
    ];
    for content in whole {
        let cluster = content.windows(4).position(|bytes| bytes == [0x1f, 0x43, 0xb6, 0x75]).unwrap();
        let cut = TempFile::new("webm");
        let mut most = 0;
        for at in (cluster..content.len()).step_by(53).chain([content.len()]) {
            std::fs::write(cut.path(), &content[..at]).unwrap();
            let (times, _, end) = read_all(&mut *opened(&cut));
            assert!(end.is_ok() && times.len() >= most, "cut at {at} of {}: {end:?}", content.len());
            most = times.len();
        }
        assert_eq!(most, 30);
        std::fs::write(cut.path(), &content[..cluster / 2]).unwrap();
        assert!(pictures(cut.path(), FORMAT).is_err());
    }
}

#[test]
fn an_mp4_that_was_cut_off_is_read_as_far_as_it_goes() {
    let h264 = [&MOVING[..], &["-pix_fmt", "yuv420p", "-c:v", "libx264", "-g", "10", "-bf", "2"]].concat();
    for flags in ["faststart", "frag_keyframe+empty_moov", "frag_keyframe+empty_moov+default_base_moof"] {
        let content = std::fs::read(ffmpeg(&[&h264[..], &["-movflags", flags]].concat(), "mp4").path()).unwrap();
        let moov = content.windows(4).position(|bytes| bytes == b"moov").unwrap() - 4;
        let length = u32::from_be_bytes(*content[moov..].first_chunk().unwrap()) as usize;
        let cut = TempFile::new("mp4");
        for at in (moov + length..content.len()).step_by(97).chain([content.len()]) {
            std::fs::write(cut.path(), &content[..at]).unwrap();
            let (_, _, end) = read_all(&mut *opened(&cut));
            assert!(end.is_ok(), "{flags}, cut at {at} of {}: {end:?}", content.len());
        }
        assert_eq!(read_all(&mut *opened(&cut)).0.len(), 30, "{flags}");
        std::fs::write(cut.path(), &content[..moov + length / 2]).unwrap();
        let error = pictures(cut.path(), FORMAT).err().unwrap().to_string();
        assert!(error.contains("ends within its tables"), "{error}");
    }
}

#[test]
fn an_edit_list_hides_what_is_before_its_beginning() {
    let long = [&MOVING[..], &["-pix_fmt", "yuv420p", "-c:v", "libx264", "-g", "30"]].concat();
    let long = ffmpeg(&long, "mp4");
    let input = long.path().to_str().unwrap();
    // Copied from the keyframe before, which the edit list hides.
    let trimmed = ffmpeg(&["-ss", "0.5", "-i", input, "-c", "copy"], "mp4");
    let (times, _, end) = read_all(&mut *opened(&trimmed));
    let listed = run("ffmpeg", &["-i", trimmed.path().to_str().unwrap(), "-f", "rawvideo", "-pix_fmt", "yuv420p", "-"]);
    assert_eq!(times.len(), listed.len() / (96 * 64 * 3 / 2));
    assert!(times.len() <= 16 && times[0] < Duration::from_millis(40), "{times:?}");
    assert!(end.unwrap() <= Duration::from_millis(560));
}

#[test]
fn odd_sizes_lose_a_row_or_a_column() {
    let odd = ["-f", "lavfi", "-i", "testsrc2=size=97x65:rate=30:duration=0.2"];
    for (options, extension) in [
        (&["-pix_fmt", "yuv420p"][..], "y4m"),
        (&["-c:v", "libvpx"], "webm"),
        (&["-pix_fmt", "yuv420p", "-vf", "crop=96:64", "-c:v", "libx264", "-aspect", "3:1"], "mp4"),
    ] {
        let file = ffmpeg(&[&odd[..], options].concat(), extension);
        let (times, last, end) = read_all(&mut *opened(&file));
        assert_eq!((times.len(), end.is_ok()), (6, true), "{extension}");
        assert_eq!(last.unwrap().size(), Size { width: 96, height: 64 }, "{extension}");
    }
}

#[test]
fn pictures_that_come_at_their_own_times_keep_them() {
    // Two pictures of three are left out, then all are there.
    let variable = ["-vf", "select='gt(n,14)+not(mod(n,3))'", "-vsync", "vfr"];
    for (codec, extension) in [("libvpx", "webm"), ("libx264", "mp4")] {
        let arguments = [&MOVING[..], &variable, &["-pix_fmt", "yuv420p", "-c:v", codec]].concat();
        let (times, _, end) = read_all(&mut *opened(&ffmpeg(&arguments, extension)));
        let apart: Vec<u128> = times.windows(2).map(|pair| (pair[1] - pair[0]).as_millis()).collect();
        assert!(
            (99..=101).contains(&apart[0]) && (33..=34).contains(&apart[apart.len() - 1]),
            "{extension}: {apart:?}"
        );
        assert!((Duration::from_millis(990)..=Duration::from_millis(1010)).contains(&end.unwrap()), "{extension}");
    }
}

#[test]
fn sound_of_a_file_that_was_cut_off_is_heard_as_far_as_it_goes() {
    let tone = ["-f", "lavfi", "-i", "sine=frequency=440:duration=1", "-c:a", "libopus"];
    for extension in ["webm", "mp4"] {
        let content = std::fs::read(ffmpeg(&tone, extension).path()).unwrap();
        let cut = TempFile::new(extension);
        // An MP4 of ffmpeg has its tables at the end.
        let cuts: &[usize] = if extension == "webm" { &[2, 1] } else { &[1] };
        for share in cuts {
            std::fs::write(cut.path(), &content[..content.len() / share]).unwrap();
            let mut sounds = sounds(cut.path()).map_err(|error| error.to_string()).unwrap();
            let mut out = Vec::new();
            while sounds.read(&mut out).unwrap() == Progress::More {}
            let seconds = out.len() as f64 / 48_000.0;
            let wanted = 1.0 / *share as f64;
            assert!((wanted - 0.15..=wanted + 0.05).contains(&seconds), "{extension}: {seconds} s");
        }
    }
}

#[test]
fn what_is_no_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let error = |path: &Path| {
        let (out, _in) = queue::bounded(4);
        open_video(path, FORMAT, out).expect_err("it must not open").to_string()
    };
    assert!(error(folder.path()).contains("is a folder"), "{}", error(folder.path()));
    assert!(error(&pipe).contains("is a pipe or a device"), "{}", error(&pipe));
    assert!(error(Path::new("/dev/zero")).contains("is a pipe or a device"), "{}", error(Path::new("/dev/zero")));
    assert!(error(&folder.path().join("missing")).contains("check the name"));
    let zeros = TempFile::with("mp4", &[0; 4096]);
    assert!(error(zeros.path()).contains("an unknown kind of file"), "{}", error(zeros.path()));
}

#[test]
fn a_file_that_shrinks_or_is_replaced_is_repeated_as_far_as_it_goes() {
    let arguments = [&MOVING[..], &["-pix_fmt", "yuv420p", "-c:v", "libx264", "-movflags", "faststart"]].concat();
    let file = ffmpeg(&arguments, "mp4");
    let (out, received) = queue::bounded(1000);
    let capture = open_video(file.path(), FORMAT, out).unwrap();
    let half = std::fs::metadata(file.path()).unwrap().len() / 2;
    File::options().write(true).open(file.path()).unwrap().set_len(half).unwrap();
    std::thread::sleep(Duration::from_millis(1000));
    let count = std::iter::from_fn(|| received.try_recv()).count();
    assert!((15..=40).contains(&count), "{count} pictures in a second");
    File::options().write(true).open(file.path()).unwrap().set_len(0).unwrap();
    // Nothing is left: the source ends.
    let gone = Instant::now() + Duration::from_secs(20);
    loop {
        match received.recv_timeout(Duration::from_secs(20)) {
            Ok(_) => assert!(Instant::now() < gone, "it goes on"),
            Err(error) => {
                assert_eq!(error, queue::RecvError::Closed);
                break;
            }
        }
    }
    capture.close();
}

#[test]
fn a_sound_of_one_sample_does_not_spin() {
    let file = TempFile::new("wav");
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 48_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(file.path(), spec).unwrap();
    writer.write_sample(1000_i16).unwrap();
    writer.finalize().unwrap();
    let (out, frames) = queue::bounded(64);
    let _capture = open_audio(file.path(), out).unwrap();
    for _ in 0..3 {
        let frame = frames.recv_timeout(Duration::from_secs(20)).unwrap();
        assert_eq!((frame.samples[0], frame.samples[1], frame.samples.len()), (1000, 0, 960));
    }
}
