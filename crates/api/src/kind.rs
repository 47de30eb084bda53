//! A kind without its Rust type: what generic machinery needs of it.

use std::{borrow::Cow, fmt, marker::PhantomData, sync::Arc};

use jiff::Timestamp;
use schemars::SchemaGenerator;
use serde_json::Value;

use crate::{
    codec::{decode_from, decode_lenient, encode, unknown_fields},
    custom::schema::Schema,
    field_error::FieldError,
    fields::Findings,
    resource::{Resource, Scope, Subresource},
    table::ColumnDefinition,
};

/// What generic code knows about a kind: its names, its facts, and its behaviour over JSON. Cloning is cheap.
///
/// Made by [`Kind::of`] from a type, so that the registry is compiled once and not per kind, or by [`Kind::new`] from
/// whatever else describes one.
#[derive(Clone)]
pub struct Kind(Arc<Parts>);

struct Parts {
    names: Names,
    facts: Facts,
    behaviour: Box<dyn Behaviour>,
}

/// What a kind is called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// API group, empty for the core group.
    pub group: Cow<'static, str>,
    /// API version.
    pub version: Cow<'static, str>,
    /// Kind in CamelCase.
    pub kind: Cow<'static, str>,
    /// Plural in URLs.
    pub plural: Cow<'static, str>,
    /// Singular.
    pub singular: Cow<'static, str>,
    /// Kind of a list of objects.
    pub list_kind: Cow<'static, str>,
    /// Abbreviations.
    pub short_names: Vec<Cow<'static, str>>,
    /// Categories such as `all`.
    pub categories: Vec<Cow<'static, str>>,
}

impl Names {
    fn of<R: Resource>() -> Self {
        let all = |names: &[&'static str]| names.iter().map(|name| Cow::Borrowed(*name)).collect();
        Self {
            group: R::GROUP.into(),
            version: R::VERSION.into(),
            kind: R::KIND.into(),
            plural: R::PLURAL.into(),
            singular: R::SINGULAR.into(),
            list_kind: format!("{}List", R::KIND).into(),
            short_names: all(R::SHORT_NAMES),
            categories: all(R::CATEGORIES),
        }
    }
}

/// How objects of a kind are served and stored.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Namespaced or cluster-wide.
    pub scope: Scope,
    /// Whether `/status` exists.
    pub has_status: bool,
    /// Parts with endpoints of their own, beside the status.
    pub subresources: Cow<'static, [Subresource]>,
    /// Whether values are sealed before they are stored.
    pub confidential: bool,
    /// Whether objects can be deleted all at once.
    pub deletes_collection: bool,
    /// Whether a deletion is answered with the last state of the object.
    pub shown_when_deleted: bool,
    /// How many seconds objects are kept after they were made; forever without.
    pub ttl_seconds: Option<i64>,
    /// Where the subresource `scale` finds its numbers.
    pub scale: ScalePaths,
    /// What is so of a kind that a CustomResourceDefinition defines, and of no other.
    pub custom: Option<Custom>,
}

/// The fields of an object that its `scale` is made of, as JSON pointers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScalePaths {
    /// The number that is wanted.
    pub spec: Cow<'static, str>,
    /// The number that there is.
    pub status: Cow<'static, str>,
    /// The selector: a `LabelSelector`, or its text.
    pub selector: Option<Cow<'static, str>>,
}

impl Default for ScalePaths {
    fn default() -> Self {
        let selector = Some("/spec/selector".into());
        Self { spec: "/spec/replicas".into(), status: "/status/replicas".into(), selector }
    }
}

/// One version of the kind of a CustomResourceDefinition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Custom {
    /// The `apiVersion` that objects are stored with. All versions show the same objects.
    pub stored_as: String,
    /// The text of the warning that every answer in a deprecated version carries.
    pub deprecation: Option<String>,
}

impl Facts {
    /// An ordinary kind.
    pub fn new(scope: Scope) -> Self {
        Self {
            scope,
            has_status: false,
            subresources: Cow::Borrowed(&[]),
            confidential: false,
            deletes_collection: true,
            shown_when_deleted: false,
            ttl_seconds: None,
            scale: ScalePaths::default(),
            custom: None,
        }
    }

    fn of<R: Resource>() -> Self {
        Self {
            scope: R::SCOPE,
            has_status: R::HAS_STATUS,
            subresources: Cow::Borrowed(R::SUBRESOURCES),
            confidential: R::CONFIDENTIAL,
            deletes_collection: R::DELETES_COLLECTION,
            shown_when_deleted: R::SHOWN_WHEN_DELETED,
            ttl_seconds: R::TTL_SECONDS,
            ..Self::new(R::SCOPE)
        }
    }
}

/// What a kind does with its objects, which are JSON.
pub trait Behaviour: Send + Sync + 'static {
    /// Decodes, defaults and validates a document; `old` is the stored object on update.
    ///
    /// # Errors
    /// Every field that is wrong.
    fn admit(&self, document: Value, old: Option<&Value>) -> Result<Admitted, Vec<FieldError>>;

    /// The schema of a kind that is made of one.
    fn structure(&self) -> Option<&Schema> {
        None
    }

    /// A stored object as this version of the kind shows it.
    fn shown(&self, stored: Value) -> Value {
        stored
    }

    /// The cells of an object's row, in the order of the columns.
    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value>;

    /// The columns of the kind's table.
    fn columns(&self) -> Vec<ColumnDefinition>;

    /// Values that field selectors may compare.
    fn fields(&self, object: &Value) -> Vec<(Cow<'static, str>, String)>;

    /// JSON schema of the kind (draft 2020-12), registered with the generator's definitions.
    fn schema(&self, generator: &mut SchemaGenerator) -> schemars::Schema;
}

/// The behaviour of a Rust type.
struct Typed<R>(PhantomData<fn() -> R>);

impl<R: Resource> Behaviour for Typed<R> {
    fn admit(&self, document: Value, old: Option<&Value>) -> Result<Admitted, Vec<FieldError>> {
        admit::<R>(document, old)
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        row::<R>(object, now)
    }

    fn columns(&self) -> Vec<ColumnDefinition> {
        columns::<R>()
    }

    fn fields(&self, object: &Value) -> Vec<(Cow<'static, str>, String)> {
        fields::<R>(object)
    }

    fn schema(&self, generator: &mut SchemaGenerator) -> schemars::Schema {
        generator.subschema_for::<R>()
    }
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
    /// The kind of a type.
    pub fn of<R: Resource>() -> Self {
        Self::new(Names::of::<R>(), Facts::of::<R>(), Typed::<R>(PhantomData))
    }

    /// A kind from its parts.
    pub fn new(names: Names, facts: Facts, behaviour: impl Behaviour) -> Self {
        Self(Arc::new(Parts { names, facts, behaviour: Box::new(behaviour) }))
    }

    /// API group, empty for the core group.
    pub fn group(&self) -> &str {
        &self.0.names.group
    }

    /// API version.
    pub fn version(&self) -> &str {
        &self.0.names.version
    }

    /// Kind in CamelCase.
    pub fn kind(&self) -> &str {
        &self.0.names.kind
    }

    /// Plural in URLs.
    pub fn plural(&self) -> &str {
        &self.0.names.plural
    }

    /// Singular.
    pub fn singular(&self) -> &str {
        &self.0.names.singular
    }

    /// Kind of a list of objects.
    pub fn list_kind(&self) -> &str {
        &self.0.names.list_kind
    }

    /// Abbreviations.
    pub fn short_names(&self) -> &[Cow<'static, str>] {
        &self.0.names.short_names
    }

    /// Categories such as `all`.
    pub fn categories(&self) -> &[Cow<'static, str>] {
        &self.0.names.categories
    }

    /// How objects are served and stored.
    pub fn facts(&self) -> &Facts {
        &self.0.facts
    }

    /// `group/version`, or `version` alone in the core group.
    pub fn api_version(&self) -> String {
        let (group, version) = (self.group(), self.version());
        if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
    }

    /// `plural.group`, or `plural` alone in the core group: how a person names the resource.
    pub fn resource(&self) -> String {
        let (group, plural) = (self.group(), self.plural());
        if group.is_empty() { plural.to_owned() } else { format!("{plural}.{group}") }
    }

    /// Whether a person means it by this name: plural, singular, kind, short name or `plural.group`, in lower case.
    pub fn is_called(&self, name: &str) -> bool {
        name == self.plural()
            || name == self.singular()
            || name.eq_ignore_ascii_case(self.kind())
            || self.short_names().iter().any(|short| short == name)
            || name == self.resource()
    }

    /// Whether objects live in namespaces.
    pub fn is_namespaced(&self) -> bool {
        self.facts().scope == Scope::Namespaced
    }

    /// Parts of objects with endpoints of their own; the status first.
    pub fn subresources(&self) -> impl Iterator<Item = Subresource> {
        let facts = self.facts();
        facts.has_status.then_some(Subresource::STATUS).into_iter().chain(facts.subresources.iter().copied())
    }

    /// Decodes, defaults and validates a document; `old` is the stored object on update.
    ///
    /// # Errors
    /// Every field that is wrong.
    pub fn admit(&self, document: Value, old: Option<&Value>) -> Result<Admitted, Vec<FieldError>> {
        self.0.behaviour.admit(document, old)
    }

    /// The schema of a kind that is made of one.
    pub fn structure(&self) -> Option<&Schema> {
        self.0.behaviour.structure()
    }

    /// A stored object as this version of the kind shows it.
    pub fn shown(&self, stored: Value) -> Value {
        self.0.behaviour.shown(stored)
    }

    /// The cells of an object's row, in the order of [`Kind::columns`].
    pub fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        self.0.behaviour.row(object, now)
    }

    /// The columns of this kind's table; Name first and Age last, unless it has no such rows.
    pub fn columns(&self) -> Vec<ColumnDefinition> {
        self.0.behaviour.columns()
    }

    /// Values that field selectors of this kind may compare.
    pub fn fields(&self, object: &Value) -> Vec<(Cow<'static, str>, String)> {
        self.0.behaviour.fields(object)
    }

    /// JSON schema of the kind (draft 2020-12), registered with the generator's definitions.
    pub fn schema(&self, generator: &mut SchemaGenerator) -> schemars::Schema {
        self.0.behaviour.schema(generator)
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kind({}/{})", self.api_version(), self.kind())
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

fn fields<R: Resource>(object: &Value) -> Vec<(Cow<'static, str>, String)> {
    let Ok(object) = decode_from::<R>(object) else {
        return Vec::new();
    };
    let mut all = vec![
        ("metadata.name".into(), object.meta().name.clone().unwrap_or_default()),
        ("metadata.namespace".into(), object.meta().namespace.clone().unwrap_or_default()),
    ];
    all.extend(object.selectable_fields().into_iter().map(|(name, value)| (name.into(), value)));
    all
}
