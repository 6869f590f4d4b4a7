//! Keyframe requests: from the decoders to the task of the video track, which sends them.

use std::sync::Arc;

use tokio::sync::Notify;

/// Asks the other side for a keyframe (PLI, RFC 4585 §6.3.1); cheap to clone, callable from any thread.
#[derive(Clone, Debug, Default)]
pub struct KeyframeRequester(Arc<Notify>);

impl KeyframeRequester {
    /// Asks now; several calls before the request is out count as one.
    pub fn request(&self) {
        self.0.notify_one();
    }

    /// Waits for the next request.
    pub(crate) async fn requested(&self) {
        self.0.notified().await;
    }
}
