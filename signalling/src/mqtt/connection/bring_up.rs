//! From TCP to the echo of our own presence: only then it is certain that we are let in, hear what is for us, and are
//! heard.
//!
//! A broker may acknowledge what its rules refuse and drop it (Mosquitto does with a publish, and grants a subscription
//! that stays silent). So we publish our presence, which we subscribe to, and wait for it. It is the one message that
//! every peer may write and read.

use std::time::{Duration, Instant};

use tracing::debug;

use super::{Broker, Connection, ConnectionEnd, Part};
use crate::mqtt::client::{Client, Incoming, Kind, Message, Refusal};
use crate::mqtt::{Audience, LinkError, Watched};
use crate::topic::{self, Hearers};
use crate::wire::{Presence, PresenceState};

/// How long our presence may take to come back once the broker has taken it. Both travel one connection, one right
/// after the other, so this is generous. A broker that has not even taken it is slow, and is waited for.
const ECHO_WAIT: Duration = Duration::from_secs(2);

/// What a tracer says to itself: no peer reads it, and another tracer knows it by its topic.
pub(super) const PROBE: &[u8] = b"{}";

/// Topics that we ask for.
struct Filters {
    all: Vec<String>,
    /// So many of them, from the first, must be granted.
    required: usize,
}

impl Connection {
    /// Brings a connection up; how long the broker took for the last question and its answer.
    pub(super) async fn bring_up(&mut self, client: &mut Client, broker: &Broker) -> Result<Duration, ConnectionEnd> {
        match client.next().await {
            Ok(Incoming::Connected) => {}
            Ok(_) => return Err(ConnectionEnd::Broken("the server does not speak MQTT".into())),
            Err(ending) => return Err(self.not_greeted(ending, broker).await),
        }
        let subscribed = self.subscribe(client, broker).await?;
        match self.part {
            Part::Observer(_) => Ok(subscribed),
            Part::Tracer => self.ask_and_hear(client, broker, subscribed).await,
            Part::Peer => {
                if self.history.announced.contains(&broker.place) {
                    self.refuse_take_over(client, broker).await?;
                }
                self.history.announced.insert(broker.place);
                self.announce_and_hear(client, broker).await
            }
        }
    }

    async fn subscribe(&mut self, client: &mut Client, broker: &Broker) -> Result<Duration, ConnectionEnd> {
        let mut filters = self.filters();
        let asked = Instant::now();
        if client.subscribe(&filters.all).is_err() {
            return Err(ConnectionEnd::Broken("the client does not take requests".into()));
        }
        let refusals = loop {
            match client.next().await {
                Ok(Incoming::Subscribed(refusals)) => break refusals,
                Ok(Incoming::Message { topic, payload, retained }) => self.incoming(&topic, payload, retained).await,
                Ok(_) => {}
                Err(ending) => return Err(self.end_of(ending, broker)),
            }
        };
        let took = asked.elapsed();
        let mut refused = refusals.into_iter().enumerate().filter_map(|(index, why)| Some((index, why?)));
        match refused.next() {
            Some((index, why)) if index < filters.required => {
                let filter = filters.all.swap_remove(index);
                Err(ConnectionEnd::Fatal(self.subscription_refused(broker, filter, why)))
            }
            Some((index, _)) => {
                debug!(filter = filters.all.get(index), "the presence of a peer may not be read");
                Ok(took)
            }
            None => Ok(took),
        }
    }

    fn filters(&self) -> Filters {
        let watched = self.watched.iter().map(topic::presence);
        match &self.part {
            Part::Peer => {
                let mut all = self.call_filters();
                all.push(self.own_topic());
                let required = all.len();
                // The same filter twice would be answered twice.
                let own = self.own_topic();
                all.extend(watched.filter(|filter| *filter != own));
                Filters { all, required }
            }
            // Without presence the calls can still be read.
            Part::Tracer => {
                Filters { all: vec![self.config.template.everything(), topic::anyones_presence()], required: 1 }
            }
            Part::Observer(Watched::Everyone) => Filters { all: vec![topic::anyones_presence()], required: 1 },
            Part::Observer(Watched::Peers(_)) => {
                let all: Vec<String> = watched.collect();
                Filters { required: all.len(), all }
            }
        }
    }

    fn call_filters(&self) -> Vec<String> {
        let me = &self.config.me;
        match &self.config.audience {
            Audience::Anyone => vec![self.config.template.from_anyone(me)],
            Audience::Only(peers) => peers.iter().map(|peer| self.config.template.call(peer, me)).collect(),
        }
    }

    /// Topics on which a tracer asks whether it hears what is said: from its peer's ID, where rules go by logins, and from
    /// its ClientId, where they go by that. Both are for itself under a name that nobody else has.
    pub(super) fn probes(&self) -> Vec<String> {
        let client = self.observer_id();
        match self.config.template.hearers() {
            Hearers::One => [&self.config.me, &client].map(|from| self.config.template.call(from, &client)).to_vec(),
            // Peers would hear it.
            Hearers::All => Vec::new(),
        }
    }

    /// Says something for nobody and waits until it comes back: how long the broker took.
    async fn ask_and_hear(
        &mut self,
        client: &mut Client,
        broker: &Broker,
        subscribed: Duration,
    ) -> Result<Duration, ConnectionEnd> {
        let probes = self.probes();
        let Some(first) = probes.first().cloned() else { return Ok(subscribed) };
        let asked = Instant::now();
        for topic in &probes {
            let kind = Kind::Call { to: self.observer_id() };
            let probe = Message { topic: topic.clone(), payload: PROBE.into(), kind };
            if client.publish(probe).is_err() {
                return Err(ConnectionEnd::Broken("the client does not take requests".into()));
            }
        }
        let mut give_up = None;
        loop {
            let next = match give_up {
                None => client.next().await,
                Some(at) => match tokio::time::timeout_at(at, client.next()).await {
                    Ok(next) => next,
                    Err(_) => {
                        let filter = self.config.template.everything();
                        let (broker, me) = (broker.to_string(), self.config.me.clone());
                        return Err(ConnectionEnd::Fatal(LinkError::NotReadable { broker, filter, topic: first, me }));
                    }
                },
            };
            match next {
                Ok(Incoming::Message { topic, .. }) if probes.contains(&topic) => return Ok(asked.elapsed()),
                Ok(Incoming::Message { topic, payload, retained }) => self.incoming(&topic, payload, retained).await,
                Ok(Incoming::Acknowledged | Incoming::PublishRefused { .. }) => {
                    give_up = Some(tokio::time::Instant::now() + ECHO_WAIT);
                }
                Ok(_) => {}
                Err(ending) => return Err(self.end_of(ending, broker)),
            }
        }
    }

    /// Publishes our presence and waits until it comes back.
    async fn announce_and_hear(&mut self, client: &mut Client, broker: &Broker) -> Result<Duration, ConnectionEnd> {
        let own = self.own_topic();
        let state = *self.presence.borrow_and_update();
        let asked = Instant::now();
        if client.publish(self.presence_message(state)).is_err() {
            return Err(ConnectionEnd::Broken("the client does not take requests".into()));
        }
        let mut give_up = None;
        loop {
            let next = match give_up {
                None => client.next().await,
                Some(at) => match tokio::time::timeout_at(at, client.next()).await {
                    Ok(next) => next,
                    Err(_) => return Err(self.not_heard(client, broker, Refusal::Forbidden)),
                },
            };
            match next {
                // A retained one is what the broker held before.
                Ok(Incoming::Message { topic, payload, retained: false })
                    if topic == own && self.is_echo(&payload, state) =>
                {
                    return Ok(asked.elapsed());
                }
                Ok(Incoming::Message { topic, payload, retained }) => self.incoming(&topic, payload, retained).await,
                Ok(Incoming::Acknowledged) => give_up = Some(tokio::time::Instant::now() + ECHO_WAIT),
                Ok(Incoming::PublishRefused { why, .. }) => return Err(self.not_heard(client, broker, why)),
                Ok(_) => {}
                Err(ending) => return Err(self.end_of(ending, broker)),
            }
        }
    }

    /// Our presence did not come back. Where it may be written and not read, others see it all the same.
    fn not_heard(&self, client: &mut Client, broker: &Broker, why: Refusal) -> ConnectionEnd {
        let _not_waited_for = self.publish_presence(client, PresenceState::Offline);
        ConnectionEnd::Fatal(self.publish_refused(broker, self.own_topic(), why))
    }

    fn is_echo(&self, payload: &[u8], state: PresenceState) -> bool {
        Presence::from_bytes(payload).is_ok_and(|presence| presence.state == state && self.is_ours(&presence))
    }
}
