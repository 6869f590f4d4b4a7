//! The calls under way: what is known of each beside the state of its line.

use std::collections::BTreeMap;
use std::task::Poll;
use std::time::{Duration, Instant};

use media::call::StreamEvent;
use media::capture::{AudioSource, VideoSource};
use media::peer::PeerEvent;
use signalling::id::{CallId, PeerId};
use tokio::task::{AbortHandle, JoinSet};

use super::figures::Meter;
use super::media::CallMedia;
use super::snapshot::Saved;
use crate::output::exit::Failure;
use crate::phone::events::Stats;

/// When the steps of a call happened.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Marks {
    pub(super) dialed: Option<Instant>,
    pub(super) accepted: Option<Instant>,
    pub(super) described: Option<Instant>,
    pub(super) ice: Option<Instant>,
    pub(super) connected: Option<Instant>,
    pub(super) first_frame: Option<Instant>,
    pub(super) first_audio: Option<Instant>,
    /// Processor time of this program when the call was connected.
    pub(super) processor_at_connected: Option<Duration>,
}

/// One call under way.
pub(super) struct LiveCall {
    pub(super) call: CallId,
    pub(super) peer: PeerId,
    /// From its first description to its end.
    pub(super) media: Option<CallMedia>,
    pub(super) marks: Marks,
    pub(super) meter: Meter,
    /// Figures of the last second.
    pub(super) stats: Option<Stats>,
    pub(super) stats_due: Option<Instant>,
    pub(super) snapshot_due: Option<Instant>,
    pub(super) hang_up_at: Option<Instant>,
    /// When the other counts as offline, unless presence says otherwise until then.
    pub(super) offline_at: Option<Instant>,
    /// When an offer counts as one that may be lost, until it is acknowledged.
    pub(super) unanswered_at: Option<Instant>,
    /// Since when the path is interrupted.
    pub(super) interrupted_at: Option<Instant>,
    /// Why a path could not be found, as far as known.
    pub(super) problems: Vec<String>,
    /// What is wrong with TURN servers, by their addresses: the first that was told of each.
    pub(super) relay_troubles: BTreeMap<String, String>,
    /// Warnings that are told once a call.
    pub(super) warned: Vec<String>,
    /// What went wrong on our side, with the exit status it asks for.
    pub(super) failure: Option<Failure>,
    pub(super) candidates_left_out: u64,
    /// What is sent in place of what the settings say.
    pub(super) sources: Option<(VideoSource, AudioSource)>,
    /// Which opening of camera and microphone counts: an earlier one that comes late is given back.
    pub(super) opening: u64,
    /// Work for this call that goes on aside; ended with it.
    pub(super) jobs: Vec<AbortHandle>,
    /// Pictures that are being saved; waited for when it ends.
    pub(super) saves: JoinSet<Saved>,
}

impl LiveCall {
    pub(super) fn new(call: CallId, peer: PeerId, marks: Marks) -> Self {
        Self {
            call,
            peer,
            media: None,
            marks,
            meter: Meter::new(Instant::now()),
            stats: None,
            stats_due: None,
            snapshot_due: None,
            hang_up_at: None,
            offline_at: None,
            unanswered_at: None,
            interrupted_at: None,
            problems: Vec::new(),
            relay_troubles: BTreeMap::new(),
            warned: Vec::new(),
            failure: None,
            candidates_left_out: 0,
            sources: None,
            opening: 0,
            jobs: Vec::new(),
            saves: JoinSet::new(),
        }
    }

    /// What is still being done for this call is not wanted any more.
    pub(super) fn abort_jobs(&mut self) {
        for job in self.jobs.drain(..) {
            job.abort();
        }
    }

    /// The next moment at which time alone matters to it.
    fn deadline(&self) -> Option<Instant> {
        let moments = [self.stats_due, self.snapshot_due, self.hang_up_at, self.offline_at, self.unanswered_at];
        moments.into_iter().flatten().min()
    }
}

/// All of them: one, or two while one is held or waits.
#[derive(Default)]
pub(super) struct LiveCalls(Vec<LiveCall>);

/// What the media of a call tells.
pub(super) enum MediaInput {
    Peer(PeerEvent),
    Stream(StreamEvent),
    Saved(Saved),
}

impl LiveCalls {
    pub(super) fn begin(&mut self, call: LiveCall) {
        self.0.push(call);
    }

    pub(super) fn end(&mut self, call: &CallId) -> Option<LiveCall> {
        let index = self.0.iter().position(|live| live.call == *call)?;
        Some(self.0.remove(index))
    }

    pub(super) fn get(&self, call: &CallId) -> Option<&LiveCall> {
        self.0.iter().find(|live| live.call == *call)
    }

    pub(super) fn get_mut(&mut self, call: &CallId) -> Option<&mut LiveCall> {
        self.0.iter_mut().find(|live| live.call == *call)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &LiveCall> {
        self.0.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut LiveCall> {
        self.0.iter_mut()
    }

    pub(super) fn ids(&self) -> Vec<CallId> {
        self.0.iter().map(|live| live.call.clone()).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.0.iter().filter_map(LiveCall::deadline).min()
    }

    /// What the media of any call tells next; never, without one. Loses nothing when it is dropped.
    pub(super) async fn next(&mut self) -> (CallId, MediaInput) {
        std::future::poll_fn(|cx| {
            for live in &mut self.0 {
                if let Poll::Ready(Some(Ok(saved))) = live.saves.poll_join_next(cx) {
                    return Poll::Ready((live.call.clone(), MediaInput::Saved(saved)));
                }
                let Some(media) = &mut live.media else { continue };
                // A channel that is closed has nothing more to say; the others may.
                if let Poll::Ready(Some(event)) = media.peer_events.poll_recv(cx) {
                    return Poll::Ready((live.call.clone(), MediaInput::Peer(event)));
                }
                if let Poll::Ready(Some(event)) = media.stream_events.poll_recv(cx) {
                    return Poll::Ready((live.call.clone(), MediaInput::Stream(event)));
                }
            }
            Poll::Pending
        })
        .await
    }
}
