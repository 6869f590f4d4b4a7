//! A bridge from `rumqttc` to a connection of our own. That client makes its TCP connections itself and takes none from
//! outside: it tries the addresses of a name one after the other and knows no SOCKS. But it can go by an HTTP proxy. The
//! bridge is one, on loopback, for one client: `rumqttc` asks it by CONNECT, and it passes bytes to the broker.
//!
//! - TLS and WebSocket stay with `rumqttc`, which knows the broker by its name: over TLS the bridge sees nothing
//! - who connects must know a random password, so no other program of this machine gets the connection
//! - [`Bridge::task`] ends with the connection, at either end of it

use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use network::proxy::basic_login;
use rumqttc::{Proxy, ProxyAuth, ProxyType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::mqtt::random;

/// How long `rumqttc` may take to ask: it does so at once.
const ASK: Duration = Duration::from_secs(5);

/// Most of a request that is read.
const REQUEST_BYTES_MAX: usize = 2048;

const USER: &str = "tring";

/// Bytes of the password.
const PASSWORD_BYTES: usize = 16;

/// A running bridge.
pub(super) struct Bridge {
    /// What `rumqttc` goes by.
    pub(super) proxy: Proxy,
    /// Passes bytes; over when all that `rumqttc` has sent is with the system, or the broker is gone.
    pub(super) task: JoinHandle<()>,
}

impl Bridge {
    /// Begins to wait for `rumqttc`, which is to speak to `broker`.
    ///
    /// # Errors
    /// What the system says where there is no loopback, or no further file.
    pub(super) async fn start(broker: TcpStream) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let password: String = random().iter().take(PASSWORD_BYTES).map(|byte| format!("{byte:02x}")).collect();
        let login = basic_login(USER, &password);
        let task = tokio::spawn(async move {
            if let Ok(Ok(client)) = timeout(ASK, admit(&listener, &login)).await {
                drop(listener);
                pass(client, broker).await;
            }
        });
        let auth = ProxyAuth::Basic { username: USER.to_owned(), password };
        let proxy = Proxy { ty: ProxyType::Http, auth, addr: Ipv4Addr::LOCALHOST.to_string(), port };
        Ok(Self { proxy, task })
    }
}

/// The first that knows the password.
async fn admit(listener: &TcpListener, login: &str) -> io::Result<TcpStream> {
    loop {
        let (mut client, _) = listener.accept().await?;
        client.set_nodelay(true)?;
        // A stranger that says nothing may hold it up; `rumqttc` gives up then, and comes again by another bridge.
        match request(&mut client).await {
            Ok(request) if request.lines().any(|line| line == login) => {
                client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
                return Ok(client);
            }
            Ok(_) | Err(_) => tracing::warn!("another program of this machine asked for the connection to the broker"),
        }
    }
}

async fn request(client: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= REQUEST_BYTES_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        head.push(client.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

/// Passes bytes until one side has ended. What the client has sent last is given to the system before.
async fn pass(mut client: TcpStream, mut broker: TcpStream) {
    let (mut from_client, mut to_client) = client.split();
    let (mut from_broker, mut to_broker) = broker.split();
    let outward = async {
        let _how_it_ended = copy(&mut from_client, &mut to_broker).await;
        let _may_be_gone = to_broker.shutdown().await;
    };
    tokio::select! {
        () = outward => {}
        _how_it_ended = copy(&mut from_broker, &mut to_client) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A bridge, and the broker's end of the connection.
    async fn bridge() -> (Bridge, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (Bridge::start(ours).await.unwrap(), listener.accept().await.unwrap().0)
    }

    async fn ask(bridge: &Bridge, password: &str) -> TcpStream {
        let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, bridge.proxy.port)).await.unwrap();
        let request = format!("CONNECT b:1 HTTP/1.1\r\nHost: b:1\r\n{}\r\n\r\n", basic_login(USER, password));
        client.write_all(request.as_bytes()).await.unwrap();
        client
    }

    fn password(bridge: &Bridge) -> String {
        let ProxyAuth::Basic { password, .. } = &bridge.proxy.auth else { panic!("no login") };
        password.clone()
    }

    #[tokio::test]
    async fn the_client_gets_the_connection_and_a_stranger_does_not() {
        let (bridge, mut broker) = bridge().await;
        let mut stranger = ask(&bridge, "guessed").await;
        assert_eq!(stranger.read(&mut [0; 9]).await.unwrap_or(0), 0, "closed without a word");
        let mut client = ask(&bridge, &password(&bridge)).await;
        let mut granted = [0; 19];
        client.read_exact(&mut granted).await.unwrap();
        assert_eq!(&granted, b"HTTP/1.1 200 OK\r\n\r\n");
        client.write_all(b"there").await.unwrap();
        let mut heard = [0; 5];
        broker.read_exact(&mut heard).await.unwrap();
        broker.write_all(b"back!").await.unwrap();
        client.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"back!");
        drop(broker);
        assert_eq!(client.read(&mut heard).await.unwrap_or(0), 0, "it ends with the broker");
    }

    #[tokio::test]
    async fn what_is_said_last_gets_out() {
        let (bridge, mut broker) = bridge().await;
        let mut client = ask(&bridge, &password(&bridge)).await;
        client.read_exact(&mut [0; 19]).await.unwrap();
        let last = vec![7; 300_000];
        let sent = tokio::spawn(async move {
            client.write_all(&last).await.unwrap();
        });
        let mut heard = Vec::new();
        timeout(Duration::from_secs(10), broker.read_to_end(&mut heard)).await.unwrap().unwrap();
        assert_eq!(heard.len(), 300_000);
        sent.await.unwrap();
        timeout(Duration::from_secs(10), bridge.task).await.expect("it ends with the client").unwrap();
    }
}
