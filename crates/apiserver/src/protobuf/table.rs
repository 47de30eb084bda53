//! Kubernetes' messages: the numbers, JSON names and types of their fields, as `messages.txt` has them. Pure.
//!
//! `scripts/protobuf-table` writes that file from Kubernetes' own definitions. A line `package NAME API_VERSION` comes
//! before the messages of the package, `message NAME` before its fields, and `NUMBER JSON_NAME TYPE` is a field. A type
//! is `[]` of what is repeated, `{}` of a map's values, and ends with `?` when JSON leaves the field out if it is zero.

use std::{collections::HashMap, sync::LazyLock};

/// Name of a field whose own fields stand beside those of its message in JSON.
pub(super) const INLINE: &str = "~";
/// Name of the only field of a message that is a list in JSON.
const LIST: &str = "*";

static TABLE: LazyLock<Table> =
    LazyLock::new(|| Table::parse(include_str!("messages.txt")).unwrap_or_else(|line| unreachable!("{line}")));

/// The fields of a message.
pub(super) type Shape = &'static [Field];

/// A field of a message.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) number: u32,
    pub(super) name: &'static str,
    pub(super) repeats: Repeats,
    holds: Type,
    /// Whether JSON leaves the field out when it is zero: Go's type is no pointer, and its tag says `omitempty`.
    pub(super) zero_is_absent: bool,
}

/// How often a field is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeats {
    Once,
    List,
    /// By text.
    Map,
}

/// What a field holds, with the messages as places in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Plain(Scalar),
    Message(usize),
    Either(usize),
}

/// What a field holds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Holds {
    Scalar(Scalar),
    /// A message that is an object in JSON.
    Message(Shape),
    /// A message that is a list in JSON.
    List(&'static Field),
    /// A message of which JSON writes the one field that is set, without its name.
    Either(Shape),
}

/// What JSON writes as one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scalar {
    Text,
    Bytes,
    Flag,
    Int32,
    Int64,
    Double,
    Duration,
    IntOrText,
    Json,
    MicroTime,
    Quantity,
    Time,
}

impl Scalar {
    fn of(word: &str) -> Option<Self> {
        Some(match word {
            "string" => Self::Text,
            "bytes" => Self::Bytes,
            "bool" => Self::Flag,
            "int32" => Self::Int32,
            "int64" => Self::Int64,
            "double" => Self::Double,
            "duration" => Self::Duration,
            "int-or-string" => Self::IntOrText,
            "json" => Self::Json,
            "micro-time" => Self::MicroTime,
            "quantity" => Self::Quantity,
            "time" => Self::Time,
            _ => return None,
        })
    }
}

impl Field {
    /// What the field holds, or each of its items.
    pub(super) fn holds(&'static self) -> Holds {
        match self.holds {
            Type::Plain(scalar) => Holds::Scalar(scalar),
            Type::Either(place) => Holds::Either(&TABLE.messages[place]),
            Type::Message(place) => match TABLE.messages[place].as_slice() {
                [only] if only.name == LIST => Holds::List(only),
                fields => Holds::Message(fields),
            },
        }
    }
}

/// The message of a kind, or of a document of `meta/v1` that has no group of its own.
pub(super) fn message(api_version: &str, kind: &str) -> Option<Shape> {
    let is_shared = matches!((api_version, kind), ("v1", _) | (_, "DeleteOptions"));
    kind_message(api_version, kind).or_else(|| is_shared.then(|| kind_message("meta.k8s.io/v1", kind))?)
}

/// The message of a kind.
pub(super) fn kind_message(api_version: &str, kind: &str) -> Option<Shape> {
    let place = *TABLE.places.get(*TABLE.packages.get(api_version)?)?.get(kind)?;
    TABLE.messages.get(place).map(Vec::as_slice)
}

#[derive(Debug, Default)]
struct Table {
    /// Packages by the API version of their kinds.
    packages: HashMap<&'static str, &'static str>,
    /// Messages by package and name.
    places: HashMap<&'static str, HashMap<&'static str, usize>>,
    messages: Vec<Vec<Field>>,
}

impl Table {
    /// Reads the text; the error is a line that says nothing.
    fn parse(text: &'static str) -> Result<Self, &'static str> {
        let mut table = Self::default();
        let lines = || text.lines().filter(|line| !line.starts_with('#'));
        let mut package = "";
        for line in lines() {
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["package", name, api_version] => {
                    package = name;
                    table.packages.insert(api_version, name);
                }
                ["message", name] => {
                    table.places.entry(package).or_default().insert(name, table.messages.len());
                    table.messages.push(Vec::new());
                }
                _ => {}
            }
        }
        let mut place = None;
        for line in lines().filter(|line| !line.starts_with("package ")) {
            if line.starts_with("message ") {
                place = Some(place.map_or(0, |place| place + 1));
                continue;
            }
            let field = table.field(line).ok_or(line)?;
            place.and_then(|place: usize| table.messages.get_mut(place)).ok_or(line)?.push(field);
        }
        Ok(table)
    }

    fn field(&self, line: &'static str) -> Option<Field> {
        let (number, rest) = line.split_once(' ')?;
        let (name, word) = rest.split_once(' ')?;
        let (word, zero_is_absent) = word.strip_suffix('?').map_or((word, false), |word| (word, true));
        let (repeats, word) = match (word.strip_prefix("[]"), word.strip_prefix("{}")) {
            (Some(items), _) => (Repeats::List, items),
            (_, Some(values)) => (Repeats::Map, values),
            _ => (Repeats::Once, word),
        };
        let holds = match (Scalar::of(word), word.strip_prefix('|')) {
            (Some(scalar), _) => Type::Plain(scalar),
            (None, Some(either)) => Type::Either(self.place(either)?),
            (None, None) => Type::Message(self.place(word)?),
        };
        Some(Field { number: number.parse().ok()?, name, repeats, holds, zero_is_absent })
    }

    fn place(&self, full: &str) -> Option<usize> {
        let (package, name) = full.rsplit_once('.')?;
        self.places.get(package)?.get(name).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_table_is_understood() {
        assert_eq!(Table::parse(include_str!("messages.txt")).err(), None);
        assert_eq!(Table::parse("package p v1\nmessage A\n1 a odd").unwrap_err(), "1 a odd");
        assert_eq!(Table::parse("1 a string").unwrap_err(), "1 a string");
    }

    #[test]
    fn messages_are_found_by_what_documents_say_of_themselves() {
        for (api_version, kind) in [
            ("v1", "Pod"),
            ("apps/v1", "DeploymentList"),
            ("v1", "Status"),
            ("v1", "List"),
            ("apps/v1", "DeleteOptions"),
            ("meta.k8s.io/v1", "PartialObjectMetadataList"),
            ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
            ("metrics.k8s.io/v1beta1", "PodMetrics"),
        ] {
            assert!(message(api_version, kind).is_some(), "{api_version} {kind}");
        }
        for (api_version, kind) in [("v1", "Widget"), ("nanocloud.io/v1", "Bundle"), ("nanocloud.io/v1", "Status")] {
            assert!(message(api_version, kind).is_none(), "{api_version} {kind}");
        }
    }
}
