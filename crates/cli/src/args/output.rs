//! How commands print.

use clap::ValueEnum;

/// How to print.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Columns.
    #[default]
    Table,
    /// Columns, all of them.
    Wide,
    /// JSON.
    Json,
    /// YAML.
    Yaml,
    /// kind/name, one a line.
    Name,
}
