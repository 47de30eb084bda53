//! Every bound of the API server, by name.

use std::time::Duration;

/// Largest request body in bytes, as Kubernetes' default.
pub const MAX_BODY_BYTES: usize = 3 * 1024 * 1024;
/// Most requests (watches and streams aside) served at once; more get 429.
pub const MAX_IN_FLIGHT: usize = 400;
/// As many more for nodes, controllers and the scheduler alone.
pub const MAX_SYSTEM_IN_FLIGHT: usize = 200;
/// Most bytes of request bodies in memory at once, read in full or not; more get 429.
pub const MAX_BODIES_BYTES: usize = 64 * 1024 * 1024;
/// As many more for nodes, controllers and the scheduler alone.
pub const MAX_SYSTEM_BODIES_BYTES: usize = 32 * 1024 * 1024;
/// Most probes that wait for one look at the keyspace; more get 429.
pub const MAX_PROBES: usize = 64;
/// How long what a probe found is answered to others.
pub const PROBE_FRESH: Duration = Duration::from_millis(500);
/// Most watches served at once; more get 429.
pub const MAX_WATCHES: usize = 4_000;
/// Most exec and log streams served at once; more get 429.
pub const MAX_STREAMS: usize = 500;
/// Most connections open at once; more wait in the listen queue.
pub const MAX_CONNECTIONS: usize = 8_192;
/// Most of them from one address, or from one network of IPv6; more are closed.
pub const MAX_CONNECTIONS_PER_PEER: usize = 2_048;
/// How long a connection may be open without a request.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(90);
/// How long an idle connection may take to end once it is being closed.
pub const IDLE_CLOSE: Duration = Duration::from_secs(5);
/// How long a peer may take nothing of what it is sent, unless it reads a log or talks to a pod.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(120);
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
/// How long it takes until roles and bindings are read again after their watch ended.
pub(crate) const POLICY_RETRY: Duration = Duration::from_millis(500);
/// Objects read from the keyspace in one step of a list.
pub const LIST_STEP: u64 = 500;
/// How often a write without a precondition is tried again after a concurrent one.
pub const MAX_WRITE_ATTEMPTS: usize = 16;
/// How often a generated name is tried before the create fails.
pub const MAX_NAME_ATTEMPTS: usize = 8;
/// Random characters that end a generated name.
pub const GENERATED_SUFFIX: usize = 5;
/// Most operations of one JSON patch.
pub const MAX_JSON_PATCH_OPERATIONS: usize = 10_000;
/// Most bytes that the copies of one JSON patch make, as in Kubernetes.
pub const MAX_JSON_PATCH_COPIED_BYTES: usize = MAX_BODY_BYTES;
/// Most values that one JSON patch looks at and moves, far beyond what the largest object holds.
pub const MAX_JSON_PATCH_STEPS: usize = 8_000_000;
/// How often a quiet watch sends a bookmark, if its client allows them.
pub const BOOKMARK_EVERY: Duration = Duration::from_secs(60);
/// How long a watch lasts when the client sets no `timeoutSeconds`.
pub const WATCH_DEFAULT: Duration = Duration::from_secs(30 * 60);
/// Longest watch a client may ask for.
pub const WATCH_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// Seconds over which objects that are kept for a time only share one keyspace lease.
pub const LEASE_SHARED_SECONDS: i64 = 300;
/// Longest wait for the member that runs a pod, when another one was asked for its log or a session.
pub const RELAY_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes that are read at once of a session that is passed on.
pub const RELAY_BUFFER: usize = 16 * 1024;
/// How long the credential is good by which a request is passed on to a member.
pub const RELAY_CREDENTIAL: Duration = Duration::from_secs(60);
/// Largest WebSocket message in bytes.
pub const MAX_WEBSOCKET_MESSAGE: usize = 1024 * 1024;
/// How often a quiet exec session pings its client.
pub const WEBSOCKET_PING_EVERY: Duration = Duration::from_secs(30);
/// How long the output of an exec session is held back for a client that does not answer the first ping.
pub const FIRST_PONG_TIMEOUT: Duration = Duration::from_secs(1);
/// Seconds a single-use token lives when the request does not say.
pub const DEFAULT_GRANT_SECONDS: u64 = 15 * 60;
/// Seconds a bearer token lives that was had for a single-use token.
pub const BEARER_SECONDS: u64 = 60 * 60;
/// Seconds a client certificate lives when the request does not say: a day, for it cannot be revoked.
pub const CERTIFICATE_SECONDS: u64 = 24 * 60 * 60;

/// Most characters of all warnings of one answer, as in Kubernetes.
pub(crate) const MAX_WARNINGS_CHARS: usize = 4 * 1024;
/// Most characters of one warning when all are longer than [`MAX_WARNINGS_CHARS`], as in Kubernetes.
pub(crate) const MAX_WARNING_CHARS: usize = 256;
/// Most warnings of one answer; when there are more, the last says so.
pub(crate) const MAX_WARNINGS: usize = 32;
/// Longest wait for a version that a read wants at least and that is not there yet.
pub(crate) const FRESHNESS_WAIT: Duration = Duration::from_millis(500);
/// How often it is looked for meanwhile.
pub(crate) const FRESHNESS_LOOK: Duration = Duration::from_millis(50);
/// Longest name of a field manager in bytes (Kubernetes).
pub(crate) const MAX_MANAGER_BYTES: usize = 128;
/// Pause before the definitions of kinds are read again when their watch ended.
pub(crate) const DEFINITIONS_RETRY: Duration = Duration::from_secs(1);
