//! The replica in processes that die, and on disks that are full or damaged.

#![expect(clippy::disallowed_methods, reason = "tests start programs and tasks, and end them")]

mod cluster;
mod crash;
mod damage;
mod full;
mod snapshots;
