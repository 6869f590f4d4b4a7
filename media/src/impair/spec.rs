//! What is to be wrong with a network, as text and as values.
//!
//! `[up:|down:]key=value,…` is one [`DirectedImpairment`]; several, in one text with blanks between them, are
//! [`Impairments`]. Each replaces what was said before of its direction. What is written reads back the same.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// The longest time of any key: a network that is away for a minute has ended every call.
const TIME_MAX: Duration = Duration::from_secs(60);

/// Lowest and highest rate, bits a second: a packet takes 12 s, and more than any machine here encodes.
const RATES_BPS: std::ops::RangeInclusive<u64> = 1_000..=10_000_000_000;

/// Longest mean of bursts, packets.
const BURST_MAX: f64 = 1_000.0;

/// What is wrong with one direction of a network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Impairment {
    /// One way.
    pub delay: Duration,
    /// Each packet takes longer by a time drawn uniformly from 0 to this; none overtakes another by it.
    pub jitter: Duration,
    /// Share of packets that are lost.
    pub loss: Share,
    /// How long losses last; `None`: each packet is lost or not by itself.
    pub burst: Option<Burst>,
    /// How much passes; `None`: all.
    pub rate: Option<Rate>,
    /// How long a packet waits for the rate at most; with a rate alone.
    pub queue: Option<Duration>,
    /// Share of packets that are held back ([`super::REORDER_HOLD`]), so that later ones overtake them.
    pub reorder: Share,
    /// Share of packets that come twice.
    pub duplicate: Share,
    /// What random numbers begin with.
    pub seed: Option<u64>,
    /// Once: nothing passes for so long, then all that waited.
    pub stall: Duration,
}

impl Impairment {
    /// True when packets pass as they would without it.
    #[must_use]
    pub fn is_none(&self) -> bool {
        Self { seed: None, ..*self } == Self::default()
    }
}

/// A share of packets, exact to a millionth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(u32);

impl Share {
    /// None of them.
    pub const NONE: Self = Self(0);

    const WHOLE: u32 = 1_000_000;

    /// From 0 to 1.
    #[must_use]
    pub fn fraction(self) -> f64 {
        f64::from(self.0) / f64::from(Self::WHOLE)
    }

    /// True for every packet.
    #[must_use]
    pub const fn is_all(self) -> bool {
        self.0 == Self::WHOLE
    }
}

/// How many packets in a row are lost on average, exact to a thousandth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Burst(u32);

impl Burst {
    /// Packets, 1 or more.
    #[must_use]
    pub fn mean(self) -> f64 {
        f64::from(self.0) / 1000.0
    }
}

/// Bits a second on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate(u64);

impl Rate {
    /// Bits a second.
    #[must_use]
    pub const fn bps(self) -> u64 {
        self.0
    }

    /// How long so many bits take.
    #[must_use]
    pub fn time_for(self, bits: u64) -> Duration {
        let nanos = u128::from(bits) * 1_000_000_000 / u128::from(self.0);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// How many bits pass in this time, a begun one included.
    #[must_use]
    pub fn bits_in(self, time: Duration) -> u64 {
        u64::try_from((time.as_nanos() * u128::from(self.0)).div_ceil(1_000_000_000)).unwrap_or(u64::MAX)
    }
}

/// An impairment and the directions it is for: one value of `--impair`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirectedImpairment {
    direction: Direction,
    impairment: Impairment,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Both,
    Up,
    Down,
}

/// What is wrong with both directions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Impairments {
    /// What leaves this machine.
    pub up: Impairment,
    /// What comes to it.
    pub down: Impairment,
}

impl Impairments {
    /// True when nothing is wrong.
    #[must_use]
    pub fn are_none(&self) -> bool {
        self.up.is_none() && self.down.is_none()
    }
}

/// Later ones replace what earlier ones said of the same direction.
impl FromIterator<DirectedImpairment> for Impairments {
    fn from_iter<I: IntoIterator<Item = DirectedImpairment>>(all: I) -> Self {
        let mut both = Self::default();
        for DirectedImpairment { direction, impairment } in all {
            match direction {
                Direction::Both => both = Self { up: impairment, down: impairment },
                Direction::Up => both.up = impairment,
                Direction::Down => both.down = impairment,
            }
        }
        both
    }
}

/// A text that is no impairment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0}; use [up:|down:]KEY=VALUE,… of delay=50ms, jitter=10ms, loss=5%, burst=3, rate=500kbit, queue=300ms, \
     reorder=1%, duplicate=1%, seed=7, stall=700ms, or none"
)]
pub struct InvalidImpairment(String);

impl FromStr for Impairments {
    type Err = InvalidImpairment;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.trim().is_empty() {
            return Err(InvalidImpairment("an empty impairment".to_owned()));
        }
        text.split_whitespace().map(str::parse::<DirectedImpairment>).collect()
    }
}

impl FromStr for DirectedImpairment {
    type Err = InvalidImpairment;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (direction, text) = match text.split_once(':') {
            Some(("up", rest)) => (Direction::Up, rest),
            Some(("down", rest)) => (Direction::Down, rest),
            Some((other, _)) => return Err(InvalidImpairment(format!("{other:?} is no direction"))),
            None => (Direction::Both, text),
        };
        Ok(Self { direction, impairment: text.parse()? })
    }
}

impl FromStr for Impairment {
    type Err = InvalidImpairment;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut read = Self::default();
        if text == "none" {
            return Ok(read);
        }
        let mut seen = Vec::new();
        for part in text.split(',') {
            let (key, value) =
                part.split_once('=').ok_or_else(|| InvalidImpairment(format!("{part:?} has no value")))?;
            if seen.contains(&key) {
                return Err(InvalidImpairment(format!("{key:?} comes twice")));
            }
            seen.push(key);
            read.take(key, value).map_err(|problem| InvalidImpairment(format!("{part:?} {problem}")))?;
        }
        read.contradiction().map_or(Ok(read), |problem| Err(InvalidImpairment(problem)))
    }
}

impl Impairment {
    /// Takes one key; what is wrong with it, when something is.
    fn take(&mut self, key: &str, value: &str) -> Result<(), &'static str> {
        match key {
            "delay" => self.delay = time(value)?,
            "jitter" => self.jitter = time(value)?,
            "loss" => self.loss = share(value)?,
            "burst" => self.burst = Some(burst(value)?),
            "rate" => self.rate = Some(rate(value)?),
            "queue" => self.queue = Some(time(value)?),
            "reorder" => self.reorder = share(value)?,
            "duplicate" => self.duplicate = share(value)?,
            "seed" => self.seed = Some(value.parse().map_err(|_| "is no seed, a whole number below 2^64")?),
            "stall" => self.stall = time(value)?,
            _ => return Err("has no key that is known"),
        }
        Ok(())
    }

    /// What of it cannot be together.
    fn contradiction(&self) -> Option<String> {
        if self.queue.is_some() && self.rate.is_none() {
            return Some("a queue needs a rate, or nothing waits in it".to_owned());
        }
        let burst = self.burst?;
        if self.loss == Share::NONE {
            return Some("bursts need a loss".to_owned());
        }
        // Between two bursts at least one packet passes.
        let longest = burst.mean() / (burst.mean() + 1.0);
        let too_many = !self.loss.is_all() && self.loss.fraction() > longest;
        too_many.then(|| format!("a loss of {} needs longer bursts than {}", self.loss, burst.mean()))
    }
}

fn time(text: &str) -> Result<Duration, &'static str> {
    const WRONG: &str = "is no time like 50ms, 1.5s or 200us, 60 s at most";
    let (number, unit) = split_unit(text);
    let micros_each = match unit {
        "us" => 1.0,
        "ms" => 1e3,
        "s" => 1e6,
        _ => return Err(WRONG),
    };
    let micros = decimal(number).ok_or(WRONG)? * micros_each;
    // A float cast saturates.
    Some(Duration::from_micros(micros.round() as u64)).filter(|time| *time <= TIME_MAX).ok_or(WRONG)
}

fn share(text: &str) -> Result<Share, &'static str> {
    const WRONG: &str = "is no share from 0% to 100%";
    let percent = text.strip_suffix('%').and_then(decimal).filter(|percent| *percent <= 100.0).ok_or(WRONG)?;
    Ok(Share((percent / 100.0 * f64::from(Share::WHOLE)).round() as u32))
}

fn burst(text: &str) -> Result<Burst, &'static str> {
    let mean = decimal(text).filter(|mean| (1.0..=BURST_MAX).contains(mean));
    mean.map(|mean| Burst((mean * 1000.0).round() as u32)).ok_or("is no mean of packets from 1 to 1000")
}

fn rate(text: &str) -> Result<Rate, &'static str> {
    const WRONG: &str = "is no rate like 500kbit or 2mbit, from 1kbit to 10gbit";
    let (number, unit) = split_unit(text);
    let bits_each = match unit {
        "bit" => 1.0,
        "kbit" => 1e3,
        "mbit" => 1e6,
        "gbit" => 1e9,
        _ => return Err(WRONG),
    };
    let bps = (decimal(number).ok_or(WRONG)? * bits_each).round() as u64;
    Some(Rate(bps)).filter(|rate| RATES_BPS.contains(&rate.0)).ok_or(WRONG)
}

fn split_unit(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len()))
}

/// Digits with at most one point, and nothing else that a float could be.
fn decimal(text: &str) -> Option<f64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    text.parse().ok().filter(|_| plain)
}

impl fmt::Display for Impairments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.up == self.down { write!(f, "{}", self.up) } else { write!(f, "up:{} down:{}", self.up, self.down) }
    }
}

impl fmt::Display for DirectedImpairment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = match self.direction {
            Direction::Both => "",
            Direction::Up => "up:",
            Direction::Down => "down:",
        };
        write!(f, "{prefix}{}", self.impairment)
    }
}

impl fmt::Display for Impairment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = |name, time: Duration| (!time.is_zero()).then(|| format!("{name}={}", Time(time)));
        let share = |name, share: Share| (share != Share::NONE).then(|| format!("{name}={share}"));
        let parts = [
            time("delay", self.delay),
            time("jitter", self.jitter),
            share("loss", self.loss),
            self.burst.map(|burst| format!("burst={}", burst.mean())),
            self.rate.map(|rate| format!("rate={rate}")),
            self.queue.map(|queue| format!("queue={}", Time(queue))),
            share("reorder", self.reorder),
            share("duplicate", self.duplicate),
            self.seed.map(|seed| format!("seed={seed}")),
            time("stall", self.stall),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        f.write_str(if parts.is_empty() { "none".to_owned() } else { parts.join(",") }.as_str())
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", f64::from(self.0) / f64::from(Self::WHOLE / 100))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bps if bps.is_multiple_of(1_000_000) => write!(f, "{}mbit", bps / 1_000_000),
            bps if bps.is_multiple_of(1_000) => write!(f, "{}kbit", bps / 1_000),
            bps => write!(f, "{bps}bit"),
        }
    }
}

/// A time as [`time`] reads it.
struct Time(Duration);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_micros() {
            micros if micros.is_multiple_of(1_000_000) => write!(f, "{}s", micros / 1_000_000),
            micros if micros.is_multiple_of(1_000) => write!(f, "{}ms", micros / 1_000),
            micros => write!(f, "{micros}us"),
        }
    }
}
