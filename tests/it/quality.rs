//! Figures of picture quality, beside those of ffmpeg's filters for the same pictures.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use media::capture::pattern::{self, Stamp};
use media::frame::{Size, VideoFrame};
use media::quality::psnr::{mean_squared_error, psnr_db};
use media::quality::ssim::ssim;

use crate::support::turn::Turn;
use crate::support::{TempDir, require, run};

/// The test pattern, and sizes whose sides are no multiples of 4, 8 or 2 among them.
const SIZES: [(u32, u32); 7] = [(640, 480), (1280, 720), (330, 250), (322, 182), (161, 121), (99, 75), (64, 48)];

/// What can happen to a picture, as an ffmpeg filter.
const DAMAGE: [&str; 4] =
    ["boxblur=2:1", "noise=alls=12:allf=t:all_seed=7", "eq=brightness=0.05", "scale=iw/2:ih/2,scale=iw*2:ih*2"];

fn ffmpeg() -> Command {
    let mut command = Command::new(require("ffmpeg", "ffmpeg"));
    command.args(["-nostdin", "-y", "-hide_banner"]);
    command
}

/// Luma alone, so that odd sizes have no chroma to round.
fn read(path: &Path, size: Size) -> VideoFrame {
    let mut frame = VideoFrame::black(size, Instant::now());
    let luma = std::fs::read(path).unwrap();
    frame.planes_mut().0.copy_from_slice(&luma[..size.area()]);
    frame
}

/// A raw picture in 8-bit grey as an input of ffmpeg.
fn input(command: &mut Command, path: &Path, size: Size) {
    command.args(["-f", "rawvideo", "-pix_fmt", "gray", "-s", &size.to_string(), "-i"]).arg(path);
}

/// What a filter of ffmpeg says of two pictures after this word.
fn judged(filter: &str, word: &str, one: &Path, other: &Path, size: Size) -> f64 {
    let mut command = ffmpeg();
    // Its code in C: with all that the processor has, 5.1 gave 0.9051 for a 330x250 whose SSIM by the formula is 0.9039.
    command.args(["-cpuflags", "0"]);
    input(&mut command, one, size);
    input(&mut command, other, size);
    let output = command.args(["-lavfi", filter, "-f", "null", "-"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let (_, figures) = said.rsplit_once(word).unwrap_or_else(|| panic!("no {word:?} in {said}"));
    figures.split_whitespace().next().unwrap().parse().unwrap_or_else(|_| panic!("{word:?} in {said}"))
}

fn assert_as_ffmpeg(original: &Path, received: &Path, size: Size, what: &str) {
    let (one, other) = (read(original, size), read(received, size));
    let psnr = psnr_db(mean_squared_error(&one, &other).unwrap());
    let theirs = judged("psnr", "PSNR y:", received, original, size);
    assert!((psnr - theirs).abs() <= 0.01, "{what}: PSNR {psnr}, by ffmpeg {theirs}");
    let similarity = ssim(&one, &other).unwrap();
    let theirs = judged("ssim", "SSIM Y:", received, original, size);
    assert!((similarity - theirs).abs() <= 0.0005, "{what}: SSIM {similarity}, by ffmpeg {theirs}");
    // Damage that does not show would prove nothing.
    assert!((10.0..60.0).contains(&psnr) && similarity < 0.9999, "{what}: {psnr} dB, {similarity}");
}

fn drawn(path: &Path, size: Size) {
    let mut frame = VideoFrame::black(size, Instant::now());
    pattern::draw(&mut frame, Stamp { counter: 77, sent_ms: 123_456 });
    std::fs::write(path, frame.y()).unwrap();
}

#[test]
fn damaged_pictures_have_the_figures_that_ffmpeg_has() {
    let _turn = Turn::call();
    let dir = TempDir::new("quality");
    let (original, received) = (dir.file("original.raw"), dir.file("received.raw"));
    for (width, height) in SIZES {
        let size = Size { width, height };
        drawn(&original, size);
        for filter in DAMAGE {
            let mut command = ffmpeg();
            input(&mut command, &original, size);
            let scaled_back = format!("{filter},scale={width}:{height}");
            command.args(["-vf", &scaled_back, "-pix_fmt", "gray", "-f", "rawvideo"]).arg(&received);
            run(&mut command);
            assert_as_ffmpeg(&original, &received, size, &format!("{size} {filter}"));
        }
    }
}

#[test]
fn coded_pictures_have_the_figures_that_ffmpeg_has() {
    let _turn = Turn::call();
    let dir = TempDir::new("quality");
    let [original, coded, received] = ["original.raw", "coded.avi", "received.raw"].map(|name| dir.file(name));
    for (width, height) in [(640, 480), (330, 250), (1280, 720)] {
        let size = Size { width, height };
        drawn(&original, size);
        let mut command = ffmpeg();
        input(&mut command, &original, size);
        run(command.args(["-c:v", "mpeg4", "-q:v", "12", "-pix_fmt", "yuv420p"]).arg(&coded));
        run(ffmpeg().arg("-i").arg(&coded).args(["-pix_fmt", "gray", "-f", "rawvideo"]).arg(&received));
        assert_as_ffmpeg(&original, &received, size, &format!("{size} coded"));
    }
}

#[test]
fn equal_pictures_are_infinitely_alike_to_ffmpeg_and_capped_here() {
    let _turn = Turn::call();
    let dir = TempDir::new("quality");
    let original = dir.file("original.raw");
    let size = Size { width: 322, height: 182 };
    drawn(&original, size);
    let (theirs, picture) = (judged("psnr", "PSNR y:", &original, &original, size), read(&original, size));
    assert!(theirs.is_infinite(), "{theirs}");
    let error = mean_squared_error(&picture, &picture).unwrap();
    assert!((psnr_db(error) - media::quality::psnr::PSNR_DB_MAX).abs() < f64::EPSILON);
    assert!((ssim(&picture, &picture).unwrap() - judged("ssim", "SSIM Y:", &original, &original, size)).abs() < 1e-6);
}
