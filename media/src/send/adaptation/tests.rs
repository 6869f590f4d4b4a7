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

const VGA: Size = Size { width: 640, height: 480 };

/// A path of a known rate on which nothing waits, and no sound is sent.
const fn empty_path(bps: u32) -> Path {
    Path { target_bps: bps, lasting_bps: bps, pacer_queue: Duration::ZERO, answer: Duration::ZERO, sound: None }
}

/// A stream of pictures over a path of a known rate, in simulated time.
struct Simulation {
    adaptation: VideoAdaptation,
    start: Instant,
    now: Instant,
    target_bps: u32,
    answer: Duration,
    /// What waits in the pacer, bits.
    queued: f64,
    /// What leaves at once at first.
    granted: f64,
    /// Coded size of a picture: of an encoder as its bitrate says, of a loop fixed.
    picture_bytes: usize,
    coded: Vec<Coding>,
    bytes: usize,
}

impl Simulation {
    fn encoder(target_bps: u32) -> Self {
        Self::new(|now| VideoAdaptation::of_encoder(Content::Motion, 30, now), target_bps, 0)
    }

    fn of_loop(target_bps: u32, picture_bytes: usize) -> Self {
        Self::new(VideoAdaptation::of_loop, target_bps, picture_bytes)
    }

    fn new(adaptation: impl Fn(Instant) -> VideoAdaptation, target_bps: u32, picture_bytes: usize) -> Self {
        let now = Instant::now();
        Self {
            adaptation: adaptation(now),
            start: now,
            now,
            target_bps,
            answer: Duration::ZERO,
            queued: 0.0,
            granted: 100_000.0,
            picture_bytes,
            coded: Vec::new(),
            bytes: 0,
        }
    }

    fn tell(&mut self, event: Event) {
        assert_eq!(self.adaptation.handle(event, self.now), Vec::new(), "{event:?}");
    }

    fn bitrates(&self) -> Vec<u32> {
        self.coded.iter().map(|coding| coding.bitrate_bps).collect()
    }

    fn path(&self) -> Path {
        let pacer_queue = Duration::from_secs_f64(self.queued / f64::from(self.target_bps));
        Path { pacer_queue, answer: self.answer, ..empty_path(self.target_bps) }
    }

    /// One picture, then time passes until the next.
    fn picture(&mut self) -> Outcome {
        let mut outcome = None;
        for action in self.adaptation.handle(Event::PictureReady(VGA, self.path()), self.now) {
            match action {
                Action::Encode(coding) => {
                    self.coded.push(coding);
                    let Some((PicturePlan::Sent(shape), _)) = self.adaptation.plan() else { panic!("nothing is sent") };
                    self.picture_bytes = (coding.bitrate_bps / 8 / shape.fps) as usize;
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
        self.queued = (self.queued - f64::from(self.target_bps) * PERIOD.as_secs_f64()).max(0.0);
        outcome.expect("a picture is sent or left out")
    }

    fn sent(&mut self, bytes: usize, is_keyframe: bool) {
        self.bytes += bytes;
        let bits = bytes as f64 * 8.0;
        let granted = self.granted.min(bits);
        self.granted -= granted;
        self.queued += bits - granted;
        self.tell(Event::PictureSent { bytes, is_keyframe, took: Duration::from_millis(3) });
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
    assert_eq!(simulation.coded, [Coding { bitrate_bps: 850_000, size: VGA }]);
    assert_eq!(simulation.count(3_000, Outcome::Delta), 3_000);
    assert_eq!(simulation.coded.len(), 1);
}

#[test]
fn the_bitrate_follows_the_path_in_steps() {
    let mut simulation = Simulation::encoder(1_000_000);
    for target_bps in [1_000_000, 1_040_000, 960_000, 1_060_000, 500_000, 2_000_000] {
        simulation.target_bps = target_bps;
        simulation.picture();
        simulation.now += Duration::from_secs(10);
    }
    assert_eq!(simulation.bitrates(), [850_000, 901_000, 425_000, 1_700_000]);
}

#[test]
fn sound_has_its_share_of_the_path_first() {
    let start = Instant::now();
    let mut adaptation = VideoAdaptation::of_encoder(Content::Motion, 30, start);
    let path = Path { sound: Some(Copies::None), ..empty_path(244_000) };
    let actions = adaptation.handle(Event::PictureReady(VGA, path), start);
    assert_eq!(actions, [Action::Encode(Coding { bitrate_bps: 170_000, size: VGA }), Action::SendKeyframe]);
}

#[test]
fn on_a_path_for_sound_alone_no_picture_is_sent_and_a_keyframe_is_the_first_again() {
    let mut simulation = Simulation::encoder(1_000_000);
    simulation.pictures(150);
    simulation.target_bps = 8_000;
    simulation.pictures(90);
    assert_eq!(simulation.count(90, Outcome::LeftOut), 90);
    assert_eq!(simulation.adaptation.plan(), Some((PicturePlan::Paused, Reason::Line)));
    simulation.target_bps = 1_000_000;
    let outcomes = simulation.pictures(90);
    let first = outcomes.iter().position(|outcome| *outcome != Outcome::LeftOut).expect("a picture again");
    assert!(outcomes[first] == Outcome::Keyframe && first <= 60, "{first} pictures later");
}

#[test]
fn an_encoder_that_overshoots_loses_pictures_and_stays_within_the_path() {
    let mut simulation = Simulation::encoder(400_000);
    simulation.picture();
    // Sends twice what it was told, whatever it is told.
    let double = simulation.picture_bytes * 2;
    let mut left_out = 0;
    for _ in 0..600 {
        simulation.picture_bytes = double;
        left_out += usize::from(simulation.picture() == Outcome::LeftOut);
    }
    assert!((200..400).contains(&left_out), "{left_out}");
    let seconds = simulation.now.duration_since(simulation.start).as_secs_f64();
    let sent_bps = simulation.bytes as f64 * 8.0 / seconds;
    assert!(sent_bps < 420_000.0 + 100_000.0 / seconds, "{sent_bps}");
    // Left out pictures of an encoder need no keyframe: nothing refers to them.
    assert_eq!(simulation.count(300, Outcome::Keyframe), 0);
}

#[test]
fn a_path_that_breaks_down_is_followed_within_a_second_by_small_pictures() {
    let mut simulation = Simulation::encoder(2_000_000);
    simulation.pictures(300);
    simulation.target_bps = 100_000;
    assert_eq!(simulation.picture(), Outcome::Delta);
    let small = Size { width: 320, height: 240 };
    assert_eq!(simulation.coded.last(), Some(&Coding { bitrate_bps: 85_000, size: small }));
    assert_eq!(simulation.count(60, Outcome::LeftOut), 0, "what was sent before drains");
}

#[test]
fn a_camera_that_is_uneven_loses_no_picture() {
    let mut simulation = Simulation::encoder(100_000_000);
    for apart_ms in [5, 60, 10, 40, 1, 80, 33] {
        assert_ne!(simulation.picture(), Outcome::LeftOut, "{apart_ms} ms before the next");
        simulation.now = simulation.now - PERIOD + Duration::from_millis(apart_ms);
        simulation.queued = 0.0;
    }
}

#[test]
fn fewer_pictures_are_sent_evenly() {
    let mut simulation = Simulation::encoder(1_000_000);
    simulation.pictures(150);
    // Enough for 15 pictures a second of a quarter of the size.
    simulation.target_bps = 60_000;
    simulation.pictures(90);
    let sent: Vec<usize> = (0..300).filter(|_| simulation.picture() != Outcome::LeftOut).collect();
    assert!((145..=151).contains(&sent.len()), "{}", sent.len());
    assert!(sent.windows(2).all(|pair| pair[1] - pair[0] <= 3), "{sent:?}");
}

#[test]
fn keyframes_keep_their_distance_which_is_short_at_first() {
    let start = Instant::now();
    let mut adaptation = VideoAdaptation::of_encoder(Content::Motion, 200, start);
    let mut distances = |from_ms: u64| {
        let mut keyframes = Vec::new();
        // Every picture is asked for, and small enough to leave at once.
        for at_ms in (from_ms..from_ms + 200).step_by(5) {
            let now = start + Duration::from_millis(at_ms);
            adaptation.handle(Event::KeyframeWanted(KeyframeCause::Asked), now);
            let path = empty_path(1_000_000);
            let ready = Event::PictureReady(VGA, path);
            let is_keyframe = adaptation.handle(ready, now).contains(&Action::SendKeyframe);
            if is_keyframe {
                keyframes.push(at_ms);
            }
            adaptation.handle(Event::PictureSent { bytes: 100, is_keyframe, took: Duration::ZERO }, now);
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
    simulation.tell(Event::KeyframeWanted(KeyframeCause::Asked));
    let outcomes = simulation.pictures(6);
    // The fourth picture is 133 ms after the keyframe, the third 100 ms less a rounding error.
    assert_eq!(outcomes.iter().position(|outcome| *outcome == Outcome::Keyframe), Some(3), "{outcomes:?}");
}

#[test]
fn a_request_from_before_the_last_keyframe_is_not_answered_and_a_drop_is() {
    let mut simulation = Simulation::encoder(100_000_000);
    simulation.now += Duration::from_secs(2);
    simulation.answer = Duration::from_millis(400);
    assert_eq!(simulation.picture(), Outcome::Keyframe);
    simulation.pictures(6);
    simulation.tell(Event::KeyframeWanted(KeyframeCause::Asked));
    assert_eq!(simulation.count(30, Outcome::Keyframe), 0);
    simulation.tell(Event::KeyframeWanted(KeyframeCause::Asked));
    assert_eq!(simulation.picture(), Outcome::Keyframe);
    simulation.pictures(6);
    simulation.tell(Event::KeyframeWanted(KeyframeCause::Dropped));
    simulation.tell(Event::KeyframeWanted(KeyframeCause::Asked));
    assert_eq!(simulation.picture(), Outcome::Keyframe);
}

#[test]
fn after_a_pause_a_keyframe_comes_at_once() {
    let mut simulation = Simulation::encoder(1_000_000);
    simulation.pictures(100);
    simulation.tell(Event::KeyframeWanted(KeyframeCause::Asked));
    assert_eq!(simulation.picture(), Outcome::Keyframe);
    simulation.tell(Event::Paused);
    simulation.queued = 0.0;
    assert_eq!(simulation.picture(), Outcome::Keyframe, "33 ms after the last one");
}

#[test]
fn an_encoder_that_failed_is_opened_anew_with_a_keyframe() {
    let mut simulation = Simulation::encoder(1_000_000);
    simulation.pictures(100);
    simulation.tell(Event::EncoderFailed);
    assert_eq!(simulation.picture(), Outcome::Keyframe);
    assert_eq!(simulation.bitrates(), [850_000, 850_000]);
}

#[test]
fn a_keyframe_that_the_encoder_leaves_out_is_asked_for_again() {
    let start = Instant::now();
    let mut adaptation = VideoAdaptation::of_encoder(Content::Motion, 30, start);
    let path = empty_path(1_000_000);
    let ready = Event::PictureReady(VGA, path);
    let coding = Coding { bitrate_bps: 850_000, size: VGA };
    assert_eq!(adaptation.handle(ready, start), [Action::Encode(coding), Action::SendKeyframe]);
    assert_eq!(adaptation.handle(ready, start + PERIOD), [Action::SendKeyframe]);
}

#[test]
fn a_loop_has_no_bitrate_and_begins_again_after_each_gap() {
    let mut simulation = Simulation::of_loop(1_000_000, 2_000);
    assert_eq!(simulation.count(300, Outcome::Keyframe), 1);
    // 2,000 bytes 30 times a second are 480 kbit/s.
    simulation.target_bps = 100_000;
    let outcomes = simulation.pictures(300);
    assert!(simulation.coded.is_empty());
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
