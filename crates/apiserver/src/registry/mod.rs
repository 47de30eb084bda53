//! The generic registry: every kind's objects over the keyspace.
//!
//! ```text
//!   create/update/patch/delete ─► plan on JSON ─► Txn { unchanged?, put/delete } ─► Keyspace
//!   get/list/watch            ◄─ open seal, add resourceVersion ◄──────────────────────┘
//! ```

mod admit;
mod bind;
mod collection;
mod create;
mod delete;
mod leases;
mod metadata;
mod namespace;
mod objects;
mod read;
mod store;
mod update;
mod watch;

pub(crate) use admit::Target;
pub(crate) use delete::{DeleteOptions, Deleted};
pub(crate) use store::{Registry, Stored, group_prefix};
pub(crate) use update::{ApplyConfig, Edit};
pub(crate) use watch::WatchItem;
