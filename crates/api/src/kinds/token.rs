//! `nanocloud.io/v1 Token`: a single-use grant, exchanged once for a certificate or a bearer token.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Column, FieldError, Resource, Scope};

/// Longest user, group, scope or digest, in bytes.
pub const WORD_MAX: usize = 256;
/// Most groups, and most scopes.
pub const WORDS_MAX: usize = 64;

/// A single-use grant. Only a digest of its secret is kept.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "io.nanocloud.v1.Token")]
pub struct Token {
    /// Standard object metadata; the name is the public id of the token.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// What it grants.
    pub spec: TokenSpec,
    /// Whether it was used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<TokenStatus>,
}

/// What a token grants.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "io.nanocloud.v1.TokenSpec")]
#[serde(rename_all = "camelCase")]
pub struct TokenSpec {
    /// User the bearer becomes.
    pub user: String,
    /// Groups the bearer joins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// Scopes the bearer is limited to; empty for no limit beyond the groups' rights.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    /// When it stops being valid.
    pub expires_at: Time,
    /// Digest of the secret, hexadecimal.
    pub digest: String,
}

/// Whether a token was used.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "io.nanocloud.v1.TokenStatus")]
#[serde(rename_all = "camelCase")]
pub struct TokenStatus {
    /// When it was exchanged; a token is exchanged once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consumed_at: Option<Time>,
    /// Digest of the key of the server that used it, if it showed one: that server may ask again when it did not get the
    /// answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consumed_by: Option<String>,
}

impl Resource for Token {
    const FIELDS: &'static crate::fields::Shape = &crate::fields::TOKEN;
    const GROUP: &'static str = crate::names::group::NANOCLOUD;
    const VERSION: &'static str = "v1";
    const KIND: &'static str = "Token";
    const PLURAL: &'static str = "tokens";
    const SINGULAR: &'static str = "token";
    const SCOPE: Scope = Scope::Cluster;
    const HAS_STATUS: bool = true;
    const STRICT: bool = true;

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }

    fn validate(&self, old: Option<&Self>) -> Vec<FieldError> {
        let mut errors = Vec::new();
        if self.spec.user.trim().is_empty() {
            errors.push(FieldError::required("spec.user", "name the user the bearer becomes"));
        }
        for (field, words) in [("spec.groups", &self.spec.groups), ("spec.scopes", &self.spec.scopes)] {
            if words.len() > WORDS_MAX {
                errors.push(FieldError::too_many(field, words.len(), WORDS_MAX));
            }
            errors.extend(words.iter().find_map(|word| word_error(field, word)));
        }
        errors.extend(word_error("spec.user", &self.spec.user));
        errors.extend(word_error("spec.digest", &self.spec.digest));
        if old.is_some_and(|old| old.spec != self.spec) {
            errors.push(FieldError::immutable("spec"));
        }
        errors
    }

    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::text("User", "User the bearer becomes", |token: &Self, _| token.spec.user.clone().into()),
            Column::text("Expires", "When it stops being valid", |token: &Self, _| {
                token.spec.expires_at.0.to_string().into()
            }),
            Column::text("Used", "Whether it was exchanged", |token: &Self, _| {
                token.status.as_ref().is_some_and(|status| status.consumed_at.is_some()).to_string().into()
            }),
        ]
    }
}

fn word_error(field: &str, word: &str) -> Option<FieldError> {
    let message = || format!("{} bytes, at most {WORD_MAX} are allowed", word.len());
    (word.len() > WORD_MAX).then(|| FieldError::too_long(field, message()))
}
