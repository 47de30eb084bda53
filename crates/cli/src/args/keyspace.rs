//! `nanocloud keyspace`, as clap reads it.

use std::{path::PathBuf, str::FromStr};

use clap::{Args, Subcommand};

use super::output::Output;

/// Maintain the keyspace.
#[derive(Args, Debug)]
pub struct Keyspace {
    /// What to do
    #[command(subcommand)]
    pub action: KeyspaceAction,
}

/// What to do with the keyspace.
#[derive(Debug, Subcommand)]
pub enum KeyspaceAction {
    /// Show revision, size, quota and alarms
    Status {
        /// Output format
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
    /// Compact: discard old revisions, so that their space can be reused
    Compact {
        /// Oldest revision to keep [default: the newest]
        #[arg(long)]
        revision: Option<u64>,
    },
    /// Return the space of deleted and compacted data to the file system
    Defragment,
    /// List active alarms
    Alarms {
        /// Clear the alarms
        #[arg(long)]
        clear: bool,
    },
    /// Save, restore and check snapshots
    Snapshot {
        /// What to do
        #[command(subcommand)]
        action: SnapshotAction,
    },
}

/// What to do with snapshots.
#[derive(Debug, Subcommand)]
pub enum SnapshotAction {
    /// Save the keyspace to a file, of the running server or of a stopped one
    Save {
        /// File to write; only its owner can read it
        file: PathBuf,
        /// Read the keyspace of the server on this machine, which must be stopped
        #[arg(long)]
        offline: bool,
        /// Overwrite an existing file
        #[arg(long)]
        force: bool,
        /// Output format of the summary
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
    /// Restore the keyspace of this machine, which must be empty, from a file
    Restore(Restore),
    /// Check the digest of a snapshot and show its summary
    Status {
        /// Snapshot file
        file: PathBuf,
        /// Output format
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
    /// Check every record of a snapshot
    Verify {
        /// Snapshot file
        file: PathBuf,
        /// Output format
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
}

/// Restore a snapshot.
#[derive(Args, Debug)]
pub struct Restore {
    /// Snapshot file
    pub file: PathBuf,
    /// Directory to create; if it exists it must be empty [default: <state root>/keyspace]
    #[arg(long, value_name = "DIR")]
    pub to: Option<PathBuf>,
    /// Member of the new cluster; list all of them, the same on each machine [default: a single member]
    #[arg(long = "member", value_name = "ID=HOST:PORT")]
    pub members: Vec<Member>,
    /// Id of the member that this machine becomes
    #[arg(long, value_name = "ID", default_value_t = 1)]
    pub id: u64,
    /// Add this to the revision, so that clients do not see other data at a revision they know
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub bump_revision: u64,
    /// Mark all old revisions as compacted, so that clients list again instead of resuming a watch
    #[arg(long)]
    pub mark_compacted: bool,
    /// Output format of the summary
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
}

/// A member of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its number.
    pub id: u64,
    /// Where other members reach it.
    pub address: String,
}

impl FromStr for Member {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not ID=HOST:PORT, such as 1=10.0.0.1:6480");
        let (id, address) = text.split_once('=').ok_or_else(wrong)?;
        let id = id.parse().ok().filter(|id| *id != 0).ok_or_else(wrong)?;
        let port = address.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port);
        port.and_then(|port| port.parse::<u16>().ok()).ok_or_else(wrong)?;
        Ok(Self { id, address: address.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_have_a_number_and_an_address() {
        let member: Member = "2=[fd00::2]:6480".parse().unwrap();
        assert_eq!((member.id, member.address.as_str()), (2, "[fd00::2]:6480"));
        for wrong in ["", "1", "0=a:1", "x=a:1", "1=a", "1=:5", "1=a:99999"] {
            assert!(wrong.parse::<Member>().is_err(), "{wrong}");
        }
    }
}
