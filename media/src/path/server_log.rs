//! Follows the requests to STUN and TURN servers and their answers, on the call's own sockets. The engine only says
//! that a candidate is missing; this says why.
//!
//! - in: datagrams to and from servers, with the time
//! - out: what is wrong with a server ([`ServerLog::troubles`]), what came through it ([`ServerLog::relays`]), and
//!   whether all have answered ([`ServerLog::have_answered`])
//!
//! Pure but for its lock.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::ice_server::{IceServer, IceServerKind, IceUrl};
use super::stun::{self, Class, Method};
use super::turn_error::{SILENT_AFTER, TurnError};

/// Questions without an answer that are kept in mind: several sockets and servers, each asked a few times.
const OPEN_MAX: usize = 512;

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
    /// Where each is, by `host:port`.
    names: BTreeMap<String, Vec<SocketAddr>>,
    seen: BTreeMap<SocketAddr, Seen>,
    open: BTreeMap<[u8; 12], Question>,
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
}

#[derive(Clone, Debug)]
struct Refused {
    code: u16,
    reason: String,
}

impl ServerLog {
    /// Nothing seen yet of these.
    pub(crate) fn new(servers: &[IceServer]) -> Self {
        let servers = servers.iter().map(|server| server.url.clone()).collect();
        Self(Mutex::new(Log { servers, ..Log::default() }))
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A name of a server, `host:port`, means these addresses.
    pub(crate) fn resolved(&self, name: &str, addresses: &[SocketAddr]) {
        let mut log = self.log();
        log.names.insert(name.to_owned(), addresses.to_vec());
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
        for seen in log.seen.values_mut() {
            *seen = Seen { asked_since: seen.asked_since, passed: seen.passed, ..Seen::default() };
        }
    }

    /// True when each server that was named has said yes or no on some socket, so that waiting for others is in vain.
    pub(crate) fn have_answered(&self) -> bool {
        let log = self.log();
        !log.servers.is_empty()
            && log.servers.iter().all(|url| log.seen_of(url).any(|seen| seen.has_answered(url.kind)))
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
            (Method::Allocate, true) => seen.allocated = true,
            (Method::Allocate, false) => seen.refuse(message, question.with_login),
            (Method::CreatePermission | Method::ChannelBind, true) => seen.permitted = true,
            (Method::CreatePermission | Method::ChannelBind, false) => {
                if message.error().is_some_and(|(code, _)| code == 403) {
                    seen.forbidden = question.peer.or(seen.forbidden);
                }
            }
            (Method::Refresh | Method::Send | Method::Data, _) => {}
        }
    }

    fn seen_of(&self, url: &IceUrl) -> impl Iterator<Item = &Seen> {
        let addresses = self.names.get(&format!("{}:{}", url.host, url.port)).into_iter().flatten();
        addresses.filter_map(|address| self.seen.get(address))
    }

    fn is_asked(&self, url: &IceUrl) -> bool {
        let addresses = self.names.get(&format!("{}:{}", url.host, url.port));
        let mut open = self.open.values().filter(|question| question.method == Method::Allocate);
        addresses.is_some_and(|addresses| open.any(|question| addresses.contains(&question.server)))
    }

    fn relay(&self, url: &IceUrl, now: Instant) -> RelaySeen {
        let allocated = self.seen_of(url).any(|seen| seen.allocated);
        let refused = self.seen_of(url).find_map(|seen| seen.refused.clone());
        let asked_since = self.seen_of(url).filter_map(|seen| seen.asked_since).min();
        let is_silent = asked_since.is_some_and(|since| now.saturating_duration_since(since) >= SILENT_AFTER);
        let name = url.to_string();
        let trouble = match refused {
            _ if is_silent => Some(TurnError::Silent { url: name.clone() }),
            // One socket may be refused what another was given.
            Some(refused) if !allocated && !self.is_asked(url) => {
                Some(TurnError::of_code(name.clone(), refused.code, &refused.reason))
            }
            Some(_) | None => None,
        };
        let permitted = self.seen_of(url).any(|seen| seen.permitted);
        let forbids = self.seen_of(url).find_map(|seen| seen.forbidden).filter(|_| !permitted);
        RelaySeen { url: name, trouble, forbids, passed: self.seen_of(url).any(|seen| seen.passed) }
    }
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
mod tests {
    use std::time::Duration;

    use super::*;

    const SERVER: &str = "192.0.2.1:3478";

    /// A log of one TURN server, a clock, and the number of the next question.
    struct Bench {
        servers: ServerLog,
        now: Instant,
        next: u8,
    }

    impl Bench {
        fn new() -> Self {
            let url = "turn:turn.example".parse().unwrap();
            let servers = ServerLog::new(&[IceServer { url, username: "a".into(), password: "b".into() }]);
            servers.resolved("turn.example:3478", &[SERVER.parse().unwrap()]);
            Self { servers, now: Instant::now(), next: 1 }
        }

        fn ask(&mut self, kind: u16, attributes: &[(u16, &[u8])]) -> [u8; 12] {
            let transaction = [self.next; 12];
            self.next += 1;
            self.servers.sent(SERVER.parse().unwrap(), &stun::write(kind, transaction, attributes), self.now);
            transaction
        }

        fn answer(&self, kind: u16, transaction: [u8; 12], attributes: &[(u16, &[u8])]) {
            self.servers.came(SERVER.parse().unwrap(), &stun::write(kind, transaction, attributes));
        }

        fn refuse(&mut self, code: u16) {
            let asked = self.ask(0x0003, &[(0x0006, b"alice")]);
            let error =
                [&[0, 0, u8::try_from(code / 100).unwrap(), u8::try_from(code % 100).unwrap()][..], b"no\x1b[2J"];
            self.answer(0x0113, asked, &[(0x0009, &error.concat())]);
        }

        fn relay(&self) -> RelaySeen {
            self.servers.relays(self.now).remove(0)
        }

        fn trouble(&self) -> String {
            self.relay().trouble.map(|trouble| trouble.to_string()).unwrap_or_default()
        }
    }

    #[test]
    fn each_refusal_has_its_own_words() {
        for (code, words) in
            [(401, "--ice-password-file"), (486, "user-quota"), (508, "min-port"), (403, "(403)"), (500, "no[2J (500)")]
        {
            let mut bench = Bench::new();
            let asked = bench.ask(0x0003, &[]);
            bench.answer(0x0113, asked, &[(0x0009, &[0, 0, 4, 1])]);
            assert_eq!(bench.trouble(), "", "to be asked for a login is none");
            bench.refuse(code);
            assert!(bench.trouble().contains(words), "{code}: {}", bench.trouble());
            assert!(code == 401 || !bench.trouble().contains("--ice-user"), "{code}: {}", bench.trouble());
            assert!(!bench.trouble().contains('\u{1b}'));
        }
    }

    #[test]
    fn one_socket_may_be_refused_what_another_has() {
        let mut bench = Bench::new();
        let other = bench.ask(0x0003, &[(0x0006, b"alice")]);
        bench.refuse(486);
        assert_eq!(bench.trouble(), "", "the other was not answered yet");
        bench.answer(0x0103, other, &[]);
        assert_eq!(bench.trouble(), "");
        assert!(bench.servers.have_answered());
    }

    #[test]
    fn a_server_that_does_not_answer_any_more_is_told() {
        let mut bench = Bench::new();
        let asked = bench.ask(0x0003, &[]);
        bench.answer(0x0103, asked, &[]);
        bench.now += Duration::from_secs(60);
        assert_eq!(bench.trouble(), "");
        bench.ask(0x0004, &[]);
        bench.now += SILENT_AFTER;
        assert!(bench.trouble().contains("no answer"), "{}", bench.trouble());
        let asked = bench.ask(0x0003, &[]);
        bench.answer(0x0103, asked, &[]);
        assert_eq!(bench.trouble(), "", "it is back");
    }

    #[test]
    fn what_it_forbids_and_what_came_through_it_is_seen() {
        // 198.51.100.7:9, exclusive or with the cookie.
        let peer = [0, 1, 0x21, 0x1b, 198 ^ 0x21, 51 ^ 0x12, 100 ^ 0xa4, 7 ^ 0x42];
        let mut bench = Bench::new();
        let asked = bench.ask(0x0008, &[(0x0012, &peer)]);
        bench.answer(0x0118, asked, &[(0x0009, &[0, 0, 4, 3])]);
        assert_eq!(bench.relay().forbids, Some("198.51.100.7".parse().unwrap()));
        assert!(!bench.relay().passed);
        let asked = bench.ask(0x0008, &[(0x0012, &peer)]);
        bench.answer(0x0108, asked, &[]);
        assert_eq!(bench.relay().forbids, None, "another address is let through");
        bench.answer(0x0017, [9; 12], &[]);
        assert!(bench.relay().passed);
    }

    #[test]
    fn what_strangers_say_does_not_count() {
        let bench = Bench::new();
        bench.servers.came("203.0.113.9:1".parse().unwrap(), &stun::write(0x0017, [1; 12], &[]));
        bench.servers.came(SERVER.parse().unwrap(), &stun::write(0x0113, [7; 12], &[(0x0009, &[0, 0, 4, 86])]));
        assert_eq!((bench.trouble(), bench.relay().passed), (String::new(), false));
    }
}
