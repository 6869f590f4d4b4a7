use super::super::dtls::made::{end, message, record};
use super::*;

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// A flight as one datagram of one side: its messages, and how it ends.
fn flight(numbers: &[u8], sequence: u8, last: &[u8]) -> Vec<u8> {
    let messages = numbers.iter().flat_map(|number| message(*number, sequence + number));
    messages.chain(last.iter().copied()).collect()
}

/// The six flights of a handshake, the client's first (RFC 6347 §4.2.4); `sequence` tells copies of the engine's.
fn handshake(sequence: u8) -> [Vec<u8>; 6] {
    let end = end(sequence);
    [
        flight(&[0], sequence, &[]),
        flight(&[0], sequence, &[]),
        flight(&[1], sequence, &[]),
        flight(&[1, 2, 3, 4, 5], sequence, &[]),
        flight(&[2, 3, 4], sequence, &end),
        flight(&[], sequence, &end),
    ]
}

/// How long after `start` each copy comes until `length` is over, when nothing is received.
fn copies<R: Clone>(flights: &mut Flights<R>, start: Instant, length: Duration) -> Vec<u128> {
    let mut at = Vec::new();
    while let Some(due) = flights.poll_timeout().filter(|due| *due <= start + length) {
        at.extend(flights.poll(due).iter().map(|_| due.duration_since(start).as_millis()));
    }
    at
}

#[test]
fn a_flight_without_an_answer_is_sent_again_until_it_is_given_up() {
    let (mut flights, start) = (Flights::default(), Instant::now());
    assert_eq!(flights.poll_timeout(), None);
    flights.sent(&handshake(0)[0], 1, start);
    let at = copies(&mut flights, start, ms(60_000));
    assert_eq!(at[..6], [50, 150, 350, 750, 1150, 1550]);
    assert_eq!(at.last().map(|at| (9_600..10_000).contains(at)), Some(true), "{at:?}");
    assert_eq!((at.len(), flights.poll_timeout()), (27, None));
    assert!(!flights.is_over(), "the engine may begin another flight");
}

#[test]
fn each_flight_of_both_sides_waits_for_its_answer() {
    let (mut client, mut server, mut now) = (Flights::default(), Flights::default(), Instant::now());
    for (number, datagram) in handshake(0).iter().enumerate() {
        let (from, to) = if number % 2 == 0 { (&mut client, &mut server) } else { (&mut server, &mut client) };
        from.sent(datagram, number, now);
        // Nothing of it comes: the other side repeats what it sent last, and this side what is its answer.
        let copy = from.poll(now + ms(50));
        assert_eq!(copy, [(number, Bytes::copy_from_slice(datagram))], "copies are of the latest flight");
        assert!(from.poll(now + ms(99)).is_empty());
        to.received(datagram, now + ms(100));
        now += ms(100);
    }
    assert!(client.is_over() && client.poll(now + ms(500)).is_empty());
    assert!(!server.is_over(), "its last flight has no answer");
    server.received(&record(23, 1, 9, &[5; 30]), now);
    assert!(server.is_over() && server.poll(now + ms(500)).is_empty());
}

#[test]
fn a_server_is_done_when_media_of_the_client_come() {
    let (mut server, start) = (Flights::default(), Instant::now());
    let [hello, verify, again, certificate, key, finished] = handshake(0);
    for (theirs, ours) in [(hello, verify), (again, certificate)] {
        server.received(&theirs, start);
        server.sent(&ours, (), start);
        server.received(&[0x80, 96, 0, 1], start);
        assert!(!server.is_over(), "no client is done yet");
    }
    server.received(&key, start);
    server.sent(&finished, (), start);
    assert!(!server.is_over());
    server.received(&[0, 1, 0, 0], start);
    assert!(!server.is_over(), "a check says nothing of the handshake");
    server.received(&[0x80, 96, 0, 1], start);
    assert!(server.is_over());
}

#[test]
fn media_of_the_server_do_not_end_a_clients_handshake() {
    let (mut client, start) = (Flights::default(), Instant::now());
    let [_, _, _, certificate, key, finished] = handshake(0);
    client.received(&certificate, start);
    client.sent(&key, (), start);
    client.received(&[0x80, 96, 0, 1], start);
    assert_eq!(copies(&mut client, start, ms(200)), [50, 150], "the server's last flight was lost");
    client.received(&finished, start + ms(200));
    assert!(client.is_over());
}

#[test]
fn a_repeated_flight_is_answered_by_ours_at_once_and_not_too_often() {
    let (mut server, start) = (Flights::default(), Instant::now());
    let [hello, verify, again, certificate, ..] = handshake(0);
    server.received(&hello, start);
    server.sent(&verify, (), start);
    server.received(&again, start);
    server.sent(&certificate, (), start);
    server.received(&again, start + ms(10));
    assert!(server.poll(start + ms(10)).is_empty(), "it may be on its way");
    assert_eq!(server.poll(start + ms(25)).len(), 1);
    // A copy of the engine's has other record numbers.
    server.received(&handshake(100)[2], start + ms(60));
    assert_eq!(server.poll(start + ms(60)).len(), 1);
    // The flight before that one was answered by another of ours.
    server.received(&hello, start + ms(100));
    assert_eq!(server.poll_timeout(), Some(start + ms(260)));
    let copies_of = |flights: &mut Flights<()>, gap| {
        let mut copies = 0;
        for at in (300..1300).step_by(gap) {
            flights.received(&again, start + ms(at));
            copies += flights.poll(start + ms(at)).len();
        }
        copies
    };
    assert!((30..=41).contains(&copies_of(&mut server, 1)), "a thousand repeats in a second");
}

#[test]
fn half_an_answer_does_not_stop_the_copies() {
    let (mut client, start) = (Flights::default(), Instant::now());
    client.sent(&handshake(0)[2], (), start);
    client.received(&flight(&[1, 2], 0, &[]), start + ms(5));
    assert_eq!(copies(&mut client, start, ms(400)), [50, 150, 350]);
    // The engine's own copy takes the place of the first.
    client.sent(&handshake(100)[2], (), start + ms(1000));
    let copy = client.poll(start + ms(1400));
    assert_eq!(copy, [((), Bytes::from(handshake(100)[2].clone()))]);
}

#[test]
fn a_flight_of_several_datagrams_is_sent_again_whole_by_its_latest_route() {
    let (mut server, start) = (Flights::default(), Instant::now());
    server.received(&handshake(0)[2], start);
    let parts = [flight(&[1, 2], 0, &[]), flight(&[3, 4, 5], 0, &[])];
    server.sent(&parts[0], "first path", start);
    server.sent(&parts[1], "first path", start);
    let routes = |server: &mut Flights<&'static str>, at| {
        server.poll(start + ms(at)).into_iter().map(|(route, _)| route).collect::<Vec<_>>()
    };
    assert_eq!(routes(&mut server, 50), ["first path"; 2]);
    server.sent(&parts[0], "second path", start + ms(60));
    server.sent(&parts[1], "second path", start + ms(60));
    assert_eq!(routes(&mut server, 160), ["second path"; 2]);
}

#[test]
fn what_strangers_send_is_bounded_and_our_alert_ends_it() {
    let (mut server, start) = (Flights::default(), Instant::now());
    for number in 0..=255 {
        server.received(&message(number, 0), start);
        server.sent(&flight(&[number], 0, &[]), (), start + ms(number.into()));
        server.received(&record(21, 0, 0, &[2, 40]), start);
    }
    assert!(server.heard.len() <= PARTS_MAX && !server.is_over());
    for number in 0..100 {
        server.sent(&flight(&[number, 200], 0, &[]), (), start);
    }
    assert_eq!(server.poll(start + ms(60_000)).len(), 0);
    assert_eq!(server.seen(), HandshakeSeen::Refused(Refused::There), "so somebody says");
    server.sent(&flight(&[9], 0, &[]), (), start);
    assert!(server.poll(start + ms(500)).len() <= DATAGRAMS_MAX);
    server.sent(&record(21, 0, 0, &[2, 40]), (), start);
    assert!(server.is_over());
}

#[test]
fn relayed_flights_are_copied_as_they_were() {
    let (mut client, start) = (Flights::default(), Instant::now());
    let [hello, verify, ..] = handshake(0);
    let channel = |datagram: &[u8]| [&[0x40, 1, 0, u8::try_from(datagram.len()).unwrap()][..], datagram].concat();
    client.sent(&channel(&hello), (), start);
    let copy = client.poll(start + ms(50));
    assert_eq!(copy[0].1[..], channel(&hello));
    client.received(&channel(&verify), start + ms(60));
    client.sent(&channel(&handshake(0)[2]), (), start + ms(60));
    assert_eq!(client.poll(start + ms(110))[0].1[..], channel(&handshake(0)[2]));
}

#[test]
fn what_came_of_the_handshake_is_told() {
    let (mut server, start) = (Flights::default(), Instant::now());
    assert_eq!(server.seen(), HandshakeSeen::Nothing);
    server.received(&[0x80, 96, 0, 1], start);
    server.received(&[0, 1, 0, 0], start);
    assert_eq!(server.seen(), HandshakeSeen::Nothing, "media and checks are no handshake");
    let [hello, verify, ..] = handshake(0);
    server.received(&hello, start);
    server.sent(&verify, (), start);
    assert_eq!(server.seen(), HandshakeSeen::Begun);
    server.sent(&record(21, 0, 3, &[1, 0]), (), start);
    assert_eq!(server.seen(), HandshakeSeen::Begun, "to close is not to refuse");
    let mut client = Flights::default();
    client.sent(&hello, (), start);
    client.sent(&record(21, 0, 3, &[2, 42]), (), start);
    assert_eq!(client.seen(), HandshakeSeen::Refused(Refused::Here));
}
