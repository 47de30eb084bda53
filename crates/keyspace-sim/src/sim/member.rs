//! A member on its host: the real replica, and clients that talk to it. It may die at any step and be started again.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::FutureExt;
use keyspace::testing::Random;
use keyspace::{KeyRange, Keyspace, Member as Entry, MemberChange, Status};
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use replica::{Config, Peer, Replica, Start, Timing};

use crate::clients::Client;
use crate::disk::Disk;
use crate::net::{Network, address, host};
use crate::notes::Notes;
use crate::plant::Plant;
use crate::trace::Trace;

/// Clients of each member that read and write.
const CLIENTS: u64 = 3;
/// How often a member looks whether it is told something.
const LISTEN: Duration = Duration::from_millis(5);
/// Pause between attempts to form the cluster.
const FORM: Duration = Duration::from_millis(200);
/// Pause before a member that failed, or could not be opened, is opened again.
const REOPEN: Duration = Duration::from_millis(300);

/// The time a member waits before it wants to lead is drawn once in a life, by a generator that asks the kernel behind
/// everybody's back: so it is drawn here.
fn timing(seed: u64) -> Timing {
    let usual = Timing::default();
    let span = (usual.election_max - usual.election_min).as_millis() as u64;
    let election_min = usual.election_min + Duration::from_millis(Random::new(seed).below(span));
    Timing { election_min, election_max: election_min + Duration::from_millis(1), ..usual }
}

/// What can be done to a member from within.
#[derive(Clone, Copy, Debug)]
pub enum Order {
    /// Its clock is so much further at once.
    JumpClock(Duration),
    /// It asks for another leader.
    Lead(u64),
    /// It makes a snapshot and cuts its log.
    CutLog,
    /// It shuts down in good order, and starts again.
    Restart,
}

/// A member, through all its lives.
#[derive(Clone)]
pub struct Member {
    /// Its number.
    pub id: u64,
    /// Its disk.
    pub disk: Disk,
    life: Arc<Mutex<Life>>,
    cluster: Cluster,
    notes: Notes,
    trace: Trace,
    plant: Plant,
    seed: u64,
}

/// The cluster that members are of.
#[derive(Clone)]
pub struct Cluster {
    /// How many members it is to have.
    pub size: u64,
    /// Its identity, once it is formed.
    id: Arc<Mutex<Option<u64>>>,
}

impl Cluster {
    /// One to be formed.
    pub fn new(size: u64) -> Self {
        Cluster { size, id: Arc::default() }
    }
}

#[derive(Default)]
struct Life {
    lives: u64,
    replica: Weak<Replica>,
    orders: VecDeque<Order>,
}

impl Member {
    /// A member that has never run.
    pub fn new(id: u64, cluster: Cluster, seed: u64, notes: Notes, trace: Trace, plant: Plant) -> Self {
        let disk = Disk::new(id, seed ^ id.wrapping_mul(0x9e37_79b9), trace.clone(), plant);
        Member { id, disk, life: Arc::default(), cluster, notes, trace, plant, seed }
    }

    /// Tells it to do something.
    pub fn order(&self, order: Order) {
        self.life.lock().orders.push_back(order);
    }

    /// What it knows of itself, if it runs.
    pub fn status(&self) -> Option<Status> {
        let replica = self.life.lock().replica.upgrade()?;
        replica.status().now_or_never()?.ok()
    }

    /// One life.
    pub async fn run(self) -> turmoil::Result {
        let life = {
            let mut life = self.life.lock();
            life.lives += 1;
            life.orders.clear();
            life.lives
        };
        self.trace.say(format_args!("member {}: life {life} begins", self.id));
        let mut seed = self.seed.wrapping_add(life << 32 | self.id << 8);
        loop {
            seed = seed.wrapping_add(1 << 16);
            match self.open(seed).await {
                Ok(replica) => self.serve(replica, seed).await,
                Err(error) => {
                    self.trace.say(format_args!("member {}: cannot be opened: {error:?}", self.id));
                    tokio::time::sleep(REOPEN).await;
                }
            }
        }
    }

    async fn open(&self, seed: u64) -> Result<Arc<Replica>, Box<dyn std::error::Error>> {
        let start = match self.id {
            1 => Start::Form,
            _ => Start::Join { cluster_id: self.cluster_id().await },
        };
        let peer = Peer { address: address(self.id), name: host(self.id), ..Peer::default() };
        let dir = format!("/simulated/{}", self.id);
        let config = Config { node_id: self.id, peer, start, timing: timing(seed), ..Config::new(dir) };
        let network = Arc::new(Network::new(self.id).await?);
        let disk = Box::new(self.disk.clone());
        let replica = Replica::open_on_with(disk, config, Some(network), &mut Registry::default()).await?;
        *self.cluster.id.lock() = Some(replica.cluster_id());
        Ok(replica)
    }

    /// The identity of the cluster, once there is one.
    async fn cluster_id(&self) -> u64 {
        loop {
            let known = *self.cluster.id.lock();
            match known {
                Some(id) => return id,
                None => tokio::time::sleep(LISTEN).await,
            }
        }
    }

    /// The first member takes the others in.
    async fn form(self, replica: Arc<Replica>) {
        for id in 2..=self.cluster.size {
            let entry = Entry { id, name: host(id), peer_address: address(id), api_url: String::new() };
            while let Err(error) = replica.cluster().change(MemberChange::Add(entry.clone())).await {
                self.trace.say(format_args!("member {}: cannot take in member {id}: {error}", self.id));
                tokio::time::sleep(FORM).await;
            }
            self.trace.say(format_args!("member {}: took in member {id}", self.id));
        }
    }

    /// Serves clients until it is told to restart.
    async fn serve(&self, replica: Arc<Replica>, seed: u64) {
        self.life.lock().replica = Arc::downgrade(&replica);
        self.trace.say(format_args!("member {}: serves", self.id));
        let client =
            Client { keyspace: replica.clone(), notes: self.notes.clone(), plant: self.plant, member: self.id };
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..CLIENTS {
            tasks.spawn(client.clone().work(Random::new(seed + number)));
        }
        tasks.spawn(client.clone().lease(Random::new(seed + CLIENTS)));
        let watcher = self.id as usize * 2;
        tasks.spawn(client.clone().follow(watcher, KeyRange::all()));
        if self.id == 1 {
            tasks.spawn(self.clone().form(replica.clone()));
        }
        tasks.spawn(client.follow(watcher + 1, KeyRange::prefix("k/0")));
        let mut failed = Box::pin(replica.failed());
        loop {
            if let Some(reason) = failed.as_mut().now_or_never() {
                // As the server does: it ends, and is started anew.
                self.trace.say(format_args!("member {}: has failed: {reason}", self.id));
                tokio::time::sleep(REOPEN).await;
                break;
            }
            let order = self.life.lock().orders.pop_front();
            match order {
                None => tokio::time::sleep(LISTEN).await,
                Some(Order::JumpClock(by)) => tokio::time::advance(by).await,
                Some(Order::Lead(id)) => {
                    let (cluster, trace) = (replica.cluster(), self.trace.clone());
                    tasks.spawn(async move {
                        let led = cluster.change(MemberChange::Lead { id }).await;
                        trace.say(format_args!("member {id} was to lead: {led:?}"));
                    });
                }
                Some(Order::CutLog) => {
                    let (replica, trace, id) = (replica.clone(), self.trace.clone(), self.id);
                    tasks.spawn(async move {
                        let cut = replica.compact_log().await;
                        trace.say(format_args!("member {id} was to cut its log: {cut:?}"));
                    });
                }
                Some(Order::Restart) => break,
            }
        }
        let closed = replica.closed();
        let stopped = replica.shutdown().await;
        drop(replica);
        self.trace.say(format_args!("member {}: shut down: {stopped:?}", self.id));
        // Clients see it close, and give up.
        tasks.shutdown().await;
        closed.await;
    }
}
