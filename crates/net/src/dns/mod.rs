//! DNS for pods: own zones from a snapshot, everything else from the host's resolvers.
//!
//! ```text
//!  query ──► zone::answer (pure) ──► reply: A, SRV, NODATA, NXDOMAIN+SOA, AA bit
//!                     └► forward ──► resolvers of resolv.conf, never ourselves
//! ```

mod forward;
mod resolv;
mod server;
mod zone;

pub use resolv::resolvers;
pub use server::{Server, ServerConfig};
pub use zone::{Answer, Srv, Zone, Zones, answer};
