//! What the filters of [`Resampler`] keep, what they let through, and when it comes: measured, and held to.

use std::f64::consts::PI;
use std::time::{Duration, Instant};

use super::*;

/// Makes a resampler from one rate to another.
type Make = fn(u32, u32) -> Resampler;

/// What a tone became.
struct Tone {
    /// Relative to what it was.
    level_db: f64,
    /// Of the tone to all else.
    snr_db: f64,
}

/// A second of a tone at half of full scale.
pub(super) fn tone(hz: f64, rate: u32) -> impl Iterator<Item = f32> {
    (0..rate).map(move |n| ((2.0 * PI * hz * f64::from(n) / f64::from(rate)).sin() * 0.5) as f32)
}

/// The middle of what a tone becomes, before it is rounded to 16 bit.
fn convert(make: Make, (from, to): (u32, u32), hz: f64) -> Vec<f64> {
    let mut out = Vec::new();
    let mut converter = make(from, to).converter.unwrap();
    converter.push(tone(hz, from), |sample| out.push(f64::from(sample)));
    out[to as usize / 10..to as usize / 10 * 9].to_vec()
}

/// The sine's and the cosine's part of a tone in samples of which the first is at `begin`, by least squares.
pub(super) fn fit(samples: &[f64], hz: f64, rate: u32, begin: usize) -> (f64, f64) {
    let [mut ss, mut cc, mut sc, mut xs, mut xc] = [0.0; 5];
    for (n, x) in samples.iter().enumerate() {
        let (s, c) = (2.0 * PI * hz * (begin + n) as f64 / f64::from(rate)).sin_cos();
        (ss, cc, sc) = (ss + s * s, cc + c * c, sc + s * c);
        (xs, xc) = (xs + x * s, xc + x * c);
    }
    let determinant = ss * cc - sc * sc;
    ((xs * cc - xc * sc) / determinant, (xc * ss - xs * sc) / determinant)
}

/// What becomes of a tone at a share of the lower rate's band.
fn pass(make: Make, (from, to): (u32, u32), share: f64) -> Tone {
    let hz = (f64::from(from.min(to)) / 2.0 * share).round();
    let out = convert(make, (from, to), hz);
    let (a, b) = fit(&out, hz, to, 0);
    let rest = out.iter().enumerate().map(|(n, x)| {
        let (s, c) = (2.0 * PI * hz * n as f64 / f64::from(to)).sin_cos();
        (x - a * s - b * c).powi(2)
    });
    let (power, rest) = ((a * a + b * b) / 2.0, rest.sum::<f64>() / out.len() as f64);
    // In floats of 24 bit no more than 150 dB can be told.
    Tone { level_db: 10.0 * (power / 0.125).log10(), snr_db: (10.0 * (power / rest).log10()).min(150.0) }
}

/// What is left of a tone that the lower rate cannot have, at a multiple of its band.
fn alias_db(make: Make, rates: (u32, u32), share: f64) -> f64 {
    let out = convert(make, rates, f64::from(rates.1) / 2.0 * share);
    10.0 * (out.iter().map(|x| x * x).sum::<f64>() / out.len() as f64 / 0.125).log10()
}

/// How long a click takes at most, whenever it comes: from its sample to the peak of what it becomes.
fn delay(make: Make, (from, to): (u32, u32)) -> Duration {
    let delay = |click: u32| {
        let mut converter = make(from, to).converter.unwrap();
        let (mut peak, mut peak_at) = (0.0, 0);
        for n in 0..click + 12_000 {
            let sample = if n == click { 1.0 } else { 0.0 };
            converter.push(std::iter::once(sample), |sample| {
                if sample > peak {
                    (peak, peak_at) = (sample, n);
                }
            });
        }
        peak_at - click
    };
    Duration::from_secs(1) * (5_000..5_040).map(delay).max().unwrap() / from
}

/// What a second of sound takes: a hundred times the median of pieces of 10 ms, which other programs hardly interrupt.
fn processor_time(make: Make, (from, to): (u32, u32)) -> Duration {
    let samples: Vec<f32> = tone(1_000.0, from).collect();
    let mut converter = make(from, to).converter.unwrap();
    let mut piece = |samples: &[f32]| {
        let begun = Instant::now();
        converter.push(samples.iter().copied(), |_| ());
        begun.elapsed()
    };
    let mut pieces: Vec<_> = samples.chunks(from as usize / 100).map(&mut piece).collect();
    pieces.sort_unstable();
    pieces[pieces.len() / 2] * 100
}

#[test]
fn the_device_filter_keeps_speech_and_is_there_within_a_millisecond() {
    for rates in [(44_100, 48_000), (48_000, 44_100), (96_000, 48_000)] {
        for share in [0.05, 0.3, 0.8] {
            let Tone { level_db, snr_db } = pass(Resampler::for_device, rates, share);
            assert!(level_db.abs() < 0.01 && snr_db > 100.0, "{rates:?} at {share}: {level_db} dB, SNR {snr_db} dB");
        }
        if rates.1 < rates.0 {
            let alias_db = alias_db(Resampler::for_device, rates, 1.02);
            assert!(alias_db < -60.0, "{rates:?}: {alias_db} dB");
        }
        let delay = delay(Resampler::for_device, rates);
        assert!(delay < Duration::from_millis(1), "{rates:?}: {delay:?}");
    }
}

#[test]
fn the_file_filter_keeps_what_16_bit_can_tell() {
    for rates in [(8_000, 48_000), (44_100, 48_000), (96_000, 48_000), (192_000, 48_000)] {
        for share in [0.05, 0.3, 0.8, 0.9] {
            let Tone { level_db, snr_db } = pass(Resampler::for_file, rates, share);
            assert!(level_db.abs() < 0.01 && snr_db > 110.0, "{rates:?} at {share}: {level_db} dB, SNR {snr_db} dB");
        }
        if rates.1 < rates.0 {
            let alias_db = alias_db(Resampler::for_file, rates, 1.02);
            assert!(alias_db < -110.0, "{rates:?}: {alias_db} dB");
        }
    }
}

#[test]
#[ignore = "prints; for a look"]
#[expect(clippy::print_stdout, reason = "it prints for whoever looks")]
fn look_at_resampling() {
    for (name, make) in [("device", Resampler::for_device as Make), ("file", Resampler::for_file)] {
        for from in [8_000, 16_000, 44_100, 48_000, 96_000, 192_000, 768_000] {
            let rates = (from, if from == 48_000 { 44_100 } else { 48_000 });
            let mut line = format!("{name:6} {from:6} to {}:", rates.1);
            for share in [0.3, 0.8, 0.9, 0.95] {
                let Tone { level_db, snr_db } = pass(make, rates, share);
                line += &format!(" {share}: {level_db:.2} dB, SNR {snr_db:.0} dB;");
            }
            for share in [1.02, 1.1].into_iter().filter(|_| rates.1 < rates.0) {
                line += &format!(" alias {share}: {:.0} dB;", alias_db(make, rates, share));
            }
            let (taken, delay) = (processor_time(make, rates), delay(make, rates));
            println!("{line} delay {:.2} ms; {:.1} ms a second", delay.as_secs_f64() * 1e3, taken.as_secs_f64() * 1e3);
        }
    }
}
