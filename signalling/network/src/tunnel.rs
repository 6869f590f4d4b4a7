//! Speaks to a proxy until it has connected to the server. What is said is decided in [`crate::proxy`].

use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, lookup_host};

use crate::proxy::{Proxy, ProxyFault, ProxyKind, bare, connect_answer, connect_request, socks as messages};
use crate::system_error;

/// Most of an HTTP answer that is read: its head.
const HEAD_BYTES_MAX: usize = 8 * 1024;

/// Has the proxy at the other end of `tcp` connect to `host` and `port`. Waits for as long as the proxy does.
///
/// # Errors
/// What the proxy says, to be read after its name.
pub async fn open(tcp: &mut TcpStream, proxy: &Proxy, host: &str, port: u16) -> Result<(), ProxyFault> {
    match proxy.kind {
        ProxyKind::Http => connect(tcp, proxy, host, port).await,
        ProxyKind::Socks5h => socks(tcp, proxy, host, port).await,
        ProxyKind::Socks5 => {
            let found = lookup_host((bare(host), port)).await.ok().and_then(|mut found| found.next());
            let found = found.ok_or("needs the server's address, and the name has none here; use socks5h://")?;
            socks(tcp, proxy, &found.ip().to_string(), port).await
        }
    }
}

/// A tunnel by CONNECT.
async fn connect(tcp: &mut TcpStream, proxy: &Proxy, host: &str, port: u16) -> Result<(), ProxyFault> {
    tcp.write_all(&connect_request(proxy, host, port)).await.map_err(|error| broke(&error))?;
    let mut head = Vec::new();
    // Byte by byte: what follows the head is the server's.
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= HEAD_BYTES_MAX {
            return Err("answers, but not as an HTTP proxy does".into());
        }
        match tcp.read_u8().await {
            Ok(byte) => head.push(byte),
            // Some close at once after a refusal.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && !head.is_empty() => break,
            Err(error) => return Err(broke(&error)),
        }
    }
    connect_answer(&head)
}

/// A tunnel by SOCKS5.
async fn socks(tcp: &mut TcpStream, proxy: &Proxy, host: &str, port: u16) -> Result<(), ProxyFault> {
    let broke = |error: io::Error| broke(&error);
    tcp.write_all(&messages::greeting(proxy)).await.map_err(broke)?;
    let mut answer = [0; 2];
    tcp.read_exact(&mut answer).await.map_err(broke)?;
    if let Some(login) = messages::login(proxy, answer)? {
        tcp.write_all(&login).await.map_err(broke)?;
        tcp.read_exact(&mut answer).await.map_err(broke)?;
        messages::logged_in(answer)?;
    }
    tcp.write_all(&messages::request(host, port)?).await.map_err(broke)?;
    let mut answer = [0; 5];
    tcp.read_exact(&mut answer).await.map_err(broke)?;
    let mut rest = vec![0; messages::rest_of_answer(answer)?];
    tcp.read_exact(&mut rest).await.map_err(broke)?;
    Ok(())
}

fn broke(error: &io::Error) -> ProxyFault {
    match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
            "closed the connection".into()
        }
        _ => format!("does not answer: {}", system_error::in_words(error)).into(),
    }
}
