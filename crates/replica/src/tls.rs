//! The transport between real members: TLS over TCP, each end with its member's certificate.

use std::fmt;
use std::io;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::RwLock;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::rustls::{ClientConfig, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use trust::{Authority, Identity, member};

use crate::transport::{ByteStream, Incoming, Transport};

/// TLS over TCP.
pub struct TlsTransport {
    listener: TcpListener,
    configs: RwLock<Configs>,
}

#[derive(Clone)]
struct Configs {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

impl fmt::Debug for TlsTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsTransport").field("listener", &self.listener).finish_non_exhaustive()
    }
}

fn configs(authority: &Authority, identity: &Identity) -> Result<Configs, trust::Error> {
    let (server, client) = member::tls(authority, identity)?;
    Ok(Configs { server: Arc::new(server), client: Arc::new(client) })
}

impl TlsTransport {
    /// A transport that listens there and shows this certificate (see [`trust::member::issue`]).
    ///
    /// # Errors
    /// When TLS cannot be configured with these.
    pub fn new(listener: TcpListener, authority: &Authority, identity: &Identity) -> Result<Self, trust::Error> {
        Ok(TlsTransport { listener, configs: RwLock::new(configs(authority, identity)?) })
    }

    /// Connections from now on show this certificate.
    ///
    /// # Errors
    /// When TLS cannot be configured with it.
    pub fn renew(&self, authority: &Authority, identity: &Identity) -> Result<(), trust::Error> {
        *self.configs.write() = configs(authority, identity)?;
        Ok(())
    }

    /// Where it listens.
    ///
    /// # Errors
    /// When the socket does not say.
    pub fn local_address(&self) -> io::Result<std::net::SocketAddr> {
        self.listener.local_addr()
    }
}

impl Transport for TlsTransport {
    fn connect(&self, member: u64, address: &str) -> BoxFuture<'static, io::Result<ByteStream>> {
        let (client, address) = (self.configs.read().client.clone(), address.to_owned());
        async move {
            let name = member::server_name(member).map_err(io::Error::other)?;
            let tcp = TcpStream::connect(&address).await?;
            tcp.set_nodelay(true)?;
            let stream = TlsConnector::from(client).connect(name, tcp).await?;
            let found = member::of_chain(stream.get_ref().1.peer_certificates()).map_err(refused)?;
            if found != member {
                let text = format!("member {found:x} answers at {address}, where {member:x} was expected");
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
            }
            Ok(Box::new(stream) as ByteStream)
        }
        .boxed()
    }

    fn accept(&self) -> BoxFuture<'_, io::Result<Incoming>> {
        async move {
            let (tcp, from) = self.listener.accept().await?;
            let server = self.configs.read().server.clone();
            let incoming = async move {
                tcp.set_nodelay(true)?;
                let named = |error: io::Error| io::Error::new(error.kind(), format!("{from}: {error}"));
                let stream = TlsAcceptor::from(server).accept(tcp).await.map_err(named)?;
                let found = member::of_chain(stream.get_ref().1.peer_certificates());
                let found = found.map_err(|error| named(refused(error)))?;
                Ok((found, Box::new(stream) as ByteStream))
            };
            Ok(incoming.boxed())
        }
        .boxed()
    }
}

fn refused(error: trust::Error) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, error)
}
