//! Measures how a replica does as it grows: `cargo run --release -p replica --example grow -- DIR [KEYS]`. Fills DIR, in
//! steps of ten times up to KEYS (a million), with values of 256 bytes that do not compress. Prints for each step what
//! a put costs, memory and disk; at the end how long a snapshot and opening again take. DIR is kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt;
use keyspace::testing::Random;
use keyspace::{Keyspace, KeyspaceExt};
use prometheus_client::registry::Registry;
use replica::{Config, Replica};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const WRITERS: u64 = 64;
/// Puts over which a step is measured, at its end.
const MEASURED: u64 = 20_000;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let dir = arguments.next().ok_or("name a directory")?;
    let keys: u64 = arguments.next().map_or(Ok(1_000_000), |keys| keys.parse())?;
    let replica = Replica::open(Config::new(&dir), &mut Registry::default()).await?;
    println!("{:>9} {:>10} {:>10} {:>8} {:>8}", "keys", "put us", "put cpu us", "rss MB", "disk MB");
    let (mut there, mut step) = (0, keys.min(10_000));
    while step <= keys {
        fill(&replica, there, step.saturating_sub(MEASURED)).await?;
        let from = there.max(step.saturating_sub(MEASURED));
        let (began, used) = (Instant::now(), cpu()?);
        fill(&replica, from, step).await?;
        let puts = (step - from) as f64;
        let (took, used) = (began.elapsed().as_secs_f64() * 1e6 / puts, (cpu()? - used).as_secs_f64() * 1e6 / puts);
        let size = replica.status().await?.size_bytes / 1_000_000;
        println!("{step:>9} {took:>10.1} {used:>10.1} {:>8} {size:>8}", resident()? / 1000);
        (there, step) = (step, step * 10);
    }
    let (began, mut bytes) = (Instant::now(), 0);
    let mut pieces = replica.snapshot().await?;
    while let Some(piece) = pieces.next().await {
        bytes += piece?.len();
    }
    println!("snapshot {} MB in {:.2} s", bytes / 1_000_000, began.elapsed().as_secs_f64());
    drop(pieces);
    let closed = replica.closed();
    replica.shutdown().await?;
    drop(replica);
    closed.await;
    let began = Instant::now();
    let replica = Replica::open(Config::new(&dir), &mut Registry::default()).await?;
    replica.get(key(keys / 2)).await?.ok_or("a key is gone")?;
    println!("opened and read in {:.0} ms, rss {} MB", began.elapsed().as_secs_f64() * 1e3, resident()? / 1000);
    Ok(replica.shutdown().await?)
}

fn key(n: u64) -> String {
    // Spread, as names are: not in the order they are made in.
    format!("/registry/things/{:016x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// Puts keys `from..to` from several tasks.
async fn fill(replica: &Arc<Replica>, from: u64, to: u64) -> Result<(), Failure> {
    let next = Arc::new(AtomicU64::new(from));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..WRITERS {
        let (replica, next) = (replica.clone(), next.clone());
        tasks.spawn(async move {
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= to {
                    return Ok::<_, keyspace::Error>(());
                }
                let mut random = Random::new(n);
                let value: Vec<u8> = (0..256).map(|_| random.below(256) as u8).collect();
                replica.put(key(n), value).await?;
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}

/// Processor time of this process so far.
fn cpu() -> Result<Duration, Failure> {
    let times = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF)?;
    let of = |time: nix::sys::time::TimeVal| {
        let micros = time.tv_sec() * 1_000_000 + time.tv_usec();
        Duration::from_micros(u64::try_from(micros).unwrap_or(0))
    };
    Ok(of(times.user_time()) + of(times.system_time()))
}

/// Resident memory in kB.
fn resident() -> Result<u64, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS in /proc/self/status")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
