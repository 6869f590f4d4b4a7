//! The thread of pictures: carries out what [`VideoAdaptation`] decides.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tokio::sync::mpsc;
use tracing::warn;

use super::{OutgoingCounters, Switches, path, send_event};
use crate::call::{POLL, StreamEvent};
use crate::capture::VideoFormat;
use crate::codec::{CodecError, EncoderConfig, VideoEncoder, Want, video_encoder};
use crate::frame::{EncodedVideo, VideoCodec, VideoFrame};
use crate::peer::MediaSender;
use crate::queue::{Receiver, RecvError, Sender};
use crate::scale::Scaler;
use crate::send::adaptation::{Action, Coding, Event, VideoAdaptation};
use crate::send::picture_plan::{Content, PicturePlan, Reason};
use crate::send::redundancy::Copies;

/// What the thread works on.
pub(super) struct VideoEncodeThread {
    pub(super) frames: Receiver<Arc<VideoFrame>>,
    pub(super) format: VideoFormat,
    pub(super) content: Content,
    pub(super) self_view: Option<Sender<Arc<VideoFrame>>>,
    pub(super) sender: MediaSender,
    pub(super) switches: Switches,
    pub(super) counters: OutgoingCounters,
    pub(super) events: mpsc::Sender<StreamEvent>,
}

impl VideoEncodeThread {
    /// Until `stop`, or until what is captured ends.
    pub(super) fn run(self, stop: &AtomicBool) {
        let Some(codec) = self.sender.video_codec() else { return };
        let mut encoding = Encoding::new(codec, self.format.fps);
        let mut adaptation = VideoAdaptation::of_encoder(self.content, self.format.fps, Instant::now());
        // What was captured before the call stood is old.
        let mut next = self.frames.latest();
        while !stop.load(Ordering::Relaxed) {
            let frame = match next.take().map_or_else(|| self.frames.recv_timeout(POLL), Ok) {
                Ok(frame) => frame,
                Err(RecvError::Timeout) => continue,
                Err(RecvError::Closed) => return send_event(&self.events, StreamEvent::SourceEnded("video")),
            };
            let Some(frame) = self.seen(frame) else {
                adaptation.handle(Event::Paused, Instant::now());
                continue;
            };
            if let Some(cause) = self.sender.take_keyframe_demand() {
                adaptation.handle(Event::KeyframeWanted(cause), Instant::now());
            }
            for action in
                adaptation.handle(Event::PictureReady(frame.size(), path(&self.sender, self.copies())), Instant::now())
            {
                let happened = match action {
                    Action::Encode(coding) => match encoding.set(coding) {
                        Ok(()) => None,
                        Err(error) => return send_event(&self.events, StreamEvent::CodecFailed(error.to_string())),
                    },
                    Action::SendNext => self.send(&mut encoding, &frame, Want::Any),
                    Action::SendKeyframe => self.send(&mut encoding, &frame, Want::Keyframe),
                    // Unseen: nothing was encoded.
                    Action::LeaveOut(_) => None,
                };
                if let Some(happened) = happened {
                    adaptation.handle(happened, Instant::now());
                }
            }
            self.publish(adaptation.plan());
        }
    }

    /// The copies that sound is sent with at present.
    fn copies(&self) -> Copies {
        self.counters.plan().sound.map_or(Copies::None, |sound| sound.copies)
    }

    /// Tells of a plan that has changed. That all is sent as it is captured is told of only when it was not.
    fn publish(&self, plan: Option<(PicturePlan, Reason)>) {
        let before = self.counters.plan().pictures;
        if before == plan {
            return;
        }
        let plan = self.counters.change_plan(|sending| sending.pictures = plan);
        if before.is_some() || !matches!(plan.pictures, Some((_, Reason::Whole))) {
            send_event(&self.events, StreamEvent::PlanChanged(plan));
        }
    }

    /// Encodes and sends a picture; what happened, when anything did.
    fn send(&self, encoding: &mut Encoding, frame: &VideoFrame, want: Want) -> Option<Event> {
        let begun = Instant::now();
        match encoding.encode(frame, want) {
            Ok(picture) => {
                let picture = picture?;
                self.counters.count(&picture);
                let took = begun.elapsed();
                let sent = Event::PictureSent { bytes: picture.data.len(), is_keyframe: picture.keyframe, took };
                self.sender.video(picture);
                Some(sent)
            }
            Err(error) => {
                warn!(%error, "picture left out");
                Some(Event::EncoderFailed)
            }
        }
    }

    /// The picture as it leaves, shown to the one who sends it; `None` while none is to leave.
    fn seen(&self, frame: Arc<VideoFrame>) -> Option<Arc<VideoFrame>> {
        if self.switches.held.load(Ordering::Relaxed) {
            return None;
        }
        let frame = if self.switches.camera_off.load(Ordering::Relaxed) {
            Arc::new(VideoFrame::black(frame.size(), frame.at))
        } else {
            frame
        };
        if let Some(self_view) = &self.self_view {
            self_view.send(Arc::clone(&frame));
        }
        (!self.sender.is_path_closed()).then_some(frame)
    }
}

/// The encoder of one stream, while there is one.
struct Encoding {
    codec: VideoCodec,
    fps: u32,
    encoder: Option<(Box<dyn VideoEncoder>, Coding)>,
    scaler: Scaler,
}

impl Encoding {
    fn new(codec: VideoCodec, fps: u32) -> Self {
        Self { codec, fps, encoder: None, scaler: Scaler::smooth() }
    }

    /// Opens an encoder where there is none. One that keeps its old bitrate is told of in the log.
    fn set(&mut self, coding: Coding) -> Result<(), CodecError> {
        match &mut self.encoder {
            Some((encoder, told)) => {
                if let Err(error) = encoder.set_bitrate(coding.bitrate_bps) {
                    warn!(%error, "encoder keeps its old bitrate");
                }
                *told = coding;
            }
            None => {
                let config = EncoderConfig { size: coding.size, fps: self.fps, bitrate_bps: coding.bitrate_bps };
                self.encoder = Some((video_encoder(self.codec, config)?, coding));
            }
        }
        Ok(())
    }

    /// An encoder that refuses a picture is given up.
    fn encode(&mut self, frame: &VideoFrame, want: Want) -> Result<Option<EncodedVideo>, CodecError> {
        let Some((encoder, coding)) = &mut self.encoder else { return Ok(None) };
        let encoded = if frame.size() == coding.size {
            encoder.encode(frame, want)
        } else {
            encoder.encode(&self.scaler.picture(frame, coding.size), want)
        };
        if encoded.is_err() {
            self.encoder = None;
        }
        encoded
    }
}
