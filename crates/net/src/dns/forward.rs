//! Queries for names of others go to the host's resolvers.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    time::{Duration, SystemTime},
};

use hickory_proto::op::{Message, ResponseCode};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UdpSocket},
    sync::Semaphore,
    time::timeout,
};

use super::{resolv::resolvers, zone::failure};

/// Longest wait for one resolver.
const UPSTREAM_TIMEOUT: Duration = Duration::from_secs(2);
/// Most queries on their way to resolvers; more are answered with SERVFAIL.
const MAX_IN_FLIGHT: usize = 256;
/// Largest DNS message.
const MAX_MESSAGE: usize = 65_535;

/// How a query came in, and therefore goes out.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Transport {
    Udp,
    Tcp,
}

/// Sends queries to the resolvers named by a resolv.conf, which is read again when it changes.
pub(crate) struct Forwarder {
    resolv_conf: PathBuf,
    own: Vec<IpAddr>,
    known: Mutex<Option<(SystemTime, Vec<SocketAddr>)>>,
    in_flight: Semaphore,
}

impl Forwarder {
    pub(crate) fn new(resolv_conf: PathBuf, own: Vec<IpAddr>) -> Self {
        Self { resolv_conf, own, known: Mutex::new(None), in_flight: Semaphore::new(MAX_IN_FLIGHT) }
    }

    /// The reply of the first resolver that gives one; SERVFAIL when none does.
    pub(crate) async fn forward(&self, request: &Message, bytes: &[u8], transport: Transport) -> Vec<u8> {
        let upstreams = self.upstreams();
        if let Ok(_permit) = self.in_flight.try_acquire() {
            for upstream in upstreams {
                let reply = match transport {
                    Transport::Udp => timeout(UPSTREAM_TIMEOUT, over_udp(upstream, request, bytes)).await,
                    Transport::Tcp => timeout(UPSTREAM_TIMEOUT, over_tcp(upstream, request, bytes)).await,
                };
                match reply {
                    Ok(Ok(reply)) => return reply,
                    Ok(Err(error)) => tracing::debug!(%upstream, %error, "resolver failed"),
                    Err(_) => tracing::debug!(%upstream, "resolver timed out"),
                }
            }
        }
        failure(request, ResponseCode::ServFail).to_vec().unwrap_or_default()
    }

    fn upstreams(&self) -> Vec<SocketAddr> {
        let Ok(changed) = std::fs::metadata(&self.resolv_conf).and_then(|m| m.modified()) else {
            return Vec::new();
        };
        let mut known = self.known.lock();
        match &*known {
            Some((at, upstreams)) if *at == changed => upstreams.clone(),
            _ => {
                let text = std::fs::read_to_string(&self.resolv_conf).unwrap_or_default();
                let upstreams = resolvers(&text, &self.own);
                *known = Some((changed, upstreams.clone()));
                upstreams
            }
        }
    }
}

/// A reply is one only if id and question are the query's (RFC 5452).
fn matches(request: &Message, reply: &[u8]) -> bool {
    Message::from_vec(reply)
        .is_ok_and(|reply| reply.metadata.id == request.metadata.id && reply.queries == request.queries)
}

pub(super) async fn over_udp(upstream: SocketAddr, request: &Message, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let any = match upstream {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(upstream).await?;
    socket.send(bytes).await?;
    let mut buffer = vec![0; MAX_MESSAGE];
    loop {
        let length = socket.recv(&mut buffer).await?;
        let reply = buffer.get(..length).unwrap_or_default();
        if matches(request, reply) {
            return Ok(reply.to_vec());
        }
    }
}

pub(super) async fn over_tcp(upstream: SocketAddr, request: &Message, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(upstream).await?;
    write_framed(&mut stream, bytes).await?;
    let reply = read_framed(&mut stream).await?;
    if matches(request, &reply) {
        Ok(reply)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidData, "the reply is not for the query"))
    }
}

/// Reads one message with its two length bytes (RFC 1035, 4.2.2).
pub(crate) async fn read_framed(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = stream.read_u16().await?;
    let mut bytes = vec![0; usize::from(length)];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}

/// Writes one message with its two length bytes.
pub(crate) async fn write_framed(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
    let length = u16::try_from(bytes.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut framed = Vec::with_capacity(bytes.len() + 2);
    framed.extend_from_slice(&length.to_be_bytes());
    framed.extend_from_slice(bytes);
    stream.write_all(&framed).await
}
