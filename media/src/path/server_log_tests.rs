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
        let error = [&[0, 0, u8::try_from(code / 100).unwrap(), u8::try_from(code % 100).unwrap()][..], b"no\x1b[2J"];
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
fn a_server_that_keeps_an_allocation_no_longer_is_told_once() {
    let mut bench = Bench::new();
    for (code, is_told) in [(401u16, true), (400, true), (437, true), (441, true), (438, false)] {
        let asked = bench.ask(0x0004, &[(0x0006, b"1:alice")]);
        let error = [0, 0, u8::try_from(code / 100).unwrap(), u8::try_from(code % 100).unwrap()];
        bench.answer(0x0114, asked, &[(0x0009, &error)]);
        assert_eq!(bench.servers.take_refused_refresh(), is_told, "{code}");
        assert!(!bench.servers.take_refused_refresh(), "{code}");
    }
    let asked = bench.ask(0x0004, &[(0x0006, b"1:alice")]);
    bench.answer(0x0104, asked, &[]);
    assert!(!bench.servers.take_refused_refresh(), "it was kept");
    let asked = bench.ask(0x0004, &[(0x0006, b"1:alice")]);
    bench.servers.renew();
    bench.answer(0x0114, asked, &[(0x0009, &[0, 0, 4, 1])]);
    assert!(!bench.servers.take_refused_refresh(), "that allocation is given up");
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
fn a_stream_counts_while_some_socket_has_it() {
    let server = |url: &str| IceServer { url: url.parse().unwrap(), username: "a".into(), password: "b".into() };
    let log = ServerLog::new(&[server("turns:turn.example"), server("turn:turn.example")]);
    let (stand_in, now) = (SocketAddr::from(([240, 0, 0, 1], 3478)), Instant::now());
    log.resolved("240.0.0.1:3478", &[stand_in]);
    log.resolved("turn.example:3478", &[SERVER.parse().unwrap()]);
    let told = || log.troubles(now).iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    log.stream_opens(1, stand_in);
    log.stream_opens(2, stand_in);
    log.stream_ended(1, StreamFault::Refused);
    assert_eq!(told(), "", "the other may get through");
    log.stream_ended(2, StreamFault::OtherSide);
    let words = "turns:turn.example:5349?transport=tcp: connection refused: nothing listens on this TCP port; start";
    assert!(told().starts_with(words), "{}", told());
    assert!(!log.have_answered(), "the one over UDP has not");
    log.stream_opens(3, stand_in);
    log.stream_is_up(3);
    assert_eq!((told().as_str(), log.best_allocated()), ("", None));
    let asked = |to: SocketAddr, number: u8| {
        // 198.51.100.7 and a port of its own, exclusive or with the cookie.
        let relayed = [0, 1, 0x21, 0x12 ^ number, 198 ^ 0x21, 51 ^ 0x12, 100 ^ 0xa4, 7 ^ 0x42];
        log.sent(to, &stun::write(0x0003, [number; 12], &[]), now);
        log.came(to, &stun::write(0x0103, [number; 12], &[(0x0016, &relayed)]));
        log.transport_of(SocketAddr::from(([198, 51, 100, 7], number.into())))
    };
    assert_eq!(asked(stand_in, 1), Some(IceTransport::Tls));
    assert_eq!(log.best_allocated(), Some(IceTransport::Tls));
    assert_eq!(asked(SERVER.parse().unwrap(), 2), Some(IceTransport::Udp));
    assert_eq!(log.best_allocated(), Some(IceTransport::Udp));
    assert!(log.have_answered());
    log.stream_ended(3, StreamFault::Closed);
    assert!(told().contains("closed the connection"), "{}", told());
    log.renew();
    log.stream_ended(3, StreamFault::Closed);
    assert_eq!(told(), "", "that was of the path before");
}

#[test]
fn an_address_that_says_nothing_is_told_only_where_no_other_of_its_server_does() {
    let url = "turns:turn.example".parse().unwrap();
    let log = ServerLog::new(&[IceServer { url, username: "a".into(), password: "b".into() }]);
    let [v4, v6] = ["240.0.0.1:3478", "[100::1]:3478"].map(|address| address.parse::<SocketAddr>().unwrap());
    let start = Instant::now();
    log.resolved("240.0.0.1:3478", &[v4, v6]);
    log.stream_opens(1, v6);
    log.stream_ended(1, StreamFault::OtherSide);
    log.sent(v6, &stun::write(0x0003, [1; 12], &[]), start);
    assert_eq!(log.troubles(start), [], "the stream of another socket may be next");
    assert_eq!(log.troubles(start + SILENT_AFTER).len(), 1, "there was none");
    log.stream_opens(2, v4);
    log.stream_is_up(2);
    log.sent(v4, &stun::write(0x0003, [2; 12], &[]), start);
    let relayed = [0, 1, 0x21, 0x13, 198 ^ 0x21, 51 ^ 0x12, 100 ^ 0xa4, 7 ^ 0x42];
    log.came(v4, &stun::write(0x0103, [2; 12], &[(0x0016, &relayed)]));
    assert_eq!(log.troubles(start + 2 * SILENT_AFTER), [], "one of both families is enough");
    log.sent(v4, &stun::write(0x0004, [3; 12], &[]), start);
    log.sent(v4, &stun::write(0x0003, [4; 12], &[]), start);
    assert_eq!(log.troubles(start + 2 * SILENT_AFTER).len(), 1, "the one that answered does not any more");
}

#[test]
fn a_refusal_says_more_than_an_address_that_cannot_be_used() {
    let url = "turn:turn.example?transport=tcp".parse().unwrap();
    let log = ServerLog::new(&[IceServer { url, username: "a".into(), password: "b".into() }]);
    let [v4, v6] = ["240.0.0.1:3478", "[100::1]:3478"].map(|address| address.parse::<SocketAddr>().unwrap());
    let (start, told) = (Instant::now(), |now| log.troubles(now).iter().map(ToString::to_string).collect::<String>());
    log.resolved("240.0.0.1:3478", &[v4, v6]);
    for (number, address) in [(1, v6), (2, v4)] {
        log.stream_opens(number, address);
        log.sent(address, &stun::write(0x0003, [number as u8; 12], &[(0x0006, b"1:alice")]), start);
    }
    log.stream_ended(1, StreamFault::OtherSide);
    log.stream_is_up(2);
    let reason = [&[0, 0, 4, 1][..], b"the login has expired"].concat();
    log.came(v4, &stun::write(0x0113, [2; 12], &[(0x0009, &reason)]));
    assert_eq!(told(start), "", "the other was not answered yet");
    assert!(told(start + SILENT_AFTER).contains("it has expired (401)"), "{}", told(start + SILENT_AFTER));
}

#[test]
fn a_stream_that_is_opened_again_is_told_by_what_became_of_it_before() {
    let url = "turns:turn.example".parse().unwrap();
    let log = ServerLog::new(&[IceServer { url, username: "a".into(), password: "b".into() }]);
    let (stand_in, start) = (SocketAddr::from(([240, 0, 0, 1], 3478)), Instant::now());
    log.resolved("240.0.0.1:3478", &[stand_in]);
    log.stream_opens(1, stand_in);
    log.sent(stand_in, &stun::write(0x0003, [1; 12], &[]), start);
    log.stream_ended(1, StreamFault::Refused);
    log.stream_opens(2, stand_in);
    assert_eq!(log.troubles(start), [], "it may get through now");
    let told = log.troubles(start + SILENT_AFTER).iter().map(ToString::to_string).collect::<String>();
    assert!(told.contains("connection refused"), "{told}");
}

#[test]
fn an_ipv6_address_is_a_server_with_and_without_brackets() {
    for name in ["[2001:db8::1]:3478", "2001:db8::1:3478"] {
        let url = "turn:[2001:db8::1]".parse().unwrap();
        let log = ServerLog::new(&[IceServer { url, username: "a".into(), password: "b".into() }]);
        let (address, start) = ("[2001:db8::1]:3478".parse().unwrap(), Instant::now());
        log.resolved(name, &[address]);
        log.sent(address, &stun::write(0x0003, [1; 12], &[]), start);
        assert_eq!(log.troubles(start + SILENT_AFTER).len(), 1, "{name}");
    }
}

#[test]
fn what_strangers_say_does_not_count() {
    let bench = Bench::new();
    bench.servers.came("203.0.113.9:1".parse().unwrap(), &stun::write(0x0017, [1; 12], &[]));
    bench.servers.came(SERVER.parse().unwrap(), &stun::write(0x0113, [7; 12], &[(0x0009, &[0, 0, 4, 86])]));
    assert_eq!((bench.trouble(), bench.relay().passed), (String::new(), false));
}
