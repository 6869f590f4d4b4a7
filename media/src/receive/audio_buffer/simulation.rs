//! The whole buffer in virtual time: arrivals drawn from a seed, a decoder that yields numbered samples, and what must
//! hold whatever comes.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};

use super::{AudioBuffer, Counters, Decoder, NoDecoder, STEP, STEP_SAMPLES};
use crate::codec::CodecError;
use crate::quality::concealment::Origin;
use crate::rtp::RtpPacket;

/// Numbers a sample by its height: 1 for each 16 samples, so that ten seconds fit.
const SAMPLES_A_LEVEL: i64 = 16;

/// The height of the first sample; silence is 0.
const LEVEL_FIRST: i64 = 1_000;

/// Blended samples are cut to whole numbers, some of them several times.
const ROUNDING: i16 = 5;

/// A stream of the same numbers for the same seed (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to less than `limit`.
    fn below(&mut self, limit: u64) -> i64 {
        (self.next() % limit.max(1)).cast_signed()
    }

    fn one_in(&mut self, many: u64) -> bool {
        self.below(many) == 0
    }
}

/// What the sender and the network do. Times in microseconds.
#[derive(Clone, Copy, Debug)]
struct Pattern {
    seed: u64,
    packet_us: i64,
    seconds: i64,
    /// Even delay of up to so much.
    jitter_us: i64,
    /// Each packet may overtake those before it.
    is_reordering: bool,
    /// A second of sound in which nothing comes for up to so long, and then all at once.
    stalls_us: i64,
    stalls_until: i64,
    /// The sender's clock runs so much too slow, in parts per million.
    drift_ppm: i64,
    /// One in so many packets is lost; 0 for none.
    lost_one_in: u64,
    /// The sender is silent every now and then.
    has_pauses: bool,
    /// The sender counts anew in the middle.
    restarts_at: Option<i64>,
}

impl Pattern {
    const PERFECT: Self = Self {
        seed: 1,
        packet_us: 20_000,
        seconds: 8,
        jitter_us: 0,
        is_reordering: false,
        stalls_us: 0,
        stalls_until: 0,
        drift_ppm: 0,
        lost_one_in: 0,
        has_pauses: false,
        restarts_at: None,
    };

    fn drawn(seed: u64) -> Self {
        let mut random = Random(seed);
        let mut maybe = |one_in: u64, limit: u64| if random.one_in(one_in) { random.below(limit) } else { 0 };
        let (jitter, stalls) = (maybe(2, 80_000), maybe(4, 120_000));
        let (drift, lost, pauses, restarts) = (maybe(2, 1_001), maybe(4, 100), maybe(4, 2), maybe(8, 3));
        let (reordering, scheduling) = (maybe(3, 2), maybe(1, 3_000));
        let packet_us = [10_000, 20_000, 40_000, 60_000][maybe(1, 4) as usize];
        Self {
            seed,
            packet_us,
            jitter_us: jitter.max(scheduling),
            is_reordering: reordering == 1 && jitter > 0,
            stalls_us: stalls,
            stalls_until: 2_000_000,
            drift_ppm: if drift == 0 { 0 } else { drift - 500 },
            lost_one_in: if lost == 0 { 0 } else { lost.cast_unsigned() + 20 },
            has_pauses: pauses == 1,
            restarts_at: (restarts == 1).then_some(1_500_000),
            ..Self::PERFECT
        }
    }

    fn is_perfect(&self) -> bool {
        self.jitter_us <= 3_000 && self.stalls_us == 0 && self.lost_one_in == 0
    }

    /// What comes, in the order of arrival: when, and the delay of each over the fastest way there is.
    fn arrivals(&self) -> Vec<Arrival> {
        let mut random = Random(self.seed ^ 0x5eed);
        let (mut sequence, mut offset) = (random.next() as u16, random.next() as u32);
        let mut arrivals = Vec::with_capacity((self.seconds * 1_000_000 / self.packet_us) as usize);
        let (mut last_us, mut stalled_until, mut silent_until) = (0, 0, 0);
        let mut restarts_at = self.restarts_at;
        let mut number = 0;
        for sent_us in (0..self.seconds * 1_000_000).step_by(self.packet_us as usize) {
            let start = number;
            number += super::time_line::samples(self.packet_us);
            if sent_us < silent_until {
                continue;
            }
            if self.has_pauses && random.one_in(40) {
                silent_until = sent_us + 100_000 + random.below(600_000);
            }
            if restarts_at.take_if(|at| sent_us >= *at).is_some() {
                (sequence, offset) = (random.next() as u16, random.next() as u32);
            }
            sequence = sequence.wrapping_add(1);
            if self.lost_one_in > 0 && random.one_in(self.lost_one_in) {
                continue;
            }
            let way_us = 1_000_000 + sent_us + self.packet_us + sent_us * self.drift_ppm / 1_000_000;
            if self.stalls_us > 0 && sent_us < self.stalls_until && random.one_in(50) {
                stalled_until = way_us + random.below(self.stalls_us.cast_unsigned());
            }
            let mut at_us = way_us + random.below(self.jitter_us.cast_unsigned() + 1);
            at_us = at_us.max(stalled_until);
            if !self.is_reordering {
                at_us = at_us.max(last_us);
                last_us = at_us;
            }
            let timestamp = offset.wrapping_add(start as u32);
            arrivals.push(Arrival { at_us, delay_us: at_us - way_us, sequence, timestamp, start });
        }
        arrivals.sort_by_key(|arrival| arrival.at_us);
        arrivals
    }
}

#[derive(Clone, Copy, Debug)]
struct Arrival {
    at_us: i64,
    delay_us: i64,
    sequence: u16,
    timestamp: u32,
    /// Number of its first sample.
    start: i64,
}

impl Arrival {
    fn packet(&self, epoch: Instant, packet_us: i64) -> RtpPacket {
        // CELT frames of 10 or 20 ms.
        let (config, frames) = match packet_us {
            10_000 => (30, 1),
            _ => (31, packet_us / 20_000),
        };
        let mut payload = BytesMut::with_capacity(10);
        payload.put_slice(&[config << 3 | 3, frames as u8]);
        payload.put_i64(self.start);
        RtpPacket {
            sequence: self.sequence,
            timestamp: self.timestamp,
            marker: false,
            payload_type: 111,
            payload: payload.freeze(),
            arrived: epoch + Duration::from_micros(self.at_us as u64),
        }
    }
}

/// Yields numbered samples: each as high as its number.
struct Numbered {
    /// All heights, to be copied.
    levels: Vec<i16>,
    samples: usize,
    last: i16,
    /// What would be played next, and what is wrong with what was.
    next: i64,
    fault: Option<String>,
}

impl Numbered {
    fn new(levels: Vec<i16>, packet_us: i64) -> Self {
        Self { levels, samples: super::time_line::samples(packet_us) as usize, last: 0, next: 0, fault: None }
    }

    fn levels() -> Vec<i16> {
        (0..48_000 * 10).map(|n| (LEVEL_FIRST + n / SAMPLES_A_LEVEL) as i16).collect()
    }
}

impl Decoder for Numbered {
    fn decode(&mut self, packet: &[u8], out: &mut Vec<i16>) -> Result<(), CodecError> {
        let start = i64::from_be_bytes(packet[2..].try_into().unwrap());
        if start < self.next {
            self.fault = Some(format!("sample {start} after {}", self.next));
        }
        self.next = start + self.samples as i64;
        out.extend_from_slice(&self.levels[start as usize..self.next as usize]);
        self.last = self.levels[self.next as usize - 1];
        Ok(())
    }

    fn recover(&mut self, _next_packet: &[u8], samples: usize, out: &mut Vec<i16>) -> Result<(), CodecError> {
        self.conceal(samples, out)
    }

    fn conceal(&mut self, samples: usize, out: &mut Vec<i16>) -> Result<(), CodecError> {
        out.resize(out.len() + samples, self.last);
        Ok(())
    }
}

/// One step, as it was heard.
#[derive(Clone, Copy, Debug)]
struct Heard {
    at_us: i64,
    delay_us: i64,
    target_us: i64,
    origin: Origin,
}

struct Run {
    counters: Counters,
    concealed: u64,
    heard: Vec<Heard>,
    faults: String,
}

/// Plays a pattern; what was heard of it.
fn play(pattern: &Pattern, arrivals: &[Arrival], levels: &mut Vec<i16>) -> Run {
    let epoch = Instant::now();
    let mut buffer = AudioBuffer::default();
    let mut decoder = Numbered::new(std::mem::take(levels), pattern.packet_us);
    let mut coming = arrivals.iter().peekable();
    let mut run = Run { counters: Counters::default(), concealed: 0, heard: Vec::new(), faults: String::new() };
    let (mut level, mut was_silent) = (0, true);
    let end_us = arrivals.last().map_or(0, |last| last.at_us);
    // Steps need not be in step with arrivals.
    let first_us = 1_000_000 + Random(pattern.seed).below(10_000);
    for at_us in (first_us..end_us).step_by(STEP.as_micros() as usize) {
        while let Some(arrival) = coming.next_if(|arrival| arrival.at_us <= at_us) {
            buffer.insert(arrival.packet(epoch, pattern.packet_us));
        }
        let step = buffer.next(epoch + Duration::from_micros(at_us as u64), &mut decoder);
        let is_silent = matches!(step.origin, Origin::Silence | Origin::Concealment);
        if !is_silent {
            // What is made up fades, and after silence sound begins from 0.
            let from = if was_silent { STEP_SAMPLES / 2 } else { 0 };
            for &sample in step.samples[from..].iter().step_by(5) {
                if sample < level - ROUNDING {
                    write!(run.faults, "at {at_us} µs {sample} after {level}; ").unwrap();
                    break;
                }
                level = sample;
            }
            level = step.samples[STEP_SAMPLES - 1].max(level);
        }
        was_silent = is_silent;
        let us = |delay: Duration| delay.as_micros() as i64;
        run.heard.push(Heard {
            at_us,
            delay_us: us(buffer.delay()),
            target_us: us(buffer.target()),
            origin: step.origin,
        });
    }
    run.counters = buffer.counters();
    run.concealed = buffer.steps().concealed;
    if let Some(fault) = decoder.fault.take() {
        run.faults += &fault;
    }
    *levels = decoder.levels;
    run
}

/// What a player has to hold back at `at_us` that takes 10 ms at once and wants 99 of 100 packets of the last 3 s to be
/// in time, in microseconds over the fastest of them.
fn ideal_us(arrivals: &[Arrival], at_us: i64, drift_ppm: i64) -> i64 {
    let recent = arrivals.iter().filter(|arrival| (at_us - 3_000_000..=at_us).contains(&arrival.at_us));
    let drifted = |arrival: &Arrival| arrival.delay_us + arrival.start * 125 / 6 * drift_ppm / 1_000_000;
    let mut delays: Vec<i64> = recent.map(drifted).collect();
    delays.sort_unstable();
    let late = delays.len() / 100;
    delays[delays.len() - 1 - late] - delays[0] + 10_000
}

/// What must hold for every pattern.
fn faults(pattern: &Pattern, levels: &mut Vec<i16>) -> Option<String> {
    let arrivals = pattern.arrivals();
    let run = play(pattern, &arrivals, levels);
    let mut faults = run.faults.clone();
    if pattern.is_perfect() {
        let Counters { lost, skipped, late, holes, .. } = run.counters;
        if (run.concealed, lost, skipped, late, holes) != (0, 0, 0, 0, 0) {
            write!(faults, "concealed {} {:?}; ", run.concealed, run.counters).unwrap();
        }
    }
    // 5 s after the last stall.
    for step in run.heard.iter().skip(750).step_by(20) {
        if !matches!(step.origin, Origin::Packet { .. }) {
            continue;
        }
        let ideal_us = ideal_us(&arrivals, step.at_us, pattern.drift_ppm);
        if (step.delay_us - ideal_us).abs() > 20_000 {
            let Heard { at_us, delay_us, target_us, .. } = step;
            write!(faults, "at {at_us} µs {delay_us} µs of {target_us}, ideal {ideal_us}; ").unwrap();
            break;
        }
    }
    (!faults.is_empty()).then(|| format!("{pattern:?}: {faults}"))
}

/// Patterns drawn; a fault tells the seed of its pattern.
const PATTERNS: u64 = 10_000;

fn check(seeds: std::ops::Range<u64>) {
    let mut levels = Numbered::levels();
    let count = seeds.end - seeds.start;
    let faults: Vec<String> = seeds.filter_map(|seed| faults(&Pattern::drawn(seed), &mut levels)).collect();
    assert!(faults.is_empty(), "{} of {count} patterns:\n{}", faults.len(), faults[..faults.len().min(12)].join("\n"));
}

/// Plays a pattern; its figures, and the delay at so many seconds, in milliseconds.
fn delays_ms(pattern: &Pattern, seconds: &[i64]) -> (Run, Vec<i64>) {
    let mut levels = Numbered::levels();
    let run = play(pattern, &pattern.arrivals(), &mut levels);
    let at = |second: &i64| run.heard.iter().find(|step| step.at_us >= 1_000_000 + second * 1_000_000);
    let delays = seconds.iter().filter_map(at).map(|step| step.delay_us / 1_000).collect();
    (run, delays)
}

#[test]
fn a_perfect_line_has_the_least_delay_for_every_packet_time() {
    for packet_us in [10_000, 20_000, 40_000, 60_000] {
        for jitter_us in [0, 3_000, 6_000] {
            let (run, delays) = delays_ms(&Pattern { packet_us, jitter_us, ..Pattern::PERFECT }, &[1, 2, 3, 5, 7]);
            assert!(run.concealed == 0 && run.counters.holes == 0, "{packet_us} µs: {:?}", run.counters);
            assert!(delays.iter().all(|ms| (16..=30).contains(ms)), "{packet_us} µs: {delays:?}");
        }
    }
}

#[test]
fn it_says_when_sound_begins() {
    let start = Instant::now();
    let mut buffer = AudioBuffer::default();
    assert_eq!(buffer.begins_at(), None);
    let mut packet = RtpPacket {
        sequence: 7,
        timestamp: 77,
        marker: false,
        payload_type: 111,
        // One frame of 20 ms.
        payload: Bytes::from_static(&[0x78, 0, 0]),
        arrived: start,
    };
    buffer.insert(packet.clone());
    let begins = buffer.begins_at().unwrap();
    assert_eq!(begins, start + buffer.target());
    (packet.sequence, packet.timestamp, packet.arrived) = (8, 77 + 960, start + Duration::from_millis(20));
    buffer.insert(packet);
    assert_eq!(buffer.next(begins - STEP, &mut NoDecoder).decoded.len(), 0, "too early");
    assert_eq!(buffer.next(begins, &mut NoDecoder).decoded.len(), 1);
    assert_eq!((buffer.delay(), buffer.begins_at()), (buffer.target(), None));
}

#[test]
fn the_delay_of_a_burst_is_over_within_five_seconds() {
    for packet_us in [10_000, 20_000, 40_000, 60_000] {
        for burst_us in [60_000, 150_000] {
            let pattern = Pattern { packet_us, ..Pattern::PERFECT };
            let (mut arrivals, mut random, mut last_us) = (pattern.arrivals(), Random(3), 0);
            // From 1 s to 2 s each packet is late by up to so much.
            for arrival in &mut arrivals {
                if (2_000_000..3_000_000).contains(&arrival.at_us) {
                    arrival.at_us += random.below(burst_us);
                }
                arrival.at_us = arrival.at_us.max(last_us);
                last_us = arrival.at_us;
            }
            let run = play(&pattern, &arrivals, &mut Numbered::levels());
            let delay_ms = |ms: i64| {
                let step = run.heard.iter().find(|step| step.at_us >= 1_000_000 + ms * 1_000);
                step.map_or(0, |step| step.delay_us / 1_000)
            };
            let delays = [900, 2_000, 3_000, 5_000, 5_500, 6_000, 6_900].map(delay_ms);
            let least = (burst_us / 1_000).cast_signed() * 7 / 10;
            assert!(run.faults.is_empty() && run.counters.skipped == 0, "{} {:?}", run.faults, run.counters);
            assert!(delays[0] <= 28 && delays[1] >= least && delays[6] <= 28, "{packet_us} µs: {delays:?}");
        }
    }
}

/// A queue on the way that builds up within a second and is drained, as where a sender looks for the rate of a narrow line.
#[test]
fn a_queue_that_builds_up_is_followed_without_a_hole() {
    for packet_us in [10_000, 20_000] {
        for height_us in [100_000, 200_000] {
            let pattern = Pattern { packet_us, seconds: 9, ..Pattern::PERFECT };
            let mut arrivals = pattern.arrivals();
            for arrival in &mut arrivals {
                let since = (arrival.at_us - 1_000_000) % 4_000_000;
                arrival.at_us += match since {
                    0..1_000_000 => 0,
                    1_000_000..1_800_000 => (since - 1_000_000) * height_us / 800_000,
                    _ => (height_us - (since - 1_800_000)).max(0),
                };
            }
            let run = play(&pattern, &arrivals, &mut Numbered::levels());
            assert!(run.faults.is_empty(), "{packet_us} µs, {height_us} µs: {}", run.faults);
            assert_eq!((run.concealed, run.counters.holes), (0, 0), "{packet_us} µs, {height_us} µs");
        }
    }
}

#[test]
fn whatever_comes_is_played_in_order_and_in_time() {
    check(0..PATTERNS);
}

#[test]
fn what_is_far_too_late_is_thrown_away() {
    let mut arrivals = Pattern::PERFECT.arrivals();
    // Nothing comes for 1.5 s, and then all at once.
    for arrival in arrivals.iter_mut().filter(|arrival| (3_000_000..4_500_000).contains(&arrival.at_us)) {
        arrival.at_us = 4_500_000;
    }
    let run = play(&Pattern::PERFECT, &arrivals, &mut Numbered::levels());
    assert!(run.faults.is_empty() && (50..75).contains(&run.counters.skipped), "{} {:?}", run.faults, run.counters);
    let delay_us = |at_us: i64| run.heard.iter().find(|step| step.at_us >= at_us).unwrap().delay_us;
    assert!(
        delay_us(4_600_000) < 350_000 && delay_us(8_500_000) <= 28_000,
        "{} {}",
        delay_us(4_600_000),
        delay_us(8_500_000)
    );
}

#[test]
fn time_goes_on_through_a_hold() {
    let (pattern, epoch) = (Pattern { seconds: 6, ..Pattern::PERFECT }, Instant::now());
    let arrivals = pattern.arrivals();
    let (mut buffer, mut times) = (AudioBuffer::default(), Vec::new());
    for (n, arrival) in arrivals.iter().enumerate() {
        // Nothing is taken in for two seconds.
        match n {
            100 => buffer.begin_anew(),
            101..200 => {}
            _ => buffer.insert(arrival.packet(epoch, pattern.packet_us)),
        }
        for half in [20_000, 30_000] {
            let due = epoch + Duration::from_micros((arrival.at_us + half).cast_unsigned());
            times.extend(buffer.next(due, &mut NoDecoder).decoded.iter().map(|decoded| decoded.timestamp / 960));
        }
    }
    assert!(times.windows(2).all(|two| two[0] < two[1]) && times.contains(&98) && times.contains(&299), "{times:?}");
    assert_eq!((buffer.steps().concealed, buffer.counters().lost), (0, 0));
}

#[test]
fn random_packets_are_no_panic_and_stay_bounded() {
    let (mut buffer, mut random, mut now) = (AudioBuffer::default(), Random(7), Instant::now());
    let (mut sequence, mut timestamp) = (0, 0);
    for _ in 0..50_000 {
        match random.below(8) {
            0 => now += Duration::from_millis(random.below(30).cast_unsigned()),
            1 => (sequence, timestamp) = (random.next() as u16, random.next() as u32),
            2 => sequence = sequence.wrapping_sub(random.below(300) as u16),
            3 => timestamp = timestamp.wrapping_add(random.below(100_000) as u32),
            4 | 5 => {
                let step = buffer.next(now, &mut NoDecoder);
                assert!(step.decoded.len() <= 16);
            }
            _ => {}
        }
        (sequence, timestamp) = (sequence.wrapping_add(1), timestamp.wrapping_add(960));
        let payload: Vec<u8> = (0..random.below(6)).map(|_| random.next() as u8).collect();
        let arrived = now - Duration::from_millis(random.below(40).cast_unsigned());
        let packet =
            RtpPacket { sequence, timestamp, marker: false, payload_type: 0, payload: payload.into(), arrived };
        if random.one_in(5) {
            buffer.insert_redundant(packet)
        } else {
            buffer.insert(packet)
        }
        assert!(buffer.target() <= Duration::from_millis(300) && buffer.waiting() <= 1_000);
    }
}
