//! Three members under load, while they are killed, stopped and cut off.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use keyspace::testing::Random;
use keyspace::{KeyRange, Member, MemberChange, Revision, Status};
use keyspace_sim::checker::revisions::Disagreement;
use keyspace_sim::checker::{linearizability, revisions, watch};
use keyspace_sim::wire::{Answer, Call};
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::clients::{Client, Notes, Watcher, call, status, truth};
use super::namespaces::Network;
use super::process::{Place, Process};
use super::setting;

/// Members there are.
const MEMBERS: u64 = 3;
/// Answered requests, unless `PROOF_OPERATIONS` says otherwise.
const OPERATIONS: u64 = 5_000;
/// Faults, unless `PROOF_FAULTS` says otherwise.
const FAULTS: u64 = 16;
/// Clients of each member.
const CLIENTS: u64 = 4;
/// Longest for the members to be well again.
const HEAL: Duration = Duration::from_secs(60);
/// Pause before a client connects anew, or asks anew what was refused.
const BACK_OFF: Duration = Duration::from_millis(50);

/// Members and their directories.
struct Cluster {
    network: Arc<Network>,
    dir: TempDir,
    id: Option<u64>,
    processes: Vec<Option<Process>>,
}

fn client_address(id: u64) -> SocketAddr {
    format!("{}:7001", Network::address(id)).parse().expect("an address")
}

impl Cluster {
    /// Starts one member, and takes the others in.
    async fn form(network: Arc<Network>) -> Self {
        let dir = TempDir::new().expect("a directory");
        let mut cluster = Cluster { network, dir, id: None, processes: Vec::new() };
        cluster.processes.resize_with(MEMBERS as usize, || None);
        cluster.start(1);
        let answer = call(client_address(1), &Call::Status).await.expect("it serves");
        let Answer::Status(_, id) = answer else { panic!("{answer:?}") };
        cluster.id = Some(id);
        for id in 2..=MEMBERS {
            cluster.start(id);
            let peer_address = format!("{}:7000", Network::address(id));
            let member = Member { id, name: format!("member{id}"), peer_address, api_url: String::new() };
            let added = call(client_address(1), &Call::Change(MemberChange::Add(member))).await.expect("it serves");
            assert!(matches!(added, Answer::Changed), "{added:?}");
        }
        cluster.until_well(0).await;
        cluster
    }

    fn start(&mut self, id: u64) {
        let at = |port| format!("{}:{port}", Network::address(id));
        let place = Place {
            id,
            namespace: Some(self.network.member(id)),
            clients: at(7001),
            peers: at(7000),
            cluster: self.id.filter(|_| id != 1),
        };
        let dir = self.dir.path().join(id.to_string());
        self.processes[id as usize - 1] = Some(Process::start(&place, Path::new(&dir)));
    }

    fn process(&mut self, id: u64) -> &mut Option<Process> {
        &mut self.processes[id as usize - 1]
    }

    async fn statuses(&self) -> Vec<Status> {
        let asked = (1..=MEMBERS).map(|id| tokio::time::timeout(Duration::from_secs(1), status(client_address(id))));
        futures::future::join_all(asked).await.into_iter().filter_map(|answer| answer.ok()?.ok()).collect()
    }

    /// Waits until all vote, follow one leader, and know `revision`; the newest revision then.
    async fn until_well(&self, revision: Revision) -> Revision {
        let until = Instant::now() + HEAL;
        loop {
            let statuses = self.statuses().await;
            let newest = statuses.iter().map(|status| status.revision).max().unwrap_or(0);
            let well = |status: &Status| {
                status.voters.len() as u64 == MEMBERS
                    && status.leader.is_some()
                    && status.leader == statuses[0].leader
                    && status.revision >= newest
            };
            if statuses.len() as u64 == MEMBERS && newest >= revision && statuses.iter().all(well) {
                return newest;
            }
            assert!(Instant::now() < until, "the members are not well within {HEAL:?}: {statuses:?}");
            tokio::time::sleep(BACK_OFF).await;
        }
    }

    /// The member that leads, as far as anybody knows.
    async fn leader(&self) -> Option<u64> {
        self.statuses().await.into_iter().max_by_key(|status| status.term)?.leader
    }

    /// Makes one fault, waits, and mends it; answers what it was. Every other one is the leader's.
    async fn suffer(&mut self, random: &mut Random) -> &'static str {
        let anyone = 1 + random.below(MEMBERS);
        let victim = if random.one_in(2) { self.leader().await.unwrap_or(anyone) } else { anyone };
        let lasts = Duration::from_millis(200 + random.below(3_000));
        let fault = match random.below(7) {
            0..3 => {
                self.process(victim).take().expect("runs").kill();
                tokio::time::sleep(lasts).await;
                self.start(victim);
                "killed"
            }
            3 => {
                (1..=MEMBERS).for_each(|id| self.process(id).take().expect("runs").kill());
                (1..=MEMBERS).for_each(|id| self.start(id));
                "all killed"
            }
            4 => {
                self.process(victim).as_ref().expect("runs").stop();
                tokio::time::sleep(lasts).await;
                self.process(victim).as_ref().expect("runs").go_on();
                "stopped"
            }
            _ => {
                self.network.cut_off(victim);
                tokio::time::sleep(lasts).await;
                self.network.heal(victim);
                "cut off"
            }
        };
        tokio::time::sleep(Duration::from_millis(random.below(2_000))).await;
        fault
    }
}

/// Asks until told to stop, over all connections it takes.
async fn work(member: u64, notes: Notes, seed: u64, stop: Arc<AtomicBool>) {
    let mut random = Random::new(seed);
    while !stop.load(Ordering::SeqCst) {
        if let Ok(mut client) = Client::connect(client_address(member), notes.clone(), random.below(u64::MAX)).await {
            while let Ok(answer) = client.step().await {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                if !matches!(answer, Answer::Done(_)) {
                    tokio::time::sleep(BACK_OFF).await;
                }
            }
        }
        tokio::time::sleep(BACK_OFF).await;
    }
}

async fn survive(network: Arc<Network>, operations: u64, faults: u64) {
    let began = Instant::now();
    let mut cluster = Cluster::form(network).await;
    let (notes, mut random, stop) = (Notes::new(), Random::new(11), Arc::new(AtomicBool::new(false)));
    let watchers: Vec<(u64, Watcher)> = (1..=MEMBERS)
        .flat_map(|id| [KeyRange::all(), KeyRange::prefix("k/1")].map(|range| (id, Watcher::new(range))))
        .collect();
    let mut tasks = JoinSet::new();
    for member in 1..=MEMBERS {
        for client in 0..CLIENTS {
            tasks.spawn(work(member, notes.clone(), member * 100 + client, stop.clone()));
        }
    }
    let mut following = JoinSet::new();
    for (member, watcher) in watchers.clone() {
        following.spawn(async move {
            loop {
                let _ = watcher.follow(client_address(member), u64::MAX).await;
                tokio::time::sleep(BACK_OFF).await;
            }
        });
    }
    let mut suffered: BTreeMap<&str, u64> = BTreeMap::new();
    while notes.answered() < operations || suffered.values().sum::<u64>() < faults {
        *suffered.entry(cluster.suffer(&mut random).await).or_default() += 1;
    }
    stop.store(true, Ordering::SeqCst);
    while let Some(ended) = tasks.join_next().await {
        ended.expect("a client does not fail");
    }
    let newest = cluster.until_well(0).await;
    following.shutdown().await;
    let known = truth(client_address(1)).await;
    for other in 2..=MEMBERS {
        assert!(truth(client_address(other)).await == known, "members have different histories");
    }
    let history = notes.operations();
    revisions::check(&history, &known).unwrap_or_else(|problem| panic!("{problem}"));
    linearizability::check(&history).unwrap_or_else(|problem| panic!("{problem}"));
    for (member, watcher) in watchers {
        watcher.follow(client_address(member), newest).await.expect("it goes on");
        watch::check(&watcher.followed(), &known).unwrap_or_else(|problem| panic!("{problem}"));
    }
    let (requests, answered) = (history.len(), notes.answered());
    println!("linearizable: {requests} requests, {answered} answered, {newest} revisions, faults {suffered:?}");
    println!("{:.0?} in all", began.elapsed());
}

#[test]
fn faults_do_not_show() {
    let network = Arc::new(Network::new("faults", MEMBERS));
    let (operations, faults) = (setting("PROOF_OPERATIONS", OPERATIONS), setting("PROOF_FAULTS", FAULTS));
    network.run(survive(network.clone(), operations, faults));
}

/// A member that is cut off answers reads as it knows, and says that they are the newest.
async fn lie(network: Arc<Network>) {
    let cluster = Cluster::form(network.clone()).await;
    let (notes, stop) = (Notes::new(), Arc::new(AtomicBool::new(false)));
    network.cut_off(MEMBERS);
    let mut tasks = JoinSet::new();
    for member in 1..MEMBERS {
        tasks.spawn(work(member, notes.clone(), member, stop.clone()));
    }
    while notes.answered() < 2_000 {
        tokio::time::sleep(BACK_OFF).await;
    }
    // By now most keys have other values than it knows. Of all requests it answers only those that it lies about.
    let mut liar = Client::connect(client_address(MEMBERS), notes.clone(), 0).await.expect("it serves");
    liar.stale = true;
    let mut lies = 0;
    while lies < 50 {
        lies += u64::from(matches!(liar.step().await.expect("it serves"), Answer::Done(_)));
    }
    stop.store(true, Ordering::SeqCst);
    network.heal(MEMBERS);
    while tasks.join_next().await.is_some() {}
    cluster.until_well(0).await;
    let (history, known) = (notes.operations(), truth(client_address(1)).await);
    let found = revisions::check(&history, &known);
    assert!(matches!(found, Err(Disagreement::Stale(..))), "{found:?}");
    linearizability::check(&history).expect_err("a stale read is found by values alone");
}

#[test]
fn a_planted_stale_read_is_found() {
    let network = Arc::new(Network::new("lie", MEMBERS));
    network.run(lie(network.clone()));
}
