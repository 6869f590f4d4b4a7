//! This machine's clock: time-limited TURN logins, certificates and figures of latency depend on it.
//!
//! Compared with the time that brokers over WebSocket tell (an HTTP `Date`); MQTT, STUN and TURN tell none. Without
//! one it can only be said whether the time is a plausible one.

use tokio::sync::mpsc;

use super::{Finding, Look, calendar};
use crate::platform::clock::unix_ms;

/// This program is not older, and is not meant to be used for so long: 2025-01-01 to 2100-01-01.
const PLAUSIBLE: std::ops::Range<i64> = 1_735_689_600..4_102_444_800;

/// A difference that the rounding of HTTP dates and a slow line explain.
const NEAR: i64 = 5;

/// The clock of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ServerTime {
    /// Whose.
    pub(super) server: String,
    /// How far it is ahead of ours, seconds.
    pub(super) ahead: i64,
}

/// Judges by whatever the brokers have `told` when all have been looked at.
pub(super) async fn check(mut told: mpsc::Receiver<ServerTime>) -> Finding {
    let mut times = Vec::new();
    while let Some(time) = told.recv().await {
        times.push(time);
    }
    judge(Look::at("clock"), i64::try_from(unix_ms() / 1000).unwrap_or(i64::MAX), &times)
}

fn judge(look: Look, now: i64, times: &[ServerTime]) -> Finding {
    let set = "set it; with systemd: timedatectl set-ntp true";
    let time = calendar::date_time(now);
    let farthest = times.iter().max_by_key(|time| time.ahead.unsigned_abs());
    match farthest {
        Some(farthest) if farthest.ahead.abs() > NEAR => {
            let apart = farthest.ahead.unsigned_abs();
            let side = if farthest.ahead > 0 { "behind" } else { "ahead of" };
            look.warning(format!("{time}, {apart} s {side} {}", farthest.server), set)
        }
        Some(near) => look.ok(format!("{time}, as at {}", near.server)),
        None if PLAUSIBLE.contains(&now) => {
            look.ok(format!("{time}: plausible, but nothing here tells the time to compare"))
        }
        None => {
            look.warning(format!("{time} is not plausible: time-limited TURN logins and certificates will fail"), set)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_795_611_909;

    fn judged(now: i64, ahead: &[i64]) -> Finding {
        let times: Vec<_> =
            ahead.iter().map(|ahead| ServerTime { server: "ws://h:80/mqtt".into(), ahead: *ahead }).collect();
        judge(Look::at("clock"), now, &times)
    }

    #[test]
    fn a_clock_is_compared_where_something_tells_the_time() {
        let found = judged(NOW, &[1, -2]);
        assert_eq!((found.status(), found.detail.contains("as at ws://h:80/mqtt")), ("ok", true), "{found:?}");
        let found = judged(NOW, &[1, -90]);
        assert_eq!((found.status(), found.detail.contains("90 s ahead of")), ("warning", true), "{found:?}");
        assert!(judged(NOW, &[3600]).detail.contains("3600 s behind"));
    }

    #[test]
    fn without_comparison_it_is_plausible_at_best() {
        let found = judged(NOW, &[]);
        assert_eq!((found.status(), found.detail.contains("plausible, but nothing")), ("ok", true), "{found:?}");
        assert_eq!(judged(0, &[]).status(), "warning");
        assert_eq!(judged(i64::from(u32::MAX), &[]).status(), "warning");
    }
}
