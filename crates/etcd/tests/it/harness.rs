//! Real etcds and servers of this crate, each with a folder and ports of its own, gone at the end of the test.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use etcd::{Access, Alone, Endpoints, EtcdBackend, EtcdServer, serve};
use keyspace::{Cluster, Keyspace};
use tempfile::TempDir;
use tokio_util::sync::{CancellationToken, DropGuard};

/// How long a program may take to serve.
const PATIENCE: Duration = Duration::from_secs(60);

/// A real etcd of one member.
pub struct Etcd {
    process: Child,
    address: SocketAddr,
    // Removed after the process has ended.
    _dir: Option<TempDir>,
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

impl Etcd {
    /// A fresh one.
    pub fn start() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let mut etcd = Self::start_in(&dir.path().join("data"));
        etcd._dir = Some(dir);
        etcd
    }

    /// One on the data of a folder.
    pub fn start_in(data: &Path) -> Self {
        let (port, peer) = (free_port(), format!("http://127.0.0.1:{}", free_port()));
        let client = format!("http://127.0.0.1:{port}");
        let mut command = Command::new("etcd");
        command.args(["--name", "default", "--log-level", "error"]).arg("--data-dir").arg(data);
        command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        command.args(["--initial-cluster", &format!("default={peer}")]);
        let process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let process = process.expect("Debian's etcd-server is installed");
        Etcd { process, address: SocketAddr::from(([127, 0, 0, 1], port)), _dir: None }
    }

    /// Where clients reach it.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A keyspace on what serves there.
pub async fn backend(address: SocketAddr) -> Arc<EtcdBackend> {
    let endpoints = || Endpoints::parse(&format!("http://{address}"), None).expect("an endpoint");
    let connected = async {
        loop {
            match EtcdBackend::connect(endpoints()).await {
                Ok(backend) => return backend,
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    };
    tokio::time::timeout(PATIENCE, connected).await.expect("it serves in time")
}

/// A server of `keyspace` on loopback, in clear, until the guard is dropped.
pub async fn server(keyspace: Arc<dyn Keyspace>) -> (SocketAddr, DropGuard) {
    face_at(SocketAddr::from(([127, 0, 0, 1], 0)), keyspace, 77).await
}

/// The same at an address, once it is free, as cluster `id`.
pub async fn face_at(address: SocketAddr, keyspace: Arc<dyn Keyspace>, id: u64) -> (SocketAddr, DropGuard) {
    let cluster: Arc<dyn Cluster> = Arc::new(Alone::new(keyspace.clone(), id, "default"));
    let bound = async {
        loop {
            match tokio::net::TcpListener::bind(address).await {
                Ok(listener) => return listener,
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    };
    let listener = tokio::time::timeout(PATIENCE, bound).await.expect("the address is free in time");
    let address = listener.local_addr().expect("an address");
    let server = EtcdServer::open(keyspace, cluster, &format!("http://{address}"), &std::env::temp_dir())
        .await
        .expect("a server");
    let stop = CancellationToken::new();
    tokio::spawn(serve(server, listener, Access::Loopback, stop.clone()));
    (address, stop.drop_guard())
}
