//! Clusters of real replicas over real TLS on loopback, whose connections can be cut.

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use keyspace::{Member, MemberChange, MemberRole};
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use replica::transport::{ByteStream, Incoming, Transport};
use replica::{Config, Peer, Replica, Start, Timing, TlsTransport};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpListener;
use trust::{Authority, member};

/// Longest for anything to become true.
pub const SOON: Duration = Duration::from_secs(60);

/// Short times, so that tests are short; long enough for two busy cores.
pub fn timing() -> Timing {
    Timing {
        heartbeat: Duration::from_millis(150),
        election_min: Duration::from_millis(400),
        election_max: Duration::from_millis(800),
    }
}

/// The network: pairs of members that are cut off from each other, and a budget of bytes after which connections break.
#[derive(Debug, Default)]
pub struct Faults {
    cut: Mutex<HashSet<(u64, u64)>>,
    /// Every connection that a member made breaks after it wrote so many bytes; 0 for never.
    pub break_after: AtomicU64,
    /// Connections broken that way.
    pub broken: AtomicU64,
}

impl Faults {
    /// Cuts all connections between the two groups.
    pub fn part(&self, one: &[u64], other: &[u64]) {
        let mut cut = self.cut.lock();
        for a in one {
            cut.extend(other.iter().flat_map(|b| [(*a, *b), (*b, *a)]));
        }
    }

    /// Connects everybody.
    pub fn heal(&self) {
        self.cut.lock().clear();
    }

    fn check(&self, from: u64, to: u64) -> io::Result<()> {
        if self.cut.lock().contains(&(from, to)) { Err(io::ErrorKind::ConnectionReset.into()) } else { Ok(()) }
    }
}

/// TLS with faults.
#[derive(Debug)]
struct Faulty {
    me: u64,
    tls: TlsTransport,
    faults: Arc<Faults>,
}

impl Transport for Faulty {
    fn connect(&self, member: u64, address: &str) -> BoxFuture<'static, io::Result<ByteStream>> {
        let (connecting, faults, me) = (self.tls.connect(member, address), self.faults.clone(), self.me);
        async move {
            faults.check(me, member)?;
            let stream = connecting.await?;
            Ok(Box::new(FaultyStream { stream, faults, pair: (me, member), written: Some(0) }) as ByteStream)
        }
        .boxed()
    }

    fn accept(&self) -> BoxFuture<'_, io::Result<Incoming>> {
        async move {
            let (incoming, faults, me) = (self.tls.accept().await?, self.faults.clone(), self.me);
            let incoming = async move {
                let (member, stream) = incoming.await?;
                faults.check(member, me)?;
                let stream = FaultyStream { stream, faults, pair: (member, me), written: None };
                Ok((member, Box::new(stream) as ByteStream))
            };
            Ok(incoming.boxed())
        }
        .boxed()
    }
}

struct FaultyStream {
    stream: ByteStream,
    faults: Arc<Faults>,
    pair: (u64, u64),
    written: Option<u64>,
}

impl AsyncRead for FaultyStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.faults.check(self.pair.0, self.pair.1)?;
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for FaultyStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.faults.check(self.pair.0, self.pair.1)?;
        let budget = self.faults.break_after.load(Ordering::SeqCst);
        if budget > 0 && self.written.is_some_and(|written| written > budget) {
            self.faults.broken.fetch_add(1, Ordering::SeqCst);
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let wrote = Pin::new(&mut self.stream).poll_write(cx, buf);
        if let (Poll::Ready(Ok(count)), Some(written)) = (&wrote, &mut self.written) {
            *written += *count as u64;
        }
        wrote
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A cluster's authority, network and directories.
pub struct World {
    pub authority: Authority,
    pub faults: Arc<Faults>,
    pub root: TempDir,
    pub timing: Timing,
}

/// A member that runs.
pub struct Node {
    pub id: u64,
    pub replica: Arc<Replica>,
    pub address: SocketAddr,
}

impl World {
    pub fn new() -> Self {
        let root = TempDir::new().expect("a directory");
        World { authority: authority(), faults: Arc::default(), root, timing: timing() }
    }

    /// One that takes its time: a busy machine makes no request fail either, if none may.
    pub fn patient() -> Self {
        let [heartbeat, election_min, election_max] = [300, 1_500, 2_500].map(Duration::from_millis);
        World { timing: Timing { heartbeat, election_min, election_max }, ..World::new() }
    }

    pub fn config(&self, id: u64, address: SocketAddr, start: Start) -> Config {
        Config {
            node_id: id,
            peer: Peer { address: address.to_string(), name: format!("node-{id}"), api_url: String::new() },
            start,
            timing: self.timing,
            ..Config::new(self.root.path().join(id.to_string()))
        }
    }

    /// Starts a member on that address, or on any.
    pub async fn start(&self, id: u64, start: Start, address: Option<SocketAddr>) -> Node {
        let identity = member::issue(&self.authority, id, member::LIFETIME, Timestamp::now()).expect("a certificate");
        let listener = listen(address).await;
        let address = listener.local_addr().expect("an address");
        let tls = TlsTransport::new(listener, &self.authority, &identity).expect("TLS");
        let transport = Arc::new(Faulty { me: id, tls, faults: self.faults.clone() });
        let config = self.config(id, address, start);
        let replica = Replica::open_with(config, Some(transport), &mut Registry::default()).await.expect("opens");
        Node { id, replica, address }
    }

    /// The first member.
    pub async fn first(&self) -> Node {
        self.start(1, Start::Form, None).await
    }

    /// Starts a member and has it taken in.
    pub async fn join(&self, through: &Node, id: u64) -> Node {
        let node = self.start(id, Start::Join { cluster_id: through.replica.cluster_id() }, None).await;
        let name = format!("node-{id}");
        let member = Member { id, name, peer_address: node.address.to_string(), api_url: String::new() };
        through.replica.cluster().change(MemberChange::Add(member)).await.expect("is taken in");
        node
    }

    /// Three voters.
    pub async fn three(&self) -> Vec<Node> {
        let first = self.first().await;
        let second = self.join(&first, 2).await;
        let third = self.join(&first, 3).await;
        let nodes = vec![first, second, third];
        voters(&nodes[0], &[1, 2, 3]).await;
        nodes
    }
}

pub fn authority() -> Authority {
    Authority::generate("test-ca", Timestamp::now()).expect("an authority").0
}

/// Listens there, once whoever was there before has let go.
pub async fn listen(address: Option<SocketAddr>) -> TcpListener {
    let address = address.unwrap_or_else(|| ([127, 0, 0, 1], 0).into());
    until("the address is free", || TcpListener::bind(address).map(Result::ok)).await
}

/// Asks until there is an answer.
pub async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let asking = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(SOON, asking).await.unwrap_or_else(|_| panic!("not in time: {what}"))
}

/// Waits until these are the voters, as that member sees it.
pub async fn voters(node: &Node, wanted: &[u64]) {
    let cluster = node.replica.cluster();
    until(&format!("the voters are {wanted:?}"), || async {
        let members = cluster.members().await.members;
        let voters = members.iter().filter(|state| state.role == MemberRole::Voter).map(|state| state.member.id);
        voters.eq(wanted.iter().copied()).then_some(())
    })
    .await;
}

/// The member that leads, as that one sees it.
pub async fn leader(node: &Node) -> u64 {
    let cluster = node.replica.cluster();
    until("there is a leader", || async { cluster.members().await.leader }).await
}

/// Shuts down and waits until the directory is free.
pub async fn stop(node: Node) {
    let closed = node.replica.closed();
    node.replica.shutdown().await.expect("a clean end");
    drop(node.replica);
    tokio::time::timeout(SOON, closed).await.expect("the directory is free");
}
