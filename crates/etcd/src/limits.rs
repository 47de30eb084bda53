//! Every bound of this crate, by name.

use std::time::Duration;

/// Most connections at once; more wait to be accepted.
pub const MAX_CONNECTIONS: usize = 4_096;

/// Most requests and streams of one connection at once.
pub const MAX_STREAMS: u32 = 4_096;

/// Longest TLS handshake.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Pause after a connection could not be accepted.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Silence on a connection after which it is asked whether it lives.
pub const PING_EVERY: Duration = Duration::from_secs(30);

/// How long connections have to end when the server stops.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Flow control window of a stream and of a connection, in bytes: a large answer does not wait for the client at
/// every 64 KiB.
pub const WINDOW_BYTES: u32 = 1024 * 1024;

/// Largest request in bytes: the largest write of the keyspace, and what surrounds it.
pub const MAX_REQUEST_BYTES: usize = keyspace::limits::MAX_REQUEST_BYTES + 512 * 1024;

/// Event bytes after which an answer to a watch that allows it is sent in fragments.
pub const FRAGMENT_BYTES: usize = keyspace::limits::MAX_REQUEST_BYTES;

/// Silence after which a watch that asked for it is told how far it has come (etcd's interval).
pub const PROGRESS_EVERY: Duration = Duration::from_secs(600);

/// Most watches on one stream.
pub const MAX_WATCHES_PER_STREAM: usize = 16_384;

/// Answers to the watches of one stream without a pause after which it rests: they are many watches of the same keys.
pub const WATCH_BURST: usize = 32;

/// How long such a stream rests, while events gather.
pub const WATCH_REST: Duration = Duration::from_millis(50);

/// How often the server asks for term and leader, which every answer names.
pub const STANDING_EVERY: Duration = Duration::from_millis(500);

/// Time to live of the lease that is granted to a lock or a candidate without one, seconds (etcd's value).
pub const SESSION_TTL_SECONDS: i64 = 60;

/// Bytes of one piece of a snapshot.
pub const SNAPSHOT_PIECE_BYTES: usize = 256 * 1024;

/// Pieces of a snapshot that wait for the client to take them.
pub const SNAPSHOT_PIECES: usize = 8;

/// Longest wait for the answer of an etcd cluster to one call.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Largest answer of an etcd cluster, in bytes. A range may be that large, and a batch of events.
pub const ANSWER_BYTES: usize = 1024 * 1024 * 1024;

/// Longest wait for an etcd cluster to say that it has compacted what a watch wants to begin with.
pub const COMPACTION_TOLD_WITHIN: Duration = Duration::from_secs(1);

/// Wait for events of the newest revision that an etcd cluster may have forgotten, because it was compacted there.
pub const FORGOTTEN_AFTER: Duration = Duration::from_secs(1);
