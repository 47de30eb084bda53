//! What goes wrong, by chance: the network, the disks, the clocks, the members.

use std::time::Duration;

use keyspace::testing::Random;
use turmoil::Sim;

use crate::disk::Mood;
use crate::member::{Member, Order};
use crate::net::host;
use crate::plant::Plant;
use crate::trace::Trace;

/// Least time between two faults, milliseconds.
const BETWEEN_MS: u64 = 100;
/// Most time beyond that, milliseconds.
const BETWEEN_MORE_MS: u64 = 1_400;
/// Longest that a fault lasts, milliseconds.
const LASTS_MS: u64 = 4_000;
/// Message latency when nothing is wrong, at most.
const LATENCY: Duration = Duration::from_millis(3);
/// Farthest that a clock jumps, milliseconds.
const JUMP_MS: u64 = 3_000;

/// Something that ends a fault.
#[derive(Clone, Copy, Debug)]
enum Mend {
    Start(usize),
    Link(usize, usize),
    Latency,
    Disk(usize),
    Power(usize),
}

/// Makes faults, and mends them.
pub struct Faults {
    random: Random,
    next_ms: u64,
    mends: Vec<(u64, Mend)>,
    /// How many there were.
    pub count: u64,
    /// By how much clocks have jumped altogether, milliseconds: leases may end that much earlier.
    pub jumped_ms: u64,
    trace: Trace,
    plant: Plant,
}

impl Faults {
    /// No fault so far.
    pub fn new(seed: u64, trace: Trace, plant: Plant) -> Self {
        let random = Random::new(seed ^ 0xfa17);
        Faults { random, next_ms: 2_000, mends: Vec::new(), count: 0, jumped_ms: 0, trace, plant }
    }

    /// Makes a fault when it is time for one, and mends what is due.
    pub fn step(&mut self, sim: &mut Sim<'_>, members: &[Member], now_ms: u64) {
        self.mend(sim, members, now_ms);
        if now_ms >= self.next_ms {
            self.count += 1;
            self.next_ms = now_ms + BETWEEN_MS + self.random.below(BETWEEN_MORE_MS);
            let until = now_ms + 1 + self.random.below(LASTS_MS);
            self.make(sim, members, until);
        }
    }

    /// Mends everything.
    pub fn end(&mut self, sim: &mut Sim<'_>, members: &[Member]) {
        // A mend may be a fault itself, with a mend of its own.
        while !self.mends.is_empty() {
            self.mend(sim, members, u64::MAX);
        }
        for (number, member) in members.iter().enumerate() {
            member.disk.set(|mood| *mood = Mood::default());
            for other in members[..number].iter() {
                sim.repair(host(member.id), host(other.id));
            }
        }
        self.trace.say(format_args!("all faults end"));
    }

    fn mend(&mut self, sim: &mut Sim<'_>, members: &[Member], now_ms: u64) {
        let (due, later) = std::mem::take(&mut self.mends).into_iter().partition(|(at, _)| *at <= now_ms);
        self.mends = later;
        let due: Vec<(u64, Mend)> = due;
        for (_, mend) in due {
            self.trace.say(format_args!("mends {mend:?}"));
            match mend {
                Mend::Start(member) => sim.bounce(host(members[member].id)),
                Mend::Link(a, b) => sim.repair(host(members[a].id), host(members[b].id)),
                Mend::Latency => sim.set_max_message_latency(LATENCY),
                Mend::Disk(member) => members[member].disk.set(|mood| *mood = Mood::default()),
                Mend::Power(member) => {
                    let until = now_ms.saturating_add(1 + self.random.below(LASTS_MS));
                    self.crash(sim, members, member, until);
                    members[member].disk.set(|mood| *mood = Mood::default());
                }
            }
        }
    }

    /// Whether a member is down, or about to be started: then nothing is done to it.
    fn down(&self, member: usize) -> bool {
        self.mends.iter().any(|(_, mend)| matches!(mend, Mend::Start(down) if *down == member))
    }

    fn make(&mut self, sim: &mut Sim<'_>, members: &[Member], until: u64) {
        let victim = self.random.below(members.len() as u64) as usize;
        let alone = members.len() == 1;
        match self.random.below(14) {
            0 | 1 if !alone => self.isolate(sim, members, victim, until),
            2 if !alone => self.cut_one_way(sim, members, victim, until),
            3 if !alone => {
                let latency = Duration::from_millis(5 + self.random.below(200));
                self.trace.say(format_args!("fault: messages take up to {latency:?}"));
                sim.set_max_message_latency(latency);
                self.mends.push((until, Mend::Latency));
            }
            0..=4 => self.crash(sim, members, victim, until),
            5 if self.random.one_in(3) => {
                for member in 0..members.len() {
                    self.crash(sim, members, member, until + member as u64);
                }
            }
            5 | 6 => {
                let most = 20 + self.random.below(400);
                self.trace.say(format_args!("fault: disk {} takes up to {most} ms", members[victim].id));
                members[victim].disk.set(|mood| (mood.sync_from_ms, mood.sync_to_ms) = (most / 4, most));
                // A disk that is slow often has much to lose when the power goes.
                let ends = if self.random.one_in(2) { Mend::Power(victim) } else { Mend::Disk(victim) };
                self.mends.push((until, ends));
            }
            7 => {
                self.trace.say(format_args!("fault: disk {} will fail a sync", members[victim].id));
                members[victim].disk.set(|mood| mood.fail_sync = true);
                self.mends.push((until, Mend::Disk(victim)));
            }
            8 => {
                self.trace.say(format_args!("fault: disk {} is full", members[victim].id));
                members[victim].disk.set(|mood| mood.full = true);
                self.mends.push((until, Mend::Disk(victim)));
            }
            _ if self.down(victim) => {}
            9 if !alone => {
                let leader = members[(victim + 1) % members.len()].id;
                self.trace.say(format_args!("fault: member {} asks for member {leader} to lead", members[victim].id));
                members[victim].order(Order::Lead(leader));
            }
            10 => {
                self.trace.say(format_args!("fault: member {} cuts its log", members[victim].id));
                members[victim].order(Order::CutLog);
            }
            _ if self.random.one_in(3) => {
                self.trace.say(format_args!("fault: member {} is restarted", members[victim].id));
                members[victim].order(Order::Restart);
            }
            _ => self.jump(&members[victim]),
        }
    }

    fn jump(&mut self, member: &Member) {
        let by = 1 + self.random.below(JUMP_MS);
        self.trace.say(format_args!("fault: the clock of member {} jumps by {by} ms", member.id));
        if self.plant != Plant::HastyClock {
            self.jumped_ms += by;
        }
        member.order(Order::JumpClock(Duration::from_millis(by)));
    }

    fn crash(&mut self, sim: &mut Sim<'_>, members: &[Member], victim: usize, until: u64) {
        if self.down(victim) {
            return;
        }
        self.trace.say(format_args!("fault: member {} crashes", members[victim].id));
        sim.crash(host(members[victim].id));
        members[victim].disk.crash();
        self.mends.push((until, Mend::Start(victim)));
    }

    fn isolate(&mut self, sim: &mut Sim<'_>, members: &[Member], victim: usize, until: u64) {
        self.trace.say(format_args!("fault: member {} is cut off", members[victim].id));
        for other in (0..members.len()).filter(|other| *other != victim) {
            sim.partition(host(members[victim].id), host(members[other].id));
            self.mends.push((until, Mend::Link(victim, other)));
        }
    }

    fn cut_one_way(&mut self, sim: &mut Sim<'_>, members: &[Member], victim: usize, until: u64) {
        let other = (victim + 1 + self.random.below(members.len() as u64 - 1) as usize) % members.len();
        let (from, to) = (members[victim].id, members[other].id);
        self.trace.say(format_args!("fault: nothing from member {from} reaches member {to}"));
        sim.partition_oneway(host(from), host(to));
        self.mends.push((until, Mend::Link(victim, other)));
    }
}
