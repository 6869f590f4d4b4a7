//! A thousand lines drawn from seeds, each with a step in the middle: nothing but the marks is the same for all.

use super::*;

/// What one line is.
#[derive(Clone, Copy, Debug)]
struct Line {
    bps: [u64; 2],
    queue_ms: u64,
    delay_ms: u64,
    jitter_ms: u64,
    loss_percent: u64,
}

impl Line {
    fn drawn(seed: u64) -> Self {
        let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut below = |most: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % most
        };
        // Rates are even on a scale of powers: 150 kbit/s to 5 Mbit/s.
        let mut rate = || (150_000.0 * 33.0_f64.powf(below(1000) as f64 / 1000.0)) as u64;
        let bps = [rate(), rate()];
        let loss_percent = [0, 0, 0, 1, 2, 5, 10][below(7) as usize];
        Self { bps, queue_ms: 80 + below(320), delay_ms: 1 + below(120), jitter_ms: below(20), loss_percent }
    }

    fn text(&self, phase: usize) -> String {
        let Self { bps, queue_ms, delay_ms, jitter_ms, loss_percent } = self;
        let loss = if *loss_percent > 0 { format!(",loss={loss_percent}%") } else { String::new() };
        format!("rate={}kbit,queue={queue_ms}ms,delay={delay_ms}ms,jitter={jitter_ms}ms{loss}", bps[phase] / 1000)
    }
}

/// What is wrong with a line; empty when nothing is.
fn faults(seed: u64) -> Vec<String> {
    let line = Line::drawn(seed);
    let back = format!("delay={}ms", line.delay_ms);
    let mut world =
        World::new(&[&line.text(0), &back]).with_flow(Way::There, Duration::ZERO).then(20, &[&line.text(1), &back]);
    world.run(40.0);
    let mut faults = Vec::new();
    for (phase, from, to) in [(0, 12.0, 20.0), (1, 34.0, 40.0)] {
        let carried = (line.bps[phase] as f64 * (1.0 - line.loss_percent as f64 / 100.0)).min(2.2e6);
        let used = world.bps(from, to) / carried;
        if used < 0.6 {
            faults.push(format!("{used:.2} used of phase {phase}"));
        }
        let queue = world.queue_p95(from, to);
        // Jitter is no queue, and neither is one packet on a narrow line.
        let allowed = 120 + u128::from(line.jitter_ms) + 9_600_000 / u128::from(line.bps[phase]);
        if queue > allowed {
            faults.push(format!("a queue of {queue} ms in phase {phase}"));
        }
        // Three standard deviations of what the line loses by itself, and a little.
        let loss = line.loss_percent as f64 / 100.0;
        let by_chance = loss + 3.0 * (loss * (1.0 - loss) / ((to - from) * 50.0)).sqrt();
        let spoilt = world.spoilt_sound(0, from, to) - by_chance;
        if spoilt > 0.03 {
            faults.push(format!("{spoilt:.2} of the sound in phase {phase}"));
        }
    }
    if !faults.is_empty() {
        faults.insert(0, format!("seed {seed}: {line:?}"));
    }
    faults
}

#[test]
fn a_thousand_lines() {
    let seeds: Vec<u64> = (1..=1000).collect();
    let bad: Vec<String> = std::thread::scope(|scope| {
        let parts: Vec<_> = seeds
            .chunks(500)
            .map(|part| scope.spawn(move || part.iter().map(|seed| faults(*seed)).collect::<Vec<_>>()))
            .collect();
        let faults = parts.into_iter().flat_map(|part| part.join().expect("a line"));
        faults.filter(|faults| !faults.is_empty()).map(|faults| faults.join("; ")).collect()
    });
    assert!(bad.len() <= 5, "{} of 1000 lines:\n{}", bad.len(), bad.join("\n"));
}
