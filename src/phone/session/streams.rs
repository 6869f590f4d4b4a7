//! The streams of one call, whichever way they are made: encoded and decoded, or light.

use std::sync::Arc;

use media::call::StreamEvent;
use media::call::incoming::{AudioFigures, Incoming, VideoFigures};
use media::call::light::{LightIncoming, LightOutgoing};
use media::call::outgoing::{Outgoing, OutgoingCounters, Switches};
use media::frame::VideoFrame;
use media::peer::MediaSender;
use media::peer::sdp::PayloadTypes;
use media::record::Summary;
use tokio::sync::{mpsc, watch};

use super::open::Feed;

/// What leaves; dropping ends it.
pub(super) enum Sending {
    /// Encoders, on threads.
    Encoded(Outgoing),
    /// Loops, on tasks.
    Looped(LightOutgoing),
}

impl Sending {
    /// Nothing is sent yet of what `feed` has; what will be is counted on from `counters`.
    pub(super) fn idle(feed: &Feed, counters: OutgoingCounters) -> Self {
        match feed {
            Feed::Captured(_) => Self::Encoded(Outgoing::idle(counters)),
            Feed::Looped(_) => Self::Looped(LightOutgoing::idle(counters)),
        }
    }

    /// Starts what there is to send, was negotiated and does not run yet.
    pub(super) fn add(
        &mut self,
        feed: &mut Feed,
        sender: &MediaSender,
        switches: &Switches,
        events: &mpsc::Sender<StreamEvent>,
    ) -> std::io::Result<()> {
        match (self, feed) {
            (Self::Encoded(outgoing), Feed::Captured(captured)) => outgoing.add(captured, sender, switches, events),
            (Self::Looped(outgoing), Feed::Looped(looped)) => {
                outgoing.add(looped, sender, switches);
                Ok(())
            }
            // Weight is a setting of the whole program: both are made by it.
            (Self::Encoded(_), Feed::Looped(_)) | (Self::Looped(_), Feed::Captured(_)) => Ok(()),
        }
    }
}

/// What arrives.
pub(super) enum Receiving {
    /// Decoded, on threads; `latest` is the latest picture.
    Decoded { incoming: Incoming, latest: watch::Receiver<Option<Arc<VideoFrame>>> },
    /// Counted, on a task.
    Counted(LightIncoming),
    /// There are no threads for it; the call goes on without.
    Nothing,
}

impl Receiving {
    /// The latest picture of the other side.
    pub(super) fn latest_picture(&self) -> Option<Arc<VideoFrame>> {
        match self {
            Self::Decoded { latest, .. } => latest.borrow().clone(),
            Self::Counted(_) | Self::Nothing => None,
        }
    }

    pub(super) fn set_held(&self, held: bool) {
        match self {
            Self::Decoded { incoming, .. } => incoming.set_held(held),
            Self::Counted(incoming) => incoming.set_held(held),
            Self::Nothing => {}
        }
    }

    /// Takes what an update agreed on.
    pub(super) fn set_types(&self, types: PayloadTypes) {
        match self {
            Self::Decoded { incoming, .. } => incoming.set_types(types),
            Self::Counted(incoming) => incoming.set_types(types),
            Self::Nothing => {}
        }
    }

    /// The latest figures.
    pub(super) fn figures(&self) -> (VideoFigures, AudioFigures) {
        let (video, audio) = match self {
            Self::Decoded { incoming, .. } => (&incoming.video_figures, &incoming.audio_figures),
            Self::Counted(incoming) => (&incoming.video_figures, &incoming.audio_figures),
            Self::Nothing => return Default::default(),
        };
        (video.borrow().clone(), audio.borrow().clone())
    }

    /// Ends it; the last figures and what was recorded.
    pub(super) async fn finish(self) -> (VideoFigures, AudioFigures, Option<Summary>) {
        match self {
            // Threads are joined, and a recording is completed.
            Self::Decoded { incoming, .. } => {
                tokio::task::spawn_blocking(move || incoming.finish()).await.unwrap_or_default()
            }
            Self::Counted(incoming) => {
                let (video, audio) = incoming.finish().await;
                (video, audio, None)
            }
            Self::Nothing => Default::default(),
        }
    }
}
