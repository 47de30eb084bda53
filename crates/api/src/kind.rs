//! A kind without its Rust type: what generic machinery needs of it.

use std::fmt;

use jiff::Timestamp;
use serde_json::Value;

use crate::{
    codec::{decode_from, decode_lenient, encode, unknown_fields},
    fields::Findings,
    resource::{FieldError, Resource, Scope, Subresource},
    table::ColumnDefinition,
};

/// What generic code knows about a kind: its names, and its behaviour over JSON.
///
/// Made by [`Kind::of`] from the type, so that the registry is compiled once and not per kind.
#[derive(Clone, Copy)]
pub struct Kind {
    /// API group, empty for the core group.
    pub group: &'static str,
    /// API version.
    pub version: &'static str,
    /// Kind in CamelCase.
    pub kind: &'static str,
    /// Plural in URLs.
    pub plural: &'static str,
    /// Singular.
    pub singular: &'static str,
    /// Abbreviations.
    pub short_names: &'static [&'static str],
    /// Categories such as `all`.
    pub categories: &'static [&'static str],
    /// Namespaced or cluster-wide.
    pub scope: Scope,
    /// Whether `/status` exists.
    pub has_status: bool,
    /// Whether values are sealed before they are stored.
    pub confidential: bool,
    /// Whether objects can be deleted all at once.
    pub deletes_collection: bool,
    /// Whether a deletion is answered with the last state of the object.
    pub shown_when_deleted: bool,
    /// How many seconds objects are kept after they were made; forever without.
    pub ttl_seconds: Option<i64>,
    parts: &'static [Subresource],
    admit: fn(Value, Option<&Value>) -> Result<Admitted, Vec<FieldError>>,
    row: fn(&Value, Timestamp) -> Vec<Value>,
    columns: fn() -> Vec<ColumnDefinition>,
    fields: fn(&Value) -> Vec<(&'static str, String)>,
    schema: fn(&mut schemars::SchemaGenerator) -> schemars::Schema,
}

/// An object that passed defaulting and validation, and the fields of the request it does not know.
#[derive(Debug)]
pub struct Admitted {
    /// The object as it will be stored.
    pub object: Value,
    /// Paths of fields that were dropped.
    pub unknown: Vec<String>,
    /// What the client should know: fields without effect, and what the kind itself says.
    pub warnings: Vec<String>,
}

impl Kind {
    /// The erased form of `R`.
    pub const fn of<R: Resource>() -> Self {
        Self {
            group: R::GROUP,
            version: R::VERSION,
            kind: R::KIND,
            plural: R::PLURAL,
            singular: R::SINGULAR,
            short_names: R::SHORT_NAMES,
            categories: R::CATEGORIES,
            scope: R::SCOPE,
            has_status: R::HAS_STATUS,
            confidential: R::CONFIDENTIAL,
            deletes_collection: R::DELETES_COLLECTION,
            shown_when_deleted: R::SHOWN_WHEN_DELETED,
            ttl_seconds: R::TTL_SECONDS,
            parts: R::SUBRESOURCES,
            admit: admit::<R>,
            row: row::<R>,
            columns: columns::<R>,
            fields: fields::<R>,
            schema: |generator| generator.subschema_for::<R>(),
        }
    }

    /// `group/version`, or `version` alone in the core group.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_owned() } else { format!("{}/{}", self.group, self.version) }
    }

    /// `plural.group`, or `plural` alone in the core group: how a person names the resource.
    pub fn resource(&self) -> String {
        if self.group.is_empty() { self.plural.to_owned() } else { format!("{}.{}", self.plural, self.group) }
    }

    /// Whether a person means it by this name: plural, singular, kind, short name or `plural.group`, in lower case.
    pub fn is_called(&self, name: &str) -> bool {
        name == self.plural
            || name == self.singular
            || name.eq_ignore_ascii_case(self.kind)
            || self.short_names.contains(&name)
            || name == self.resource()
    }

    /// Whether objects live in namespaces.
    pub fn is_namespaced(&self) -> bool {
        self.scope == Scope::Namespaced
    }

    /// Parts of objects with endpoints of their own; the status first.
    pub fn subresources(&self) -> impl Iterator<Item = Subresource> {
        self.has_status.then_some(Subresource::STATUS).into_iter().chain(self.parts.iter().copied())
    }

    /// Decodes, defaults and validates a document; `old` is the stored object on update.
    pub fn admit(&self, document: Value, old: Option<&Value>) -> Result<Admitted, Vec<FieldError>> {
        (self.admit)(document, old)
    }

    /// The cells of an object's row, in the order of [`Kind::columns`].
    pub fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        (self.row)(object, now)
    }

    /// The columns of this kind's table; Name first and Age last, unless it has no such rows.
    pub fn columns(&self) -> Vec<ColumnDefinition> {
        (self.columns)()
    }

    /// Values that field selectors of this kind may compare.
    pub fn fields(&self, object: &Value) -> Vec<(&'static str, String)> {
        (self.fields)(object)
    }

    /// JSON schema of the kind (draft 2020-12), registered with the generator's definitions.
    pub fn schema(&self, generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        (self.schema)(generator)
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kind({}/{})", self.api_version(), self.kind)
    }
}

fn admit<R: Resource>(mut document: Value, old: Option<&Value>) -> Result<Admitted, Vec<FieldError>> {
    let decoded = if R::STRICT { decode_from(&document) } else { decode_lenient(&mut document) };
    let mut object: R = decoded.map_err(|error| vec![error.into_field_error()])?;
    let unknown = unknown_fields(&document, &encode(&object));
    if R::STRICT && !unknown.is_empty() {
        return Err(unknown.into_iter().map(FieldError::unknown).collect());
    }
    object.apply_defaults();
    let mut warnings = crate::meta::drop_repeated_owners(object.meta_mut());
    let typed = encode(&object);
    let mut findings = R::FIELDS.examine(&typed, old);
    let old = old.and_then(|old| decode_from::<R>(old).ok());
    let mut errors = check(&object, old.as_ref());
    if let Some(old) = &old
        && !(errors.is_empty() && findings == Findings::default())
    {
        // What was stored before it was refused may stay; else nothing of the object could be changed any more.
        let mut before = old.clone();
        before.apply_defaults();
        let known = check(&before, None);
        errors.retain(|error| !known.contains(error));
        findings = R::FIELDS.examine(&typed, Some(&encode(&before)));
    }
    errors.extend(findings.refused);
    if !errors.is_empty() {
        return Err(errors);
    }
    warnings.extend(findings.warnings);
    warnings.extend(object.warnings(old.as_ref()));
    Ok(Admitted { object: typed, unknown, warnings })
}

fn check<R: Resource>(object: &R, old: Option<&R>) -> Vec<FieldError> {
    let mut errors = crate::meta::validate(object.meta(), R::SCOPE, R::NAMES);
    errors.extend(object.validate(old));
    errors
}

fn row<R: Resource>(object: &Value, now: Timestamp) -> Vec<Value> {
    let Ok(object) = decode_from::<R>(object) else {
        return Vec::new();
    };
    let own = R::columns().iter().map(|column| (column.cell)(&object, now)).collect();
    if !R::NAMED_ROWS {
        return own;
    }
    let mut cells = vec![object.meta().name.clone().unwrap_or_default().into()];
    cells.extend(own);
    let age = object.meta().creation_timestamp.as_ref().map_or_else(String::new, |t| crate::human_age(now, t.0));
    cells.push(age.into());
    cells
}

fn columns<R: Resource>() -> Vec<ColumnDefinition> {
    let own = R::columns().iter().map(|column| column.definition.clone()).collect();
    if !R::NAMED_ROWS {
        return own;
    }
    let mut all = vec![ColumnDefinition::name()];
    all.extend(own);
    all.push(ColumnDefinition::age());
    all
}

fn fields<R: Resource>(object: &Value) -> Vec<(&'static str, String)> {
    let Ok(object) = decode_from::<R>(object) else {
        return Vec::new();
    };
    let mut all = vec![
        ("metadata.name", object.meta().name.clone().unwrap_or_default()),
        ("metadata.namespace", object.meta().namespace.clone().unwrap_or_default()),
    ];
    all.extend(object.selectable_fields());
    all
}
