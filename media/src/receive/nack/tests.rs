use std::collections::VecDeque;

use super::*;
use crate::congestion::round_trip::RoundTrip;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Repair on a path that was measured at `at`.
fn repair(round_trip: Duration, at: Instant, loss: f64) -> Repair {
    let mut trip = RoundTrip::default();
    (0..50).for_each(|_| trip.measured(round_trip, at));
    Repair::new(trip, loss)
}

/// Lets time pass to `end`, and says when which packets are asked for, in milliseconds.
fn requests(missing: &mut MissingPackets, repair: &Repair, start: Instant, end: Duration) -> Vec<(u128, Vec<u16>)> {
    let mut asked = Vec::new();
    while let Some(due) = missing.next_due().filter(|due| *due <= start + end) {
        let numbers = missing.take_due(repair, due);
        if !numbers.is_empty() {
            asked.push(((due - start).as_millis(), numbers));
        }
    }
    asked
}

/// A stream with packet 11 missing since `start`.
fn hole(start: Instant) -> MissingPackets {
    let mut missing = MissingPackets::default();
    for sequence in [10, 12] {
        missing.received(sequence, start);
    }
    missing
}

#[test]
fn a_hole_is_asked_for_every_round_until_it_is_too_late() {
    let (mut missing, start) = (MissingPackets::default(), Instant::now());
    for sequence in [65_534, 1, 2] {
        missing.received(sequence, start);
    }
    let asked = requests(&mut missing, &repair(ms(35), start + ms(100), 0.2), start, ms(5000));
    let times: Vec<_> = asked.iter().map(|(at, _)| *at).collect();
    assert_eq!(times, [10, 50, 90, 130, 170, 210, 250, 290, 330, 370], "the path was measured just now");
    assert!(asked.iter().all(|(_, numbers)| numbers == &[65_535, 0]), "{asked:?}");
    assert_eq!(missing.next_due(), None, "nothing is kept");
}

#[test]
fn a_path_that_was_not_measured_lately_is_asked_ever_more_seldom() {
    let start = Instant::now();
    let old = repair(ms(15), start - ms(1000), 0.2);
    let times: Vec<_> = requests(&mut hole(start), &old, start, ms(5000)).iter().map(|(at, _)| *at).collect();
    assert_eq!(times, [10, 30, 60, 105, 172], "each time half as much more");
    let unknown = Repair::new(RoundTrip::default(), 0.0);
    let times: Vec<_> = requests(&mut hole(start), &unknown, start, ms(5000)).iter().map(|(at, _)| *at).collect();
    assert_eq!(times, [10, 110]);
}

#[test]
fn a_long_path_is_asked_several_times_a_round() {
    let start = Instant::now();
    let asked = requests(&mut hole(start), &repair(ms(295), start + ms(900), 0.02), start, ms(5000));
    let times: Vec<_> = asked.iter().map(|(at, _)| *at).collect();
    assert_eq!(times[..6], [10, 25, 40, 310, 325, 340]);
    assert!(*times.last().unwrap() < 1000, "{times:?}");
}

#[test]
fn a_repair_ends_the_asking_and_tells_the_round_trip_where_it_was_asked_for_once() {
    let (start, known) = (Instant::now(), Repair::new(RoundTrip::default(), 0.0));
    let mut missing = hole(start);
    assert_eq!(requests(&mut missing, &known, start, ms(50)), [(10, vec![11])]);
    assert_eq!(missing.retransmitted(11, start + ms(60)), Some(ms(50)));
    assert_eq!(missing.next_due(), None);
    let mut missing = hole(start);
    assert_eq!(requests(&mut missing, &known, start, ms(150)).len(), 2);
    assert_eq!(missing.retransmitted(11, start + ms(160)), None, "which request this answers is not known");
    assert_eq!(missing.retransmitted(11, start + ms(260)), Some(ms(150)), "all are answered: this is the second's");
    assert_eq!(missing.retransmitted(11, start + ms(270)), None, "nobody asked for a third");
}

/// A path that became slower all at once is asked too early, as its answers are taken for lost: no answer is the only
/// one. The answers to all NACKs tell it all the same.
#[test]
fn a_path_that_became_slower_is_found_out() {
    let (start, shared) = (Instant::now(), SharedRoundTrip::default());
    let mut nacks = NackGenerator::new(shared.clone());
    nacks.bind(RemoteStream { ssrc: 1, rtx: Some(2), takes_nack: true });
    shared.measured(ms(5), start);
    let mut answers: VecDeque<(Instant, u16)> = VecDeque::new();
    let mut named = Vec::new();
    for at in 0..4000_u64 {
        let now = start + ms(at);
        if at % 20 == 0 && at % 200 != 100 {
            nacks.came(1, (at / 20) as u16, &[7], now);
        }
        while let Some((_, number)) = answers.pop_front_if(|(at, _)| *at <= now) {
            nacks.came(2, 0, &number.to_be_bytes(), now);
        }
        for nack in nacks.take_due(now) {
            named.extend(nack.sequence_numbers.iter().map(|number| (at, *number)));
            answers.extend(nack.sequence_numbers.into_iter().map(|number| (now + ms(180), number)));
        }
    }
    let of_the_last = named.iter().filter(|(_, number)| *number >= 150).count();
    assert_eq!(of_the_last, 5, "once each: {named:?}");
    assert!(shared.get().smoothed().unwrap() > ms(150), "{shared:?}");
}

#[test]
fn rtx_that_was_not_asked_for_changes_nothing() {
    let (start, shared) = (Instant::now(), SharedRoundTrip::default());
    let mut nacks = NackGenerator::new(shared.clone());
    nacks.bind(RemoteStream { ssrc: 1, rtx: Some(2), takes_nack: true });
    shared.measured(ms(5), start);
    for number in 0..200_u16 {
        let now = start + ms(u64::from(number) * 10);
        nacks.came(1, number, &[7], now);
        // Padding that probes the path: copies of what came.
        nacks.came(2, number, &number.to_be_bytes(), now);
    }
    assert_eq!(shared.get().smoothed(), Some(ms(5)));
    assert_eq!(nacks.poll_timeout(), None);
}

#[test]
fn what_was_only_overtaken_is_not_asked_for() {
    let (mut missing, start) = (MissingPackets::default(), Instant::now());
    for (sequence, at) in [(10, 0), (13, 1), (11, 4), (12, 9), (14, 10)] {
        missing.received(sequence, start + ms(at));
    }
    assert_eq!(requests(&mut missing, &repair(ms(5), start, 0.0), start, ms(5000)), []);
}

#[test]
fn a_silence_and_a_sender_that_counts_anew_leave_nothing_to_ask_for() {
    let (mut missing, start) = (MissingPackets::default(), Instant::now());
    missing.received(10, start);
    missing.received(12, start + ms(499));
    assert!(missing.next_due().is_some());
    missing.received(20, start + ms(999));
    assert_eq!(missing.next_due(), None, "after a silence");
    missing.received(40_000, start + ms(1000));
    assert_eq!(missing.next_due(), None, "counted anew");
    missing.received(40_002, start + ms(1001));
    assert_eq!(requests(&mut missing, &repair(ms(5), start, 0.0), start, ms(1020)), [(1011, vec![40_001])]);
}

/// The storm: repairs that nobody noticed were asked for again and again. Requests and repairs are lost here as
/// often as packets are, and are under way for as long as is said.
#[test]
fn no_more_is_asked_for_than_is_needed() {
    for (loss, round_trip, per_loss_max) in [(5, 5, 1.2), (10, 5, 1.35), (10, 100, 1.35), (20, 200, 1.8), (2, 200, 3.1)]
    {
        let (shared, start) = (SharedRoundTrip::default(), Instant::now());
        let mut nacks = NackGenerator::new(shared);
        nacks.bind(RemoteStream { ssrc: 1, rtx: Some(2), takes_nack: true });
        let (mut random, mut lost, mut sent) = (7_u32, 0, 0);
        let mut is_lost = || {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (random >> 16) % 100 < loss
        };
        let mut under_way: VecDeque<(Instant, u16)> = VecDeque::new();
        for n in 0..30_000_u16 {
            let now = start + ms(8) * n.into();
            while let Some((_, number)) = under_way.pop_front_if(|(at, _)| *at <= now) {
                nacks.came(2, 0, &number.to_be_bytes(), now);
            }
            match is_lost() {
                true => lost += 1,
                false => nacks.came(1, n, &[7], now),
            }
            for nack in nacks.take_due(now) {
                if is_lost() {
                    continue;
                }
                sent += nack.sequence_numbers.len();
                let came = nack.sequence_numbers.into_iter().filter(|_| !is_lost());
                under_way.extend(came.map(|number| (now + ms(round_trip), number)));
            }
        }
        let per_loss = sent as f64 / f64::from(lost);
        assert!(per_loss < per_loss_max, "{loss} %, {round_trip} ms: {sent} repairs for {lost} lost");
    }
}

#[test]
fn rtx_is_seen_as_the_repair_of_its_stream() {
    let mut nacks = NackGenerator::default();
    nacks.bind(RemoteStream { ssrc: 1, rtx: Some(2), takes_nack: true });
    nacks.bind(RemoteStream { ssrc: 2, rtx: None, takes_nack: true });
    let start = Instant::now();
    for (ssrc, number, payload) in [(1, 10, &[7, 7, 7][..]), (1, 12, &[7; 3]), (2, 500, &[7]), (2, 502, &[])] {
        nacks.came(ssrc, number, payload, start);
    }
    assert_eq!(nacks.poll_timeout(), Some(start + REORDERED));
    let due = nacks.take_due(start + REORDERED);
    assert_eq!(due, [Nack { media_ssrc: 1, sequence_numbers: vec![11] }]);
    nacks.came(2, 503, &[0, 11, 7], start + REORDERED);
    assert_eq!((nacks.poll_timeout(), nacks.take_due(start + REORDERED)), (None, Vec::new()));
}
