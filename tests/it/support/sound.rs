//! Sound as a test hears it: WAV files made, recordings decoded by ffmpeg, frequencies measured by zero crossings.
//!
//! It shares no code with the program's own tone detector, so that the two check each other.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::require;

/// Samples a second of everything here; one channel, 16 bit.
pub const RATE: usize = 48_000;

/// Frequencies of the program's test tone in hertz, in its order; it begins anew after the last.
pub const SWEEP: [u32; 8] = [400, 600, 800, 1000, 1200, 1400, 1600, 1800];

/// What is measured at a time: short against a step of the sweep (500 ms), long against a period.
const WINDOW: usize = RATE / 10;

/// Quieter than this (peak) is silence.
const SILENCE: u16 = 1000;

/// A measured frequency may be this far off one of the sweep's, in hertz: a quarter of their distance.
const TOLERANCE_HZ: f64 = 50.0;

/// A pure tone.
pub fn sine(hz: f64, length: Duration) -> Vec<i16> {
    let samples = length.as_millis() as usize * RATE / 1000;
    let radians = hz * std::f64::consts::TAU / RATE as f64;
    (0..samples).map(|n| ((n as f64 * radians).sin() * 16_000.0) as i16).collect()
}

/// Writes a WAV file.
pub fn write_wav(path: &Path, samples: &[i16]) {
    let data: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
    let length = u32::try_from(data.len()).unwrap();
    let rate = u32::try_from(RATE).unwrap();
    let mut bytes = b"RIFF".to_vec();
    bytes.extend((36 + length).to_le_bytes());
    bytes.extend(b"WAVEfmt ");
    bytes.extend([16, 0, 0, 0, 1, 0, 1, 0]);
    bytes.extend(rate.to_le_bytes());
    bytes.extend((2 * rate).to_le_bytes());
    bytes.extend([2, 0, 16, 0]);
    bytes.extend(b"data");
    bytes.extend(length.to_le_bytes());
    bytes.extend(data);
    std::fs::write(path, bytes).unwrap();
}

/// The sound of any file that ffmpeg reads.
///
/// # Panics
/// With what ffmpeg says, when it finds an error in the file.
pub fn decode(path: &Path) -> Vec<i16> {
    decode_by(path, &[])
}

/// The same, each sample in its time: where nothing was recorded there is silence.
pub fn decode_in_time(path: &Path) -> Vec<i16> {
    decode_by(path, &["-af", "aresample=async=1:first_pts=0"])
}

fn decode_by(path: &Path, filter: &[&str]) -> Vec<i16> {
    let mut command = Command::new(require("ffmpeg", "ffmpeg"));
    command.args(["-nostdin", "-v", "error", "-i"]).arg(path).args(filter);
    let output = command.args(["-vn", "-f", "s16le", "-ac", "1", "-ar", &RATE.to_string(), "-"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{}: {said}", path.display());
    output.stdout.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect()
}

/// The largest sample.
pub fn loudest(samples: &[i16]) -> u16 {
    samples.iter().map(|sample| sample.unsigned_abs()).max().unwrap_or(0)
}

/// The middle one of the levels of every half second: what a busy machine loses does not count. -100 where there is none.
pub fn middle_dbfs(samples: &[i16]) -> f64 {
    let mut levels: Vec<f64> = samples.chunks_exact(RATE / 2).map(dbfs).collect();
    levels.sort_by(f64::total_cmp);
    levels.get(levels.len() / 2).copied().unwrap_or(-100.0)
}

/// RMS in dB relative to full scale; -100 of silence.
fn dbfs(samples: &[i16]) -> f64 {
    let energy: f64 = samples.iter().map(|sample| f64::from(*sample).powi(2)).sum();
    let mean = energy / samples.len().max(1) as f64 / f64::from(i16::MAX).powi(2);
    (10.0 * mean.log10()).max(-100.0)
}

/// The frequency of a pure tone in hertz, from its upward zero crossings; nothing in silence.
pub fn frequency(samples: &[i16]) -> Option<f64> {
    if loudest(samples) < SILENCE {
        return None;
    }
    let crossing = |(n, pair): (usize, &[i16])| {
        let (before, after) = (f64::from(pair[0]), f64::from(pair[1]));
        (before < 0.0 && after >= 0.0).then(|| n as f64 + before / (before - after))
    };
    let crossings: Vec<f64> = samples.windows(2).enumerate().filter_map(crossing).collect();
    let (first, last) = (crossings.first()?, crossings.last()?);
    (last > first).then(|| (crossings.len() - 1) as f64 * RATE as f64 / (last - first))
}

/// The frequencies of all windows of 100 ms that are not silent.
pub fn frequencies(samples: &[i16]) -> Vec<f64> {
    samples.chunks_exact(WINDOW).filter_map(frequency).collect()
}

/// The steps of the sweep that can be measured in a recording, in order, and the share of its loud windows that are
/// one of them; windows in which one step follows another are none.
pub fn sweep_steps(samples: &[i16]) -> (Vec<u32>, f64) {
    let measured = frequencies(samples);
    let step = |hz: &f64| SWEEP.into_iter().find(|step| (hz - f64::from(*step)).abs() < TOLERANCE_HZ);
    let known: Vec<Option<u32>> = measured.iter().map(step).collect();
    // Where one step follows another the average of both may look like a third, for one window.
    let held = |pair: &[Option<u32>]| pair[0].filter(|_| pair[0] == pair[1]);
    let mut steps: Vec<u32> = known.windows(2).filter_map(held).collect();
    steps.dedup();
    let share = known.iter().flatten().count() as f64 / measured.len().max(1) as f64;
    (steps, share)
}

/// Whether these steps follow each other as in the sweep, from any of them on.
pub fn follows_the_sweep(steps: &[u32]) -> bool {
    let known = steps.iter().all(|step| SWEEP.contains(step));
    let place = |step: &u32| SWEEP.iter().position(|other| other == step).unwrap_or(0);
    let next = |pair: &[u32]| (place(&pair[0]) + 1) % SWEEP.len() == place(&pair[1]);
    known && steps.windows(2).all(next)
}
