//! What is measured. Servers take turns in every round; the table gets medians over the rounds.

use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::task::JoinSet;

use crate::Failure;
use crate::client::Client;
use crate::servers::Server;
use crate::table::{Table, Target};

/// Bytes of every value.
const VALUE_BYTES: usize = 256;
/// Most connections the clients share.
const CONNECTIONS: usize = 32;
/// Keys put by one transaction while filling.
const FILL_TXN: usize = 100;
/// Transactions under way while filling.
const FILL_TASKS: usize = 8;
const WATCHERS: usize = 1_000;
const WATCH_STREAMS: usize = 10;

/// How much to measure.
#[derive(Debug)]
pub struct Plan {
    pub rounds: usize,
    pub seconds: u64,
    pub keys: usize,
    /// Numbers of clients that put.
    pub clients: Vec<usize>,
    /// Parts to run; all when empty.
    pub only: Vec<String>,
}

impl Default for Plan {
    fn default() -> Self {
        Plan { rounds: 3, seconds: 3, keys: 1_000_000, clients: vec![1, 64, 512], only: Vec::new() }
    }
}

impl Plan {
    pub fn wants(&self, part: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|wanted| wanted == part)
    }

    /// Whether a part is wanted that measures single servers.
    pub fn wants_of_one(&self) -> bool {
        ["puts", "ranges", "watch", "million"].iter().any(|part| self.wants(part))
    }

    fn time(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }
}

pub async fn all(plan: &Plan, pair: &mut [Server; 2], table: &mut Table) -> Result<(), Failure> {
    if plan.wants("puts") {
        for clients in &plan.clients {
            puts(plan, pair, table, "", *clients, if *clients == 1 { 1.0 } else { 2.0 }).await?;
        }
    }
    if plan.wants("ranges") {
        for keys in [1, 1_000] {
            ranges(plan, pair, table, "", keys, 2.0).await?;
        }
    }
    if plan.wants("watch") {
        watchers(plan, pair, table).await?;
    }
    if plan.wants("million") {
        million(plan, pair, table).await?;
    }
    Ok(())
}

/// Both as three members that replicate; clients are spread over all of them.
pub async fn replicated(plan: &Plan, trio: &[Server; 2], table: &mut Table) -> Result<(), Failure> {
    for clients in &plan.clients {
        puts(plan, trio, table, "three members, ", *clients, 1.5).await?;
    }
    ranges(plan, trio, table, "three members, ", 1, 1.5).await
}

fn value() -> Bytes {
    Bytes::from(vec![b'v'; VALUE_BYTES])
}

/// Calls from several clients at once for a time: calls per second, and the 99th percentile of their times in ms.
struct Load {
    rate: f64,
    p99_ms: f64,
}

async fn load<F, R>(urls: &[String], clients: usize, time: Duration, call: F) -> Result<Load, Failure>
where
    F: Fn(Client, usize, usize) -> R + Clone + Send + 'static,
    R: Future<Output = Result<(), Failure>> + Send,
{
    let connections = Client::connect_many(urls, clients.min(CONNECTIONS)).await?;
    let (began, mut tasks) = (Instant::now(), JoinSet::new());
    for number in 0..clients {
        let (client, call) = (connections[number % connections.len()].clone(), call.clone());
        tasks.spawn(async move {
            let mut times = Vec::new();
            while began.elapsed() < time {
                let before = Instant::now();
                call(client.clone(), number, times.len()).await?;
                times.push(before.elapsed());
            }
            Ok::<_, Failure>(times)
        });
    }
    let mut times = Vec::new();
    while let Some(done) = tasks.join_next().await {
        times.extend(done??);
    }
    let rate = times.len() as f64 / began.elapsed().as_secs_f64();
    times.sort_unstable();
    let p99 = times.get(times.len() * 99 / 100).copied().unwrap_or_default();
    Ok(Load { rate, p99_ms: p99.as_secs_f64() * 1e3 })
}

async fn put_load(urls: &[String], clients: usize, time: Duration, prefix: &str) -> Result<Load, Failure> {
    let (prefix, value) = (prefix.to_owned(), value());
    load(urls, clients, time, move |client, number, count| {
        let (key, value) = (format!("{prefix}{number:04}/{count:08}"), value.clone());
        async move { client.put(key, value).await }
    })
    .await
}

async fn puts(
    plan: &Plan,
    pair: &[Server; 2],
    table: &mut Table,
    who: &str,
    clients: usize,
    target: f64,
) -> Result<(), Failure> {
    let (mut rates, mut tails, mut costs) = ([vec![], vec![]], [vec![], vec![]], [vec![], vec![]]);
    for round in 0..plan.rounds {
        for (n, server) in pair.iter().enumerate() {
            let before = server.cpu()?;
            let put = put_load(&server.urls(), clients, plan.time(), &format!("p/{clients}/{round}/")).await?;
            let made = put.rate * plan.time().as_secs_f64();
            rates[n].push(put.rate);
            tails[n].push(put.p99_ms);
            costs[n].push((server.cpu()? - before).as_secs_f64() * 1e6 / made);
        }
    }
    table.row(&format!("{who}puts, {clients} clients"), "/s", rates, Some(Target::AtLeast(target)));
    table.row(&format!("{who}puts, {clients} clients, p99"), "ms", tails, Some(Target::AtMost(1.0)));
    table.row(&format!("{who}puts, {clients} clients, server's CPU"), "µs/put", costs, None);
    Ok(())
}

async fn ranges(
    plan: &Plan,
    pair: &[Server; 2],
    table: &mut Table,
    who: &str,
    keys: usize,
    target: f64,
) -> Result<(), Failure> {
    let mut rates = [vec![], vec![]];
    for server in pair {
        fill(&server.urls(), "r/", 0..1_000).await?;
    }
    for _ in 0..plan.rounds {
        for (n, server) in pair.iter().enumerate() {
            let urls = server.urls();
            let read = load(&urls, 64, plan.time(), move |client, number, count| async move {
                let key = format!("r/{:08}", if keys == 1 { (number * 37 + count) % 1_000 } else { 0 });
                let found = if keys == 1 { client.get(key).await? } else { client.range(key, "r0").await? };
                if found == keys { Ok(()) } else { Err(format!("{found} keys instead of {keys}").into()) }
            });
            rates[n].push(read.await?.rate);
        }
    }
    table.row(&format!("{who}ranges of {keys}, 64 clients"), "/s", rates, Some(Target::AtLeast(target)));
    Ok(())
}

/// Puts keys `PREFIX00000000` and on, many in a transaction.
async fn fill(urls: &[String], prefix: &str, numbers: std::ops::Range<usize>) -> Result<(), Failure> {
    let clients = Client::connect_many(urls, FILL_TASKS).await?;
    let mut tasks = JoinSet::new();
    for (task, client) in clients.into_iter().enumerate() {
        let (prefix, numbers, value) = (prefix.to_owned(), numbers.clone(), value());
        tasks.spawn(async move {
            for first in numbers.clone().step_by(FILL_TXN).skip(task).step_by(FILL_TASKS) {
                let keys = (first..(first + FILL_TXN).min(numbers.end)).map(|n| format!("{prefix}{n:08}"));
                client.put_all(keys, &value).await?;
            }
            Ok::<_, Failure>(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}

async fn watchers(plan: &Plan, pair: &[Server; 2], table: &mut Table) -> Result<(), Failure> {
    let mut rates = [vec![], vec![]];
    for _ in 0..plan.rounds {
        for (n, server) in pair.iter().enumerate() {
            rates[n].push(watched_events(&server.urls(), plan.time()).await?);
        }
    }
    let name = format!("events to {WATCHERS} watchers of a prefix");
    table.row(&name, "/s", rates, Some(Target::AtLeast(2.0)));
    Ok(())
}

/// Events per second that arrive at many watchers of one prefix while it is written to.
async fn watched_events(urls: &[String], time: Duration) -> Result<f64, Failure> {
    let mut streams = JoinSet::new();
    for client in Client::connect_many(urls, WATCH_STREAMS).await? {
        let count = WATCHERS / WATCH_STREAMS;
        let (mut stream, open) = client.watch("w/", "w0", count).await?;
        let mut created = 0;
        while created < count {
            let response = stream.message().await?.ok_or("the watch ended")?;
            created += usize::from(response.created);
        }
        streams.spawn(async move {
            let (began, mut events) = (Instant::now(), 0);
            while let Some(left) = time.checked_sub(began.elapsed()) {
                match tokio::time::timeout(left, stream.message()).await {
                    Ok(response) => events += response?.ok_or("the watch ended")?.events.len(),
                    Err(_) => break,
                }
            }
            // The connection lives as long as its stream is read.
            drop((client, open));
            Ok::<_, Failure>(events)
        });
    }
    let writing = put_load(urls, 4, time, "w/");
    let (written, mut events) = (writing.await?, 0);
    while let Some(done) = streams.join_next().await {
        events += done??;
    }
    if written.rate == 0.0 {
        return Err("nothing was written".into());
    }
    Ok(events as f64 / time.as_secs_f64())
}

/// Many keys: cost of a put as they grow, memory, restart, snapshot.
async fn million(plan: &Plan, pair: &mut [Server; 2], table: &mut Table) -> Result<(), Failure> {
    for server in pair.iter() {
        Client::connect(&server.urls()[0]).await?.delete_all().await?;
    }
    let mut filled = 0;
    let mut sizes: Vec<usize> = [10_000, 100_000, 1_000_000].into_iter().filter(|size| *size < plan.keys).collect();
    sizes.push(plan.keys);
    for size in sizes {
        let mut costs = [vec![], vec![]];
        for (n, server) in pair.iter().enumerate() {
            fill(&server.urls(), "m/", filled..size).await?;
            for round in 0..plan.rounds {
                let put = put_load(&server.urls(), 64, plan.time(), &format!("g/{size}/{round}/")).await?;
                costs[n].push(1e6 / put.rate);
            }
        }
        filled = size;
        table.row(&format!("put with {size} keys, 64 clients"), "µs", costs, None);
    }
    let (mut memory, mut restarts, mut saves) = ([vec![], vec![]], [vec![], vec![]], [vec![], vec![]]);
    for (n, server) in pair.iter_mut().enumerate() {
        memory[n].push(server.memory()? as f64 / 1e6);
        for _ in 0..plan.rounds {
            restarts[n].push(server.restart().await?.as_secs_f64() * 1e3);
            let began = Instant::now();
            let bytes = Client::connect(&server.urls()[0]).await?.snapshot().await?;
            saves[n].push(filled as f64 / began.elapsed().as_secs_f64());
            eprintln!("snapshot of {bytes} bytes in {:.2} s", began.elapsed().as_secs_f64());
        }
    }
    table.row(&format!("memory with {filled} keys"), "MB", memory, Some(Target::AtMost(0.7)));
    table.row(&format!("restart with {filled} keys until it serves"), "ms", restarts, Some(Target::AtMost(0.7)));
    table.row(&format!("snapshot of {filled} keys"), "keys/s", saves, Some(Target::AtLeast(1.0)));
    Ok(())
}
