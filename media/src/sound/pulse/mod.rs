//! Streams of a PulseAudio server (or PipeWire's in its place), by its own protocol.
//!
//! Devices are chosen by [`super::system`]; here they are opened. cpal opens them too, but there a stream's buffer in the
//! server has two blocks and no more, the server has to wake up 2000 times a second for it, and what it runs out of is
//! not told.
//!
//! - [`playback`]: ring → server; the server's buffer is as large as the sound that was given, so whoever gives it
//!   chooses the latency
//! - [`record`]: server → ring
//!
//! The crate's own thread carries both. Its callbacks allocate nothing and wait for nothing.

pub(crate) mod playback;
pub(crate) mod record;

use std::ffi::CString;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use pulseaudio::protocol::{ChannelMap, ChannelPosition, SampleFormat, SampleSpec};
use pulseaudio::{Client, ClientError};

use crate::frame::AUDIO_RATE_HZ;

/// How long the server may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// 16 bits, mono.
const SAMPLE_BYTES: usize = 2;

/// What all streams carry; the server converts.
const SPEC: SampleSpec = SampleSpec { format: SampleFormat::S16Le, channels: 1, sample_rate: AUDIO_RATE_HZ };

fn mono() -> ChannelMap {
    ChannelMap::new([ChannelPosition::Mono])
}

/// Bytes of so much sound.
const fn bytes_of(time: Duration) -> u32 {
    (time.as_millis() as u32) * (AUDIO_RATE_HZ / 1_000) * SAMPLE_BYTES as u32
}

/// A connection of its own for each stream: each has a thread of its own then. Blocks.
fn connect() -> Result<Client, String> {
    Client::from_env(c"tring").map_err(|error| in_words(&error))
}

/// The name of a device as the protocol has it.
fn device_name(id: Option<&str>) -> Result<Option<CString>, String> {
    id.map(CString::new).transpose().map_err(|_| "its name has a zero byte".to_owned())
}

/// Waits for the server's answer, [`PATIENCE`] at most. Blocks.
fn answer<T>(future: impl Future<Output = Result<T, ClientError>>) -> Result<T, String> {
    match wait(future, PATIENCE) {
        Some(answer) => answer.map_err(|error| in_words(&error)),
        None => Err("the sound server does not answer".to_owned()),
    }
}

fn in_words(error: &ClientError) -> String {
    match error {
        ClientError::ServerError(pulseaudio::protocol::PulseError::NoEntity) => "it is not there".to_owned(),
        ClientError::Disconnected => "the sound server is gone".to_owned(),
        _ => network::system_error::without_number(&error.to_string()).trim_end_matches('.').to_owned(),
    }
}

/// Runs a future on this thread; `None` when it takes longer than `patience`.
fn wait<F: Future>(future: F, patience: Duration) -> Option<F::Output> {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let deadline = Instant::now() + patience;
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Some(output);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return None;
        }
        std::thread::park_timeout(left);
    }
}

/// Wakes a thread that is parked.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_future_is_waited_for_as_long_as_it_may_take() {
        assert_eq!(wait(std::future::ready(7), Duration::ZERO), Some(7));
        assert_eq!(wait(std::future::pending::<()>(), Duration::from_millis(20)), None);
        let (send, receive) = tokio::sync::oneshot::channel();
        let sending = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(20));
            send.send(5).unwrap();
        });
        assert_eq!(wait(receive, Duration::from_secs(60)), Some(Ok(5)));
        sending.join().unwrap();
    }

    #[test]
    fn sound_has_two_bytes_a_sample() {
        assert_eq!(bytes_of(Duration::from_millis(10)), 960);
    }
}
