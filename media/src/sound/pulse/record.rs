//! Sound from a source of the server.
//!
//! The server sends each 5 ms as soon as they are there. What this program is late to take waits in the server, up to
//! seconds of it.

use std::sync::Arc;
use std::time::Duration;

use pulseaudio::protocol::RecordStreamParams;
use pulseaudio::protocol::stream::{BufferAttr, StreamFlags};
use pulseaudio::{Client, RecordStream};

use super::{SAMPLE_BYTES, SPEC, answer, bytes_of, connect, device_name, mono};
use crate::sound::priority::ask_for_real_time;
use crate::sound::stream::{Device, Health};
use crate::sound::system::is_monitor;

/// The server sends pieces of this length; half of it waits in the source, half in the server.
const PIECE: Duration = Duration::from_millis(5);

/// How often the server is asked whether the source is still there.
const ASK_EVERY: Duration = Duration::from_millis(500);

/// Opens the source called `id`; `follows` is true where it was chosen for being the default one: then it counts as gone
/// when another is the default. A source that is unplugged is not replaced by the server, which may choose what the
/// speaker plays. Blocks.
///
/// # Errors
/// The server's reason.
pub(crate) fn open(
    id: &str,
    follows: bool,
    mut ring: rtrb::Producer<i16>,
    health: Arc<Health>,
) -> Result<Box<dyn Device>, String> {
    let params = RecordStreamParams {
        sample_spec: SPEC,
        channel_map: mono(),
        source_name: device_name(Some(id))?,
        buffer_attr: BufferAttr { fragment_size: bytes_of(PIECE), ..BufferAttr::default() },
        flags: StreamFlags { adjust_latency: true, no_move: true, ..StreamFlags::default() },
        ..RecordStreamParams::default()
    };
    let (counted, mut is_prioritised) = (Arc::clone(&health), false);
    let on_sound = move |bytes: &[u8]| {
        if !is_prioritised {
            is_prioritised = true;
            ask_for_real_time("microphone");
        }
        if !push(bytes, &mut ring) {
            counted.count(1);
        }
    };
    let client = connect()?;
    let stream = answer(client.create_record_stream(params, on_sound))?;
    tracing::debug!(attributes = ?stream.buffer_attr(), "stream from the sound server");
    let followed = follows.then(|| id.to_owned());
    Ok(Box::new(Server { client, stream, followed, health }))
}

/// Puts samples into the ring; false when some did not fit.
fn push(bytes: &[u8], ring: &mut rtrb::Producer<i16>) -> bool {
    let samples = bytes.as_chunks::<SAMPLE_BYTES>().0;
    samples.iter().all(|sample| ring.push(i16::from_le_bytes(*sample)).is_ok())
}

/// The stream, as its thread looks after it.
struct Server {
    client: Client,
    stream: RecordStream,
    /// The source, where it is to be the default one.
    followed: Option<String>,
    health: Arc<Health>,
}

impl Server {
    fn check(&self) -> Result<(), String> {
        answer(self.stream.timing_info())?;
        let Some(followed) = &self.followed else { return Ok(()) };
        let default = answer(self.client.server_info())?.default_source_name;
        let default = default.map(|name| name.to_string_lossy().into_owned());
        match default {
            Some(other) if other != *followed && !is_monitor(&other) => Err(format!("{other} is the default now")),
            Some(_) | None => Ok(()),
        }
    }
}

impl Device for Server {
    fn look(&mut self) -> Result<Duration, String> {
        self.check().inspect_err(|_| self.health.fail())?;
        Ok(ASK_EVERY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_told() {
        let (mut ring, mut samples) = rtrb::RingBuffer::new(3);
        assert!(push(&[1, 0, 0xFE, 0xFF], &mut ring));
        assert!(!push(&[3, 0, 4, 0], &mut ring));
        assert_eq!(std::iter::from_fn(|| samples.pop().ok()).collect::<Vec<_>>(), [1, -2, 3]);
    }
}
