//! Raft and RocksDB under the keyspace.
