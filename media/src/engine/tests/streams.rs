//! Streams to TURN servers over TCP, as a server sees them. Whole calls are in [`super::relay`].

use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// A peer that asks the TURN server on this port of loopback for a relay, over TCP.
async fn asking(port: u16) -> Peer {
    let url = format!("turn:127.0.0.1:{port}?transport=tcp").parse().unwrap();
    let server = IceServer { url, username: "alice".into(), password: "secret".into() };
    let config = PeerConfig {
        ice_servers: vec![server],
        ice_policy: IcePolicy::RelayOnly,
        loopback: Loopback::Include,
        ..talking()
    };
    let (video, _) = queue::bounded(1);
    let (audio, _) = queue::bounded(1);
    let peer = Peer::new(&config, Inbox { video, audio }).await.unwrap().0;
    peer.offer().await.unwrap();
    peer
}

/// All that comes within a second.
async fn read(mut stream: TcpStream) -> Vec<u8> {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 1500]);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(1);
    while let Ok(read) = tokio::time::timeout_at(deadline, stream.read(&mut buffer)).await {
        match read {
            Ok(0) | Err(_) => break,
            Ok(length) => bytes.extend_from_slice(&buffer[..length]),
        }
    }
    bytes
}

/// TCP delivers a request, which the engine would send again after 200, 600 and 1400 ms (RFC 8489 §6.2.2).
#[tokio::test]
async fn a_request_is_on_the_stream_once() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let peer = asking(listener.local_addr().unwrap().port()).await;
    let (mut streams, mut requests) = (0, 0);
    while let Ok(accepted) = tokio::time::timeout(Duration::from_secs(1), listener.accept()).await {
        let bytes = read(accepted.unwrap().0).await;
        streams += 1;
        // An Allocate request by its first bytes, and the cookie.
        requests +=
            bytes.windows(8).filter(|head| head[..2] == [0, 3] && head[4..] == [0x21, 0x12, 0xa4, 0x42]).count();
    }
    assert!(streams > 0 && requests == streams, "{requests} requests on {streams} streams");
    peer.close().await;
}

#[tokio::test]
async fn a_server_that_starts_late_is_found_and_one_that_is_not_there_is_told() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let peer = asking(address.port()).await;
    let told = || peer.seen().relays[0].trouble.clone().map(|trouble| trouble.to_string()).unwrap_or_default();
    let since = Instant::now();
    while !told().contains("connection refused") {
        assert!(since.elapsed() < Duration::from_secs(2), "{}", told());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let listener = TcpListener::bind(address).await.unwrap();
    let accepted = tokio::time::timeout(Duration::from_secs(3), listener.accept()).await;
    let bytes = read(accepted.expect("it is tried again").unwrap().0).await;
    assert_eq!(bytes.get(..2), Some(&[0, 3][..]), "the request is sent to it");
    peer.close().await;
}
