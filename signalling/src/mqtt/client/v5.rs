//! MQTT 5: messages that expire, and a reason for whatever the broker refuses.
//!
//! - out: call messages expire at the broker when no peer takes them; what is published is remembered in order,
//!   because an acknowledgement names a packet id alone
//! - in: reason codes, and what the broker adds in words, become [`Refusal`]s and [`Ending`]s
//!
//! `rumqttc` reads a DISCONNECT only when it has a property length, which a broker may leave out (MQTT 5, 3.14.2.2.1):
//! then the reason is lost, the connection is merely closed, and an ID taken over shows by presence as in version 3.
//!
//! A broker that does not know this version closes the connection on our greeting, or answers in an older form that
//! cannot be read: [`Ending::Ungreeted`].

use std::collections::{BTreeMap, VecDeque};

use rumqttc::Outgoing;
use rumqttc::v5::mqttbytes::v5::{
    ConnectReturnCode, DisconnectReasonCode, Filter, LastWill, Packet, PubAckReason, Publish, PublishProperties,
    SubscribeReasonCode,
};
use rumqttc::v5::mqttbytes::{Error as MqttError, QoS};
use rumqttc::v5::{AsyncClient, ConnectionError, Event, EventLoop, MqttOptions, StateError};

use super::{
    CONNECT_TRY_SECONDS, Ending, INCOMING_PACKET_BYTES_MAX, Incoming, KEEP_ALIVE, Kind, Message, NotSent, Options,
    Poll, Pump, PumpEnd, REQUESTS_MAX, Refusal, Way, address, client_ended, network_options, no_loopback, no_websocket,
    reason, transport,
};
use crate::delivery;
use crate::mqtt::cause;

/// Publishes under way at once, as version 3 has it; `rumqttc` would reserve memory for 65,535.
const INFLIGHT_MAX: u16 = 100;

/// A packet id, which [`Publish::size`] leaves out before the packet has one.
const PACKET_ID_BYTES: usize = 2;

/// A connection that speaks MQTT 5.
pub(in crate::mqtt) struct Client {
    requests: AsyncClient,
    pump: Pump<EventLoop>,
    greeted: bool,
    /// Largest packet the broker takes, where it says so.
    packet_bytes_max: Option<usize>,
    /// Published and not sent yet, in order.
    waiting: VecDeque<(String, Kind)>,
    /// Sent and not acknowledged yet, by packet id.
    sent: BTreeMap<u16, (String, Kind)>,
}

impl Poll for EventLoop {
    type Packet = Event;
    type Error = ConnectionError;

    fn poll(&mut self) -> impl Future<Output = Result<Event, ConnectionError>> + Send {
        Self::poll(self)
    }

    fn go_by(&mut self, proxy: rumqttc::Proxy) {
        self.options.set_proxy(proxy);
    }
}

impl Client {
    pub(super) fn open(options: &Options<'_>) -> Self {
        let mut mqtt = MqttOptions::new(options.client_id.as_str(), address(options.broker), options.broker.port);
        mqtt.set_transport(transport(options.broker, options.tls));
        mqtt.set_keep_alive(KEEP_ALIVE);
        mqtt.set_clean_start(true);
        mqtt.set_max_packet_size(Some(INCOMING_PACKET_BYTES_MAX));
        mqtt.set_outgoing_inflight_upper_limit(INFLIGHT_MAX);
        mqtt.set_connection_timeout(CONNECT_TRY_SECONDS);
        if let Some((user, password)) = options.login {
            mqtt.set_credentials(user, password);
        }
        if let Some(will) = &options.will {
            mqtt.set_last_will(LastWill::new(&will.topic, will.payload.clone(), QoS::AtLeastOnce, true, None));
        }
        let way = Way::of(options);
        mqtt.set_network_options(network_options(options, &way));
        let (requests, event_loop) = AsyncClient::new(mqtt, REQUESTS_MAX);
        Self {
            requests,
            pump: Pump::start(event_loop, way),
            greeted: false,
            packet_bytes_max: None,
            waiting: VecDeque::new(),
            sent: BTreeMap::new(),
        }
    }

    pub(super) fn publish(&mut self, message: Message) -> Result<(), NotSent> {
        let Message { topic, payload, kind } = message;
        let (retain, properties) = match kind {
            Kind::Call { .. } => (false, expiring()),
            Kind::Presence => (true, PublishProperties::default()),
        };
        // `rumqttc` would break the connection over a packet that the broker does not take.
        let packet = Publish::new(topic.clone(), QoS::AtLeastOnce, payload.clone(), Some(properties.clone()));
        let bytes = packet.size() + PACKET_ID_BYTES;
        if let Some(bytes_max) = self.packet_bytes_max.filter(|max| bytes > *max) {
            return Err(NotSent::TooLarge { bytes, bytes_max });
        }
        let sent =
            self.requests.try_publish_with_properties(topic.clone(), QoS::AtLeastOnce, retain, payload, properties);
        sent.map_err(|_| NotSent::Full)?;
        self.waiting.push_back((topic, kind));
        Ok(())
    }

    pub(super) fn subscribe(&self, filters: &[String]) -> Result<(), NotSent> {
        let filters = filters.iter().map(|filter| Filter::new(filter.clone(), QoS::AtLeastOnce));
        self.requests.try_subscribe_many(filters).map_err(|_| NotSent::Full)
    }

    pub(super) fn disconnect(&self) -> Result<(), NotSent> {
        self.requests.try_disconnect().map_err(|_| NotSent::Full)
    }

    pub(super) fn address(&self) -> Option<std::net::SocketAddr> {
        self.pump.address
    }

    pub(super) async fn close(&mut self) {
        self.pump.close().await;
    }

    pub(super) async fn next(&mut self) -> Result<Incoming, Ending> {
        match self.pump.next().await {
            Some(Ok(event)) => Ok(self.incoming(event)),
            Some(Err(PumpEnd::Unreached(reason))) => Err(Ending::Unreached(reason)),
            Some(Err(PumpEnd::Failed(error))) => Err(ending(error, self.greeted)),
            None => Err(client_ended()),
        }
    }

    fn incoming(&mut self, event: Event) -> Incoming {
        match event {
            Event::Incoming(Packet::ConnAck(ack)) => {
                self.greeted = true;
                let bytes_max = ack.properties.and_then(|properties| properties.max_packet_size);
                self.packet_bytes_max = bytes_max.and_then(|bytes| usize::try_from(bytes).ok());
                Incoming::Connected
            }
            Event::Incoming(Packet::SubAck(ack)) => {
                let text = ack.properties.and_then(|properties| properties.reason_string);
                let refusal = |code: &SubscribeReasonCode| subscription_refusal(*code, text.as_deref());
                Incoming::Subscribed(ack.return_codes.iter().map(refusal).collect())
            }
            Event::Incoming(Packet::PubAck(ack)) => {
                let text = ack.properties.and_then(|properties| properties.reason_string);
                let published = self.sent.remove(&ack.pkid);
                match (publish_refusal(ack.reason, text.as_deref()), published) {
                    (Some(why), Some((topic, kind))) => Incoming::PublishRefused { topic, kind, why },
                    (None, _) | (Some(_), None) => Incoming::Acknowledged,
                }
            }
            Event::Incoming(Packet::Publish(publish)) => Incoming::Message {
                // A topic that is not UTF-8 is none of ours either way.
                topic: String::from_utf8_lossy(&publish.topic).into_owned(),
                payload: publish.payload,
                retained: publish.retain,
            },
            Event::Outgoing(Outgoing::Publish(id)) => {
                // Packets leave in the order in which they were given.
                if let Some(published) = self.waiting.pop_front() {
                    self.sent.insert(id, published);
                }
                Incoming::Nothing
            }
            Event::Outgoing(Outgoing::Disconnect) => Incoming::Left,
            Event::Incoming(_) | Event::Outgoing(_) => Incoming::Nothing,
        }
    }
}

/// Nobody wants a message of a call that its sender has given up.
fn expiring() -> PublishProperties {
    let seconds = u32::try_from(delivery::EXPIRY.as_secs()).unwrap_or(u32::MAX);
    PublishProperties { message_expiry_interval: Some(seconds), ..PublishProperties::default() }
}

fn subscription_refusal(code: SubscribeReasonCode, text: Option<&str>) -> Option<Refusal> {
    let words = match code {
        SubscribeReasonCode::Success(_) => return None,
        SubscribeReasonCode::NotAuthorized => return Some(Refusal::Forbidden),
        SubscribeReasonCode::Failure | SubscribeReasonCode::Unspecified => "no reason given",
        SubscribeReasonCode::ImplementationSpecific => "a limit of its own",
        SubscribeReasonCode::TopicFilterInvalid => "it does not take this topic filter",
        SubscribeReasonCode::PkidInUse => "packet id in use",
        SubscribeReasonCode::QuotaExceeded => "quota exceeded",
        SubscribeReasonCode::SharedSubscriptionsNotSupported => "no shared subscriptions",
        SubscribeReasonCode::SubscriptionIdNotSupported => "no subscription identifiers",
        SubscribeReasonCode::WildcardSubscriptionsNotSupported => "no subscriptions with wildcards",
    };
    Some(Refusal::Because(reason::with_text(words, text)))
}

fn publish_refusal(code: PubAckReason, text: Option<&str>) -> Option<Refusal> {
    let words = match code {
        PubAckReason::Success | PubAckReason::NoMatchingSubscribers => return None,
        PubAckReason::NotAuthorized => return Some(Refusal::Forbidden),
        PubAckReason::UnspecifiedError => "no reason given",
        PubAckReason::ImplementationSpecificError => "a limit of its own",
        PubAckReason::TopicNameInvalid => "it does not take this topic",
        PubAckReason::PacketIdentifierInUse => "packet id in use",
        PubAckReason::QuotaExceeded => "quota exceeded",
        PubAckReason::PayloadFormatInvalid => "it does not take this payload",
    };
    Some(Refusal::Because(reason::with_text(words, text)))
}

fn ending(error: ConnectionError, greeted: bool) -> Ending {
    if let Some(reason) = tls(&error) {
        return Ending::Tls(reason);
    }
    match error {
        ConnectionError::ConnectionRefused(code) => connect_refusal(code),
        ConnectionError::MqttState(StateError::ServerDisconnect { reason_code, reason_string }) => {
            disconnection(reason_code, reason_string.as_deref())
        }
        ConnectionError::MqttState(StateError::Deserialization(MqttError::PayloadSizeLimitExceeded { .. })) => {
            Ending::Oversized
        }
        ConnectionError::Timeout(_) if !greeted => Ending::Unanswered,
        ConnectionError::Timeout(_) => Ending::Broken(reason::SILENT.into()),
        ConnectionError::MqttState(state) if !greeted => Ending::Ungreeted(plain(&state)),
        ConnectionError::NotConnAck(_) => Ending::Ungreeted(reason::UNREADABLE.into()),
        ConnectionError::MqttState(state) => Ending::Broken(plain(&state)),
        ConnectionError::ResponseValidation(_) => Ending::NoWebSocket(reason::OTHER_WEBSOCKET.into()),
        ConnectionError::Websocket(error) => no_websocket(&error),
        ConnectionError::Proxy(error) => Ending::Broken(no_loopback(&reason::plain(&error))),
        other if reason::ended_in_tls(&other) => Ending::ClosedInTls,
        other => Ending::Broken(reason::plain(&other)),
    }
}

/// As [`reason::tls`]; this version of `rumqttc` hides the cause of what failed in reading.
fn tls(error: &ConnectionError) -> Option<rustls::Error> {
    match error {
        ConnectionError::MqttState(StateError::Deserialization(error)) => reason::tls(error),
        error => reason::tls(error),
    }
}

/// What the state of the protocol says, in our words.
fn plain(state: &StateError) -> String {
    match state {
        StateError::Io(error) | StateError::Deserialization(MqttError::Io(error)) => cause::of_io(error),
        StateError::AwaitPingResp | StateError::CollisionTimeout => reason::SILENT.to_owned(),
        StateError::ConnectionAborted => reason::CLOSED.to_owned(),
        _ => reason::UNREADABLE.to_owned(),
    }
}

fn connect_refusal(code: ConnectReturnCode) -> Ending {
    use ConnectReturnCode as Code;
    match code {
        Code::ServiceUnavailable | Code::ServerUnavailable => {
            Ending::Broken("the broker says it is unavailable".into())
        }
        Code::ServerBusy => Ending::Broken("the broker says it is busy".into()),
        Code::ConnectionRateExceeded => Ending::Broken("the broker says we connect too often".into()),
        Code::UseAnotherServer | Code::ServerMoved => Ending::Broken("the broker says to use another one".into()),
        Code::RefusedProtocolVersion | Code::UnsupportedProtocolVersion => Ending::Version("it says so".into()),
        Code::BadClientId | Code::ClientIdentifierNotValid => Ending::ClientId,
        Code::BadUserNamePassword => Ending::Login("bad user name or password".into()),
        Code::NotAuthorized => Ending::Login("not authorised".into()),
        Code::Banned => Ending::Login("banned".into()),
        Code::BadAuthenticationMethod => Ending::Login("it wants another way to log in".into()),
        Code::PacketTooLarge => Ending::Refused("packet too large".into()),
        Code::QuotaExceeded => Ending::Refused("quota exceeded".into()),
        Code::TopicNameInvalid => Ending::Refused("it does not take the topic of our presence".into()),
        Code::RetainNotSupported => Ending::Refused("it retains no messages, which presence needs".into()),
        Code::QoSNotSupported => Ending::Refused("it has no QoS 1".into()),
        Code::PayloadFormatInvalid => Ending::Refused("it does not take our presence".into()),
        Code::Success | Code::UnspecifiedError => Ending::Refused("no reason given".into()),
        Code::MalformedPacket | Code::ProtocolError => Ending::Refused("it does not understand our greeting".into()),
        Code::ImplementationSpecificError => Ending::Refused("a limit of its own".into()),
    }
}

fn disconnection(code: DisconnectReasonCode, text: Option<&str>) -> Ending {
    use DisconnectReasonCode as Code;
    let refused = |words: &str| Ending::Refused(reason::with_text(words, text));
    let broken = |words: &str| Ending::Broken(reason::with_text(words, text));
    match code {
        Code::SessionTakenOver => Ending::TakenOver,
        Code::NotAuthorized => Ending::Login(reason::with_text("not authorised", text)),
        Code::PacketTooLarge => refused("packet too large"),
        Code::QuotaExceeded => refused("quota exceeded"),
        Code::RetainNotSupported => refused("it retains no messages, which presence needs"),
        Code::QoSNotSupported => refused("it has no QoS 1"),
        Code::TopicFilterInvalid => refused("it does not take our topic filter"),
        Code::TopicNameInvalid => refused("it does not take our topic"),
        Code::WildcardSubscriptionsNotSupported => refused("no subscriptions with wildcards"),
        Code::SharedSubscriptionNotSupported => refused("no shared subscriptions"),
        Code::SubscriptionIdentifiersNotSupported => refused("no subscription identifiers"),
        Code::PayloadFormatInvalid => refused("it does not take our payload"),
        Code::ServerBusy => broken("the broker is busy"),
        Code::ServerShuttingDown => broken("the broker shuts down"),
        Code::KeepAliveTimeout => broken("the broker heard nothing of us"),
        Code::UseAnotherServer | Code::ServerMoved => broken("the broker says to use another one"),
        Code::MessageRateTooHigh | Code::ReceiveMaximumExceeded => broken("the broker says we send too much"),
        Code::ConnectionRateExceeded => broken("the broker says we connect too often"),
        Code::MaximumConnectTime => broken("the broker says we were connected long enough"),
        Code::AdministrativeAction => broken("closed by the broker's operator"),
        Code::TopicAliasInvalid | Code::MalformedPacket | Code::ProtocolError => broken("a fault in what was sent"),
        Code::ImplementationSpecificError => broken("a limit of the broker's own"),
        Code::NormalDisconnection | Code::DisconnectWithWillMessage | Code::UnspecifiedError => {
            broken("closed by the broker")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_closes_on_our_greeting_may_not_know_the_version() {
        let aborted = || ConnectionError::MqttState(StateError::ConnectionAborted);
        assert!(matches!(ending(aborted(), false), Ending::Ungreeted(_)));
        assert!(matches!(ending(aborted(), true), Ending::Broken(_)));
        let refused = ConnectionError::Io(std::io::ErrorKind::ConnectionRefused.into());
        assert_eq!(ending(refused, false), Ending::Broken("connection refused".into()));
    }

    #[test]
    fn reason_codes_are_told_apart() {
        let end = |code| ending(ConnectionError::ConnectionRefused(code), false);
        assert!(matches!(end(ConnectReturnCode::NotAuthorized), Ending::Login(_)));
        assert!(matches!(end(ConnectReturnCode::UnsupportedProtocolVersion), Ending::Version(_)));
        assert_eq!(end(ConnectReturnCode::QuotaExceeded), Ending::Refused("quota exceeded".into()));
        assert!(matches!(end(ConnectReturnCode::ServerBusy), Ending::Broken(_)));
        let closed = |reason_code| {
            let reason_string = Some("see log".to_owned());
            ending(ConnectionError::MqttState(StateError::ServerDisconnect { reason_code, reason_string }), true)
        };
        assert_eq!(closed(DisconnectReasonCode::SessionTakenOver), Ending::TakenOver);
        assert_eq!(closed(DisconnectReasonCode::PacketTooLarge), Ending::Refused("packet too large (see log)".into()));
        assert!(matches!(closed(DisconnectReasonCode::ServerShuttingDown), Ending::Broken(_)));
    }

    #[test]
    fn a_certificate_that_fails_late_is_told_as_such() {
        let alert = rustls::Error::AlertReceived(rustls::AlertDescription::CertificateRequired);
        let error = MqttError::Io(std::io::Error::other(alert));
        let ended = ending(ConnectionError::MqttState(StateError::Deserialization(error)), false);
        assert!(matches!(&ended, Ending::Tls(rustls::Error::AlertReceived(_))), "{ended:?}");
    }

    #[test]
    fn acknowledgements_tell_success_from_refusal() {
        assert_eq!(publish_refusal(PubAckReason::NoMatchingSubscribers, None), None);
        assert_eq!(publish_refusal(PubAckReason::NotAuthorized, None), Some(Refusal::Forbidden));
        let quota = Some(Refusal::Because("quota exceeded".into()));
        assert_eq!(publish_refusal(PubAckReason::QuotaExceeded, None), quota);
        assert_eq!(subscription_refusal(SubscribeReasonCode::Success(QoS::AtMostOnce), None), None);
        assert_eq!(subscription_refusal(SubscribeReasonCode::NotAuthorized, None), Some(Refusal::Forbidden));
    }
}
