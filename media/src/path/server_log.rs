//! Follows the requests to STUN and TURN servers and their answers, on the call's own sockets. The engine only says
//! that a candidate is missing; this says why.
//!
//! - in: datagrams to and from servers, with the time; what becomes of streams to servers over TCP and TLS, which have
//!   [stand-ins](super::stand_in) as addresses
//! - out: what is wrong with a server ([`ServerLog::troubles`]), what came through it ([`ServerLog::relays`]), and
//!   whether all have answered ([`ServerLog::have_answered`])
//!
//! Pure but for its lock.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::ice_server::{IceServer, IceServerKind, IceTransport, IceUrl};
use super::stand_in::{self, StandIns};
use super::stream_fault::StreamFault;
use super::stun::{self, Class, Method};
use super::turn_error::{SILENT_AFTER, TurnError};

/// Questions without an answer that are kept in mind: several sockets and servers, each asked a few times.
const OPEN_MAX: usize = 512;

/// "Stale Nonce" (RFC 8489 §14.8).
const STALE_NONCE: u16 = 438;

/// Streams that are kept in mind: several sockets and servers, each tried a few times.
const STREAMS_MAX: usize = 256;

/// What was seen of one TURN server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelaySeen {
    /// The server.
    pub url: String,
    /// What keeps it from being of use, if anything does.
    pub trouble: Option<TurnError>,
    /// An address of the other side that it forbids, where it forbids all that we named.
    pub forbids: Option<IpAddr>,
    /// Something of the other side came through it.
    pub passed: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct ServerLog(Mutex<Log>);

#[derive(Debug, Default)]
struct Log {
    servers: Vec<IceUrl>,
    stand_ins: StandIns,
    /// Which server relays from an address.
    relayed: BTreeMap<SocketAddr, SocketAddr>,
    /// By number, which grows.
    streams: BTreeMap<u64, Stream>,
    /// Where each is, by `host:port`.
    names: BTreeMap<String, Vec<SocketAddr>>,
    seen: BTreeMap<SocketAddr, Seen>,
    open: BTreeMap<[u8; 12], Question>,
}

/// A stream of one socket to the server behind a stand-in.
#[derive(Debug)]
struct Stream {
    to: SocketAddr,
    life: StreamLife,
}

#[derive(Debug)]
enum StreamLife {
    Opening,
    Up,
    Ended(StreamFault),
}

#[derive(Debug)]
struct Question {
    server: SocketAddr,
    method: Method,
    /// The peer that a permission is for.
    peer: Option<IpAddr>,
    with_login: bool,
}

/// What was seen of one address.
#[derive(Debug, Default)]
struct Seen {
    /// The first question to TURN since its last answer.
    asked_since: Option<Instant>,
    /// A question of STUN was answered.
    bound: bool,
    /// Relay addresses that it gave.
    allocated: bool,
    /// How it refused one last.
    refused: Option<Refused>,
    permitted: bool,
    forbidden: Option<IpAddr>,
    passed: bool,
    /// It does not keep an allocation any longer, and that is still to be told.
    keeps_no_longer: bool,
}

#[derive(Clone, Debug)]
struct Refused {
    code: u16,
    reason: String,
}

impl ServerLog {
    /// Nothing seen yet of these.
    pub(crate) fn new(servers: &[IceServer]) -> Self {
        let stand_ins = StandIns::of(servers);
        let servers = servers.iter().map(|server| server.url.clone()).collect();
        Self(Mutex::new(Log { servers, stand_ins, ..Log::default() }))
    }

    /// A stream to the server behind a stand-in is being opened; `number` is larger than those before.
    pub(crate) fn stream_opens(&self, number: u64, stand_in: SocketAddr) {
        let mut log = self.log();
        if log.streams.len() >= STREAMS_MAX {
            log.streams.pop_first();
        }
        log.streams.insert(number, Stream { to: stand_in::of_ipv4(stand_in), life: StreamLife::Opening });
    }

    /// A stream is up.
    pub(crate) fn stream_is_up(&self, number: u64) {
        if let Some(stream) = self.log().streams.get_mut(&number) {
            stream.life = StreamLife::Up;
        }
    }

    /// A stream could not be opened, or has ended.
    pub(crate) fn stream_ended(&self, number: u64, fault: StreamFault) {
        // One from before an ICE restart is not known any more.
        if let Some(stream) = self.log().streams.get_mut(&number) {
            stream.life = StreamLife::Ended(fault);
        }
    }

    /// We have ended a stream ourselves.
    pub(crate) fn stream_forgotten(&self, number: u64) {
        self.log().streams.remove(&number);
    }

    /// The best transport over which a server has given a relay address.
    pub(crate) fn best_allocated(&self) -> Option<IceTransport> {
        let log = self.log();
        let allocated = log.servers.iter().filter(|url| log.seen_of(url).any(|seen| seen.allocated));
        allocated.map(|url| url.transport).min()
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A name of a server, `host:port`, means these addresses.
    pub(crate) fn resolved(&self, name: &str, addresses: &[SocketAddr]) {
        let mut log = self.log();
        log.names.insert(without_brackets(name), addresses.to_vec());
        for address in addresses {
            log.seen.entry(*address).or_default();
        }
    }

    /// A datagram went out.
    pub(crate) fn sent(&self, to: SocketAddr, datagram: &[u8], now: Instant) {
        let Some(message) = stun::Message::read(datagram) else { return };
        if message.class == Class::Request {
            self.log().asked(to, &message, now);
        }
    }

    /// A datagram came in.
    pub(crate) fn came(&self, from: SocketAddr, datagram: &[u8]) {
        match stun::Message::read(datagram) {
            Some(message) => self.log().answered(from, &message),
            // A TURN channel (RFC 8656 §12).
            None if matches!(datagram, [0x40..=0x4f, ..]) => {
                if let Some(seen) = self.log().seen.get_mut(&from) {
                    seen.passed = true;
                }
            }
            None => {}
        }
    }

    /// New sockets are bound: relay addresses of before are gone, and so is what was said of them.
    pub(crate) fn renew(&self) {
        let mut log = self.log();
        log.open.clear();
        log.streams.clear();
        log.relayed.clear();
        for seen in log.seen.values_mut() {
            *seen = Seen { asked_since: seen.asked_since, passed: seen.passed, ..Seen::default() };
        }
    }

    /// How packets travel to the server that relays from this address; `None` when none does.
    pub(crate) fn transport_of(&self, relayed: SocketAddr) -> Option<IceTransport> {
        let log = self.log();
        let server = *log.relayed.get(&relayed)?;
        let is_there = |url: &&IceUrl| log.addresses(url).contains(&server);
        log.servers.iter().find(is_there).map(|url| url.transport)
    }

    /// True when each server that was named has said yes or no on some socket, so that waiting for others is in vain.
    pub(crate) fn have_answered(&self) -> bool {
        let log = self.log();
        !log.servers.is_empty()
            && log.servers.iter().all(|url| {
                log.seen_of(url).any(|seen| seen.has_answered(url.kind)) || log.fault_of_streams(url).is_some()
            })
    }

    /// True once after a server has refused to keep an allocation: a login has expired, say. What it relays ends within
    /// minutes.
    pub(crate) fn take_refused_refresh(&self) -> bool {
        let mut log = self.log();
        // Each is taken, not the first alone.
        log.seen.values_mut().map(|seen| std::mem::take(&mut seen.keeps_no_longer)).filter(|told| *told).count() > 0
    }

    /// What was seen of each TURN server.
    pub(crate) fn relays(&self, now: Instant) -> Vec<RelaySeen> {
        let log = self.log();
        let relays = log.servers.iter().filter(|url| url.kind == IceServerKind::Turn);
        relays.map(|url| log.relay(url, now)).collect()
    }

    /// What keeps TURN servers from being of use now.
    pub(crate) fn troubles(&self, now: Instant) -> Vec<TurnError> {
        self.relays(now).into_iter().filter_map(|relay| relay.trouble).collect()
    }
}

impl Log {
    fn asked(&mut self, to: SocketAddr, message: &stun::Message<'_>, now: Instant) {
        let Some(seen) = self.seen.get_mut(&to) else { return };
        if message.method != Method::Binding {
            seen.asked_since.get_or_insert(now);
        }
        if self.open.len() >= OPEN_MAX {
            self.open.clear();
        }
        let (method, peer, with_login) = (message.method, message.peer_ip(), message.has_login());
        self.open.insert(message.transaction, Question { server: to, method, peer, with_login });
    }

    fn answered(&mut self, from: SocketAddr, message: &stun::Message<'_>) {
        let Some(seen) = self.seen.get_mut(&from) else { return };
        if (message.class, message.method) == (Class::Indication, Method::Data) {
            seen.passed = true;
            return;
        }
        let Some(question) = self.open.remove(&message.transaction).filter(|question| question.server == from) else {
            return;
        };
        if question.method != Method::Binding {
            seen.asked_since = None;
        }
        let yes = message.class == Class::Success;
        match (question.method, yes) {
            (Method::Binding, _) => seen.bound = true,
            (Method::Allocate, true) => {
                seen.allocated = true;
                if let Some(relayed) = message.relayed()
                    && self.relayed.len() < OPEN_MAX
                {
                    self.relayed.insert(relayed, from);
                }
            }
            (Method::Allocate, false) => seen.refuse(message, question.with_login),
            (Method::CreatePermission | Method::ChannelBind, true) => seen.permitted = true,
            (Method::CreatePermission | Method::ChannelBind, false) => {
                if message.error().is_some_and(|(code, _)| code == 403) {
                    seen.forbidden = question.peer.or(seen.forbidden);
                }
            }
            (Method::Refresh, false) => {
                // One with a nonce that is too old is asked again with another (RFC 8489 §9.2.4).
                seen.keeps_no_longer |= message.error().is_none_or(|(code, _)| code != STALE_NONCE);
            }
            (Method::Refresh, true) | (Method::Send | Method::Data, _) => {}
        }
    }

    fn addresses(&self, url: &IceUrl) -> &[SocketAddr] {
        let name = match self.stand_ins.of_server(url) {
            Some(stand_in) => stand_in.to_string(),
            None => format!("{}:{}", url.host, url.port),
        };
        self.names.get(&without_brackets(&name)).map(Vec::as_slice).unwrap_or_default()
    }

    fn seen_of(&self, url: &IceUrl) -> impl Iterator<Item = &Seen> {
        self.addresses(url).iter().filter_map(|address| self.seen.get(address))
    }

    fn is_asked(&self, url: &IceUrl) -> bool {
        let addresses = self.addresses(url);
        let mut open = self.open.values().filter(|question| question.method == Method::Allocate);
        open.any(|question| addresses.contains(&question.server))
    }

    /// Why no socket has a stream to a server over TCP or TLS. One that cannot have any, as that of an inner address, says
    /// the least.
    fn fault_of_streams(&self, url: &IceUrl) -> Option<&StreamFault> {
        let stand_in = self.stand_ins.of_server(url)?;
        let mut found = None;
        for stream in self.streams.values().filter(|stream| stream.to == stand_in) {
            match &stream.life {
                StreamLife::Opening | StreamLife::Up => return None,
                StreamLife::Ended(StreamFault::OtherSide) if found.is_some() => {}
                StreamLife::Ended(fault) => found = Some(fault),
            }
        }
        found
    }

    /// Why streams to a server ended that are opened again now; `None` where one is up, or none has ended.
    fn past_fault_of_streams(&self, url: &IceUrl) -> Option<&StreamFault> {
        let stand_in = self.stand_ins.of_server(url)?;
        let lives = || self.streams.values().filter(|stream| stream.to == stand_in).map(|stream| &stream.life);
        if lives().any(|life| matches!(life, StreamLife::Up)) {
            return None;
        }
        lives().rev().find_map(|life| match life {
            StreamLife::Ended(fault) if *fault != StreamFault::OtherSide => Some(fault),
            StreamLife::Ended(_) | StreamLife::Opening | StreamLife::Up => None,
        })
    }

    fn relay(&self, url: &IceUrl, now: Instant) -> RelaySeen {
        let allocated = self.seen_of(url).any(|seen| seen.allocated);
        let refused = self.seen_of(url).find_map(|seen| seen.refused.clone());
        // Of several addresses one may do: those that never gave anything are silent only where none did.
        let asked = self.seen_of(url).filter(|seen| seen.allocated || !allocated);
        let asked_since = asked.filter_map(|seen| seen.asked_since).min();
        let is_silent = asked_since.is_some_and(|since| now.saturating_duration_since(since) >= SILENT_AFTER);
        let name = url.to_string();
        let no_stream = self.fault_of_streams(url);
        let trouble = match (no_stream, refused) {
            // The stream of another socket may be next.
            (Some(StreamFault::OtherSide), _) if !is_silent => None,
            (Some(fault), _) => Some(TurnError::of_stream(url, fault)),
            // One socket may be refused what another was given. One that cannot reach the server at all waits in vain.
            (None, Some(refused)) if !allocated && (is_silent || !self.is_asked(url)) => {
                Some(TurnError::of_code(name.clone(), refused.code, &refused.reason))
            }
            (None, _) if is_silent => Some(match self.past_fault_of_streams(url) {
                Some(fault) => TurnError::of_stream(url, fault),
                None => TurnError::silent(url),
            }),
            (None, Some(_) | None) => None,
        };
        let permitted = self.seen_of(url).any(|seen| seen.permitted);
        let forbids = self.seen_of(url).find_map(|seen| seen.forbidden).filter(|_| !permitted);
        RelaySeen { url: name, trouble, forbids, passed: self.seen_of(url).any(|seen| seen.passed) }
    }
}

/// A `host:port`. The engine looks an IPv6 address up with and without brackets.
fn without_brackets(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '[' | ']')).collect()
}

impl Seen {
    fn refuse(&mut self, message: &stun::Message<'_>, with_login: bool) {
        let Some((code, reason)) = message.error() else { return };
        // The first question goes without a login, to learn what to sign; a nonce may be stale.
        if (code == 401 && !with_login) || code == 438 {
            return;
        }
        self.refused = Some(Refused { code, reason: reason.to_owned() });
    }

    fn has_answered(&self, kind: IceServerKind) -> bool {
        match kind {
            IceServerKind::Stun => self.bound,
            IceServerKind::Turn => self.allocated || self.refused.is_some(),
        }
    }
}

#[cfg(test)]
#[path = "server_log_tests.rs"]
mod tests;
