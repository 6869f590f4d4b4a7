//! What is seen: one view for all calls of the program, open while one of them is.
//!
//! - in: pictures, by the queues of [`View::remote`] and [`View::own`]; whoever is on hold sends none
//! - out: keys and clicks ([`DisplayEvent`])

use std::sync::Arc;
use std::time::Duration;

use media::display::terminal::Terminal;
use media::display::window::{Window, WindowClient};
use media::display::{DisplayEvent, Labels, Pictures, Show};
use media::frame::VideoFrame;
use media::queue;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tracing::warn;

use crate::output::events::ProgramEvent;
use crate::output::logging;
use crate::output::printer::Printer;

/// Pictures waiting to be shown: the newest counts.
const FRAMES_MAX: usize = 2;

/// How long it may take to close.
const CLOSING: Duration = Duration::from_secs(1);

/// Events of a view; a handful a call.
const EVENTS_MAX: usize = 64;

/// One view and the ways into it.
pub(super) struct View {
    show: Show,
    remote: queue::Sender<Arc<VideoFrame>>,
    own: queue::Sender<Arc<VideoFrame>>,
    /// `None` when no view could be opened: then no other is tried.
    pictures: Option<Arc<Pictures>>,
    events_tx: mpsc::Sender<DisplayEvent>,
    events: mpsc::Receiver<DisplayEvent>,
    slot: Slot,
    /// What it says.
    labels: Labels,
}

/// A view takes its time to open, and no call waits for it.
enum Slot {
    /// Not yet opened, or gone.
    Closed,
    Opening(JoinHandle<Option<Opened>>),
    Open(Opened),
}

enum Opened {
    Window(Window),
    /// Dropped in this order: text may be printed when the view has restored the terminal.
    Terminal {
        view: Terminal,
        _logs: Option<logging::FileGuard>,
        _screen: TakenScreen,
    },
}

/// The terminal is a view's; nothing is printed there.
struct TakenScreen(Arc<Printer>);

impl TakenScreen {
    fn take(printer: &Arc<Printer>) -> Self {
        printer.screen_taken();
        Self(Arc::clone(printer))
    }
}

impl Drop for TakenScreen {
    fn drop(&mut self) {
        self.0.screen_is_back();
    }
}

impl View {
    /// A view that is not open yet.
    pub(super) fn new(show: Show) -> Self {
        let (remote, remote_rx) = queue::bounded(FRAMES_MAX);
        let (own, own_rx) = queue::bounded(FRAMES_MAX);
        let pictures = Some(Arc::new(Pictures::new(remote_rx).with_own(own_rx)));
        let (events_tx, events) = mpsc::channel(EVENTS_MAX);
        Self { show, remote, own, pictures, events_tx, events, slot: Slot::Closed, labels: Labels::default() }
    }

    /// Where pictures of the other side go, if any are shown.
    pub(super) fn remote(&self) -> Option<queue::Sender<Arc<VideoFrame>>> {
        self.is_shown().then(|| self.remote.clone())
    }

    /// Where own pictures go, if any are shown.
    pub(super) fn own(&self) -> Option<queue::Sender<Arc<VideoFrame>>> {
        self.is_shown().then(|| self.own.clone())
    }

    /// True when the terminal is its own, or will be in a moment.
    pub(super) fn has_terminal(&self) -> bool {
        let opens = matches!(&self.slot, Slot::Opening(opening) if !opening.is_finished());
        self.show == Show::Terminal && (opens || matches!(self.slot, Slot::Open(Opened::Terminal { .. })))
    }

    pub(super) fn is_shown(&self) -> bool {
        self.show != Show::None
    }

    /// Opens it, unless it is open: aside, since windows and terminals may take long.
    pub(super) fn open(&mut self, title: &str, windows: &WindowClient, printer: &Arc<Printer>) {
        let (Slot::Closed, Some(pictures)) = (&self.slot, self.pictures.clone()) else { return };
        let (title, windows, printer) = (title.to_owned(), windows.clone(), Arc::clone(printer));
        let (events, complaints) = (self.events_tx.clone(), Arc::clone(&printer));
        let show = self.show;
        let open = move || match show {
            Show::None => Ok(None),
            Show::Window => windows.open(&title, pictures, events).map(|window| Some(Opened::Window(window))),
            Show::Terminal => {
                // Before it is: what is printed meanwhile would stay in the picture.
                let screen = TakenScreen::take(&printer);
                Terminal::open(pictures, events).map(|view| {
                    let logs = logging::to_file().map_err(|error| warn!(%error, "logs stay on stderr")).ok();
                    Some(Opened::Terminal { view, _logs: logs, _screen: screen })
                })
            }
        };
        if self.is_shown() {
            // The call goes on unseen: whoever talks would rather hear than lose it.
            self.slot = Slot::Opening(tokio::task::spawn_blocking(move || {
                open().unwrap_or_else(|error| {
                    complaints.tell(&ProgramEvent::Warning { text: error.to_string() });
                    None
                })
            }));
        }
    }

    /// What the viewer does next. Loses nothing when it is dropped.
    pub(super) async fn next(&mut self) -> Option<DisplayEvent> {
        loop {
            let Slot::Opening(opening) = &mut self.slot else { return self.events.recv().await };
            let opened = tokio::select! {
                event = self.events.recv() => return event,
                opened = opening => opened.ok().flatten(),
            };
            self.opened(opened);
        }
    }

    fn opened(&mut self, opened: Option<Opened>) {
        match opened {
            Some(opened) => self.slot = Slot::Open(opened),
            None => {
                self.slot = Slot::Closed;
                self.pictures = None;
            }
        }
        self.show_labels();
    }

    /// Takes note that something else took it away: it can be opened again.
    pub(super) fn gone(&mut self) {
        match std::mem::replace(&mut self.slot, Slot::Closed) {
            Slot::Closed => {}
            // What is left of it may take a moment to go.
            Slot::Opening(opening) => drop(tokio::spawn(async move { drop(opening.await) })),
            Slot::Open(opened) => drop(tokio::task::spawn_blocking(move || drop(opened))),
        }
    }

    /// Takes note of a view that has opened, or could not.
    pub(super) async fn settle(&mut self) {
        if let Slot::Opening(opening) = &mut self.slot
            && opening.is_finished()
        {
            let opened = opening.await.ok().flatten();
            self.opened(opened);
        }
    }

    /// Shows these words, as soon as it is open.
    pub(super) async fn set_labels(&mut self, labels: Labels) {
        self.settle().await;
        if labels != self.labels {
            self.labels = labels;
            self.show_labels();
        }
    }

    fn show_labels(&self) {
        match &self.slot {
            Slot::Open(Opened::Terminal { view, .. }) => view.set_labels(&self.labels),
            Slot::Open(Opened::Window(window)) => window.set_labels(&self.labels),
            Slot::Closed | Slot::Opening(_) => {}
        }
    }

    /// Closes it; the terminal is as it was when this returns, unless nobody reads what is written there.
    pub(super) async fn close(self) {
        let closing = tokio::spawn(async move {
            let opened = match self.slot {
                Slot::Closed => None,
                Slot::Opening(opening) => opening.await.ok().flatten(),
                Slot::Open(opened) => Some(opened),
            };
            tokio::task::spawn_blocking(move || drop(opened)).await
        });
        match tokio::time::timeout(CLOSING, closing).await {
            Ok(Ok(Ok(()))) => {}
            Ok(_) => warn!("the view did not close cleanly"),
            Err(_) => warn!("the view does not close; left behind"),
        }
    }
}
