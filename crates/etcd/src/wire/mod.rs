//! etcd's wire protocol: messages by their field numbers, and methods by their paths.
//!
//! The numbers are those of etcd's `rpc.proto`, `kv.proto`, `lease.proto`, `v3lock.proto`, `v3election.proto` and of
//! gRPC's `health.proto`; they never change there. Unknown fields are skipped, absent ones have their zero value.
#![allow(missing_docs, reason = "fields and variants are those of the .proto files named above")]

pub mod cluster;
pub mod kv;
pub mod lease;
pub mod maintenance;
pub mod methods;
pub mod services;
pub mod watch;
