//! Keys, values and seals: how an object lies in the keyspace.

use std::{fmt, sync::Arc};

use api::Kind;
use ipnet::Ipv4Net;
use jiff::Timestamp;
use keyspace::{KeyValue, Keyspace};
use serde_json::Value;

use super::events::EventLease;
use crate::{
    failure::{Failure, Outcome},
    object,
    seal::Seal,
};

/// Prefix of every object's key.
const ROOT: &str = "/registry";

/// Objects over the keyspace.
pub(crate) struct Registry {
    pub(super) keyspace: Arc<dyn Keyspace>,
    pub(super) seal: Seal,
    pub(super) service_cidr: Ipv4Net,
    pub(super) now: fn() -> Timestamp,
    pub(super) event_lease: EventLease,
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
    pub(crate) fn new(keyspace: Arc<dyn Keyspace>, seal: Seal, service_cidr: Ipv4Net, now: fn() -> Timestamp) -> Self {
        Self { keyspace, seal, service_cidr, now, event_lease: EventLease::default() }
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
    pub(super) fn value(&self, kind: &Kind, key: &str, object: &Value) -> Outcome<Vec<u8>> {
        let mut object = object.clone();
        object::set_meta(&mut object, "resourceVersion", None);
        let plain = object.to_string().into_bytes();
        if kind.confidential { self.seal.close(key, &plain) } else { Ok(plain) }
    }

    /// The object of a stored value.
    pub(crate) fn stored(&self, kind: &Kind, kv: &KeyValue) -> Outcome<Stored> {
        let key = String::from_utf8_lossy(&kv.key);
        let object = if kind.confidential {
            serde_json::from_slice(&self.seal.open(&key, &kv.value)?)
        } else {
            serde_json::from_slice(&kv.value)
        };
        let object =
            object.map_err(|error| Failure::internal(&format!("the stored value of {key} is no JSON"), error))?;
        Ok(Stored { object, revision: kv.mod_revision, lease: kv.lease })
    }
}

/// Prefix of the keys of a collection: all of a kind, or those of one namespace.
pub(crate) fn prefix(kind: &Kind, namespace: Option<&str>) -> String {
    let group = if kind.group.is_empty() { "core" } else { kind.group };
    match namespace {
        Some(namespace) => format!("{ROOT}/{group}/{}/{namespace}/", kind.plural),
        None => format!("{ROOT}/{group}/{}/", kind.plural),
    }
}

/// Key of an object.
pub(crate) fn key(kind: &Kind, namespace: Option<&str>, name: &str) -> String {
    format!("{}{name}", prefix(kind, namespace))
}
