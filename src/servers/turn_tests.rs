//! The server seen by the client of the `turn` crate, on loopback.

use ::turn::client::{Client, ClientConfig};
use webrtc_util::Conn;

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

fn long_term() -> Credentials {
    Credentials::LongTerm { user: "alice".into(), password: "secret".into() }
}

async fn started(credentials: Credentials, peers: PeerPolicy) -> Turn {
    let loopback = IpAddr::from([127, 0, 0, 1]);
    let listen = SocketAddr::new(loopback, 0);
    start(config(listen, credentials, peers)).await.unwrap()
}

fn config(listen: SocketAddr, credentials: Credentials, peers: PeerPolicy) -> TurnConfig {
    let transports = Transports::UdpAndTcp;
    let (relay_ip, realm) = (listen.ip(), "tring.test".into());
    TurnConfig { listen, transports, relay_ip, realm, credentials, peers, quota: None }
}

async fn client(server: SocketAddr, username: &str, password: &str) -> Client {
    let client = Client::new(ClientConfig {
        stun_serv_addr: server.to_string(),
        turn_serv_addr: server.to_string(),
        username: username.into(),
        password: password.into(),
        realm: String::new(),
        software: String::new(),
        rto_in_ms: 0,
        conn: Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap()),
        vnet: None,
    })
    .await
    .unwrap();
    client.listen().await.unwrap();
    client
}

/// The relayed address, or the text of the refusal.
async fn allocation(server: SocketAddr, username: &str, password: &str) -> Result<SocketAddr, String> {
    let client = client(server, username, password).await;
    let result = client.allocate().await.map(|relay| relay.local_addr().unwrap()).map_err(|error| error.to_string());
    client.close().await.unwrap();
    result
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

#[tokio::test]
async fn the_right_password_allocates_and_a_wrong_one_is_unauthorized() {
    let turn = started(long_term(), PeerPolicy::PublicOnly).await;
    let relayed = allocation(turn.addr(), "alice", "secret").await.unwrap();
    assert_eq!(relayed.ip(), turn.addr().ip());
    assert_ne!(relayed.port(), 0);
    for (user, password) in [("alice", "wrong"), ("bob", "secret"), ("", "")] {
        let error = allocation(turn.addr(), user, password).await.unwrap_err();
        assert!(error.contains("401"), "{user}:{password}: {error}");
    }
}

#[tokio::test]
async fn a_time_limited_login_works_until_it_expires() {
    let turn = started(Credentials::SharedSecret("north".into()), PeerPolicy::PublicOnly).await;
    let valid = format!("{}:alice", unix_now() + 600);
    allocation(turn.addr(), &valid, &password_of("north", &valid)).await.unwrap();
    let without_id = (unix_now() + 600).to_string();
    allocation(turn.addr(), &without_id, &password_of("north", &without_id)).await.unwrap();

    let expired = format!("{}:alice", unix_now() - 1);
    for (user, password) in [
        (expired.as_str(), password_of("north", &expired)),
        (&valid, password_of("south", &valid)),
        ("alice", password_of("north", "alice")),
    ] {
        let error = allocation(turn.addr(), user, &password).await.unwrap_err();
        assert!(error.contains("401"), "{user}: {error}");
    }
}

#[tokio::test]
async fn an_expired_login_is_called_that_to_whoever_knows_its_password() {
    let turn = started(Credentials::SharedSecret("north".into()), PeerPolicy::PublicOnly).await;
    let expired = format!("{}:alice", unix_now() - 1);
    let error = allocation(turn.addr(), &expired, &password_of("north", &expired)).await.unwrap_err();
    assert!(error.contains("401") && error.contains("expired"), "{error}");
    let error = allocation(turn.addr(), &expired, "guessed").await.unwrap_err();
    assert!(error.contains("401") && !error.contains("expired"), "{error}");
}

#[tokio::test]
async fn a_user_has_so_many_allocations_and_other_users_have_theirs() {
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let secret = Credentials::SharedSecret("north".into());
    let turn = start(TurnConfig { quota: Some(2), ..config(listen, secret, PeerPolicy::PublicOnly) }).await.unwrap();
    // Two logins of one user.
    let login = |id: &str, seconds: u64| {
        let user = format!("{}:{id}", unix_now() + seconds);
        (password_of("north", &user), user)
    };
    let mut held = Vec::new();
    for seconds in [600, 700] {
        let (password, user) = login("alice", seconds);
        let client = client(turn.addr(), &user, &password).await;
        held.push((client.allocate().await.unwrap(), client));
    }
    let (password, user) = login("alice", 800);
    let error = allocation(turn.addr(), &user, &password).await.unwrap_err();
    assert!(error.contains("486") && error.contains("Quota"), "{error}");
    let (password, of_bob) = login("bob", 600);
    allocation(turn.addr(), &of_bob, &password).await.unwrap();
    // Its place is free again once it is given back.
    let (relay, given_back) = held.pop().unwrap();
    relay.close().await.unwrap();
    given_back.close().await.unwrap();
    let (password, user) = login("alice", 800);
    let again = async {
        while allocation(turn.addr(), &user, &password).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, again).await.expect("a place is free");
    turn.stop().await;
}

#[tokio::test]
async fn a_family_that_it_does_not_relay_is_refused_by_its_code() {
    let listen = SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, 0));
    let turn = start(config(listen, long_term(), PeerPolicy::PublicOnly)).await.unwrap();
    // The client of the crate names no family, and means IPv4.
    let client = Client::new(ClientConfig {
        stun_serv_addr: String::new(),
        turn_serv_addr: turn.addr().to_string(),
        username: "alice".into(),
        password: "secret".into(),
        realm: String::new(),
        software: String::new(),
        rto_in_ms: 0,
        conn: Arc::new(UdpSocket::bind("[::1]:0").await.unwrap()),
        vnet: None,
    });
    let client = client.await.unwrap();
    client.listen().await.unwrap();
    let error = client.allocate().await.err().expect("it is refused").to_string();
    assert!(error.contains("440"), "{error}");
    client.close().await.unwrap();
}

#[test]
fn the_password_is_that_of_coturn() {
    // printf %s 1700000000:alice | openssl dgst -sha1 -hmac north -binary | base64
    assert_eq!(password_of("north", "1700000000:alice"), "Cd/49soE35ICqcJF/bCTn8Z4OyE=");
}

#[tokio::test]
async fn packets_go_both_ways_through_the_relay() {
    let turn = started(long_term(), PeerPolicy::PrivateToo).await;
    let client = client(turn.addr(), "alice", "secret").await;
    let relay = client.allocate().await.unwrap();
    let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let peer_addr = peer.local_addr().unwrap();

    let exchange = async {
        let mut buf = [0; 100];
        relay.send_to(b"ping", peer_addr).await.unwrap();
        let (len, from) = peer.recv_from(&mut buf).await.unwrap();
        assert_eq!((&buf[..len], from), (b"ping".as_ref(), relay.local_addr().unwrap()));
        peer.send_to(b"pong", from).await.unwrap();
        let (len, from) = relay.recv_from(&mut buf).await.unwrap();
        assert_eq!((&buf[..len], from), (b"pong".as_ref(), peer_addr));
    };
    tokio::time::timeout(PATIENCE, exchange).await.expect("packets arrive");
    turn.stop().await;
}

#[tokio::test]
async fn two_relayed_peers_reach_each_other_but_nothing_else_here() {
    let turn = started(long_term(), PeerPolicy::PublicOnly).await;
    let (client_a, client_b) =
        (client(turn.addr(), "alice", "secret").await, client(turn.addr(), "alice", "secret").await);
    let (relay_a, relay_b) = (client_a.allocate().await.unwrap(), client_b.allocate().await.unwrap());
    let (addr_a, addr_b) = (relay_a.local_addr().unwrap(), relay_b.local_addr().unwrap());
    let bystander = UdpSocket::bind("127.0.0.1:0").await.unwrap();

    let exchange = async {
        let mut buf = [0; 100];
        relay_a.send_to(b"to the bystander", bystander.local_addr().unwrap()).await.unwrap();
        relay_b.send_to(b"opens the way", addr_a).await.unwrap();
        relay_a.send_to(b"hello", addr_b).await.unwrap();
        let (len, from) = relay_b.recv_from(&mut buf).await.unwrap();
        assert_eq!((&buf[..len], from), (b"hello".as_ref(), addr_a));
    };
    tokio::time::timeout(PATIENCE, exchange).await.expect("packets arrive");
    assert!(bystander.try_recv_from(&mut [0; 100]).is_err(), "the bystander was reached");
}

#[tokio::test]
async fn private_peers_are_forbidden() {
    let turn = started(long_term(), PeerPolicy::PublicOnly).await;
    let client = client(turn.addr(), "alice", "secret").await;
    let relay = client.allocate().await.unwrap();
    let error = relay.send_to(b"ping", "192.168.1.1:53".parse().unwrap()).await.unwrap_err().to_string();
    assert!(error.contains("403") || error.contains("Forbidden"), "{error}");
}

#[tokio::test]
async fn it_answers_after_noise() {
    let turn = started(long_term(), PeerPolicy::PublicOnly).await;
    let noise = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    for round in 0..2000 {
        let mut datagram: Vec<u8> = (0..20 + round % 60)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 56) as u8
            })
            .collect();
        // A header that reads as a request with one or two attributes; type and lengths stay random.
        datagram[0] = 0;
        datagram[1] &= 0x0f;
        datagram[4..8].copy_from_slice(&[0x21, 0x12, 0xa4, 0x42]);
        let length = u16::to_be_bytes((datagram.len() - 20) as u16);
        datagram[2..4].copy_from_slice(&length);
        if datagram.len() > 24 {
            datagram[20..24].copy_from_slice(&[0, [0x08, 0x12, 0x06, 0x0c][round % 4], 0, (round % 24) as u8]);
        }
        noise.send_to(&datagram, turn.addr()).await.unwrap();
    }
    let client = client(turn.addr(), "alice", "secret").await;
    let mapped = tokio::time::timeout(PATIENCE, client.send_binding_request()).await.unwrap().unwrap();
    assert_eq!(mapped.ip(), turn.addr().ip());
    allocation(turn.addr(), "alice", "secret").await.unwrap();
}

#[tokio::test]
async fn a_stopped_server_gives_its_port_back_even_with_allocations() {
    let turn = started(long_term(), PeerPolicy::PublicOnly).await;
    let client = client(turn.addr(), "alice", "secret").await;
    let relay = client.allocate().await.unwrap();
    let (addr, relayed) = (turn.addr(), relay.local_addr().unwrap());
    turn.stop().await;
    UdpSocket::bind(addr).await.expect("the port is free");
    UdpSocket::bind(relayed).await.expect("the relayed port is free");
}

#[tokio::test]
async fn a_login_nobody_set_is_refused() {
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    for credentials in
        [Credentials::LongTerm { user: "u".into(), password: String::new() }, Credentials::SharedSecret(String::new())]
    {
        let error = start(config(listen, credentials, PeerPolicy::PublicOnly)).await.err().unwrap();
        assert!(matches!(error, ServeError::EmptyCredentials { service: Service::Turn }), "{error}");
    }
}
