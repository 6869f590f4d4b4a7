//! The thread that owns the recorder: disks are slow at times, and pictures must not wait for them.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::outgoing::send_event;
use super::{POLL, StreamEvent, Worker};
use crate::frame::Size;
use crate::patience;
use crate::queue::{self, Receiver, RecvError, Sender};
use crate::record::{Picture, PictureKind, RecordError, Recorder, Summary};

/// Entries waiting for the disk: 10 s of a call.
const ENTRIES_MAX: usize = 1024;

/// How often a recording that is being completed is looked at.
const LOOK: Duration = Duration::from_millis(5);

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
    path: PathBuf,
    /// Entries that were written.
    written: Arc<AtomicU64>,
    events: mpsc::Sender<StreamEvent>,
}

impl Recording {
    pub(super) fn start(recorder: Recorder, events: mpsc::Sender<StreamEvent>) -> std::io::Result<Self> {
        let (entries, waiting) = queue::bounded(ENTRIES_MAX);
        let (path, written) = (recorder.path().to_owned(), Arc::new(AtomicU64::new(0)));
        let (telling, counting) = (events.clone(), Arc::clone(&written));
        let worker = Worker::spawn("record", move |stop| run(recorder, &waiting, &telling, &counting, &stop))?;
        Ok(Self { entries, worker, path, written, events })
    }

    pub(super) fn entries(&self) -> Sender<Entry> {
        self.entries.clone()
    }

    /// Writes what waits, completes the file. One that makes no headway is left behind, and that is told.
    pub(super) fn finish(self) -> Option<Summary> {
        drop(self.entries);
        self.worker.tell_to_end();
        let patience = patience::of_file(&self.path);
        let (mut written, mut since) = (self.written.load(Ordering::Relaxed), Instant::now());
        while !self.worker.is_over() {
            let now = self.written.load(Ordering::Relaxed);
            if std::mem::replace(&mut written, now) != now {
                since = Instant::now();
            } else if since.elapsed() >= patience {
                let path = self.path.display();
                let text =
                    format!("the recording {path} is cut off: nothing more could be written; is anybody reading it?");
                send_event(&self.events, StreamEvent::RecordingFailed(text));
                self.worker.leave();
                return None;
            }
            std::thread::sleep(LOOK);
        }
        self.worker.finish().flatten()
    }
}

fn run(
    mut recorder: Recorder,
    waiting: &Receiver<Entry>,
    events: &mpsc::Sender<StreamEvent>,
    count: &AtomicU64,
    stop: &Arc<AtomicBool>,
) -> Option<Summary> {
    let fail = |error: RecordError| send_event(events, StreamEvent::RecordingFailed(error.to_string()));
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
        count.fetch_add(1, Ordering::Relaxed);
    }
    if waiting.dropped() > 0 {
        let text = format!("{} entries were lost because the disk was too slow", waiting.dropped());
        send_event(events, StreamEvent::RecordingFailed(text));
    }
    recorder.finish().map_err(fail).ok()
}
