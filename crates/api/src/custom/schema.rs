//! A structural schema, ready to judge values.

use std::collections::BTreeMap;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use regex::Regex;
use serde_json::Value;

/// A schema and those within it. Within `allOf` and its like there are only validations.
#[derive(Debug, Default)]
pub struct Schema {
    pub(super) kind: Option<Type>,
    pub(super) nullable: bool,
    pub(super) int_or_string: bool,
    /// Whether fields that it does not name are kept.
    pub(super) preserves: bool,
    /// Whether values are whole objects with `apiVersion`, `kind` and `metadata`.
    pub(super) embeds: bool,
    pub(super) properties: BTreeMap<String, Schema>,
    pub(super) additional: Additional,
    pub(super) items: Option<Box<Schema>>,
    pub(super) default: Option<Value>,
    pub(super) list: List,
    pub(super) atomic_map: bool,
    pub(super) rules: Rules,
}

/// What values must be beside their type.
#[derive(Debug, Default)]
pub(super) struct Rules {
    pub(super) required: Vec<String>,
    pub(super) one_of_values: Option<Vec<Value>>,
    pub(super) format: Option<String>,
    /// As it is written; and compiled, unless it cannot be.
    pub(super) pattern: Option<(String, Option<Regex>)>,
    /// The bound, and whether it is excluded itself.
    pub(super) minimum: Option<(f64, bool)>,
    pub(super) maximum: Option<(f64, bool)>,
    pub(super) multiple_of: Option<f64>,
    pub(super) length: Range,
    pub(super) items: Range,
    pub(super) properties: Range,
    pub(super) all_of: Vec<Schema>,
    pub(super) any_of: Vec<Schema>,
    pub(super) one_of: Vec<Schema>,
    pub(super) not: Option<Box<Schema>>,
}

/// The least and the most of something.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Range {
    pub(super) least: Option<i64>,
    pub(super) most: Option<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Object,
    Array,
    String,
    Integer,
    Number,
    Boolean,
}

impl Type {
    const ALL: [(&'static str, Self); 6] = [
        ("object", Self::Object),
        ("array", Self::Array),
        ("string", Self::String),
        ("integer", Self::Integer),
        ("number", Self::Number),
        ("boolean", Self::Boolean),
    ];

    pub(super) fn of(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|(name, _)| *name == word).map(|(_, this)| *this)
    }

    pub(super) fn word(self) -> &'static str {
        Self::ALL.iter().find(|(_, this)| *this == self).map_or("", |(name, _)| name)
    }
}

/// What fields there may be that no property names.
#[derive(Debug, Default)]
pub(super) enum Additional {
    #[default]
    None,
    Any,
    Of(Box<Schema>),
}

/// How items of a list are told apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum List {
    /// They are not: the list is one value.
    #[default]
    Atomic,
    /// By what they are.
    Set,
    /// By these fields.
    Map(Vec<String>),
}

impl Schema {
    /// The schema as a definition has it.
    pub(crate) fn of(props: &JSONSchemaProps) -> Self {
        let schema = |props: &JSONSchemaProps| Box::new(Self::of(props));
        Self {
            kind: props.type_.as_deref().and_then(Type::of),
            nullable: props.nullable == Some(true),
            int_or_string: props.x_kubernetes_int_or_string == Some(true),
            preserves: props.x_kubernetes_preserve_unknown_fields == Some(true),
            embeds: props.x_kubernetes_embedded_resource == Some(true),
            properties: props.properties.iter().flatten().map(|(name, one)| (name.clone(), Self::of(one))).collect(),
            additional: match &props.additional_properties {
                None | Some(JSONSchemaPropsOrBool::Bool(false)) => Additional::None,
                Some(JSONSchemaPropsOrBool::Bool(true)) => Additional::Any,
                Some(JSONSchemaPropsOrBool::Schema(props)) => Additional::Of(schema(props)),
            },
            items: match &props.items {
                Some(JSONSchemaPropsOrArray::Schema(props)) => Some(schema(props)),
                _ => None,
            },
            default: props.default.as_ref().map(|value| value.0.clone()),
            list: match props.x_kubernetes_list_type.as_deref() {
                Some("set") => List::Set,
                Some("map") => List::Map(props.x_kubernetes_list_map_keys.clone().unwrap_or_default()),
                _ => List::Atomic,
            },
            atomic_map: props.x_kubernetes_map_type.as_deref() == Some("atomic"),
            rules: Rules::of(props),
        }
    }

    /// Whether it is of whole objects.
    pub fn is_object(&self) -> bool {
        self.embeds
    }

    /// How items are told apart, if it is of lists.
    pub fn list(&self) -> &List {
        &self.list
    }

    /// Whether maps are owned as a whole.
    pub fn is_atomic_map(&self) -> bool {
        self.atomic_map
    }

    /// What items are, if it is of lists.
    pub fn item(&self) -> Option<&Self> {
        self.items.as_deref()
    }

    /// What is there if nothing is said.
    pub fn default_value(&self) -> Option<&Value> {
        self.default.as_ref()
    }

    /// What a field must be: a property, or what all others are.
    pub fn field(&self, name: &str) -> Option<&Self> {
        self.properties.get(name).or(match &self.additional {
            Additional::Of(values) => Some(values),
            _ => None,
        })
    }
}

impl Rules {
    fn of(props: &JSONSchemaProps) -> Self {
        let all = |list: &Option<Vec<JSONSchemaProps>>| list.iter().flatten().map(Schema::of).collect();
        let bound = |value: Option<f64>, excluded: Option<bool>| value.map(|value| (value, excluded == Some(true)));
        Self {
            required: props.required.clone().unwrap_or_default(),
            one_of_values: props.enum_.as_ref().map(|values| values.iter().map(|value| value.0.clone()).collect()),
            format: props.format.clone(),
            pattern: props.pattern.as_ref().map(|text| (text.clone(), pattern(text).ok())),
            minimum: bound(props.minimum, props.exclusive_minimum),
            maximum: bound(props.maximum, props.exclusive_maximum),
            multiple_of: props.multiple_of,
            length: Range { least: props.min_length, most: props.max_length },
            items: Range { least: props.min_items, most: props.max_items },
            properties: Range { least: props.min_properties, most: props.max_properties },
            all_of: all(&props.all_of),
            any_of: all(&props.any_of),
            one_of: all(&props.one_of),
            not: props.not.as_ref().map(|props| Box::new(Schema::of(props))),
        }
    }
}

/// Compiles a pattern as Go reads it: `\d`, `\w` and `\s` are those of ASCII.
pub(crate) fn pattern(text: &str) -> Result<Regex, String> {
    let (mut out, mut letters) = (String::with_capacity(text.len()), text.chars());
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            out.push(letter);
            continue;
        }
        match letters.next() {
            Some('d') => out.push_str("[0-9]"),
            Some('D') => out.push_str("[^0-9]"),
            Some('w') => out.push_str("[0-9A-Za-z_]"),
            Some('W') => out.push_str("[^0-9A-Za-z_]"),
            Some('s') => out.push_str(r"[\t\n\f\r ]"),
            Some('S') => out.push_str(r"[^\t\n\f\r ]"),
            Some(other) => out.extend(['\\', other]),
            None => out.push('\\'),
        }
    }
    Regex::new(&out).map_err(|error| error.to_string())
}
