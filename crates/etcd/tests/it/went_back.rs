//! An etcd cluster that was restored while servers follow it.

use std::sync::Arc;

use keyspace::testing::{events_until, next};
use keyspace::{KeyRange, Keyspace, KeyspaceExt, MemoryKeyspace, WatchRequest};

use crate::harness::{backend, face_at, server};

async fn filled(puts: usize) -> Arc<MemoryKeyspace> {
    let keyspace = Arc::new(MemoryKeyspace::new());
    for n in 0..puts {
        keyspace.put(format!("k{n}"), "x").await.expect("put");
    }
    keyspace
}

/// Whoever follows has to read anew, and is told so: where revisions went back, and where they only seem to go on.
#[tokio::test(flavor = "multi_thread")]
async fn a_restored_cluster_ends_every_watch() {
    for puts in [3, 40] {
        // On threads of its own, which end as those of a process do: with everything that is open.
        let process = tokio::runtime::Runtime::new().expect("threads");
        let served = process.spawn(async { server(filled(20).await).await }).await;
        let (address, _stop) = served.expect("serves");
        let subject = backend(address).await;
        let mut watch = subject.watch(WatchRequest::new(KeyRange::all(), 0)).await.expect("watch");
        process.shutdown_background();
        let (_, _stop) = face_at(address, filled(puts).await, 78).await;
        let ended = next(&mut watch).await.expect_err("what it follows is gone");
        let newest = puts as u64 + 1;
        assert_eq!(ended.compacted(), Some(newest));
        let mut again = subject.watch(WatchRequest::new(KeyRange::all(), 0)).await.expect("watch");
        let written = subject.put("after", "x").await.expect("put");
        assert_eq!(written, newest + 1);
        assert_eq!(events_until(&mut again, written).await.len(), 1);
    }
}
