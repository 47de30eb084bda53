//! Members as processes of their own, which are killed, stopped and cut off while clients take notes.

mod clients;
mod faults;
mod kill;
mod namespaces;
mod process;

/// A number from the environment, so that one test runs in short and in full.
fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect("a number"))
}
