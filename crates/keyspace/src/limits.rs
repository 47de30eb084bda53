//! Every bound of the keyspace, by name.

/// Longest key in bytes. Keys live in every index, so they are kept far below the request bound.
pub const MAX_KEY_BYTES: usize = 32 * 1024;

/// Largest write request in bytes (keys, values and compares together); etcd's default `--max-request-bytes`.
pub const MAX_REQUEST_BYTES: usize = 1536 * 1024;

/// Most operations in one branch of a transaction, and most compares; etcd's default `--max-txn-ops`.
pub const MAX_TXN_OPS: usize = 128;

/// Deepest nesting of transactions inside transactions.
pub const MAX_TXN_DEPTH: usize = 8;

/// Longest lease in seconds (about 285 years), etcd's bound.
pub const MAX_LEASE_TTL_SECONDS: i64 = 9_000_000_000;

/// Most leases that one tick expires; the leader ticks again while more are due, so one command stays short.
pub const MAX_EXPIRIES_PER_TICK: usize = 1_000;

/// Most revisions a live watcher may have waiting before it is cut off to catch up from history.
pub const WATCH_QUEUE_REVISIONS: usize = 1_024;

/// Most event bytes a live watcher may have waiting before it is cut off to catch up from history.
pub const WATCH_QUEUE_BYTES: usize = 4 * 1024 * 1024;

/// Most records of history read in one step of a watcher's catch-up. A revision is never split, so a larger
/// transaction is still delivered whole.
pub const CATCH_UP_RECORDS: usize = 1_000;

/// Most bytes of history read in one step of a watcher's catch-up (a revision is never split).
pub const CATCH_UP_BYTES: usize = 2 * 1024 * 1024;

/// Most records looked at in one step of the sweep behind a compaction.
pub const SWEEP_RECORDS: usize = 1_000;

/// Most alarms at once: a few for each member.
pub const MAX_ALARMS: usize = 64;

/// By how much a value may be larger than the one it replaces while there is no room: enough for the marks of a deletion.
pub const REPLACE_SLACK_BYTES: usize = 256;

/// Most watchers of one keyspace.
pub const MAX_WATCHERS: usize = 100_000;
