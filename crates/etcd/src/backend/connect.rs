//! Reaching a member of the cluster: the first of a list that answers.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::Uri;
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;
use tonic::transport::{Channel, Endpoint};

use crate::limits;

/// Members of an etcd cluster, and how to prove who one is to them.
#[derive(Clone)]
pub struct Endpoints {
    members: Arc<[Address]>,
    tls: Option<Arc<ClientConfig>>,
}

impl std::fmt::Debug for Endpoints {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Endpoints").field(&self.members).finish()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Address {
    host: String,
    port: u16,
    tls: bool,
}

/// Why a list of endpoints cannot be used.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum EndpointsError {
    /// None was named.
    #[error("no endpoint is named: write etcd=https://HOST:2379, and more of them after commas")]
    None,
    /// One is no address.
    #[error("{endpoint:?} is no endpoint: write https://HOST:PORT (or http:// for a cluster without TLS on loopback)")]
    Malformed {
        /// What was named.
        endpoint: String,
    },
    /// One needs certificates, and there are none.
    #[error("{endpoint:?} needs TLS: name the authority, and the client's certificate and key")]
    NoTls {
        /// What was named.
        endpoint: String,
    },
    /// One would be talked to in clear over a network.
    #[error("{endpoint:?} would be talked to in clear: use https://, http:// is for loopback")]
    Clear {
        /// What was named.
        endpoint: String,
    },
}

impl Endpoints {
    /// Reads `https://HOST:PORT,...`; `tls` is what https needs.
    pub fn parse(list: &str, tls: Option<Arc<ClientConfig>>) -> Result<Self, EndpointsError> {
        let mut members = Vec::new();
        for endpoint in list.split(',').map(str::trim).filter(|endpoint| !endpoint.is_empty()) {
            let address = Address::parse(endpoint)?;
            if address.tls && tls.is_none() {
                return Err(EndpointsError::NoTls { endpoint: endpoint.to_owned() });
            }
            members.push(address);
        }
        if members.is_empty() {
            return Err(EndpointsError::None);
        }
        Ok(Endpoints { members: members.into(), tls })
    }

    /// A channel to the first member that answers, beginning with number `first`; it connects when it is used, and
    /// again after a loss.
    pub(super) fn channel(&self, first: usize) -> Channel {
        let (endpoints, turn) = (self.clone(), Arc::new(AtomicUsize::new(first)));
        let connector = tower::service_fn(move |_: Uri| {
            let (endpoints, turn) = (endpoints.clone(), turn.clone());
            async move { endpoints.connect(&turn).await.map(TokioIo::new) }
        });
        // The name is for the connector above, which knows better.
        Endpoint::from_static("http://etcd")
            .initial_stream_window_size(limits::WINDOW_BYTES)
            .initial_connection_window_size(limits::WINDOW_BYTES)
            .http2_keep_alive_interval(limits::PING_EVERY)
            .connect_with_connector_lazy(connector)
    }

    async fn connect(&self, turn: &AtomicUsize) -> io::Result<Box<dyn Connection>> {
        let first = turn.load(Ordering::Relaxed);
        let mut failure = io::Error::other("there are no endpoints");
        for number in first..first + self.members.len() {
            let Some(address) = self.members.get(number % self.members.len()) else { break };
            match tokio::time::timeout(limits::HANDSHAKE_TIMEOUT, self.connect_to(address)).await {
                Ok(Ok(connection)) => {
                    // After a loss the next one is tried first.
                    turn.store(number + 1, Ordering::Relaxed);
                    return Ok(connection);
                }
                Ok(Err(error)) => failure = error,
                Err(late) => failure = late.into(),
            }
        }
        Err(failure)
    }

    async fn connect_to(&self, address: &Address) -> io::Result<Box<dyn Connection>> {
        let stream = TcpStream::connect((address.host.as_str(), address.port)).await?;
        stream.set_nodelay(true)?;
        let Some(tls) = self.tls.as_ref().filter(|_| address.tls) else { return Ok(Box::new(stream)) };
        let name = ServerName::try_from(address.host.clone()).map_err(io::Error::other)?;
        Ok(Box::new(TlsConnector::from(tls.clone()).connect(name, stream).await?))
    }
}

trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<C: AsyncRead + AsyncWrite + Send + Unpin> Connection for C {}

impl Address {
    fn parse(endpoint: &str) -> Result<Self, EndpointsError> {
        let malformed = || EndpointsError::Malformed { endpoint: endpoint.to_owned() };
        let uri: Uri = endpoint.parse().map_err(|_| malformed())?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(malformed()),
        };
        let (host, port) = uri.host().zip(uri.port_u16()).ok_or_else(malformed)?;
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(malformed());
        }
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let loopback =
            host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        if !tls && !loopback {
            return Err(EndpointsError::Clear { endpoint: endpoint.to_owned() });
        }
        Ok(Address { host, port, tls })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_checked() {
        let parse = |list| Endpoints::parse(list, None).map(|endpoints| endpoints.members.to_vec());
        let clear = |host: &str, port| Address { host: host.into(), port, tls: false };
        assert_eq!(
            parse("http://127.0.0.1:2379, http://[::1]:1/"),
            Ok(vec![clear("127.0.0.1", 2379), clear("::1", 1)])
        );
        assert_eq!(parse(" ,"), Err(EndpointsError::None));
        assert_eq!(parse("https://a:1"), Err(EndpointsError::NoTls { endpoint: "https://a:1".into() }));
        assert_eq!(parse("http://a:1"), Err(EndpointsError::Clear { endpoint: "http://a:1".into() }));
        for endpoint in ["a:1", "http://127.0.0.1", "ftp://127.0.0.1:1", "http://127.0.0.1:1/x"] {
            assert_eq!(parse(endpoint), Err(EndpointsError::Malformed { endpoint: endpoint.into() }));
        }
    }
}
