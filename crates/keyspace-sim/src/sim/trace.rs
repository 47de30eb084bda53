//! What happened in a run: lines for people, and one number for all of it.

use std::fmt;
use std::io::Write;
use std::sync::Arc;

use parking_lot::Mutex;

/// The trace of one run. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Trace(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    now_ms: u64,
    hash: u64,
    events: u64,
    loud: bool,
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

/// FNV-1a, going on from `hash`.
pub fn fnv(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(FNV_PRIME))
}

/// FNV-1a of the parts, each with its length.
pub fn fnv_of(parts: &[&[u8]]) -> u64 {
    parts.iter().fold(FNV_OFFSET, |hash, part| fnv(fnv(hash, &(part.len() as u64).to_le_bytes()), part))
}

impl Trace {
    /// An empty trace; its lines are printed when it is `loud`.
    pub fn new(loud: bool) -> Self {
        Trace(Arc::new(Mutex::new(Inner { now_ms: 0, hash: FNV_OFFSET, events: 0, loud })))
    }

    /// It is this late now, milliseconds since the beginning.
    pub fn set_now(&self, now_ms: u64) {
        self.0.lock().now_ms = now_ms;
    }

    /// Simulated time since the beginning, milliseconds.
    pub fn now_ms(&self) -> u64 {
        self.0.lock().now_ms
    }

    /// Something worth a line.
    pub fn say(&self, what: fmt::Arguments<'_>) {
        let mut inner = self.0.lock();
        let line = format!("{:>9.3} {what}", inner.now_ms as f64 / 1000.0);
        inner.hash = fnv(inner.hash, line.as_bytes());
        inner.events += 1;
        // Whoever reads may have seen enough.
        inner.loud = inner.loud && writeln!(std::io::stdout(), "{line}").is_ok();
    }

    /// Something that counts and is not worth a line.
    pub fn count(&self, what: u64) {
        let mut inner = self.0.lock();
        inner.hash = fnv(inner.hash, &what.to_le_bytes());
        inner.events += 1;
    }

    /// A number that differs when anything differs, and how many events it stands for.
    pub fn hash(&self) -> (u64, u64) {
        let inner = self.0.lock();
        (inner.hash, inner.events)
    }
}
