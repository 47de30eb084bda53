//! Output formats.

use clap::ValueEnum;

/// Output formats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Columns
    #[default]
    Table,
    /// All columns
    Wide,
    /// JSON
    Json,
    /// YAML
    Yaml,
    /// kind/name, one per line
    Name,
}
