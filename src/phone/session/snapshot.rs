//! Pictures of the other side that are saved: aside, since a file may be slow, or nobody takes what is written to it.

use std::path::PathBuf;
use std::sync::Arc;

use media::existing::Existing;
use media::frame::VideoFrame;
use signalling::id::{CallId, PeerId};

use crate::output::events::ProgramEvent;
use crate::output::exit::Failure;
use crate::output::printer::Printer;
use crate::phone::events::CallEvent;

/// A picture that was to be saved.
pub(super) struct Saved {
    pub(super) file: PathBuf,
    pub(super) outcome: Result<(), String>,
}

/// Saves a picture as PNG, on a thread that may block. A file that cannot be written within seconds is given up.
pub(super) async fn save_picture(file: PathBuf, frame: Arc<VideoFrame>, existing: Existing) -> Saved {
    let path = file.clone();
    let saving = tokio::task::spawn_blocking(move || media::snapshot::write_png(&path, &frame, existing));
    let outcome = match tokio::time::timeout(media::patience::of_file(&file), saving).await {
        Ok(Ok(saved)) => saved.map_err(|error| error.to_string()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("cannot write the picture {}: nobody takes it", file.display())),
    };
    Saved { file, outcome }
}

impl Saved {
    /// Tells what became of it; what that means for the exit status.
    pub(super) fn tell(self, printer: &Printer, call: &CallId, peer: &PeerId) -> Option<Failure> {
        match self.outcome {
            Ok(()) => {
                printer.tell_of(&CallEvent::Snapshot { file: self.file.display().to_string() }, call, peer);
                None
            }
            Err(text) => {
                printer.tell_of(&ProgramEvent::Warning { text: text.clone() }, call, peer);
                Some(Failure::internal(text))
            }
        }
    }
}
