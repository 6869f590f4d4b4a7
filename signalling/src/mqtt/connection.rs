//! The connection itself: one try after the other, each with a fresh MQTT session.
//!
//! A fresh `rumqttc` event loop a try keeps no half-sent packets: what was under way is sent again by
//! [`crate::delivery`], which alone knows what is still wanted.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rumqttc::mqttbytes::Error as MqttError;
use rumqttc::{
    AsyncClient, ConnectReturnCode, ConnectionError, EventLoop, LastWill, MqttOptions, NetworkOptions, Outgoing,
    Packet, Publish, QoS, StateError, SubscribeFilter, SubscribeReasonCode, TlsConfiguration, Transport,
};
use rustls::AlertDescription;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::backoff::Backoff;
use super::{Audience, BrokerUrl, Command, LinkConfig, LinkError, LinkEvent, Scheme, Tls, run_id};
use crate::id::PeerId;
use crate::topic;
use crate::wire::{ENVELOPE_BYTES_MAX, Presence, PresenceState, VERSION};

/// How long the first connection may take in all, so that a wrong address is an error within 10 s.
const FIRST_CONNECT: Duration = Duration::from_secs(8);

/// How long one try may take, TCP, TLS and MQTT together.
const CONNECT_TRY_SECONDS: u64 = 5;

/// How long all may take until messages come in, connecting included.
const BRING_UP: Duration = Duration::from_secs(8);

/// A silent broker is noticed after about one and a half of these.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// Larger packets than ours are read and dropped rather than refused: refusing ends the connection, so any stranger
/// could cut it. Above this it is cut all the same, to bound memory.
const INCOMING_PACKET_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Fixed header, topic and packet id around an envelope.
const PACKET_OVERHEAD_BYTES: usize = 1024;

/// Packets waiting inside the client; a full one means a dead network, and the packet is dropped for a resend.
const REQUESTS_MAX: usize = 256;

/// How long to wait for our own retained presence after a reconnect before taking it as absent.
const OWN_PRESENCE_WAIT: Duration = Duration::from_millis(300);

/// A connection that the broker closes sooner than this after it was up did not end by itself.
const SHORT_LIFE: Duration = Duration::from_secs(3);

/// So many short lives in a row are two programs with one ID kicking each other, where presence cannot tell.
const SHORT_LIVES_MAX: u32 = 4;

/// How long the goodbye to the broker may take.
const GOODBYE: Duration = Duration::from_millis(500);

/// Everything that outlives a single connection.
#[derive(Debug)]
pub(super) struct Connection {
    config: LinkConfig,
    tls: Tls,
    commands: mpsc::Receiver<Command>,
    events: mpsc::Sender<LinkEvent>,
    watched: BTreeSet<PeerId>,
    presence: watch::Receiver<PresenceState>,
    /// True once this run has announced itself: from then on a foreign run on our own topic is a take-over.
    announced: bool,
    short_lives: u32,
    /// True while tries to connect have failed since the last connection: the broker itself was away.
    broker_was_away: bool,
}

/// How a connection ended.
enum Outcome {
    /// We were told to stop.
    Stopped,
    /// It broke; try again.
    Broken(String),
    /// A stranger's message above [`INCOMING_PACKET_BYTES_MAX`] broke it; try again.
    Oversized,
    /// It cannot work.
    Fatal(LinkError),
}

/// One live connection.
struct Session {
    client: AsyncClient,
    packets: mpsc::Receiver<Result<rumqttc::Event, ConnectionError>>,
    pump: JoinHandle<()>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.pump.abort();
    }
}

impl Connection {
    pub(super) fn new(
        config: LinkConfig,
        tls: Tls,
        commands: mpsc::Receiver<Command>,
        presence: watch::Receiver<PresenceState>,
        events: mpsc::Sender<LinkEvent>,
    ) -> Self {
        Self {
            config,
            tls,
            commands,
            events,
            watched: BTreeSet::new(),
            presence,
            announced: false,
            short_lives: 0,
            broker_was_away: false,
        }
    }

    pub(super) async fn run(mut self, stop: CancellationToken) {
        let started = Instant::now();
        let mut backoff = Backoff::new(self.config.run);
        for attempt in 0usize.. {
            let broker = self.config.brokers[attempt % self.config.brokers.len()].clone();
            let was_announced = self.announced;
            let (outcome, lived) = self.connect_and_serve(&broker, &stop).await;
            let oversized = matches!(outcome, Outcome::Oversized);
            let reason = match outcome {
                Outcome::Stopped => return,
                // What worked before may work again, and the next broker may know us.
                Outcome::Fatal(error @ (LinkError::Tls { .. } | LinkError::LoginRefused { .. }))
                    if self.announced || attempt + 1 < self.config.brokers.len() =>
                {
                    warn!(%error, "trying on");
                    error.to_string()
                }
                Outcome::Fatal(error) => return self.fail(error).await,
                Outcome::Broken(reason) => reason,
                Outcome::Oversized => {
                    format!("someone sent more than {} MiB at once", INCOMING_PACKET_BYTES_MAX / 1024 / 1024)
                }
            };
            if let Some(lived) = lived {
                backoff.reset();
                self.short_lives = if lived < SHORT_LIFE && !oversized { self.short_lives + 1 } else { 0 };
                self.tell(LinkEvent::Down { reason: reason.clone() }).await;
                if self.short_lives >= SHORT_LIVES_MAX {
                    let me = self.config.me.clone();
                    return self.fail(LinkError::TakenOver { broker: broker.to_string(), me }).await;
                }
            }
            self.broker_was_away = lived.is_none();
            let wait = backoff.next();
            if !was_announced && !self.announced && started.elapsed() + wait > FIRST_CONNECT {
                return self.fail(LinkError::Unreachable { broker: broker.to_string(), reason }).await;
            }
            debug!(%broker, reason, ?wait, "no connection; trying again");
            if attempt == 0 && lived.is_none() {
                warn!(%broker, reason, "broker not reachable yet; still trying");
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = self.idle(wait) => {}
            }
        }
    }

    /// Waits without a connection; what is published meanwhile is lost, by design.
    async fn idle(&mut self, wait: Duration) {
        let end = tokio::time::sleep(wait);
        tokio::pin!(end);
        loop {
            tokio::select! {
                () = &mut end => return,
                Some(command) = self.commands.recv() => match command {
                    Command::Publish { .. } => debug!("not connected: message left to be sent again"),
                    Command::Watch(peer) => { self.watched.insert(peer); }
                },
            }
        }
    }

    async fn connect_and_serve(&mut self, broker: &BrokerUrl, stop: &CancellationToken) -> (Outcome, Option<Duration>) {
        let mut session = self.open(broker);
        let up = tokio::select! {
            biased;
            () = stop.cancelled() => return (Outcome::Stopped, None),
            up = tokio::time::timeout(BRING_UP, self.bring_up(&mut session, broker)) => {
                up.unwrap_or_else(|_| Err(Outcome::Broken("no answer to the subscription".into())))
            }
        };
        if let Err(outcome) = up {
            // A goodbye keeps the broker from publishing our will over the presence of whoever has our ID now.
            if matches!(outcome, Outcome::Fatal(_)) {
                leave(&mut session).await;
            }
            return (outcome, None);
        }
        let since = Instant::now();
        info!(%broker, "connected to the broker");
        self.tell(LinkEvent::Up { broker: broker.to_string() }).await;
        let outcome = self.serve(&mut session, broker, stop).await;
        (outcome, Some(since.elapsed()))
    }

    fn open(&self, broker: &BrokerUrl) -> Session {
        let mut options = match broker.scheme {
            Scheme::Ws | Scheme::Wss => MqttOptions::new(self.config.me.as_str(), broker.to_string(), broker.port),
            Scheme::Mqtt | Scheme::Mqtts if broker.host.contains(':') => {
                MqttOptions::new(self.config.me.as_str(), format!("[{}]", broker.host), broker.port)
            }
            Scheme::Mqtt | Scheme::Mqtts => MqttOptions::new(self.config.me.as_str(), &broker.host, broker.port),
        };
        let tls = || TlsConfiguration::Rustls(self.tls.config.clone());
        options.set_transport(match broker.scheme {
            Scheme::Mqtt => Transport::Tcp,
            Scheme::Mqtts => Transport::Tls(tls()),
            Scheme::Ws => Transport::Ws,
            Scheme::Wss => Transport::Wss(tls()),
        });
        options.set_keep_alive(KEEP_ALIVE);
        options.set_clean_session(true);
        options.set_max_packet_size(INCOMING_PACKET_BYTES_MAX, ENVELOPE_BYTES_MAX + PACKET_OVERHEAD_BYTES);
        if let Some(login) = &self.config.login {
            options.set_credentials(&login.user, &login.password);
        } else if let Some(user) = &broker.user {
            options.set_credentials(user, "");
        }
        let will = self.presence_payload(PresenceState::Offline);
        options.set_last_will(LastWill::new(topic::presence(&self.config.me), will, QoS::AtLeastOnce, true));
        let (client, mut event_loop) = AsyncClient::new(options, REQUESTS_MAX);
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        network.set_connection_timeout(CONNECT_TRY_SECONDS);
        event_loop.set_network_options(network);
        let (packets_tx, packets) = mpsc::channel(REQUESTS_MAX);
        let pump = tokio::spawn(pump(event_loop, packets_tx));
        Session { client, packets, pump }
    }

    /// From TCP to the last SUBACK and our presence.
    async fn bring_up(&mut self, session: &mut Session, broker: &BrokerUrl) -> Result<(), Outcome> {
        match session.next().await {
            Ok(rumqttc::Event::Incoming(Packet::ConnAck(_))) => {}
            Ok(_) => return Err(Outcome::Broken("the server does not speak MQTT".into())),
            Err(error) => return Err(self.classify(error, broker)),
        }
        let own = topic::presence(&self.config.me);
        let mut filters = self.call_filters();
        let required = filters.len();
        filters.push(own.clone());
        filters.extend(self.watched.iter().map(topic::presence));
        let subscription = filters.iter().map(|f| SubscribeFilter::new(f.clone(), QoS::AtLeastOnce));
        if session.client.try_subscribe_many(subscription).is_err() {
            return Err(Outcome::Broken("the client does not take requests".into()));
        }
        let refused = loop {
            match session.next().await {
                Ok(rumqttc::Event::Incoming(Packet::SubAck(ack))) => {
                    break ack.return_codes.iter().position(|code| *code == SubscribeReasonCode::Failure);
                }
                Ok(rumqttc::Event::Incoming(Packet::Publish(publish))) => self.incoming(publish).await,
                Ok(_) => {}
                Err(error) => return Err(self.classify(error, broker)),
            }
        };
        if let Some(index) = refused.filter(|index| *index < required) {
            let me = self.config.me.clone();
            let filter = filters.swap_remove(index);
            return Err(Outcome::Fatal(LinkError::SubscriptionRefused { broker: broker.to_string(), filter, me }));
        }
        if self.announced {
            self.refuse_take_over(session, broker, &own).await?;
        }
        self.announced = true;
        self.announce(session);
        Ok(())
    }

    /// After a reconnect: our own retained presence tells whether someone else used our ID meanwhile.
    async fn refuse_take_over(&mut self, session: &mut Session, broker: &BrokerUrl, own: &str) -> Result<(), Outcome> {
        let deadline = tokio::time::Instant::now() + OWN_PRESENCE_WAIT;
        while let Ok(packet) = tokio::time::timeout_at(deadline, session.next()).await {
            match packet {
                Ok(rumqttc::Event::Incoming(Packet::Publish(publish))) if publish.topic == own => {
                    let Ok(presence) = Presence::from_bytes(&publish.payload) else { return Ok(()) };
                    // A broker that was away may hold what an earlier run of ours left; nobody can have taken the ID there.
                    let left_over = self.broker_was_away && presence.state == PresenceState::Offline;
                    if left_over || presence.run == run_id(self.config.run) {
                        return Ok(());
                    }
                    let me = self.config.me.clone();
                    return Err(Outcome::Fatal(LinkError::TakenOver { broker: broker.to_string(), me }));
                }
                Ok(rumqttc::Event::Incoming(Packet::Publish(publish))) => self.incoming(publish).await,
                Ok(_) => {}
                Err(error) => return Err(self.classify(error, broker)),
            }
        }
        Ok(())
    }

    async fn serve(&mut self, session: &mut Session, broker: &BrokerUrl, stop: &CancellationToken) -> Outcome {
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => {
                    self.say_goodbye(session).await;
                    return Outcome::Stopped;
                }
                packet = session.packets.recv() => match packet {
                    Some(Ok(rumqttc::Event::Incoming(Packet::Publish(publish)))) => self.incoming(publish).await,
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return self.classify(error, broker),
                    None => return Outcome::Broken("the client ended".into()),
                },
                Some(command) = self.commands.recv() => self.execute(session, command),
                Ok(()) = self.presence.changed() => self.announce(session),
            }
        }
    }

    fn execute(&mut self, session: &Session, command: Command) {
        match command {
            Command::Publish { to, payload } => {
                let topic = self.config.template.call(&self.config.me, &to);
                if session.client.try_publish(topic, QoS::AtLeastOnce, false, payload).is_err() {
                    debug!(%to, "broker too slow: message left to be sent again");
                }
            }
            Command::Watch(peer) => {
                if session.client.try_subscribe(topic::presence(&peer), QoS::AtLeastOnce).is_err() {
                    debug!(%peer, "broker too slow: presence is asked for on the next connect");
                }
                self.watched.insert(peer);
            }
        }
    }

    async fn incoming(&self, publish: Publish) {
        if let Some(peer) = topic::presence_owner(&publish.topic) {
            if self.watched.contains(&peer) {
                // No presence is an emptied topic; anything unreadable is as good as none.
                let state = Presence::from_bytes(&publish.payload).ok().map(|presence| presence.state);
                self.tell(LinkEvent::Presence { peer, state }).await;
            }
            return;
        }
        let Some(from) = self.config.template.sender(&publish.topic, &self.config.me) else {
            return self.tell(LinkEvent::Dropped { reason: "topic names no valid peer" }).await;
        };
        if from == self.config.me {
            return;
        }
        if publish.retain {
            return self.tell(LinkEvent::Dropped { reason: "retained message: signalling is never retained" }).await;
        }
        if publish.payload.len() > ENVELOPE_BYTES_MAX {
            return self.tell(LinkEvent::Dropped { reason: "message above the size limit" }).await;
        }
        self.tell(LinkEvent::Message { from, payload: publish.payload }).await;
    }

    async fn say_goodbye(&mut self, session: &mut Session) {
        // Last words that nobody acknowledges: the program has ended, and they are still in the queue.
        while let Ok(command) = self.commands.try_recv() {
            self.execute(session, command);
        }
        let offline = self.presence_payload(PresenceState::Offline);
        let topic = topic::presence(&self.config.me);
        if session.client.try_publish(topic, QoS::AtLeastOnce, true, offline).is_ok() {
            leave(session).await;
        }
    }

    fn announce(&self, session: &Session) {
        let state = *self.presence.borrow();
        let payload = self.presence_payload(state);
        let topic = topic::presence(&self.config.me);
        if session.client.try_publish(topic, QoS::AtLeastOnce, true, payload).is_err() {
            debug!("broker too slow: presence not published");
        }
    }

    fn presence_payload(&self, state: PresenceState) -> Vec<u8> {
        Presence { v: VERSION, state, run: run_id(self.config.run) }.to_bytes()
    }

    fn call_filters(&self) -> Vec<String> {
        let me = &self.config.me;
        match &self.config.audience {
            Audience::Anyone => vec![self.config.template.from_anyone(me)],
            Audience::Only(peers) => peers.iter().map(|peer| self.config.template.call(peer, me)).collect(),
        }
    }

    fn classify(&self, error: ConnectionError, broker: &BrokerUrl) -> Outcome {
        match error {
            ConnectionError::ConnectionRefused(ConnectReturnCode::ServiceUnavailable) => {
                Outcome::Broken("the broker says it is unavailable".into())
            }
            ConnectionError::ConnectionRefused(code) => Outcome::Fatal(LinkError::LoginRefused {
                broker: broker.to_string(),
                user: self.config.login.as_ref().map(|l| format!(" of user {:?}", l.user)).unwrap_or_default(),
                reason: refusal(code).to_owned(),
            }),
            ConnectionError::MqttState(StateError::Deserialization(MqttError::PayloadSizeLimitExceeded(_))) => {
                Outcome::Oversized
            }
            ConnectionError::NetworkTimeout => Outcome::Broken(format!("no answer within {CONNECT_TRY_SECONDS} s")),
            other => match tls_reason(&other) {
                Some(reason) => Outcome::Fatal(LinkError::Tls { broker: broker.to_string(), reason }),
                None => Outcome::Broken(plain_reason(&other)),
            },
        }
    }

    async fn tell(&self, event: LinkEvent) {
        // A session that is gone stops this task by its token; the event has no reader then.
        let _gone = self.events.send(event).await;
    }

    async fn fail(&self, error: LinkError) {
        self.tell(LinkEvent::Failed(error)).await;
    }
}

impl Session {
    async fn next(&mut self) -> Result<rumqttc::Event, ConnectionError> {
        self.packets.recv().await.unwrap_or(Err(ConnectionError::RequestsDone))
    }
}

/// Says goodbye to the broker, which then does not publish our will.
async fn leave(session: &mut Session) {
    if session.client.try_disconnect().is_err() {
        return;
    }
    let gone = async {
        while let Some(Ok(packet)) = session.packets.recv().await {
            if packet == rumqttc::Event::Outgoing(Outgoing::Disconnect) {
                return;
            }
        }
    };
    if tokio::time::timeout(GOODBYE, gone).await.is_err() {
        debug!("the broker did not take the goodbye in time; it will publish the will");
    }
}

/// Polls the event loop on a task of its own: `poll` must not be cancelled half-way.
async fn pump(mut event_loop: EventLoop, packets: mpsc::Sender<Result<rumqttc::Event, ConnectionError>>) {
    loop {
        let packet = event_loop.poll().await;
        let over = packet.is_err();
        if packets.send(packet).await.is_err() || over {
            return;
        }
    }
}

const fn refusal(code: ConnectReturnCode) -> &'static str {
    match code {
        ConnectReturnCode::Success => "no reason given",
        ConnectReturnCode::RefusedProtocolVersion => "it does not speak MQTT 3.1.1",
        ConnectReturnCode::BadClientId => "it does not take this ClientId",
        ConnectReturnCode::ServiceUnavailable => "it is unavailable",
        ConnectReturnCode::BadUserNamePassword => "bad user name or password",
        ConnectReturnCode::NotAuthorized => "not authorised",
    }
}

/// What certificate checking says, on either side, if that is what failed: trying again would not help then.
fn tls_reason(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        let tls = error.downcast_ref::<rustls::Error>().or_else(|| inner?.downcast_ref());
        match tls {
            Some(rustls::Error::AlertReceived(AlertDescription::CertificateRequired)) => {
                return Some("the broker asks for a client certificate; pass --cert and --key".to_owned());
            }
            Some(tls) => return Some(tls.to_string()),
            None => cause = error.source(),
        }
    }
    None
}

/// The innermost cause, which says most, without the library's words around it.
fn plain_reason(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    match innermost.downcast_ref::<std::io::Error>() {
        Some(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        Some(error) if error.kind() == std::io::ErrorKind::ConnectionReset => "connection reset".to_owned(),
        _ => innermost.to_string(),
    }
}
