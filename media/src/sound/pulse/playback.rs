//! Sound to a sink of the server.
//!
//! The server asks for as much as its buffer has room for, and gets what there is. Its buffer may hold far more than is
//! ever given, so a pause of this program is heard only when it is longer than the sound given before. How far the server
//! has played, and that it had nothing to play, is asked for now and then.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime};

use pulseaudio::protocol::stream::{BufferAttr, StreamFlags};
use pulseaudio::protocol::{PlaybackLatency, PlaybackStreamParams};
use pulseaudio::{PlaybackSource, PlaybackStream};

use super::{SAMPLE_BYTES, SPEC, answer, bytes_of, connect, device_name, mono};
use crate::frame::AUDIO_RATE_HZ;
use crate::sound::play_clock::PlayClock;
use crate::sound::priority::ask_for_real_time;
use crate::sound::stream::{Device, Health};

/// The sink takes sound in pieces of this length.
const SINK_LATENCY: Duration = Duration::from_millis(5);

/// The server asks for more once so much is missing. As far as it is not given it stays asked for.
const REQUEST: Duration = Duration::from_millis(240);

/// What the server's buffer may hold: the sink gets half of what lies above two requests.
const BUFFER: Duration = Duration::from_millis(2 * REQUEST.as_millis() as u64 + 2 * SINK_LATENCY.as_millis() as u64);

/// How often the server is asked how far it is.
const ASK_EVERY: Duration = Duration::from_millis(50);

/// The same while it plays nothing: whoever begins to speak waits for the first answer.
const ASK_EVERY_IDLE: Duration = Duration::from_millis(10);

/// The near end of an open stream.
pub(crate) struct Playing {
    pub(crate) ring: rtrb::Producer<i16>,
    pub(crate) wire: Wire,
    pub(crate) health: Arc<Health>,
}

/// What both ends of a stream know.
#[derive(Clone, Debug)]
pub(crate) struct Wire(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    clock: Mutex<PlayClock>,
    /// Wakes the thread that carries sound to the server.
    waker: Mutex<Option<Waker>>,
}

impl Wire {
    fn new() -> Self {
        Self(Arc::new(Shared { clock: Mutex::new(PlayClock::new(AUDIO_RATE_HZ)), waker: Mutex::default() }))
    }

    /// How far the server is.
    pub(crate) fn clock(&self) -> MutexGuard<'_, PlayClock> {
        self.0.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has what is in the ring carried to the server.
    pub(crate) fn wake(&self) {
        let waker = self.0.waker.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn remember(&self, waker: &Waker) {
        let mut known = self.0.waker.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *known = Some(waker.clone());
        }
    }
}

/// Opens the sink called `id`, or the default one and whichever becomes the default later. `ring_samples` is how much may
/// wait to be carried to the server. Blocks.
///
/// # Errors
/// The server's reason.
pub(crate) fn open(id: Option<&str>, ring_samples: usize) -> Result<(Box<dyn Device>, Playing), String> {
    let (ring, samples) = rtrb::RingBuffer::new(ring_samples);
    let (wire, health) = (Wire::new(), Arc::new(Health::default()));
    let params = PlaybackStreamParams {
        sample_spec: SPEC,
        channel_map: mono(),
        sink_name: device_name(id)?,
        buffer_attr: BufferAttr {
            target_length: bytes_of(BUFFER),
            minimum_request_length: bytes_of(REQUEST),
            // It begins with the first sample, at first and after it had none.
            pre_buffering: SAMPLE_BYTES as u32,
            ..BufferAttr::default()
        },
        flags: StreamFlags { adjust_latency: true, ..StreamFlags::default() },
        ..PlaybackStreamParams::default()
    };
    let source = Source { ring: samples, wire: wire.clone(), is_prioritised: false };
    let stream = answer(connect()?.create_playback_stream(params, source))?;
    tracing::debug!(attributes = ?stream.buffer_attr(), "stream to the sound server");
    let device = Server { stream, wire: wire.clone(), health: Arc::clone(&health), before: None };
    Ok((Box::new(device), Playing { ring, wire, health }))
}

/// Gives the server what is in the ring.
struct Source {
    ring: rtrb::Consumer<i16>,
    wire: Wire,
    is_prioritised: bool,
}

impl PlaybackSource for Source {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, out: &mut [u8]) -> Poll<usize> {
        let this = self.get_mut();
        if !this.is_prioritised {
            this.is_prioritised = true;
            ask_for_real_time("speaker");
        }
        // Before the look into the ring: what comes after it wakes.
        this.wire.remember(context.waker());
        let samples = this.ring.slots().min(out.len() / SAMPLE_BYTES);
        let Ok(chunk) = this.ring.read_chunk(samples) else { return Poll::Pending };
        if samples == 0 {
            return Poll::Pending;
        }
        for (bytes, sample) in out.chunks_exact_mut(SAMPLE_BYTES).zip(chunk) {
            bytes.copy_from_slice(&sample.to_le_bytes());
        }
        Poll::Ready(samples * SAMPLE_BYTES)
    }
}

/// The stream, as its thread looks after it.
struct Server {
    stream: PlaybackStream,
    wire: Wire,
    health: Arc<Health>,
    before: Option<Heard>,
}

/// What the server told, as far as it is compared with the next time.
#[derive(Clone, Copy, Debug)]
struct Heard {
    at: Instant,
    /// How long it has been playing without a gap; zero while it has nothing to play.
    playing: Duration,
}

impl Device for Server {
    fn look(&mut self) -> Result<Duration, String> {
        let asked = Instant::now();
        let told = answer(self.stream.timing_info()).inspect_err(|_| self.health.fail())?;
        let at = time_of(&told, asked, Instant::now());
        tracing::trace!(?told, "sound server");
        let runs = told.playing_for > 0;
        let sink = i64::try_from(u128::from(told.sink_usec) * u128::from(AUDIO_RATE_HZ) / 1_000_000).unwrap_or(0);
        self.wire.clock().tell(at, told.read_offset / SAMPLE_BYTES as i64, sink, runs);
        let heard = Heard { at, playing: time(told.playing_for) };
        if self.before.is_some_and(|before| heard.has_gap_after(before)) {
            self.health.count(1);
        }
        self.before = Some(heard);
        Ok(if runs { ASK_EVERY } else { ASK_EVERY_IDLE })
    }
}

impl Heard {
    /// True when it ran out of sound since `before`, at which it had some.
    fn has_gap_after(self, before: Self) -> bool {
        let grown = self.playing.checked_sub(before.playing);
        // The sink takes whole pieces, and as many as it is late: it may be some ahead, or behind.
        let least = self.at.saturating_duration_since(before.at).saturating_sub(4 * SINK_LATENCY);
        !before.playing.is_zero() && (self.playing.is_zero() || grown.is_none_or(|grown| grown < least))
    }
}

/// When the server made its answer. Its clock is ours, unless it is on another machine: then the middle is taken.
fn time_of(told: &PlaybackLatency, asked: Instant, answered: Instant) -> Instant {
    let took = answered.saturating_duration_since(asked);
    let age = SystemTime::now().duration_since(told.remote_time).ok().filter(|age| *age <= took);
    answered.checked_sub(age.unwrap_or(took / 2)).unwrap_or(answered)
}

/// How long so many bytes last.
fn time(bytes: u64) -> Duration {
    let micros = u128::from(bytes) * 1_000_000 / u128::from(AUDIO_RATE_HZ) / SAMPLE_BYTES as u128;
    Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::Wake;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[derive(Default)]
    struct Woken(AtomicU32);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn the_server_gets_what_there_is_and_is_woken_for_more() {
        let (mut ring, samples) = rtrb::RingBuffer::new(8);
        let wire = Wire::new();
        let mut source = Source { ring: samples, wire: wire.clone(), is_prioritised: true };
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let mut read = |out: &mut [u8]| Pin::new(&mut source).poll_read(&mut Context::from_waker(&waker), out);
        let mut out = [9; 6];
        assert_eq!(read(&mut out), Poll::Pending);
        ring.push_entire_slice(&[1, -2, 3, 4]).unwrap();
        wire.wake();
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        assert_eq!(read(&mut out), Poll::Ready(6));
        assert_eq!(out, [1, 0, 0xFE, 0xFF, 3, 0]);
        assert_eq!(read(&mut out), Poll::Ready(2));
        assert_eq!(read(&mut out), Poll::Pending);
    }

    #[test]
    fn a_gap_is_one_where_it_played_before() {
        let start = Instant::now();
        let heard = |at: u32, playing: u32| Heard { at: start + MS * at, playing: MS * playing };
        // In time, and with the sink a piece ahead or behind.
        assert!(!heard(50, 1050).has_gap_after(heard(0, 1000)));
        assert!(!heard(50, 1040).has_gap_after(heard(0, 1000)));
        assert!(!heard(52, 1060).has_gap_after(heard(0, 1000)));
        // It ran dry, it did and plays again, and it did after a short time.
        assert!(heard(50, 0).has_gap_after(heard(0, 1000)));
        assert!(heard(50, 20).has_gap_after(heard(0, 1000)));
        assert!(heard(50, 20).has_gap_after(heard(0, 10)));
        // It begins.
        assert!(!heard(50, 20).has_gap_after(heard(0, 0)));
        assert!(!heard(50, 0).has_gap_after(heard(0, 0)));
    }
}
