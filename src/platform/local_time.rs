//! Moments as the clock on the wall shows them.
//!
//! The time zone is that of `TZ`, else the system's; where neither can be read it is UTC, and says so.

use tz::{DateTime, TimeZone};

/// A moment (Unix time in ms) as `2026-11-25 14:03`.
pub(crate) fn date_and_time(unix_ms: u64) -> String {
    let (zone, name) = zone();
    let Some(at) = at(unix_ms, &zone) else { return "?".to_owned() };
    format!("{:04}-{:02}-{:02} {}", at.year(), at.month(), at.month_day(), clock(&at, name))
}

/// The same as `14:03`.
pub(crate) fn time(unix_ms: u64) -> String {
    let (zone, name) = zone();
    at(unix_ms, &zone).map_or_else(|| "?".to_owned(), |at| clock(&at, name))
}

fn clock(at: &DateTime, zone: &str) -> String {
    format!("{:02}:{:02}{zone}", at.hour(), at.minute())
}

/// The zone, and what is to be said of it.
fn zone() -> (TimeZone, &'static str) {
    let named = std::env::var("TZ").ok().filter(|name| !name.is_empty());
    let found = named.map_or_else(TimeZone::local, |name| TimeZone::from_posix_tz(&name));
    found.map_or_else(|_unreadable| (TimeZone::utc(), " UTC"), |zone| (zone, ""))
}

/// `None` beyond the years that can be told.
fn at(unix_ms: u64, zone: &TimeZone) -> Option<DateTime> {
    DateTime::from_timespec(i64::try_from(unix_ms / 1000).ok()?, 0, zone.as_ref()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_has_its_offset_and_its_summer() {
        let zone = TimeZone::from_posix_tz("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let shown = |unix_ms| at(unix_ms, &zone).map(|at| (at.month(), at.month_day(), clock(&at, "")));
        assert_eq!(shown(1_700_000_000_000), Some((11, 14, "23:13".to_owned())));
        assert_eq!(shown(1_690_000_000_000), Some((7, 22, "06:26".to_owned())));
    }

    #[test]
    fn a_moment_has_a_date() {
        let text = date_and_time(1_700_000_000_000);
        assert!(text.starts_with("2023-11-1") && text.contains(':'), "{text}");
    }
}
