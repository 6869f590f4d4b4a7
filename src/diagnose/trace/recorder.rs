//! All that peers say while something goes on, kept for a drawing of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use signalling::dialect::Dialect;
use signalling::mqtt::{Link, LinkConfig, LinkEvent};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::instrument::WithSubscriber as _;
use tracing::subscriber::NoSubscriber;

use super::{Message, Reader};
use crate::output::exit::Failure;
use crate::phone::identity;

/// Messages kept: some hundred calls. Later ones are counted and left out: what went wrong first is worth most.
const MESSAGES_MAX: usize = 10_000;

/// Reads along until it is asked for what it read; dropped, it ends too.
#[derive(Debug)]
pub(crate) struct Recorder {
    stop: CancellationToken,
    reading: JoinHandle<Vec<Message>>,
    link: JoinHandle<()>,
    left_out: Arc<AtomicU64>,
}

/// What was read.
#[derive(Debug)]
pub(crate) struct Recording {
    /// The messages, in order.
    pub(crate) messages: Vec<Message>,
    /// How many more there were.
    pub(crate) left_out: u64,
}

impl Recorder {
    /// Begins to read along at the broker; times count from `began`. From its return nothing is missed, while the broker
    /// stays.
    ///
    /// # Errors
    /// A [`Failure`] when the broker cannot be reached, or does not let us read.
    pub(crate) async fn start(config: LinkConfig, dialect: Dialect, began: Instant) -> Result<Self, Failure> {
        let reader = Reader::new(config.template.clone(), dialect, Some(identity::of_this_program()));
        let failure = |error: &signalling::mqtt::LinkError| Failure::new(error.into(), error);
        // Its sender may go: a tracer takes no commands.
        let (link, _commands, events) = Link::tracer(config).map_err(|error| failure(&error))?;
        let stop = CancellationToken::new();
        // What happens to the broker of a test is its peers' to tell.
        let link = tokio::spawn(link.run(stop.clone()).with_subscriber(NoSubscriber::default()));
        let (up, is_up) = oneshot::channel();
        let left_out = Arc::new(AtomicU64::new(0));
        let reading = tokio::spawn(read(reader, events, began, up, Arc::clone(&left_out)));
        match is_up.await {
            Ok(Ok(())) => Ok(Self { stop, reading, link, left_out }),
            Ok(Err(error)) => Err(failure(&error)),
            Err(_gone) => Err(Failure::internal("the link to the broker ended")),
        }
    }

    /// Ends the reading, and hands out what was read.
    pub(crate) async fn finish(mut self) -> Recording {
        self.stop.cancel();
        let messages = (&mut self.reading).await.unwrap_or_default();
        let _ended = (&mut self.link).await;
        Recording { messages, left_out: self.left_out.load(Ordering::Relaxed) }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

type Up = oneshot::Sender<Result<(), signalling::mqtt::LinkError>>;

/// Reads until the link ends.
async fn read(
    mut reader: Reader,
    mut events: mpsc::Receiver<LinkEvent>,
    began: Instant,
    up: Up,
    left_out: Arc<AtomicU64>,
) -> Vec<Message> {
    let (mut messages, mut up) = (Vec::new(), Some(up));
    while let Some(event) = events.recv().await {
        match event {
            LinkEvent::Overheard { topic, payload, size, retained } => {
                let message = reader.read(began.elapsed(), &topic, payload.as_deref(), size, retained);
                match message {
                    Some(_) if messages.len() >= MESSAGES_MAX => {
                        left_out.fetch_add(1, Ordering::Relaxed);
                    }
                    Some(message) => messages.push(message),
                    None => {}
                }
            }
            LinkEvent::Up { .. } => {
                // Whoever waited for it may have given up.
                let _gone = up.take().map(|up| up.send(Ok(())));
            }
            LinkEvent::Failed(error) => {
                let _gone = up.take().map(|up| up.send(Err(error)));
            }
            LinkEvent::Down { .. }
            | LinkEvent::Message { .. }
            | LinkEvent::Refused { .. }
            | LinkEvent::Dropped { .. }
            | LinkEvent::Presence { .. }
            | LinkEvent::Ready { .. }
            | LinkEvent::Distrusted { .. }
            | LinkEvent::Echo => {}
        }
    }
    messages
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use signalling::id::Nonce;
    use signalling::mqtt::{Audience, MqttVersion, TlsFiles};

    use super::super::draw;
    use super::*;
    use crate::servers::broker::{self, Access, BrokerConfig};

    const PATIENCE: Duration = Duration::from_secs(20);

    fn config(id: &str, port: u16, audience: Audience) -> LinkConfig {
        LinkConfig {
            me: id.parse().unwrap(),
            run: Nonce(id.len() as u64),
            brokers: vec![format!("mqtt://127.0.0.1:{port}").parse().unwrap()],
            version: MqttVersion::V3,
            login: None,
            tls: TlsFiles::default(),
            proxies: signalling::mqtt::Proxies::default(),
            template: Dialect::Tring.topics(),
            audience,
            sealing: None,
        }
    }

    #[tokio::test]
    async fn what_two_say_is_drawn() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let broker = BrokerConfig { mqtt: any, websocket: any, access: Access::ReadAlong };
        let broker = broker::start(broker).await.unwrap();
        let port = broker.mqtt_addr().port();
        let recorder =
            Recorder::start(config("runner", port, Audience::Anyone), Dialect::Tring, Instant::now()).await.unwrap();
        let (link, alice, mut events) = Link::new(config("alice", port, Audience::Anyone)).unwrap();
        let stop = CancellationToken::new();
        let running = tokio::spawn(link.run(stop.clone()));
        let up = tokio::time::timeout(PATIENCE, events.recv()).await.unwrap();
        assert!(matches!(up, Some(LinkEvent::Up { .. })), "{up:?}");
        let ringing = br#"{"v":1,"id":"7-1","from":"alice","to":"bob","ts":0,"call":"1","type":"ringing"}"#;
        alice.publish("bob".parse().unwrap(), ringing.to_vec()).unwrap();
        alice.publish("bob".parse().unwrap(), b"nonsense".to_vec()).unwrap();
        stop.cancel();
        running.await.unwrap();
        // Her goodbye is the last that she says, and comes after the rest.
        let recording = tokio::time::timeout(PATIENCE, until_offline(recorder)).await.unwrap();
        let drawing = draw(&recording.messages);
        for part in ["call 1: alice → bob", "── ringing ─", "unreadable", "8 bytes: no message of this protocol"]
        {
            assert!(drawing.contains(part), "{part} is missing:\n{drawing}");
        }
        assert_eq!(recording.left_out, 0);
        broker.stop().await;
    }

    /// Nothing tells from outside what a recorder has read so far.
    async fn until_offline(recorder: Recorder) -> Recording {
        tokio::time::sleep(Duration::from_millis(300)).await;
        recorder.finish().await
    }

    #[tokio::test]
    async fn a_broker_that_lets_nobody_read_is_an_error() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let broker = BrokerConfig { mqtt: any, websocket: any, access: Access::Anonymous };
        let broker = broker::start(broker).await.unwrap();
        let config = config("runner", broker.mqtt_addr().port(), Audience::Anyone);
        let failure = Recorder::start(config, Dialect::Tring, Instant::now()).await.unwrap_err();
        assert_eq!(failure.status, crate::output::exit::ExitStatus::BrokerRefused);
        assert!(failure.text.contains("tring/call/+/+"), "{}", failure.text);
        broker.stop().await;
    }
}
