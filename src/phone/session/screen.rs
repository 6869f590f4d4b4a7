//! What a person sees and presses: the view of all calls, and the question at the terminal whether to answer.

use std::sync::Arc;

use media::display::window::WindowClient;
use media::display::{DisplayEvent, Labels, Show};
use media::frame::VideoFrame;
use media::queue;
use signalling::id::PeerId;

use super::labels::Help;
use super::open::SelfView;
use super::prompt::Prompt;
use super::view::View;
use crate::output::printer::Printer;

/// See the module.
pub(super) struct Screen {
    show: Show,
    windows: WindowClient,
    /// Of all calls; a new one follows when the last call ends.
    view: Option<View>,
    /// Asks a person at the terminal whether to answer.
    prompt: Option<Prompt>,
    pub(super) help: Help,
}

impl Screen {
    pub(super) const fn new(show: Show, windows: WindowClient, view: View) -> Self {
        Self { show, windows, view: Some(view), prompt: None, help: Help::Hidden }
    }

    /// From now on a person at the terminal is asked.
    pub(super) fn ask_by(&mut self, prompt: Prompt) {
        self.prompt = Some(prompt);
    }

    /// Where pictures of the other side go, if any are shown: the view of a call with `peer` is open, or opens now.
    pub(super) fn open_view(
        &mut self,
        peer: &PeerId,
        printer: &Arc<Printer>,
    ) -> Option<queue::Sender<Arc<VideoFrame>>> {
        let view = self.view.as_mut()?;
        view.open(&format!("tring: {peer}"), &self.windows, printer);
        view.remote()
    }

    /// Takes note that something else took the view away; [`Self::open_view`] opens it again.
    pub(super) fn view_is_gone(&mut self) {
        if let Some(view) = &mut self.view {
            view.gone();
        }
    }

    /// Where own pictures of a call go that begins.
    pub(super) fn own_of_new_call(&mut self) -> SelfView {
        let show = self.show;
        self.view.get_or_insert_with(|| View::new(show)).own()
    }

    /// Where own pictures of a call go that stands.
    pub(super) fn own(&self) -> SelfView {
        self.view.as_ref().and_then(View::own)
    }

    /// Hands out the view when the last call has ended; it is to be closed aside.
    pub(super) fn take_view(&mut self) -> Option<View> {
        self.view.take()
    }

    /// What the viewer does next; never, without a view. Loses nothing when it is dropped.
    pub(super) async fn next(&mut self) -> Option<DisplayEvent> {
        match &mut self.view {
            Some(view) => view.next().await,
            None => std::future::pending().await,
        }
    }

    /// True when a view is shown, or will be.
    pub(super) fn is_shown(&self) -> bool {
        self.view.as_ref().is_some_and(View::is_shown)
    }

    pub(super) async fn set_labels(&mut self, labels: Labels) {
        if let Some(view) = &mut self.view {
            view.set_labels(labels).await;
        }
    }

    /// Where a person is asked whether to answer one of so many calls.
    pub(super) fn place_of_question(&self, calls: usize) -> Place {
        let view_has_terminal = self.view.as_ref().is_some_and(View::has_terminal);
        match &self.prompt {
            // The view of the call that stands shows who it is, and which keys there are.
            _ if calls > 1 && view_has_terminal => Place::View,
            Some(_) => Place::Terminal,
            None => Place::Nowhere,
        }
    }

    /// Someone rings. Throws away what was typed before, unless a view in the terminal reads the keys.
    pub(super) async fn open_question(&mut self, calls: usize) {
        if let Some(view) = &mut self.view {
            view.settle().await;
        }
        if self.place_of_question(calls) == Place::Terminal
            && let Some(prompt) = &mut self.prompt
        {
            prompt.open().await;
        }
    }

    /// A question that is answered, or came to nothing, has no use for the terminal any more.
    pub(super) async fn close_question(&mut self) {
        if let Some(prompt) = &mut self.prompt {
            prompt.close().await;
        }
    }
}

/// Where a person is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    View,
    Terminal,
    Nowhere,
}
