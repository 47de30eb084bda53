//! The sockets: UDP and TCP on one address.

use std::{
    io,
    net::{IpAddr, SocketAddr, SocketAddrV4},
    os::fd::{AsRawFd as _, OwnedFd},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use hickory_proto::op::Message;
use ipnet::Ipv4Net;
use nix::sys::socket::{self, AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, setsockopt, sockopt::ReusePort};
use tokio::{
    net::{TcpListener, TcpStream, UdpSocket},
    sync::Semaphore,
    task::JoinSet,
    time::timeout,
};

use super::{
    file::ZoneFile,
    forward::{Forwarder, Transport, read_framed, write_framed},
    shares::Shares,
    zone::{Answer, MAX_PAYLOAD, MIN_PAYLOAD, answer},
};

/// Most open TCP connections; more wait in the backlog.
const MAX_CONNECTIONS: usize = 256;
/// Most of them of one client; more are closed.
const MAX_CONNECTIONS_OF_CLIENT: usize = 16;
/// Longest silence on a TCP connection, and longest time a client may take to take its answer.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// Most UDP queries being worked on; more are dropped and the client asks again.
const MAX_PENDING: usize = 1024;
/// Most of them of one client.
const MAX_PENDING_OF_CLIENT: usize = 128;
/// Largest UDP query read.
const MAX_QUERY: usize = 4096;

/// Answers queries on sockets that listen already.
pub(super) struct Server {
    sockets: (UdpSocket, TcpListener),
    shared: Arc<Shared>,
}

struct Shared {
    zones: ZoneFile,
    forwarder: Forwarder,
    /// Who is answered, beside the host itself.
    pods: Ipv4Net,
    queries: Arc<Shares<IpAddr>>,
    connections: Arc<Shares<IpAddr>>,
}

impl Server {
    /// Takes over the sockets; `pods` and the host itself are answered, and nobody else, so that this is no open
    /// resolver for whoever can route to it. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When the sockets are not what they should be.
    pub(super) fn new(sockets: Sockets, zones: ZoneFile, resolv_conf: PathBuf, pods: Ipv4Net) -> io::Result<Self> {
        let Sockets { udp, tcp } = sockets;
        let own: Vec<IpAddr> = vec![udp.local_addr()?.ip()];
        udp.set_nonblocking(true)?;
        tcp.set_nonblocking(true)?;
        let sockets = (UdpSocket::from_std(udp)?, TcpListener::from_std(tcp)?);
        let forwarder = Forwarder::new(resolv_conf, own);
        let (queries, connections) = (Shares::new(MAX_PENDING_OF_CLIENT), Shares::new(MAX_CONNECTIONS_OF_CLIENT));
        Ok(Self { sockets, shared: Arc::new(Shared { zones, forwarder, pods, queries, connections }) })
    }

    /// Serves until a socket fails.
    pub(super) async fn run(&self) -> io::Error {
        let (udp, tcp) = &self.sockets;
        tokio::select! {
            error = serve_udp(udp, &self.shared) => error,
            error = serve_tcp(tcp, &self.shared) => error,
        }
    }
}

/// Sockets that listen on one address.
#[derive(Debug)]
pub(super) struct Sockets {
    pub(super) udp: std::net::UdpSocket,
    pub(super) tcp: std::net::TcpListener,
}

/// Listens on UDP and TCP, beside another helper that is about to end: so no query meets a closed port while one
/// helper replaces another (`SO_REUSEPORT`, socket(7): only for processes of the same user).
pub(super) fn listen(address: SocketAddrV4) -> io::Result<Sockets> {
    let udp = bound(SockType::Datagram, address)?;
    let udp = std::net::UdpSocket::from(udp);
    // Port 0 picks one; both are to have the same.
    let address = SocketAddrV4::new(*address.ip(), udp.local_addr()?.port());
    let tcp = bound(SockType::Stream, address)?;
    socket::listen(&tcp, Backlog::MAXCONN)?;
    Ok(Sockets { udp, tcp: tcp.into() })
}

fn bound(kind: SockType, address: SocketAddrV4) -> io::Result<OwnedFd> {
    let socket = socket::socket(AddressFamily::Inet, kind, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&socket, ReusePort, &true)?;
    socket::bind(socket.as_raw_fd(), &SockaddrIn::from(address))?;
    Ok(socket)
}

async fn serve_udp(socket: &UdpSocket, shared: &Arc<Shared>) -> io::Error {
    let mut pending: JoinSet<(Vec<u8>, SocketAddr)> = JoinSet::new();
    let mut buffer = vec![0; MAX_QUERY];
    loop {
        let (bytes, peer) = tokio::select! {
            Some(done) = pending.join_next() => match done {
                Ok(reply) => reply,
                Err(_) => continue,
            },
            received = socket.recv_from(&mut buffer) => match received {
                // An earlier reply met a closed port (ICMP): no fault of this socket.
                Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => continue,
                Err(e) => return e,
                Ok((length, peer)) => {
                    // Strangers get no answer at all: there is nothing to amplify.
                    if shared.serves(peer.ip())
                        && pending.len() < MAX_PENDING
                        && let Some(share) = shared.queries.take(peer.ip())
                    {
                        let bytes = buffer.get(..length).unwrap_or_default().to_vec();
                        let shared = Arc::clone(shared);
                        pending.spawn(async move {
                            let _share = share;
                            (shared.reply(peer.ip(), &bytes, Transport::Udp).await, peer)
                        });
                    }
                    continue;
                }
            },
        };
        if let Err(error) = send(socket, &bytes, peer).await {
            tracing::debug!(%error, %peer, "DNS reply not sent");
        }
    }
}

async fn send(socket: &UdpSocket, bytes: &[u8], peer: SocketAddr) -> io::Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    socket.send_to(bytes, peer).await.map(drop)
}

async fn serve_tcp(listener: &TcpListener, shared: &Arc<Shared>) -> io::Error {
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections: JoinSet<()> = JoinSet::new();
    loop {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
            return io::Error::other("closed");
        };
        let (stream, client) = tokio::select! {
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => (stream, peer.ip()),
                Err(error) => return error,
            },
        };
        if !shared.serves(client) {
            continue;
        }
        let Some(share) = shared.connections.take(client) else { continue };
        let shared = Arc::clone(shared);
        connections.spawn(async move {
            let _held = (permit, share);
            shared.talk(client, stream).await;
        });
    }
}

impl Shared {
    /// Pods, and programs of the host: those come from the very address they ask, which is in the pods' range, or by
    /// loopback.
    fn serves(&self, client: IpAddr) -> bool {
        match client {
            IpAddr::V4(address) => address.is_loopback() || self.pods.contains(&address),
            IpAddr::V6(_) => false,
        }
    }

    /// Answers queries of one TCP connection until it ends, errs or falls silent.
    async fn talk(&self, client: IpAddr, mut stream: TcpStream) {
        while let Ok(Ok(query)) = timeout(IDLE_TIMEOUT, read_framed(&mut stream)).await {
            let reply = self.reply(client, &query, Transport::Tcp).await;
            if reply.is_empty() {
                return;
            }
            match timeout(IDLE_TIMEOUT, write_framed(&mut stream, &reply)).await {
                Ok(Ok(())) => {}
                _ => return,
            }
        }
    }

    /// The reply's bytes; empty for what is no query and deserves none.
    async fn reply(&self, client: IpAddr, bytes: &[u8], transport: Transport) -> Vec<u8> {
        let Ok(request) = Message::from_vec(bytes) else { return Vec::new() };
        if request.metadata.message_type != hickory_proto::op::MessageType::Query {
            return Vec::new();
        }
        let zone = self.zones.load();
        match answer(&zone, &request) {
            Answer::Reply(reply) => encode(&request, &reply, transport),
            Answer::Forward => self.forwarder.forward(client, &request, bytes, transport).await,
        }
    }
}

/// Bytes of a reply, cut with the TC bit if it is longer than the client takes over UDP.
fn encode(request: &Message, reply: &Message, transport: Transport) -> Vec<u8> {
    let bytes = reply.to_vec().unwrap_or_default();
    let limit = request.edns.as_ref().map_or(MIN_PAYLOAD, |e| e.max_payload().clamp(MIN_PAYLOAD, MAX_PAYLOAD));
    match transport {
        Transport::Udp if bytes.len() > usize::from(limit) => reply.truncate().to_vec().unwrap_or_default(),
        _ => bytes,
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests start programs and tasks, and end them")]
mod tests {
    use std::net::Ipv4Addr;

    use hickory_proto::{
        op::{Query, ResponseCode},
        rr::{Name, RData, RecordType},
    };

    use super::*;
    use crate::dns::{Zone, file};

    struct Running {
        address: SocketAddr,
        dir: tempfile::TempDir,
        task: tokio::task::JoinHandle<io::Error>,
    }

    impl Running {
        fn publish(&self, zone: &Zone) {
            file::publish(&self.dir.path().join("zone.json"), zone).unwrap();
        }
    }

    impl Drop for Running {
        fn drop(&mut self) {
            self.task.abort();
        }
    }

    /// A port that is free for UDP may be taken for TCP: then another one is tried.
    fn on_a_free_port() -> Sockets {
        let mut tried = (0..100).map(|_| listen("127.0.0.1:0".parse().unwrap()));
        let taken =
            |tried: &io::Result<Sockets>| matches!(tried, Err(error) if error.kind() == io::ErrorKind::AddrInUse);
        tried.find(|tried| !taken(tried)).expect("a free port").unwrap()
    }

    async fn start(resolv_conf: &str) -> Running {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("resolv.conf");
        std::fs::write(&path, resolv_conf).unwrap();
        let sockets = on_a_free_port();
        let address = sockets.udp.local_addr().unwrap();
        let zones = ZoneFile::new(dir.path().join("zone.json"));
        let server = Server::new(sockets, zones, path, "10.88.0.0/16".parse().unwrap()).unwrap();
        let task = tokio::spawn(async move { server.run().await });
        let running = Running { address, dir, task };
        running.publish(&Zone::new(["cluster.local"]).unwrap());
        running
    }

    fn query(name: &str) -> Message {
        let mut message = Message::query();
        message.add_query(Query::query(Name::from_utf8(name).unwrap(), RecordType::A));
        message
    }

    async fn ask_udp(server: SocketAddr, message: &Message) -> Message {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.send_to(&message.to_vec().unwrap(), server).await.unwrap();
        let mut buffer = vec![0; 65_535];
        let n = socket.recv(&mut buffer).await.unwrap();
        Message::from_vec(&buffer[..n]).unwrap()
    }

    async fn ask_tcp(server: SocketAddr, message: &Message) -> Message {
        let mut stream = TcpStream::connect(server).await.unwrap();
        write_framed(&mut stream, &message.to_vec().unwrap()).await.unwrap();
        Message::from_vec(&read_framed(&mut stream).await.unwrap()).unwrap()
    }

    #[tokio::test]
    async fn a_new_snapshot_is_served_at_once_and_long_answers_move_to_tcp() {
        let running = start("").await;
        let request = query("many.default.svc.cluster.local.");
        assert_eq!(ask_udp(running.address, &request).await.metadata.response_code, ResponseCode::NXDomain);
        let mut zone = Zone::new(["cluster.local"]).unwrap();
        for last in 1..=100 {
            zone.insert("many.default.svc.cluster.local", Ipv4Addr::new(10, 88, 0, last)).unwrap();
        }
        running.publish(&zone);
        let over_udp = ask_udp(running.address, &request).await;
        assert!(over_udp.metadata.truncation);
        let over_tcp = ask_tcp(running.address, &request).await;
        assert!(!over_tcp.metadata.truncation);
        assert_eq!(over_tcp.answers.len(), 100);
        assert!(over_tcp.answers.iter().all(|r| matches!(r.data, RData::A(_))));
    }

    #[tokio::test]
    async fn without_other_resolvers_foreign_names_fail_fast() {
        // The only resolver is the server itself: asking it would loop.
        let running = start("nameserver 127.0.0.1\n").await;
        let reply = ask_udp(running.address, &query("example.com.")).await;
        assert_eq!(reply.metadata.response_code, ResponseCode::ServFail);
        assert!(running.dir.path().exists());
    }

    #[tokio::test]
    async fn garbage_is_dropped_and_the_server_goes_on() {
        let running = start("").await;
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        for garbage in [&b""[..], &b"x"[..], &[0xff; 600][..]] {
            socket.send_to(garbage, running.address).await.unwrap();
        }
        let reply = ask_udp(running.address, &query("x.cluster.local.")).await;
        assert_eq!(reply.metadata.response_code, ResponseCode::NXDomain);
    }

    #[tokio::test]
    async fn foreign_names_come_from_the_resolver_over_both_transports() {
        let Sockets { udp, tcp } = on_a_free_port();
        udp.set_nonblocking(true).unwrap();
        tcp.set_nonblocking(true).unwrap();
        let (udp, tcp) = (UdpSocket::from_std(udp).unwrap(), TcpListener::from_std(tcp).unwrap());
        let address = udp.local_addr().unwrap();
        let reply = |bytes: &[u8]| {
            let request = Message::from_vec(bytes).unwrap();
            let mut reply = super::super::zone::reply_to(&request);
            reply.metadata.response_code = ResponseCode::NotAuth;
            reply.to_vec().unwrap()
        };
        let request = query("example.com.");
        let bytes = request.to_vec().unwrap();
        let serve_udp = async {
            let mut buffer = vec![0; 512];
            let (n, peer) = udp.recv_from(&mut buffer).await.unwrap();
            // A forged reply first: other id.
            let mut forged = reply(&buffer[..n]);
            forged[0] ^= 0xff;
            udp.send_to(&forged, peer).await.unwrap();
            udp.send_to(&reply(&buffer[..n]), peer).await.unwrap();
        };
        let (got, ()) = tokio::join!(super::super::forward::over_udp(address, &request, &bytes), serve_udp);
        let got = Message::from_vec(&got.unwrap()).unwrap();
        assert_eq!((got.metadata.id, got.metadata.response_code), (request.metadata.id, ResponseCode::NotAuth));
        let serve_tcp = async {
            let (mut stream, _) = tcp.accept().await.unwrap();
            let query = read_framed(&mut stream).await.unwrap();
            write_framed(&mut stream, &reply(&query)).await.unwrap();
        };
        let (got, ()) = tokio::join!(super::super::forward::over_tcp(address, &request, &bytes), serve_tcp);
        assert_eq!(Message::from_vec(&got.unwrap()).unwrap().metadata.response_code, ResponseCode::NotAuth);
    }

    #[tokio::test]
    async fn only_pods_and_the_host_are_answered() {
        let running = start("").await;
        let sockets = on_a_free_port();
        let zones = ZoneFile::new(running.dir.path().join("zone.json"));
        let server = Server::new(sockets, zones, "/none".into(), "10.88.0.0/16".parse().unwrap()).unwrap();
        for (client, served) in [
            ("10.88.3.4", true),
            ("10.88.0.1", true),
            ("127.0.0.1", true),
            ("192.0.2.1", false),
            ("10.89.0.1", false),
            ("::1", false),
            ("::ffff:10.88.0.2", false),
        ] {
            assert_eq!(server.shared.serves(client.parse().unwrap()), served, "{client}");
        }
    }

    /// A resolver that takes every query and answers none but those for `good.example.`
    async fn half_dead_resolver() -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let mut buffer = vec![0; 512];
            while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
                let request = Message::from_vec(&buffer[..length]).unwrap();
                if request.queries[0].name().to_string() == "good.example." {
                    let reply = super::super::zone::failure(&request, ResponseCode::NotAuth);
                    let _ = socket.send_to(&reply.to_vec().unwrap(), peer).await;
                }
            }
        });
        address
    }

    #[tokio::test]
    async fn neither_a_client_nor_a_name_takes_names_from_others() {
        let resolver = half_dead_resolver().await;
        let forwarder = Arc::new(Forwarder::to(vec![resolver]));
        let ask = |client: u8, name: String| {
            let forwarder = Arc::clone(&forwarder);
            async move {
                let request = query(&name);
                let (client, bytes) = (IpAddr::from([10, 88, 0, client]), request.to_vec().unwrap());
                let reply = forwarder.forward(client, &request, &bytes, Transport::Udp).await;
                Message::from_vec(&reply).unwrap().metadata.response_code
            }
        };
        // One pod with many names that nobody answers, and many pods with one such name.
        let mut stuck = JoinSet::new();
        for n in 0..1000_u16 {
            stuck.spawn(ask(2, format!("x{n}.dead.example.")));
            stuck.spawn(ask(u8::try_from(10 + n % 100).unwrap(), "dead.example.".into()));
        }
        // 64 of the pod and 32 of the name are on their way; the others are told so at once.
        for _ in 0..2000 - 64 - 32 {
            assert_eq!(stuck.join_next().await.unwrap().unwrap(), ResponseCode::ServFail);
        }
        assert_eq!(ask(3, "good.example.".into()).await, ResponseCode::NotAuth, "another pod, another name");
        assert_eq!(ask(10, "good.example.".into()).await, ResponseCode::NotAuth, "a pod that only asked that name");
        assert_eq!(ask(2, "good.example.".into()).await, ResponseCode::ServFail, "who took its share waits");
    }

    #[tokio::test]
    async fn one_client_cannot_hold_all_connections() {
        let running = start("").await;
        let mut held = Vec::new();
        for _ in 0..MAX_CONNECTIONS_OF_CLIENT {
            let mut stream = TcpStream::connect(running.address).await.unwrap();
            write_framed(&mut stream, &query("x.cluster.local.").to_vec().unwrap()).await.unwrap();
            read_framed(&mut stream).await.unwrap();
            held.push(stream);
        }
        let mut more = TcpStream::connect(running.address).await.unwrap();
        assert!(read_framed(&mut more).await.is_err(), "closed at once");
        let other = tokio::net::TcpSocket::new_v4().unwrap();
        other.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        let mut other = other.connect(running.address).await.unwrap();
        write_framed(&mut other, &query("x.cluster.local.").to_vec().unwrap()).await.unwrap();
        assert!(read_framed(&mut other).await.is_ok(), "another client has its own");
    }
}
