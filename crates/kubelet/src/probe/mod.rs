//! Probes: read from the spec, counted purely, run against container and address.

mod count;
mod http;
mod run;
mod spec;

pub use count::Counter;
pub use http::client;
pub use run::{Health, Prober, Said, Target, Teller, Unhealthy};
pub use spec::{Check, Kind, ProbeSpec, Probes};
