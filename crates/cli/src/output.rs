//! Tables, JSON and YAML.

use api::{ColumnDefinition, Kind};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    args::Output,
    error::{Error, Result},
};

/// Spaces between columns.
const GAP: usize = 3;

/// A table with a header, as kubectl prints it: a cell is one line, and the last cell of a row is not padded.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Vec<String>>,
    widths: Vec<usize>,
}

impl Table {
    /// A table with this header.
    pub fn new(head: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let mut table = Self::default();
        table.row(head.into_iter().map(|title| title.into().to_uppercase()));
        table
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = impl Into<String>>) {
        let cells: Vec<_> = cells.into_iter().map(|cell| one_line(&cell.into())).collect();
        self.widths.resize(self.widths.len().max(cells.len()), 0);
        for (width, cell) in self.widths.iter_mut().zip(&cells) {
            *width = (*width).max(cell.chars().count());
        }
        self.rows.push(cells);
    }

    /// The lines of the table.
    pub fn render(&self) -> String {
        self.rows.iter().map(|row| self.line(row)).collect()
    }

    /// A row that follows those already printed: a column can become wider, never narrower.
    pub fn further(&mut self, cells: impl IntoIterator<Item = impl Into<String>>) -> String {
        self.rows.clear();
        self.row(cells);
        self.render()
    }

    fn line(&self, row: &[String]) -> String {
        let padded = row.iter().zip(&self.widths).map(|(cell, width)| format!("{cell:width$}{:GAP$}", ""));
        padded.collect::<String>().trim_end().to_owned() + "\n"
    }
}

/// The first line of a text, with dots for the rest, and without terminal escape sequences.
fn one_line(text: &str) -> String {
    let (first, more) = match text.split_once(['\n', '\r', '\x0c']) {
        Some((first, _)) => (first, "..."),
        None => (text, ""),
    };
    first.replace('\x1b', "^[").replace(|letter: char| letter.is_control(), " ") + more
}

/// A cell as text; absence is empty.
pub fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Formats objects of a kind. `namespaces` adds a column for the namespace.
pub fn objects(kind: &Kind, items: &[Value], output: Output, namespaces: bool, one: bool) -> Result<String> {
    match output {
        Output::Table | Output::Wide => Ok(table(kind, items, output == Output::Wide, namespaces).render()),
        Output::Name => Ok(items.iter().map(|item| format!("{}/{}\n", kind.resource(), name(item))).collect()),
        Output::Json | Output::Yaml if one && items.len() == 1 => document(&readable(&items[0]), output),
        Output::Json | Output::Yaml => {
            let items: Vec<_> = items.iter().map(readable).collect();
            document(&json!({"apiVersion": "v1", "kind": "List", "metadata": {}, "items": items}), output)
        }
    }
}

/// The object without `managedFields`, which is for programs (`nanocloud get --curl` shows how to get it).
fn readable(item: &Value) -> Value {
    let mut item = item.clone();
    if let Some(meta) = item.get_mut("metadata").and_then(Value::as_object_mut) {
        meta.shift_remove("managedFields");
    }
    item
}

/// A document as JSON or YAML; in other formats its fields, one per line.
///
/// # Errors
/// When the document cannot be serialized.
pub fn described(value: &Value, output: Output) -> Result<String> {
    if matches!(output, Output::Json | Output::Yaml) {
        return document(value, output);
    }
    let mut table = Table::default();
    for (name, value) in value.as_object().into_iter().flatten() {
        table.row([name.clone(), cell(value)]);
    }
    Ok(table.render())
}

/// A document as YAML, or in every other format as JSON.
pub fn document(value: &Value, output: Output) -> Result<String> {
    if output == Output::Yaml {
        let broken =
            |error: serde_saphyr::ser::Error| Error::io("print YAML", std::io::Error::other(error.to_string()));
        return serde_saphyr::to_string(value).map_err(broken);
    }
    let text = serde_json::to_string_pretty(value).map_err(|error| Error::io("print JSON", error.into()))?;
    Ok(text + "\n")
}

/// Objects of a kind as a table.
pub fn table(kind: &Kind, items: &[Value], wide: bool, namespaces: bool) -> Table {
    let columns = kind.columns();
    let shown = |column: &ColumnDefinition| wide || column.priority == 0;
    let namespace = namespaces.then(|| "namespace".to_owned());
    let titles = columns.iter().filter(|column| shown(column)).map(|column| column.name.clone().into_owned());
    let mut table = Table::new(namespace.into_iter().chain(titles));
    for item in items {
        table.row(row(kind, item, wide, namespaces));
    }
    table
}

/// The cells of one object.
pub fn row(kind: &Kind, item: &Value, wide: bool, namespaces: bool) -> Vec<String> {
    let columns = kind.columns();
    let cells = kind.row(item, Timestamp::now());
    let shown =
        columns.iter().zip(&cells).filter(|(column, _)| wide || column.priority == 0).map(|(_, value)| cell(value));
    let namespace = namespaces.then(|| item["metadata"]["namespace"].as_str().unwrap_or_default().to_owned());
    namespace.into_iter().chain(shown).collect()
}

/// Name of an object.
pub fn name(item: &Value) -> &str {
    item["metadata"]["name"].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_have_no_tail() {
        let mut table = Table::new(["name", "état"]);
        table.row(["a", ""]);
        table.row(["längst", "x"]);
        assert_eq!(table.render(), "NAME     ÉTAT\na\nlängst   x\n");
        assert_eq!(table.further(["b", "y"]), "b        y\n", "as wide as those before");
    }

    #[test]
    fn a_cell_is_one_line_and_no_command_for_the_terminal() {
        let mut table = Table::new(["message", "count"]);
        table.row(["fatal:\n  all of it", "1"]);
        table.row(["\x1b[2Jgone\t!", "2"]);
        assert_eq!(table.render(), "MESSAGE       COUNT\nfatal:...     1\n^[[2Jgone !   2\n");
    }

    #[test]
    fn one_object_is_itself_and_several_are_a_list() {
        let kind = api::kinds::find("configmaps").unwrap();
        let item = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "x"}});
        let one = objects(kind, std::slice::from_ref(&item), Output::Json, false, true).unwrap();
        assert!(one.contains(r#""kind": "ConfigMap""#) && !one.contains("List"));
        let several = objects(kind, std::slice::from_ref(&item), Output::Json, false, false).unwrap();
        assert!(several.contains(r#""kind": "List""#));
        assert_eq!(objects(kind, &[item], Output::Name, false, false).unwrap(), "configmaps/a\n");
    }
}
