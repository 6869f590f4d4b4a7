//! JSON lines over a socket, both ways.

use std::io;

use serde::Serialize;
use serde::de::DeserializeOwned;
use signalling::wire::ENVELOPE_BYTES_MAX;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

/// Longest line: the largest message as base64, and what stands around it.
const LINE_BYTES_MAX: usize = ENVELOPE_BYTES_MAX / 3 * 4 + 4096;

/// What is read.
#[derive(Debug)]
pub(super) struct Reader {
    input: BufReader<OwnedReadHalf>,
    /// A line that has begun; kept when reading is given up half-way.
    line: Vec<u8>,
}

/// What is written.
#[derive(Debug)]
pub(super) struct Writer(OwnedWriteHalf);

/// Both ends of a socket.
pub(super) fn split(stream: UnixStream) -> (Reader, Writer) {
    let (input, output) = stream.into_split();
    (Reader { input: BufReader::new(input), line: Vec::new() }, Writer(output))
}

impl Reader {
    /// The next line; `None` at the end. Loses nothing when it is dropped.
    pub(super) async fn next<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        let room = (LINE_BYTES_MAX + 1).saturating_sub(self.line.len());
        (&mut self.input).take(room as u64).read_until(b'\n', &mut self.line).await?;
        if !self.line.ends_with(b"\n") {
            let reason = if self.line.is_empty() { return Ok(None) } else { "a line is cut off or too long" };
            return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        }
        let read = serde_json::from_slice(&self.line).map_err(io::Error::from);
        self.line.clear();
        read.map(Some)
    }
}

impl Writer {
    pub(super) async fn write(&mut self, value: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(value)?;
        line.push(b'\n');
        self.0.write_all(&line).await
    }
}
