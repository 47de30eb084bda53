//! The protocol against real programs of etcd, and the contract of the keyspace over it.

mod access;
mod contract;
mod etcdctl;
mod harness;
mod restore;
