//! MQTT 3.1.1. A broker of this version acknowledges what it refuses, so a refused publish does not show here.

use rumqttc::mqttbytes::Error as MqttError;
use rumqttc::{
    AsyncClient, ConnectReturnCode, ConnectionError, Event, EventLoop, LastWill, MqttOptions, Outgoing, Packet, QoS,
    StateError, SubscribeFilter, SubscribeReasonCode,
};

use super::sizes::Sizes;
use super::{
    Ending, INCOMING_PACKET_BYTES_MAX, Incoming, KEEP_ALIVE, Kind, Message, NotSent, Options, Poll, Pump, PumpEnd,
    REQUESTS_MAX, Refusal, Way, address, client_ended, network_options, no_loopback, no_websocket,
    outgoing_packet_bytes_max, reason, transport,
};
use crate::mqtt::cause;

/// A connection that speaks MQTT 3.1.1.
pub(in crate::mqtt) struct Client {
    requests: AsyncClient,
    pump: Pump<EventLoop>,
    greeted: bool,
    /// What the broker has acknowledged, and what not.
    sizes: Sizes,
}

impl Poll for EventLoop {
    type Packet = Event;
    type Error = ConnectionError;

    fn poll(&mut self) -> impl Future<Output = Result<Event, ConnectionError>> + Send {
        Self::poll(self)
    }

    fn go_by(&mut self, proxy: rumqttc::Proxy) {
        self.mqtt_options.set_proxy(proxy);
    }
}

impl Client {
    pub(super) fn open(options: &Options<'_>) -> Self {
        let mut mqtt = MqttOptions::new(options.client_id.as_str(), address(options.broker), options.broker.port);
        mqtt.set_transport(transport(options.broker, options.tls));
        mqtt.set_keep_alive(KEEP_ALIVE);
        mqtt.set_clean_session(true);
        mqtt.set_max_packet_size(INCOMING_PACKET_BYTES_MAX as usize, outgoing_packet_bytes_max());
        if let Some((user, password)) = options.login {
            mqtt.set_credentials(user, password);
        }
        if let Some(will) = &options.will {
            mqtt.set_last_will(LastWill::new(&will.topic, will.payload.clone(), QoS::AtLeastOnce, true));
        }
        let (requests, mut event_loop) = AsyncClient::new(mqtt, REQUESTS_MAX);
        let way = Way::of(options);
        event_loop.set_network_options(network_options(options, &way));
        Self { requests, pump: Pump::start(event_loop, way), greeted: false, sizes: Sizes::default() }
    }

    pub(super) fn publish(&mut self, message: Message) -> Result<(), NotSent> {
        let retain = message.kind == Kind::Presence;
        let bytes = message.topic.len() + message.payload.len();
        let sent = self.requests.try_publish(message.topic, QoS::AtLeastOnce, retain, message.payload);
        sent.map_err(|_| NotSent::Full)?;
        self.sizes.published(bytes);
        Ok(())
    }

    pub(super) const fn sizes(&self) -> &Sizes {
        &self.sizes
    }

    pub(super) fn subscribe(&self, filters: &[String]) -> Result<(), NotSent> {
        let filters = filters.iter().map(|filter| SubscribeFilter::new(filter.clone(), QoS::AtLeastOnce));
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
            Some(Err(PumpEnd::Failed(error))) => Err(ending(&error, self.greeted)),
            None => Err(client_ended()),
        }
    }
}

impl Client {
    fn incoming(&mut self, event: Event) -> Incoming {
        match &event {
            Event::Incoming(Packet::ConnAck(_)) => self.greeted = true,
            Event::Incoming(Packet::PubAck(ack)) => self.sizes.acknowledged(ack.pkid),
            Event::Outgoing(Outgoing::Publish(id)) => self.sizes.sent(*id),
            Event::Incoming(_) | Event::Outgoing(_) => {}
        }
        incoming(event)
    }
}

fn incoming(event: Event) -> Incoming {
    match event {
        Event::Incoming(Packet::ConnAck(_)) => Incoming::Connected,
        Event::Incoming(Packet::SubAck(ack)) => {
            let refusal =
                |code: &SubscribeReasonCode| (*code == SubscribeReasonCode::Failure).then_some(Refusal::Forbidden);
            Incoming::Subscribed(ack.return_codes.iter().map(refusal).collect())
        }
        Event::Incoming(Packet::PubAck(_)) => Incoming::Acknowledged,
        Event::Incoming(Packet::Publish(publish)) => {
            Incoming::Message { topic: publish.topic, payload: publish.payload, retained: publish.retain }
        }
        Event::Outgoing(Outgoing::Disconnect) => Incoming::Left,
        Event::Incoming(_) | Event::Outgoing(_) => Incoming::Nothing,
    }
}

fn ending(error: &ConnectionError, greeted: bool) -> Ending {
    if let Some(error) = reason::tls(error) {
        return Ending::Tls(error);
    }
    match error {
        ConnectionError::ConnectionRefused(code) => match code {
            ConnectReturnCode::ServiceUnavailable => Ending::Broken("the broker says it is unavailable".into()),
            ConnectReturnCode::RefusedProtocolVersion => Ending::Login("it does not speak MQTT 3.1.1".into()),
            ConnectReturnCode::BadClientId => Ending::ClientId,
            ConnectReturnCode::BadUserNamePassword => Ending::Login("bad user name or password".into()),
            ConnectReturnCode::NotAuthorized => Ending::Login("not authorised".into()),
            ConnectReturnCode::Success => Ending::Login("no reason given".into()),
        },
        ConnectionError::MqttState(StateError::Deserialization(MqttError::PayloadSizeLimitExceeded(_))) => {
            Ending::Oversized
        }
        ConnectionError::NetworkTimeout if !greeted => Ending::Unanswered,
        ConnectionError::NetworkTimeout | ConnectionError::FlushTimeout => Ending::Broken(reason::SILENT.into()),
        ConnectionError::MqttState(state) if !greeted => Ending::Ungreeted(plain(state)),
        ConnectionError::MqttState(state) => Ending::Broken(plain(state)),
        ConnectionError::NotConnAck(_) => Ending::Ungreeted(reason::UNREADABLE.into()),
        ConnectionError::ResponseValidation(_) => Ending::NoWebSocket(reason::OTHER_WEBSOCKET.into()),
        ConnectionError::Websocket(_) => no_websocket(error),
        ConnectionError::Proxy(error) => Ending::Broken(no_loopback(&reason::plain(error))),
        other if reason::ended_in_tls(other) => Ending::ClosedInTls,
        other => Ending::Broken(reason::plain(other)),
    }
}

/// What the state of the protocol says, in our words.
fn plain(state: &StateError) -> String {
    match state {
        StateError::Io(error) => cause::of_io(error),
        StateError::AwaitPingResp | StateError::CollisionTimeout => reason::SILENT.to_owned(),
        StateError::ConnectionAborted => reason::CLOSED.to_owned(),
        StateError::Deserialization(MqttError::Io(error)) => cause::of_io(error),
        StateError::Deserialization(_)
        | StateError::WrongPacket
        | StateError::Unsolicited(_)
        | StateError::InvalidState
        | StateError::EmptySubscription => reason::UNREADABLE.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_mqtt_is_told_in_our_words() {
        let garbage = || ConnectionError::MqttState(StateError::Deserialization(MqttError::BoundaryCrossed(17_487)));
        assert_eq!(ending(&garbage(), false), Ending::Ungreeted(reason::UNREADABLE.into()));
        assert_eq!(ending(&garbage(), true), Ending::Broken(reason::UNREADABLE.into()));
        let closed = ConnectionError::MqttState(StateError::ConnectionAborted);
        assert_eq!(ending(&closed, true), Ending::Broken("the broker closed the connection".into()));
    }

    #[test]
    fn a_refused_client_id_is_no_refused_login() {
        let refused = |code| ending(&ConnectionError::ConnectionRefused(code), false);
        assert_eq!(refused(ConnectReturnCode::BadClientId), Ending::ClientId);
        assert!(matches!(refused(ConnectReturnCode::NotAuthorized), Ending::Login(_)));
    }
}
