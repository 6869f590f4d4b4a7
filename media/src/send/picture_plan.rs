//! [`PicturePlanner`]: how large pictures are sent, and how many a second, for the bitrate that is left for them.
//!
//! - too little for pictures of this shape → the best shape that it is enough for, soon
//! - enough for a better one, for a while → that one; the while grows when it was too much
//! - too little for any → no pictures, and sound has the path to itself, until there is enough again. Where only sound is
//!   sent, nobody knows what more the path carries: so pictures are tried now and then
//!
//! What pictures need is guessed from their size and rate, and put right by what the encoder makes of its bitrate: a still
//! picture needs little. This machine counts too: when encoding takes all the time there is, smaller pictures are sent.
//!
//! Pure: it reads no clock.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::frame::Size;

/// What suffers first when a path is narrow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Content {
    /// A camera: people rather see small pictures than slow ones.
    #[default]
    Motion,
    /// A screen, a page, a board: it has to stay readable, and may come late.
    Detail,
}

/// A text that names no [`Content`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown content {text:?}; use motion or detail")]
pub struct UnknownContent {
    text: String,
}

impl std::str::FromStr for Content {
    type Err = UnknownContent;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "motion" => Ok(Self::Motion),
            "detail" => Ok(Self::Detail),
            _ => Err(UnknownContent { text: text.to_owned() }),
        }
    }
}

/// Size and rate of pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Luma samples.
    pub size: Size,
    /// Pictures a second, at most.
    pub fps: u32,
}

/// What is sent of pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PicturePlan {
    /// Pictures of this shape.
    Sent(Shape),
    /// None: the path is too narrow.
    Paused,
}

/// Why a plan is what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Nothing is in the way.
    Whole,
    /// The path is too narrow for more.
    Line,
    /// This machine is too slow for more.
    Machine,
}

/// Shares of each side, and most pictures a second, from the best to the least.
const MOTION: [(u32, u32, u32); 7] =
    [(1, 1, 1_000), (3, 4, 30), (1, 2, 30), (1, 2, 20), (1, 2, 15), (3, 8, 15), (3, 8, 8)];
const DETAIL: [(u32, u32, u32); 7] =
    [(1, 1, 1_000), (1, 1, 20), (1, 1, 12), (1, 1, 6), (3, 4, 6), (1, 2, 6), (1, 2, 3)];

/// No side becomes smaller than this by planning, luma samples.
const SIDE_MIN: u32 = 128;

/// Bits a pixel that a picture needs at 30 pictures a second, before it looks coarse.
const BITS_A_PIXEL: f64 = 0.03;

/// With less than this share of what they need pictures become coarse, and smaller ones are better.
const TOO_LITTLE: f64 = 0.8;

/// With less than this share there is no time to lose.
const FAR_TOO_LITTLE: f64 = 0.4;

/// So long it has to be too little: the rate dips for a moment when a queue is drained.
const LOWER_AFTER: Duration = Duration::from_millis(300);

/// A better shape needs this much more than it needs, for so long, so that it lasts.
const PLENTY: f64 = 1.2;
const RAISE_AFTER: Duration = Duration::from_secs(2);

/// When it does not last for so long, nothing better is tried for a while: twice as long each time, up to the longest. More
/// than that much of what was too little is tried all the same.
const LASTED: Duration = Duration::from_secs(10);
const TRY_AGAIN_AFTER_MAX: Duration = Duration::from_secs(16);
const MUCH_MORE: f64 = 2.0;

/// Below this share of what the least shape needs no pictures are sent, after so long.
const PAUSE_BELOW: f64 = 0.6;
const PAUSE_AFTER: Duration = Duration::from_secs(2);

/// Pictures are tried after so long a pause, and after twice the time when they did not last, up to the longest; but not
/// with less than this.
const TRY_AFTER: Duration = Duration::from_secs(4);
const TRY_AFTER_MAX: Duration = Duration::from_secs(60);
const TRY_BPS_MIN: f64 = 15_000.0;

/// A try is given so long for the path to show that it carries more, however coarse they are. It ends when there is less
/// for so long than this share of what it began with: the path is full, and sound suffers.
const TRY_FOR: Duration = Duration::from_secs(5);
const TRY_LESS: f64 = 0.8;
const TRY_LESS_FOR: Duration = Duration::from_millis(400);

/// At the beginning the path is still being found out, and only what is less than the first estimate counts.
const BEGINNING: Duration = Duration::from_secs(3);
const LESS_THAN_FIRST: f64 = 0.75;

/// What the encoder makes of its bitrate: a mean of so long, and bounds.
const DEMAND_OVER: Duration = Duration::from_secs(1);
const DEMAND: std::ops::RangeInclusive<f64> = 0.25..=2.0;

/// This machine is too slow when encoding takes this share of the time, for so long; and fast enough again below that one,
/// for so long.
const SLOW_SHARE: f64 = 0.9;
const SLOW_FOR: Duration = Duration::from_secs(3);
const FAST_SHARE: f64 = 0.4;
const FAST_FOR: Duration = Duration::from_secs(10);
const TIME_WEIGHT: f64 = 1.0 / 30.0;

/// Something that has been so since then.
#[derive(Clone, Copy, Debug, Default)]
struct Since(Option<Instant>);

impl Since {
    /// Takes note of whether it is so; true once it was so for this long.
    fn is_so_for(&mut self, is_so: bool, length: Duration, now: Instant) -> bool {
        if !is_so {
            self.0 = None;
            return false;
        }
        now.saturating_duration_since(*self.0.get_or_insert(now)) >= length
    }
}

/// A better step that did not last.
#[derive(Clone, Copy, Debug)]
struct Failed {
    /// What there was for it, bits a second.
    bps: f64,
    at: Instant,
    try_again_after: Duration,
}

/// See the module.
#[derive(Debug)]
pub struct PicturePlanner {
    content: Content,
    source_fps: u32,
    source: Option<Size>,
    /// From the best to the least.
    steps: Vec<Shape>,
    /// Which step is in force.
    step: usize,
    /// Since when no pictures are sent.
    paused: Option<Instant>,
    try_after: Duration,
    /// When they were sent again, and what there was for them.
    tried: Option<(Instant, f64)>,
    started: Instant,
    first_bps: Option<u32>,
    /// Since when less than enough.
    too_little: Since,
    /// Since when pictures could be sent again.
    plenty: Since,
    /// What there was for pictures of late: since [`RAISE_AFTER`], or since the last change.
    recent: VecDeque<(Instant, f64)>,
    /// When a better step was taken, and what there was for it.
    raised: Option<(Instant, f64)>,
    /// A better step that did not last.
    failed: Option<Failed>,
    /// Share of its bitrate that the encoder uses.
    demand: f64,
    /// The best step that this machine can do.
    best_step: usize,
    slow: Since,
    fast: Since,
    /// Share of the time between pictures that encoding takes.
    time_share: f64,
}

impl PicturePlanner {
    /// For pictures that are captured so many times a second.
    pub fn new(content: Content, fps: u32, now: Instant) -> Self {
        Self {
            content,
            source_fps: fps.max(1),
            source: None,
            steps: Vec::new(),
            step: 0,
            paused: None,
            try_after: TRY_AFTER,
            tried: None,
            started: now,
            first_bps: None,
            too_little: Since::default(),
            plenty: Since::default(),
            recent: VecDeque::new(),
            raised: None,
            failed: None,
            demand: 1.0,
            best_step: 0,
            slow: Since::default(),
            fast: Since::default(),
            time_share: 0.0,
        }
    }

    /// A picture of this size was captured, and so many bits a second are left for pictures; what is to be sent.
    pub fn picture_captured(&mut self, source: Size, bps: u32, now: Instant) -> PicturePlan {
        if self.source.replace(source) != Some(source) {
            self.steps = steps(self.content, source, self.source_fps);
            self.step = self.step.min(self.steps.len() - 1);
        }
        let first_bps = *self.first_bps.get_or_insert(bps);
        let is_beginning = now.saturating_duration_since(self.started) < BEGINNING
            && f64::from(bps) >= f64::from(first_bps) * LESS_THAN_FIRST;
        if !is_beginning {
            self.follow(f64::from(bps) / self.demand, now);
        }
        self.plan()
    }

    /// A picture was encoded: `bits` at a bitrate that gives each `share` bits, in `took`, of `apart` until the next.
    pub fn picture_encoded(&mut self, bits: f64, share: f64, took: Duration, apart: Duration, now: Instant) {
        if share > 0.0 {
            let weight = (apart.as_secs_f64() / DEMAND_OVER.as_secs_f64()).min(0.5);
            self.demand += (bits / share - self.demand) * weight;
            self.demand = self.demand.clamp(*DEMAND.start(), *DEMAND.end());
        }
        let time_share = took.as_secs_f64() / apart.as_secs_f64().max(0.001);
        self.time_share += (time_share - self.time_share) * TIME_WEIGHT;
        if self.slow.is_so_for(self.time_share > SLOW_SHARE, SLOW_FOR, now) {
            self.best_step = (self.step + 1).min(self.steps.len().saturating_sub(1));
            self.slow = Since::default();
        } else if self.fast.is_so_for(self.best_step > 0 && self.time_share < FAST_SHARE, FAST_FOR, now) {
            self.best_step -= 1;
            self.fast = Since::default();
        }
        self.step = self.step.max(self.best_step);
    }

    /// What is in force, and why; `None` before the first picture.
    pub fn in_force(&self) -> Option<(PicturePlan, Reason)> {
        self.source.map(|_| (self.plan(), self.reason()))
    }

    /// What is in force.
    pub fn plan(&self) -> PicturePlan {
        match self.steps.get(self.step) {
            Some(shape) if self.paused.is_none() => PicturePlan::Sent(*shape),
            Some(_) | None => PicturePlan::Paused,
        }
    }

    fn reason(&self) -> Reason {
        match self.step {
            _ if self.paused.is_some() => Reason::Line,
            0 => Reason::Whole,
            step if step <= self.best_step => Reason::Machine,
            _ => Reason::Line,
        }
    }

    fn follow(&mut self, bps: f64, now: Instant) {
        if let Some(paused) = self.paused {
            return self.resume(bps, paused, now);
        }
        let needed = self.needs(self.step);
        let far = bps < needed * FAR_TOO_LITTLE;
        let lower_after = if far { Duration::ZERO } else { LOWER_AFTER };
        let last = self.steps.len() - 1;
        if self.step == last {
            let tried_with = self.tried.filter(|(at, _)| now.saturating_duration_since(*at) < TRY_FOR);
            let (least, pause_after) = match tried_with {
                Some((_, bps)) => (bps * TRY_LESS, TRY_LESS_FOR),
                None => (needed * PAUSE_BELOW, PAUSE_AFTER),
            };
            if self.too_little.is_so_for(bps < least, pause_after, now) {
                return self.pause(now);
            }
        } else if self.too_little.is_so_for(bps < needed * TOO_LITTLE, lower_after, now) {
            self.lower(bps, now);
        }
        self.raise(bps, now);
    }

    fn lower(&mut self, bps: f64, now: Instant) {
        let last = self.steps.len() - 1;
        self.step = (self.step + 1..last).find(|step| self.needs(*step) <= bps).unwrap_or(last);
        // What was sent is of another shape.
        (self.too_little, self.demand) = (Since::default(), 1.0);
        self.recent.clear();
        self.failed = match (self.raised.take(), self.failed) {
            (Some((at, bps)), before) if now.saturating_duration_since(at) < LASTED => {
                let longer = before.map_or(RAISE_AFTER, |failed| failed.try_again_after) * 2;
                Some(Failed { bps, at: now, try_again_after: longer.min(TRY_AGAIN_AFTER_MAX) })
            }
            (Some(_), _) => None,
            (None, before) => before,
        };
    }

    /// Takes the best step that was paid for all the while.
    fn raise(&mut self, bps: f64, now: Instant) {
        self.recent.push_back((now, bps));
        let is_old = |at: Instant| now.saturating_duration_since(at) >= RAISE_AFTER;
        // The oldest that is left was there before the time began.
        while self.recent.get(1).is_some_and(|(at, _)| is_old(*at)) {
            self.recent.pop_front();
        }
        if !self.recent.front().is_some_and(|(at, _)| is_old(*at)) {
            return;
        }
        let least = self.recent.iter().map(|(_, bps)| *bps).fold(f64::INFINITY, f64::min);
        let may_try = self.failed.is_none_or(|failed| {
            least >= failed.bps * MUCH_MORE || now.saturating_duration_since(failed.at) >= failed.try_again_after
        });
        let better = (self.best_step..self.step).find(|step| self.needs(*step) * PLENTY <= least);
        if let Some(step) = better.filter(|_| may_try) {
            (self.step, self.raised, self.demand) = (step, Some((now, least)), 1.0);
            self.recent.clear();
        }
    }

    fn pause(&mut self, now: Instant) {
        let lasted = self.tried.is_none_or(|(at, _)| now.saturating_duration_since(at) >= LASTED);
        self.try_after = if lasted { TRY_AFTER } else { (self.try_after * 2).min(TRY_AFTER_MAX) };
        (self.paused, self.too_little, self.plenty) = (Some(now), Since::default(), Since::default());
        // What the encoder made of next to nothing says nothing of what comes.
        self.demand = 1.0;
    }

    fn resume(&mut self, bps: f64, paused: Instant, now: Instant) {
        let is_enough = self.plenty.is_so_for(bps >= self.needs(self.step) * PLENTY, RAISE_AFTER, now);
        let may_try = now.saturating_duration_since(paused) >= self.try_after && bps >= TRY_BPS_MIN;
        if is_enough || may_try {
            (self.paused, self.tried, self.plenty) = (None, Some((now, bps)), Since::default());
        }
    }

    /// Bits a second that pictures of this step need. Fewer pictures differ more: half as many need 0.7 of it.
    fn needs(&self, step: usize) -> f64 {
        self.steps
            .get(step)
            .map_or(0.0, |shape| shape.size.area() as f64 * BITS_A_PIXEL * 30.0 * (f64::from(shape.fps) / 30.0).sqrt())
    }
}

/// The shapes that pictures of this size can be sent in.
fn steps(content: Content, source: Size, source_fps: u32) -> Vec<Shape> {
    let ladder = match content {
        Content::Motion => MOTION,
        Content::Detail => DETAIL,
    };
    let mut steps: Vec<Shape> = Vec::new();
    for (share, of, fps) in ladder {
        let side = |side: u32| (side * share / of) & !1;
        let size = Size { width: side(source.width), height: side(source.height) };
        let shape = Shape { size, fps: fps.min(source_fps) };
        let is_whole = share == of;
        let is_large_enough = is_whole || size.width.min(size.height) >= SIDE_MIN;
        // A slow camera knows some of them already.
        if is_large_enough && steps.last() != Some(&shape) {
            steps.push(shape);
        } else if !is_large_enough && let Some(last) = steps.last().copied() {
            // Too small to be made smaller: fewer, then.
            let fewer = Shape { fps: shape.fps.min(last.fps), ..last };
            if fewer != last {
                steps.push(fewer);
            }
        }
    }
    steps
}

#[cfg(test)]
mod tests;
