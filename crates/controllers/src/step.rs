//! What a planner wants done: data, carried out by [`crate::world::apply`].

use api::{Kind, ObjectKey, Resource, encode, kinds::Pod};
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

/// Which object is deleted, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deletion {
    /// Its uid: another object of the same name is left alone.
    pub uid: String,
    /// The version it was decided on, if another one may not be deleted.
    pub version: Option<String>,
    /// Seconds of grace, if not those that the object itself names.
    pub grace_seconds: Option<i64>,
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
    /// Bind a pod that has no node to one.
    Bind {
        /// Key of the pod.
        key: ObjectKey,
        /// The pod as it was read.
        pod: Value,
        /// Name of the node.
        node: String,
    },
    /// Delete exactly this object.
    Delete {
        /// Its kind.
        kind: Kind,
        /// Its key.
        key: ObjectKey,
        /// Which object of that name, and how.
        deletion: Deletion,
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

    /// Bind `pod` to a node.
    pub fn bind(pod: &Pod, node: &str) -> Self {
        Self::Bind { key: ObjectKey::of(pod), pod: encode(pod), node: node.to_owned() }
    }

    /// Delete `object`.
    pub fn delete<R: Resource>(object: &R) -> Self {
        let deletion = Deletion { uid: object.meta().uid.clone().unwrap_or_default(), ..Deletion::default() };
        Self::Delete { kind: Kind::of::<R>(), key: ObjectKey::of(object), deletion }
    }

    /// Delete `object` without grace: nobody is there to end it.
    pub fn delete_now<R: Resource>(object: &R) -> Self {
        let uid = object.meta().uid.clone().unwrap_or_default();
        let deletion = Deletion { uid, version: None, grace_seconds: Some(0) };
        Self::Delete { kind: Kind::of::<R>(), key: ObjectKey::of(object), deletion }
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
