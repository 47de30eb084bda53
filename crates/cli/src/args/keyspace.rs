//! `nanocloud keyspace`, as clap reads it.

use std::{path::PathBuf, str::FromStr};

use clap::{Args, Subcommand};

use super::output::Output;

/// Look after the keyspace.
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
        /// How to print
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
    /// Forget history, so that its room can be used again
    Compact {
        /// Oldest revision to keep readable; without it only the newest is kept
        #[arg(long)]
        revision: Option<u64>,
    },
    /// Give the room of what was deleted and compacted back to the disk
    Defragment,
    /// Show the alarms that are on
    Alarms {
        /// Clear them
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
    /// Save the keyspace of the running server, or of a stopped one, to a file
    Save {
        /// File to write, readable by its owner only
        file: PathBuf,
        /// Read the keyspace of this machine, whose server does not run
        #[arg(long)]
        offline: bool,
        /// Replace a file that is there
        #[arg(long)]
        force: bool,
        /// How to print what was saved
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
    /// Make the keyspace of this machine, which must be empty, from a file
    Restore(Restore),
    /// Show what a file is; fails unless its digest is right
    Status {
        /// The file
        file: PathBuf,
        /// How to print
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
    /// Check every record of a file
    Verify {
        /// The file
        file: PathBuf,
        /// How to print
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
}

/// Restore a snapshot.
#[derive(Args, Debug)]
pub struct Restore {
    /// The file
    pub file: PathBuf,
    /// Directory to make, which must not be there or be empty [default: <state root>/keyspace]
    #[arg(long, value_name = "DIR")]
    pub to: Option<PathBuf>,
    /// A member of the new cluster; name all of them, the same on each. Without any there is one, without an address
    #[arg(long = "member", value_name = "ID=HOST:PORT")]
    pub members: Vec<Member>,
    /// The member that this machine becomes
    #[arg(long, value_name = "ID", default_value_t = 1)]
    pub id: u64,
    /// Let revisions go on this much later than in the file, so that clients never meet others under numbers they know
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub bump_revision: u64,
    /// Count all history as compacted, so that clients which resume a watch read anew
    #[arg(long)]
    pub mark_compacted: bool,
    /// How to print what was restored
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
