//! Delays of noise and of sound that repeats itself, in virtual time.

use super::*;

const SECOND: usize = 48_000;

fn noise(seed: u64, samples: usize) -> Vec<i16> {
    let mut state = seed | 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) as i32 % 4_000 - 2_000) as i16
    };
    (0..samples).map(|_| next()).collect()
}

/// At -6 dB, so many samples later.
fn echo(far: &[i16], delay: usize) -> Vec<i16> {
    (0..far.len()).map(|n| echo_at(far, n, delay)).collect()
}

fn echo_at(far: &[i16], at: usize, delay: usize) -> i16 {
    at.checked_sub(delay).map_or(0, |at| far[at] / 2)
}

fn sum(one: &[i16], other: &[i16]) -> Vec<i16> {
    one.iter().zip(other).map(|(one, other)| one + other).collect()
}

/// What is found, and after how many seconds.
fn findings(far: &[i16], near: &[i16]) -> Vec<(f64, Finding)> {
    let mut path = EchoPath::new();
    let blocks = far.as_chunks().0.iter().zip(near.as_chunks().0).zip(1..);
    blocks.filter_map(|((far, near), n)| Some((f64::from(n) / 100.0, path.add(far, near)?))).collect()
}

#[test]
fn a_delay_is_found_to_the_sample() {
    let far = noise(1, 2 * SECOND);
    for delay in [50, 2_401, 14_398, 23_999] {
        let found = findings(&far, &echo(&far, delay));
        let [(_, Finding::First(seen))] = found[..] else { panic!("{delay}: {found:?}") };
        assert!((seen - delay as f64).abs() < 0.5, "{delay}: {seen}");
    }
}

#[test]
fn a_move_is_found_in_half_a_second() {
    let far = noise(2, 5 * SECOND);
    for (before, after) in [(4_800, 12_000), (12_000, 4_803), (4_800, 5_100)] {
        let mut near = echo(&far, before);
        near[3 * SECOND..].copy_from_slice(&echo(&far, after)[3 * SECOND..]);
        let found = findings(&far, &near);
        let [(_, Finding::First(_)), (at, Finding::Moved { from, to })] = found[..] else { panic!("{found:?}") };
        assert!(at <= 3.5 && (to - from - (after as f64 - before as f64)).abs() < 0.5, "{found:?}");
    }
}

#[test]
fn what_is_no_echo_is_not_found() {
    let far = noise(3, 5 * SECOND);
    assert_eq!(findings(&far, &noise(4, far.len())), []);
    assert_eq!(findings(&far, &vec![0; far.len()]), []);
    assert_eq!(findings(&vec![0; far.len()], &far), []);
}

#[test]
fn sound_that_repeats_itself_says_nothing() {
    let wave = |hertz: f64| -> Vec<i16> {
        let angle = |n: usize| std::f64::consts::TAU * hertz * n as f64 / SECOND as f64;
        (0..5 * SECOND).map(|n| (6_000.0 * angle(n).sin()) as i16).collect()
    };
    let square: Vec<i16> = wave(50.0).iter().map(|sample| 5_000 * sample.signum()).collect();
    let beat: Vec<i16> = noise(5, SECOND / 8).iter().copied().cycle().take(5 * SECOND).collect();
    for far in [wave(100.0), wave(440.0), wave(1_000.0), square, beat] {
        assert_eq!(findings(&far, &echo(&far, 4_800)), []);
    }
}

#[test]
fn neither_drift_nor_a_second_echo_is_a_move() {
    // Sound of 300 ms, then as much without.
    let gate = |n: usize| n % (SECOND * 6 / 10) < SECOND * 3 / 10;
    let far: Vec<i16> =
        noise(6, 20 * SECOND).into_iter().enumerate().map(|(n, s)| if gate(n) { s } else { 0 }).collect();
    let two = sum(&echo(&far, 4_800), &echo(&far, 8_640));
    // 300 ppm: a sample less each 3333.
    let drifting: Vec<i16> = (0..far.len()).map(|n| echo_at(&far, n, 12_000 - n / 3_333)).collect();
    for near in [two, drifting] {
        let found = findings(&far, &near);
        assert!(matches!(found[..], [(_, Finding::First(_))]), "{found:?}");
    }
}
