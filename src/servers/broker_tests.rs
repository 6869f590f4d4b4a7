//! The broker seen by clients of another make, MQTT 3.1.1 unless said otherwise.

use std::time::Duration;

use rumqttc::{
    AsyncClient, ConnectReturnCode, ConnectionError, Event, EventLoop, LastWill, MqttOptions, Packet, Publish, QoS,
    SubscribeReasonCode, Transport,
};

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

async fn started(access: Access) -> Broker {
    start(BrokerConfig { mqtt: loopback(0), websocket: loopback(0), access }).await.unwrap()
}

fn shared_login() -> Access {
    Access::Password { user: "family".into(), password: "open sesame".into() }
}

struct Client {
    requests: AsyncClient,
    events: EventLoop,
}

impl Client {
    fn with(options: MqttOptions) -> Self {
        let (requests, events) = AsyncClient::new(options, 10);
        Self { requests, events }
    }

    async fn connected(options: MqttOptions) -> Self {
        let mut client = Self::with(options);
        client.until(|packet| matches!(packet, Packet::ConnAck(_)).then_some(())).await;
        client
    }

    async fn named(broker: &Broker, id: &str) -> Self {
        Self::connected(options(broker, id)).await
    }

    async fn refusal(options: MqttOptions) -> ConnectReturnCode {
        let mut client = Self::with(options);
        match tokio::time::timeout(PATIENCE, client.events.poll()).await.expect("an answer") {
            Err(ConnectionError::ConnectionRefused(code)) => code,
            other => panic!("expected a refusal, got {other:?}"),
        }
    }

    async fn until<T>(&mut self, mut wanted: impl FnMut(&Packet) -> Option<T>) -> T {
        let search = async {
            loop {
                match self.events.poll().await.expect("the connection lasts") {
                    Event::Incoming(packet) => {
                        if let Some(found) = wanted(&packet) {
                            return found;
                        }
                    }
                    Event::Outgoing(_) => {}
                }
            }
        };
        tokio::time::timeout(PATIENCE, search).await.expect("the packet comes in time")
    }

    async fn subscribe(&mut self, filter: &str) -> SubscribeReasonCode {
        self.requests.subscribe(filter, QoS::AtLeastOnce).await.unwrap();
        self.until(|packet| match packet {
            Packet::SubAck(ack) => Some(ack.return_codes[0]),
            _ => None,
        })
        .await
    }

    async fn publish(&mut self, topic: &str, retain: Retain, payload: &str) {
        let retain = matches!(retain, Retain::Yes);
        self.requests.publish(topic, QoS::AtLeastOnce, retain, payload).await.unwrap();
        self.until(|packet| matches!(packet, Packet::PubAck(_)).then_some(())).await;
    }

    async fn message(&mut self) -> Publish {
        self.until(|packet| match packet {
            Packet::Publish(message) => Some(message.clone()),
            _ => None,
        })
        .await
    }
}

enum Retain {
    Yes,
    No,
}

fn options(broker: &Broker, id: &str) -> MqttOptions {
    let mut options = MqttOptions::new(id, broker.mqtt_addr().ip().to_string(), broker.mqtt_addr().port());
    options.set_max_packet_size(PACKET_BYTES_MAX, PACKET_BYTES_MAX);
    options
}

const GRANTED: SubscribeReasonCode = SubscribeReasonCode::Success(QoS::AtLeastOnce);

#[tokio::test]
async fn a_call_goes_from_one_peer_to_the_other() {
    let broker = started(Access::Anonymous).await;
    assert_ne!(broker.mqtt_addr().port(), 0);
    assert_ne!(broker.websocket_addr().port(), 0);
    let mut bob = Client::named(&broker, "bob").await;
    assert_eq!(bob.subscribe("tring/call/+/bob").await, GRANTED);
    let mut alice = Client::named(&broker, "alice").await;
    let sdp = "v=0 ".repeat(50_000);
    alice.publish("tring/call/alice/bob", Retain::No, &sdp).await;
    let message = bob.message().await;
    assert_eq!(message.topic, "tring/call/alice/bob");
    assert_eq!(message.payload.len(), sdp.len());
    broker.stop().await;
}

#[tokio::test]
async fn a_websocket_client_reaches_a_tcp_client() {
    let broker = started(Access::Anonymous).await;
    let mut bob = Client::named(&broker, "bob").await;
    assert_eq!(bob.subscribe("alice").await, GRANTED);
    let mut web = MqttOptions::new("alice", format!("ws://{}/mqtt", broker.websocket_addr()), 0);
    web.set_transport(Transport::Ws);
    let mut alice = Client::connected(web).await;
    alice.publish("alice", Retain::No, "hello").await;
    assert_eq!(bob.message().await.payload, "hello");
}

#[tokio::test]
async fn presence_is_retained_and_the_will_takes_it_back() {
    let broker = started(Access::Anonymous).await;
    let mut mortal = options(&broker, "alice");
    mortal.set_last_will(LastWill::new("tring/presence/alice", "offline", QoS::AtLeastOnce, true));
    let mut alice = Client::connected(mortal).await;
    alice.publish("tring/presence/alice", Retain::Yes, "online").await;

    let mut bob = Client::named(&broker, "bob").await;
    assert_eq!(bob.subscribe("tring/presence/+").await, GRANTED);
    let online = bob.message().await;
    assert_eq!((online.payload.as_ref(), online.retain), (b"online".as_ref(), true));
    drop(alice);
    let offline = bob.message().await;
    assert_eq!((offline.topic.as_str(), offline.payload.as_ref()), ("tring/presence/alice", b"offline".as_ref()));
}

#[tokio::test]
async fn a_spoofed_message_or_will_is_not_delivered() {
    let broker = started(Access::Anonymous).await;
    let mut bob = Client::named(&broker, "bob").await;
    assert_eq!(bob.subscribe("tring/call/+/bob").await, GRANTED);
    assert_eq!(bob.subscribe("tring/presence/alice").await, GRANTED);

    let mut poisoned = options(&broker, "mallory");
    poisoned.set_last_will(LastWill::new("tring/presence/alice", "offline", QoS::AtLeastOnce, true));
    let mut mallory = Client::connected(poisoned).await;
    mallory.publish("tring/call/alice/bob", Retain::No, "spoofed").await;
    mallory.publish("tring/presence/alice", Retain::Yes, "spoofed").await;
    drop(mallory);
    // The will above fires, if at all, before the session of a client with the same name begins.
    let mut mallory = Client::named(&broker, "mallory").await;
    mallory.publish("tring/call/mallory/bob", Retain::No, "as myself").await;
    let first = bob.message().await;
    assert_eq!((first.topic.as_str(), first.payload.as_ref()), ("tring/call/mallory/bob", b"as myself".as_ref()));
}

#[tokio::test]
async fn an_eavesdropper_subscribes_in_vain() {
    let broker = started(Access::Anonymous).await;
    let mut mallory = Client::named(&broker, "mallory").await;
    for filter in
        ["#", "+/+/+/+", "tring/#", "tring/call/#", "tring/call/+/#", "tring/call/+/+", "tring/call/alice/bob", "+"]
    {
        assert_eq!(mallory.subscribe(filter).await, SubscribeReasonCode::Failure, "{filter}");
    }
    for filter in ["$share/g/tring/call/+/bob", "$SYS/#", "tring/call/+/bob", "tring/presence/+/x"] {
        assert_eq!(mallory.subscribe(filter).await, SubscribeReasonCode::Failure, "{filter}");
    }
    for filter in ["tring/call/+/mallory", "tring/call/alice/mallory", "tring/presence/+", "tring/presence/bob", "bob"]
    {
        assert_eq!(mallory.subscribe(filter).await, GRANTED, "{filter}");
    }
}

#[tokio::test]
async fn an_observer_reads_along_where_that_is_allowed() {
    let broker = started(Access::ReadAlong).await;
    let mut observer = Client::named(&broker, "mallory-observer-0123").await;
    for filter in ["tring/call/+/+", "tring/presence/+", "+"] {
        assert_eq!(observer.subscribe(filter).await, GRANTED, "{filter}");
    }
    for filter in ["#", "tring/#", "tring/call/#", "tring/agent/+/+", "tring/call/alice/bob"] {
        assert_eq!(observer.subscribe(filter).await, SubscribeReasonCode::Failure, "{filter}");
    }
    let mut alice = Client::named(&broker, "alice").await;
    assert_eq!(alice.subscribe("tring/call/+/+").await, SubscribeReasonCode::Failure);
    alice.publish("tring/call/alice/bob", Retain::No, "hello").await;
    assert_eq!(observer.message().await.payload, "hello");
    let closed = started(Access::Anonymous).await;
    let mut observer = Client::named(&closed, "mallory-observer-0123").await;
    assert_eq!(observer.subscribe("tring/call/+/+").await, SubscribeReasonCode::Failure);
}

#[tokio::test]
async fn agents_and_runners_speak_under_their_own_ids() {
    let broker = started(Access::Anonymous).await;
    let mut agent = Client::named(&broker, "berlin").await;
    assert_eq!(agent.subscribe("tring/agent/+/berlin").await, GRANTED);
    for filter in ["tring/agent/+/+", "tring/agent/#", "tring/agent/runner/rome"] {
        assert_eq!(agent.subscribe(filter).await, SubscribeReasonCode::Failure, "{filter}");
    }
    let mut mallory = Client::named(&broker, "mallory").await;
    mallory.publish("tring/agent/runner/berlin", Retain::No, "spoofed").await;
    mallory.publish("tring/agent/mallory/berlin", Retain::No, "as myself").await;
    assert_eq!(agent.message().await.topic, "tring/agent/mallory/berlin");
}

#[tokio::test]
async fn a_login_is_asked_for_and_checked() {
    let broker = started(shared_login()).await;
    assert_eq!(Client::refusal(options(&broker, "alice")).await, ConnectReturnCode::BadUserNamePassword);
    for (user, password) in [("family", "wrong"), ("famil", "open sesame"), ("", ""), ("family", "open sesame ")] {
        let mut wrong = options(&broker, "alice");
        wrong.set_credentials(user, password);
        assert_eq!(Client::refusal(wrong).await, ConnectReturnCode::BadUserNamePassword, "{user}:{password}");
    }
    let mut right = options(&broker, "alice");
    right.set_credentials("family", "open sesame");
    Client::connected(right).await;
}

#[tokio::test]
async fn a_login_of_ones_own_gives_no_other_client_id() {
    let users = [("alice", "a-secret"), ("bob", "b-secret")].map(|(user, word)| (user.to_owned(), word.to_owned()));
    let broker = started(Access::Users(users.into())).await;
    let mut thief = options(&broker, "alice");
    thief.set_credentials("bob", "b-secret");
    assert_eq!(Client::refusal(thief).await, ConnectReturnCode::BadUserNamePassword);
    let mut bob = options(&broker, "bob");
    bob.set_credentials("bob", "b-secret");
    Client::connected(bob).await;
}

#[tokio::test]
async fn a_login_may_look_on_beside_its_own_program() {
    let users = [("alice", "a-secret"), ("bob", "b-secret"), ("bob-observer-0123", "c-secret")];
    let users = users.map(|(user, word)| (user.to_owned(), word.to_owned()));
    let broker = started(Access::Users(users.into())).await;
    let login_as = |client: &str| {
        let mut options = options(&broker, client);
        options.set_credentials("bob", "b-secret");
        options
    };
    Client::connected(login_as("bob-observer-00af")).await;
    // The last one is a user's own ID, however it looks.
    for client in ["alice-observer-00af", "bob-observer-x", "bob-watcher-00af", "bob-observer-0123"] {
        let refusal = Client::refusal(login_as(client)).await;
        assert_eq!(refusal, ConnectReturnCode::BadUserNamePassword, "{client}");
    }
}

#[tokio::test]
async fn a_client_id_with_a_meaning_in_topics_is_refused() {
    let broker = started(Access::Anonymous).await;
    for id in ["a,b", "a?x=1", "a.b", "+", &"x".repeat(65)] {
        assert_eq!(Client::refusal(options(&broker, id)).await, ConnectReturnCode::BadClientId, "{id}");
    }
}

#[tokio::test]
async fn mqtt_5_is_told_why() {
    use rumqttc::v5::mqttbytes::QoS;
    use rumqttc::v5::mqttbytes::v5::{Packet, PubAckReason};
    use rumqttc::v5::{AsyncClient, Event, MqttOptions};

    let broker = started(Access::Anonymous).await;
    let options = MqttOptions::new("mallory", "127.0.0.1", broker.mqtt_addr().port());
    let (requests, mut events) = AsyncClient::new(options, 10);
    requests.publish("tring/call/alice/bob", QoS::AtLeastOnce, false, "spoofed").await.unwrap();
    let refusal = async {
        loop {
            if let Ok(Event::Incoming(Packet::PubAck(ack))) = events.poll().await {
                return ack.reason;
            }
        }
    };
    assert_eq!(tokio::time::timeout(PATIENCE, refusal).await.unwrap(), PubAckReason::NotAuthorized);
}

#[tokio::test]
async fn what_cannot_be_listened_on_is_named() {
    let taken = TcpListener::bind(loopback(0)).await.unwrap();
    let addr = taken.local_addr().unwrap();
    for (mqtt, websocket, service) in [(addr, loopback(0), Service::Mqtt), (loopback(0), addr, Service::WebSocket)] {
        let error = start(BrokerConfig { mqtt, websocket, access: Access::Anonymous }).await.err().unwrap();
        assert!(matches!(error, ServeError::AddressInUse { service: s, addr: a } if s == service && a == addr));
        assert!(error.to_string().starts_with(&format!("{service} address {addr} is already in use")), "{error}");
    }
    let elsewhere = SocketAddr::from(([192, 0, 2, 1], 0));
    let error = start(BrokerConfig { mqtt: elsewhere, websocket: loopback(0), access: shared_login() }).await.err();
    assert!(matches!(error, Some(ServeError::AddressNotLocal { .. })), "{error:?}");
}

#[tokio::test]
async fn nobody_else_gets_in_without_a_login() {
    let everywhere = SocketAddr::from(([0, 0, 0, 0], 0));
    for (mqtt, websocket) in [(everywhere, loopback(0)), (loopback(0), everywhere)] {
        let error = start(BrokerConfig { mqtt, websocket, access: Access::Anonymous }).await.err();
        assert!(matches!(error, Some(ServeError::OpenToNetwork { addr, .. }) if addr == everywhere), "{error:?}");
    }
    let no_password = Access::Password { user: "family".into(), password: String::new() };
    let error = start(BrokerConfig { mqtt: everywhere, websocket: everywhere, access: no_password }).await.err();
    assert!(matches!(error, Some(ServeError::EmptyCredentials { .. })), "{error:?}");
    let reachable = start(BrokerConfig { mqtt: everywhere, websocket: everywhere, access: shared_login() }).await;
    reachable.unwrap().stop().await;
}
