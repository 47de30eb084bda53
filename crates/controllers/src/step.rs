//! What a planner wants done: data, carried out by [`crate::world::apply`].

use api::{Kind, ObjectKey, Resource, encode};
use serde_json::Value;

/// Something to tell people: becomes a Kubernetes Event.
#[derive(Clone, Debug)]
pub struct Notice {
    /// Kind of the object it is about.
    pub kind: Kind,
    /// The object it is about.
    pub about: Value,
    /// Whether it is bad news (`Warning`) or not (`Normal`).
    pub warning: bool,
    /// Why, in one word.
    pub reason: String,
    /// What happened, for a person; never holds a secret.
    pub message: String,
}

/// One change to the cluster.
#[derive(Clone, Debug)]
pub enum Step {
    /// Create an object.
    Create {
        /// Its kind.
        kind: Kind,
        /// Its key.
        key: ObjectKey,
        /// The object.
        object: Value,
    },
    /// Replace an object at the version it was read.
    Replace {
        /// Its kind.
        kind: Kind,
        /// Its key.
        key: ObjectKey,
        /// The object.
        object: Value,
    },
    /// Replace an object's status at the version it was read.
    ReplaceStatus {
        /// Its kind.
        kind: Kind,
        /// Its key.
        key: ObjectKey,
        /// The object.
        object: Value,
    },
    /// Delete exactly this object.
    Delete {
        /// Its kind.
        kind: Kind,
        /// Its key.
        key: ObjectKey,
        /// Its uid: another object of the same name is left alone.
        uid: String,
    },
    /// Tell people.
    Notify(Notice),
}

impl Step {
    /// Create `object`.
    pub fn create<R: Resource>(object: &R) -> Self {
        Self::Create { kind: Kind::of::<R>(), key: ObjectKey::of(object), object: encode(object) }
    }

    /// Replace with `object`.
    pub fn replace<R: Resource>(object: &R) -> Self {
        Self::Replace { kind: Kind::of::<R>(), key: ObjectKey::of(object), object: encode(object) }
    }

    /// Replace the status by that of `object`.
    pub fn replace_status<R: Resource>(object: &R) -> Self {
        Self::ReplaceStatus { kind: Kind::of::<R>(), key: ObjectKey::of(object), object: encode(object) }
    }

    /// Delete `object`.
    pub fn delete<R: Resource>(object: &R) -> Self {
        let uid = object.meta().uid.clone().unwrap_or_default();
        Self::Delete { kind: Kind::of::<R>(), key: ObjectKey::of(object), uid }
    }

    /// Good news about `object`.
    pub fn normal<R: Resource>(object: &R, reason: &str, message: impl Into<String>) -> Self {
        Self::notice(object, false, reason, message.into())
    }

    /// Bad news about `object`.
    pub fn warning<R: Resource>(object: &R, reason: &str, message: impl Into<String>) -> Self {
        Self::notice(object, true, reason, message.into())
    }

    fn notice<R: Resource>(object: &R, warning: bool, reason: &str, message: String) -> Self {
        Self::Notify(Notice { kind: Kind::of::<R>(), about: encode(object), warning, reason: reason.into(), message })
    }
}
