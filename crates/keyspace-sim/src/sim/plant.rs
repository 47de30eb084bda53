//! Bugs put in on purpose, around the replica and never in it: what a simulation does not find, it does not look for.

/// One of the bugs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Plant {
    /// None.
    #[default]
    Nothing,
    /// The disk says that it synced and did not: writes are acknowledged before they are durable.
    LyingDisk,
    /// Reads are answered by whichever member is asked, as it knows.
    StaleReads,
    /// A member that takes itself for the leader answers reads without asking the others.
    LeaderReads,
    /// A watcher whose stream ended goes on one revision too late.
    WatchGap,
    /// Members' clocks run ahead, unknown to the judge: leases end early.
    HastyClock,
    /// Recovery replays what comes behind a lost batch.
    WalGap,
}

impl Plant {
    /// All bugs, by name.
    pub const ALL: [(&str, Plant); 6] = [
        ("lying-disk", Plant::LyingDisk),
        ("stale-reads", Plant::StaleReads),
        ("leader-reads", Plant::LeaderReads),
        ("watch-gap", Plant::WatchGap),
        ("hasty-clock", Plant::HastyClock),
        ("wal-gap", Plant::WalGap),
    ];

    /// The bug of that name.
    pub fn named(name: &str) -> Option<Plant> {
        Plant::ALL.iter().find(|(known, _)| *known == name).map(|(_, plant)| *plant)
    }
}
