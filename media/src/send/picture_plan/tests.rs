//! Plans over simulated time: pictures at a fixed rate, a bitrate that comes and goes.

use super::*;

const VGA: Size = Size { width: 640, height: 480 };

/// A planner, and pictures that come 30 times a second.
struct Captured {
    planner: PicturePlanner,
    start: Instant,
    now: Instant,
    source: Size,
    /// Share of its bitrate that the encoder uses.
    demand: f64,
    took: Duration,
    changes: Vec<(u128, PicturePlan)>,
}

impl Captured {
    fn new(content: Content, source: Size) -> Self {
        let start = Instant::now();
        let planner = PicturePlanner::new(content, 30, start);
        Self { planner, start, now: start, source, demand: 1.0, took: Duration::ZERO, changes: Vec::new() }
    }

    fn pictures(&mut self, seconds: f64, bps: u32) -> PicturePlan {
        let mut plan = self.planner.plan();
        let end = self.now + Duration::from_secs_f64(seconds);
        while self.now < end {
            plan = self.planner.picture_captured(self.source, bps, self.now);
            if self.changes.last().is_none_or(|(_, last)| *last != plan) {
                self.changes.push((self.now.duration_since(self.start).as_millis(), plan));
            }
            if let PicturePlan::Sent(shape) = plan {
                let apart = Duration::from_secs(1) / shape.fps;
                let share = f64::from(bps) / f64::from(shape.fps);
                self.planner.picture_encoded(share * self.demand, share, self.took, apart, self.now);
            }
            self.now += Duration::from_micros(33_333);
        }
        plan
    }
}

fn sent(width: u32, height: u32, fps: u32) -> PicturePlan {
    PicturePlan::Sent(Shape { size: Size { width, height }, fps })
}

#[test]
fn a_camera_keeps_its_motion_and_a_screen_its_sharpness() {
    for (bps, camera, screen) in [
        (1_000_000, sent(640, 480, 30), sent(640, 480, 30)),
        (180_000, sent(480, 360, 30), sent(640, 480, 12)),
        (110_000, sent(320, 240, 30), sent(480, 360, 6)),
        (35_000, sent(240, 180, 15), sent(320, 240, 6)),
        (18_000, sent(240, 180, 8), sent(320, 240, 3)),
        (5_000, PicturePlan::Paused, PicturePlan::Paused),
    ] {
        for (content, expected) in [(Content::Motion, camera), (Content::Detail, screen)] {
            let mut captured = Captured::new(content, VGA);
            captured.pictures(4.0, 1_000_000);
            assert_eq!(captured.pictures(4.0, bps), expected, "{content:?} at {bps}");
        }
    }
}

#[test]
fn a_drop_is_followed_at_once_and_a_rise_in_seconds() {
    let mut captured = Captured::new(Content::Motion, VGA);
    captured.pictures(12.0, 1_700_000);
    captured.pictures(20.0, 100_000);
    captured.pictures(20.0, 1_700_000);
    let plans: Vec<_> = captured.changes.iter().map(|(_, plan)| *plan).collect();
    assert_eq!(plans, [sent(640, 480, 30), sent(320, 240, 30), sent(640, 480, 30)]);
    let times: Vec<_> = captured.changes.iter().map(|(at, _)| *at).collect();
    assert!((12_000..12_100).contains(&times[1]) && (34_000..34_200).contains(&times[2]), "{times:?}");
}

#[test]
fn a_dip_changes_nothing() {
    let mut captured = Captured::new(Content::Motion, VGA);
    captured.pictures(5.0, 500_000);
    captured.pictures(0.25, 150_000);
    captured.pictures(5.0, 500_000);
    assert_eq!(captured.changes.len(), 1, "{:?}", captured.changes);
}

#[test]
fn what_did_not_last_is_tried_less_and_less_often() {
    let mut captured = Captured::new(Content::Motion, VGA);
    captured.pictures(5.0, 1_000_000);
    for _ in 0..40 {
        captured.pictures(2.5, 400_000);
        captured.pictures(1.0, 100_000);
    }
    assert!(captured.changes.len() < 22, "{:?}", captured.changes);
}

#[test]
fn a_still_picture_needs_little_and_keeps_its_size() {
    let mut captured = Captured::new(Content::Motion, VGA);
    captured.demand = 0.3;
    captured.pictures(5.0, 400_000);
    assert_eq!(captured.pictures(20.0, 120_000), sent(640, 480, 30));
    // It begins to move.
    captured.demand = 1.0;
    assert_eq!(captured.pictures(4.0, 120_000), sent(320, 240, 30));
}

#[test]
fn an_encoder_that_cannot_make_so_little_gets_smaller_pictures() {
    let mut captured = Captured::new(Content::Motion, VGA);
    captured.pictures(5.0, 1_000_000);
    captured.demand = 1.9;
    assert_eq!(captured.pictures(5.0, 290_000), sent(480, 360, 30));
}

#[test]
fn at_the_beginning_a_low_estimate_says_nothing_and_a_falling_one_does() {
    let hd = Size { width: 1280, height: 720 };
    let mut captured = Captured::new(Content::Motion, hd);
    assert_eq!(captured.pictures(2.9, 300_000), sent(1280, 720, 30));
    let mut captured = Captured::new(Content::Motion, hd);
    captured.pictures(0.5, 300_000);
    assert_eq!(captured.pictures(0.5, 100_000), sent(480, 270, 15));
}

#[test]
fn a_slow_machine_gets_smaller_pictures_and_larger_ones_when_it_is_fast_again() {
    let mut captured = Captured::new(Content::Motion, VGA);
    captured.took = Duration::from_millis(40);
    assert_eq!(captured.pictures(6.0, 1_000_000), sent(480, 360, 30));
    assert_eq!(captured.planner.reason(), Reason::Machine);
    captured.took = Duration::from_millis(5);
    assert_eq!(captured.pictures(16.0, 1_000_000), sent(640, 480, 30));
    assert_eq!(captured.planner.reason(), Reason::Whole);
}

#[test]
fn small_pictures_are_not_made_smaller_than_can_be_seen_and_all_sides_are_even() {
    for (width, height) in [(160, 120), (320, 240), (176, 144), (1280, 720), (1080, 1920), (642, 482), (2, 2)] {
        for content in [Content::Motion, Content::Detail] {
            let source = Size { width, height };
            let steps = steps(content, source, 25);
            assert_eq!(steps[0], Shape { size: source, fps: 25 });
            for pair in steps.windows(2) {
                let [before, after] = [&pair[0], &pair[1]];
                assert!(before.size.area() >= after.size.area() && before.fps >= after.fps && before != after);
                let is_even = after.size.width % 2 == 0 && after.size.height % 2 == 0;
                assert!(is_even && (after.size == source || after.size.width.min(after.size.height) >= SIDE_MIN));
            }
        }
    }
}

#[test]
fn in_a_pause_pictures_are_tried_less_and_less_often() {
    let mut captured = Captured::new(Content::Motion, VGA);
    captured.pictures(4.0, 100_000);
    captured.pictures(4.0, 6_000);
    // Sound alone: nobody knows what more the path carries. With pictures it is full.
    for _ in 0..600 {
        let bps = if captured.planner.plan() == PicturePlan::Paused { 16_000 } else { 6_000 };
        captured.pictures(0.5, bps);
    }
    let tries = captured.changes.iter().skip(3).filter(|(_, plan)| *plan != PicturePlan::Paused);
    let tries: Vec<_> = tries.map(|(at, _)| at / 1000).collect();
    assert!((5..=8).contains(&tries.len()), "{tries:?}");
    assert!(tries.windows(2).all(|two| two[1] - two[0] >= 6) && tries[1] - tries[0] < 15, "{tries:?}");
}

#[test]
fn without_a_trace_of_room_pictures_are_not_tried() {
    let mut captured = Captured::new(Content::Motion, VGA);
    captured.pictures(4.0, 100_000);
    captured.pictures(300.0, 10_000);
    assert_eq!(captured.changes.len(), 4, "{:?}", captured.changes);
}

#[test]
fn a_try_of_large_pictures_is_given_the_time_to_grow_and_a_full_path_ends_it_at_once() {
    let hd = Size { width: 1280, height: 720 };
    let mut captured = Captured::new(Content::Motion, hd);
    captured.pictures(4.0, 100_000);
    // It cannot make so little.
    captured.demand = 1.9;
    assert_eq!(captured.pictures(4.0, 6_000), PicturePlan::Paused);
    captured.demand = 1.0;
    captured.pictures(4.0, 18_000);
    for bps in [18_000, 22_000, 28_000, 37_000, 48_000, 62_000] {
        assert_eq!(captured.pictures(1.0, bps), sent(480, 270, 8), "{bps}");
    }
    assert_eq!(captured.pictures(4.0, 6_000), PicturePlan::Paused);
    captured.pictures(3.9, 18_000);
    assert_eq!(captured.pictures(0.3, 18_000), sent(480, 270, 8));
    assert_eq!(captured.pictures(0.5, 6_000), PicturePlan::Paused);
}

#[test]
fn a_pause_ends_when_there_is_enough_for_a_while() {
    let mut captured = Captured::new(Content::Motion, VGA);
    captured.pictures(4.0, 100_000);
    assert_eq!(captured.pictures(4.0, 6_000), PicturePlan::Paused);
    assert_eq!(captured.planner.reason(), Reason::Line);
    assert_eq!(captured.pictures(1.0, 60_000), PicturePlan::Paused);
    assert_eq!(captured.pictures(1.5, 60_000), sent(240, 180, 8));
    assert_eq!(captured.pictures(4.0, 60_000), sent(320, 240, 15));
}
