//! The face that the `turn` crate wants of a socket, for sockets that are connected to no single address.

use std::any::Any;
use std::io;
use std::net::SocketAddr;

use async_trait::async_trait;
use webrtc_util::{Conn, Error, Result};

/// What carries datagrams from and to any address.
#[async_trait]
pub(super) trait Datagrams: Send + Sync + 'static {
    /// The next datagram: its length, and where it came from.
    async fn recv_from(&self, buf: &mut [u8]) -> Result<(usize, SocketAddr)>;

    /// Sends one; how many of its bytes were taken.
    async fn send_to(&self, buf: &[u8], target: SocketAddr) -> Result<usize>;

    fn local_addr(&self) -> Result<SocketAddr>;
}

/// [`Datagrams`] as the crate takes them. What is for a connected socket is refused: the crate never asks for it.
pub(super) struct Unconnected<D>(pub(super) D);

#[async_trait]
impl<D: Datagrams> Conn for Unconnected<D> {
    async fn recv_from(&self, buf: &mut [u8]) -> Result<(usize, SocketAddr)> {
        self.0.recv_from(buf).await
    }

    async fn send_to(&self, buf: &[u8], target: SocketAddr) -> Result<usize> {
        self.0.send_to(buf, target).await
    }

    fn local_addr(&self) -> Result<SocketAddr> {
        self.0.local_addr()
    }

    async fn connect(&self, _addr: SocketAddr) -> Result<()> {
        Err(unsupported())
    }

    async fn recv(&self, _buf: &mut [u8]) -> Result<usize> {
        Err(unsupported())
    }

    async fn send(&self, _buf: &[u8]) -> Result<usize> {
        Err(unsupported())
    }

    fn remote_addr(&self) -> Option<SocketAddr> {
        None
    }

    async fn close(&self) -> Result<()> {
        Ok(())
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync) {
        self
    }
}

fn unsupported() -> Error {
    io::Error::from(io::ErrorKind::Unsupported).into()
}
