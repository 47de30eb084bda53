//! Serves a keyspace to etcd's clients on a loopback address, in clear, until it is killed:
//! `cargo run --release -p etcd --example serve -- ADDRESS:PORT [DIR]`. Without DIR the keyspace is in memory.
//! Prints `ready` when it serves.

use std::sync::Arc;

use etcd::{Access, Alone, Face, serve};
use keyspace::{Cluster, Keyspace, MemoryKeyspace};
use prometheus_client::registry::Registry;
use replica::{Config, Replica};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().ok_or("name an address")?;
    let keyspace: Arc<dyn Keyspace> = match arguments.next() {
        None => Arc::new(MemoryKeyspace::new()),
        Some(dir) => {
            let config = Config { keep_revisions: 0, ..Config::new(dir) };
            Replica::open(config, &mut Registry::default()).await?
        }
    };
    let cluster: Arc<dyn Cluster> = Arc::new(Alone::new(keyspace.clone(), 0x6e61_6e6f, "default"));
    let listener = TcpListener::bind(&address).await?;
    let url = format!("http://{}", listener.local_addr()?);
    let face = Face::open(keyspace, cluster, &url, &std::env::temp_dir()).await?;
    println!("ready");
    Ok(serve(face, listener, Access::Loopback, CancellationToken::new()).await?)
}
