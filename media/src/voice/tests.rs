//! Echo, noise and gain in virtual time, with synthetic speech: what is sent, measured against what was said.

use super::*;
use crate::voice::level::dbfs;

const SECOND: usize = AUDIO_RATE_HZ as usize;

/// Speech as it is loud in a call, RMS.
const SPEECH_DBFS: f64 = -23.0;

/// A seeded source of noise.
struct Random(u64);

impl Random {
    /// Between 0 and 1.
    fn unit(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Nearly Gaussian, of variance 1.
    fn noise(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }
}

/// Four resonances in a row beside each other, as a mouth has them.
struct Formants([(f64, f64, [f64; 2]); 4]);

impl Formants {
    fn new(hertz: [f64; 4]) -> Self {
        Self(std::array::from_fn(|n| {
            let radius = 1.0 - 250.0 * (n as f64 + 1.0) / SECOND as f64;
            (radius, 2.0 * radius * (std::f64::consts::TAU * hertz[n] / SECOND as f64).cos(), [0.0; 2])
        }))
    }

    fn next(&mut self, excited: f64) -> f64 {
        let voices = self.0.iter_mut().zip(1..);
        let resound = |((radius, turn, past), weight): (&mut (f64, f64, [f64; 2]), i32)| {
            let sample = excited + *turn * past[0] - radius.powi(2) * past[1];
            *past = [sample, past[0]];
            sample * (1.0 - *radius) / f64::from(weight)
        };
        voices.map(resound).sum()
    }
}

/// Syllables of pulses or noise through formants, with pauses: as much like speech as a canceller can tell.
fn speech(seed: u64, seconds: usize) -> Vec<f64> {
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut samples = vec![0.0; seconds * SECOND];
    let mut at = 0;
    while at < samples.len() {
        let length = (SECOND as f64 * (0.12 + 0.2 * random.unit())) as usize;
        let (pitch, voiced) = (90.0 + 120.0 * random.unit(), random.unit() > 0.2);
        let gain = 0.3 + 0.7 * random.unit();
        let mut formants = Formants::new(
            [(300.0, 500.0), (900.0, 1400.0), (2500.0, 800.0), (4000.0, 2000.0)]
                .map(|(low, band)| low + band * random.unit()),
        );
        let (mut phase, mut before) = (0.0, 0.0);
        for (n, sample) in samples[at..].iter_mut().take(length).enumerate() {
            let part = n as f64 / length as f64;
            phase += pitch * (1.0 + 0.1 * (6.0 * part).sin()) / SECOND as f64;
            let pulse = if phase >= 1.0 { 1.0 } else { 0.0 };
            phase %= 1.0;
            let excited = if voiced { pulse + 0.02 * random.noise() } else { 0.15 * random.noise() };
            // Lips radiate the change of the flow.
            let radiated = excited - std::mem::replace(&mut before, excited);
            *sample = formants.next(radiated) * gain * (std::f64::consts::PI * part).sin().powf(0.7);
        }
        let pause = if random.unit() < 0.15 { 0.4 } else { 0.04 } * random.unit();
        at += length + (pause * SECOND as f64) as usize;
    }
    at_level(samples, SPEECH_DBFS)
}

/// Noise of the whole band.
fn noise(seed: u64, seconds: usize, level: f64) -> Vec<f64> {
    let mut random = Random(seed | 1);
    at_level((0..seconds * SECOND).map(|_| random.noise()).collect(), level)
}

fn at_level(mut samples: Vec<f64>, level: f64) -> Vec<f64> {
    let rms = (samples.iter().map(|sample| sample.powi(2)).sum::<f64>() / samples.len() as f64).sqrt();
    let gain = f64::from(i16::MAX) * 10_f64.powf(level / 20.0) / rms;
    samples.iter_mut().for_each(|sample| *sample *= gain);
    samples
}

fn pcm(samples: &[f64]) -> Vec<i16> {
    samples.iter().map(|sample| sample.round() as i16).collect()
}

fn sum(one: &[f64], other: &[f64]) -> Vec<f64> {
    one.iter().zip(other).map(|(one, other)| one + other).collect()
}

/// The echo of `far` at -6 dB, so many milliseconds later, with the sound of a small room.
fn echo(far: &[f64], delay_ms: usize) -> Vec<f64> {
    let mut random = Random(77);
    let reflections = (1..150).map(|n| {
        let after = 16 * n;
        (after, 0.25 * (random.unit() - 0.5) * (-(after as f64) / 1200.0).exp())
    });
    let taps: Vec<(usize, f64)> = std::iter::once((0, 0.5)).chain(reflections).collect();
    let mut echo = vec![0.0; far.len()];
    for (after, gain) in taps {
        let after = after + delay_ms * SECOND / 1000;
        for (echo, far) in echo.iter_mut().skip(after).zip(far) {
            *echo += gain * far;
        }
    }
    echo
}

/// Lets a call go on: 20 ms of the speaker, then 20 ms of the microphone, as devices give them.
fn process(voice: &mut Voice, far: &[i16], near: &[i16]) -> Vec<i16> {
    let mut sent = near.to_vec();
    for (far, near) in far.chunks_exact(2 * BLOCK_SAMPLES).zip(sent.chunks_exact_mut(2 * BLOCK_SAMPLES)) {
        far.as_chunks().0.iter().for_each(|block| voice.far(block));
        near.as_chunks_mut().0.iter_mut().for_each(|block| voice.near(block));
    }
    sent
}

/// What of this call's microphone is sent.
fn sent(far: &[f64], near: &[f64]) -> Vec<i16> {
    process(&mut Voice::new(), &pcm(far), &pcm(near))
}

/// How much lower the second is, in dB, from second `from` to second `to`.
fn lower_by(before: &[f64], after: &[i16], from: f64, to: f64) -> f64 {
    let part = (from * SECOND as f64) as usize..(to * SECOND as f64) as usize;
    dbfs(&pcm(&before[part.clone()])) - dbfs(&after[part])
}

/// The correlation of the two, at the shift of up to 20 ms at which it is highest: filters have a delay.
fn correlation(one: &[f64], other: &[f64]) -> f64 {
    let product = |shift: usize| one.iter().zip(&other[shift..]).map(|(one, other)| one * other).sum::<f64>();
    let energy = |samples: &[f64]| samples.iter().map(|sample| sample.powi(2)).sum::<f64>();
    let scale = (energy(one) * energy(other)).sqrt();
    (0..SECOND / 50).map(product).fold(0.0, f64::max) / scale
}

#[test]
fn an_echo_is_gone_after_a_second_whatever_its_delay() {
    let far = speech(1, 6);
    for delay_ms in [50, 100, 200, 300] {
        let near = echo(&far, delay_ms);
        let mut voice = Voice::new();
        let sent = process(&mut voice, &pcm(&far), &pcm(&near));
        let lower = lower_by(&near, &sent, 1.0, 6.0);
        assert!(lower >= 40.0, "{delay_ms} ms: echo lowered by {lower:.1} dB");
        let echo = voice.echo().unwrap();
        assert!((echo.delay_ms - delay_ms as f64).abs() <= 16.0, "{delay_ms} ms: {echo:?}");
        assert!((4.0..7.0).contains(&echo.return_loss_db), "{delay_ms} ms: {echo:?}");
        assert!(echo.sent_return_loss_db >= 46.0, "{delay_ms} ms: {echo:?}");
    }
}

#[test]
fn a_delay_that_changes_is_found_again_within_two_seconds() {
    let far = speech(2, 12);
    for (first, second) in [(50, 120), (200, 60), (100, 300)] {
        let mut near = echo(&far, first);
        near[6 * SECOND..].copy_from_slice(&echo(&far, second)[6 * SECOND..]);
        let sent = sent(&far, &near);
        let lower = lower_by(&near, &sent, 8.0, 12.0);
        assert!(lower >= 40.0, "{first} to {second} ms: echo lowered by {lower:.1} dB");
    }
}

/// When the echo is last heard: the end of the last quarter of a second after `at` in which it is loud in the microphone
/// and not 40 dB lower in what is sent, in seconds after `at`.
fn last_heard(near: &[f64], sent: &[i16], at: f64, to: f64) -> f64 {
    let quarters = (0..).map(|n| at + f64::from(n) / 4.0).take_while(|from| from + 0.25 <= to);
    let heard = quarters.filter(|&from| {
        let part = (from * SECOND as f64) as usize..((from + 0.25) * SECOND as f64) as usize;
        dbfs(&pcm(&near[part])) > SPEECH_DBFS - 20.0 && lower_by(near, sent, from, from + 0.25) < 40.0
    });
    heard.last().map_or(0.0, |from| from + 0.25 - at)
}

#[test]
fn an_echo_that_comes_later_is_soon_gone_again_and_when_it_comes_back_too() {
    // Sound systems that begin a stream anew: nothing is heard until its buffer is full, and then only what was played
    // since. A sentence ends just before the first change, and the next one begins after it.
    let mut far = speech(2, 18);
    far[5 * SECOND + SECOND / 2..6 * SECOND + SECOND / 2].fill(0.0);
    for (first, second) in [(110, 260), (50, 120), (100, 130), (60, 360)] {
        let mut near = echo(&far, first);
        for (at, delay_ms) in [(6 * SECOND, second), (12 * SECOND, first)] {
            let played_since = [&vec![0.0; at], &far[at..]].concat();
            near[at..].copy_from_slice(&echo(&played_since, delay_ms)[at..]);
        }
        let mut voice = Voice::new();
        let (far, to) = (pcm(&far), 12 * SECOND);
        let mut sent = process(&mut voice, &far[..to], &pcm(&near[..to]));
        let late = voice.echo().unwrap().delay_ms;
        assert!((late - second as f64).abs() <= 16.0, "{first} to {second} ms: {late} ms");
        sent.extend(process(&mut voice, &far[to..], &pcm(&near[to..])));
        for (at, to) in [(6.0, 12.0), (12.0, 18.0)] {
            let (heard, lower) = (last_heard(&near, &sent, at, to), lower_by(&near, &sent, at + 2.0, to));
            assert!(heard <= 1.5, "{first} to {second} ms: last heard {heard} s after {at} s");
            assert!(lower >= 40.0, "{first} to {second} ms: lowered by {lower:.1} dB after {at} s");
        }
    }
}

/// How much of what is said comes through an echo that is so much louder or quieter than -6 dB: the correlation with
/// what is sent when nothing is played. The far end speaks for two seconds, then both do.
fn both_at_once(seed: u64, louder: f64) -> f64 {
    let (far, mut said) = (speech(seed, 10), speech(seed + 1, 10));
    said[..2 * SECOND].fill(0.0);
    let echo: Vec<f64> = echo(&far, 100).iter().map(|sample| sample * louder).collect();
    let floats = |samples: Vec<i16>| samples[4 * SECOND..].iter().map(|&sample| f64::from(sample)).collect::<Vec<_>>();
    let alone = floats(sent(&vec![0.0; said.len()], &said));
    let both = floats(sent(&far, &sum(&echo, &said)));
    correlation(&alone, &both)
}

#[test]
fn who_speaks_into_the_echo_is_heard() {
    // An echo at -12 dB, and one at -6 dB, half as loud as she is herself; both without a pause.
    for seed in [3, 13] {
        let (quiet, loud) = (both_at_once(seed, 0.5), both_at_once(seed, 1.0));
        assert!(quiet >= 0.9 && loud >= 0.8, "correlation {quiet:.3}, with a loud echo {loud:.3}");
    }
}

#[test]
fn who_speaks_alone_is_left_as_she_is() {
    let said = speech(5, 10);
    let sent: Vec<f64> = sent(&vec![0.0; said.len()], &said).into_iter().map(f64::from).collect();
    let heard = correlation(&said[2 * SECOND..], &sent[2 * SECOND..]);
    // Below 100 Hz a filter takes what is no speech, and shifts the phase above it.
    assert!(heard >= 0.9, "correlation {heard:.3}");
}

#[test]
fn who_wears_headphones_is_heard_while_the_other_side_speaks() {
    // Nothing of the far end reaches the microphone. Until the canceller knows that, it takes speech for echo.
    for seed in [21, 31] {
        let (far, said) = (speech(seed, 12), speech(seed + 1, 12));
        let floats =
            |samples: Vec<i16>| samples[4 * SECOND..].iter().map(|&sample| f64::from(sample)).collect::<Vec<_>>();
        let heard = correlation(&floats(sent(&vec![0.0; said.len()], &said)), &floats(sent(&far, &said)));
        assert!(heard >= 0.95, "correlation {heard:.3}");
    }
}

#[test]
fn clocks_that_differ_leave_no_echo() {
    for ppm in [-200.0, 200.0] {
        let far = speech(51, 30);
        let echo = echo(&far, 100);
        let rate = 1.0 + ppm / 1e6;
        let near: Vec<f64> = (0..far.len())
            .map(|n| {
                let (at, part) = ((n as f64 * rate) as usize, (n as f64 * rate).fract());
                let sample = |n: usize| echo.get(n).copied().unwrap_or_default();
                sample(at) * (1.0 - part) + sample(at + 1) * part
            })
            .collect();
        let (far, mut sent) = (pcm(&far), pcm(&near));
        let mut voice = Voice::new();
        let mut far = far.as_chunks::<BLOCK_SAMPLES>().0.iter().enumerate().peekable();
        for (n, frame) in sent.as_chunks_mut::<{ 2 * BLOCK_SAMPLES }>().0.iter_mut().enumerate() {
            // So many of its own samples the speaker has played by then.
            let now = (n + 1) as f64 * 2.0 * BLOCK_SAMPLES as f64 * rate;
            while let Some((_, block)) = far.next_if(|(n, _)| ((n + 1) * BLOCK_SAMPLES) as f64 <= now) {
                voice.far(block);
            }
            frame.as_chunks_mut().0.iter_mut().for_each(|block| voice.near(block));
        }
        let lower = lower_by(&near, &sent, 5.0, 30.0);
        assert!(lower >= 30.0, "{ppm} ppm: echo lowered by {lower:.1} dB");
    }
}

#[test]
fn noise_is_lowered() {
    // Two seconds of speech, two without, with noise 10 dB below it all the time.
    let mut said = speech(6, 12);
    for pause in [2..4, 6..8, 10..12] {
        said[pause.start * SECOND..pause.end * SECOND].fill(0.0);
    }
    let near = sum(&said, &noise(7, 12, SPEECH_DBFS - 10.0));
    let sent = sent(&vec![0.0; near.len()], &near);
    let lower = lower_by(&near, &sent, 10.5, 11.5);
    assert!(lower >= 12.0, "noise lowered by {lower:.1} dB");
}

#[test]
fn a_quiet_microphone_is_raised() {
    let said = at_level(speech(8, 20), SPEECH_DBFS - 20.0);
    let sent = sent(&vec![0.0; said.len()], &said);
    let raised = -lower_by(&said, &sent, 15.0, 20.0);
    assert!((6.0..25.0).contains(&raised), "raised by {raised:.1} dB");
}

#[test]
fn devices_that_lose_sound_cost_half_a_second() {
    for (lost_ms, late_ms) in [(30, 0), (100, 0), (200, 0), (0, 40), (0, 100)] {
        let far = speech(71, 10);
        let near = echo(&far, 60);
        let (far, mut sent) = (pcm(&far), pcm(&near));
        // The microphone loses sound at 4 s; the speaker's blocks come late at 7 s.
        let (lost, at) = (lost_ms * SECOND / 1000, 4 * SECOND);
        sent.drain(at..at + lost);
        let mut voice = Voice::new();
        let mut blocks = far.as_chunks::<BLOCK_SAMPLES>().0.iter();
        let mut given = 0;
        for (n, frame) in sent.as_chunks_mut::<{ 2 * BLOCK_SAMPLES }>().0.iter_mut().enumerate() {
            let now = (n + 1) * 2 * BLOCK_SAMPLES + if n * 2 * BLOCK_SAMPLES >= at { lost } else { 0 };
            let late = now > 7 * SECOND && now <= 7 * SECOND + late_ms * SECOND / 1000;
            let due = if late { given } else { now / BLOCK_SAMPLES };
            blocks.by_ref().take(due - given).for_each(|block| voice.far(block));
            given = due;
            frame.as_chunks_mut().0.iter_mut().for_each(|block| voice.near(block));
        }
        for (from, to) in [(4.5, 7.0), (7.5, 9.5)] {
            let lower = lower_by(&near, &sent, from, to);
            assert!(lower >= 40.0, "{lost_ms} ms lost, {late_ms} ms late: echo lowered by {lower:.1} dB from {from} s");
        }
    }
}

#[test]
fn devices_that_come_at_odd_times_keep_their_distance() {
    let far = speech(9, 10);
    let near = echo(&far, 100);
    let (far, mut sent) = (pcm(&far), pcm(&near));
    let mut random = Random(5);
    let mut voice = Voice::new();
    let mut far = far.as_chunks::<BLOCK_SAMPLES>().0.iter();
    let (mut played, mut wanted) = (0, 0);
    // The speaker's device takes 20 or 40 ms at once, and its callback may be 10 ms behind the microphone's.
    for frame in sent.as_chunks_mut::<{ 2 * BLOCK_SAMPLES }>().0 {
        wanted += 2;
        if wanted - played > 2 || random.unit() > 0.5 {
            let due = wanted - usize::from(random.unit() > 0.5);
            far.by_ref().take(due - played).for_each(|block| voice.far(block));
            played = due;
        }
        frame.as_chunks_mut().0.iter_mut().for_each(|block| voice.near(block));
    }
    let lower = lower_by(&near, &sent, 4.0, 10.0);
    assert!(lower >= 30.0, "echo lowered by {lower:.1} dB");
}

#[test]
fn sound_that_was_lost_is_put_right() {
    let mut pairing = Pairing::default();
    let block = |n: i16| [n; BLOCK_SAMPLES];
    let mut number = 0;
    let mut go_on = |pairing: &mut Pairing, blocks: u32| {
        for _ in 0..blocks {
            number += 1;
            pairing.push(block(number));
            pairing.next();
        }
        number
    };
    go_on(&mut pairing, 100);
    assert_eq!((pairing.waiting.len(), pairing.usual), (0, 0));
    // The microphone loses 100 ms: what was played meanwhile has no echo.
    (0..10).for_each(|n| pairing.push(block(n)));
    let last = go_on(&mut pairing, 2 * PAIRING_WINDOW);
    assert_eq!(pairing.waiting.len(), 0);
    pairing.push(block(last + 1));
    assert_eq!(pairing.next(), block(last + 1), "as before");
    // The speaker's blocks come 30 ms late, again and again: one may wait from now on.
    for usual in [0, 0, 1] {
        while !pairing.waiting.is_empty() {
            pairing.next();
        }
        assert!((0..3).all(|_| pairing.next() == block(0)));
        (0..3).for_each(|n| pairing.push(block(n)));
        go_on(&mut pairing, 2 * PAIRING_WINDOW);
        assert_eq!(pairing.usual, usual);
        assert!(pairing.waiting.len() <= usual + FAR_SLACK, "{} wait", pairing.waiting.len());
    }
}

#[test]
fn the_far_end_is_bounded_and_may_be_silent() {
    let mut pairing = Pairing::default();
    (0..1000).for_each(|_| assert_eq!(pairing.next(), [0; BLOCK_SAMPLES]));
    assert_eq!(pairing.usual, 0);
    (0..100).for_each(|_| pairing.push([7; BLOCK_SAMPLES]));
    assert_eq!(pairing.waiting.len(), FAR_MAX);
}

/// Panics at blocks that begin with 13, else negates them.
struct Superstitious;

impl Engine for Superstitious {
    fn far(&mut self, _: &[i16; BLOCK_SAMPLES]) {}

    fn near(&mut self, block: &mut [i16; BLOCK_SAMPLES]) {
        assert_ne!(block[0], 13, "asked for by a test");
        block.iter_mut().for_each(|sample| *sample = -*sample);
    }

    fn delay_ms(&self) -> Option<f64> {
        None
    }
}

#[test]
fn a_panic_costs_no_sound_and_no_call() {
    let mut voice = Voice::with(|| Box::new(Superstitious));
    for (given, sent) in [(5, -5), (13, 13), (5, -5)] {
        let mut block = [given; BLOCK_SAMPLES];
        voice.near(&mut block);
        assert_eq!(block, [sent; BLOCK_SAMPLES]);
    }
    assert_eq!(voice.panics, 1);
    for _ in 0..2 * PANICS_MAX {
        voice.near(&mut [13; BLOCK_SAMPLES]);
    }
    assert_eq!(voice.panics, PANICS_MAX, "given up");
}
