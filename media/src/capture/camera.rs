//! The camera: pictures from a V4L2, AVFoundation or Media Foundation device as I420.
//!
//! Owns the device and two threads: one that only waits for the device, which has no time-out of its own, and one
//! that converts. When a camera stalls, the first is left behind with a log line, so that hanging up always works.
//!
//! - device thread: driver → raw pictures → queue (full: drops the oldest)
//! - capture thread: raw picture → [`convert`] → [`VideoFrame`] → queue

use std::panic::catch_unwind;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, channel, sync_channel};
use std::time::{Duration, Instant};

use nokhwa::utils::{
    ApiBackend, CameraFormat, CameraIndex, CameraInfo, FrameFormat, RequestedFormat, RequestedFormatType,
};
use nokhwa::{Buffer, NokhwaError};

use super::{Capture, CaptureError, StopFlag, VideoFormat};
use crate::frame::VideoFrame;
use crate::queue;
use crate::threads::{join_or_leave, wait_for_ended};
use network::system_error::{in_words, without_number};

mod convert;
mod listing;

pub use listing::Camera;
pub(crate) use listing::list;

/// The thread that converts pictures and waits for the device to be closed.
const THREAD: &str = "camera";

/// Raw pictures that wait for conversion: one in work, one waiting, older ones are stale.
const RAW_QUEUE: usize = 2;

/// How long a camera may take to start; some firmware needs seconds.
const OPEN_PATIENCE: Duration = Duration::from_secs(10);

/// How long a person may take to answer the system's question about camera access (macOS).
const PERMISSION_PATIENCE: Duration = Duration::from_secs(60);

/// How long a stopped camera may take to give its last picture; one a second is the slowest rate in use.
const STOP_PATIENCE: Duration = Duration::from_millis(1_500);

/// A camera that gives nothing for this long is reported, once.
const STALLED_AFTER: Duration = Duration::from_secs(3);

/// Read errors in a row after which the camera counts as gone.
const ERRORS_MAX: u32 = 20;

/// How long to wait after a read error.
const ERROR_PAUSE: Duration = Duration::from_millis(50);

/// Formats tried before whatever the camera happens to be set to is taken.
const FORMAT_TRIES: usize = 5;

/// Opens a camera, the first that works when `name` is `None`, and sends its pictures until dropped.
/// `name` is an index or, whatever the case, a part of the device's name.
///
/// # Errors
/// [`CaptureError::Device`] when there is none or it cannot be opened.
pub(super) fn open(
    name: Option<&str>,
    format: VideoFormat,
    out: queue::Sender<Arc<VideoFrame>>,
) -> Result<Capture, CaptureError> {
    ask_permission().map_err(|reason| unavailable(&reason))?;
    wait_for_ended(THREAD, STOP_PATIENCE + Duration::from_millis(100));
    let wanted = name.map(str::to_owned);
    let (raw, pictures) = queue::bounded(RAW_QUEUE);
    let (ready, opened) = sync_channel(1);
    let device = std::thread::Builder::new()
        .name("camera-device".to_owned())
        .spawn(move || run_device(wanted.as_deref(), format, &ready, &raw))
        .map_err(|error| unavailable(&in_words(&error)))?;
    let description = match opened.recv_timeout(OPEN_PATIENCE) {
        Ok(Ok(description)) => description,
        Ok(Err(reason)) => return Err(unavailable(&reason)),
        // The thread is left inside the driver; it closes the camera when that answers, for nobody listens.
        Err(_) => return Err(unavailable("the camera does not answer")),
    };
    Capture::spawn(THREAD, description, move |stop| {
        forward(&pictures, &out, &stop);
        drop(pictures);
        join_or_leave(device, STOP_PATIENCE, "camera");
    })
    .map_err(|error| unavailable(&in_words(&error)))
}

fn unavailable(reason: &str) -> CaptureError {
    CaptureError::Device(format!("{reason}; run \"tring devices\", or pass --video test or --video none"))
}

/// Waits until the system lets us use cameras; only macOS asks.
fn ask_permission() -> Result<(), String> {
    let (answer, answered) = channel();
    nokhwa::nokhwa_initialize(move |granted| {
        // Somebody who stopped waiting needs no answer.
        answer.send(granted).unwrap_or_default();
    });
    match answered.recv_timeout(PERMISSION_PATIENCE) {
        Ok(true) => Ok(()),
        Ok(false) | Err(_) => Err("this program may not use the camera; allow it in the system's settings".to_owned()),
    }
}

/// Every video node, by index.
fn infos() -> Result<Vec<CameraInfo>, String> {
    // The V4L2 library panics on oddly named nodes in /dev.
    let mut infos = catch_unwind(|| nokhwa::query(ApiBackend::Auto))
        .map_err(|_| "the camera library cannot read the list of devices".to_owned())?
        .map_err(|error| reason(&error))?;
    infos.sort_by_key(|info| info.index().clone());
    Ok(infos)
}

/// Opens the node in the first format it offers. That may be 320x180 once a second, so a better one has to be chosen.
fn probe(index: &CameraIndex) -> Result<nokhwa::Camera, NokhwaError> {
    let any = RequestedFormat::with_formats(RequestedFormatType::None, nokhwa::utils::frame_formats());
    nokhwa::Camera::new(index.clone(), any)
}

/// True for the error of [`probe`] on a node that offers no picture format at all.
fn has_no_pictures(error: &NokhwaError) -> bool {
    matches!(error, NokhwaError::GetPropertyError { property, .. } if property == "CameraFormat")
}

/// A camera error as the tail of one of our texts. The library passes the system's errors on as text only.
fn reason(error: &NokhwaError) -> String {
    let text = error.to_string();
    if cfg!(target_os = "linux") && text.contains("(os error 16)") {
        "another program uses it".to_owned()
    } else if cfg!(target_os = "linux") && text.contains("(os error 13)") {
        "this user may not use it; see the group \"video\"".to_owned()
    } else {
        without_number(&text)
    }
}

/// A raw picture and when it came.
struct Raw {
    buffer: Buffer,
    at: Instant,
}

/// The device thread: opens the camera, says so, and reads until nobody listens any more or the camera is gone.
fn run_device(
    wanted: Option<&str>,
    format: VideoFormat,
    ready: &SyncSender<Result<String, String>>,
    raw: &queue::Sender<Raw>,
) {
    let mut camera = match open_wanted(wanted, format) {
        Ok((camera, name)) => {
            if ready.send(Ok(name)).is_err() {
                return;
            }
            camera
        }
        // Nobody waits any more when this cannot be sent.
        Err(reason) => return drop(ready.send(Err(reason))),
    };
    let mut errors = 0;
    while errors < ERRORS_MAX {
        match camera.frame() {
            Ok(buffer) => {
                errors = 0;
                if !raw.send(Raw { buffer, at: Instant::now() }) {
                    break;
                }
            }
            Err(error) => {
                errors += 1;
                tracing::debug!(%error, "camera gave no picture");
                std::thread::sleep(ERROR_PAUSE);
            }
        }
    }
    if errors == ERRORS_MAX {
        tracing::warn!("camera lost");
    }
    if let Err(error) = camera.stop_stream() {
        tracing::debug!(%error, "camera does not stop cleanly");
    }
}

/// The capture thread: converts what comes until it is stopped, the camera is gone or nobody listens any more.
fn forward(pictures: &queue::Receiver<Raw>, out: &queue::Sender<Arc<VideoFrame>>, stop: &StopFlag) {
    let mut last = Instant::now();
    let mut broken: u64 = 0;
    while !stop.is_set() {
        let Raw { buffer, at } = match pictures.recv_timeout(Duration::from_millis(100)) {
            Ok(raw) => raw,
            Err(queue::RecvError::Closed) => break,
            Err(queue::RecvError::Timeout) => {
                if last.elapsed() >= STALLED_AFTER {
                    tracing::warn!("camera gives no pictures");
                    last += Duration::from_secs(3_600);
                }
                continue;
            }
        };
        last = Instant::now();
        let size = (buffer.resolution().width(), buffer.resolution().height());
        match convert::to_i420(buffer.source_frame_format(), size, buffer.buffer(), at) {
            Ok(frame) => {
                if !out.send(Arc::new(frame)) {
                    break;
                }
            }
            Err(error) => {
                // The first picture after the start is often cut short; the rest of a bad cable would flood the log.
                broken += 1;
                if broken.is_power_of_two() {
                    tracing::debug!(%error, broken, "camera picture skipped");
                }
            }
        }
    }
}

/// Opens the first camera that `wanted` names and that works, streaming in the closest format.
fn open_wanted(wanted: Option<&str>, format: VideoFormat) -> Result<(nokhwa::Camera, String), String> {
    let infos = infos()?;
    let mut first_reason = None;
    for info in infos.iter().filter(|info| is_wanted(&info.index().as_string(), &info.human_name(), wanted)) {
        match open_index(info.index(), format) {
            Ok(camera) => {
                let name = info.human_name();
                tracing::debug!(%name, index = %info.index(), format = %camera.camera_format(), "camera open");
                return Ok((camera, name));
            }
            Err(error) if has_no_pictures(&error) => {}
            Err(error) => {
                first_reason.get_or_insert(format!(
                    "camera {:?} cannot be opened: {}",
                    info.human_name(),
                    reason(&error)
                ));
            }
        }
    }
    Err(first_reason.unwrap_or_else(|| match wanted {
        Some(name) if !infos.is_empty() => format!("no camera has index or name {name:?}"),
        _ => "no camera found".to_owned(),
    }))
}

fn is_wanted(index: &str, name: &str, wanted: Option<&str>) -> bool {
    wanted.is_none_or(|wanted| {
        // A number is an index and nothing else: "2" must not find "Webcam C920".
        let is_index = wanted.bytes().all(|byte| byte.is_ascii_digit());
        if is_index { index == wanted } else { name.to_lowercase().contains(&wanted.to_lowercase()) }
    })
}

fn open_index(index: &CameraIndex, wanted: VideoFormat) -> Result<nokhwa::Camera, NokhwaError> {
    let mut camera = probe(index)?;
    let formats = by_closeness(camera.compatible_camera_formats()?, wanted);
    let mut chosen = false;
    for format in formats.into_iter().take(FORMAT_TRIES) {
        let exactly = RequestedFormat::with_formats(RequestedFormatType::Exact(format), nokhwa::utils::frame_formats());
        chosen = camera.camera_format() == format || camera.set_camera_requset(exactly).is_ok();
        if chosen {
            break;
        }
        tracing::debug!(%format, "camera refuses a format it offers");
    }
    if !chosen {
        // The driver set something else than asked; its pictures have to be read as what they are.
        camera.refresh_camera_format()?;
    }
    camera.open_stream()?;
    Ok(camera)
}

/// Formats in the order in which they suit: colour, not far too slow, size, rate, cheap to convert.
fn by_closeness(mut formats: Vec<CameraFormat>, wanted: VideoFormat) -> Vec<CameraFormat> {
    formats.retain(|format| format.width() >= 2 && format.height() >= 2 && format.frame_rate() > 0);
    formats.sort_by_key(|format| {
        let fps = format.frame_rate();
        let size = wanted.size.width.abs_diff(format.width()) + wanted.size.height.abs_diff(format.height());
        let cost = match format.format() {
            FrameFormat::YUYV | FrameFormat::NV12 | FrameFormat::GRAY => 0,
            FrameFormat::RAWRGB | FrameFormat::RAWBGR => 1,
            FrameFormat::MJPEG => 2,
        };
        let too_slow = fps.saturating_mul(2) < wanted.fps;
        let missing = wanted.fps.saturating_sub(fps);
        (format.format() == FrameFormat::GRAY, too_slow, size, missing, fps.saturating_sub(wanted.fps), cost)
    });
    formats.dedup();
    formats
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Size;

    const WANTED: VideoFormat = VideoFormat { size: Size { width: 1280, height: 720 }, fps: 30 };

    #[test]
    fn the_closest_format_is_in_colour_fast_enough_and_near_in_size() {
        let new = CameraFormat::new_from;
        let best = |formats: &[CameraFormat]| by_closeness(formats.to_vec(), WANTED)[0];
        let slow = new(1280, 720, FrameFormat::YUYV, 10);
        let jpeg = new(1280, 720, FrameFormat::MJPEG, 30);
        let small = new(640, 480, FrameFormat::YUYV, 30);
        let grey = new(1280, 720, FrameFormat::GRAY, 30);
        assert_eq!(best(&[grey, small, slow, jpeg]), jpeg);
        assert_eq!(best(&[grey, small, slow]), small);
        assert_eq!(best(&[grey, slow]), slow);
        let cheap = new(1280, 720, FrameFormat::NV12, 30);
        assert_eq!(best(&[jpeg, cheap]), cheap);
        let rates = [60, 25, 20].map(|fps| new(1280, 720, FrameFormat::YUYV, fps));
        assert_eq!(best(&rates), rates[0], "too fast is better than too slow");
        assert!(by_closeness(vec![new(0, 0, FrameFormat::YUYV, 30)], WANTED).is_empty());
    }

    #[test]
    fn a_number_names_an_index_and_a_word_a_part_of_the_name() {
        assert!(is_wanted("2", "Webcam C920", Some("2")));
        assert!(!is_wanted("0", "Webcam C920", Some("2")));
        assert!(is_wanted("0", "Webcam C920", Some("webcam c")));
        assert!(!is_wanted("0", "Webcam C920", Some("vivid")));
        assert!(is_wanted("0", "Webcam C920", None));
    }

    #[test]
    fn a_camera_that_does_not_exist_says_what_to_try() {
        let (out, _frames) = queue::bounded(1);
        let error = open(Some("no such camera anywhere"), WANTED, out).unwrap_err().to_string();
        assert!(error.contains("tring devices") && error.contains("--video test"), "{error}");
    }
}
