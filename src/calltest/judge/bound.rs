//! What a figure may be: `"<= 5%"`, `"115ms..125ms"`, `"0"`. Pure.
//!
//! A bound is written in the unit of its figure, so that nobody has to know in which one a figure is kept.

use std::fmt;

/// What a figure is measured in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Milliseconds; written `80ms` or `1.5s`.
    Time,
    /// A share from 0 to 1; written `5%`.
    Share,
    /// Bits a second; written `500kbit` or `1.5mbit`.
    Rate,
    /// Decibels; written `30dB`.
    Decibel,
    /// Bytes; written `80MB`.
    Bytes,
    /// A number by itself.
    Plain,
}

impl Unit {
    /// The names of the unit, each with what it stands for; the first that is not too small for a value is shown.
    const fn names(self) -> &'static [(&'static str, f64)] {
        match self {
            Self::Time => &[("s", 1000.0), ("ms", 1.0)],
            Self::Share => &[("%", 0.01)],
            Self::Rate => &[("mbit", 1e6), ("kbit", 1e3), ("bit", 1.0)],
            Self::Decibel => &[("dB", 1.0)],
            Self::Bytes => &[("GB", 1e9), ("MB", 1e6), ("kB", 1e3), ("B", 1.0)],
            Self::Plain => &[("", 1.0)],
        }
    }

    /// How a bound of this unit looks, for an error.
    pub(crate) const fn example(self) -> &'static str {
        match self {
            Self::Time => "\"<= 300ms\"",
            Self::Share => "\"<= 5%\"",
            Self::Rate => "\">= 300kbit\"",
            Self::Decibel => "\">= 30dB\"",
            Self::Bytes => "\"<= 80MB\"",
            Self::Plain => "\">= 25\"",
        }
    }

    /// A value as it was measured, with as many digits as tell something.
    pub(crate) fn show(self, value: f64) -> String {
        let (scaled, name) = self.scaled(value);
        let digits = match scaled.abs() {
            above if above >= 100.0 => 0,
            above if above >= 10.0 => 1,
            above if above >= 1.0 => 2,
            _ => 3,
        };
        format!("{}{name}", trimmed(format!("{scaled:.digits$}")))
    }

    /// A value as it was written.
    fn exact(self, value: f64) -> String {
        let (scaled, name) = self.scaled(value);
        format!("{}{name}", trimmed(format!("{scaled:.3}")))
    }

    fn scaled(self, value: f64) -> (f64, &'static str) {
        let names = self.names();
        let fits = |(_, scale): &&(&str, f64)| value.abs() >= *scale;
        let last = names[names.len() - 1];
        let (name, scale) = match self {
            // Times above a second are compared with times below it, so they stay in milliseconds for longer.
            Self::Time if value.abs() < 10_000.0 => last,
            _ => *names.iter().find(fits).unwrap_or(&last),
        };
        (value / scale, name)
    }

    /// Reads a value with its unit; zero needs none.
    fn read(self, text: &str) -> Option<f64> {
        let text = text.trim();
        let split = text.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '-' | '+'))).unwrap_or(text.len());
        let (number, unit) = (text[..split].parse::<f64>().ok()?, text[split..].trim());
        if !number.is_finite() {
            return None;
        }
        if unit.is_empty() && number == 0.0 {
            return Some(0.0);
        }
        let (_, scale) = self.names().iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
        Some(number * scale)
    }
}

/// Without zeros behind the point.
fn trimmed(number: String) -> String {
    if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.').to_owned() } else { number }
}

/// What a figure may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Bound {
    unit: Unit,
    limit: Limit,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Limit {
    AtMost(f64),
    Below(f64),
    AtLeast(f64),
    Above(f64),
    Exactly(f64),
    /// Both ends belong to it.
    Within(f64, f64),
}

/// Half the last digit that a figure is given with: 6 % is 0.06 in one sum and 0.060000000000000005 in another.
const ROUNDING: f64 = 1e-9;

impl Bound {
    /// Reads a bound of a figure in this unit.
    ///
    /// # Errors
    /// What is wrong with it, with an example.
    pub(crate) fn read(text: &str, unit: Unit) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?} is no bound of this figure; write e.g. {}, or a range as \"1..2\" with units",
                unit.example()
            )
        };
        let value = |text: &str| unit.read(text).ok_or_else(wrong);
        let text_ = text.trim();
        let limit = if let Some((low, high)) = text_.split_once("..") {
            let (low, high) = (value(low)?, value(high)?);
            if low > high {
                return Err(format!("the range {text:?} is empty; write the smaller value first"));
            }
            Limit::Within(low, high)
        } else if let Some(rest) = text_.strip_prefix("<=") {
            Limit::AtMost(value(rest)?)
        } else if let Some(rest) = text_.strip_prefix(">=") {
            Limit::AtLeast(value(rest)?)
        } else if let Some(rest) = text_.strip_prefix('<') {
            Limit::Below(value(rest)?)
        } else if let Some(rest) = text_.strip_prefix('>') {
            Limit::Above(value(rest)?)
        } else {
            Limit::Exactly(value(text_.strip_prefix("==").unwrap_or(text_))?)
        };
        Ok(Self { unit, limit })
    }

    /// True when the figure may be this.
    pub(crate) fn holds(&self, value: f64) -> bool {
        let near = |limit: f64| (value - limit).abs() <= ROUNDING * limit.abs().max(1.0);
        match self.limit {
            Limit::AtMost(limit) => value <= limit || near(limit),
            Limit::AtLeast(limit) => value >= limit || near(limit),
            Limit::Below(limit) => value < limit && !near(limit),
            Limit::Above(limit) => value > limit && !near(limit),
            Limit::Exactly(limit) => near(limit),
            Limit::Within(low, high) => (value >= low || near(low)) && (value <= high || near(high)),
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |value: f64| self.unit.exact(value);
        match self.limit {
            Limit::AtMost(limit) => write!(f, "<= {}", show(limit)),
            Limit::AtLeast(limit) => write!(f, ">= {}", show(limit)),
            Limit::Below(limit) => write!(f, "< {}", show(limit)),
            Limit::Above(limit) => write!(f, "> {}", show(limit)),
            Limit::Exactly(limit) => write!(f, "{}", show(limit)),
            Limit::Within(low, high) => write!(f, "{}..{}", show(low), show(high)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_hold_what_they_say_and_nothing_else() {
        for (text, unit, inside, outside) in [
            ("<= 5%", Unit::Share, [0.0, 0.05], [0.0501, 1.0]),
            ("<5%", Unit::Share, [0.0, 0.0499], [0.05, 1.0]),
            (">= 1.5s", Unit::Time, [1500.0, 9999.0], [1499.0, 0.0]),
            ("> 0", Unit::Plain, [0.1, 1.0], [0.0, -1.0]),
            ("115ms..125ms", Unit::Time, [115.0, 125.0], [114.9, 125.1]),
            ("-60ms..40 ms", Unit::Time, [-60.0, 0.0], [-61.0, 41.0]),
            ("500kbit..1.5mbit", Unit::Rate, [500e3, 1.5e6], [499e3, 1.6e6]),
            ("0", Unit::Time, [0.0, 0.0], [1.0, -1.0]),
            ("== 3", Unit::Plain, [3.0, 3.0], [2.0, 3.1]),
            ("30dB..40db", Unit::Decibel, [30.0, 40.0], [29.0, 41.0]),
            ("<= 80MB", Unit::Bytes, [80e6, 0.0], [81e6, 1e9]),
        ] {
            let bound = Bound::read(text, unit).unwrap();
            for value in inside {
                assert!(bound.holds(value), "{text} {value}");
            }
            for value in outside {
                assert!(!bound.holds(value), "{text} {value}");
            }
            assert_eq!(Bound::read(&bound.to_string(), unit), Ok(bound), "{text}");
        }
    }

    #[test]
    fn what_is_no_bound_is_refused_with_an_example() {
        for (text, unit) in [
            ("", Unit::Plain),
            ("fast", Unit::Time),
            ("<= 5", Unit::Share),
            ("300", Unit::Time),
            ("<= 5%", Unit::Time),
            ("1s..", Unit::Time),
            ("=> 3", Unit::Plain),
            ("NaN", Unit::Plain),
            ("inf", Unit::Plain),
        ] {
            let error = Bound::read(text, unit).unwrap_err();
            assert!(error.contains(unit.example()), "{text}: {error}");
        }
        assert!(Bound::read("2s..1s", Unit::Time).unwrap_err().contains("empty"));
    }

    #[test]
    fn values_show_with_as_many_digits_as_tell() {
        for (value, unit, text) in [
            (123.456, Unit::Time, "123ms"),
            (4.25, Unit::Time, "4.25ms"),
            (12_000.0, Unit::Time, "12s"),
            (30.0971, Unit::Plain, "30.1"),
            (43.2991, Unit::Time, "43.3ms"),
            (0.0512, Unit::Share, "5.12%"),
            (512_000.0, Unit::Rate, "512kbit"),
            (1_500_000.0, Unit::Rate, "1.5mbit"),
            (3.0, Unit::Plain, "3"),
            (0.0, Unit::Share, "0%"),
        ] {
            assert_eq!(unit.show(value), text);
        }
    }
}
