//! The part of `nanocloud setup --repair` that concerns the keyspace.

use std::path::Path;

use keyspace::salvage::Salvaged;

/// Number of names printed of each kind of damage; the rest is counted.
const NAMES_SHOWN: usize = 1_000;

/// Checks every record of the keyspace, and recovers what it can of a damaged one. Returns a report.
pub fn repair(dir: &Path) -> anyhow::Result<Vec<String>> {
    if !dir.join("db").is_dir() {
        return Ok(Vec::new());
    }
    let repaired = replica::repair(dir)?;
    let found = &repaired.found;
    let Some(quarantine) = &repaired.quarantine else {
        return Ok(vec![format!("{}: {} records checked, all sound", dir.display(), found.sound)]);
    };
    let mut said = Vec::new();
    said.extend(repaired.damage.iter().map(|damage| format!("{}: damaged ({damage})", dir.display())));
    said.extend(lines(found));
    said.push(format!("{} keys kept; the damaged keyspace is kept in {}", found.kept, quarantine.display()));
    Ok(said)
}

/// The outcome for each damaged record.
fn lines(found: &Salvaged) -> Vec<String> {
    let mut lines = Vec::new();
    list(&mut lines, &found.recovered, |key| format!("recovered {} from a second copy", name(key)));
    list(&mut lines, &found.dropped, |lost| {
        format!("dropped {}: its version of revision {} is lost", name(&lost.key), lost.revision)
    });
    list(&mut lines, &found.lost_revisions, |revision| {
        format!("revision {revision} is lost; what it changed is as it was before")
    });
    list(&mut lines, &found.shortened_leases, |id| format!("lease {id} ends in a minute: its own end is lost"));
    lines
}

fn list<T>(lines: &mut Vec<String>, all: &[T], line: impl Fn(&T) -> String) {
    lines.extend(all.iter().take(NAMES_SHOWN).map(&line));
    if let (Some(_), Some(last)) = (all.get(NAMES_SHOWN), all.last()) {
        lines.push(format!("... and {} more, the last: {}", all.len() - NAMES_SHOWN, line(last)));
    }
}

fn name(key: &[u8]) -> String {
    key.escape_ascii().to_string()
}

#[cfg(test)]
mod tests {
    use keyspace::salvage::Dropped;

    use super::*;

    #[test]
    fn every_loss_has_a_line() {
        let found = Salvaged {
            recovered: vec!["/registry/a".into()],
            dropped: vec![Dropped { key: "/registry/b\0".into(), revision: 7 }],
            lost_revisions: (1..=NAMES_SHOWN as u64 + 2).collect(),
            shortened_leases: vec![3],
            ..Salvaged::default()
        };
        let lines = lines(&found);
        assert_eq!(lines[0], "recovered /registry/a from a second copy");
        assert_eq!(lines[1], r"dropped /registry/b\x00: its version of revision 7 is lost");
        assert_eq!(lines.len(), 2 + NAMES_SHOWN + 1 + 1);
        assert!(lines[NAMES_SHOWN + 2].starts_with("... and 2 more"), "{}", lines[NAMES_SHOWN + 2]);
    }
}
