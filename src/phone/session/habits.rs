//! What a phone does besides talking: it rings, notes calls down, and says which were missed.
//!
//! Nothing here decides what becomes of a call, and nothing that fails here harms one.
//!
//! - before a notice is acted on ([`Habits::before_notice`]): ring, ring-back, busy tone, notification
//! - when a call has ended ([`Habits::entry`], [`Habits::log_ended_call`]): the call log, `missed`

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use media::playout::AudioSink;
use media::playout::speaker::Speaker;
use network::system_error::in_words;
use signalling::call::{EndReason, Notice};
use signalling::id::{CallId, PeerId};
use tokio::task::JoinSet;

use super::jobs::Done;
use super::media::CallMedia;
use super::open::turn_at_devices;
use super::turned_away::TurnedAway;
use super::{LiveCall, LiveCalls, Role};
use crate::cli::Ring;
use crate::output::exit::ExitStatus;
use crate::output::printer::Printer;
use crate::phone::call_log::{CallLog, Direction, Entry, Outcome, Quality, VERSION, Word};
use crate::phone::events::{CallEvent, Pair, Received, Summary};
use crate::phone::ringing::{Lent, Ringing};
use crate::phone::settings::Settings;
use crate::platform::clock::unix_ms;
use crate::platform::local_time;
use crate::platform::notify::{Notifier, Showing};

/// How long the call log may take at the end of a call; then the session goes on without it.
const LOG_PATIENCE: Duration = Duration::from_secs(2);

/// Lines that may wait for the disk; further ones are not written.
const WRITING_MAX: usize = 16;

/// The state of these habits.
pub(super) struct Habits {
    printer: Arc<Printer>,
    ring: Ring,
    sink: AudioSink,
    /// `None`: calls are not to be noted down.
    log: Option<CallLog>,
    /// Lines under way.
    writing: usize,
    /// Callers who heard busy.
    turned_away: TurnedAway,
    /// What is wrong with the log is said once.
    complaint: Complaint,
    notifier: Notifier,
    /// The call that rings here.
    ringing: Option<(CallId, Ringing, Option<Showing>)>,
    /// The call whose speaker has a tone for the one who calls.
    lent: Option<(CallId, Lent)>,
    begun: BTreeMap<CallId, Begun>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Complaint {
    Unsaid,
    Said,
}

/// Whether a call rings while another stands.
#[derive(Clone, Copy)]
enum Waiting {
    Alone,
    BesideAnother,
}

/// What is known of a call that has not ended.
struct Begun {
    started: u64,
    direction: Direction,
    answered: bool,
}

impl Habits {
    pub(super) fn new(settings: &Settings, role: &Role, printer: &Arc<Printer>) -> Self {
        let habits = settings.habits;
        // A notification is for a person who is asked.
        let notifier = if habits.no_notify || !role.asks() { Notifier::silent() } else { Notifier::of_this_desktop() };
        Self {
            printer: Arc::clone(printer),
            ring: habits.ring,
            sink: settings.media.play.clone(),
            log: if habits.no_log { None } else { CallLog::of_this_user() },
            writing: 0,
            turned_away: TurnedAway::new(Instant::now()),
            complaint: Complaint::Unsaid,
            notifier,
            ringing: None,
            lent: None,
            begun: BTreeMap::new(),
        }
    }

    fn begin(&mut self, call: &CallId, direction: Direction) {
        self.begun.insert(call.clone(), Begun { started: unix_ms(), direction, answered: false });
    }

    /// Rings, and shows who it is. In the middle of another call, whose sound is on the speaker, by the bell alone.
    fn ring(&mut self, call: &CallId, caller: &PeerId, waiting: Waiting) {
        let ring = match (self.ring, waiting) {
            (Ring::Sound, Waiting::BesideAnother) => Ring::Bell,
            (ring, Waiting::BesideAnother | Waiting::Alone) => ring,
        };
        let turn = async { turn_at_devices().await.ok() };
        let ringing = Ringing::start(ring, self.sink.clone(), turn, Arc::clone(&self.printer));
        self.ringing = Some((call.clone(), ringing, self.notifier.call(caller)));
    }

    /// The line for the log, of a call that has ended.
    pub(super) fn entry(&mut self, live: &LiveCall, summary: &Summary) -> Option<Entry> {
        let begun = self.begun.remove(&live.call)?;
        Some(Entry {
            v: VERSION,
            started: begun.started,
            direction: begun.direction,
            peer: live.peer.clone(),
            call_id: Some(live.call.clone()),
            answered: begun.answered,
            duration_ms: summary.duration_ms,
            reason: Word::known(summary.reason.name()),
            status: summary.status,
            path: summary.pair.as_ref().map(|pair| Word::known(path(pair))),
            received: summary.duration_ms.map(|_| quality(&summary.received)),
            sealed: live.security.as_ref().map(|security| security.sealed),
            verified: live.security.as_ref().map(|security| security.verified),
        })
    }

    /// Waits for what is still to be heard or taken off the screen, at most some seconds.
    pub(super) async fn finish(&mut self) {
        self.ringing = None;
        if let Some((_, lent)) = self.lent.take() {
            lent.heard().await;
        }
        self.notifier.finish().await;
    }
}

impl Habits {
    /// What a notice means here; to be called before it is acted on.
    pub(super) async fn before_notice(&mut self, notice: &Notice, calls: &mut LiveCalls, role: &Role) {
        match notice {
            Notice::Dialing { call, .. } => self.begin(call, Direction::Out),
            Notice::Ringing { call, .. } if self.ring == Ring::Sound => self.play_tone(call, calls, Lent::ring_back),
            Notice::Incoming { call, peer } => {
                self.begin(call, Direction::In);
                if role.asks() {
                    let waiting = if calls.is_empty() { Waiting::Alone } else { Waiting::BesideAnother };
                    self.ring(call, peer, waiting);
                }
            }
            Notice::Accepted { call, .. } => {
                if let Some(begun) = self.begun.get_mut(call) {
                    begun.answered = true;
                }
                self.stop_ringing(call, calls).await;
            }
            Notice::Superseded { call, by, .. } => {
                if let Some(begun) = self.begun.remove(call) {
                    self.begun.insert(by.clone(), begun);
                }
                self.stop_ringing(call, calls).await;
            }
            Notice::Ended { call, reason, .. } => {
                self.stop_ringing(call, calls).await;
                if *reason == EndReason::Busy && self.ring == Ring::Sound {
                    self.play_tone(call, calls, Lent::busy);
                }
            }
            Notice::Ringing { .. }
            | Notice::TurnedAway { .. }
            | Notice::Connected { .. }
            | Notice::Held { .. }
            | Notice::Switched { .. }
            | Notice::Paused { .. }
            | Notice::UpdateRefused { .. }
            | Notice::Reconnecting { .. }
            | Notice::Reconnected { .. } => {}
        }
    }

    /// Puts a tone on the speaker of a call that has no use for it yet, or any more.
    fn play_tone(&mut self, call: &CallId, calls: &mut LiveCalls, tone: impl FnOnce(Speaker) -> Lent) {
        let media = calls.get_mut(call).and_then(|live| live.media.as_mut());
        let speaker = media.and_then(CallMedia::lend_speaker);
        self.lent = speaker.map(|speaker| (call.clone(), tone(speaker)));
    }

    /// Silence of this call; it has its speaker back.
    async fn stop_ringing(&mut self, call: &CallId, calls: &mut LiveCalls) {
        self.ringing.take_if(|(ringing, ..)| ringing == call);
        let Some((_, lent)) = self.lent.take_if(|(lent, _)| lent == call) else { return };
        if let Some(speaker) = lent.stop().await
            && let Some(media) = calls.get_mut(call).and_then(|live| live.media.as_mut())
        {
            media.take_speaker_back(speaker);
        }
    }

    /// Silence.
    pub(super) async fn silence(&mut self, calls: &mut LiveCalls) {
        for call in calls.ids() {
            self.stop_ringing(&call, calls).await;
        }
    }

    /// Notes a call down that has ended, and tells of it when it was missed.
    pub(super) fn log_ended_call(
        &mut self,
        call: &CallId,
        entry: Option<Entry>,
        role: &Role,
        jobs: &mut JoinSet<Done>,
    ) {
        let Some(entry) = entry else { return };
        if entry.outcome() == Outcome::Missed && matches!(role, Role::Listen { .. }) {
            let event = CallEvent::Missed { caller: entry.peer.to_string(), started: entry.started };
            self.printer.tell_of(&event, call, &entry.peer);
            self.notifier.missed(&entry.peer, &local_time::time(entry.started));
        }
        self.write_log(entry, jobs);
    }

    /// Somebody heard busy: true when it is to be told of. Of a flood of them a few are.
    pub(super) fn admits_turned_away(&mut self) -> bool {
        self.turned_away.take(Instant::now())
    }

    /// Tells of somebody who heard busy, and notes it down.
    pub(super) fn log_turned_away(&mut self, peer: PeerId, jobs: &mut JoinSet<Done>) {
        self.printer.tell(&CallEvent::TurnedAway { caller: peer.to_string() });
        self.write_log(Entry::turned_away(peer, unix_ms(), ExitStatus::Busy.code()), jobs);
    }

    /// How many of those were not told of, in words.
    pub(super) fn left_out(&mut self) -> Option<String> {
        let count = self.turned_away.left_out()?;
        Some(format!("{count} more calls were turned away than are told of and noted down"))
    }

    /// Begins to write a line of the log: no call waits for a disk.
    fn write_log(&mut self, entry: Entry, jobs: &mut JoinSet<Done>) {
        let Some(log) = self.log.clone() else { return };
        if self.writing >= WRITING_MAX {
            return;
        }
        self.writing += 1;
        jobs.spawn(async move {
            let writing = tokio::task::spawn_blocking(move || {
                log.append(&entry)
                    .map_err(|error| format!("cannot write {}: {}", log.path().display(), in_words(&error)))
            });
            Done::LogWritten(match tokio::time::timeout(LOG_PATIENCE, writing).await {
                Ok(written) => written.map_err(|error| error.to_string()).flatten(),
                Err(_) => Err("the disk takes too long".to_owned()),
            })
        });
    }

    /// A line was written, or could not be: then the words for it, once.
    pub(super) fn log_written(&mut self, written: Result<(), String>) -> Option<String> {
        self.writing -= 1;
        let why = written.err()?;
        let said = std::mem::replace(&mut self.complaint, Complaint::Said);
        (said == Complaint::Unsaid).then(|| format!("calls are not noted down: {why}; --no-log does without"))
    }
}

/// How far media had to go: the longer way of both ends.
fn path(pair: &Pair) -> &'static str {
    let is = |kind: &str| pair.local == kind || pair.remote == kind;
    if is("relay") {
        "relay"
    } else if is("srflx") || is("prflx") {
        "srflx"
    } else {
        "host"
    }
}

fn quality(received: &Received) -> Quality {
    let (video, audio) = (received.video.as_ref(), received.audio.as_ref());
    let (video, audio) = (video.map(|video| &video.figures), audio.map(|audio| &audio.figures));
    let (pictures, sound) =
        (video.map_or((0, 0), |of| (of.packets, of.lost)), audio.map_or((0, 0), |of| (of.packets, of.lost)));
    let (came, lost) = (pictures.0 + sound.0, pictures.1 + sound.1);
    let loss = (came + lost > 0).then(|| lost as f64 / (came + lost) as f64);
    Quality { freezes: video.map_or(0, |of| u64::from(of.freezes)), loss }
}

#[cfg(test)]
mod tests {
    use media::call::incoming::{AudioFigures, VideoFigures};

    use super::*;
    use crate::phone::events::{AudioReceived, VideoReceived};

    #[test]
    fn the_longer_way_names_the_path() {
        let pair = |local: &str, remote: &str| Pair {
            local: local.to_owned(),
            remote: remote.to_owned(),
            protocol: "udp".to_owned(),
            round_trip_ms: None,
            relay_protocol: None,
        };
        for (local, remote, expected) in [
            ("host", "host", "host"),
            ("host", "prflx", "srflx"),
            ("srflx", "host", "srflx"),
            ("srflx", "relay", "relay"),
        ] {
            assert_eq!(path(&pair(local, remote)), expected);
        }
    }

    #[test]
    fn quality_counts_both_media_and_does_not_invent() {
        let video = VideoFigures { packets: 90, lost: 2, freezes: 1, ..VideoFigures::default() };
        let audio = AudioFigures { packets: 100, lost: 8, ..AudioFigures::default() };
        let received = Received {
            video: Some(Box::new(VideoReceived { figures: video, ..VideoReceived::default() })),
            audio: Some(Box::new(AudioReceived { figures: audio, ..AudioReceived::default() })),
            ..Received::default()
        };
        assert_eq!(quality(&received), Quality { freezes: 1, loss: Some(0.05) });
        assert_eq!(quality(&Received::default()), Quality { freezes: 0, loss: None });
    }
}
