//! The thread that owns the recorder: disks are slow at times, and pictures must not wait for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::outgoing::tell;
use super::{POLL, StreamEvent, Worker};
use crate::frame::Size;
use crate::queue::{self, Receiver, RecvError, Sender};
use crate::record::{Picture, PictureKind, RecordError, Recorder, Summary};

/// Entries waiting for the disk: 10 s of a call.
const ENTRIES_MAX: usize = 1024;

/// One coded entry of the recording.
#[derive(Debug)]
pub(super) enum Entry {
    Video { data: Bytes, kind: PictureKind, size: Size, pts: Duration },
    Audio { data: Bytes, pts: Duration },
}

/// The running recording.
#[derive(Debug)]
pub(super) struct Recording {
    entries: Sender<Entry>,
    worker: Worker<Option<Summary>>,
}

impl Recording {
    pub(super) fn start(recorder: Recorder, events: mpsc::Sender<StreamEvent>) -> std::io::Result<Self> {
        let (entries, waiting) = queue::bounded(ENTRIES_MAX);
        let worker = Worker::spawn("record", move |stop| run(recorder, &waiting, &events, &stop))?;
        Ok(Self { entries, worker })
    }

    pub(super) fn entries(&self) -> Sender<Entry> {
        self.entries.clone()
    }

    /// Writes what waits, completes the file.
    pub(super) fn finish(self) -> Option<Summary> {
        drop(self.entries);
        self.worker.finish().flatten()
    }
}

fn run(
    mut recorder: Recorder,
    waiting: &Receiver<Entry>,
    events: &mpsc::Sender<StreamEvent>,
    stop: &Arc<AtomicBool>,
) -> Option<Summary> {
    let fail = |error: RecordError| tell(events, StreamEvent::RecordingFailed(error.to_string()));
    loop {
        let entry = match waiting.recv_timeout(POLL) {
            Ok(entry) => entry,
            Err(RecvError::Timeout) if !stop.load(Ordering::Relaxed) => continue,
            Err(RecvError::Timeout | RecvError::Closed) => break,
        };
        let written = match &entry {
            Entry::Video { data, kind, size, pts } => {
                recorder.write_video(Picture { data, kind: *kind, size: *size, pts: *pts })
            }
            Entry::Audio { data, pts } => recorder.write_audio(data, *pts),
        };
        if let Err(error) = written {
            fail(error);
            return None;
        }
    }
    if waiting.dropped() > 0 {
        let text = format!("{} entries were lost because the disk was too slow", waiting.dropped());
        tell(events, StreamEvent::RecordingFailed(text));
    }
    recorder.finish().map_err(fail).ok()
}
