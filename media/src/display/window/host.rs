//! The main thread's end of windows: the event loop and all open windows.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::sync::{Arc, PoisonError};

use tokio::sync::mpsc;
use winit::application::ApplicationHandler;
use winit::dpi::{LogicalSize, PhysicalSize};
use winit::event::{ElementState, KeyEvent, WindowEvent};
use winit::event_loop::{ActiveEventLoop, ControlFlow, EventLoop, OwnedDisplayHandle};
use winit::keyboard::{Key, ModifiersState, NamedKey};
use winit::window::WindowId;

use super::canvas::Canvas;
use super::request::{Request, Slot, Wake, Waker};
use crate::display::{DisplayEvent, desktop, key_event, report};
use network::system_error::without_number;

/// How large a window is at first, in logical pixels.
const FIRST_SIZE: LogicalSize<u32> = LogicalSize::new(960, 540);

/// The main thread's end.
#[derive(Debug)]
pub struct WindowHost {
    pub(super) requests: Receiver<Request>,
    pub(super) waker: Arc<Waker>,
}

impl WindowHost {
    /// Serves windows on the main thread until every [`WindowClient`](super::WindowClient) and [`Window`](super::Window) is dropped.
    pub fn run(self) {
        // Nothing of the desktop is touched before somebody wants it.
        let Ok(first) = self.requests.recv() else { return };
        match event_loop() {
            Ok(events) => {
                self.waker.set(events.create_proxy());
                let mut windows = OpenWindows::new(&self.requests, first, events.owned_display_handle());
                // The library panics where a desktop takes something away that it counts on.
                match catch_unwind(AssertUnwindSafe(|| events.run_app(&mut windows))) {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => tracing::error!(%error, "the desktop failed"),
                    Err(_panic) => tracing::error!("the desktop failed: no window is shown any more"),
                }
                // Whoever looked at one sees nothing any more.
                windows.open.values().for_each(|window| report(&window.events, DisplayEvent::Gone));
                drop(windows);
                self.refuse("the desktop is gone");
            }
            Err(reason) => {
                refuse(&first, &reason);
                self.refuse(&reason);
            }
        }
    }

    /// Answers whoever still asks: no second event loop can be made in a process.
    fn refuse(&self, reason: &str) {
        self.requests.iter().for_each(|request| refuse(&request, reason));
    }
}

fn refuse(request: &Request, reason: &str) {
    // Somebody who gave up needs no answer.
    drop(request.answer.try_send(Err(reason.to_owned())));
}

fn event_loop() -> Result<EventLoop<Wake>, String> {
    if desktop().is_none() {
        return Err("there is no desktop here".to_owned());
    }
    // On X11 the library panics when a server or library extension that it needs is missing.
    let built = catch_unwind(AssertUnwindSafe(|| EventLoop::<Wake>::with_user_event().build()));
    let events = built.map_err(|_| "the desktop lacks something".to_owned())?.map_err(|error| plain(&error))?;
    events.set_control_flow(ControlFlow::Wait);
    Ok(events)
}

/// An error of the window library without the place in its source that it puts in front.
fn plain(error: &dyn std::fmt::Display) -> String {
    let text = without_number(&error.to_string());
    let behind = text.split_once(".rs:").and_then(|(_, behind)| behind.split_once(": "));
    behind.map_or(text.as_str(), |(_, reason)| reason).to_owned()
}

/// The event loop's side: all open windows.
struct OpenWindows<'a> {
    requests: &'a Receiver<Request>,
    /// The request that woke the host.
    first: Option<Request>,
    display: OwnedDisplayHandle,
    open: HashMap<WindowId, OpenWindow>,
}

/// One open window.
struct OpenWindow {
    slot: Arc<Slot>,
    events: mpsc::Sender<DisplayEvent>,
    canvas: Canvas,
    /// As the desktop told it last: the library panics when it is asked of a window that is gone.
    size: PhysicalSize<u32>,
    modifiers: ModifiersState,
    /// As the desktop shows it.
    title: String,
    surface: softbuffer::Surface<OwnedDisplayHandle, Arc<winit::window::Window>>,
}

impl<'a> OpenWindows<'a> {
    fn new(requests: &'a Receiver<Request>, first: Request, display: OwnedDisplayHandle) -> Self {
        Self { requests, first: Some(first), display, open: HashMap::new() }
    }

    /// Opens what is asked for; ends the event loop when nobody can ask any more.
    fn serve(&mut self, events: &ActiveEventLoop) {
        loop {
            let request = match self.first.take().map_or_else(|| self.requests.try_recv(), Ok) {
                Ok(request) => request,
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return events.exit(),
            };
            match OpenWindow::open(&request, events, &self.display) {
                Ok(window) => {
                    self.open.insert(window.surface.window().id(), window);
                    drop(request.answer.try_send(Ok(())));
                }
                Err(reason) => refuse(&request, &reason),
            }
        }
    }
}

impl ApplicationHandler<Wake> for OpenWindows<'_> {
    fn resumed(&mut self, events: &ActiveEventLoop) {
        self.serve(events);
    }

    fn user_event(&mut self, events: &ActiveEventLoop, _: Wake) {
        self.open.retain(|_, window| !window.slot.closed.load(Ordering::Acquire));
        for window in self.open.values_mut() {
            if window.slot.dirty.swap(false, Ordering::AcqRel) {
                window.follow_title();
                window.surface.window().request_redraw();
            }
        }
        self.serve(events);
    }

    fn window_event(&mut self, _: &ActiveEventLoop, id: WindowId, event: WindowEvent) {
        let Some(window) = self.open.get_mut(&id) else { return };
        match event {
            WindowEvent::RedrawRequested => {
                if let Err(error) = window.draw() {
                    tracing::debug!(%error, "window not drawn");
                }
            }
            WindowEvent::Resized(size) => {
                window.size = size;
                window.surface.window().request_redraw();
            }
            // Closed by another program, which asks nobody.
            WindowEvent::Destroyed => {
                report(&window.events, DisplayEvent::Gone);
                self.open.remove(&id);
            }
            WindowEvent::ModifiersChanged(modifiers) => window.modifiers = modifiers.state(),
            WindowEvent::CloseRequested => report(&window.events, DisplayEvent::CloseRequested),
            WindowEvent::KeyboardInput { event, is_synthetic: false, .. } => window.key(&event),
            _ => {}
        }
    }
}

impl OpenWindow {
    fn open(request: &Request, events: &ActiveEventLoop, display: &OwnedDisplayHandle) -> Result<Self, String> {
        let attributes =
            winit::window::Window::default_attributes().with_title(&request.title).with_inner_size(FIRST_SIZE);
        let window = Arc::new(events.create_window(attributes).map_err(|error| plain(&error))?);
        let size = window.inner_size();
        let context = softbuffer::Context::new(display.clone()).map_err(|error| error.to_string())?;
        let surface = softbuffer::Surface::new(&context, window).map_err(|error| error.to_string())?;
        Ok(Self {
            slot: Arc::clone(&request.slot),
            events: request.events.clone(),
            canvas: Canvas::new(),
            size,
            modifiers: ModifiersState::empty(),
            title: request.title.clone(),
            surface,
        })
    }

    /// The title says whose call it is.
    fn follow_title(&mut self) {
        let labels = Arc::clone(&self.slot.labels());
        if !labels.title.is_empty() && labels.title != self.title {
            self.title.clone_from(&labels.title);
            self.surface.window().set_title(&self.title);
        }
    }

    fn draw(&mut self) -> Result<(), softbuffer::SoftBufferError> {
        let size = self.size;
        let (Some(width), Some(height)) = (NonZeroU32::new(size.width), NonZeroU32::new(size.height)) else {
            return Ok(());
        };
        let mut scene = self.slot.scene.lock().unwrap_or_else(PoisonError::into_inner).clone();
        scene.labels = Arc::clone(&self.slot.labels());
        self.surface.resize(width, height)?;
        let mut pixels = self.surface.buffer_mut()?;
        self.canvas.draw(&scene, size.width, &mut pixels);
        pixels.present()
    }

    fn key(&self, event: &KeyEvent) {
        if event.state != ElementState::Pressed || event.repeat {
            return;
        }
        let held = ModifiersState::CONTROL | ModifiersState::ALT | ModifiersState::SUPER;
        match &event.logical_key {
            // As in a terminal.
            Key::Character(text) if self.modifiers == ModifiersState::CONTROL && text.eq_ignore_ascii_case("c") => {
                report(&self.events, DisplayEvent::Interrupted);
            }
            // Such keys are the desktop's.
            _ if self.modifiers.intersects(held) => {}
            Key::Named(NamedKey::Escape) => report(&self.events, DisplayEvent::CloseRequested),
            Key::Named(NamedKey::Space) => report(&self.events, DisplayEvent::Key(' ')),
            Key::Named(NamedKey::Enter) => report(&self.events, DisplayEvent::Key('\n')),
            Key::Character(text) => text.chars().for_each(|character| report(&self.events, key_event(character))),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_lose_their_place_in_the_source() {
        assert_eq!(plain(&"os error at /a/b.rs:788: no display: gone"), "no display: gone");
        assert_eq!(plain(&"not supported"), "not supported");
    }
}
