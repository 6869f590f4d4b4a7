//! Dates as people and HTTP write them, in UTC. Pure.

/// Seconds of a day.
const DAY: i64 = 24 * 3600;

/// `2026-11-25`, of a Unix time.
pub(super) fn date(unix: i64) -> String {
    let (year, month, day) = civil(unix.div_euclid(DAY));
    format!("{year:04}-{month:02}-{day:02}")
}

/// `2026-11-25 13:05:09 UTC`, of a Unix time.
pub(super) fn date_time(unix: i64) -> String {
    let second = unix.rem_euclid(DAY);
    format!("{} {:02}:{:02}:{:02} UTC", date(unix), second / 3600, second / 60 % 60, second % 60)
}

/// The Unix time of an HTTP `Date`, `Wed, 25 Nov 2026 13:05:09 GMT` (RFC 9110 §5.6.7, the one form servers may send).
pub(super) fn from_http(text: &str) -> Option<i64> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (_weekday, rest) = text.split_once(", ")?;
    let [day, month, year, time, "GMT"] = rest.split(' ').collect::<Vec<_>>()[..] else { return None };
    let month = MONTHS.iter().position(|name| *name == month)?;
    let [hour, minute, second] = time.split(':').map(bounded).collect::<Option<Vec<i64>>>()?[..] else { return None };
    let days = days(bounded(year)?, i64::try_from(month).ok()? + 1, bounded(day)?);
    Some(days * DAY + hour * 3600 + minute * 60 + second)
}

/// A number short enough that no sum of it overflows.
fn bounded(digits: &str) -> Option<i64> {
    (digits.len() <= 4).then(|| digits.parse().ok()).flatten()
}

/// Year, month and day of the days since 1970 (Howard Hinnant, "chrono-compatible low-level date algorithms").
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// The days since 1970 of a date; the same source.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_system() {
        // date -u -d @N '+%F %T'
        for (unix, expected) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_399, "2000-02-28 23:59:59 UTC"),
            (951_868_799, "2000-02-29 23:59:59 UTC"),
            (1_795_611_909, "2026-11-25 13:05:09 UTC"),
            (-1, "1969-12-31 23:59:59 UTC"),
        ] {
            assert_eq!(date_time(unix), expected);
        }
    }

    #[test]
    fn http_dates_read_and_nonsense_does_not() {
        assert_eq!(from_http("Wed, 25 Nov 2026 13:05:09 GMT"), Some(1_795_611_909));
        assert_eq!(from_http("Tue, 29 Feb 2000 23:59:59 GMT"), Some(951_868_799));
        for text in ["", "Wed, 25 Nov 2026 13:05:09 CET", "Wed, 25 Foo 2026 13:05:09 GMT", "Wed, 25 Nov 2026 13:05 GMT"]
        {
            assert_eq!(from_http(text), None, "{text}");
        }
        assert_eq!(from_http("Wed, 25 Nov 99999999999999 13:05:09 GMT"), None);
    }
}
