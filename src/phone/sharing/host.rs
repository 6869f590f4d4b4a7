//! The host's side of the socket: one task a guest.

use std::path::PathBuf;

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::platform::acceptor::Acceptor;

use super::lines::{self, Reader, Writer};
use super::{Answer, Card, FromGuest, HELLO_PATIENCE, ToGuest, ToHost, desk};

/// Guests at a time: nobody makes more calls at once.
const GUESTS_MAX: usize = 16;

/// Lines that wait for a guest. What does not fit is dropped: messages are sent again.
const LINES_MAX: usize = 256;

/// The socket that others find us by; removed when dropped.
pub(crate) struct Listener {
    socket: UnixListener,
    path: PathBuf,
    card: Card,
}

impl Listener {
    pub(super) const fn new(socket: UnixListener, path: PathBuf, card: Card) -> Self {
        Self { socket, path, card }
    }

    /// Lets guests in until `closing` fires, and keeps those that are there until then.
    pub(crate) fn serve(self, inputs: mpsc::Sender<FromGuest>, closing: CancellationToken) {
        tokio::spawn(async move {
            tokio::select! {
                () = closing.cancelled() => {}
                () = self.accept(&inputs, &closing) => {}
            }
        });
    }

    async fn accept(&self, inputs: &mpsc::Sender<FromGuest>, closing: &CancellationToken) {
        let places = std::sync::Arc::new(tokio::sync::Semaphore::new(GUESTS_MAX));
        let mut acceptor = Acceptor::new("guest");
        for number in 0.. {
            let Ok(place) = std::sync::Arc::clone(&places).acquire_owned().await else { return };
            let (stream, _) = acceptor.next(|| self.socket.accept()).await;
            let (card, inputs, closing) = (self.card.clone(), inputs.clone(), closing.clone());
            tokio::spawn(async move {
                tokio::select! {
                    () = closing.cancelled() => {}
                    () = receive(number, stream, &card, &inputs) => {}
                }
                drop(place);
            });
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Whoever finds it later removes it too.
        let _absent = std::fs::remove_file(&self.path);
    }
}

/// Hears who a guest is, and then what it wants until it goes.
async fn receive(number: u64, stream: UnixStream, card: &Card, inputs: &mpsc::Sender<FromGuest>) {
    let (mut reader, mut writer) = lines::split(stream);
    let Ok(Ok(Some(guest))) = tokio::time::timeout(HELLO_PATIENCE, reader.next::<Card>()).await else {
        return debug!("somebody at the socket does not say who they are");
    };
    let answer = card.admit(&guest);
    if writer.write(&answer).await.is_err() || !matches!(answer, Answer::Welcome { .. }) {
        return;
    }
    let (lines, wanted) = mpsc::channel(LINES_MAX);
    if inputs.send(FromGuest::Joined { number, guest: desk::Guest::new(&guest, lines) }).await.is_err() {
        return;
    }
    tokio::select! {
        () = hear(number, &mut reader, inputs) => {}
        () = tell(&mut writer, wanted) => {}
    }
    // A session that is gone has no guests.
    let _gone = inputs.send(FromGuest::Left { number }).await;
}

async fn hear(number: u64, reader: &mut Reader, inputs: &mpsc::Sender<FromGuest>) {
    loop {
        match reader.next::<ToHost>().await {
            Ok(Some(said)) => {
                if inputs.send(FromGuest::Said { number, said }).await.is_err() {
                    return std::future::pending().await;
                }
            }
            Ok(None) => return,
            Err(error) => return debug!(%error, "a guest is not understood"),
        }
    }
}

async fn tell(writer: &mut Writer, mut wanted: mpsc::Receiver<ToGuest>) {
    while let Some(line) = wanted.recv().await {
        if let Err(error) = writer.write(&line).await {
            return debug!(%error, "a guest does not listen any more");
        }
    }
    // The session is over; the socket stays until its connection to the broker is closed, so that the guest may connect.
    std::future::pending().await
}
