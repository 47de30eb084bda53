//! The replica in processes that die, and on a disk that is full.

mod crash;
mod full;
