//! What a write means for the owners.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    MAX_UPDATERS,
    entry::{Entries, Entry, Operation, Writer},
    fields::{Fields, Path, Shown},
    leaves::leaves,
    shape::Place,
};

/// Name under which the oldest managers are counted together (Kubernetes).
const ANCIENT: &str = "ancient-changes";

/// A field of another manager that would change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Conflict {
    /// The owner.
    pub(crate) manager: String,
    /// Whether it updated, and the version it speaks.
    pub(crate) using: String,
    /// The field.
    pub(crate) field: String,
}

/// How the object came to be as it is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Change<'a> {
    /// By applying a config that speaks of these fields.
    Applied {
        /// The fields.
        fields: &'a Fields,
        /// Whether fields are taken from others.
        force: bool,
    },
    /// In any other way.
    Updated,
}

/// The owners after a write that made `after` of `before` (null when there was nothing).
///
/// # Errors
/// The conflicts with others.
pub(crate) fn record(
    root: Place<'_>,
    before: &Value,
    after: &Value,
    mut entries: Entries,
    writer: &Writer,
    change: Change<'_>,
) -> Result<Entries, Vec<Conflict>> {
    let (old, new) = (leaves(root, before), leaves(root, after));
    let changed: BTreeSet<&Path> =
        new.iter().filter(|(path, value)| old.get(*path) != Some(value)).map(|(p, _)| p).collect();
    let removed: BTreeSet<&Path> = old.keys().filter(|path| !new.contains_key(*path)).collect();
    let operation = match change {
        Change::Applied { .. } => Operation::Apply,
        Change::Updated => Operation::Update,
    };
    let taken: BTreeSet<&Path> = match change {
        Change::Applied { fields, force } => {
            let taken = changed.iter().copied().filter(|path| fields.0.contains(*path)).collect();
            let conflicts = if force { Vec::new() } else { conflicts(&entries, writer, &taken) };
            if !conflicts.is_empty() {
                return Err(conflicts);
            }
            taken
        }
        Change::Updated => changed,
    };
    for entry in entries.0.iter_mut().filter(|entry| !entry.is(writer, operation)) {
        let kept = |path: &Path| !taken.contains(path) && !removed.contains(path);
        if entry.fields.0.iter().any(|path| !kept(path)) {
            entry.fields.0.retain(kept);
        }
    }
    let mut own = match change {
        Change::Applied { fields, .. } => fields.clone(),
        Change::Updated => entries.find(writer, operation).map(|entry| entry.fields.clone()).unwrap_or_default(),
    };
    if operation == Operation::Update {
        own.0.retain(|path| !removed.contains(path));
        own.0.extend(taken.into_iter().cloned());
    }
    put(&mut entries, writer, operation, own);
    entries.0.retain(|entry| !entry.fields.is_empty());
    bound(&mut entries);
    Ok(entries)
}

fn conflicts(entries: &Entries, writer: &Writer, taken: &BTreeSet<&Path>) -> Vec<Conflict> {
    let others = entries.iter().filter(|entry| !entry.is(writer, Operation::Apply));
    let all = others.flat_map(|entry| {
        taken.iter().filter(|path| entry.fields.0.contains(**path)).map(|path| Conflict {
            manager: entry.manager.clone(),
            using: using(entry),
            field: Shown(path).to_string(),
        })
    });
    all.collect()
}

fn using(entry: &Entry) -> String {
    let mut text = format!("using {}", entry.api_version);
    if !entry.subresource.is_empty() {
        text = format!("with subresource {:?} {text}", entry.subresource);
    }
    if entry.operation == Operation::Update && !entry.time.is_empty() {
        text = format!("{text} at {}", entry.time);
    }
    text
}

/// Makes these the writer's fields; the time is that of the last change.
fn put(entries: &mut Entries, writer: &Writer, operation: Operation, fields: Fields) {
    match entries.0.iter_mut().find(|entry| entry.is(writer, operation)) {
        Some(entry) if entry.fields == fields && entry.api_version == writer.api_version => {}
        Some(entry) => {
            entry.fields = fields;
            entry.time = writer.time.clone();
            entry.api_version = writer.api_version.clone();
        }
        None => entries.0.push(Entry {
            manager: writer.manager.clone(),
            operation,
            api_version: writer.api_version.clone(),
            subresource: writer.subresource.to_owned(),
            time: writer.time.clone(),
            fields,
        }),
    }
}

/// Counts the oldest together when there are too many that only update.
fn bound(entries: &mut Entries) {
    let updaters = |entries: &Entries| entries.iter().filter(|entry| entry.operation == Operation::Update).count();
    while updaters(entries) > MAX_UPDATERS {
        let mut update: Vec<usize> =
            (0..entries.0.len()).filter(|at| entries.0[*at].operation == Operation::Update).collect();
        // What is counted together already comes first.
        update.sort_by_key(|at| (entries.0[*at].manager != ANCIENT, entries.0[*at].time.clone()));
        let [into, from, ..] = update[..] else { return };
        let fields = entries.0[from].fields.clone();
        let oldest = &mut entries.0[into];
        oldest.manager = ANCIENT.to_owned();
        oldest.subresource = String::new();
        oldest.fields.0.extend(fields.0);
        entries.0.remove(from);
    }
}
