//! Values of the options of `tring load`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use signalling::id::PeerId;

/// Calls at once, most: a caller and an answerer each are as many connections as our own broker takes.
pub(crate) const CALLS_MAX: u32 = 500;

/// Peers that one range names, most.
const RANGE_MAX: u32 = 1000;

/// Most calls begun a second: more than any machine sets up.
const RATE_MAX: f64 = 1000.0;

/// Calls begun a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rate(f64);

impl Rate {
    /// What each of so many does of it.
    pub(crate) fn share(self, workers: u32) -> Self {
        Self(self.0 / f64::from(workers))
    }

    /// When the call with this number, from 0, begins.
    pub(crate) fn begins(self, number: u64) -> Duration {
        Duration::from_secs_f64(number as f64 / self.0)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_suffix("/s").unwrap_or(text).parse::<f64>() {
            Ok(rate) if (0.001..=RATE_MAX).contains(&rate) => Ok(Self(rate)),
            Ok(_) | Err(_) => Err("use calls a second from 0.001/s to 1000/s, as 5/s".to_owned()),
        }
    }
}

/// The share of calls that may fail, in percent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct FailAbove(f64);

impl FailAbove {
    /// True when so many of so many are too many.
    pub(crate) fn is_exceeded(self, failed: u64, placed: u64) -> bool {
        100.0 * failed as f64 > self.0 * placed as f64
    }
}

impl fmt::Display for FailAbove {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

impl FromStr for FailAbove {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let share = text.strip_suffix('%').and_then(|number| number.parse::<f64>().ok());
        match share {
            Some(percent) if (0.0..=100.0).contains(&percent) => Ok(Self(percent)),
            Some(_) | None => Err("use a share from 0% to 100%, as 2.5%".to_owned()),
        }
    }
}

/// Peers by one name, or by a name with a range: `site-b-{1..50}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PeerRange(Vec<PeerId>);

impl PeerRange {
    /// The peers of all ranges, in order.
    pub(crate) fn peers(ranges: &[Self]) -> Vec<PeerId> {
        ranges.iter().flat_map(|range| range.0.iter().cloned()).collect()
    }
}

impl FromStr for PeerRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let peer = |name: &str| name.parse::<PeerId>().map_err(|error| error.to_string());
        let Some((before, rest)) = text.split_once('{') else { return Ok(Self(vec![peer(text)?])) };
        let wrong = || format!("{text:?} is no range; use NAME-{{1..50}}, with up to {RANGE_MAX} peers");
        let (range, after) = rest.split_once('}').ok_or_else(wrong)?;
        let (first, last) = range.split_once("..").ok_or_else(wrong)?;
        let number = |word: &str| word.parse::<u32>().map_err(|_| wrong());
        let (first, last) = (number(first)?, number(last)?);
        if first > last || last - first >= RANGE_MAX {
            return Err(wrong());
        }
        (first..=last).map(|number| peer(&format!("{before}{number}{after}"))).collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Result<Vec<String>, String> {
        let range: PeerRange = text.parse()?;
        Ok(PeerRange::peers(&[range]).iter().map(ToString::to_string).collect())
    }

    #[test]
    fn ranges_name_their_peers() {
        assert_eq!(names("bob").unwrap(), ["bob"]);
        assert_eq!(names("site-b-{8..11}").unwrap(), ["site-b-8", "site-b-9", "site-b-10", "site-b-11"]);
        assert_eq!(names("a{3..3}z").unwrap(), ["a3z"]);
        for text in [
            "",
            "a b",
            "a{1..}",
            "a{..2}",
            "a{2..1}",
            "a{1..2",
            "a{1-2}",
            "a{0..1000}",
            "a{1..2}{3..4}",
            "{1..4294967296}",
        ] {
            assert!(names(text).is_err(), "{text}");
        }
        let ranges: [PeerRange; 2] = ["a{1..2}".parse().unwrap(), "b".parse().unwrap()];
        assert_eq!(PeerRange::peers(&ranges).len(), 3);
    }

    #[test]
    fn rates_and_shares_read() {
        let rate: Rate = "5/s".parse().unwrap();
        assert_eq!((rate.begins(0), rate.begins(10)), (Duration::ZERO, Duration::from_secs(2)));
        assert_eq!("0.5".parse::<Rate>().unwrap().begins(1), Duration::from_secs(2));
        for text in ["", "0/s", "-1/s", "inf/s", "NaN", "5/m", "1e9/s"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
        let none: FailAbove = "0%".parse().unwrap();
        assert!(none.is_exceeded(1, 1000) && !none.is_exceeded(0, 1000));
        let some: FailAbove = "2.5%".parse().unwrap();
        assert!(some.is_exceeded(26, 1000) && !some.is_exceeded(25, 1000));
        assert_eq!(some.to_string(), "2.5%");
        for text in ["", "5", "-1%", "101%", "NaN%"] {
            assert!(text.parse::<FailAbove>().is_err(), "{text}");
        }
    }
}
