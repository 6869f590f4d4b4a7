//! Decisions driven by a simulated clock: pictures at a fixed rate, an encoder or a loop that does as it is told.

use super::*;

/// From one picture to the next: 30 a second.
const PERIOD: Duration = Duration::from_nanos(33_333_333);

/// A keyframe costs as much as so many other pictures.
const KEYFRAME_COST: usize = 10;

/// What became of one picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Keyframe,
    Delta,
    LeftOut,
}

/// A stream of pictures over a path of a known rate, in simulated time.
struct Simulation {
    adaptation: VideoAdaptation,
    start: Instant,
    now: Instant,
    target_bps: u32,
    /// Coded size of a picture: of an encoder as its bitrate says, of a loop fixed.
    picture_bytes: usize,
    bitrates: Vec<u32>,
    bytes: usize,
}

impl Simulation {
    fn encoder(target_bps: u32) -> Self {
        Self::new(VideoAdaptation::of_encoder, target_bps, 0)
    }

    fn of_loop(target_bps: u32, picture_bytes: usize) -> Self {
        Self::new(VideoAdaptation::of_loop, target_bps, picture_bytes)
    }

    fn new(adaptation: fn(Instant) -> VideoAdaptation, target_bps: u32, picture_bytes: usize) -> Self {
        let now = Instant::now();
        let adaptation = adaptation(now);
        Self { adaptation, start: now, now, target_bps, picture_bytes, bitrates: Vec::new(), bytes: 0 }
    }

    fn tell(&mut self, event: Event) {
        assert_eq!(self.adaptation.handle(event, self.now), Vec::new(), "{event:?}");
    }

    /// One picture, then time passes until the next.
    fn picture(&mut self) -> Outcome {
        let ready = Event::PictureReady { target_bps: self.target_bps, has_audio: false };
        let mut outcome = None;
        for action in self.adaptation.handle(ready, self.now) {
            match action {
                Action::SetBitrate(bitrate_bps) => {
                    self.bitrates.push(bitrate_bps);
                    self.picture_bytes = bitrate_bps as usize / 8 / 30;
                }
                Action::SendNext => {
                    self.sent(self.picture_bytes, false);
                    outcome = Some(Outcome::Delta);
                }
                Action::SendKeyframe => {
                    self.sent(self.picture_bytes * KEYFRAME_COST, true);
                    outcome = Some(Outcome::Keyframe);
                }
                Action::LeaveOut(1) => outcome = Some(Outcome::LeftOut),
                Action::LeaveOut(pictures) => panic!("{pictures} of one picture"),
            }
        }
        self.now += PERIOD;
        outcome.expect("a picture is sent or left out")
    }

    fn sent(&mut self, bytes: usize, is_keyframe: bool) {
        self.bytes += bytes;
        self.tell(Event::PictureSent { bytes, is_keyframe });
    }

    fn pictures(&mut self, count: usize) -> Vec<Outcome> {
        (0..count).map(|_| self.picture()).collect()
    }

    fn count(&mut self, pictures: usize, of: Outcome) -> usize {
        self.pictures(pictures).into_iter().filter(|outcome| *outcome == of).count()
    }
}

#[test]
fn a_steady_path_carries_every_picture_after_one_keyframe() {
    let mut simulation = Simulation::encoder(1_000_000);
    assert_eq!(simulation.picture(), Outcome::Keyframe);
    assert_eq!(simulation.bitrates, [850_000]);
    assert_eq!(simulation.count(3_000, Outcome::Delta), 3_000);
    assert_eq!(simulation.bitrates.len(), 1);
}

#[test]
fn the_bitrate_follows_the_path_in_steps_and_has_a_floor() {
    let mut simulation = Simulation::encoder(1_000_000);
    for target_bps in [1_000_000, 1_040_000, 960_000, 1_060_000, 500_000, 1_000, 2_000_000] {
        simulation.target_bps = target_bps;
        simulation.picture();
        simulation.now += Duration::from_secs(10);
    }
    assert_eq!(simulation.bitrates, [850_000, 901_000, 425_000, 40_000, 1_700_000]);
}

#[test]
fn sound_has_its_share_of_the_path_first() {
    let start = Instant::now();
    let mut adaptation = VideoAdaptation::of_encoder(start);
    let actions = adaptation.handle(Event::PictureReady { target_bps: 245_000, has_audio: true }, start);
    assert_eq!(actions, [Action::SetBitrate(170_000), Action::SendKeyframe]);
    let actions = adaptation.handle(Event::PictureReady { target_bps: 30_000, has_audio: true }, start);
    assert_eq!(actions[0], Action::SetBitrate(40_000));
}

#[test]
fn an_encoder_that_overshoots_loses_frame_rate_and_stays_within_the_path() {
    let mut simulation = Simulation::encoder(100_000);
    simulation.picture();
    // Sends twice what it was told.
    simulation.picture_bytes *= 2;
    let left_out = simulation.count(600, Outcome::LeftOut);
    assert!((200..400).contains(&left_out), "{left_out}");
    let seconds = simulation.now.duration_since(simulation.start).as_secs_f64();
    let sent_bps = simulation.bytes as f64 * 8.0 / seconds;
    assert!(sent_bps < 105_000.0 + START_BITS / seconds, "{sent_bps}");
    // Left out pictures of an encoder need no keyframe: nothing refers to them.
    assert_eq!(simulation.count(300, Outcome::Keyframe), 0);
}

#[test]
fn a_path_that_breaks_down_is_followed_within_a_second() {
    let mut simulation = Simulation::encoder(2_000_000);
    simulation.pictures(300);
    simulation.target_bps = 200_000;
    assert_eq!(simulation.picture(), Outcome::Delta);
    assert_eq!(simulation.bitrates, [1_700_000, 170_000]);
    assert_eq!(simulation.count(60, Outcome::LeftOut), 0, "what was sent before drains");
}

#[test]
fn keyframes_keep_their_distance_which_is_short_at_first() {
    let start = Instant::now();
    let mut adaptation = VideoAdaptation::of_encoder(start);
    let mut distances = |from_ms: u64| {
        let mut keyframes = Vec::new();
        // Every picture is asked for, and small enough to leave at once.
        for at_ms in (from_ms..from_ms + 200).step_by(5) {
            let now = start + Duration::from_millis(at_ms);
            adaptation.handle(Event::KeyframeRequested, now);
            let ready = Event::PictureReady { target_bps: 1_000_000, has_audio: false };
            let is_keyframe = adaptation.handle(ready, now).contains(&Action::SendKeyframe);
            if is_keyframe {
                keyframes.push(at_ms);
            }
            adaptation.handle(Event::PictureSent { bytes: 100, is_keyframe }, now);
        }
        keyframes.windows(2).map(|pair| pair[1] - pair[0]).collect::<Vec<_>>()
    };
    assert_eq!(distances(0), [25; 7]);
    assert_eq!(distances(2_000), [100]);
}

#[test]
fn a_request_that_comes_too_early_is_kept() {
    let mut simulation = Simulation::encoder(100_000_000);
    simulation.now += Duration::from_secs(2);
    assert_eq!(simulation.picture(), Outcome::Keyframe);
    simulation.tell(Event::KeyframeRequested);
    let outcomes = simulation.pictures(6);
    // The fourth picture is 133 ms after the keyframe, the third 100 ms less a rounding error.
    assert_eq!(outcomes.iter().position(|outcome| *outcome == Outcome::Keyframe), Some(3), "{outcomes:?}");
}

#[test]
fn after_a_pause_a_keyframe_comes_at_once() {
    let mut simulation = Simulation::encoder(1_000_000);
    simulation.pictures(100);
    simulation.tell(Event::KeyframeRequested);
    assert_eq!(simulation.picture(), Outcome::Keyframe);
    simulation.tell(Event::Paused);
    assert_eq!(simulation.picture(), Outcome::Keyframe, "33 ms after the last one");
}

#[test]
fn an_encoder_that_failed_is_opened_anew_with_a_keyframe() {
    let mut simulation = Simulation::encoder(1_000_000);
    simulation.pictures(100);
    simulation.tell(Event::EncoderFailed);
    assert_eq!(simulation.picture(), Outcome::Keyframe);
    assert_eq!(simulation.bitrates, [850_000, 850_000]);
}

#[test]
fn a_keyframe_that_the_encoder_leaves_out_is_asked_for_again() {
    let start = Instant::now();
    let mut adaptation = VideoAdaptation::of_encoder(start);
    let ready = Event::PictureReady { target_bps: 1_000_000, has_audio: false };
    assert_eq!(adaptation.handle(ready, start), [Action::SetBitrate(850_000), Action::SendKeyframe]);
    assert_eq!(adaptation.handle(ready, start + PERIOD), [Action::SendKeyframe]);
}

#[test]
fn a_loop_has_no_bitrate_and_begins_again_after_each_gap() {
    let mut simulation = Simulation::of_loop(1_000_000, 2_000);
    assert_eq!(simulation.count(300, Outcome::Keyframe), 1);
    // 2,000 bytes 30 times a second are 480 kbit/s.
    simulation.target_bps = 100_000;
    let outcomes = simulation.pictures(300);
    assert!(simulation.bitrates.is_empty());
    let after_gaps = outcomes.windows(2).filter(|pair| pair[0] == Outcome::LeftOut && pair[1] != Outcome::LeftOut);
    let after_gaps: Vec<_> = after_gaps.map(|pair| pair[1]).collect();
    assert!(!after_gaps.is_empty() && after_gaps.iter().all(|outcome| *outcome == Outcome::Keyframe), "{outcomes:?}");
}

#[test]
fn a_loop_that_was_held_up_begins_again() {
    let mut simulation = Simulation::of_loop(1_000_000, 2_000);
    simulation.pictures(10);
    let missed = simulation.adaptation.handle(Event::PicturesMissed(12), simulation.now);
    assert_eq!(missed, [Action::LeaveOut(12)]);
    assert_eq!(simulation.pictures(2), [Outcome::Keyframe, Outcome::Delta]);
}

#[test]
fn the_backlog_fills_above_the_rate_and_drains_with_time() {
    let start = Instant::now();
    let mut backlog = Backlog::with_grant(START_BITS, start);
    assert!(!backlog.is_full(start, 100_000));
    backlog.add(START_BITS as usize / 8);
    assert!(!backlog.is_full(start, 100_000), "granted");
    // 40,000 bits at 100 kbit/s take 400 ms to leave.
    backlog.add(5_000);
    assert!(backlog.is_full(start, 100_000));
    assert!(backlog.is_full(start + Duration::from_millis(90), 100_000));
    assert!(!backlog.is_full(start + Duration::from_millis(110), 100_000));
    assert!(!backlog.is_full(start + Duration::from_secs(60), 100_000));
}

#[test]
fn a_steady_stream_at_the_rate_never_fills_it() {
    let start = Instant::now();
    let mut backlog = Backlog::with_grant(START_BITS, start);
    for n in 0..300 {
        assert!(!backlog.is_full(start + Duration::from_millis(33) * n, 1_000_000));
        backlog.add(4_100);
    }
}
