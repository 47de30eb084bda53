//! Serves a keyspace to etcd's clients on a loopback address, in clear, until it is killed:
//!
//! ```text
//!   serve ADDRESS:PORT [DIR [MEMBER PEER,PEER,... FOLDER]]
//! ```
//!
//! Without DIR the keyspace is in memory. With MEMBER it is that one, from 1, of the members that reach each other at
//! the addresses PEER, over TLS: FOLDER has their authority (`ca.pem`, `ca.key`), and there the first member tells which
//! cluster it formed. Prints `ready` when it serves.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use etcd::{Access, Alone, EtcdServer, serve};
use jiff::Timestamp;
use keyspace::{Cluster, Keyspace, Member, MemberChange, MemberRole, MemoryKeyspace};
use prometheus_client::registry::Registry;
use replica::{Config, OwnRuntime, Peer, Replica, Start, TlsTransport};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use trust::Authority;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Between looks for what another member is to do.
const PAUSE: Duration = Duration::from_millis(20);

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let own = OwnRuntime::start("keyspace", 1)?;
    let (address, served) = match words[..] {
        [address] => (address, alone(Arc::new(MemoryKeyspace::new()))),
        [address, dir] => (address, alone(own.host(Replica::open(config(dir), &mut Registry::default())).await?)),
        [address, dir, id, peers, folder] => {
            let peers: Vec<&str> = peers.split(',').collect();
            (address, own.host(member(id.parse()?, dir, &peers, Path::new(folder))).await?)
        }
        _ => return Err("usage: serve ADDRESS:PORT [DIR [MEMBER PEER,PEER,... FOLDER]]".into()),
    };
    let listener = TcpListener::bind(address).await?;
    let url = format!("http://{}", listener.local_addr()?);
    let server = EtcdServer::open(served.0, served.1, &url, &std::env::temp_dir()).await?;
    println!("ready");
    let connections = OwnRuntime::start("etcd", etcd::workers())?;
    Ok(connections.host(serve(server, listener, Access::Loopback, CancellationToken::new())).await?)
}

/// A keyspace, and the port to its members.
type Served = (Arc<dyn Keyspace>, Arc<dyn Cluster>);

fn alone(keyspace: Arc<dyn Keyspace>) -> Served {
    (keyspace.clone(), Arc::new(Alone::new(keyspace, 0x6e61_6e6f, "default")))
}

fn config(dir: &str) -> Config {
    Config { keep_revisions: 0, ..Config::new(dir) }
}

/// Opens a member; the first takes the others in.
async fn member(id: u64, dir: &str, peers: &[&str], folder: &Path) -> Result<Served, Failure> {
    let address = peers.get(usize::try_from(id - 1)?).ok_or("there is no such member")?;
    let key = std::fs::read_to_string(folder.join("ca.key"))?.into();
    let authority = Authority::from_pem(&std::fs::read_to_string(folder.join("ca.pem"))?, &key)?;
    let identity = trust::member::issue(&authority, id, trust::member::LIFETIME, Timestamp::now())?;
    let transport = Arc::new(TlsTransport::new(TcpListener::bind(address).await?, &authority, &identity)?);
    let told = folder.join("cluster");
    let start = if id == 1 { Start::Form } else { Start::Join { cluster_id: cluster_id(&told).await? } };
    let peer = Peer { address: (*address).to_owned(), name: format!("m{id}"), ..Peer::default() };
    let config = Config { node_id: id, peer, start, ..config(dir) };
    let replica = Replica::open_with(config, Some(transport), &mut Registry::default()).await?;
    let cluster = replica.cluster();
    if id == 1 && !told.exists() {
        std::fs::write(folder.join("cluster.new"), replica.cluster_id().to_string())?;
        std::fs::rename(folder.join("cluster.new"), &told)?;
        take_in(cluster.as_ref(), &peers[1..]).await;
    }
    Ok((replica, cluster))
}

/// Takes the members from the second on in, and waits until all have a vote. Whoever started this program gives up in
/// time.
async fn take_in(cluster: &dyn Cluster, peers: &[&str]) {
    for (id, peer) in (2..).zip(peers) {
        let member = Member { id, name: format!("m{id}"), peer_address: (*peer).to_owned(), api_url: String::new() };
        while let Err(error) = cluster.change(MemberChange::Add(member.clone())).await {
            eprintln!("member {id} is not taken in: {error}");
            tokio::time::sleep(PAUSE).await;
        }
    }
    while cluster.members().await.members.iter().filter(|state| state.role == MemberRole::Voter).count() <= peers.len()
    {
        tokio::time::sleep(PAUSE).await;
    }
}

/// The identity of the cluster, once the first member has told it.
async fn cluster_id(told: &Path) -> Result<u64, Failure> {
    while !told.exists() {
        tokio::time::sleep(PAUSE).await;
    }
    Ok(std::fs::read_to_string(told)?.parse()?)
}
