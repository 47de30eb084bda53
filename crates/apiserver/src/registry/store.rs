//! Keys, values and seals: how an object is stored in the keyspace.

use std::{collections::BTreeSet, fmt, sync::Arc};

use api::{Kind, Kinds};
use ipnet::Ipv4Net;
use jiff::Timestamp;
use keyspace::{KeyValue, Keyspace};
use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use serde_json::Value;

use super::leases::Leases;
use crate::{
    api_error::{ApiError, Result},
    object,
    seal::Seal,
};

/// Prefix of every object's key.
const ROOT: &str = "/registry";

/// Objects over the keyspace.
pub(crate) struct Registry {
    pub(super) kinds: Kinds,
    pub(super) keyspace: Arc<dyn Keyspace>,
    pub(super) seal: Seal,
    pub(super) service_cidr: Ipv4Net,
    pub(super) now: fn() -> Timestamp,
    pub(super) leases: Leases,
    /// Counts objects that were left out because they cannot be read.
    unreadable: Counter,
    noted: Noted,
}

/// The remedy for a record that is not JSON.
const DAMAGED: &str = "delete the object and create it again, or restore a snapshot of the keyspace";

/// Most keys that are remembered as logged.
const MAX_NOTED: usize = 1024;

/// Keys that were logged already, so that each is in the log once and not at every list.
#[derive(Debug, Default)]
struct Noted(Mutex<BTreeSet<String>>);

impl Noted {
    fn first(&self, key: &str) -> bool {
        let mut known = self.0.lock();
        if known.len() >= MAX_NOTED {
            known.clear();
        }
        known.insert(key.to_owned())
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("service_cidr", &self.service_cidr).finish_non_exhaustive()
    }
}

/// One version of an object.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    /// The object without `resourceVersion`.
    pub(crate) object: Value,
    /// Revision of this version.
    pub(crate) revision: u64,
    /// Keyspace lease it lives on, 0 for none.
    pub(crate) lease: i64,
}

impl Stored {
    /// The object as clients see it.
    pub(crate) fn published(self) -> Value {
        object::published(self.object, self.revision)
    }
}

impl Registry {
    /// A registry over a keyspace. Services get addresses of `service_cidr`.
    /// Objects that cannot be read are counted in `unreadable`.
    pub(crate) fn new(
        kinds: Kinds,
        keyspace: Arc<dyn Keyspace>,
        seal: Seal,
        service_cidr: Ipv4Net,
        now: fn() -> Timestamp,
        unreadable: Counter,
    ) -> Self {
        let (leases, noted) = (Leases::default(), Noted::default());
        Self { kinds, keyspace, seal, service_cidr, now, leases, unreadable, noted }
    }

    /// The keyspace underneath.
    pub(crate) fn keyspace(&self) -> &dyn Keyspace {
        &*self.keyspace
    }

    /// The time it is.
    pub(crate) fn now(&self) -> Timestamp {
        (self.now)()
    }

    /// The value to store for an object. `resourceVersion` is left out: it is the key's revision.
    pub(super) fn value(&self, kind: &Kind, key: &str, object: &Value) -> Result<Vec<u8>> {
        let mut object = object.clone();
        object::set_meta(&mut object, "resourceVersion", None);
        if let Some(custom) = &kind.facts().custom {
            object::set(&mut object, "apiVersion", Some(custom.stored_as.as_str().into()));
        }
        let plain = object::to_json(&object);
        if kind.facts().confidential { self.seal.close(key, &plain) } else { Ok(plain) }
    }

    /// The object of a stored value.
    pub(crate) fn stored(&self, kind: &Kind, kv: &KeyValue) -> Result<Stored> {
        let key = String::from_utf8_lossy(&kv.key);
        let object = if kind.facts().confidential {
            serde_json::from_slice(&self.seal.open(&key, &kv.value)?)
        } else {
            serde_json::from_slice(&kv.value)
        };
        let object = object.map_err(|error| {
            ApiError::internal(&format!("the stored value of {key} is no JSON"), error).remedy(DAMAGED)
        })?;
        Ok(Stored { object: kind.shown(object), revision: kv.mod_revision, lease: kv.lease })
    }

    /// The object of a stored value, or nothing when it cannot be read: then it is left out, counted and logged. One
    /// bad record must not hide the others.
    pub(crate) fn readable(&self, kind: &Kind, kv: &KeyValue) -> Option<Stored> {
        let failure = match self.stored(kind, kv) {
            Ok(stored) => return Some(stored),
            Err(failure) => failure,
        };
        self.unreadable.inc();
        let key = String::from_utf8_lossy(&kv.key).into_owned();
        if self.noted.first(&key) {
            let cause = failure.cause.as_ref().map(ToString::to_string);
            tracing::error!(key, cause, remedy = failure.status.remedy, "an object cannot be read and is left out");
        }
        None
    }
}

/// Prefix of the keys of a collection: all of a kind, or those of one namespace.
pub(crate) fn prefix(kind: &Kind, namespace: Option<&str>) -> String {
    let group = group_prefix(kind.group());
    match namespace {
        Some(namespace) => format!("{group}{}/{namespace}/", kind.plural()),
        None => format!("{group}{}/", kind.plural()),
    }
}

/// Prefix of the keys of all kinds of an API group.
pub(crate) fn group_prefix(group: &str) -> String {
    let group = if group.is_empty() { "core" } else { group };
    format!("{ROOT}/{group}/")
}

/// Key of an object.
pub(crate) fn key(kind: &Kind, namespace: Option<&str>, name: &str) -> String {
    format!("{}{name}", prefix(kind, namespace))
}
