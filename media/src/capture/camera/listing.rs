//! Which cameras there are and what they offer.

use std::sync::mpsc::sync_channel;
use std::time::Duration;

use nokhwa::utils::{CameraFormat, CameraInfo};
use serde::Serialize;

use super::{OPEN_PATIENCE, ask_permission, has_no_pictures, infos, probe, reason};
use crate::threads::join_or_leave;
use network::system_error::in_words;

/// One camera.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Camera {
    /// The number to name it by, on Linux N of `/dev/videoN`.
    pub index: String,
    /// What the driver calls it.
    pub name: String,
    /// What it offers, for example `640x480 at 30, 15 fps, YUYV`, largest picture first.
    pub formats: Vec<String>,
    /// Why it could not be opened.
    pub error: Option<String>,
}

/// Lists cameras that give pictures, with what they offer.
///
/// # Errors
/// The system's reason when it cannot list any.
pub(crate) fn list() -> Result<Vec<Camera>, String> {
    ask_permission()?;
    // A driver that hangs while it is asked must not hang the listing.
    let (done, listed) = sync_channel(1);
    let thread = std::thread::Builder::new()
        .name("camera-list".to_owned())
        .spawn(move || drop(done.send(infos().map(|infos| infos.iter().filter_map(examine).collect()))))
        .map_err(|error| in_words(&error))?;
    let cameras = listed.recv_timeout(OPEN_PATIENCE);
    join_or_leave(thread, Duration::from_millis(100), "camera list");
    cameras.unwrap_or_else(|_| Err("a camera driver does not answer".to_owned()))
}

/// Opens one camera for a moment. `None` for nodes without pictures: on Linux every webcam has one for metadata.
fn examine(info: &CameraInfo) -> Option<Camera> {
    let (formats, error) = match probe(info.index()).and_then(|mut camera| camera.compatible_camera_formats()) {
        Ok(formats) => (describe_formats(formats), None),
        Err(error) if has_no_pictures(&error) => return None,
        Err(error) => (Vec::new(), Some(reason(&error))),
    };
    Some(Camera { index: info.index().as_string(), name: info.human_name(), formats, error })
}

/// One line a size and format, largest size first, with every rate in it.
fn describe_formats(mut formats: Vec<CameraFormat>) -> Vec<String> {
    let key = |format: &CameraFormat| (format.width() * format.height(), format.width(), format.format());
    formats.sort_by_key(|format| std::cmp::Reverse((key(format), format.frame_rate())));
    formats.dedup();
    formats
        .chunk_by(|a, b| key(a) == key(b))
        .map(|group| {
            let rates: Vec<String> = group.iter().map(|format| format.frame_rate().to_string()).collect();
            format!("{} at {} fps, {}", group[0].resolution(), rates.join(", "), group[0].format())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use nokhwa::utils::FrameFormat;

    use super::*;

    #[test]
    fn formats_are_listed_one_line_a_size() {
        let new = CameraFormat::new_from;
        let formats = vec![
            new(320, 240, FrameFormat::YUYV, 30),
            new(640, 480, FrameFormat::YUYV, 15),
            new(640, 480, FrameFormat::MJPEG, 30),
            new(640, 480, FrameFormat::YUYV, 30),
        ];
        let lines = describe_formats(formats);
        assert_eq!(lines.len(), 3);
        assert!(lines.contains(&"640x480 at 30, 15 fps, YUYV".to_owned()), "{lines:?}");
        assert!(lines[2].starts_with("320x240"));
    }
}
