//! Every bound of the API server, by name.

use std::time::Duration;

/// Largest request body in bytes, as Kubernetes' default.
pub const MAX_BODY_BYTES: usize = 3 * 1024 * 1024;
/// Most requests (watches and streams aside) served at once; more get 429.
pub const MAX_IN_FLIGHT: usize = 400;
/// Most watches served at once; more get 429.
pub const MAX_WATCHES: usize = 4_000;
/// Most exec and log streams served at once; more get 429.
pub const MAX_STREAMS: usize = 500;
/// Most connections open at once; more wait in the listen queue.
pub const MAX_CONNECTIONS: usize = 8_192;
/// Longest TLS handshake.
pub const TLS_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait for the headers of an HTTP/1 request.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest wait for the whole body of a request.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest wait for open requests at shutdown.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause after the listener refused to accept, such as for want of file descriptors.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Most concurrent streams of one HTTP/2 connection.
pub const MAX_HTTP2_STREAMS: u32 = 250;
/// Silence after which an HTTP/2 connection is probed.
pub const HTTP2_PING_EVERY: Duration = Duration::from_secs(30);
/// Objects read from the keyspace in one step of a list.
pub const LIST_STEP: u64 = 500;
/// How often a write without a precondition is tried again after somebody else's write.
pub const MAX_WRITE_ATTEMPTS: usize = 16;
/// How often a generated name is tried before the create fails.
pub const MAX_NAME_ATTEMPTS: usize = 8;
/// Random characters that end a generated name.
pub const GENERATED_SUFFIX: usize = 5;
/// Most operations of one JSON patch.
pub const MAX_JSON_PATCH_OPERATIONS: usize = 10_000;
/// How often a quiet watch sends a bookmark to those who allow it.
pub const BOOKMARK_EVERY: Duration = Duration::from_secs(60);
/// How long a watch lasts when the client sets no `timeoutSeconds`.
pub const WATCH_DEFAULT: Duration = Duration::from_secs(30 * 60);
/// Longest watch a client may ask for.
pub const WATCH_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// Seconds over which events share one keyspace lease.
pub const EVENT_LEASE_SHARED_SECONDS: i64 = 300;
/// Largest WebSocket message in bytes.
pub const MAX_WEBSOCKET_MESSAGE: usize = 1024 * 1024;
/// How often a quiet exec session pings its client.
pub const WEBSOCKET_PING_EVERY: Duration = Duration::from_secs(30);
/// Seconds a single-use token lives when the request does not say.
pub const DEFAULT_GRANT_SECONDS: u64 = 15 * 60;
/// Seconds a bearer token lives that was had for a single-use token.
pub const BEARER_SECONDS: u64 = 60 * 60;
/// Seconds a client certificate lives when the request does not say: 90 days.
pub const CERTIFICATE_SECONDS: u64 = 90 * 24 * 60 * 60;

/// Most characters of all warnings of one answer, as in Kubernetes.
pub(crate) const MAX_WARNINGS_CHARS: usize = 4 * 1024;
/// Most characters of one warning when all are longer than [`MAX_WARNINGS_CHARS`], as in Kubernetes.
pub(crate) const MAX_WARNING_CHARS: usize = 256;

/// Longest name of a field manager in bytes (Kubernetes).
pub(crate) const MAX_MANAGER_BYTES: usize = 128;
