//! The result: what was measured on each server, and the ratio.

use std::fmt;

/// One line: a measure of both servers.
#[derive(Debug)]
struct Row {
    name: String,
    unit: &'static str,
    ours: f64,
    etcd: f64,
    /// What the ratio should be at least, or at most.
    target: Option<Target>,
}

/// A bound on ours / etcd.
#[derive(Clone, Copy, Debug)]
pub enum Target {
    AtLeast(f64),
    AtMost(f64),
}

/// All lines.
#[derive(Debug, Default)]
pub struct Table {
    notes: Vec<String>,
    rows: Vec<Row>,
}

impl Table {
    pub fn note(&mut self, note: &str) {
        eprintln!("{note}");
        self.notes.push(note.to_owned());
    }

    /// Adds medians of what was measured: ours, then etcd's.
    pub fn row(&mut self, name: &str, unit: &'static str, samples: [Vec<f64>; 2], target: Option<Target>) {
        let [ours, etcd] = samples.map(median);
        eprintln!("{name}: {ours:.2} / {etcd:.2} {unit}");
        self.rows.push(Row { name: name.to_owned(), unit, ours, etcd, target });
    }
}

/// The middle one; of an even number the mean of both in the middle.
fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    match samples.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => samples[n / 2],
        n => f64::midpoint(samples[n / 2 - 1], samples[n / 2]),
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for note in &self.notes {
            writeln!(f, "- {note}")?;
        }
        writeln!(f, "\n| What | Unit | nanocloud | etcd | Ratio | Target | Met |\n|---|---|---:|---:|---:|---|---|")?;
        for row in &self.rows {
            let ratio = row.ours / row.etcd;
            let (target, met) = match row.target {
                None => ("–".to_owned(), "–"),
                Some(Target::AtLeast(bound)) => (format!("≥ {bound}"), if ratio >= bound { "yes" } else { "no" }),
                Some(Target::AtMost(bound)) => (format!("≤ {bound}"), if ratio <= bound { "yes" } else { "no" }),
            };
            let number = |value: f64| if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") };
            let (ours, etcd) = (number(row.ours), number(row.etcd));
            writeln!(f, "| {} | {} | {ours} | {etcd} | {ratio:.2} | {target} | {met} |", row.name, row.unit)?;
        }
        Ok(())
    }
}
