//! From words to values.

use std::time::Duration;

use media::frame::{Size, VideoCodec};
use signalling::call::ANSWER_MAX;

pub(crate) fn parse_time(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let scale = match unit {
        "ms" => 0.001,
        "s" | "" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(format!("unknown unit {unit:?}; use ms, s, m or h")),
    };
    match number.parse::<f64>() {
        Ok(value) if value > 0.0 && value * scale <= 7.0 * 24.0 * 3600.0 => Ok(Duration::from_secs_f64(value * scale)),
        _ => Err("use a time above 0 and up to a week, as 500ms, 10s, 5m or 2h".into()),
    }
}

pub(crate) fn parse_ringing(text: &str) -> Result<Duration, String> {
    let time = parse_time(text)?;
    if time <= ANSWER_MAX { Ok(time) } else { Err("nobody rings longer than 2m".into()) }
}

/// Shorter ones may expire before the server has read them, or by the difference of two clocks.
const LOGIN_LIFETIME_MIN: Duration = Duration::from_secs(10);

pub(crate) fn parse_login_lifetime(text: &str) -> Result<Duration, String> {
    let time = parse_time(text)?;
    if time >= LOGIN_LIFETIME_MIN {
        Ok(time)
    } else {
        Err("use at least 10s: clocks differ, and calls take time to begin".into())
    }
}

pub(crate) fn parse_size(text: &str) -> Result<Size, String> {
    let wrong = || "use WIDTHxHEIGHT, both even, from 64x48 to 1920x1080".to_owned();
    let (width, height) = text.split_once('x').ok_or_else(wrong)?;
    let (width, height) = (width.parse().map_err(|_| wrong())?, height.parse().map_err(|_| wrong())?);
    let fits = (64..=1920).contains(&width) && (48..=1080).contains(&height);
    if fits && width % 2 == 0 && height % 2 == 0 { Ok(Size { width, height }) } else { Err(wrong()) }
}

pub(crate) fn parse_codec(text: &str) -> Result<VideoCodec, String> {
    match text.to_ascii_lowercase().as_str() {
        "h264" => Ok(VideoCodec::H264),
        "vp8" => Ok(VideoCodec::Vp8),
        _ => Err("use h264 or vp8".into()),
    }
}

/// Sealing cannot be switched off; that it is on may be said.
pub(crate) fn parse_seal(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => {
            Err("calls are sealed wherever the other side can; pass --plain (plain = true) to speak also to programs that cannot"
                .into())
        }
        _ => Err("use true, or leave it out: calls are sealed anyway".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sealing_can_be_named_and_not_switched_off() {
        assert_eq!(parse_seal("true"), Ok(true));
        assert!(parse_seal("false").unwrap_err().contains("--plain"));
        assert!(parse_seal("perhaps").is_err());
    }

    #[test]
    fn times_and_sizes_read() {
        assert_eq!(parse_time("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_time("1.5m"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_time("10"), Ok(Duration::from_secs(10)));
        for text in ["", "0s", "-1s", "1y", "s", "inf", "NaN", "1e30h"] {
            assert!(parse_time(text).is_err(), "{text}");
        }
        assert_eq!(parse_login_lifetime("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(parse_login_lifetime("168h"), Ok(Duration::from_secs(7 * 24 * 3600)));
        for (text, words) in [("9s", "at least 10s"), ("169h", "up to a week"), ("x", "unknown unit")] {
            assert!(parse_login_lifetime(text).unwrap_err().contains(words), "{text}");
        }
        assert_eq!(parse_size("640x480"), Ok(Size { width: 640, height: 480 }));
        for text in ["640", "641x480", "2x2", "9999x9999", "x", "-2x-2"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }
}
