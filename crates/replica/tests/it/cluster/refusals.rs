//! Who is no member, is another one, or cannot prove it, is told so and let nowhere.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use keyspace::{Member, MemberChange};
use prometheus_client::registry::Registry;
use replica::{Error, Rejection, Replica, Start, TlsTransport, Transport};
use trust::{Authority, Identity, member};

use super::harness::*;

async fn transport(authority: &Authority, identity: &Identity) -> Arc<TlsTransport> {
    Arc::new(TlsTransport::new(listen(None).await, authority, identity).expect("TLS"))
}

/// What comes of connecting with that certificate to a member, as far as the first byte.
async fn connect(transport: &TlsTransport, to: u64, address: &str) -> String {
    let tried = async {
        let mut stream = transport.connect(to, address).await?;
        tokio::io::AsyncReadExt::read_u8(&mut stream).await
    };
    tokio::time::timeout(SOON, tried).await.expect("in time").expect_err("refused").to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_are_asked_for_and_must_be_right() {
    let world = World::new();
    let first = world.first().await;
    let (address, now) = (first.address.to_string(), Timestamp::now());
    let year = member::LIFETIME;

    let stranger = authority();
    let identity = member::issue(&stranger, 2, year, now).expect("a certificate");
    let refused = connect(&*transport(&stranger, &identity).await, 1, &address).await;
    assert!(refused.contains("UnknownIssuer") || refused.contains("BadSignature"), "another authority: {refused}");

    let mine = member::issue(&world.authority, 2, year, now).expect("a certificate");
    let refused = connect(&*transport(&world.authority, &mine).await, 3, &address).await;
    assert!(refused.contains("not valid for name"), "another member answers: {refused}");

    let old = Authority::generate("old-ca", now.checked_sub(Duration::from_secs(86_400)).expect("a time"));
    let (old, key) = old.expect("an authority");
    let early = old.info().not_before;
    let expired = member::issue(&old, 2, Duration::from_secs(60), early).expect("a certificate");
    let listener = listen(None).await;
    let old_address = listener.local_addr().expect("an address").to_string();
    let fresh = member::issue(&old, 1, year, now).expect("a certificate");
    let serving = Arc::new(TlsTransport::new(listener, &old, &fresh).expect("TLS"));
    let accepting = tokio::spawn(async move { serving.accept().await.expect("listens").await.map(drop) });
    let refused = connect(&*transport(&old, &expired).await, 1, &old_address).await;
    assert!(refused.contains("CertificateExpired"), "{refused}");
    let said = accepting.await.expect("ends").expect_err("refused").to_string();
    assert!(said.contains("expired") || said.contains("Expired"), "{said}");
    drop(key);
    stop(first).await;
}

/// Starts a member with that identity and cluster, knowing member 1, and answers what it is told.
async fn told(world: &World, first: &Node, id: u64, proved: u64, cluster_id: u64) -> Rejection {
    let identity = member::issue(&world.authority, proved, member::LIFETIME, Timestamp::now()).expect("a certificate");
    let transport = transport(&world.authority, &identity).await;
    let hello = replica::probe(&*transport, (id, cluster_id), (1, &first.address.to_string())).await;
    hello.expect("an answer").expect_err("refused")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claims_must_agree_with_the_certificate_and_the_cluster() {
    let world = World::new();
    let first = world.first().await;
    let ours = first.replica.cluster_id();
    assert_eq!(told(&world, &first, 3, 2, ours).await, Rejection::Identity { claimed: 3, proved: 2 });
    assert_eq!(told(&world, &first, 2, 2, 7).await, Rejection::Cluster { id: 1, theirs: 7, ours });
    assert_eq!(told(&world, &first, 1, 1, ours).await, Rejection::Duplicate { id: 1 });
    stop(first).await;
}

/// A copy of a member's state is noticed while the member runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_process_of_one_identity_is_refused() {
    let world = World::new();
    let nodes = world.three().await;
    let copy = tempfile::TempDir::new().expect("a directory");
    let twin = World { authority: authority(), faults: world.faults.clone(), root: copy, timing: timing() };
    let identity = member::issue(&world.authority, 2, member::LIFETIME, Timestamp::now()).expect("a certificate");
    let transport = transport(&world.authority, &identity).await;
    let cluster_id = nodes[0].replica.cluster_id();
    for other in [&nodes[0], &nodes[2]] {
        let told = replica::probe(&*transport, (2, cluster_id), (other.id, &other.address.to_string())).await;
        assert_eq!(told.expect("an answer"), Err(Rejection::Duplicate { id: 2 }));
    }
    drop(twin);
    for node in nodes {
        stop(node).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_addresses_and_directories_are_unique() {
    let world = World::new();
    let first = world.first().await;
    let cluster = first.replica.cluster();
    let member = |id, name: &str, address: &str| {
        MemberChange::Add(Member { id, name: name.into(), peer_address: address.into(), api_url: String::new() })
    };
    cluster.change(member(2, "two", "127.0.0.1:1")).await.expect("a learner that is not there yet");
    cluster.change(member(2, "two", "127.0.0.1:1")).await.expect("twice is once");
    assert!(cluster.change(member(3, "two", "127.0.0.1:2")).await.is_err(), "the name is taken");
    assert!(cluster.change(member(3, "three", "127.0.0.1:1")).await.is_err(), "the address is taken");
    assert!(cluster.change(MemberChange::Lead { id: 2 }).await.is_err(), "it has no vote");
    assert!(cluster.change(MemberChange::Promote { id: 9 }).await.is_err(), "nobody");
    let address = first.address;
    drop(cluster);
    stop(first).await;
    let config = world.config(1, address, Start::Join { cluster_id: 5 });
    let refused = Replica::open(config, &mut Registry::default()).await;
    assert!(matches!(refused, Err(Error::Cluster { configured: 5, .. })), "{refused:?}");
}
