use std::time::{Duration, Instant};

use super::*;

fn spec(text: &str) -> Impairment {
    text.parse().unwrap()
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Sends `count` packets of `bytes`, `apart` from each other; what comes out, with when it did after the start.
fn send(text: &str, count: u32, bytes: usize, apart: Duration) -> (Link<u32>, Vec<(u32, Duration)>) {
    let start = Instant::now();
    let (mut link, mut out) = (Link::new(spec(text)), Vec::new());
    for number in 0..count {
        let now = start + apart * number;
        drain_until(&mut link, now, start, &mut out);
        link.push(number, bytes, now);
    }
    drain_until(&mut link, start + Duration::from_secs(3600), start, &mut out);
    assert_eq!(link.held(), 0);
    (link, out)
}

/// Takes everything out at the moment it arrives.
fn drain_until(link: &mut Link<u32>, until: Instant, start: Instant, out: &mut Vec<(u32, Duration)>) {
    while let Some(at) = link.poll_timeout().filter(|at| *at <= until) {
        while let Some(packet) = link.poll(at) {
            out.push((packet, at - start));
        }
    }
}

fn numbers(out: &[(u32, Duration)]) -> Vec<u32> {
    out.iter().map(|(number, _)| *number).collect()
}

/// Lengths of the runs of packets that did not come.
fn gaps(out: &[(u32, Duration)]) -> Vec<u32> {
    out.windows(2).map(|pair| pair[1].0 - pair[0].0 - 1).filter(|gap| *gap > 0).collect()
}

#[test]
fn texts_read_and_write_back() {
    for (text, written) in [
        ("none", "none"),
        ("delay=50ms", "delay=50ms"),
        ("delay=0.05s,jitter=1500us", "delay=50ms,jitter=1500us"),
        ("loss=5%,burst=3", "loss=5%,burst=3"),
        ("burst=2.5,loss=0.25%", "loss=0.25%,burst=2.5"),
        ("rate=500kbit,queue=1s", "rate=500kbit,queue=1s"),
        ("rate=1.5mbit", "rate=1500kbit"),
        ("rate=64001bit", "rate=64001bit"),
        ("rate=2gbit,queue=0ms", "rate=2000mbit,queue=0s"),
        (
            "reorder=1%,duplicate=0.0001%,seed=18446744073709551615",
            "reorder=1%,duplicate=0.0001%,seed=18446744073709551615",
        ),
        ("stall=700ms", "stall=700ms"),
        ("loss=100%", "loss=100%"),
    ] {
        let read = spec(text);
        assert_eq!(read.to_string(), written);
        assert_eq!(spec(written), read);
    }
}

#[test]
fn directions_are_told_apart_and_later_ones_replace() {
    for (text, written) in [
        ("loss=5%", "loss=5%"),
        ("up:loss=5%", "up:loss=5% down:none"),
        ("delay=50ms down:stall=700ms", "up:delay=50ms down:stall=700ms"),
        ("up:loss=1% up:delay=1ms", "up:delay=1ms down:none"),
        ("up:loss=1% none", "none"),
    ] {
        let read: Impairments = text.parse().unwrap();
        assert_eq!(read.to_string(), written);
        assert_eq!(written.parse::<Impairments>().unwrap(), read);
    }
    assert!("seed=3".parse::<Impairments>().unwrap().are_none());
    assert_eq!("down:loss=5%".parse::<DirectedImpairment>().unwrap().to_string(), "down:loss=5%");
}

#[test]
fn what_is_wrong_is_said_with_the_keys() {
    for (text, problem) in [
        ("", "empty"),
        ("lag=5ms", "known"),
        ("loss", "no value"),
        ("loss=5", "100%"),
        ("loss=-5%", "100%"),
        ("loss=101%", "100%"),
        ("loss=nan%", "100%"),
        ("delay=5", "50ms"),
        ("delay=61s", "60 s"),
        ("delay=1e3ms", "50ms"),
        ("delay=ms", "50ms"),
        ("rate=500", "500kbit"),
        ("rate=0kbit", "1kbit"),
        ("rate=99gbit", "10gbit"),
        ("burst=3", "bursts need a loss"),
        ("loss=5%,burst=0.5", "mean"),
        ("loss=80%,burst=2", "longer bursts"),
        ("queue=300ms", "needs a rate"),
        ("loss=5%,loss=6%", "twice"),
        ("seed=-1", "seed"),
        ("left:loss=5%", "direction"),
        ("loss=5%,", "no value"),
        ("nonE", "no value"),
    ] {
        let error = text.parse::<Impairments>().unwrap_err().to_string();
        assert!(error.contains(problem), "{text}: {error}");
        for key in
            ["delay", "jitter", "loss", "burst", "rate", "queue", "reorder", "duplicate", "seed", "stall", "none"]
        {
            assert!(error.contains(key), "{text}: {error}");
        }
    }
}

#[test]
fn nothing_wrong_is_nothing_done() {
    let (link, out) = send("none", 1000, 1200, ms(1));
    assert_eq!(numbers(&out), (0..1000).collect::<Vec<u32>>());
    assert!(out.iter().all(|(number, at)| *at == ms(1) * *number), "no time is lost");
    assert_eq!(link.counters(), Counters { passed: 1000, ..Counters::default() });
    assert!(link.is_clear());
}

#[test]
fn delay_is_exact() {
    let (_, out) = send("delay=120ms", 1000, 1200, ms(3));
    assert_eq!(out.len(), 1000);
    assert!(out.iter().all(|(number, at)| *at == ms(3) * *number + ms(120)));
}

#[test]
fn jitter_is_uniform_and_keeps_the_order() {
    // So far apart that none waits for the one before.
    let (_, out) = send("delay=50ms,jitter=20ms", 10_000, 100, ms(30));
    let extra: Vec<f64> = out.iter().map(|(n, at)| (*at - ms(30) * *n - ms(50)).as_secs_f64() * 1000.0).collect();
    assert!(extra.iter().all(|ms| (0.0..20.0).contains(ms)));
    let mean = extra.iter().sum::<f64>() / extra.len() as f64;
    let below_a_quarter = extra.iter().filter(|ms| **ms < 5.0).count() as f64 / extra.len() as f64;
    assert!((mean - 10.0).abs() < 0.3 && (below_a_quarter - 0.25).abs() < 0.02, "{mean} {below_a_quarter}");
    let (link, out) = send("delay=50ms,jitter=20ms", 10_000, 100, ms(1));
    assert_eq!(numbers(&out), (0..10_000).collect::<Vec<u32>>());
    assert_eq!(link.counters().reordered, 0);
}

#[test]
fn loss_is_as_large_as_asked_for() {
    for (text, share, burst) in [
        ("loss=5%", 0.05, 1.0),
        ("loss=0.5%", 0.005, 1.0),
        ("loss=5%,burst=4", 0.05, 4.0),
        ("loss=30%,burst=10", 0.3, 10.0),
    ] {
        let (link, out) = send(text, 100_000, 1200, ms(1));
        let lost = 1.0 - out.len() as f64 / 100_000.0;
        // Four standard deviations; bursts are fewer draws.
        let tolerance: f64 = 4.0 * f64::sqrt(share * (1.0 - share) * 2.0 * burst / 100_000.0);
        assert!((lost - share).abs() < tolerance.min(0.2 * share), "{text}: {lost}");
        assert_eq!(link.counters().lost + link.counters().passed, 100_000);
    }
    assert_eq!(send("loss=100%,burst=3", 1000, 100, ms(1)).0.counters().lost, 1000);
}

#[test]
fn bursts_are_as_long_as_asked_for() {
    let mean = |text: &str| {
        let gaps = gaps(&send(text, 100_000, 1200, ms(1)).1);
        gaps.iter().map(|gap| f64::from(*gap)).sum::<f64>() / gaps.len() as f64
    };
    for burst in [1.0, 3.0, 8.0] {
        let found = mean(&format!("loss=5%,burst={burst}"));
        assert!((found - burst).abs() < 0.08 * burst, "{burst}: {found}");
    }
    // By itself a loss of one in ten is followed by another one time in ten.
    assert!((mean("loss=10%") - 1.0 / 0.9).abs() < 0.02);
}

#[test]
fn the_rate_is_exact_and_counts_headers() {
    // 972 bytes and 28 of headers are 8000 bits: 16 ms at 500 kbit/s.
    let (_, out) = send("rate=500kbit,queue=60s", 1000, 972, ms(1));
    assert_eq!(out.len(), 1000);
    assert!(out.iter().all(|(number, at)| *at == ms(16) * (*number + 1)), "each leaves when its bits have passed");
    let (_, slow) = send("rate=500kbit", 100, 972, ms(20));
    assert!(slow.iter().all(|(number, at)| *at == ms(20) * *number + ms(16)), "nothing waits below the rate");
}

#[test]
fn the_queue_is_bounded_in_time() {
    for (text, bound) in [("rate=1mbit,queue=100ms", ms(100)), ("rate=1mbit", QUEUE_DEFAULT)] {
        // 8 ms each, one every 4 ms: half of it does not fit.
        let (link, out) = send(text, 5000, 972, ms(4));
        let waits: Vec<Duration> = out.iter().map(|(number, at)| *at - ms(4) * *number - ms(8)).collect();
        assert!(waits.iter().all(|wait| *wait <= bound), "{:?}", waits.iter().max());
        assert!(*waits.iter().max().unwrap() > bound - ms(9), "it is used");
        let counters = link.counters();
        assert_eq!(counters.passed + counters.dropped, 5000);
        assert!((2400..=2500).contains(&counters.dropped), "{counters:?}");
    }
}

#[test]
fn some_are_overtaken_when_asked_for() {
    let (link, out) = send("delay=10ms,reorder=5%", 100_000, 1200, ms(5));
    let mut sorted = numbers(&out);
    sorted.sort_unstable();
    assert_eq!(sorted, (0..100_000).collect::<Vec<u32>>(), "nothing is lost by it");
    let share = link.counters().reordered as f64 / 100_000.0;
    assert!((share - 0.05).abs() < 0.005, "{share}");
    let late = out.iter().filter(|(number, at)| *at != ms(5) * *number + ms(10));
    assert!(late.into_iter().all(|(number, at)| *at == ms(5) * *number + ms(10) + REORDER_HOLD));
}

#[test]
fn some_come_twice_when_asked_for() {
    let (link, out) = send("duplicate=2%,delay=1ms", 100_000, 1200, ms(1));
    let twice = out.windows(2).filter(|pair| pair[0].0 == pair[1].0).count();
    assert!((twice as f64 / 100_000.0 - 0.02).abs() < 0.002, "{twice}");
    assert_eq!(link.counters().duplicated, twice as u64);
    assert_eq!(out.len(), 100_000 + twice);
}

#[test]
fn a_stall_holds_everything_once() {
    let (_, out) = send("stall=700ms", 100, 1200, ms(20));
    assert_eq!(numbers(&out), (0..100).collect::<Vec<u32>>());
    let expected = |number: u32| (ms(20) * number).max(ms(700));
    assert!(out.iter().all(|(number, at)| *at == expected(*number)), "{out:?}");
    // Through the rate, 16 ms each.
    let (_, out) = send("stall=100ms,rate=500kbit,queue=60s", 6, 972, ms(20));
    let at: Vec<u128> = out.iter().map(|(_, at)| at.as_millis()).collect();
    assert_eq!(at, [116, 132, 148, 164, 180, 196]);
}

#[test]
fn a_change_keeps_what_is_in_the_link() {
    let start = Instant::now();
    let mut link = Link::new(spec("delay=100ms"));
    link.push(0, 100, start);
    link.set(spec("loss=100%"), start + ms(10));
    link.push(1, 100, start + ms(20));
    assert_eq!(link.poll(start + ms(99)), None);
    assert_eq!(link.poll(start + ms(100)), Some(0), "under way before the change");
    assert_eq!((link.poll_timeout(), link.counters().lost), (None, 1));

    // Half of a packet is through when the rate doubles: the other half takes half the time.
    let mut link = Link::new(spec("rate=500kbit"));
    (0..3).for_each(|number| link.push(number, 972, start));
    link.set(spec("rate=1mbit"), start + ms(8));
    let mut out = Vec::new();
    drain_until(&mut link, start + ms(1000), start, &mut out);
    assert_eq!(out, [(0, ms(12)), (1, ms(20)), (2, ms(28))]);

    // Without a rate nothing waits for one.
    let mut link = Link::new(spec("rate=1kbit,queue=60s"));
    (0..3).for_each(|number| link.push(number, 972, start));
    link.set(spec("none"), start + ms(5));
    link.push(3, 972, start + ms(5));
    let out: Vec<u32> = std::iter::from_fn(|| link.poll(start + ms(5))).collect();
    assert_eq!(out, [0, 1, 2, 3]);
    assert!(link.is_clear());
}

#[test]
fn a_stall_in_mid_flight_begins_at_once_and_ends_with_a_change() {
    let start = Instant::now();
    let mut link = Link::new(Impairment::default());
    link.set(spec("stall=700ms"), start);
    assert!(!link.is_clear());
    link.push(0, 100, start + ms(600));
    assert_eq!(link.poll_timeout(), Some(start + ms(700)));
    link.push(1, 100, start + ms(800));
    assert_eq!(std::iter::from_fn(|| link.poll(start + ms(800))).collect::<Vec<u32>>(), [0, 1]);
    link.set(spec("stall=10s"), start + ms(900));
    link.push(2, 100, start + ms(1000));
    link.set(spec("none"), start + ms(1100));
    assert_eq!(link.poll(start + ms(1100)), Some(2));
}

#[test]
fn a_shorter_delay_does_not_reorder() {
    let start = Instant::now();
    let mut link = Link::new(spec("delay=200ms"));
    link.push(0, 100, start);
    link.set(spec("delay=10ms"), start + ms(1));
    link.push(1, 100, start + ms(2));
    let mut out = Vec::new();
    drain_until(&mut link, start + ms(1000), start, &mut out);
    assert_eq!(out, [(0, ms(200)), (1, ms(200))]);
}

#[test]
fn the_same_seed_does_the_same() {
    let all = "delay=20ms,jitter=15ms,loss=8%,burst=2,rate=2mbit,reorder=3%,duplicate=2%";
    let run = |seed: u64| send(&format!("{all},seed={seed}"), 5000, 1000, ms(4)).1;
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
    assert_eq!(send(all, 5000, 1000, ms(4)).1, run(1), "without a seed it is a fixed one");
}

#[test]
fn memory_is_bounded() {
    let start = Instant::now();
    let mut link = Link::new(spec("delay=60s"));
    let above = 100;
    for number in 0..PACKETS_MAX + above {
        link.push(number, 1200, start);
    }
    assert_eq!((link.held(), link.counters().overflowed), (PACKETS_MAX, above as u64));
}

#[test]
fn late_polling_changes_nothing() {
    let start = Instant::now();
    let text = "delay=10ms,jitter=5ms,rate=1mbit,queue=50ms,stall=30ms,duplicate=10%";
    let mut late = Link::new(spec(text));
    for number in 0..500u32 {
        late.push(number, 972, start + ms(6) * number);
    }
    let end = start + Duration::from_secs(60);
    let late: Vec<u32> = std::iter::from_fn(|| late.poll(end)).collect();
    assert_eq!(late, numbers(&send(text, 500, 972, ms(6)).1));
}
