//! The `etcd-client` crate, unchanged, on a real etcd and on nanocloud's server: what it is answered must be the same.
//!
//! `etcd-client-check ETCD FACE`, each an address of a fresh server in clear; `make etcd-client` runs it.

use std::process::ExitCode;
use std::time::Duration;

use etcd_client::*;

/// Longest for everything on one server.
const PATIENCE: Duration = Duration::from_secs(60);

/// What was asked, and what was answered, without what differs by nature.
type Told = Vec<String>;

fn pairs(kvs: &[KeyValue]) -> Result<Vec<String>, Error> {
    kvs.iter()
        .map(|kv| Ok(format!("{}={} v{} @{}", kv.key_str()?, kv.value_str()?, kv.version(), kv.mod_revision())))
        .collect()
}

async fn keys_and_values(client: &mut Client, told: &mut Told) -> Result<(), Error> {
    for (key, value) in [("k/b", "1"), ("k/a", "2"), ("k/c", "3"), ("other", "4")] {
        client.put(key, value, None).await?;
    }
    let put = client.put("k/a", "5", Some(PutOptions::new().with_prev_key())).await?;
    told.push(format!("put: before {:?}", put.prev_key().map(|kv| kv.value_str().map(str::to_owned)).transpose()?));
    let before = put.header().map_or(0, ResponseHeader::revision) - 1;
    let options = [
        ("all", GetOptions::new().with_prefix()),
        ("values, descending", GetOptions::new().with_prefix().with_sort(SortTarget::Value, SortOrder::Descend)),
        ("two of them", GetOptions::new().with_prefix().with_limit(2)),
        ("keys", GetOptions::new().with_prefix().with_keys_only()),
        ("count", GetOptions::new().with_prefix().with_count_only()),
        ("before", GetOptions::new().with_prefix().with_revision(before)),
        ("serializable", GetOptions::new().with_prefix().with_serializable()),
        ("from", GetOptions::new().with_from_key()),
    ];
    for (what, options) in options {
        let got = client.get("k/", Some(options)).await?;
        told.push(format!("get {what}: {:?} of {}, more {}", pairs(got.kvs())?, got.count(), got.more()));
    }
    let future = client.get("k/a", Some(GetOptions::new().with_revision(1_000_000))).await;
    told.push(format!("get of the future: {:?}", future.map(|_| ()).map_err(|error| error.to_string())));
    let gone = client.delete("k/", Some(DeleteOptions::new().with_prefix().with_prev_key())).await?;
    told.push(format!("delete: {} {:?}", gone.deleted(), pairs(gone.prev_kvs())?));
    Ok(())
}

async fn transactions(client: &mut Client, told: &mut Told) -> Result<(), Error> {
    for round in 0..2 {
        let txn = Txn::new()
            .when([Compare::version("t", CompareOp::Equal, 0), Compare::value("other", CompareOp::Equal, "4")])
            .and_then([TxnOp::put("t", "first", None), TxnOp::get("t", None)])
            .or_else([TxnOp::delete("t", None), TxnOp::get("t", None)]);
        let done = client.txn(txn).await?;
        told.push(format!("txn {round}: {} with {} answers", done.succeeded(), done.op_responses().len()));
    }
    let twice = Txn::new().and_then([TxnOp::put("t", "1", None), TxnOp::put("t", "2", None)]);
    let refused = client.txn(twice).await;
    told.push(format!("txn with a key twice: {:?}", refused.map(|_| ()).map_err(|error| error.to_string())));
    Ok(())
}

async fn watches(client: &mut Client, told: &mut Told) -> Result<(), Error> {
    let first = client.put("w/1", "a", None).await?.header().map_or(0, ResponseHeader::revision);
    client.put("w/2", "b", None).await?;
    client.delete("w/1", None).await?;
    let options = WatchOptions::new().with_prefix().with_start_revision(first).with_prev_key();
    let mut stream = client.watch("w/", Some(options)).await?;
    client.put("w/2", "c", None).await?;
    let mut seen = 0;
    while seen < 4 {
        let message = stream.message().await?.ok_or(Error::WatchError("it ended".into()))?;
        for event in message.events() {
            let kv = |kv: Option<&KeyValue>| kv.map_or(Ok(vec![]), |kv| pairs(std::slice::from_ref(kv)));
            told.push(format!(
                "watch: {:?} {:?} before {:?}",
                event.event_type(),
                kv(event.kv())?,
                kv(event.prev_kv())?
            ));
            seen += 1;
        }
    }
    stream.request_progress().await?;
    let progress = stream.message().await?.ok_or(Error::WatchError("it ended".into()))?;
    told.push(format!("progress: {} events", progress.events().len()));
    Ok(())
}

async fn leases(client: &mut Client, told: &mut Told) -> Result<(), Error> {
    let id = client.lease_grant(600, None).await?.id();
    client.put("l", "x", Some(PutOptions::new().with_lease(id))).await?;
    let (mut keeper, mut kept) = client.lease_keep_alive(id).await?;
    keeper.keep_alive().await?;
    told.push(format!("lease: kept for {:?}", kept.message().await?.map(|answer| answer.ttl())));
    let info = client.lease_time_to_live(id, Some(LeaseTimeToLiveOptions::new().with_keys())).await?;
    told.push(format!("lease: granted {}, {} keys", info.granted_ttl(), info.keys().len()));
    told.push(format!("leases: {}", client.leases().await?.leases().len()));
    client.lease_revoke(id).await?;
    told.push(format!("revoked: {} keys", client.get("l", None).await?.count()));
    let unknown = client.lease_revoke(id).await;
    told.push(format!("revoked again: {:?}", unknown.map(|_| ()).map_err(|error| error.to_string())));
    Ok(())
}

async fn locks_and_elections(client: &mut Client, told: &mut Told) -> Result<(), Error> {
    let id = client.lease_grant(600, None).await?.id();
    let held = client.lock("lock", Some(LockOptions::new().with_lease(id))).await?;
    told.push(format!("lock: {}", held.key().starts_with(b"lock/")));
    client.unlock(held.key()).await?;
    let won = client.campaign("election", "one", id).await?;
    let leader = won.leader().cloned().ok_or(Error::ElectError("nobody leads".into()))?;
    client.proclaim("two", Some(ProclaimOptions::new().with_leader(leader.clone()))).await?;
    let now = client.leader("election").await?;
    told.push(format!("leader: {:?}", now.kv().map(|kv| kv.value_str().map(str::to_owned)).transpose()?));
    client.resign(Some(ResignOptions::new().with_leader(leader))).await?;
    let nobody = client.leader("election").await;
    told.push(format!("resigned: {:?}", nobody.map(|_| ()).map_err(|error| error.to_string())));
    Ok(())
}

async fn maintenance(client: &mut Client, told: &mut Told) -> Result<(), Error> {
    let now = client.put("m", "x", None).await?.header().map_or(0, ResponseHeader::revision);
    client.compact(now, Some(CompactionOptions::new().with_physical())).await?;
    let gone = client.get("m", Some(GetOptions::new().with_revision(now - 1))).await;
    told.push(format!("compacted: {:?}", gone.map(|_| ()).map_err(|error| error.to_string())));
    let status = client.status().await?;
    told.push(format!("status: leads {}, has a size {}", status.leader() != 0, status.db_size() > 0));
    told.push(format!("hash of the newest revision: {}", client.hash_kv(0).await?.hash() != 0));
    client.defragment().await?;
    let mut snapshot = client.snapshot().await?;
    let mut bytes = 0;
    while let Some(part) = snapshot.message().await? {
        bytes += part.blob().len();
    }
    told.push(format!("snapshot: not empty {}", bytes > 0));
    let members = client.member_list().await?;
    told.push(format!("members: {}", members.members().len()));
    Ok(())
}

async fn all(server: &str) -> Result<Told, Error> {
    let mut client = Client::connect([server], None).await?;
    let mut told = Told::new();
    keys_and_values(&mut client, &mut told).await?;
    transactions(&mut client, &mut told).await?;
    watches(&mut client, &mut told).await?;
    leases(&mut client, &mut told).await?;
    locks_and_elections(&mut client, &mut told).await?;
    maintenance(&mut client, &mut told).await?;
    Ok(told)
}

#[tokio::main]
async fn main() -> ExitCode {
    let servers: Vec<String> = std::env::args().skip(1).collect();
    let [etcd, server] = servers.as_slice() else {
        eprintln!("usage: etcd-client-check ETCD FACE");
        return ExitCode::from(2);
    };
    let mut both = Vec::new();
    for (name, server) in [("etcd", etcd), ("nanocloud", server)] {
        match tokio::time::timeout(PATIENCE, all(server)).await {
            Ok(Ok(told)) => both.push(told),
            Ok(Err(error)) => {
                eprintln!("{name}: {error}");
                return ExitCode::FAILURE;
            }
            Err(_) => {
                eprintln!("{name}: not done within {} s", PATIENCE.as_secs());
                return ExitCode::FAILURE;
            }
        }
    }
    let differing = both[0].iter().zip(&both[1]).filter(|(etcd, server)| etcd != server);
    for (etcd, server) in differing.clone() {
        println!("etcd:      {etcd}\nnanocloud: {server}");
    }
    let differ = differing.count() > 0 || both[0].len() != both[1].len();
    println!("{} answers compared, {}", both[0].len(), if differ { "and some differ" } else { "all equal" });
    if differ { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
