//! Where the partner's picture is shown: a window, the terminal, or nowhere.
//!
//! Owns what both views share: which one suits this machine, what they report, and where a picture goes on a surface.
//!
//! - queues of pictures → [`Pictures`] → [`window`] or [`terminal`]
//! - keys and the close button → [`DisplayEvent`] → the caller

use std::io::IsTerminal;
use std::str::FromStr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::frame::{Size, VideoFrame};
use crate::queue::{self, RecvError};

pub mod cells;
pub mod labels;
mod raw_terminal;
pub mod terminal;
#[cfg(unix)]
pub mod tty;
pub mod window;

pub use labels::{Labels, Own};
pub use terminal::Terminal;
pub use window::{Window, WindowClient, WindowHost};

/// How the call is shown: `window`, `terminal`, `none`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Show {
    /// A window on the desktop.
    Window,
    /// Coloured half blocks in the terminal this program runs in.
    Terminal,
    /// Not at all.
    None,
}

/// A view text on the command line that means nothing.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown view {text:?}; use one of window, terminal, none")]
pub struct UnknownShow {
    text: String,
}

impl FromStr for Show {
    type Err = UnknownShow;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "window" => Ok(Self::Window),
            "terminal" => Ok(Self::Terminal),
            "none" => Ok(Self::None),
            _ => Err(UnknownShow { text: text.to_owned() }),
        }
    }
}

impl Show {
    /// What suits this machine: a window where there is a desktop, else the terminal where standard output is one.
    #[must_use]
    pub fn best() -> Self {
        if desktop().is_some() {
            Self::Window
        } else if std::io::stdout().is_terminal() {
            Self::Terminal
        } else {
            Self::None
        }
    }
}

/// The desktop this process belongs to, for people; `None` without one. Does not try to reach it.
pub(crate) fn desktop() -> Option<String> {
    if cfg!(any(target_os = "macos", target_os = "windows")) {
        return Some("desktop".to_owned());
    }
    let named = |variable: &str| std::env::var(variable).ok().filter(|value| !value.is_empty());
    let wayland = named("WAYLAND_DISPLAY").map(|name| format!("Wayland {name}"));
    wayland.or_else(|| named("DISPLAY").map(|name| format!("X11 {name}")))
}

/// What the person in front of the picture did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DisplayEvent {
    /// The close button, q or Escape. The view stays until its owner drops it.
    CloseRequested,
    /// Something else took the view away: another program closed the window, or the desktop failed.
    Gone,
    /// Ctrl-C, which the terminal hands on as a key while the view has it.
    Interrupted,
    /// Any other character key.
    Key(char),
}

/// A view could not be opened. The text says what to try.
#[derive(Debug, thiserror::Error)]
pub enum DisplayError {
    /// There is no desktop, or it refuses.
    #[error("no window can be opened: {0}; pass --show terminal or --show none")]
    NoWindow(String),
    /// There is no terminal, or it refuses.
    #[error("the terminal cannot be used for pictures: {0}; pass --show window or --show none")]
    NoTerminal(String),
}

/// The streams of pictures a view draws; shared, so that another view can go on with them when one is gone.
#[derive(Debug)]
pub struct Pictures {
    remote: queue::Receiver<Arc<VideoFrame>>,
    own: Option<queue::Receiver<Arc<VideoFrame>>>,
}

impl Pictures {
    /// Shows the partner's pictures only.
    #[must_use]
    pub fn new(remote: queue::Receiver<Arc<VideoFrame>>) -> Self {
        Self { remote, own: None }
    }

    /// Shows one's own camera as well, small in a corner.
    #[must_use]
    pub fn with_own(self, own: queue::Receiver<Arc<VideoFrame>>) -> Self {
        Self { own: Some(own), ..self }
    }

    /// Waits up to `patience` for a picture and puts the newest ones into `scene`; says whether any came.
    fn refresh(&self, scene: &mut Scene, patience: Duration) -> Refreshed {
        let remote = match self.remote.recv_timeout(patience) {
            // Only the newest counts.
            Ok(frame) => Some(self.remote.latest().unwrap_or(frame)),
            Err(RecvError::Timeout) => None,
            Err(RecvError::Closed) => {
                // The partner's stream is over, the view stays until its owner drops it.
                std::thread::sleep(patience);
                None
            }
        };
        let own = self.own.as_ref().and_then(queue::Receiver::latest);
        if remote.is_none() && own.is_none() {
            return Refreshed::Same;
        }
        scene.remote = remote.or_else(|| scene.remote.take());
        scene.own = own.or_else(|| scene.own.take());
        Refreshed::Moved
    }
}

/// What [`Pictures::refresh`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refreshed {
    Same,
    Moved,
}

/// What is shown right now.
#[derive(Clone, Debug, Default)]
pub struct Scene {
    /// The partner's latest picture.
    pub remote: Option<Arc<VideoFrame>>,
    /// One's own latest picture.
    pub own: Option<Arc<VideoFrame>>,
    /// What is said beside them.
    pub labels: Arc<Labels>,
}

/// How a picture is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shade {
    /// As it is.
    Full,
    /// Grey and dark: it is not live.
    Dimmed,
}

impl Scene {
    /// The pictures and where they go on a surface of square dots, bottom first.
    fn layers(&self, surface: Surface) -> impl Iterator<Item = (&VideoFrame, Area, Shade)> {
        let shade = |dimmed: bool| if dimmed { Shade::Dimmed } else { Shade::Full };
        let theirs = shade(!self.labels.over().is_empty());
        let ours = shade(self.labels.own == Own::Withheld || !self.labels.help.is_empty());
        let remote = self.remote.as_deref().map(|frame| (frame, fit(frame.size(), surface), theirs));
        let own = self.own.as_deref().map(|frame| (frame, corner(frame.size(), surface), ours));
        remote.into_iter().chain(own).filter(|(_, area, _)| area.width > 0 && area.height > 0)
    }
}

/// Width and height of what is drawn on, in dots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Surface {
    width: u32,
    height: u32,
}

/// A rectangle on a [`Surface`], in dots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Area {
    x: u32,
    y: u32,
    width: u32,
    height: u32,
}

/// The largest area with the picture's aspect, in the middle; what is left over are the black bars.
fn fit(picture: Size, surface: Surface) -> Area {
    let (width, height) = scaled(picture, surface);
    Area { x: (surface.width - width) / 2, y: (surface.height - height) / 2, width, height }
}

/// A quarter of the surface's width and height at most, at the lower right, a small margin away from the edges.
fn corner(picture: Size, surface: Surface) -> Area {
    let (width, height) = scaled(picture, Surface { width: surface.width / 4, height: surface.height / 4 });
    let margin = surface.width / 64;
    Area {
        x: surface.width.saturating_sub(width + margin),
        y: surface.height.saturating_sub(height + margin),
        width,
        height,
    }
}

/// The largest size with the picture's aspect within `room`.
fn scaled(picture: Size, room: Surface) -> (u32, u32) {
    let (picture_width, picture_height) = (u64::from(picture.width.max(1)), u64::from(picture.height.max(1)));
    let (width, height) = (u64::from(room.width), u64::from(room.height));
    let (width, height) = if width * picture_height <= height * picture_width {
        (width, width * picture_height / picture_width)
    } else {
        (height * picture_width / picture_height, height)
    };
    // Both are at most the room's, which came from u32.
    (width as u32, height as u32)
}

/// What Ctrl-C in a view does.
static ON_INTERRUPT: OnceLock<fn()> = OnceLock::new();

/// Has Ctrl-C in a view handled by `hook`, called on the view's thread, and not told as an event. To be called once:
/// the first hook stays.
pub fn on_interrupt(hook: fn()) {
    ON_INTERRUPT.get_or_init(|| hook);
}

/// Passes an event on without waiting: the views' threads have to go on drawing.
fn report(events: &tokio::sync::mpsc::Sender<DisplayEvent>, event: DisplayEvent) {
    if let (DisplayEvent::Interrupted, Some(hook)) = (event, ON_INTERRUPT.get()) {
        return hook();
    }
    if events.try_send(event).is_err() {
        tracing::debug!(?event, "nobody takes the key");
    }
}

/// What a typed character means.
fn key_event(character: char) -> DisplayEvent {
    if character == 'q' { DisplayEvent::CloseRequested } else { DisplayEvent::Key(character) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    const HD: Size = Size { width: 1280, height: 720 };

    #[test]
    fn views_are_read_from_the_command_line() {
        assert_eq!("window".parse(), Ok(Show::Window));
        assert_eq!("terminal".parse(), Ok(Show::Terminal));
        assert_eq!("none".parse(), Ok(Show::None));
        let error = "Window".parse::<Show>().unwrap_err().to_string();
        assert!(error.contains("window, terminal, none"), "{error}");
    }

    #[test]
    fn pictures_keep_their_aspect_between_black_bars() {
        let area = |x, y, width, height| Area { x, y, width, height };
        assert_eq!(fit(HD, Surface { width: 1280, height: 720 }), area(0, 0, 1280, 720));
        assert_eq!(fit(HD, Surface { width: 640, height: 480 }), area(0, 60, 640, 360));
        assert_eq!(fit(HD, Surface { width: 2000, height: 720 }), area(360, 0, 1280, 720));
        assert_eq!(fit(Size { width: 360, height: 640 }, Surface { width: 640, height: 640 }), area(140, 0, 360, 640));
    }

    #[test]
    fn no_surface_is_too_small_or_too_large() {
        for surface in [(0, 0), (1, 1), (1, 9_000), (u32::MAX, 1), (u32::MAX, u32::MAX), (3, 200)] {
            let surface = Surface { width: surface.0, height: surface.1 };
            for picture in [HD, Size { width: 2, height: 4_096 }] {
                for area in [fit(picture, surface), corner(picture, surface)] {
                    assert!(u64::from(area.x) + u64::from(area.width) <= u64::from(surface.width), "{area:?}");
                    assert!(u64::from(area.y) + u64::from(area.height) <= u64::from(surface.height), "{area:?}");
                }
            }
        }
    }

    #[test]
    fn the_own_picture_sits_in_the_lower_right_corner() {
        let area = corner(HD, Surface { width: 1280, height: 720 });
        assert_eq!(area, Area { x: 940, y: 520, width: 320, height: 180 });
    }

    #[test]
    fn only_the_newest_pictures_are_shown_and_old_ones_stay() {
        let (remote, remote_rx) = queue::bounded(4);
        let (own, own_rx) = queue::bounded(4);
        let pictures = Pictures::new(remote_rx).with_own(own_rx);
        let mut scene = Scene::default();
        assert_eq!(pictures.refresh(&mut scene, Duration::ZERO), Refreshed::Same);
        let frame = |width| Arc::new(VideoFrame::black(Size { width, height: 2 }, Instant::now()));
        remote.send(frame(2));
        remote.send(frame(4));
        assert_eq!(pictures.refresh(&mut scene, Duration::ZERO), Refreshed::Moved);
        assert_eq!(scene.remote.as_ref().unwrap().size().width, 4);
        own.send(frame(6));
        drop(remote);
        assert_eq!(pictures.refresh(&mut scene, Duration::ZERO), Refreshed::Moved);
        assert_eq!(scene.remote.as_ref().unwrap().size().width, 4);
        assert_eq!(scene.own.as_ref().unwrap().size().width, 6);
    }
}
