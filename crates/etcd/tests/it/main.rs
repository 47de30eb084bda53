//! The protocol against real programs of etcd, and the contract of the keyspace over it.

#![expect(clippy::disallowed_methods, reason = "tests start programs and tasks, and end them")]

mod access;
mod contract;
mod etcdctl;
mod harness;
mod reserved;
mod restore;
mod went_back;
