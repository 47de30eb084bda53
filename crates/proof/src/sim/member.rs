//! A member on its host: the real replica, and clients that talk to it. It may die at any step and be started again.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::FutureExt;
use keyspace::testing::Random;
use keyspace::{KeyRange, Keyspace, Status};
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use replica::{Config, Replica};

use crate::clients::Client;
use crate::disk::Disk;
use crate::notes::Notes;
use crate::plant::Plant;
use crate::trace::Trace;

/// Clients of each member that read and write.
const CLIENTS: u64 = 3;
/// How often a member looks whether it is told something.
const LISTEN: Duration = Duration::from_millis(5);
/// Pause before a member that could not be opened is opened again.
const REOPEN: Duration = Duration::from_millis(300);

/// The host a member runs on.
pub fn host(member: u64) -> String {
    format!("member{member}")
}

/// What can be done to a member from within.
#[derive(Clone, Copy, Debug)]
pub enum Order {
    /// Its clock is so much further at once.
    JumpClock(Duration),
    /// It shuts down in good order, this much later, and starts again.
    RestartAfter(Duration),
}

/// A member, through all its lives.
#[derive(Clone)]
pub struct Member {
    /// Its number.
    pub id: u64,
    /// Its disk.
    pub disk: Disk,
    life: Arc<Mutex<Life>>,
    notes: Notes,
    trace: Trace,
    plant: Plant,
    seed: u64,
}

#[derive(Default)]
struct Life {
    lives: u64,
    replica: Weak<Replica>,
    orders: VecDeque<Order>,
}

impl Member {
    /// A member that has never run.
    pub fn new(id: u64, seed: u64, notes: Notes, trace: Trace, plant: Plant) -> Self {
        let disk = Disk::new(id, seed ^ id.wrapping_mul(0x9e37_79b9), trace.clone(), plant);
        Member { id, disk, life: Arc::default(), notes, trace, plant, seed }
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
            match self.open().await {
                Ok(replica) => self.serve(replica, seed).await,
                Err(error) => {
                    self.trace.say(format_args!("member {}: cannot be opened: {error:?}", self.id));
                    tokio::time::sleep(REOPEN).await;
                }
            }
        }
    }

    async fn open(&self) -> Result<Arc<Replica>, replica::Error> {
        let config = Config { node_id: self.id, ..Config::new(format!("/simulated/{}", self.id)) };
        Replica::open_on(Box::new(self.disk.clone()), config, &mut Registry::default()).await
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
        tasks.spawn(client.follow(watcher + 1, KeyRange::prefix("k/0")));
        loop {
            let order = self.life.lock().orders.pop_front();
            match order {
                None => tokio::time::sleep(LISTEN).await,
                Some(Order::JumpClock(by)) => tokio::time::advance(by).await,
                Some(Order::RestartAfter(pause)) => {
                    tokio::time::sleep(pause).await;
                    break;
                }
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
