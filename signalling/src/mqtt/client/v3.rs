//! MQTT 3.1.1. A broker of this version acknowledges what it refuses, so a refused publish does not show here.

use rumqttc::mqttbytes::Error as MqttError;
use rumqttc::{
    AsyncClient, ConnectReturnCode, ConnectionError, Event, EventLoop, LastWill, MqttOptions, Outgoing, Packet, QoS,
    StateError, SubscribeFilter, SubscribeReasonCode,
};

use super::{
    CONNECT_TRY_SECONDS, Ending, INCOMING_PACKET_BYTES_MAX, Incoming, KEEP_ALIVE, Kind, Message, NotSent, Options,
    Poll, Pump, REQUESTS_MAX, Refusal, address, client_ended, network, outgoing_packet_bytes_max, reason, transport,
};

/// A connection that speaks MQTT 3.1.1.
pub(in crate::mqtt) struct Client {
    requests: AsyncClient,
    packets: Pump<EventLoop>,
}

impl Poll for EventLoop {
    type Packet = Event;
    type Error = ConnectionError;

    fn poll(&mut self) -> impl Future<Output = Result<Event, ConnectionError>> + Send {
        Self::poll(self)
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
        event_loop.set_network_options(network(options));
        Self { requests, packets: Pump::start(event_loop) }
    }

    pub(super) fn publish(&self, message: Message) -> Result<(), NotSent> {
        let retain = message.kind == Kind::Presence;
        let sent = self.requests.try_publish(message.topic, QoS::AtLeastOnce, retain, message.payload);
        sent.map_err(|_| NotSent::Full)
    }

    pub(super) fn subscribe(&self, filters: &[String]) -> Result<(), NotSent> {
        let filters = filters.iter().map(|filter| SubscribeFilter::new(filter.clone(), QoS::AtLeastOnce));
        self.requests.try_subscribe_many(filters).map_err(|_| NotSent::Full)
    }

    pub(super) fn disconnect(&self) -> Result<(), NotSent> {
        self.requests.try_disconnect().map_err(|_| NotSent::Full)
    }

    pub(super) async fn next(&mut self) -> Result<Incoming, Ending> {
        match self.packets.next().await {
            Some(Ok(event)) => Ok(incoming(event)),
            Some(Err(error)) => Err(ending(error)),
            None => Err(client_ended()),
        }
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

fn ending(error: ConnectionError) -> Ending {
    match error {
        ConnectionError::ConnectionRefused(code) => match code {
            ConnectReturnCode::ServiceUnavailable => Ending::Broken("the broker says it is unavailable".into()),
            ConnectReturnCode::RefusedProtocolVersion => Ending::Login("it does not speak MQTT 3.1.1".into()),
            ConnectReturnCode::BadClientId => Ending::Login("it does not take this ClientId".into()),
            ConnectReturnCode::BadUserNamePassword => Ending::Login("bad user name or password".into()),
            ConnectReturnCode::NotAuthorized => Ending::Login("not authorised".into()),
            ConnectReturnCode::Success => Ending::Login("no reason given".into()),
        },
        ConnectionError::MqttState(StateError::Deserialization(MqttError::PayloadSizeLimitExceeded(_))) => {
            Ending::Oversized
        }
        ConnectionError::NetworkTimeout => Ending::Broken(format!("no answer within {CONNECT_TRY_SECONDS} s")),
        other => match reason::tls(&other) {
            Some(reason) => Ending::Tls(reason),
            None => Ending::Broken(reason::plain(&other)),
        },
    }
}
