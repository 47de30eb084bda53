//! `nanocloud.io/v1 Bundle`: a service of the catalog, installed with its options.

mod reason;

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::{
    api::core::v1::ResourceRequirements,
    apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta, Time},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::stateful_set;
use crate::{
    Column, FieldError, Resource, Scope, Subresource,
    meta::{NameRule, is_dns_label},
    names, quantity,
};

pub use self::reason::{BundleReason, ReasonClass};

/// Default media type of a snapshot to restore.
pub const SNAPSHOT_MEDIA_TYPE: &str = "application/x-tar";
/// Longest value of an option, in bytes.
pub const OPTION_VALUE_MAX: usize = 64 * 1024;
/// Most options of one bundle.
pub const OPTIONS_MAX: usize = 256;
/// The capability that every node gives on request.
const FREE_CAPABILITY: &str = "CAP_NET_BIND_SERVICE";
/// Longest name of an option, in bytes.
pub const OPTION_NAME_MAX: usize = 128;
/// Longest name of a service of the catalog.
pub const SERVICE_MAX: usize = 128;
/// Longest image reference, path or URL, in bytes.
pub const REFERENCE_MAX: usize = 4_096;
/// Most capabilities of one bundle: the kernel knows fewer.
pub const CAPABILITIES_MAX: usize = 64;
/// Condition types, each depending on those before it.
pub const CONDITIONS: [&str; 4] = ["ProfilePrepared", "SecretsProvisioned", "Bound", "Ready"];

/// A catalog service installed with its options.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "io.nanocloud.v1.Bundle")]
pub struct Bundle {
    /// Standard object metadata.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// What should be.
    pub spec: BundleSpec,
    /// What is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<BundleStatus>,
}

/// What a bundle should be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "io.nanocloud.v1.BundleSpec")]
#[serde(rename_all = "camelCase")]
pub struct BundleSpec {
    /// Service of the catalog, such as `wordpress`.
    pub service: String,
    /// Mirrors `metadata.namespace`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Image to run instead of the catalog's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Option values by name; the image's label says which there are.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
    /// Whether the workload runs; `false` prepares everything and leaves it stopped.
    #[serde(default = "yes")]
    pub start: bool,
    /// Whether the image is pulled again even if it is cached.
    #[serde(default)]
    pub update: bool,
    /// Volumes to restore at install.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<SnapshotSource>,
    /// Privileges beyond none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security: Option<Security>,
    /// Limits of the workload's main container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
}

/// Where volumes are restored from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "io.nanocloud.v1.SnapshotSource")]
#[serde(rename_all = "camelCase")]
pub struct SnapshotSource {
    /// Path or URL of the snapshot.
    pub source: String,
    /// Media type of the snapshot.
    #[serde(default = "tar")]
    pub media_type: String,
}

/// Privileges a bundle asks for; the default is none at all.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "io.nanocloud.v1.Security")]
#[serde(rename_all = "camelCase")]
pub struct Security {
    /// Needed for capabilities outside `CAP_NET_*`.
    #[serde(default)]
    pub allow_privileged: bool,
    /// Capabilities to grant, such as `CAP_NET_RAW`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extra_capabilities: Vec<String>,
    /// Seccomp profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seccomp_profile: Option<SeccompProfile>,
}

/// Which seccomp profile a workload gets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "io.nanocloud.v1.SeccompProfile")]
#[serde(rename_all = "camelCase")]
pub struct SeccompProfile {
    /// `Baseline`, `RuntimeDefault` or `Localhost`.
    #[serde(rename = "type")]
    pub r#type: String,
    /// File name without extension under the policies directory, for `Localhost`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub localhost_profile: Option<String>,
}

/// What a bundle is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "io.nanocloud.v1.BundleStatus")]
#[serde(rename_all = "camelCase")]
pub struct BundleStatus {
    /// Generation of the spec this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `ProfilePrepared`, `SecretsProvisioned`, `Bound`, `Ready`, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Options, secrets and bindings as they were resolved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<Profile>,
    /// Where the service is reached.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<String>,
}

/// What was resolved for a bundle, so that restarts and updates find it again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "io.nanocloud.v1.Profile")]
#[serde(rename_all = "camelCase")]
pub struct Profile {
    /// Image that was resolved.
    pub image: String,
    /// Digest of that image.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub image_digest: String,
    /// Every option that is not a secret, with its value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
    /// Names of the options whose values are in the Secret `secretName`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<String>,
    /// Secret that holds the confidential values.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub secret_name: String,
    /// Bindings and how they went.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bindings: Vec<BindingRecord>,
}

/// One binding in a profile.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "io.nanocloud.v1.BindingRecord")]
#[serde(rename_all = "camelCase")]
pub struct BindingRecord {
    /// Id of the binding, such as `create_user`.
    pub id: String,
    /// Bundle it was run in.
    pub target: String,
    /// Idempotency token of the successful run.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub token: String,
    /// How often it was tried.
    #[serde(default)]
    pub attempts: u32,
    /// Exit code of the last try.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// When it succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Time>,
}

fn yes() -> bool {
    true
}

fn tar() -> String {
    SNAPSHOT_MEDIA_TYPE.into()
}

impl Bundle {
    /// The condition of this type.
    pub fn condition(&self, wanted: &str) -> Option<&Condition> {
        self.status.iter().flat_map(|status| &status.conditions).find(|condition| condition.type_ == wanted)
    }

    /// Whether the condition of this type is True.
    pub fn is(&self, wanted: &str) -> bool {
        self.condition(wanted).is_some_and(|condition| condition.status == "True")
    }
}

impl Resource for Bundle {
    const FIELDS: &'static crate::fields::Shape = &crate::fields::BUNDLE;
    const GROUP: &'static str = names::group::NANOCLOUD;
    const VERSION: &'static str = "v1";
    const KIND: &'static str = "Bundle";
    const PLURAL: &'static str = "bundles";
    const SINGULAR: &'static str = "bundle";
    const SHORT_NAMES: &'static [&'static str] = &["bdl"];
    const CATEGORIES: &'static [&'static str] = &["all"];
    const SCOPE: Scope = Scope::Namespaced;
    const HAS_STATUS: bool = true;
    const SUBRESOURCES: &'static [Subresource] = &[Subresource::own("actions", &["create"])];
    const STRICT: bool = true;
    // It becomes a host name.
    const NAMES: NameRule = NameRule::Label;

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }

    fn warnings(&self, _old: Option<&Self>) -> Vec<String> {
        let asked = self.spec.security.iter().flat_map(|security| &security.extra_capabilities);
        let special = asked.filter(|name| name.as_str() != FREE_CAPABILITY);
        let field = "spec.security.extraCapabilities";
        special.map(|name| format!("{field}: only nodes whose owner allows {name} run the bundle")).collect()
    }

    fn apply_defaults(&mut self) {
        let named = |name: &Option<String>| name.as_ref().is_some_and(|name| !name.is_empty());
        if !named(&self.metadata.name) && !named(&self.metadata.generate_name) {
            self.metadata.name = Some(self.spec.service.clone());
        }
        // Blank values are cleared (spec, "Default Semantics"); the stored form always names no second namespace.
        if self.spec.namespace.as_deref().is_some_and(|namespace| namespace.trim().is_empty()) {
            self.spec.namespace = None;
        }
        if let Some(security) = &mut self.spec.security {
            let names: BTreeSet<_> = security.extra_capabilities.iter().map(|name| normal_capability(name)).collect();
            security.extra_capabilities = names.into_iter().collect();
        }
    }

    fn validate(&self, old: Option<&Self>) -> Vec<FieldError> {
        let mut errors = validate_service(&self.spec);
        let name = self.metadata.name.as_deref().unwrap_or_default();
        if old.is_none() && name.len() > stateful_set::NAME_MAX {
            let message = format!("{} characters, at most {} fit a stateful set", name.len(), stateful_set::NAME_MAX);
            errors.push(FieldError::invalid("metadata.name", message));
        }
        errors.extend(reference_errors(&self.spec));
        errors.extend(validate_options(&self.spec.options));
        errors.extend(self.spec.security.iter().flat_map(validate_security));
        errors.extend(self.spec.resources.iter().flat_map(amount_errors));
        if self.spec.namespace.is_some() && self.spec.namespace != self.metadata.namespace {
            errors.push(FieldError::invalid("spec.namespace", "must equal metadata.namespace"));
        }
        if old.is_some_and(|old| old.spec.service != self.spec.service) {
            errors.push(FieldError::immutable("spec.service"));
        }
        errors
    }

    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::text("Service", "Service of the catalog", |bundle: &Self, _| bundle.spec.service.clone().into()),
            Column::text("Ready", "Whether the service runs", |bundle: &Self, _| {
                bundle.condition("Ready").map_or("Unknown", |condition| condition.status.as_str()).into()
            }),
            Column::text("Status", "Reason of the first condition that is not True", |bundle: &Self, _| {
                summary(bundle).into()
            }),
            Column::text("Endpoints", "Where it is reached", |bundle: &Self, _| {
                bundle.status.as_ref().map(|status| status.endpoints.join(",")).unwrap_or_default().into()
            }),
            Column::text("Image", "Image it runs", |bundle: &Self, _| {
                bundle
                    .status
                    .as_ref()
                    .and_then(|status| status.profile.as_ref())
                    .map(|profile| profile.image.clone())
                    .into()
            })
            .wide(),
        ]
    }

    fn selectable_fields(&self) -> Vec<(&'static str, String)> {
        vec![("spec.service", self.spec.service.clone())]
    }
}

/// The reason that matters now: of the first condition that is not True, or of `Ready`.
pub fn summary(bundle: &Bundle) -> String {
    let open = CONDITIONS.iter().filter_map(|name| bundle.condition(name)).find(|condition| condition.status != "True");
    open.or_else(|| bundle.condition("Ready"))
        .map_or_else(|| BundleReason::ProfilePending.word().into(), |condition| condition.reason.clone())
}

/// Whether a name may be an option: `^[a-z0-9]([a-z0-9_.:-]*[a-z0-9])?$`.
pub fn is_option_name(name: &str) -> bool {
    let end = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = name.as_bytes();
    let Some((first, last)) = bytes.first().zip(bytes.last()) else {
        return false;
    };
    end(first) && end(last) && bytes.iter().all(|b| end(b) || matches!(b, b'_' | b'.' | b':' | b'-'))
}

fn validate_service(spec: &BundleSpec) -> Vec<FieldError> {
    let segments = spec.service.split('/');
    if spec.service.len() <= SERVICE_MAX && segments.into_iter().all(is_dns_label) {
        return Vec::new();
    }
    vec![FieldError::invalid(
        "spec.service",
        format!(
            "{:?} is no service name: lower-case letters, digits or '-', parts joined by '/', at most {SERVICE_MAX}",
            spec.service.chars().take(SERVICE_MAX).collect::<String>()
        ),
    )]
}

fn validate_options(options: &BTreeMap<String, String>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if options.len() > OPTIONS_MAX {
        errors.push(FieldError::invalid(
            "spec.options",
            format!("{} options, at most {OPTIONS_MAX} are allowed", options.len()),
        ));
    }
    for (name, value) in options {
        let field = format!("spec.options.{name}");
        if !is_option_name(name) || name.len() > OPTION_NAME_MAX {
            errors.push(FieldError::invalid(
                field,
                "an option name is lower-case letters and digits, with '_', '.', ':' or '-' inside",
            ));
        } else if value.len() > OPTION_VALUE_MAX {
            errors.push(FieldError::invalid(
                field,
                format!("{} bytes, at most {OPTION_VALUE_MAX} are allowed", value.len()),
            ));
        }
    }
    errors
}

fn normal_capability(name: &str) -> String {
    let name = name.trim().to_ascii_uppercase();
    if name.starts_with("CAP_") { name } else { format!("CAP_{name}") }
}

/// References to images and snapshots are short and hold no blanks.
fn reference_errors(spec: &BundleSpec) -> Vec<FieldError> {
    let snapshot = spec.snapshot.as_ref();
    let references = [
        ("spec.image", spec.image.as_ref()),
        ("spec.snapshot.source", snapshot.map(|snapshot| &snapshot.source)),
        ("spec.snapshot.mediaType", snapshot.map(|snapshot| &snapshot.media_type)),
    ];
    let mut errors = Vec::new();
    for (field, text) in references.into_iter().filter_map(|(field, text)| Some((field, text?))) {
        if text.len() > REFERENCE_MAX {
            let message = format!("{} bytes, at most {REFERENCE_MAX} are allowed", text.len());
            errors.push(FieldError::too_long(field, message));
        } else if text.chars().any(char::is_control) {
            errors.push(FieldError::invalid(field, "must not hold control characters"));
        }
    }
    errors
}

fn amount_errors(resources: &ResourceRequirements) -> Vec<FieldError> {
    let lists = [("limits", &resources.limits), ("requests", &resources.requests)];
    let amounts =
        lists.into_iter().flat_map(|(list, all)| all.iter().flatten().map(move |(name, amount)| (list, name, amount)));
    amounts
        .filter_map(|(list, name, amount)| {
            let error = quantity::milli(&amount.0).and(quantity::units(&amount.0)).err()?;
            Some(FieldError::invalid(format!("spec.resources.{list}[{name}]"), error.to_string()))
        })
        .collect()
}

fn validate_security(security: &Security) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if security.extra_capabilities.len() > CAPABILITIES_MAX {
        let field = "spec.security.extraCapabilities";
        return vec![FieldError::too_many(field, security.extra_capabilities.len(), CAPABILITIES_MAX)];
    }
    for name in &security.extra_capabilities {
        if !security.allow_privileged && !name.starts_with("CAP_NET_") {
            errors.push(FieldError {
                field: "spec.security.extraCapabilities".into(),
                reason: "FieldValueForbidden",
                message: format!("Capability '{name}' is not allowed: set spec.security.allowPrivileged to opt in"),
            });
        }
    }
    if let Some(profile) = &security.seccomp_profile {
        let named = profile.localhost_profile.as_deref();
        match (profile.r#type.as_str(), named) {
            ("Baseline" | "RuntimeDefault", None) => {}
            ("Baseline" | "RuntimeDefault", Some(_)) => {
                errors.push(FieldError::invalid(
                    "spec.security.seccompProfile.localhostProfile",
                    "only with type Localhost",
                ));
            }
            ("Localhost", Some(name)) if is_dns_label(name) => {}
            ("Localhost", Some(_)) => {
                errors.push(FieldError::invalid(
                    "spec.security.seccompProfile.localhostProfile",
                    "a file name without path and extension: lower-case letters, digits or '-'",
                ));
            }
            ("Localhost", None) => errors.push(FieldError::required(
                "spec.security.seccompProfile.localhostProfile",
                "name the profile to load",
            )),
            _ => errors.push(FieldError::not_supported(
                "spec.security.seccompProfile.type",
                "must be Baseline, RuntimeDefault or Localhost",
            )),
        }
    }
    errors
}
