//! Real replicas on a simulated network, disk and clock. One seed decides everything: the same seed gives the same run.
//!
//! ```text
//!   sim SEED [--members N] [--seconds N] [--handover SYNC_MS] [--plant BUG] [--quiet]
//! ```
//!
//! One thread runs all members (turmoil). Their disks are [`disk::Disk`], their network is turmoil's, their clocks are
//! tokio's. What asks the C library for randomness or time is answered from the seed (mad-turmoil), so that hash maps,
//! identities and the fairness of `select!` repeat as well. A process makes one run only: some libraries count
//! things for the life of a process.

mod clients;
mod disk;
mod faults;
mod file;
mod member;
mod net;
mod notes;
mod plant;
mod reference;
mod run;
mod trace;

use std::process::ExitCode;

use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::plant::Plant;
use crate::run::{Report, Setup};

const USAGE: &str = "usage: sim SEED [--members N] [--seconds N] [--handover SYNC_MS] [--plant BUG] [--quiet]";

fn setup(mut words: impl Iterator<Item = String>) -> Option<Setup> {
    let seed = words.next()?.parse().ok()?;
    let mut setup = Setup {
        seed,
        members: if seed % 4 == 0 { 1 } else { 3 },
        faulty_ms: 20_000,
        handover_sync_ms: None,
        plant: Plant::Nothing,
        loud: true,
    };
    while let Some(word) = words.next() {
        match word.as_str() {
            "--members" => setup.members = words.next()?.parse().ok()?,
            "--seconds" => setup.faulty_ms = words.next()?.parse::<u64>().ok()?.checked_mul(1_000)?,
            "--handover" => setup.handover_sync_ms = Some(words.next()?.parse().ok()?),
            "--plant" => setup.plant = Plant::named(&words.next()?)?,
            "--quiet" => setup.loud = false,
            _ => return None,
        }
    }
    Some(setup)
}

fn main() -> ExitCode {
    let Some(setup) = setup(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    #[expect(clippy::disallowed_methods, reason = "a program reads its own environment")]
    if std::env::var_os("RUST_LOG").is_some() {
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        tracing_subscriber::fmt().with_env_filter(filter).without_time().with_writer(std::io::stderr).init();
    }
    mad_turmoil::rand::set_rng(StdRng::seed_from_u64(setup.seed));
    let clocks = mad_turmoil::time::SimClocksGuard::init();
    // On a thread of its own, which has not asked for randomness yet.
    let ran = std::thread::spawn(move || run::run(setup)).join();
    drop(clocks);
    let Ok(Report { steps, faults, requests, revisions, trace, verdict }) = ran else {
        println!("seed {}: PANICKED", setup.seed);
        return ExitCode::FAILURE;
    };
    let (asked, answered) = requests;
    println!(
        "seed {}: {} members, {steps} steps, {faults} faults, {asked} requests, {answered} answered, {revisions} revisions, \
         trace {:016x} of {} events",
        setup.seed, setup.members, trace.0, trace.1
    );
    match verdict {
        Ok(()) => {
            println!("seed {}: all is well", setup.seed);
            ExitCode::SUCCESS
        }
        Err(problem) => {
            println!("seed {}: FOUND {problem}", setup.seed);
            ExitCode::FAILURE
        }
    }
}
