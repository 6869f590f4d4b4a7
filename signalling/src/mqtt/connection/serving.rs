//! A connection at work: messages in, messages out, presence kept up to date, and the goodbye.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::answers::{Answers, Asked};
use super::bring_up::PROBE;
use super::way_out::{WayChange, WayOut};
use super::{Broker, Connection, ConnectionEnd, Hints, Part, changed_after};
use crate::id::PeerId;
use crate::mqtt::client::{Client, Ending, Incoming, Kind, Message, NotSent};
use crate::mqtt::{Audience, Command, LinkError, LinkEvent, Watched};
use crate::topic::{self, Hearers};
use crate::wire::{ENVELOPE_BYTES_MAX, PresenceState};

/// How long the goodbye to the broker may take.
const GOODBYE: Duration = Duration::from_millis(500);

impl Connection {
    pub(super) async fn serve(
        &mut self,
        client: &mut Client,
        broker: &Broker,
        (hints, way): (&mut Hints, &mut WayOut),
        stop: &CancellationToken,
    ) -> ConnectionEnd {
        let back = self.preferred.better_is_back(broker, &self.config.brokers, &self.config.proxies);
        tokio::pin!(back);
        let mut answers = Answers::default();
        let settled_at = self.history.settled_at();
        loop {
            let unanswered = passed(answers.deadline());
            tokio::select! {
                biased;
                () = stop.cancelled() => {
                    self.say_last_words(client, broker).await;
                    self.say_goodbye(client).await;
                    return ConnectionEnd::Stopped;
                }
                next = client.next() => {
                    note(&next, &mut answers);
                    if let Err(ending) = self.heard(next, broker).await {
                        return self.lost(ending, client.suspect_bytes(), broker);
                    }
                    self.refuse(client);
                },
                // No goodbye in any of these: it would not get through.
                () = changed_after(&mut hints.network, settled_at) => return self.network_changed(),
                change = way.changed() => match change {
                    WayChange::Moved => return self.network_changed(),
                    WayChange::Back => self.ask(client, &mut answers),
                },
                Ok(()) = hints.doubts.changed() => self.ask(client, &mut answers),
                () = unanswered => return ConnectionEnd::Silent,
                Some(command) = self.commands.recv() => match command {
                    Command::Publish { to, payload } => {
                        let sent = self.publish(client, to, payload, broker).await;
                        answers.asked_if(sent, Instant::now());
                    }
                    Command::Watch(peer) => answers.asked_if(self.watch(client, peer), Instant::now()),
                    Command::Probe => self.probe(client),
                    Command::Hear(peer) => self.hear(client, peer),
                },
                Ok(()) = self.presence.changed() => answers.asked_if(self.announce(client), Instant::now()),
                () = &mut back => {
                    self.preferred.leaves(broker.place);
                    self.say_goodbye(client).await;
                    return ConnectionEnd::Returning;
                }
            }
        }
    }

    async fn heard(&mut self, next: Result<Incoming, Ending>, broker: &Broker) -> Result<(), Ending> {
        match next? {
            Incoming::Message { topic, payload, retained } => self.incoming(&topic, payload, retained).await,
            Incoming::PublishRefused { topic, kind: Kind::Call { to }, why } => {
                let error = self.publish_refused(broker, topic, why);
                self.tell(LinkEvent::Refused { to, error }).await;
            }
            Incoming::PublishRefused { topic, kind: Kind::Presence, why } => {
                debug!(topic, ?why, "presence not published");
            }
            Incoming::Connected
            | Incoming::Subscribed(_)
            | Incoming::Acknowledged
            | Incoming::Left
            | Incoming::Nothing => {}
        }
        Ok(())
    }

    /// Asks the broker something that changes nothing.
    fn ask(&self, client: &mut Client, answers: &mut Answers) {
        if client.subscribe(&[self.own_topic()]).is_err() {
            debug!("broker too slow: not asked whether it is there");
        }
        answers.asked_in_doubt(Instant::now());
    }

    /// The connection is over, with a message of this size under way that may have been too large.
    fn lost(&mut self, ending: Ending, suspect: Option<usize>, broker: &Broker) -> ConnectionEnd {
        let end = self.end_of(ending, broker);
        let limit = self.history.limits.entry(broker.place).or_default();
        match end {
            ConnectionEnd::Broken(reason) if limit.closed_on(suspect, std::time::Instant::now()) => {
                ConnectionEnd::ClosedOnPacket { reason }
            }
            end => end,
        }
    }

    async fn publish(&mut self, client: &mut Client, to: PeerId, payload: Bytes, broker: &Broker) -> Asked {
        let Some(payload) = self.sealed(&to, payload).await else { return Asked::No };
        let topic = self.config.template.call(&self.config.me, &to);
        let bytes = topic.len() + payload.len();
        let limit = self.history.limits.get_mut(&broker.place);
        if limit.is_some_and(|limit| limit.refuses(bytes, std::time::Instant::now())) {
            let error = LinkError::ClosesOnPacket { broker: broker.to_string(), bytes };
            self.tell(LinkEvent::Refused { to, error }).await;
            return Asked::No;
        }
        match client.publish(Message { topic, payload, kind: Kind::Call { to: to.clone() } }) {
            Ok(()) => return Asked::Yes,
            Err(NotSent::Full) => debug!(%to, "broker too slow: message left to be sent again"),
            Err(NotSent::TooLarge { bytes, bytes_max }) => {
                let error = LinkError::PacketTooLarge { broker: broker.to_string(), bytes, bytes_max };
                self.tell(LinkEvent::Refused { to, error }).await;
            }
        }
        Asked::No
    }

    /// Says something to ourselves, where nobody else hears it.
    fn probe(&self, client: &mut Client) {
        let me = &self.config.me;
        let topic = self.config.template.call(me, me);
        match (self.config.template.hearers(), &self.config.audience) {
            (Hearers::All, _) => return,
            (Hearers::One, Audience::Anyone) => {}
            (Hearers::One, Audience::Only(_)) => {
                if client.subscribe(std::slice::from_ref(&topic)).is_err() {
                    return debug!("broker too slow: its rules are not looked at");
                }
            }
        }
        let probe = Message { topic, payload: PROBE.into(), kind: Kind::Call { to: me.clone() } };
        if client.publish(probe).is_err() {
            debug!("broker too slow: its rules are not looked at");
        }
    }

    fn watch(&mut self, client: &mut Client, peer: PeerId) -> Asked {
        let asked = client.subscribe(&[topic::presence(&peer)]);
        if asked.is_err() {
            debug!(%peer, "broker too slow: presence is asked for on the next connect");
        }
        self.watched.insert(peer);
        asked.into()
    }

    fn hear(&mut self, client: &mut Client, peer: PeerId) {
        let topic = self.config.template.call(&peer, &self.config.me);
        if self.admit(peer.clone()) && client.subscribe(&[topic]).is_err() {
            debug!(%peer, "broker too slow: its messages are asked for on the next connect");
        }
    }

    /// Takes in a message from one of our topics.
    pub(super) async fn incoming(&mut self, topic: &str, payload: Bytes, retained: bool) {
        match self.part {
            Part::Tracer => self.overheard(topic, payload, retained).await,
            Part::Peer | Part::Observer(_) => self.addressed(topic, payload, retained).await,
        }
    }

    /// What peers say among themselves. Our own question whether we hear them is none of it.
    async fn overheard(&self, topic: &str, payload: Bytes, retained: bool) {
        // Nor is that of a peer whether its messages pass.
        if self.probes().iter().any(|probe| probe == topic) || payload == PROBE {
            return;
        }
        let size = payload.len();
        // A queue of larger ones would hold more than this program should.
        let payload = (size <= ENVELOPE_BYTES_MAX).then_some(payload);
        self.tell(LinkEvent::Overheard { topic: topic.to_owned(), payload, size, retained }).await;
    }

    async fn addressed(&mut self, topic: &str, payload: Bytes, retained: bool) {
        if let Some(peer) = topic::presence_owner(topic) {
            if self.is_watched(&peer) {
                self.presence_of(peer, &payload).await;
            }
            return;
        }
        let Some(from) = self.config.template.sender(topic, &self.config.me) else {
            return self.drop_for("topic names no valid peer").await;
        };
        if from == self.config.me && !self.hears_itself() {
            if payload == PROBE && !retained {
                self.tell(LinkEvent::Echo).await;
            }
            return;
        }
        if retained {
            return self.drop_for("retained message: signalling is never retained").await;
        }
        if payload.len() > ENVELOPE_BYTES_MAX {
            return self.drop_for("message above the size limit").await;
        }
        self.opened(from, payload).await;
    }

    fn is_watched(&self, peer: &PeerId) -> bool {
        match self.part {
            Part::Observer(Watched::Everyone) => true,
            Part::Observer(Watched::Peers(_)) | Part::Tracer | Part::Peer => self.watched.contains(peer),
        }
    }

    /// True when our own messages are asked for by name, as a check of the broker's rules does.
    fn hears_itself(&self) -> bool {
        match &self.config.audience {
            Audience::Anyone => false,
            Audience::Only(peers) => peers.contains(&self.config.me),
        }
    }

    fn announce(&mut self, client: &mut Client) -> Asked {
        let state = *self.presence.borrow_and_update();
        self.publish_presence(client, state)
    }

    /// Publishes what is still in the queue when the program ends: not every dialect has it acknowledged before.
    async fn say_last_words(&mut self, client: &mut Client, broker: &Broker) {
        while let Ok(command) = self.commands.try_recv() {
            if let Command::Publish { to, payload } = command {
                let _not_waited_for = self.publish(client, to, payload, broker).await;
            }
        }
    }

    async fn say_goodbye(&self, client: &mut Client) {
        let _not_waited_for = self.publish_presence(client, PresenceState::Offline);
        leave(client).await;
    }

    pub(super) fn publish_presence(&self, client: &mut Client, state: PresenceState) -> Asked {
        match self.part {
            Part::Observer(_) | Part::Tracer => Asked::No,
            Part::Peer => {
                let asked = client.publish(self.presence_message(state));
                if asked.is_err() {
                    debug!("broker too slow: presence not published");
                }
                asked.into()
            }
        }
    }
}

/// Takes note of what tells that the broker is there.
fn note(next: &Result<Incoming, Ending>, answers: &mut Answers) {
    match next {
        Ok(Incoming::Acknowledged | Incoming::PublishRefused { .. } | Incoming::Subscribed(_)) => {
            answers.answered(Instant::now());
        }
        Ok(Incoming::Message { .. } | Incoming::Connected) => answers.heard(Instant::now()),
        // Our own packets, and answers to pings.
        Ok(Incoming::Left | Incoming::Nothing) | Err(_) => {}
    }
}

/// Waits for a moment, if there is one.
async fn passed(moment: Option<Instant>) {
    match moment {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// How long a broker may take to close a connection that we have left.
const BROKER_CLOSES: Duration = Duration::from_millis(300);

/// Says goodbye to the broker, which then does not publish our will.
pub(super) async fn leave(client: &mut Client) {
    if client.disconnect().is_err() {
        return;
    }
    let gone = async {
        while !matches!(client.next().await, Ok(Incoming::Left) | Err(_)) {}
        // The broker closes first. A socket that is closed with something unread is reset (RFC 1122 §4.2.2.13), and what
        // the broker has not read yet is lost: a bye, say.
        let closed = async { while client.next().await.is_ok() {} };
        let _broker_that_does_not = tokio::time::timeout(BROKER_CLOSES, closed).await;
        client.close().await;
    };
    if tokio::time::timeout(GOODBYE, gone).await.is_err() {
        debug!("the broker did not take the goodbye in time; it will publish the will");
    }
}
