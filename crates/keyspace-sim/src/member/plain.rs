//! Members' connections over TCP, unprotected.

use std::io;

use futures::FutureExt;
use futures::future::BoxFuture;
use replica::transport::{ByteStream, Incoming, Transport};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The transport of one member.
#[derive(Debug)]
pub struct Plain {
    own: u64,
    listener: TcpListener,
}

impl Plain {
    /// That of member `own`, which others reach at the listener.
    pub fn new(own: u64, listener: TcpListener) -> Self {
        Plain { own, listener }
    }

    /// Where others reach it.
    pub fn address(&self) -> io::Result<String> {
        Ok(self.listener.local_addr()?.to_string())
    }
}

impl Transport for Plain {
    fn connect(&self, _member: u64, address: &str) -> BoxFuture<'static, io::Result<ByteStream>> {
        let (own, address) = (self.own, address.to_owned());
        async move {
            let mut stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            stream.write_u64(own).await?;
            Ok(Box::new(stream) as ByteStream)
        }
        .boxed()
    }

    fn accept(&self) -> BoxFuture<'_, io::Result<Incoming>> {
        async move {
            let (mut stream, _) = self.listener.accept().await?;
            let incoming = async move {
                stream.set_nodelay(true)?;
                let member = stream.read_u64().await?;
                Ok((member, Box::new(stream) as ByteStream))
            };
            Ok(incoming.boxed() as Incoming)
        }
        .boxed()
    }
}
