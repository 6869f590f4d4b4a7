//! One broker, step by step: name and TCP, TLS, login, presence, and the topics of calls.
//!
//! The last three go through the [`Link`] of a call, with our own ID as the one who may speak to us: what we say to
//! ourselves has to come back. Before that somebody looks on who is not us, because a second program with our ID would
//! throw off one that runs; if one does, the steps that would do so are left out.

use std::sync::Arc;
use std::time::Duration;

use network::system_error::in_words;
use rustls::ClientConfig;
use signalling::id::PeerId;
use signalling::mqtt::{
    Audience, BrokerUrl, Cause, Link, LinkConfig, LinkError, LinkEvent, LinkHandle, Scheme, Tls, Watched,
    other_protocol,
};
use signalling::wire::PresenceState;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::clock::ServerTime;
use super::reach::{Reached, reach};
use super::tls::{self, SOON};
use super::{Finding, Group, Look, NamedBroker, aside, calendar, in_ms};
use crate::output::exit::ExitStatus;
use crate::platform::clock::unix_ms;

/// How long each step may take; with the connection itself they stay below 20 s.
const SECURE: Duration = Duration::from_secs(4);
const LOOK_ON: Duration = Duration::from_secs(3);
const TAKE_PART: Duration = Duration::from_secs(4);
const GOODBYE: Duration = Duration::from_secs(1);

/// How long it may take to find out what else is spoken at its port.
const ASK: Duration = Duration::from_secs(2);

/// How long whoever looks on stays: a program that was thrown off by it comes back within this time.
const STAY: Duration = Duration::from_millis(800);

/// What we say to ourselves, and how long each try may take.
const MESSAGE: &[u8] = b"tring doctor";
const MESSAGE_TRIES: u32 = 3;

/// More than an offer with all its candidates has, sealed with padding up to 16 KiB; calls stay below it.
const LARGE_BYTES: usize = 17 * 1024;

const MESSAGE_WAIT: Duration = Duration::from_millis(700);

/// One of the brokers of the list.
struct Broker {
    index: usize,
    url: BrokerUrl,
    link: LinkConfig,
}

/// Looks at one broker. Tells the time by its clock, if it has one.
pub(super) async fn check(
    index: usize,
    url: BrokerUrl,
    named: NamedBroker,
    link: LinkConfig,
    times: mpsc::Sender<ServerTime>,
) -> Vec<Finding> {
    let me = link.me.clone();
    let link = LinkConfig { brokers: vec![url.clone()], audience: Audience::Only(vec![me]), ..link };
    let broker = Broker { index, url, link };
    let look = broker.look("broker");
    let reached = match reach(&broker.url, &broker.link.proxies).await {
        Ok(reached) => reached,
        Err(error) => {
            let (detail, fix) = (error.to_string(), error.advice(&broker.url, named));
            let mut findings = vec![look.failed(ExitStatus::BrokerUnreachable, detail, fix)];
            // A file that is missing is missing whether the broker is there or not.
            let unreadable = broker.unreadable_files();
            let names = ["tls", "login", "presence", "topics"];
            let left = &names[usize::from(unreadable.is_some())..];
            findings.extend(unreadable);
            findings.extend(broker.skipped(left, "the broker is not reached"));
            return findings;
        }
    };
    let (address, took) = (reached.address, in_ms(reached.took));
    let mut findings = vec![look.ok(match &reached.proxy {
        None => format!("{address}, TCP connected in {took}"),
        Some(proxy) => format!("through the proxy {proxy}, TCP connected to it in {took}"),
    })];
    match broker.secure(reached, times).await {
        Some(found) if matches!(found.verdict, super::Verdict::Failed { .. }) => {
            findings.push(found);
            findings.extend(broker.skipped(&["login", "presence", "topics"], "TLS does not work"));
            return findings;
        }
        found => findings.extend(found),
    }
    findings.extend(broker.take_part().await);
    findings
}

impl Broker {
    fn look(&self, name: &'static str) -> Look {
        Look::at_one_of(name, &self.url, Group::Broker(self.index))
    }

    /// Steps that make no sense any more; `tls` only where it would have been one.
    fn skipped(&self, names: &[&'static str], why: &str) -> Vec<Finding> {
        let steps = names.iter().filter(|name| **name != "tls" || self.is_secure());
        steps.map(|name| self.look(name).skipped(why)).collect()
    }

    /// What is wrong with the files for TLS.
    fn unreadable_files(&self) -> Option<Finding> {
        let error = Tls::load(&self.link.tls).err()?;
        Some(self.look("tls").failed(ExitStatus::Usage, error.to_string(), "pass another file"))
    }

    fn is_secure(&self) -> bool {
        match self.url.scheme {
            Scheme::Mqtts | Scheme::Wss => true,
            Scheme::Mqtt | Scheme::Ws => false,
        }
    }

    fn speaks_http(&self) -> bool {
        match self.url.scheme {
            Scheme::Ws | Scheme::Wss => true,
            Scheme::Mqtt | Scheme::Mqtts => false,
        }
    }

    /// TLS, where it is wanted; and the time, where HTTP tells it.
    async fn secure(&self, reached: Reached, times: mpsc::Sender<ServerTime>) -> Option<Finding> {
        let look = self.look("tls");
        let tls = match Tls::load(&self.link.tls) {
            Ok(tls) => self.is_secure().then(|| tls.client_config()),
            Err(_) => return self.unreadable_files(),
        };
        let (shaken, theirs) = tokio::join!(self.shake_hands(tls.clone(), reached), self.time_told(tls));
        if let Some(theirs) = theirs {
            let ours = i64::try_from(unix_ms() / 1000).unwrap_or_default();
            // There is room for one a broker; without a reader nobody wants to know.
            let _unread = times.try_send(ServerTime { server: self.url.to_string(), ahead: theirs - ours });
        }
        Some(match shaken? {
            Err(fault) => {
                let Cause { cause, fix } = self.found_out(fault).await;
                look.failed(ExitStatus::BrokerUnreachable, cause, fix)
            }
            Ok(secured) => expiry(look, &secured),
        })
    }

    /// TLS, where there is a configuration for it.
    async fn shake_hands(
        &self,
        tls: Option<Arc<ClientConfig>>,
        reached: Reached,
    ) -> Option<Result<tls::Secured, tls::Fault>> {
        let (url, config, files) = (self.url.clone(), tls?, self.link.tls.clone());
        let socket = match reached.stream.into_std() {
            Ok(socket) => socket,
            Err(error) => {
                let cause = Cause { cause: in_words(&error), fix: "try again".to_owned() };
                return Some(Err(tls::Fault::Tls(cause)));
            }
        };
        let shaken = aside(SECURE, move || tls::shake_hands(&url, socket, config, &files)).await;
        Some(shaken.unwrap_or_else(|| {
            let cause = format!("no answer within {} s", SECURE.as_secs());
            Err(tls::Fault::NoTls(Cause { cause, fix: "is this the broker's port for TLS?".to_owned() }))
        }))
    }

    /// The cause of a fault of TLS; where something else than TLS may be there, it is asked what.
    async fn found_out(&self, fault: tls::Fault) -> Cause {
        match fault {
            tls::Fault::Tls(cause) => cause,
            tls::Fault::NoTls(cause) => self.other_protocol().await.unwrap_or(cause),
        }
    }

    /// What else than the address says is spoken at its port.
    async fn other_protocol(&self) -> Option<Cause> {
        let tls = Tls::load(&self.link.tls).ok()?;
        let other = timeout(ASK, other_protocol(&self.url, &tls, &self.link.proxies)).await.ok()??;
        Some(Cause { cause: format!("its port {}", other.cause), fix: other.fix })
    }

    /// The time by the broker, where it speaks HTTP.
    async fn time_told(&self, tls: Option<Arc<ClientConfig>>) -> Option<i64> {
        if !self.speaks_http() {
            return None;
        }
        let socket = reach(&self.url, &self.link.proxies).await.ok()?.stream.into_std().ok()?;
        let url = self.url.clone();
        aside(SECURE, move || tls::time_told(&url, socket, tls)).await.flatten()
    }

    /// Login, presence and topics; none of them where that would throw a running program off.
    async fn take_part(&self) -> Vec<Finding> {
        let me = &self.link.me;
        let look = self.look("login");
        let in_use = self.look_on().await;
        if let Some(how) = in_use {
            let detail = format!("{how}; so it was not logged in as {me:?}", me = me.as_str());
            let fix = "end that program to see the rest, or look with another --id";
            let mut findings = vec![look.warning(detail, fix)];
            findings.extend(self.skipped(&["presence", "topics"], "a running program has the ID"));
            return findings;
        }
        let (login, presence) = (look.clone(), self.look("presence"));
        let (handle, mut events, running) = match start(Link::new(self.link.clone())) {
            Ok(started) => started,
            Err(error) => return self.refused(look, &error),
        };
        let findings = match timeout(TAKE_PART, up(&mut events)).await {
            Err(_) => {
                let silent = || Cause {
                    cause: format!("the broker does not speak MQTT with us within {} s", TAKE_PART.as_secs()),
                    fix: "is this the broker's port for MQTT, and is it at work? Look at its log".to_owned(),
                };
                let Cause { cause, fix } = self.other_protocol().await.unwrap_or_else(silent);
                let mut findings = vec![login.failed(ExitStatus::BrokerUnreachable, cause, fix)];
                findings.extend(self.skipped(&["presence", "topics"], "the login does not work"));
                findings
            }
            Ok(Err(error)) => self.refused(login, &error),
            Ok(Ok(round_trip)) => {
                let user = self.link.login.as_ref().map(|login| format!(" as {:?}", login.user));
                let user = user.unwrap_or_else(|| " without a login".to_owned());
                vec![
                    login.ok(format!("let in{user}")),
                    presence.ok(format!("written, and read back in {}", in_ms(round_trip))),
                    self.speak_to_ourselves(&handle, &mut events).await,
                ]
            }
        };
        running.end().await;
        findings
    }

    /// Says under what name a program runs with our ID, if one does.
    async fn look_on(&self) -> Option<String> {
        let me = &self.link.me;
        let watched = Watched::Peers(vec![me.clone()]);
        // Whatever keeps the observer out is told by the real try.
        let (_handle, mut events, running) = start(Link::observer(self.link.clone(), watched)).ok()?;
        let in_use = timeout(LOOK_ON, used(me, &mut events)).await.ok().flatten();
        running.end().await;
        in_use
    }

    /// What we publish on our own call topic has to come back, or the broker's rules are against it.
    async fn speak_to_ourselves(&self, handle: &LinkHandle, events: &mut mpsc::Receiver<LinkEvent>) -> Finding {
        let look = self.look("topics");
        let me = &self.link.me;
        let topic = self.link.template.call(me, me);
        match self.say(handle, events, MESSAGE.to_vec()).await {
            Said::Heard(small) => return self.say_much(look, small, handle, events).await,
            Said::Refused(error) => return told(look, &error),
            Said::Broken(reason) => {
                let detail = format!("the broker was gone when it was sent a message: {reason}");
                return look.failed(ExitStatus::BrokerRefused, detail, "look at the broker's log");
            }
            Said::NotHeard => {}
        }
        if !self.link.template.names_listener() {
            // Rules for bare topics seldom let a peer read its own.
            return look.warning(
                format!("a message on {topic:?} did not come back; partners may hear it all the same"),
                format!("let the broker's rules permit {me} to read {topic:?} to be sure"),
            );
        }
        look.failed(
            ExitStatus::BrokerRefused,
            format!("a message on {topic:?} did not come back: the broker's rules are against it"),
            format!("they must let {me} write {topic:?}, and read what is addressed to it"),
        )
    }

    /// The same with a message as large as an offer: a broker may pass on small ones alone.
    async fn say_much(
        &self,
        look: Look,
        small: Duration,
        handle: &LinkHandle,
        events: &mut mpsc::Receiver<LinkEvent>,
    ) -> Finding {
        let topic = self.link.template.call(&self.link.me, &self.link.me);
        let (large, kib) = (vec![b' '; LARGE_BYTES], LARGE_BYTES / 1024);
        let fix = "let the broker take packets of 256 KiB (Mosquitto: max_packet_size, message_size_limit; ActiveMQ: \
                   wireFormat.maxFrameSize)";
        let failed = |what: String| {
            format!("small messages pass, but one of {kib} KiB, as large as an offer may be, does not: {what}")
        };
        match self.say(handle, events, large).await {
            Said::Heard(large) => look.ok(format!(
                "a message on {topic:?} came back in {}, one of {kib} KiB in {}",
                in_ms(small),
                in_ms(large)
            )),
            Said::Broken(_) => {
                let detail = failed("the broker closes the connection on it".to_owned());
                look.failed(ExitStatus::BrokerRefused, detail, fix)
            }
            Said::NotHeard => {
                look.failed(ExitStatus::BrokerRefused, failed("the broker loses it without a word".to_owned()), fix)
            }
            Said::Refused(error) => {
                let text = error.to_string();
                let detail = text.rsplit_once("; ").map_or(text.as_str(), |(detail, _)| detail);
                look.failed(ExitStatus::BrokerRefused, failed(detail.to_owned()), fix)
            }
        }
    }

    /// Says this to ourselves, several times where it does not come back.
    async fn say(&self, handle: &LinkHandle, events: &mut mpsc::Receiver<LinkEvent>, words: Vec<u8>) -> Said {
        let me = &self.link.me;
        for _ in 0..MESSAGE_TRIES {
            if let Err(error) = handle.publish(me.clone(), words.clone()) {
                return Said::Broken(error.to_string());
            }
            let said = Instant::now();
            match timeout_at(said + MESSAGE_WAIT, heard(me, &words, events)).await {
                Ok(Said::Heard(_)) => return Said::Heard(said.elapsed()),
                Ok(other) => return other,
                Err(_) => {}
            }
        }
        Said::NotHeard
    }

    /// The line that an error of the link belongs to, those before it, and those that cannot follow.
    fn refused(&self, login: Look, error: &LinkError) -> Vec<Finding> {
        match error {
            LinkError::SubscriptionRefused { .. } => vec![
                login.ok("let in"),
                self.look("presence").skipped("the broker refuses the subscription to it or to calls"),
                told(self.look("topics"), error),
            ],
            LinkError::PublishRefused { .. } => {
                vec![
                    login.ok("let in"),
                    told(self.look("presence"), error),
                    self.look("topics").skipped("not tried without presence"),
                ]
            }
            LinkError::Unreachable { .. }
            | LinkError::Tls { .. }
            | LinkError::OtherProtocol { .. }
            | LinkError::LoginRefused { .. }
            | LinkError::IdRefused { .. }
            | LinkError::VersionRefused { .. }
            | LinkError::NotReadable { .. }
            | LinkError::PacketTooLarge { .. }
            | LinkError::ClosesOnPacket { .. }
            | LinkError::Refused { .. }
            | LinkError::TakenOver { .. }
            | LinkError::OneConnectionALogin { .. }
            | LinkError::Relayed(_)
            | LinkError::TlsFile(_) => {
                let mut findings = vec![told(login, error)];
                findings.extend(self.skipped(&["presence", "topics"], "the login does not work"));
                findings
            }
        }
    }
}

/// An error of the link: its text has the advice behind its last semicolon.
fn told(look: Look, error: &LinkError) -> Finding {
    let text = error.to_string();
    let (detail, fix) = text.rsplit_once("; ").unwrap_or((&text, "look at the broker's log"));
    look.failed(ExitStatus::from(error), detail, fix)
}

/// Until when the certificate is good.
fn expiry(look: Look, secured: &tls::Secured) -> Finding {
    let version = secured.version;
    let Some(expires) = secured.expires else {
        return look.ok(format!("{version}, certificate trusted"));
    };
    let left = expires - i64::try_from(unix_ms() / 1000).unwrap_or_default();
    let detail = format!("{version}, certificate trusted until {}", calendar::date(expires));
    if left < SOON { look.warning(detail, "renew it at the broker") } else { look.ok(detail) }
}

/// A link at work.
struct Working {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Working {
    /// Says goodbye to the broker; one that does not answer is left.
    async fn end(self) {
        self.stop.cancel();
        if timeout(GOODBYE, self.task).await.is_err() {
            tracing::debug!("the broker did not take the goodbye in time");
        }
    }
}

type Started = (LinkHandle, mpsc::Receiver<LinkEvent>, Working);

fn start(made: Result<(Link, LinkHandle, mpsc::Receiver<LinkEvent>), LinkError>) -> Result<Started, LinkError> {
    let (link, handle, events) = made?;
    // Nobody should ring us for the moment that we are there.
    handle.set_presence(PresenceState::Busy);
    let stop = CancellationToken::new();
    let task = tokio::spawn(link.run(stop.clone()));
    Ok((handle, events, Working { stop, task }))
}

/// Waits until the link is up; how long a message takes there and back.
async fn up(events: &mut mpsc::Receiver<LinkEvent>) -> Result<Duration, LinkError> {
    loop {
        match events.recv().await {
            Some(LinkEvent::Up { round_trip, .. }) => return Ok(round_trip),
            Some(LinkEvent::Failed(error)) => return Err(error),
            Some(_) => {}
            // The link says why it ends before it does; without a word this waits for the time to run out.
            None => std::future::pending().await,
        }
    }
}

/// What became of something that we said to ourselves.
enum Said {
    /// It came back, after this time.
    Heard(Duration),
    /// It did not.
    NotHeard,
    /// The broker says no.
    Refused(LinkError),
    /// The connection was gone.
    Broken(String),
}

/// Waits for what we have said to ourselves.
async fn heard(me: &PeerId, words: &[u8], events: &mut mpsc::Receiver<LinkEvent>) -> Said {
    loop {
        match events.recv().await {
            Some(LinkEvent::Message { from, payload, .. }) if from == *me && payload == words => {
                return Said::Heard(Duration::ZERO);
            }
            Some(LinkEvent::Refused { error, .. } | LinkEvent::Failed(error)) => return Said::Refused(error),
            Some(LinkEvent::Down { reason }) => return Said::Broken(reason),
            Some(_) => {}
            None => std::future::pending().await,
        }
    }
}

/// Watches the presence of our own ID for a while; who has it, if anyone.
async fn used(me: &PeerId, events: &mut mpsc::Receiver<LinkEvent>) -> Option<String> {
    let mut end = None;
    loop {
        let next = match end {
            None => events.recv().await,
            Some(end) => timeout_at(end, events.recv()).await.ok()?,
        };
        match next? {
            LinkEvent::Up { .. } => end = Some(Instant::now() + STAY),
            // What has gone may be what we have thrown off: it would come back.
            LinkEvent::Presence { state: Some(PresenceState::Offline) | None, .. } => {}
            LinkEvent::Presence { state: Some(state), .. } => {
                let state = state.name();
                return Some(format!("a program runs with the ID {me:?} ({state})", me = me.as_str()));
            }
            LinkEvent::Failed(LinkError::OneConnectionALogin { .. }) => {
                return Some("the broker allows this login one connection, and a running program has it".to_owned());
            }
            // The real try says it better.
            LinkEvent::Failed(_) => return None,
            LinkEvent::Down { .. }
            | LinkEvent::Message { .. }
            | LinkEvent::Refused { .. }
            | LinkEvent::Dropped { .. }
            | LinkEvent::Echo
            | LinkEvent::Ready { .. }
            | LinkEvent::Distrusted { .. }
            | LinkEvent::Overheard { .. } => {}
        }
    }
}
