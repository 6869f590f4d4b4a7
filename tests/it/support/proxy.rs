//! A proxy on loopback: HTTP by CONNECT, or SOCKS5, both with a login.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::loopback;

/// The one login.
pub const USER: &str = "carol";
/// Its password.
pub const PASSWORD: &str = "carol:secret";

/// `USER:PASSWORD` in the manner of HTTP, base64.
const BASIC: &str = "Y2Fyb2w6Y2Fyb2w6c2VjcmV0";

/// How the proxy is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// HTTP.
    Http,
    /// SOCKS5.
    Socks5,
}

/// A running proxy. Its threads end with the connections they serve; the listener ends with the process.
pub struct Proxy {
    kind: Kind,
    port: u16,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    refused: AtomicUsize,
    /// Where it has connected to.
    tunnels: Mutex<Vec<SocketAddr>>,
}

impl Proxy {
    /// Starts it.
    pub fn start(kind: Kind) -> Self {
        let listener = TcpListener::bind(loopback(0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Seen::default());
        let for_clients = Arc::clone(&seen);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let seen = Arc::clone(&for_clients);
                std::thread::spawn(move || serve(kind, client, &seen));
            }
        });
        Self { kind, port, seen }
    }

    /// For `HTTPS_PROXY`, with this password.
    pub fn url(&self, password: &str) -> String {
        let (scheme, password) =
            (if self.kind == Kind::Http { "http" } else { "socks5h" }, password.replace(':', "%3A"));
        format!("{scheme}://{USER}:{password}@127.0.0.1:{}", self.port)
    }

    /// How many it has turned away.
    pub fn refused(&self) -> usize {
        self.seen.refused.load(Ordering::SeqCst)
    }

    /// How many tunnels it has opened to this port.
    pub fn tunnels_to(&self, port: u16) -> usize {
        self.seen.tunnels.lock().unwrap().iter().filter(|address| address.port() == port).count()
    }
}

fn serve(kind: Kind, mut client: TcpStream, seen: &Seen) {
    let asked = match kind {
        Kind::Http => by_http(&mut client),
        Kind::Socks5 => by_socks(&mut client),
    };
    let Some(address) = asked else {
        seen.refused.fetch_add(1, Ordering::SeqCst);
        return;
    };
    let Ok(server) = TcpStream::connect(address) else { return };
    seen.tunnels.lock().unwrap().push(address);
    let granted: &[u8] = match kind {
        Kind::Http => b"HTTP/1.1 200 Connection established\r\n\r\n",
        Kind::Socks5 => &[5, 0, 0, 1, 0, 0, 0, 0, 0, 0],
    };
    if client.write_all(granted).is_err() {
        return;
    }
    let (mut from_server, mut to_client) = (server.try_clone().unwrap(), client.try_clone().unwrap());
    std::thread::spawn(move || {
        let _ended = std::io::copy(&mut from_server, &mut to_client);
        let _closed = to_client.shutdown(std::net::Shutdown::Both);
    });
    let (mut from_client, mut to_server) = (client, server);
    let _ended = std::io::copy(&mut from_client, &mut to_server);
    let _closed = to_server.shutdown(std::net::Shutdown::Both);
}

fn by_http(client: &mut TcpStream) -> Option<SocketAddr> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    if !head.contains(&format!("Proxy-Authorization: Basic {BASIC}\r\n")) {
        let _told = client.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n");
        return None;
    }
    head.strip_prefix("CONNECT ")?.split(' ').next()?.parse().ok()
}

fn by_socks(client: &mut TcpStream) -> Option<SocketAddr> {
    let mut greeting = [0; 4];
    client.read_exact(&mut greeting).ok()?;
    assert_eq!(greeting, [5, 2, 0, 2], "no login, and by user and password");
    client.write_all(&[5, 2]).ok()?;
    let login = [&[1, 5][..], USER.as_bytes(), &[12], PASSWORD.as_bytes()].concat();
    let mut told = vec![0; 2];
    client.read_exact(&mut told).ok()?;
    let mut rest = vec![0; usize::from(told[1]) + 1];
    client.read_exact(&mut rest).ok()?;
    let mut password = vec![0; usize::from(rest[rest.len() - 1])];
    client.read_exact(&mut password).ok()?;
    if [told, rest, password].concat() != login {
        let _told = client.write_all(&[1, 1]);
        return None;
    }
    client.write_all(&[1, 0]).ok()?;
    let mut request = [0; 10];
    client.read_exact(&mut request).ok()?;
    let [5, 1, 0, 1, a, b, c, d, high, low] = request else { return None };
    Some(SocketAddr::from((Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([high, low]))))
}
