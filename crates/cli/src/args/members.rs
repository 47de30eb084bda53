//! `nanocloud member`.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::output::Output;

/// Members of the cluster.
#[derive(Args, Debug)]
pub struct Members {
    /// What to do
    #[command(subcommand)]
    pub action: MemberAction,
}

/// What to do with members.
#[derive(Debug, Subcommand)]
pub enum MemberAction {
    /// Show the members
    List {
        /// How to print
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
    /// Show how the server that is asked does as a member
    Status {
        /// How to print
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
    /// Print a word with which one server can join
    Add {
        /// How long it can be used, such as 15m
        #[arg(long, value_parser = humantime::parse_duration, default_value = "15m")]
        ttl: Duration,
        /// How to print
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
    /// Give a learner a vote now; by itself it gets one when that makes the number of voters odd
    Promote {
        /// Name or id
        member: String,
    },
    /// Remove a member for good
    Remove {
        /// Name or id
        member: String,
        /// Even if too few reachable voters are left to go on
        #[arg(long)]
        force: bool,
    },
    /// Have a voter lead, such as before maintenance of the one that does
    Lead {
        /// Name or id
        member: String,
    },
}
