//! Queries for names of others go to the host's resolvers.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::LowerName,
};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UdpSocket},
    sync::Semaphore,
    time::timeout,
};

use super::{resolv::resolvers, shares::Shares, zone::failure};

/// Longest wait for one resolver.
const UPSTREAM_TIMEOUT: Duration = Duration::from_secs(2);
/// Most queries on their way to resolvers; more are answered with SERVFAIL.
const MAX_IN_FLIGHT: usize = 512;
/// Most of them for one client, so that no pod takes the others' names away.
const MAX_IN_FLIGHT_OF_CLIENT: usize = 64;
/// Most of them for one name, so that a name whose servers do not answer takes no others away, however many ask it.
const MAX_IN_FLIGHT_OF_NAME: usize = 32;
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
    of_clients: Arc<Shares<IpAddr>>,
    of_names: Arc<Shares<LowerName>>,
}

impl Forwarder {
    pub(crate) fn new(resolv_conf: PathBuf, own: Vec<IpAddr>) -> Self {
        Self {
            resolv_conf,
            own,
            known: Mutex::new(None),
            in_flight: Semaphore::new(MAX_IN_FLIGHT),
            of_clients: Shares::new(MAX_IN_FLIGHT_OF_CLIENT),
            of_names: Shares::new(MAX_IN_FLIGHT_OF_NAME),
        }
    }

    /// The reply of the first resolver that gives one; SERVFAIL when none does, or when the client or the name has its
    /// share of queries on their way.
    pub(crate) async fn forward(
        &self,
        client: IpAddr,
        request: &Message,
        bytes: &[u8],
        transport: Transport,
    ) -> Vec<u8> {
        let name = request.queries.first().map(|query| LowerName::from(query.name())).unwrap_or_default();
        let shares = self.of_clients.take(client).zip(self.of_names.take(name));
        if let (Some(_shares), Ok(_permit)) = (shares, self.in_flight.try_acquire()) {
            for upstream in self.upstreams() {
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

    /// One with fixed resolvers.
    #[cfg(test)]
    pub(crate) fn to(upstreams: Vec<SocketAddr>) -> Self {
        let forwarder = Self::new(std::env::current_exe().unwrap_or_default(), Vec::new());
        let changed = std::fs::metadata(&forwarder.resolv_conf).and_then(|m| m.modified());
        *forwarder.known.lock() = changed.ok().map(|changed| (changed, upstreams));
        forwarder
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

/// The query under an id that nobody can guess: the client's own may be known to others, or chosen to be.
fn under_own_id(bytes: &[u8]) -> io::Result<(Vec<u8>, [u8; 2])> {
    let mut id = [0; 2];
    getrandom::fill(&mut id).map_err(io::Error::other)?;
    let mut query = bytes.to_vec();
    query.get_mut(..2).ok_or(io::ErrorKind::InvalidInput)?.copy_from_slice(&id);
    Ok((query, id))
}

/// The reply under the client's id, if it is one: id and question are the query's (RFC 5452).
fn accepted(request: &Message, id: [u8; 2], reply: &[u8]) -> Option<Vec<u8>> {
    let message = Message::from_vec(reply).ok()?;
    let answers = message.metadata.id == u16::from_be_bytes(id) && message.queries == request.queries;
    let mut reply = reply.to_vec();
    reply.get_mut(..2)?.copy_from_slice(&request.metadata.id.to_be_bytes());
    answers.then_some(reply)
}

pub(super) async fn over_udp(upstream: SocketAddr, request: &Message, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let any = match upstream {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(upstream).await?;
    let (query, id) = under_own_id(bytes)?;
    socket.send(&query).await?;
    let mut buffer = vec![0; MAX_MESSAGE];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if let Some(reply) = accepted(request, id, buffer.get(..length).unwrap_or_default()) {
            return Ok(reply);
        }
    }
}

pub(super) async fn over_tcp(upstream: SocketAddr, request: &Message, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(upstream).await?;
    let (query, id) = under_own_id(bytes)?;
    write_framed(&mut stream, &query).await?;
    let reply = read_framed(&mut stream).await?;
    accepted(request, id, &reply)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the reply is not for the query"))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_leave_under_ids_that_the_client_does_not_know() {
        let mut request = Message::query();
        request.metadata.id = 7;
        let bytes = request.to_vec().unwrap();
        let made: Vec<(Vec<u8>, [u8; 2])> = (0..16).map(|_| under_own_id(&bytes).unwrap()).collect();
        assert!(made.iter().all(|(query, id)| query[..2] == *id && query[2..] == bytes[2..]));
        assert!(made.iter().any(|(_, id)| *id != made[0].1), "sixteen equal ones would be no accident");
        let (query, id) = &made[0];
        assert_eq!(accepted(&request, *id, query).unwrap(), bytes, "the client sees its own id");
        assert_eq!(accepted(&request, [id[0] ^ 1, id[1]], query), None);
    }
}
