//! The table of crates in ARCHITECTURE.md: ranks, allowed edges and walls are read from there, and written nowhere else.

use std::{fs, path::Path};

use anyhow::{Context, bail, ensure};

/// One row of the table.
#[derive(Debug, PartialEq)]
pub(crate) struct Row {
    pub(crate) rank: u8,
    pub(crate) name: String,
    /// Crates it may depend on.
    pub(crate) may_name: Vec<String>,
    /// Crates that only its tests may depend on.
    pub(crate) tests_may_name: Vec<String>,
    /// Libraries that no row without them may depend on.
    pub(crate) walls: Vec<String>,
}

const COLUMNS: [&str; 6] = ["Rank", "Crate", "What it is for", "May name", "Its tests too", "Walls: only here"];

/// Reads the table of the workspace's ARCHITECTURE.md.
pub(crate) fn read(workspace: &Path) -> anyhow::Result<Vec<Row>> {
    let path = workspace.join("ARCHITECTURE.md");
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    parse(&text).context("the table of crates in ARCHITECTURE.md")
}

fn parse(text: &str) -> anyhow::Result<Vec<Row>> {
    let mut lines = text.lines().skip_while(|line| cells(line) != COLUMNS);
    ensure!(lines.next().is_some(), "no table has the columns {COLUMNS:?}");
    let rows = lines.skip(1).take_while(|line| line.starts_with('|'));
    rows.map(|line| row(line).with_context(|| format!("row `{line}`"))).collect()
}

fn cells(line: &str) -> Vec<&str> {
    let inner = line.trim().strip_prefix('|').and_then(|line| line.strip_suffix('|'));
    inner.map(|inner| inner.split('|').map(str::trim).collect()).unwrap_or_default()
}

fn row(line: &str) -> anyhow::Result<Row> {
    let [rank, name, _, may_name, tests_may_name, walls] = cells(line)[..] else {
        bail!("it has not {} cells", COLUMNS.len());
    };
    // The first row of a rank also says what the rank is.
    let rank = rank.split(' ').next().unwrap_or_default().parse().context("the rank is no number")?;
    let list = |cell: &str| match cell {
        "–" | "" => Vec::new(),
        names => names.split(',').map(|name| name.trim().to_owned()).collect(),
    };
    Ok(Row {
        rank,
        name: name.trim_matches('`').into(),
        may_name: list(may_name),
        tests_may_name: list(tests_may_name),
        walls: list(walls),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str =
        "| Rank | Crate | What it is for | May name | Its tests too | Walls: only here |\n|-|-|-|-|-|-|\n";

    #[test]
    fn a_row_is_read() {
        let text = format!(
            "# x\n\n| a |\n\n{HEAD}| 2 plumbing | `disk` | it, all | api, trust | net | raft, rocks |\n\n| b |\n"
        );
        let row = Row {
            rank: 2,
            name: "disk".into(),
            may_name: vec!["api".into(), "trust".into()],
            tests_may_name: vec!["net".into()],
            walls: vec!["raft".into(), "rocks".into()],
        };
        assert_eq!(parse(&text).unwrap(), [row]);
        let bare = parse(&format!("{HEAD}| 0 | `a` | | – | – | |\n")).unwrap();
        assert_eq!((bare[0].may_name.len(), bare[0].walls.len()), (0, 0));
    }

    #[test]
    fn another_table_is_refused() {
        assert!(parse("| Rank | Crate |\n|-|-|\n| 0 | `a` |\n").is_err(), "other columns");
        assert!(parse(&format!("{HEAD}| `a` | 0 |\n")).is_err(), "a row with too few cells");
        assert!(parse(&format!("{HEAD}| low | `a` | | – | – | – |\n")).is_err(), "a rank that is no number");
    }
}
