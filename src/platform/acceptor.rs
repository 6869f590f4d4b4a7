//! Takes connections from a listener, and waits when the system refuses one.
//!
//! - owns: the pause after a refusal, and how often a refusal is logged
//! - [`serve_each`]: a task a connection
//! - also: [`send_at_once`], for those that carry media
//! - must never: try again at once, which keeps a core busy for as long as no file can be opened; give up

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// Between two attempts while the system refuses: short for who waits, and far above what an attempt costs.
const PAUSE: Duration = Duration::from_millis(100);

/// Between two warnings: at the limit, connections are taken and refused many times a second.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// What the system may hold of a stream that the network has not taken yet, bytes: a packet or two. More would be latency
/// that nobody can take back; what waits in a queue of ours can still be dropped.
#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
const UNSENT_BYTES_MAX: u32 = 3000;

/// For a stream that carries sound and pictures: small packets do not wait for each other, and hardly any wait in the system.
pub(crate) fn send_at_once(stream: &TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "small packets of a connection may wait for each other");
    }
    #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
    if let Err(error) = socket2::SockRef::from(stream).set_tcp_notsent_lowat(UNSENT_BYTES_MAX) {
        debug!(%error, "the system holds as much of a stream as it likes");
    }
}

/// Takes the connections of `listener` until `stopping` fires, and runs what `serve` makes of each on a task of its own;
/// `None` refuses one. One that panics ends alone. Nothing listens any more when this returns; the tasks may still run.
pub(crate) async fn serve_each<F>(
    service: &'static str,
    listener: TcpListener,
    stopping: &CancellationToken,
    mut serve: impl FnMut(TcpStream, SocketAddr) -> Option<F>,
) -> JoinSet<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut acceptor = Acceptor::new(service);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = stopping.cancelled() => return connections,
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended {
                    warn!("the task of a connection ended: {error}");
                }
            }
            (stream, from) = acceptor.next(|| listener.accept()) => {
                if let Some(served) = serve(stream, from) {
                    connections.spawn(served);
                }
            }
        }
    }
}

/// Takes the connections of one listener.
pub(crate) struct Acceptor {
    /// as the log names those who connect, such as "MQTT"
    service: &'static str,
    state: State,
    warned: Option<Instant>,
}

enum State {
    Taking,
    Refused { again_at: Instant },
}

impl Acceptor {
    pub(crate) const fn new(service: &'static str) -> Self {
        Self { service, state: State::Taking, warned: None }
    }

    /// The next connection, by `accept` of the listener. Cancellation safe where `accept` is.
    pub(crate) async fn next<S, F>(&mut self, accept: impl Fn() -> F) -> S
    where
        F: Future<Output = io::Result<S>>,
    {
        loop {
            if let State::Refused { again_at } = self.state {
                tokio::time::sleep_until(again_at).await;
            }
            match accept().await {
                Ok(connection) => {
                    self.state = State::Taking;
                    return connection;
                }
                Err(error) => {
                    self.warn(&error);
                    self.state = State::Refused { again_at: Instant::now() + PAUSE };
                }
            }
        }
    }

    fn warn(&mut self, error: &io::Error) {
        if self.warned.is_none_or(|warned| warned.elapsed() >= WARN_EVERY) {
            self.warned = Some(Instant::now());
            warn!("new {} connections wait: {}", self.service, network::system_error::in_words(error));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::ready;

    use super::*;

    fn refused() -> io::Error {
        io::Error::from_raw_os_error(network::system_error::TOO_MANY_FILES)
    }

    #[tokio::test]
    async fn attempts_that_are_refused_are_a_pause_apart() {
        let (begun, attempts) = (Instant::now(), Cell::new(0_u32));
        let accept = || {
            attempts.set(attempts.get() + 1);
            ready(if attempts.get() <= 3 { Err(refused()) } else { Ok(attempts.get()) })
        };
        let mut acceptor = Acceptor::new("MQTT");
        assert_eq!(acceptor.next(accept).await, 4);
        assert!(begun.elapsed() >= PAUSE * 3);
        assert_eq!(acceptor.next(accept).await, 5);
    }

    #[tokio::test]
    async fn a_wait_that_is_cancelled_does_not_shorten_the_pause() {
        let (begun, attempts) = (Instant::now(), Cell::new(0_u32));
        let accept = || {
            attempts.set(attempts.get() + 1);
            ready(Err::<(), _>(refused()))
        };
        let mut acceptor = Acceptor::new("MQTT");
        for _ in 0..20 {
            let waited = tokio::time::timeout(PAUSE / 10, acceptor.next(accept)).await;
            assert!(waited.is_err());
        }
        let pauses = begun.elapsed().as_millis() / PAUSE.as_millis();
        assert!(u128::from(attempts.get()) <= pauses + 1, "{} attempts in {pauses} pauses", attempts.get());
    }
}
