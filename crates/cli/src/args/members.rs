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
    /// List the members
    List {
        /// Output format
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
    /// Show the Raft state of the server that answers
    Status {
        /// Output format
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
    /// Print a join token, with which one server can join the cluster
    Add {
        /// How long the join token can be used, such as 15m
        #[arg(long, value_parser = humantime::parse_duration, default_value = "15m")]
        ttl: Duration,
        /// Output format
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
    /// Promote a learner to voter now; otherwise it becomes one when that makes the number of voters odd
    Promote {
        /// Name or id
        member: String,
    },
    /// Remove a member for good
    Remove {
        /// Name or id
        member: String,
        /// Even if the reachable voters that remain are no majority
        #[arg(long)]
        force: bool,
    },
    /// Transfer leadership to a voter, for example before maintenance of the leader
    Lead {
        /// Name or id
        member: String,
    },
}
