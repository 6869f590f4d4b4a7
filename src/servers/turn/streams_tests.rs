//! The server seen by clients over TCP that frame their messages themselves.

use std::net::IpAddr;

use ::turn::proto::PROTO_UDP;
use ::turn::proto::chandata::ChannelData;
use ::turn::proto::channum::ChannelNumber;
use ::turn::proto::lifetime::Lifetime;
use ::turn::proto::peeraddr::PeerAddress;
use ::turn::proto::relayaddr::RelayedAddress;
use ::turn::proto::reqtrans::RequestedTransport;
use stun::agent::TransactionId;
use stun::attributes::{ATTR_NONCE, ATTR_REALM, ATTR_USERNAME};
use stun::error_code::ErrorCodeAttribute;
use stun::integrity::MessageIntegrity;
use stun::message::{
    CLASS_REQUEST, Getter as _, METHOD_ALLOCATE, METHOD_BINDING, METHOD_CHANNEL_BIND, METHOD_REFRESH, Message,
    MessageType, Method, Setter,
};
use stun::textattrs::TextAttribute;
use stun::xoraddr::XorMappedAddress;
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpStream, UdpSocket};

use super::super::{Credentials, PeerPolicy, Transports, Turn, TurnConfig, start};
use super::*;

const PATIENCE: Duration = Duration::from_secs(20);
/// As coTURN's client chooses: of those that RFC 5766 had and RFC 8656 has no more.
const CHANNEL: u16 = 0x68f9;

async fn started() -> Turn {
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let credentials = Credentials::LongTerm { user: "alice".into(), password: "secret".into() };
    start(TurnConfig {
        listen,
        transports: Transports::UdpAndTcp,
        relay_ip: listen.ip(),
        realm: "tring.test".into(),
        credentials,
        peers: PeerPolicy::PrivateToo,
        quota: None,
    })
    .await
    .unwrap()
}

/// A client over TCP; it has logged in once `nonce` is known.
struct Client {
    stream: BufReader<TcpStream>,
    nonce: Option<TextAttribute>,
}

impl Client {
    async fn connect(turn: &Turn) -> Self {
        Self { stream: BufReader::new(TcpStream::connect(turn.addr()).await.unwrap()), nonce: None }
    }

    fn own_addr(&self) -> SocketAddr {
        self.stream.get_ref().local_addr().unwrap()
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).await.unwrap();
    }

    /// The next message, whole and without padding.
    async fn receive(&mut self) -> io::Result<Vec<u8>> {
        let mut room = [0; 2000];
        let reading = async {
            let head = frames::begin(&mut self.stream).await?;
            frames::finish(&mut self.stream, head, &mut room).await
        };
        let length = timeout(PATIENCE, reading).await.expect("something comes")?.unwrap();
        Ok(room[..length].to_vec())
    }

    async fn request(&mut self, method: Method, attributes: Vec<Box<dyn Setter>>) -> Message {
        let mut setters: Vec<Box<dyn Setter>> =
            vec![Box::new(TransactionId::new()), Box::new(MessageType::new(method, CLASS_REQUEST))];
        setters.extend(attributes);
        if let Some(nonce) = &self.nonce {
            setters.push(Box::new(TextAttribute::new(ATTR_USERNAME, "alice".into())));
            setters.push(Box::new(TextAttribute::new(ATTR_REALM, "tring.test".into())));
            setters.push(Box::new(nonce.clone()));
            setters.push(Box::new(MessageIntegrity::new_long_term_integrity(
                "alice".into(),
                "tring.test".into(),
                "secret".into(),
            )));
        }
        let mut message = Message::new();
        message.build(&setters).unwrap();
        self.send(&message.raw).await;
        let mut answer = Message::new();
        answer.raw = self.receive().await.unwrap();
        answer.decode().unwrap();
        assert_eq!(answer.transaction_id, message.transaction_id);
        answer
    }

    /// Asks for a relayed address, first without a login, as the nonce comes with the refusal.
    async fn allocate(&mut self) -> SocketAddr {
        let transport = || vec![Box::new(RequestedTransport { protocol: PROTO_UDP }) as Box<dyn Setter>];
        let refusal = self.request(METHOD_ALLOCATE, transport()).await;
        self.nonce = Some(TextAttribute::get_from_as(&refusal, ATTR_NONCE).unwrap());
        let answer = self.request(METHOD_ALLOCATE, transport()).await;
        let (mut relayed, mut mapped) = (RelayedAddress::default(), XorMappedAddress::default());
        relayed.get_from(&answer).unwrap_or_else(|_| panic!("{:?}", code(&answer)));
        mapped.get_from(&answer).unwrap();
        assert_eq!(SocketAddr::new(mapped.ip, mapped.port), self.own_addr());
        SocketAddr::new(relayed.ip, relayed.port)
    }

    async fn bind(&mut self, peer: SocketAddr) {
        let peer = PeerAddress { ip: peer.ip(), port: peer.port() };
        let answer = self.request(METHOD_CHANNEL_BIND, vec![Box::new(ChannelNumber(CHANNEL)), Box::new(peer)]).await;
        assert_eq!(code(&answer), None);
    }

    async fn ends(&mut self, within: Duration) {
        let mut rest = Vec::new();
        let end = timeout(within, self.stream.read_to_end(&mut rest)).await;
        assert!(end.is_ok(), "still open after {within:?}");
    }
}

fn code(answer: &Message) -> Option<u16> {
    let mut error = ErrorCodeAttribute::default();
    error.get_from(answer).ok().map(|()| error.code.0)
}

fn channel_data(content: &[u8]) -> Vec<u8> {
    let mut data = ChannelData { data: content.to_vec(), number: ChannelNumber(CHANNEL), raw: vec![] };
    data.encode();
    data.raw
}

#[tokio::test]
async fn the_address_told_is_that_of_the_clients_tcp_connection() {
    let turn = started().await;
    let mut client = Client::connect(&turn).await;
    let answer = client.request(METHOD_BINDING, vec![]).await;
    let mut mapped = XorMappedAddress::default();
    mapped.get_from(&answer).unwrap();
    assert_eq!(SocketAddr::new(mapped.ip, mapped.port), client.own_addr());
}

#[tokio::test]
async fn packets_of_any_length_go_both_ways() {
    let turn = started().await;
    let (mut client, peer) = (Client::connect(&turn).await, UdpSocket::bind("127.0.0.1:0").await.unwrap());
    let relayed = client.allocate().await;
    client.bind(peer.local_addr().unwrap()).await;
    for length in [0, 1, 2, 3, 4, 5, 1200] {
        let content = vec![length as u8; length];
        client.send(&channel_data(&content)).await;
        let mut room = [0; 2000];
        let (got, from) = timeout(PATIENCE, peer.recv_from(&mut room)).await.unwrap().unwrap();
        assert_eq!((&room[..got], from), (&content[..], relayed));
        peer.send_to(&content, relayed).await.unwrap();
        assert_eq!(client.receive().await.unwrap()[4..], content);
    }
    turn.stop().await;
}

#[tokio::test]
async fn an_allocation_ends_with_its_stream_and_its_port_is_free() {
    let turn = started().await;
    let mut client = Client::connect(&turn).await;
    let relayed = client.allocate().await;
    assert!(UdpSocket::bind(relayed).await.is_err());
    drop(client);
    let freed = async {
        while UdpSocket::bind(relayed).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, freed).await.expect("the relayed port is free");
}

/// The requests of one stream are about the allocation of that stream alone, and so is what it sends.
#[tokio::test]
async fn a_stream_cannot_act_for_another() {
    let turn = started().await;
    let (mut one, mut other) = (Client::connect(&turn).await, Client::connect(&turn).await);
    let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let relayed = one.allocate().await;
    one.bind(peer.local_addr().unwrap()).await;
    // The other has the same login, and gets an allocation of its own, which it gives back.
    let others = other.allocate().await;
    assert_ne!(relayed, others);
    other.send(&channel_data(b"stolen")).await;
    let answer = other.request(METHOD_REFRESH, vec![Box::new(Lifetime(Duration::ZERO))]).await;
    assert_eq!(code(&answer), None);
    one.send(&channel_data(b"own")).await;
    let mut room = [0; 100];
    let (length, from) = timeout(PATIENCE, peer.recv_from(&mut room)).await.unwrap().unwrap();
    assert_eq!((&room[..length], from), (&b"own"[..], relayed));
    // A client over UDP from the very address of the stream is another client too.
    let twin = UdpSocket::bind(one.own_addr()).await.unwrap();
    twin.send_to(&channel_data(b"of the twin"), turn.addr()).await.unwrap();
    one.send(&channel_data(b"again")).await;
    let (length, _) = timeout(PATIENCE, peer.recv_from(&mut room)).await.unwrap().unwrap();
    assert_eq!(&room[..length], b"again");
}

#[tokio::test]
async fn a_wrong_login_and_a_forbidden_peer_are_refused_as_over_udp() {
    let turn = started().await;
    let mut client = Client::connect(&turn).await;
    client.nonce = Some(TextAttribute::new(ATTR_NONCE, "made up".into()));
    let transport = vec![Box::new(RequestedTransport { protocol: PROTO_UDP }) as Box<dyn Setter>];
    let answer = client.request(METHOD_ALLOCATE, transport).await;
    assert_eq!(code(&answer), Some(438), "a nonce that nobody gave");
    client.allocate().await;
    let peer = PeerAddress { ip: IpAddr::from([224, 0, 0, 1]), port: 9 };
    let answer = client.request(METHOD_CHANNEL_BIND, vec![Box::new(ChannelNumber(CHANNEL)), Box::new(peer)]).await;
    assert_eq!(code(&answer), Some(403));
}

/// One client takes nothing while packets for it come without end; what another sends and gets is not held up.
#[tokio::test]
async fn a_client_that_takes_nothing_holds_up_no_other() {
    const ROUND_TRIP_MAX: Duration = Duration::from_millis(500);
    let turn = started().await;
    let (mut slow, mut other) = (Client::connect(&turn).await, Client::connect(&turn).await);
    let (flood, peer) = (UdpSocket::bind("127.0.0.1:0").await.unwrap(), UdpSocket::bind("127.0.0.1:0").await.unwrap());
    let (full, relayed) = (slow.allocate().await, other.allocate().await);
    slow.bind(flood.local_addr().unwrap()).await;
    other.bind(peer.local_addr().unwrap()).await;
    let mut slowest = Duration::ZERO;
    // 24 MB, more than the system holds of a connection.
    for round in 0..200 {
        for _ in 0..100 {
            flood.send_to(&[7; 1200], full).await.unwrap();
        }
        let begun = Instant::now();
        peer.send_to(&[round; 100], relayed).await.unwrap();
        assert_eq!(other.receive().await.unwrap()[4..], [round; 100]);
        slowest = slowest.max(begun.elapsed());
    }
    assert!(slowest < ROUND_TRIP_MAX, "{slowest:?}");
}

#[tokio::test]
async fn garbage_ends_a_stream_at_once() {
    let turn = started().await;
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 100], &channel_data(b"before a login")] {
        let mut client = Client::connect(&turn).await;
        client.send(garbage).await;
        client.ends(Duration::from_secs(2)).await;
    }
    let mut client = Client::connect(&turn).await;
    client.send(&[0, 1, 0, 0, 0, 0, 0, 0].repeat(10)).await;
    client.ends(Duration::from_secs(2)).await;
}

#[tokio::test]
async fn who_asks_for_nonces_without_end_is_turned_away() {
    let turn = started().await;
    let mut client = Client::connect(&turn).await;
    let mut request = Message::new();
    let kind = MessageType::new(METHOD_ALLOCATE, CLASS_REQUEST);
    request.build(&[Box::new(TransactionId::new()), Box::new(kind)]).unwrap();
    let flood = request.raw.repeat(MESSAGES_BEFORE_LOGIN_MAX as usize + 5);
    client.send(&flood).await;
    client.ends(Duration::from_secs(5)).await;
}

const SHORT: Deadlines = Deadlines {
    login: Duration::from_millis(400),
    message: Duration::from_millis(200),
    silence: Duration::from_millis(800),
    write: Duration::from_millis(500),
    packet: Duration::from_millis(100),
};

/// Reads until the stream is given up; how, and after how long.
async fn given_up(client: impl AsyncRead + Unpin, relays: &Relays) -> (io::ErrorKind, Duration) {
    let lobby = Arc::new(crate::servers::lobby::Lobby::default());
    let guest = lobby.enter(IpAddr::from([127, 0, 0, 1])).unwrap();
    let (mut room, begun) = ([0; 1500], Instant::now());
    let mut reader = Reader::new(BufReader::new(client), relays.clone(), guest, &SHORT);
    loop {
        if let Err(error) = reader.next(&mut room).await {
            return (error.kind(), begun.elapsed());
        }
    }
}

#[tokio::test]
async fn silence_and_half_a_message_have_a_deadline() {
    let policy = Arc::new(Policy::new(&TurnConfig::on_loopback(0, "u", "p")));
    let relays = Relays::new(policy, IpAddr::from([127, 0, 0, 1]));
    let slack = Duration::from_millis(300);

    let (_silent, server) = tokio::io::duplex(100);
    let (kind, after) = given_up(server, &relays).await;
    assert_eq!(kind, io::ErrorKind::TimedOut);
    assert!(after >= SHORT.login && after < SHORT.login + slack, "{after:?}");

    let (mut half, server) = tokio::io::duplex(100);
    half.write_all(&[0, 1, 0]).await.unwrap();
    let (kind, after) = given_up(server, &relays).await;
    assert_eq!(kind, io::ErrorKind::TimedOut);
    assert!(after >= SHORT.message && after < SHORT.message + slack, "{after:?}");

    // Binding requests alone do not keep a stream: whoever wants one has a login.
    let (mut polite, server) = tokio::io::duplex(1000);
    let binding = [&[0, 1, 0, 0][..], b"\x21\x12\xa4\x42transaction!"].concat();
    let asking = tokio::spawn(async move {
        while polite.write_all(&binding).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let (kind, after) = given_up(server, &relays).await;
    assert_eq!(kind, io::ErrorKind::TimedOut);
    assert!(after >= SHORT.login && after < SHORT.login + slack, "{after:?}");
    asking.await.unwrap();

    // With an allocation there is more time.
    let relays = relays.for_one_client();
    let _relay = ::turn::relay::RelayAddressGenerator::allocate_conn(&relays, true, 0).await.unwrap();
    let (_silent, server) = tokio::io::duplex(100);
    let (kind, after) = given_up(server, &relays).await;
    assert_eq!(kind, io::ErrorKind::TimedOut);
    assert!(after >= SHORT.silence && after < SHORT.silence + slack, "{after:?}");
}

/// A client that reads nothing loses packets, gets its answers all the same, and is given up when it goes on like that.
#[tokio::test]
async fn a_slow_stream_drops_packets_and_then_ends() {
    let (sender, mut queue) = mpsc::channel(QUEUE);
    let dropped = Arc::new(AtomicU64::new(0));
    let (mut server, mut client) = tokio::io::duplex(64);
    let message = |is_data, bytes: &[u8]| Outgoing { since: Instant::now(), bytes: bytes.to_vec(), is_data };
    for _ in 0..10 {
        sender.try_send(message(true, &[1; 64])).ok().unwrap();
    }
    sender.try_send(message(false, &[2; 64])).ok().unwrap();
    let counted = Arc::clone(&dropped);
    let writing = tokio::spawn(async move { write(&mut server, &mut queue, &counted, &SHORT).await });
    // Two are on their way by the time the others are too old.
    tokio::time::sleep(SHORT.packet * 2).await;
    let mut got = [0; 192];
    client.read_exact(&mut got).await.unwrap();
    assert_eq!((got[0], got[64], got[128]), (1, 1, 2));
    assert_eq!(dropped.load(Ordering::Relaxed), 8);
    for _ in 0..3 {
        sender.try_send(message(false, &[3; 64])).ok().unwrap();
    }
    assert_eq!(timeout(PATIENCE, writing).await.unwrap().unwrap().kind(), io::ErrorKind::TimedOut);
}
