//! Measures a replica: `cargo run --release -p replica --example measure -- DIR [SECONDS]`. Prints the time to open,
//! puts per second and latencies at several numbers of writers, reads, and resident memory. DIR is filled and kept.

use std::sync::Arc;
use std::time::{Duration, Instant};

use keyspace::{Keyspace, KeyspaceExt, RangeRequest};
use prometheus_client::registry::Registry;
use replica::{Config, Replica};

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let dir = arguments.next().ok_or("name a directory")?;
    let seconds: u64 = arguments.next().map_or(Ok(3), |seconds| seconds.parse())?;
    let began = Instant::now();
    let replica = Replica::open(Config::new(&dir), &mut Registry::default()).await?;
    println!("open            {:>10.1} ms   rss {} kB", began.elapsed().as_secs_f64() * 1e3, resident()?);
    for writers in [1, 64, 512] {
        let mut times = puts(&replica, writers, Duration::from_secs(seconds)).await?;
        times.sort_unstable();
        let at = |part: usize| times[(times.len() - 1) * part / 100].as_secs_f64() * 1e3;
        let rate = times.len() as f64 / seconds as f64;
        println!("put x{writers:<4} {rate:>12.0} /s    p50 {:.2} ms  p99 {:.2} ms", at(50), at(99));
    }
    for limit in [1, 1_000] {
        let began = Instant::now();
        let mut reads = 0u32;
        while began.elapsed() < Duration::from_secs(seconds) {
            replica.range(RangeRequest { skip_count: true, ..RangeRequest::prefix("k/").limit(limit) }).await?;
            reads += 1;
        }
        println!("range {limit:<5} {:>12.0} /s", f64::from(reads) / began.elapsed().as_secs_f64());
    }
    let status = replica.status().await?;
    println!("revision {}   state {} kB   rss {} kB", status.revision, status.size_bytes / 1024, resident()?);
    Ok(replica.shutdown().await?)
}

/// Puts values of 256 bytes from several tasks at once; the time of each.
async fn puts(replica: &Arc<Replica>, writers: u64, time: Duration) -> Result<Vec<Duration>, Failure> {
    let until = Instant::now() + time;
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..writers {
        let replica = replica.clone();
        tasks.spawn(async move {
            let mut times = Vec::new();
            while Instant::now() < until {
                let key = format!("k/{writer:04}/{:06}", times.len());
                let began = Instant::now();
                replica.put(key, vec![b'v'; 256]).await?;
                times.push(began.elapsed());
            }
            Ok::<_, keyspace::Error>(times)
        });
    }
    let mut all = Vec::new();
    while let Some(times) = tasks.join_next().await {
        all.extend(times??);
    }
    Ok(all)
}

/// Resident memory in kB.
fn resident() -> Result<u64, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS in /proc/self/status")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
