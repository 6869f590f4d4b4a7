//! Speaks to a proxy until it has connected to the server. What is said is decided in [`crate::path::proxy`].

use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::path::ice_server::IceUrl;
use crate::path::proxy::{Proxy, connect_answer, connect_request, socks as messages};
use crate::system_error;

/// Most of an HTTP answer that is read: its head.
const HEAD_BYTES_MAX: usize = 8 * 1024;

/// A tunnel by CONNECT.
///
/// # Errors
/// What the proxy says, to be read after its name.
pub(super) async fn connect(tcp: &mut TcpStream, proxy: &Proxy, url: &IceUrl) -> Result<(), String> {
    tcp.write_all(&connect_request(proxy, &url.host, url.port)).await.map_err(|error| broke(&error))?;
    let mut head = Vec::new();
    // Byte by byte: what follows the head is the server's.
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= HEAD_BYTES_MAX {
            return Err("answers, but not as an HTTP proxy does".to_owned());
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
///
/// # Errors
/// What the proxy says, to be read after its name.
pub(super) async fn socks(tcp: &mut TcpStream, proxy: &Proxy, host: &str, port: u16) -> Result<(), String> {
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

fn broke(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
            "closed the connection".to_owned()
        }
        _ => format!("does not answer: {}", system_error::in_words(error)),
    }
}
