//! The description of a whole cluster: nodes, classes, pools, rollouts, placement.
//!
//! ```text
//!   services.nanocloud.cluster ──► nix/lib/cluster-schema.nix ──► /etc/nanocloud/cluster.json
//!                                        │ same rules                     │
//!                                        └── nix/ci/golden ── tests ── Fleet::decode ──► installers,
//!                                                                                         rollouts, people
//! ```
//!
//! A cluster is described in Nix only; its JSON is read here. What the types cannot express (a pool that does not exist,
//! a rollout that removes the majority) is [`check`]ed on both sides by the same rules, and the tests of both sides read
//! the same documents.
//!
//! # Invariants
//!
//! * [`Fleet::decode`] returns only documents without findings. Unknown keys are rejected.
//! * Everything is a function of the document, without files, clock or network.
//!
//! # Limits
//!
//! [`MAX_BYTES`] for a document. Systems are named by their `nixosConfigurations` attribute, not by a store
//! path; the builder decides which revision that is.

mod check;
mod document;

pub use check::{Finding, check};
pub use document::{Class, Fleet, Kind, Node, Placement, Pool, Role, Rollout, Selector, Spread, Version};

/// Largest document that is read.
pub const MAX_BYTES: usize = 4 * 1024 * 1024;

/// Why a document is not a cluster.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is larger than [`MAX_BYTES`].
    #[error("the document has {bytes} bytes, more than {MAX_BYTES}: is it the right file?")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// It is not JSON, or not of this form.
    #[error("{path}: not as a cluster is described; write it in services.nanocloud.cluster and let Nix make the JSON")]
    Form {
        /// Path of the key, such as `nodes.node01.role`.
        path: String,
        /// What is wrong there.
        #[source]
        source: serde_json::Error,
    },
    /// Its parts do not fit together.
    #[error("the cluster does not fit together: {}", findings(.0))]
    Unsound(Vec<Finding>),
}

fn findings(all: &[Finding]) -> String {
    all.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl Fleet {
    /// Reads a document and checks it.
    pub fn decode(json: &[u8]) -> Result<Self, Error> {
        if json.len() > MAX_BYTES {
            return Err(Error::TooLarge { bytes: json.len() });
        }
        let mut reader = serde_json::Deserializer::from_slice(json);
        let cluster: Self = serde_path_to_error::deserialize(&mut reader)
            .map_err(|error| Error::Form { path: error.path().to_string(), source: error.into_inner() })?;
        reader.end().map_err(|source| Error::Form { path: "after the document".into(), source })?;
        match check(&cluster) {
            found if found.is_empty() => Ok(cluster),
            found => Err(Error::Unsound(found)),
        }
    }

    /// The JSON Schema (draft 2020-12) of a document.
    #[must_use]
    pub fn schema() -> serde_json::Value {
        schemars::schema_for!(Self).to_value()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOLDEN: &str = include_str!("../../../nix/ci/golden/cluster.json");

    #[test]
    fn what_nix_writes_is_read_and_written_back_without_a_difference() {
        let cluster = Fleet::decode(GOLDEN.as_bytes()).unwrap();
        let written = serde_json::to_value(&cluster).unwrap();
        assert_eq!(written, serde_json::from_str::<serde_json::Value>(GOLDEN).unwrap());
        assert_eq!(cluster.nodes.len(), 4);
    }

    #[test]
    fn mistakes_of_form_are_named_by_their_path() {
        for (old, new, path, said) in [
            (r#""role": "agent""#, r#""role": "boss""#, "nodes.worker01.role", "unknown variant `boss`"),
            (r#""paused": false"#, r#""paused": false, "pausd": true"#, "rollouts.control", "unknown field `pausd`"),
            (r#""minSize": 3"#, r#""minSize": "three""#, "pools.control.minSize", "invalid type: string"),
            (r#""kind": "Cluster""#, r#""kind": "Pod""#, "kind", "unknown variant `Pod`"),
        ] {
            let text = GOLDEN.replacen(old, new, 1);
            assert_ne!(text, GOLDEN, "{old} is not in the document");
            let Error::Form { path: found, source } = Fleet::decode(text.as_bytes()).unwrap_err() else {
                panic!("{new} was taken");
            };
            assert!(found.starts_with(path), "{found} is not {path}");
            assert!(source.to_string().contains(said), "{source}");
        }
        assert!(Fleet::decode(b"{}{}").is_err());
        assert!(matches!(Fleet::decode(&vec![b' '; MAX_BYTES + 1]), Err(Error::TooLarge { .. })));
    }

    #[test]
    fn the_schema_refuses_unknown_keys() {
        let schema = Fleet::schema();
        assert_eq!(schema["additionalProperties"], false);
        assert!(schema["properties"]["nodes"].is_object());
    }
}
