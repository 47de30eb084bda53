//! Members' connections over the simulated network. Who connects says who it is: there is nobody to deceive.

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use futures::FutureExt;
use futures::future::BoxFuture;
use replica::transport::{ByteStream, Incoming, Transport};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use turmoil::net::{TcpListener, TcpStream};

/// Where members listen.
const PORT: u16 = 7000;

/// The transport of one member.
pub struct Network {
    own: u64,
    listener: TcpListener,
}

impl std::fmt::Debug for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Network").field("own", &self.own).finish_non_exhaustive()
    }
}

/// The host a member runs on.
pub fn host(member: u64) -> String {
    format!("member{member}")
}

/// The address of a member.
pub fn address(member: u64) -> String {
    format!("{}:{PORT}", host(member))
}

impl Network {
    /// Listens.
    pub async fn new(own: u64) -> io::Result<Self> {
        let listener = TcpListener::bind((IpAddr::V4(Ipv4Addr::UNSPECIFIED), PORT)).await?;
        Ok(Network { own, listener })
    }
}

impl Transport for Network {
    fn connect(&self, _member: u64, address: &str) -> BoxFuture<'static, io::Result<ByteStream>> {
        let (own, address) = (self.own, address.to_owned());
        async move {
            let mut stream = TcpStream::connect(address).await?;
            stream.write_u64(own).await?;
            Ok(Box::new(stream) as ByteStream)
        }
        .boxed()
    }

    fn accept(&self) -> BoxFuture<'_, io::Result<Incoming>> {
        async move {
            let (mut stream, _) = self.listener.accept().await?;
            let incoming = async move {
                let member = stream.read_u64().await?;
                Ok((member, Box::new(stream) as ByteStream))
            };
            Ok(incoming.boxed() as Incoming)
        }
        .boxed()
    }
}
