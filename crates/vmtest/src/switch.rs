//! The network between guests: a learning switch in this process that can cut, delay and lose frames between two of
//! them. Needs no rights and nothing of the host's network.
//!
//! ```text
//!   guest a ── datagram socket ──► [port a] ── rules, addresses ──► outbox b ── datagram socket ──► guest b
//! ```

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, HashMap},
    net::Shutdown,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result, file},
    limits::{ETHERNET_BYTES_MAX, SWITCH_QUEUE_MAX, SWITCH_SEND},
};

/// What happens to frames between two guests, in both directions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rule {
    /// Nothing passes.
    pub cut: bool,
    /// Milliseconds that each frame is held.
    pub delay_ms: u64,
    /// Part of the frames that is lost, from 0 to 1.
    pub loss: f64,
}

/// A switch with a port for each guest. Dropping it ends its threads.
#[derive(Debug)]
pub struct Switch {
    folder: PathBuf,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    ports: Mutex<Vec<Arc<Port>>>,
    table: Mutex<Table>,
}

/// Addresses that were seen, rules, and the state of the dice.
#[derive(Debug, Default)]
struct Table {
    homes: HashMap<[u8; 6], usize>,
    names: Vec<String>,
    rules: BTreeMap<(String, String), Rule>,
    dice: u64,
}

/// One guest's end.
#[derive(Debug)]
struct Port {
    input: UnixDatagram,
    output: UnixDatagram,
    guest: PathBuf,
    outbox: Mutex<Outbox>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Outbox {
    frames: BinaryHeap<Reverse<(Instant, u64, Vec<u8>)>>,
    count: u64,
    closed: bool,
}

/// The sockets that the emulator is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plug {
    /// The emulator's own.
    pub local: PathBuf,
    /// The switch's.
    pub remote: PathBuf,
}

impl Switch {
    /// A switch whose sockets are in `folder`. The same `seed` loses the same frames.
    #[must_use]
    pub fn new(folder: &Path, seed: u64) -> Self {
        let shared = Shared::default();
        shared.table.lock().unwrap_or_else(PoisonError::into_inner).dice = seed | 1;
        Self { folder: folder.to_owned(), shared: Arc::new(shared) }
    }

    /// A port for a guest.
    ///
    /// # Errors
    /// When its sockets cannot be made.
    pub fn plug(&self, guest: &str) -> Result<Plug> {
        let plug =
            Plug { local: self.folder.join(format!("{guest}.nic")), remote: self.folder.join(format!("{guest}.port")) };
        let input = UnixDatagram::bind(&plug.remote).map_err(file("bind", &plug.remote))?;
        let output = UnixDatagram::unbound().map_err(file("open a socket for", &plug.local))?;
        output.set_write_timeout(Some(SWITCH_SEND)).map_err(file("set up", &plug.local))?;
        let port = Arc::new(Port {
            input,
            output,
            guest: plug.local.clone(),
            outbox: Mutex::default(),
            changed: Condvar::new(),
        });
        let number = {
            let mut ports = self.shared.ports.lock().unwrap_or_else(PoisonError::into_inner);
            ports.push(port.clone());
            let mut table = self.shared.table.lock().unwrap_or_else(PoisonError::into_inner);
            table.names.push(guest.to_owned());
            ports.len() - 1
        };
        let (shared, sender) = (self.shared.clone(), port.clone());
        thread::spawn(move || port.receive(number, &shared));
        thread::spawn(move || sender.deliver());
        Ok(plug)
    }

    /// Sets what happens between two guests.
    ///
    /// # Errors
    /// When one has no port, or the loss is no part.
    pub fn set_rule(&self, one: &str, other: &str, rule: Rule) -> Result<()> {
        let mut table = self.shared.table.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(missing) = [one, other].iter().find(|name| !table.names.iter().any(|known| known == *name)) {
            return Err(Error::Request(format!("{missing} is not on the switch")));
        }
        if !(0.0..=1.0).contains(&rule.loss) {
            return Err(Error::Request(format!("loss is {}: write a number from 0 to 1", rule.loss)));
        }
        table.rules.insert(pair(one, other), rule);
        Ok(())
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        for port in self.shared.ports.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            // Wakes the receiving thread; a socket that is shut already needs nothing.
            let _ = port.input.shutdown(Shutdown::Both);
            port.outbox.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
            port.changed.notify_all();
        }
    }
}

fn pair(one: &str, other: &str) -> (String, String) {
    let (low, high) = if one <= other { (one, other) } else { (other, one) };
    (low.to_owned(), high.to_owned())
}

impl Port {
    fn receive(&self, number: usize, shared: &Shared) {
        let mut bytes = vec![0; ETHERNET_BYTES_MAX];
        while let Ok(length @ 1..) = self.input.recv(&mut bytes) {
            let frame = &bytes[..length];
            let targets = shared.table.lock().unwrap_or_else(PoisonError::into_inner).route(number, frame);
            let ports = shared.ports.lock().unwrap_or_else(PoisonError::into_inner).clone();
            for (target, delay) in targets {
                ports[target].enqueue(frame, delay);
            }
        }
    }

    fn enqueue(&self, frame: &[u8], delay: Duration) {
        let mut outbox = self.outbox.lock().unwrap_or_else(PoisonError::into_inner);
        if outbox.frames.len() < SWITCH_QUEUE_MAX {
            outbox.count += 1;
            let entry = (Instant::now() + delay, outbox.count, frame.to_vec());
            outbox.frames.push(Reverse(entry));
            self.changed.notify_all();
        }
    }

    fn deliver(&self) {
        let mut outbox = self.outbox.lock().unwrap_or_else(PoisonError::into_inner);
        while !outbox.closed {
            let now = Instant::now();
            let due = outbox.frames.peek().map(|Reverse((due, ..))| *due);
            outbox = match due {
                None => self.changed.wait(outbox).unwrap_or_else(PoisonError::into_inner),
                Some(due) if due > now => {
                    self.changed.wait_timeout(outbox, due - now).unwrap_or_else(PoisonError::into_inner).0
                }
                Some(_) => {
                    let frame = outbox.frames.pop();
                    drop(outbox);
                    if let Some(Reverse((_, _, frame))) = frame {
                        // A guest that is off, paused or busy loses frames, as on a wire.
                        let _ = self.output.send_to(&frame, &self.guest);
                    }
                    self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
                }
            };
        }
    }
}

impl Table {
    /// Where a frame goes, and after which delay.
    fn route(&mut self, from: usize, frame: &[u8]) -> Vec<(usize, Duration)> {
        let (Some(target), Some(source)) = (address(frame, 0), address(frame, 6)) else { return Vec::new() };
        self.homes.insert(source, from);
        let known = self.homes.get(&target).copied().filter(|_| target[0] & 1 == 0);
        let candidates = match known {
            Some(home) => home..home + 1,
            None => 0..self.names.len(),
        };
        candidates.filter(|to| *to != from).filter_map(|to| Some((to, self.passes(from, to)?))).collect()
    }

    fn passes(&mut self, from: usize, to: usize) -> Option<Duration> {
        let rule = self.rules.get(&pair(&self.names[from], &self.names[to])).copied().unwrap_or_default();
        let lost = rule.cut || (rule.loss > 0.0 && self.roll() < rule.loss);
        (!lost).then(|| Duration::from_millis(rule.delay_ms))
    }

    /// The next number from 0 to 1 (xorshift64).
    fn roll(&mut self) -> f64 {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        (self.dice >> 11) as f64 / (1_u64 << 53) as f64
    }
}

fn address(frame: &[u8], at: usize) -> Option<[u8; 6]> {
    frame.get(at..at + 6)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [u8; 6] = [0xff; 6];
    const A: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const B: [u8; 6] = [2, 0, 0, 0, 0, 2];

    fn table() -> Table {
        Table { names: ["a", "b", "c"].map(String::from).into(), dice: 7, ..Table::default() }
    }

    fn frame(to: [u8; 6], from: [u8; 6]) -> Vec<u8> {
        [to.as_slice(), from.as_slice(), b"\x08\x00data"].concat()
    }

    fn targets(table: &mut Table, from: usize, frame: &[u8]) -> Vec<usize> {
        table.route(from, frame).into_iter().map(|(to, _)| to).collect()
    }

    #[test]
    fn it_floods_until_it_has_seen_the_address() {
        let mut table = table();
        assert_eq!(targets(&mut table, 0, &frame(B, A)), [1, 2]);
        assert_eq!(targets(&mut table, 1, &frame(A, B)), [0]);
        assert_eq!(targets(&mut table, 0, &frame(B, A)), [1]);
        assert_eq!(targets(&mut table, 0, &frame(ALL, A)), [1, 2]);
        assert!(targets(&mut table, 0, b"short").is_empty());
    }

    #[test]
    fn rules_hold_in_both_directions_and_for_their_pair_only() {
        let mut table = table();
        table.rules.insert(pair("b", "a"), Rule { cut: true, ..Rule::default() });
        table.rules.insert(pair("a", "c"), Rule { delay_ms: 30, ..Rule::default() });
        assert_eq!(table.route(0, &frame(ALL, A)), [(2, Duration::from_millis(30))]);
        assert_eq!(targets(&mut table, 1, &frame(ALL, B)), [2]);
    }

    #[test]
    fn loss_is_about_the_part_that_was_asked_for() {
        let mut table = table();
        table.rules.insert(pair("a", "b"), Rule { loss: 0.25, ..Rule::default() });
        let passed = (0..4000).filter(|_| table.passes(0, 1).is_some()).count();
        assert!((2850..3150).contains(&passed), "{passed}");
    }

    #[test]
    fn frames_travel_between_sockets_and_stop_at_a_cut() {
        let folder = tempfile::tempdir().unwrap();
        let switch = Switch::new(folder.path(), 1);
        let [a, b, c] = ["a", "b", "c"].map(|name| {
            let plug = switch.plug(name).unwrap();
            let socket = UnixDatagram::bind(&plug.local).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            (socket, plug.remote)
        });
        let mut bytes = [0; 64];
        switch.set_rule("b", "a", Rule { cut: true, ..Rule::default() }).unwrap();
        a.0.send_to(&frame(ALL, A), &a.1).unwrap();
        // The third guest has it, so the switch is done with it.
        let length = c.0.recv(&mut bytes).unwrap();
        assert_eq!(&bytes[..length], frame(ALL, A));
        switch.set_rule("a", "b", Rule::default()).unwrap();
        a.0.send_to(&frame(B, A), &a.1).unwrap();
        let length = b.0.recv(&mut bytes).unwrap();
        assert_eq!(&bytes[..length], frame(B, A), "the first one must not arrive");
        assert!(switch.set_rule("a", "nobody", Rule::default()).is_err());
        assert!(switch.set_rule("a", "b", Rule { loss: 1.5, ..Rule::default() }).is_err());
    }
}
