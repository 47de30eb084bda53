//! The replica in processes that die, and on disks that are full or damaged.

mod cluster;
mod crash;
mod damage;
mod full;
mod snapshots;
