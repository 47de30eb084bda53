//! Patches: JSON Patch, JSON Merge Patch and Kubernetes' strategic merge. Pure.

mod json;
mod merge;
mod order;
mod strategic;
mod strategy;

use api::{Kind, Reason, names::group::NANOCLOUD};
use serde_json::Value;

use crate::{
    api_error::{ApiError, Result},
    document::Document,
};

/// Media types of patches that are served.
pub(crate) const MEDIA_TYPES: [&str; 5] = [
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    APPLY,
    APPLY_JSON,
];

/// Media types of server-side apply, see [`crate::managed`].
pub(crate) const APPLY: &str = "application/apply-patch+yaml";
pub(crate) const APPLY_JSON: &str = "application/apply-patch+json";

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
    /// Reads a patch of the media type, and the paths of the fields that it gives more than once.
    pub(crate) fn parse(kind: &Kind, media_type: &str, body: &[u8]) -> Result<(Self, Vec<String>)> {
        let read = || {
            Document::read(body).map_err(|error| ApiError::bad_request(format!("the patch cannot be read: {error}")))
        };
        let (patch, duplicates) = match media_type {
            "application/json-patch+json" => {
                let Document { value, duplicates } = read()?;
                (Self::Json(json::parse(value)?), duplicates)
            }
            "application/merge-patch+json" => {
                let Document { value, duplicates } = read()?;
                (Self::Merge(value), duplicates)
            }
            "application/strategic-merge-patch+json" if kind.group() != NANOCLOUD && kind.facts().custom.is_none() => {
                let Document { value, duplicates } = read()?;
                (Self::Strategic(value), duplicates)
            }
            other => {
                return Err(unsupported(
                    &format!("patches of type {other:?} are not served for {}", kind.resource()),
                    "use application/merge-patch+json, application/json-patch+json or application/apply-patch+yaml",
                ));
            }
        };
        Ok((patch, duplicates))
    }

    /// The object after the patch.
    pub(crate) fn apply(&self, kind: &Kind, mut object: Value) -> Result<Value> {
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

fn unsupported(message: &str, remedy: &str) -> ApiError {
    ApiError::new(Reason::UnsupportedMediaType, message).remedy(remedy)
}
