//! Patches: JSON Patch, JSON Merge Patch and Kubernetes' strategic merge. Pure.

mod json;
mod merge;
mod order;
mod strategic;
mod strategy;

use api::Kind;
use serde_json::Value;

use crate::failure::{Failure, OWN_GROUP, Outcome};

/// Media types of patches that are served.
pub(crate) const MEDIA_TYPES: [&str; 4] =
    ["application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json", APPLY];

/// Media type of server-side apply, see [`crate::managed`].
pub(crate) const APPLY: &str = "application/apply-patch+yaml";

/// A patch, read and checked.
#[derive(Clone, Debug)]
pub(crate) enum Patch {
    /// RFC 6902.
    Json(Vec<json::Operation>),
    /// RFC 7386.
    Merge(Value),
    /// Kubernetes' own.
    Strategic(Value),
}

impl Patch {
    /// Reads a patch of the media type.
    pub(crate) fn parse(kind: &Kind, media_type: &str, body: &[u8]) -> Outcome<Self> {
        let unread = |error: serde_json::Error| Failure::bad_request(format!("the patch cannot be read: {error}"));
        match media_type {
            "application/json-patch+json" => json::parse(body).map(Self::Json),
            "application/merge-patch+json" => serde_json::from_slice(body).map(Self::Merge).map_err(unread),
            "application/strategic-merge-patch+json" if kind.group != OWN_GROUP => {
                serde_json::from_slice(body).map(Self::Strategic).map_err(unread)
            }
            other => Err(unsupported(
                &format!("patches of type {other:?} are not served for {}", kind.resource()),
                "use application/merge-patch+json or application/json-patch+json",
            )),
        }
    }

    /// The object after the patch.
    pub(crate) fn apply(&self, kind: &Kind, mut object: Value) -> Outcome<Value> {
        match self {
            Self::Json(operations) => json::apply(kind, object, operations),
            Self::Merge(patch) => {
                merge::apply(&mut object, patch);
                Ok(object)
            }
            Self::Strategic(patch) => strategic::apply(object, patch),
        }
    }
}

fn unsupported(message: &str, remedy: &str) -> Failure {
    Failure::new(415, "UnsupportedMediaType", message).remedy(remedy)
}
