//! The one time line of a recording.

use std::time::Duration;

/// Least distance of two packets of one track in the file: WebM counts milliseconds, and players want rising times.
const STEP_MIN: Duration = Duration::from_millis(1);

/// Brings the times of both tracks onto one line that starts at 0 and rises in each track.
#[derive(Debug, Default)]
pub(super) struct TimeLine {
    /// When the first packet was shown or heard; `None` before it.
    pub(super) start: Option<Duration>,
    last_video: Option<Duration>,
    last_audio: Option<Duration>,
}

impl TimeLine {
    /// The time in the file of a picture.
    pub(super) fn video(&mut self, pts: Duration) -> Duration {
        let start = *self.start.get_or_insert(pts);
        Self::rise(&mut self.last_video, pts.saturating_sub(start))
    }

    /// The time in the file of a packet of sound.
    pub(super) fn audio(&mut self, pts: Duration) -> Duration {
        let start = *self.start.get_or_insert(pts);
        Self::rise(&mut self.last_audio, pts.saturating_sub(start))
    }

    fn rise(last: &mut Option<Duration>, pts: Duration) -> Duration {
        let pts = last.map_or(pts, |last| pts.max(last.saturating_add(STEP_MIN)));
        *last = Some(pts);
        pts
    }
}
