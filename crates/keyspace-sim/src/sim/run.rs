//! One run: members, clients and faults, step by step, with the invariants checked after each.

use std::time::Duration;

use keyspace::Status;
use keyspace_sim::checker::{linearizability, revisions, watch};
use turmoil::{Builder, Sim};

use crate::faults::Faults;
use crate::member::{Cluster, Member, Order};
use crate::net::host;
use crate::notes::Notes;
use crate::plant::Plant;
use crate::reference::Reference;
use crate::trace::Trace;

/// What a run is made of.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// Decides everything by chance.
    pub seed: u64,
    /// Members there are.
    pub members: u64,
    /// How long there are faults, milliseconds.
    pub faulty_ms: u64,
    /// In place of faults, the leader hands over while every sync of a disk takes so long, milliseconds.
    pub handover_sync_ms: Option<u64>,
    /// The bug that is planted.
    pub plant: Plant,
    /// Whether the trace is printed.
    pub loud: bool,
}

/// What a run came to.
pub struct Report {
    /// Steps made.
    pub steps: u64,
    /// Faults made.
    pub faults: u64,
    /// Requests made by clients, and those answered.
    pub requests: (usize, usize),
    /// Revisions committed.
    pub revisions: u64,
    /// Hash of the trace, and how many events it stands for.
    pub trace: (u64, u64),
    /// What is wrong, if something is.
    pub verdict: Result<(), String>,
}

/// Length of a step.
const STEP: Duration = Duration::from_millis(1);
/// Longest that the members may need to be well again once faults have ended, milliseconds.
const HEAL_MS: u64 = 40_000;
/// How long clients go on when all is well again, milliseconds.
const CALM_MS: u64 = 2_000;
/// Longest lease, and longest that a client waits for one, milliseconds: by then all leases must have ended.
const LEASES_MS: u64 = 13_000;
/// Longest that a handover may take, milliseconds: a lease, and votes that are stored slowly.
const HANDOVER_MS: u64 = 4_000;
/// Steps between comparisons of whole logs.
const LOGS_EVERY: u64 = 500;

struct Run<'s> {
    sim: Sim<'s>,
    members: Vec<Member>,
    notes: Notes,
    faults: Faults,
    reference: Reference,
    trace: Trace,
    steps: u64,
}

/// Runs, and judges.
pub fn run(setup: Setup) -> Report {
    let trace = Trace::new(setup.loud);
    let notes = Notes::new(trace.clone());
    let mut sim = Builder::new()
        .rng_seed(setup.seed)
        .tick_duration(STEP)
        .simulation_duration(Duration::from_secs(3_600))
        .min_message_latency(Duration::from_millis(0))
        .max_message_latency(Duration::from_millis(3))
        .tcp_capacity(1 << 16)
        .enable_random_order()
        .build();
    let cluster = Cluster::new(setup.members);
    let member = |id| Member::new(id, cluster.clone(), setup.seed, notes.clone(), trace.clone(), setup.plant);
    let members: Vec<Member> = (1..=setup.members).map(member).collect();
    for member in &members {
        let member = member.clone();
        sim.host(host(member.id), move || member.clone().run());
    }
    let faults = Faults::new(setup.seed, trace.clone(), setup.plant);
    let reference = match Reference::new() {
        Ok(reference) => reference,
        Err(error) => panic!("an empty memory opens: {error}"),
    };
    let mut run = Run { sim, members, notes, faults, reference, trace: trace.clone(), steps: 0 };
    let verdict = run.all(setup);
    match &verdict {
        Ok(()) => trace.say(format_args!("all is well")),
        Err(problem) => trace.say(format_args!("FOUND: {problem}")),
    }
    let requests = (run.notes.operations().len(), run.notes.answered());
    let (steps, faults, revisions) = (run.steps, run.faults.count, run.reference.revision());
    Report { steps, faults, requests, revisions, trace: trace.hash(), verdict }
}

impl Run<'_> {
    fn all(&mut self, setup: Setup) -> Result<(), String> {
        match setup.handover_sync_ms {
            Some(sync_ms) => self.hand_over(sync_ms)?,
            None => {
                while now(&self.sim) < setup.faulty_ms {
                    let now_ms = now(&self.sim);
                    self.faults.step(&mut self.sim, &self.members, now_ms);
                    self.step()?;
                }
            }
        }
        self.faults.end(&mut self.sim, &self.members);
        self.until("every member answers again", HEAL_MS, Run::well)?;
        let calm = now(&self.sim) + CALM_MS;
        while now(&self.sim) < calm {
            self.step()?;
        }
        self.notes.stop();
        self.until("all members have everything", HEAL_MS, Run::agreed)?;
        let over = now(&self.sim) + LEASES_MS;
        while now(&self.sim) < over {
            self.step()?;
        }
        self.until("all members have everything in the end", HEAL_MS, Run::agreed)?;
        self.judge()
    }

    /// The leader hands over while all disks are slow.
    fn hand_over(&mut self, sync_ms: u64) -> Result<(), String> {
        self.until("every member answers", HEAL_MS, Run::well)?;
        for member in &self.members {
            member.disk.set(|mood| (mood.sync_from_ms, mood.sync_to_ms) = (sync_ms, sync_ms));
        }
        let leads = |member: &Member, id: u64| member.status().is_some_and(|status| status.leader == Some(id));
        let leader = self.members.iter().position(|member| leads(member, member.id)).ok_or("no member leads")?;
        let next = self.members[(leader + 1) % self.members.len()].id;
        self.members[leader].order(Order::Lead(next));
        self.until("the member leads that was to", HANDOVER_MS, |run| {
            run.members.iter().all(|member| leads(member, next))
        })
    }

    fn step(&mut self) -> Result<(), String> {
        let now_ms = now(&self.sim);
        self.trace.set_now(now_ms);
        self.sim.step().map_err(|error| format!("a member ended: {error}"))?;
        self.steps += 1;
        for member in &self.members {
            let followed = self.reference.follow(&member.disk, now_ms);
            followed.map_err(|problem| format!("member {}: {problem}", member.id))?;
            let Some(status) = member.status() else { continue };
            // That two lead in one term is no fault: openraft orders votes by term and member, so the vote for the member
            // with the higher id ends the other's leadership. What each may commit is judged by the log.
            if self.steps.is_multiple_of(LOGS_EVERY) {
                let matched = self.reference.match_log(&member.disk, status.applied_index);
                matched.map_err(|problem| format!("member {}: {problem}", member.id))?;
            }
        }
        Ok(())
    }

    fn until(&mut self, what: &str, within_ms: u64, done: impl Fn(&mut Self) -> bool) -> Result<(), String> {
        let limit = now(&self.sim) + within_ms;
        while !done(self) {
            if now(&self.sim) > limit {
                let states: Vec<_> = self.members.iter().map(|member| (member.id, member.status())).collect();
                return Err(format!("not within {within_ms} ms: {what}; {states:?}"));
            }
            self.step()?;
        }
        Ok(())
    }

    /// Whether all members run, follow one leader, and know all revisions.
    fn well(&mut self) -> bool {
        let newest = self.reference.revision();
        let statuses: Option<Vec<_>> = self.members.iter().map(Member::status).collect();
        let Some(statuses) = statuses else { return false };
        let leader = statuses[0].leader;
        let all = self.members.iter().map(|member| member.id);
        let has_all = |status: &Status| status.voters.iter().copied().eq(all.clone()) && status.revision >= newest;
        leader.is_some() && statuses.iter().all(|status| status.leader == leader && has_all(status))
    }

    /// Whether all members are well, and watchers were given everything.
    fn agreed(&mut self) -> bool {
        self.well() && self.notes.slowest() >= self.reference.revision()
    }

    fn judge(&mut self) -> Result<(), String> {
        let operations = self.notes.operations();
        revisions::check(&operations, &self.reference.truth).map_err(|problem| format!("order: {problem}"))?;
        linearizability::check(&operations).map_err(|problem| format!("linearizability: {problem}"))?;
        for followed in self.notes.watchers() {
            watch::check(&followed, &self.reference.truth).map_err(|problem| format!("watch: {problem}"))?;
        }
        self.judge_leases()
    }

    /// No lease ends before its time, and in the end all have ended.
    fn judge_leases(&self) -> Result<(), String> {
        let leases = self.notes.leases();
        for (revision, events) in &self.reference.truth {
            let ended = events.first().and_then(|event| {
                let lease = event.prev.as_ref().map_or(0, |prev| prev.lease);
                (event.kind == keyspace::EventKind::Delete && event.kv.key.starts_with(b"l/")).then_some(lease)
            });
            let Some(lease) = ended.and_then(|id| leases.get(&id)) else { continue };
            let at = self.reference.seen_ms.get(revision).copied().unwrap_or(0);
            if at + self.faults.jumped_ms < lease.alive_ms + lease.ttl_ms {
                return Err(format!("a lease ended at {at} ms, revision {revision}, and it is {lease:?}"));
            }
        }
        for member in &self.members {
            if let Some(status) = member.status()
                && status.leases > 0
            {
                return Err(format!("member {}: {} leases have not ended", member.id, status.leases));
            }
        }
        Ok(())
    }
}

fn now(sim: &Sim<'_>) -> u64 {
    u64::try_from(sim.elapsed().as_millis()).unwrap_or(u64::MAX)
}
