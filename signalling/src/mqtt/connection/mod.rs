//! The connection itself: one try after the other, each with a fresh MQTT session.
//!
//! - here: the brokers in turn, how long to wait between tries, and when to give up
//! - `bring_up.rs`: from TCP to the echo of our own presence
//! - `serving.rs`: a connection at work, and the goodbye
//! - `take_over.rs`: whether somebody else uses our ID
//! - `way_out.rs`, `answers.rs`: whether the connection still leads to the broker
//! - `preferred.rs`: the way back to a broker that we would rather use
//! - `sealing.rs`: what the vault says of what comes and goes
//! - `limit.rs`: how large a message may be for a broker that does not say so
//! - `end.rs`: how a connection ended, and what the errors of a broker mean
//!
//! A fresh client a try keeps no half-sent packets: what was under way is sent again by [`crate::delivery`], which
//! alone knows what is still wanted.

mod answers;
mod bring_up;
mod end;
mod limit;
mod preferred;
mod sealing;
mod serving;
mod take_over;
mod way_out;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::backoff::Backoff;
use super::client::{Client, Kind, Message, Options};
use super::reach::route;
use super::{Audience, BrokerUrl, Command, LinkConfig, LinkEvent, Tls, Wanted, Watched, observer, run_id, unix_ms};
use crate::id::{MessageId, PeerId};
use crate::seal::Vault;
use crate::topic;
use crate::wire::{Presence, PresenceState, VERSION};
use end::{ConnectionEnd, Failed, Round, unreachable};
use limit::PacketLimit;
use preferred::Preferred;
use way_out::WayOut;

/// How long the first connection may take in all, so that a wrong address is an error within 10 s.
const FIRST_CONNECT: Duration = Duration::from_secs(8);

/// How long all may take until messages come in, connecting included.
const BRING_UP: Duration = Duration::from_secs(9);

/// Whoever is thrown off soon again and again waits so long at least: if that was another program with our ID, it has
/// the time to learn from our presence that it must not come back, before we throw it off in turn.
const AFTER_SHORT_LIVES: Duration = Duration::from_secs(1);

/// What is told of a changed network so soon after we saw a change ourselves is the same one.
const ONE_MOVE: Duration = Duration::from_secs(1);

/// Everything that outlives a single connection.
#[derive(Debug)]
pub(super) struct Connection {
    config: LinkConfig,
    part: Part,
    tls: Tls,
    commands: mpsc::Receiver<Command>,
    events: mpsc::Sender<LinkEvent>,
    watched: BTreeSet<PeerId>,
    presence: watch::Receiver<PresenceState>,
    hints: Hints,
    history: History,
    preferred: Preferred,
    vault: Option<Vault>,
    /// When this connection, or the try at one, began: Unix time in ms, and by the clock that never goes back.
    since: (u64, Instant),
    /// What is to be published for peers that are not spoken to.
    refusals: Vec<(PeerId, Vec<u8>)>,
}

/// What others tell of the network: counters of how often.
#[derive(Clone, Debug)]
pub(super) struct Hints {
    /// It changed.
    pub(super) network: watch::Receiver<u64>,
    /// Something else went silent.
    pub(super) doubts: watch::Receiver<u64>,
}

impl Hints {
    /// What was told before says nothing of what begins now.
    fn forget(&mut self) {
        self.network.mark_unchanged();
        self.doubts.mark_unchanged();
    }
}

/// Waits for word of a change that comes when this moment is past.
async fn changed_after(network: &mut watch::Receiver<u64>, moment: Instant) {
    while network.changed().await.is_ok() {
        if Instant::now() >= moment {
            return;
        }
    }
    std::future::pending().await
}

/// What we are at the broker.
#[derive(Debug)]
pub(super) enum Part {
    /// A peer with presence, which calls and is called.
    Peer,
    /// Somebody who watches presence and leaves no trace.
    Observer(Watched),
    /// The same, and it reads along what peers say.
    Tracer,
}

/// What earlier connections of this run tell about the next.
#[derive(Debug, Default)]
struct History {
    /// True once a connection has worked: what worked before may work again.
    been_up: bool,
    /// Brokers, by their place in the list, at which this run has announced itself: from then on a foreign run on our
    /// own topic there is a take-over.
    announced: BTreeSet<usize>,
    /// The broker that served last, unless a try at it has failed since: it was there all the time.
    served_just_now: Option<usize>,
    /// True once a try has failed, which is worth a warning once.
    tried: bool,
    /// Brokers that have closed once on our greeting.
    ungreeted: BTreeSet<usize>,
    /// Brokers that were asked what else they may speak.
    asked: BTreeSet<usize>,
    short_lives: u32,
    /// When a connection was given up last because the network changed.
    moved_at: Option<Instant>,
    /// What each broker seems to close the connection on.
    limits: BTreeMap<usize, PacketLimit>,
}

impl History {
    /// From when on word of a changed network is of another change.
    fn settled_at(&self) -> Instant {
        let now = Instant::now();
        self.moved_at.map_or(now, |at| at + ONE_MOVE)
    }
}

/// One of the brokers.
#[derive(Debug, Clone)]
struct Broker {
    /// Its place in the list; the first is the one we would rather use.
    place: usize,
    url: BrokerUrl,
}

impl std::fmt::Display for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.url.fmt(f)
    }
}

impl Connection {
    pub(super) fn new(
        config: LinkConfig,
        part: Part,
        tls: Tls,
        commands: mpsc::Receiver<Command>,
        presence: watch::Receiver<PresenceState>,
        hints: Hints,
        events: mpsc::Sender<LinkEvent>,
    ) -> Self {
        let watched = match &part {
            Part::Observer(Watched::Peers(peers)) => peers.iter().cloned().collect(),
            Part::Observer(Watched::Everyone) | Part::Tracer | Part::Peer => BTreeSet::new(),
        };
        let (history, preferred) = (History::default(), Preferred::default());
        let sealing = config.sealing.as_ref().filter(|_| matches!(part, Part::Peer));
        let vault = sealing.map(|sealing| {
            Vault::new(config.me.clone(), run_id(config.run), Arc::clone(&sealing.keys), sealing.policy)
        });
        let (since, refusals) = ((0, Instant::now()), Vec::new());
        Self {
            vault,
            since,
            refusals,
            config,
            part,
            tls,
            commands,
            events,
            watched,
            presence,
            hints,
            history,
            preferred,
        }
    }

    pub(super) async fn run(mut self, stop: CancellationToken) {
        let started = Instant::now();
        let mut backoff = Backoff::new(self.config.run);
        loop {
            let failed = match self.round(&stop).await {
                Round::Stopped => return,
                Round::Fatal(error) => return self.tell(LinkEvent::Failed(error)).await,
                Round::Served => {
                    backoff.reset();
                    Vec::new()
                }
                // Right away: the preferred broker is there, or the network is another.
                Round::Returning => {
                    backoff.reset();
                    continue;
                }
                Round::Failed(failed) => failed,
            };
            let wait = match self.history.short_lives {
                // Once it may be somebody who only looks, and must see us come back.
                0 | 1 => backoff.next(),
                _ => backoff.next().max(AFTER_SHORT_LIVES),
            };
            if !self.history.been_up {
                // Every broker has said no; asking again would not change that.
                let hopeless = failed.iter().all(|failed| failed.refusal.is_some());
                if hopeless || started.elapsed() + wait > FIRST_CONNECT {
                    return self.tell(LinkEvent::Failed(unreachable(failed))).await;
                }
            }
            debug!(?wait, "no connection; trying again");
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = self.idle(wait) => {}
            }
        }
    }

    /// Tries one broker after the other, from the first: all peers that share a list meet at the first that works.
    async fn round(&mut self, stop: &CancellationToken) -> Round {
        let mut failed = Vec::new();
        for (place, url) in self.config.brokers.clone().into_iter().enumerate() {
            let broker = Broker { place, url };
            let (end, lived) = self.connect_and_serve(&broker, stop).await;
            if let Some(lived) = lived {
                return self.served(&broker, end, lived).await;
            }
            if self.history.served_just_now == Some(place) {
                self.history.served_just_now = None;
            }
            let (reason, refusal) = match end {
                ConnectionEnd::Stopped => return Round::Stopped,
                ConnectionEnd::NetworkChanged => return Round::Returning,
                ConnectionEnd::Fatal(error) if error.may_pass() => (error.to_string(), Some(error)),
                ConnectionEnd::Fatal(error) => return Round::Fatal(error),
                other => (other.reason(), None),
            };
            let first_try = !std::mem::replace(&mut self.history.tried, true);
            let tries_on = self.history.been_up || place + 1 < self.config.brokers.len();
            match &refusal {
                Some(error) if tries_on => warn!(%error, "trying on"),
                None if first_try => warn!(%broker, reason, "broker not reachable yet; still trying"),
                Some(_) | None => debug!(%broker, reason, "no connection"),
            }
            failed.push(Failed { broker: broker.to_string(), reason, refusal });
        }
        Round::Failed(failed)
    }

    /// What follows when a connection that worked is over.
    async fn served(&mut self, broker: &Broker, end: ConnectionEnd, lived: Duration) -> Round {
        self.history.served_just_now = Some(broker.place);
        let oversized = matches!(end, ConnectionEnd::Oversized | ConnectionEnd::ClosedOnPacket { .. });
        let reason = match end {
            ConnectionEnd::Stopped => return Round::Stopped,
            ConnectionEnd::Fatal(error) if error.may_pass() => {
                warn!(%error, "trying on");
                error.to_string()
            }
            ConnectionEnd::Fatal(error) => return Round::Fatal(error),
            end @ (ConnectionEnd::Returning | ConnectionEnd::NetworkChanged | ConnectionEnd::Silent) => {
                self.tell(LinkEvent::Down { reason: end.reason() }).await;
                return Round::Returning;
            }
            other => other.reason(),
        };
        debug!(%broker, reason, "connection lost");
        self.tell(LinkEvent::Down { reason }).await;
        if self.kicked_again_and_again(lived, oversized) {
            return Round::Fatal(self.kicked(broker));
        }
        Round::Served
    }

    /// Waits without a connection; what is published meanwhile is lost, by design.
    async fn idle(&mut self, wait: Duration) {
        let end = tokio::time::sleep(wait);
        tokio::pin!(end);
        loop {
            tokio::select! {
                () = &mut end => return,
                Ok(()) = self.hints.network.changed() => return,
                Some(command) = self.commands.recv() => match command {
                    Command::Publish { .. } => debug!("not connected: message left to be sent again"),
                    Command::Probe => {}
                    Command::Watch(peer) => { self.watched.insert(peer); }
                    Command::Hear(peer) => { self.admit(peer); }
                },
            }
        }
    }

    /// What the handle wants next, for whoever carries it without a connection. Loses nothing when it is dropped.
    pub(super) async fn wanted(&mut self) -> Option<Wanted> {
        tokio::select! {
            command = self.commands.recv() => Some(match command? {
                Command::Publish { to, payload } => Wanted::Publish { to, payload },
                Command::Watch(peer) => {
                    // Also for the connection that may come later.
                    self.watched.insert(peer.clone());
                    Wanted::Watch(peer)
                }
                Command::Hear(peer) => {
                    self.admit(peer.clone());
                    Wanted::Hear(peer)
                }
                Command::Probe => Wanted::Probe,
            }),
            Ok(()) = self.presence.changed() => Some(Wanted::Presence(*self.presence.borrow_and_update())),
            Ok(()) = self.hints.network.changed() => Some(Wanted::Reconnect),
            Ok(()) = self.hints.doubts.changed() => Some(Wanted::Doubt),
        }
    }

    /// Takes a peer into the audience; false when it was in it.
    fn admit(&mut self, peer: PeerId) -> bool {
        match &mut self.config.audience {
            Audience::Anyone => false,
            Audience::Only(peers) if peers.contains(&peer) => false,
            Audience::Only(peers) => {
                peers.push(peer);
                true
            }
        }
    }

    async fn connect_and_serve(
        &mut self,
        broker: &Broker,
        stop: &CancellationToken,
    ) -> (ConnectionEnd, Option<Duration>) {
        // A change from now on concerns this connection; one before is what made us open it.
        self.hints.forget();
        self.since = (unix_ms().max(self.since.0 + 1), Instant::now());
        let mut hints = self.hints.clone();
        let mut way = WayOut::to(route(&broker.url, &self.config.proxies, None).first_hop());
        let settled_at = self.history.settled_at();
        let interface = way.interface().await;
        let mut client = self.open(broker, interface.as_deref());
        let up = tokio::select! {
            biased;
            () = stop.cancelled() => return (ConnectionEnd::Stopped, None),
            () = changed_after(&mut hints.network, settled_at) => return (self.network_changed(), None),
            () = way.moved() => return (self.network_changed(), None),
            up = tokio::time::timeout(BRING_UP, self.bring_up(&mut client, broker)) => {
                up.unwrap_or_else(|_| Err(ConnectionEnd::Broken("it let us in, but does not answer".into())))
            }
        };
        let round_trip = match up {
            Ok(round_trip) => round_trip,
            Err(end) => {
                // A goodbye keeps the broker from publishing our will over the presence of whoever has our ID now.
                if matches!(end, ConnectionEnd::Fatal(_)) {
                    serving::leave(&mut client).await;
                }
                return (end, None);
            }
        };
        if let Some(address) = client.address() {
            way.uses(address);
        }
        let since = Instant::now();
        info!(%broker, ?round_trip, "connected to the broker");
        self.history.been_up = true;
        self.history.ungreeted.clear();
        self.preferred.arrived(broker.place);
        self.tell(LinkEvent::Up { broker: broker.to_string(), round_trip }).await;
        let end = self.serve(&mut client, broker, (&mut hints, &mut way), stop).await;
        (end, Some(since.elapsed()))
    }

    fn network_changed(&mut self) -> ConnectionEnd {
        self.history.moved_at = Some(Instant::now());
        ConnectionEnd::NetworkChanged
    }

    fn open(&self, broker: &Broker, interface: Option<&str>) -> Client {
        let (client_id, will) = match self.part {
            Part::Peer => (self.config.me.clone(), Some(self.presence_message(PresenceState::Offline))),
            Part::Observer(_) | Part::Tracer => (self.observer_id(), None),
        };
        let login = match &self.config.login {
            Some(login) => Some((login.user.as_str(), login.password.as_str())),
            None => broker.url.user.as_deref().map(|user| (user, "")),
        };
        Client::open(&Options {
            version: self.config.version,
            client_id: &client_id,
            broker: &broker.url,
            login,
            tls: &self.tls,
            proxies: &self.config.proxies,
            interface,
            will,
        })
    }

    /// Our ClientId when we only look on.
    fn observer_id(&self) -> PeerId {
        observer::client_id(&self.config.me, self.config.run)
    }

    fn own_topic(&self) -> String {
        topic::presence(&self.config.me)
    }

    fn presence_message(&self, state: PresenceState) -> Message {
        let presence = Presence { v: VERSION, state, run: run_id(self.config.run), seal: None };
        let (since, began) = self.since;
        let ts = since + u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let presence = match &self.vault {
            Some(vault) => vault.sign(presence, since, ts),
            None => presence,
        };
        Message { topic: self.own_topic(), payload: presence.to_bytes().into(), kind: Kind::Presence }
    }

    pub(super) fn watch_from_the_start(&mut self, peer: PeerId) {
        self.watched.insert(peer);
    }

    pub(super) fn succeed(&mut self, run: MessageId) {
        if let Some(vault) = &mut self.vault {
            vault.succeed(run);
        }
    }

    pub(super) async fn tell(&self, event: LinkEvent) {
        // A session that is gone stops this task by its token; the event has no reader then.
        let _gone = self.events.send(event).await;
    }
}
