//! Probes: read from the spec, counted purely, run against container and address.

mod count;
mod run;
mod spec;

pub use count::Counter;
pub use run::{Health, OnFailure, Prober, Target, Unhealthy};
pub use spec::{Check, Kind, ProbeSpec, Probes};
