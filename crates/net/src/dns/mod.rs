//! DNS for pods, in a process of its own so that names resolve while the server is away.
//!
//! ```text
//!  server                                             `nanocloud dns`: nobody, no capability, filtered
//!  Helper::publish ──► zone.json, replaced whole ──────► zone::answer (pure) ──► A, SRV, PTR, NODATA, NXDOMAIN
//!  Helper::keep ─────► UDP and TCP sockets, bound ──────►      └► forward ──► resolvers of resolv.conf
//!      └── adopts, replaces, starts, starts again
//! ```
//!
//! # Invariants
//! - The helper needs the sockets it is started with and one directory. It holds no connection to the server, and
//!   either may be killed at any moment.
//! - Own names and own addresses are never asked for elsewhere, and the helper never asks itself.
//! - Pods and the host are answered, nobody else. No client and no name takes more than its share of what is bounded.
//!
//! # Limits
//! - While no server runs, nobody starts a helper that was killed; the next server does.

mod file;
mod forward;
mod helper;
mod process;
mod resolv;
mod server;
mod shares;
mod zone;

pub use helper::Helper;
pub(crate) use helper::{end, publish};
pub use process::main;
pub use resolv::resolvers;
pub use zone::{Answer, Srv, Zone, answer};
