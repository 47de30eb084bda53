//! One member of the keyspace as a process of its own, for tests that kill, stop and cut off processes.
//!
//! ```text
//!   member ID DIR CLIENTS PEERS [CLUSTER]
//! ```
//!
//! Clients are served at `CLIENTS`, other members at `PEERS`; with `CLUSTER` it waits to be taken into that one. It prints
//! the address for clients once it serves, and ends when its standard input does. Members say who they are and nobody
//! proves it: what is tested here is not TLS.

mod plain;

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use keyspace::{Keyspace, WatchRequest};
use keyspace_sim::ask;
use keyspace_sim::wire::{Answer, Call, receive, send};
use prometheus_client::registry::Registry;
use replica::{Config, Peer, Replica, Start};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

use crate::plain::Plain;

/// How often a watcher without events is told how far it is.
const PROGRESS: Duration = Duration::from_millis(100);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (id, dir, clients, peers, start) = match &words[..] {
        [id, dir, clients, peers] => (id.parse()?, dir, clients, peers, Start::Form),
        [id, dir, clients, peers, cluster] => {
            (id.parse()?, dir, clients, peers, Start::Join { cluster_id: cluster.parse()? })
        }
        _ => return Err("usage: member ID DIR CLIENTS PEERS [CLUSTER]".into()),
    };
    let transport = Plain::new(id, TcpListener::bind(peers).await?);
    let peer = Peer { address: transport.address()?, name: format!("member{id}"), ..Peer::default() };
    // All history is kept: it is what clients are judged by.
    let config = Config { node_id: id, peer, start, keep_revisions: 0, ..Config::new(dir) };
    let replica = Replica::open_with(config, Some(Arc::new(transport)), &mut Registry::default()).await?;
    let listener = TcpListener::bind(clients).await?;
    println!("{}", listener.local_addr()?);
    let mut input = tokio::io::stdin();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted?;
                stream.set_nodelay(true)?;
                #[expect(clippy::disallowed_methods, reason = "ends with the process, which is killed")]
                tokio::spawn(serve(replica.clone(), stream));
            }
            // Whoever started it is gone.
            _ = input.read_u8() => return Ok(()),
        }
    }
}

async fn serve(keyspace: Arc<Replica>, mut stream: TcpStream) {
    // A connection that ends is the client's way to say goodbye.
    while let Ok(call) = receive::<Call>(&mut stream).await {
        let answer = match call {
            Call::Ask { request, stale } => match ask::ask(keyspace.as_ref(), &request, stale).await {
                Ok(response) => Answer::Done(response),
                Err(error) if ask::refused(&error) => Answer::Refused(error.to_string()),
                Err(error) => Answer::Unknown(error.to_string()),
            },
            Call::Status => match keyspace.status().await {
                Ok(status) => Answer::Status(status, keyspace.cluster_id()),
                Err(error) => Answer::Refused(error.to_string()),
            },
            Call::Change(change) => match keyspace.cluster().change(change).await {
                Ok(()) => Answer::Changed,
                Err(error) => Answer::Unknown(error.to_string()),
            },
            Call::Watch { range, from } => {
                let request = WatchRequest::new(range, from).with_prev().with_progress(PROGRESS);
                return watch(keyspace, request, stream).await;
            }
        };
        if send(&mut stream, &answer).await.is_err() {
            return;
        }
    }
}

async fn watch(keyspace: Arc<Replica>, request: WatchRequest, mut stream: TcpStream) {
    let mut batches = match keyspace.watch(request).await {
        Ok(batches) => batches,
        Err(error) => return drop(send(&mut stream, &Answer::Refused(error.to_string())).await),
    };
    while let Some(batch) = batches.next().await {
        let (answer, ends) = match batch {
            Ok(batch) => (Answer::Batch { revision: batch.revision, events: batch.events }, false),
            Err(error) => (Answer::Refused(error.to_string()), true),
        };
        if send(&mut stream, &answer).await.is_err() || ends {
            return;
        }
    }
}
