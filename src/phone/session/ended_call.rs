//! A call that is over, with what was known of its media before they were closed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ::media::peer::sdp::Negotiated;
use ::media::peer::{PathSeen, PathStats};
use signalling::call::EndReason;

use super::lifecycle::Bearing;
use super::media::{CallMedia, Closed};
use super::snapshot::Saved;
use super::{LiveCall, figures};
use crate::phone::events::Sent;

/// How long the media of a call may take to close; each of its devices and files has a shorter time of its own.
pub(super) const CLOSING: Duration = Duration::from_secs(15);

/// How long the engine may take to name the path of a call that is over.
const PATH_PATIENCE: Duration = Duration::from_millis(200);

/// A call that is over, its media closed: what is still to be told of it.
pub(super) struct EndedCall {
    pub(super) live: LiveCall,
    pub(super) reason: EndReason,
    pub(super) text: Option<String>,
    pub(super) ended: Instant,
    pub(super) bearing: Bearing,
    pub(super) media: Option<ClosedMedia>,
    pub(super) saved: Vec<Saved>,
}

/// What is left of the media of a call, and what was known of them before they were closed.
pub(super) struct ClosedMedia {
    pub(super) path: Option<PathStats>,
    pub(super) seen: PathSeen,
    pub(super) negotiated: Negotiated,
    pub(super) sent: Sent,
    pub(super) bytes_sent: Option<(u64, u64)>,
    pub(super) closed: Closed,
}

impl ClosedMedia {
    /// Closes the media of a call.
    pub(super) async fn of(media: CallMedia) -> Self {
        let peer = Arc::clone(media.peer());
        let seen = peer.seen();
        let path = tokio::time::timeout(PATH_PATIENCE, async move { peer.path().await }).await.ok().flatten();
        let negotiated = media.agreed().cloned().unwrap_or_default();
        let sent = figures::counts(&media);
        let bytes_sent = media.sender().map(|sender| sender.bytes_sent());
        let (video, audio) = media.figures();
        let closing = tokio::spawn(media.close());
        let closed = match tokio::time::timeout(CLOSING, closing).await {
            Ok(Ok(closed)) => closed,
            Ok(Err(_)) | Err(_) => {
                tracing::warn!("the media of a call do not close; left behind");
                Closed { video, audio, recorded: None, late: Vec::new() }
            }
        };
        Self { path, seen, negotiated, sent, bytes_sent, closed }
    }
}
