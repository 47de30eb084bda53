//! Every member serves, as long as there is a majority.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::StreamExt;
use keyspace::testing::{contract, events_until};
use keyspace::{Error, KeyRange, Keyspace, KeyspaceExt, RangeRequest, WatchRequest};
use replica::Start;

use super::harness::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_member_reads_and_writes() {
    let world = World::new();
    let nodes = world.three().await;
    for round in 0..5 {
        for writer in &nodes {
            let value = format!("{round} by {}", writer.id);
            writer.replica.put("k", value.clone()).await.expect("put");
            for reader in &nodes {
                let kv = reader.replica.get("k").await.expect("get").expect("there");
                assert_eq!(kv.value, value, "read by {} what {} wrote", reader.id, writer.id);
            }
        }
    }
    let newest = nodes[0].replica.status().await.expect("status").revision;
    for node in &nodes {
        let mut watch = node.replica.watch(WatchRequest::new(KeyRange::all(), 2)).await.expect("watch");
        let revisions: Vec<u64> =
            events_until(&mut watch, newest).await.iter().map(|event| event.kv.mod_revision).collect();
        assert!(revisions.is_sorted_by(|a, b| a < b) && revisions.last() == Some(&newest), "{revisions:?}");
    }
    for node in nodes {
        stop(node).await;
    }
}

/// The keyspace's promises hold for a member that does not lead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_keeps_the_contract() {
    let world = World::new();
    let nodes = world.three().await;
    let leader = leader(&nodes[0]).await;
    let follower = nodes.iter().find(|node| node.id != leader).expect("a follower").replica.clone();
    // Before any other lease there is.
    contract::leases_expire(follower.clone()).await;
    contract::one_swap_wins(follower.clone()).await;
    contract::writers_get_distinct_revisions(follower.clone()).await;
    contract::keep_alive_keeps(follower.clone()).await;
    drop(follower);
    for node in nodes {
        stop(node).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leaders_death_is_survived_and_nothing_acknowledged_is_lost() {
    let world = World::new();
    let mut nodes = world.three().await;
    for n in 0..50 {
        nodes[n % 3].replica.put(format!("before/{n:02}"), "x").await.expect("put");
    }
    let lease = nodes[0].replica.lease_grant(0, 3_600).await.expect("grant");
    let dead = leader(&nodes[0]).await;
    let position = nodes.iter().position(|node| node.id == dead).expect("it is one of them");
    let dead = nodes.remove(position);
    let address = dead.address;
    let id = dead.id;
    stop(dead).await;
    // A request in the election waits for the new leader instead of failing.
    for node in &nodes {
        node.replica.put(format!("after/{}", node.id), "x").await.expect("put");
    }
    for node in &nodes {
        let found = node.replica.range(RangeRequest::prefix("")).await.expect("range");
        assert_eq!(found.count, 52);
        let info = node.replica.lease_time_to_live(lease.id).await.expect("the lease lives");
        assert!(info.remaining_ms > 3_500_000, "{info:?}");
    }
    let back = world.start(id, replica::Start::Form, Some(address)).await;
    assert_eq!(back.replica.range(RangeRequest::prefix("")).await.expect("range").count, 52, "it catches up");
    nodes.push(back);
    for node in nodes {
        stop(node).await;
    }
}

/// It may lack what the others made durable and a crash took from it: its old term is over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_restarts_has_to_be_elected_again() {
    let world = World::new();
    let mut nodes = world.three().await;
    nodes[0].replica.put("k", "x").await.expect("put");
    let led = leader(&nodes[0]).await;
    nodes.sort_by_key(|node| node.id == led);
    let term = nodes[2].replica.status().await.expect("status").term;
    let addresses: Vec<_> = nodes.iter().map(|node| (node.id, node.address)).collect();
    for node in nodes {
        stop(node).await;
    }

    let back = world.start(led, Start::Form, Some(addresses[2].1)).await;
    let alone = back.replica.status().await.expect("status");
    assert_ne!(alone.leader, Some(led), "nobody elected it");
    let mut nodes = vec![back];
    for (id, address) in &addresses[..2] {
        nodes.push(world.start(*id, Start::Form, Some(*address)).await);
    }
    until("a majority elects", || async { nodes[0].replica.put("k", "y").await.ok() }).await;
    for node in &nodes {
        assert_eq!(node.replica.get("k").await.expect("get").expect("there").value, "y");
        let now = node.replica.status().await.expect("status").term;
        assert!(now > term, "term {now} after {term}");
    }
    for node in nodes {
        stop(node).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_minority_refuses_and_heals() {
    let world = World::new();
    let nodes = world.three().await;
    nodes[0].replica.put("k", "before").await.expect("put");
    let cut_off = leader(&nodes[0]).await;
    let (minority, majority): (Vec<_>, Vec<_>) = nodes.iter().partition(|node| node.id == cut_off);
    let majority_ids: Vec<u64> = majority.iter().map(|node| node.id).collect();
    world.faults.part(&[cut_off], &majority_ids);
    // The former leader notices by itself; until then a write may be under way, of which nothing is known.
    let write = minority[0].replica.put("k", "minority").await.expect_err("no majority");
    assert!(matches!(write, Error::NoLeader { .. } | Error::Unavailable { .. }), "{write:?}");
    let read = minority[0].replica.get("k").await.expect_err("no majority");
    assert!(matches!(read, Error::NoLeader { .. }), "{read:?}");
    let write = minority[0].replica.put("k", "minority").await.expect_err("no majority");
    assert!(matches!(write, Error::NoLeader { .. }), "by now it is known that nothing was done: {write:?}");
    majority[0].replica.put("k", "majority").await.expect("put");
    let serializable = RangeRequest { serializable: true, ..RangeRequest::key("k") };
    assert_eq!(minority[0].replica.range(serializable).await.expect("local").kvs[0].value, "before");
    world.faults.heal();
    let value = until("it takes part again", || async { minority[0].replica.get("k").await.ok().flatten() }).await;
    assert_eq!(value.value, "majority");
    minority[0].replica.put("k", "healed").await.expect("put");
    for node in nodes {
        stop(node).await;
    }
}

/// A write that no majority takes never ends, and holds nobody up. Its fate is unknown: the others may have it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_without_a_majority_can_be_shut_down() {
    let world = World::new();
    let mut nodes = world.three().await;
    let leads = leader(&nodes[0]).await;
    let (leads, others) = (nodes.remove(leads as usize - 1), nodes);
    let before = leads.replica.status().await.expect("status").log_index;
    world.faults.part(&[leads.id], &others.iter().map(|node| node.id).collect::<Vec<_>>());
    let replica = leads.replica.clone();
    let write = tokio::spawn(async move { replica.put("k", "alone").await });
    until("it is in the log", || async {
        leads.replica.status().await.is_ok_and(|status| status.log_index > before).then_some(())
    })
    .await;
    tokio::time::timeout(SOON, leads.replica.shutdown()).await.expect("in time").expect("a clean end");
    let fate = write.await.expect("no panic").expect_err("no majority");
    assert!(matches!(fate, Error::Unavailable { .. }), "{fate:?}");
    for node in others {
        stop(node).await;
    }
}

/// From one member to three and back to another leader, while clients write and read through all of them: no request
/// fails, and no acknowledged one is missing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn growing_and_handing_over_fails_no_request() {
    let world = World::patient();
    let first = world.first().await;
    let stopping = Arc::new(AtomicBool::new(false));
    let client = |name: &'static str, replica: Arc<replica::Replica>| {
        let stopping = stopping.clone();
        tokio::spawn(async move {
            let mut done = 0;
            while !stopping.load(Ordering::SeqCst) {
                let key = format!("{name}/{done:05}");
                replica.put(key.clone(), "x").await.unwrap_or_else(|error| panic!("put {key}: {error}"));
                let kv = replica.get(key.clone()).await.unwrap_or_else(|error| panic!("get {key}: {error}"));
                assert!(kv.is_some(), "{key} is not read after it was written");
                done += 1;
            }
            (name, done)
        })
    };
    let mut clients = vec![client("one", first.replica.clone())];
    let second = world.join(&first, 2).await;
    let third = world.join(&first, 3).await;
    voters(&first, &[1, 2, 3]).await;
    clients.push(client("two", second.replica.clone()));
    clients.push(client("three", third.replica.clone()));
    for id in [2, 3, 1] {
        // Whoever is asked passes it on to the leader.
        second.replica.cluster().change(keyspace::MemberChange::Lead { id }).await.expect("hands over");
        assert_eq!(leader(&first).await, id);
    }
    stopping.store(true, Ordering::SeqCst);
    for client in clients {
        let (name, done) = client.await.expect("no request failed");
        assert!(done > 0);
        for node in [&first, &second, &third] {
            let found = node.replica.range(RangeRequest::prefix(format!("{name}/"))).await.expect("range");
            assert_eq!(found.count, done, "{name} on {}", node.id);
        }
    }
    let mut leads = Box::pin(first.replica.leads());
    assert_eq!(leads.next().await, Some(true));
    for node in [first, second, third] {
        stop(node).await;
    }
}
