//! Relayed calls: a TURN server that goes away takes the call's path with it, and gives another when it is back.

use std::net::UdpSocket;
use std::process::{Child, Command, Stdio};

use rtc::stun::attributes::{ATTR_NONCE, ATTR_REALM, ATTR_USERNAME};
use rtc::stun::error_code::{CODE_UNAUTHORIZED, ErrorCodeAttribute};
use rtc::stun::message::{CLASS_ERROR_RESPONSE, METHOD_ALLOCATE, Message, MessageType, Setter};
use rtc::stun::textattrs::TextAttribute;
use tokio::sync::mpsc;

use super::*;
use crate::path::ice_server::IceTransport;

/// A coTURN of the test's own, ended with it.
pub(super) struct Server {
    port: u16,
    folder: tempfile::TempDir,
    running: Child,
}

impl Server {
    pub(super) fn start() -> Self {
        let port = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let folder = tempfile::tempdir().unwrap();
        let running = run(port, &folder);
        Self { port, folder, running }
    }

    fn stop(&mut self) {
        self.running.kill().unwrap();
        self.running.wait().unwrap();
    }

    fn start_again(&mut self) {
        self.running = run(self.port, &self.folder);
    }

    pub(super) fn client(&self) -> PeerConfig {
        self.client_over("udp")
    }

    fn client_over(&self, transport: &str) -> PeerConfig {
        let url: IceUrl = format!("turn:127.0.0.1:{}?transport={transport}", self.port).parse().unwrap();
        let server = IceServer { url, username: "alice".into(), password: "alice-secret".into() };
        PeerConfig { ice_servers: vec![server], ice_policy: IcePolicy::RelayOnly, ..talking() }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

fn run(port: u16, folder: &tempfile::TempDir) -> Child {
    let file = |name: &str| folder.path().join(name).display().to_string();
    let mut command = Command::new("turnserver");
    command.args(["-n", "--listening-ip", "127.0.0.1", "--relay-ip", "127.0.0.1", "--realm", "tring.test"]);
    command.args(["--lt-cred-mech", "--user", "alice:alice-secret", "--listening-port", &port.to_string()]);
    command.args(["--allow-loopback-peers", "--no-cli", "--no-tls", "--no-dtls", "--no-rfc5780"]);
    command.args(["--userdb", &file("turndb"), "--pidfile", &file("pid"), "--log-file", "stdout"]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("turnserver of the package coturn; ./dev test installs it")
}

/// What a session does: ICE is restarted whenever one of the two says that it should be. Ends with `length`, or once
/// both hear and see what was sent after now.
async fn heal(call: &mut Call, length: Duration) -> Duration {
    let since = Instant::now();
    let mut seen = (call.alice.told.len(), call.bob.told.len());
    let healed = |call: &Call| call.alice.hears_and_sees_since(since) && call.bob.hears_and_sees_since(since);
    while !healed(call) && since.elapsed() < length {
        call.step().await;
        let mut told = call.alice.told[seen.0..].iter().chain(&call.bob.told[seen.1..]);
        let restart = told.any(|(_, event)| matches!(event.as_str(), "Silent" | "Stalled"));
        seen = (call.alice.told.len(), call.bob.told.len());
        if restart {
            call.update(Renewal::IceRestart).await;
        }
    }
    since.elapsed()
}

#[tokio::test]
async fn a_relayed_call_comes_back_with_its_server() {
    comes_back_over("udp").await;
}

#[tokio::test]
async fn a_call_relayed_over_tcp_comes_back_with_its_server() {
    comes_back_over("tcp").await;
}

async fn comes_back_over(transport: &str) {
    let mut server = Server::start();
    let client = server.client_over(transport);
    let mut call = Call::standing(&client, &client).await;
    call.run(Duration::from_millis(500)).await;
    for away in [100, 1500, 6500].map(Duration::from_millis) {
        server.stop();
        // What was on its way when it stopped still comes.
        call.run(Duration::from_millis(60)).await;
        assert!(heal(&mut call, away).await >= away, "nothing comes without a server");
        server.start_again();
        let healed = heal(&mut call, Duration::from_secs(6)).await;
        assert!(healed < Duration::from_secs(3), "{healed:?} after {away:?} without; {:?}", call.alice.told);
        assert_eq!((call.alice.was_told("Failed"), call.bob.was_told("Failed")), (0, 0));
        call.run(Duration::from_secs(1)).await;
    }
    let path = call.alice.peer.path().await.unwrap();
    assert_eq!((path.local.kind.as_str(), path.relay.map(IceTransport::name)), ("relay", Some(transport)));
    call.end().await;
}

/// A call may outlast the login that it began with: a restart must bring the one of that moment.
#[tokio::test]
async fn a_restart_asks_with_the_login_of_its_moment() {
    let (server, url, mut users) = refusing_turn_server().await;
    let with = |user: &str| vec![IceServer { url: url.clone(), username: user.into(), password: "x".into() }];
    let alice = PeerConfig { ice_servers: with("1700000000:alice"), ..talking() };
    let mut call = Call::standing(&alice, &talking()).await;
    assert_eq!(users.recv().await.as_deref(), Some("1700000000:alice"));
    call.run(Duration::from_millis(300)).await;
    while users.try_recv().is_ok() {}
    call.alice.peer.set_ice_servers(with("1800000000:alice"));
    call.update(Renewal::Media).await;
    call.run(Duration::from_millis(300)).await;
    assert!(users.try_recv().is_err(), "an update of media asks no server");
    call.alice.peer.set_ice_servers(with("1900000000:alice"));
    call.update(Renewal::IceRestart).await;
    call.until_healed(Duration::from_secs(2)).await;
    let asked = tokio::time::timeout(Duration::from_secs(2), users.recv()).await;
    assert_eq!(asked.ok().flatten().as_deref(), Some("1900000000:alice"));
    call.end().await;
    server.abort();
}

/// A TURN server that refuses every login, and tells of the users it was asked by.
async fn refusing_turn_server() -> (tokio::task::JoinHandle<()>, IceUrl, mpsc::Receiver<String>) {
    let socket = tokio::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("turn:{}", socket.local_addr().unwrap()).parse().unwrap();
    let (told, users) = mpsc::channel(64);
    let serving = tokio::spawn(async move {
        let mut buffer = [0; 1500];
        loop {
            let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
            let mut request = Message { raw: buffer[..length].to_vec(), ..Message::default() };
            request.decode().unwrap();
            if let Ok(user) = request.get(ATTR_USERNAME) {
                let _full = told.try_send(String::from_utf8(user).unwrap());
            }
            let refusal = refusal(&request);
            socket.send_to(&refusal.raw, from).await.unwrap();
        }
    });
    (serving, url, users)
}

fn refusal(request: &Message) -> Message {
    let mut refusal = Message::new();
    let code = ErrorCodeAttribute { code: CODE_UNAUTHORIZED, reason: b"no".to_vec() };
    let allocate_error = MessageType::new(METHOD_ALLOCATE, CLASS_ERROR_RESPONSE);
    let realm = TextAttribute::new(ATTR_REALM, "tring.test".into());
    let nonce = TextAttribute::new(ATTR_NONCE, "nonce".into());
    let parts: [Box<dyn Setter>; 5] =
        [Box::new(request.transaction_id), Box::new(allocate_error), Box::new(code), Box::new(realm), Box::new(nonce)];
    refusal.build(&parts).unwrap();
    refusal
}
