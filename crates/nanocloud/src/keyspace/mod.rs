//! Commands on the keyspace of this machine: snapshots and repair.

mod repair;
mod save;

pub use repair::repair;

use std::{fs::File, path::Path};

use anyhow::Context;
use cli::{
    Exit,
    args::{Global, Output, Restore, SnapshotAction},
};
use keyspace::snapshot::{self, Options, Summary};
use serde_json::{Value, json};

use crate::{cluster, settings::Settings};

/// Runs one of the commands.
pub async fn run(settings: &Settings, global: &Global, action: &SnapshotAction) -> anyhow::Result<Exit> {
    match action {
        SnapshotAction::Save { file, offline, force, output } => {
            let target = save::Target::new(file, *force)?;
            let saving = async {
                match offline {
                    true => target.copy_directory(settings.keyspace()).await,
                    false => target.fetch(global).await,
                }
            };
            // Dropping the future removes the unfinished file.
            tokio::select! {
                saved = saving => print(&saved?, *output)?,
                _ = tokio::signal::ctrl_c() => return Ok(Exit::Interrupted),
            }
        }
        SnapshotAction::Restore(args) => print(&restore(settings, args)?, args.output)?,
        SnapshotAction::Status { file, output } => print(&read(file, snapshot::status)?, *output)?,
        SnapshotAction::Verify { file, output } => print(&read(file, snapshot::verify)?, *output)?,
    }
    Ok(Exit::Done)
}

fn read(path: &Path, with: impl FnOnce(File) -> Result<Summary, snapshot::SnapshotError>) -> anyhow::Result<Summary> {
    let file = File::open(path).map_err(|error| cli::Error::unreadable("FILE", path, &error))?;
    with(file).with_context(|| path.display().to_string())
}

fn restore(settings: &Settings, args: &Restore) -> anyhow::Result<Summary> {
    let dir = args.to.clone().unwrap_or_else(|| settings.keyspace());
    let plan = replica::Restore {
        snapshot: args.file.clone(),
        node_id: args.id,
        members: args.members.iter().map(|member| (member.id, member.address.clone())).collect(),
        options: Options { bump_revisions: args.bump_revision, mark_compacted: args.mark_compacted },
    };
    let summary = plan.run(&dir)?;
    if args.to.is_none() {
        cluster::restored(settings, args.id)?;
    }
    Ok(summary)
}

fn print(summary: &Summary, output: Output) -> anyhow::Result<()> {
    cli::out!("{}", cli::described(&document(summary), output)?)?;
    Ok(())
}

fn document(summary: &Summary) -> Value {
    let Summary { format, header, counts, bytes, sha256 } = summary;
    let created =
        i64::try_from(header.origin.created_ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    json!({
        "revision": header.revision,
        "compactRevision": header.compact_revision,
        "keys": counts.keys,
        "changes": counts.changes,
        "leases": counts.leases,
        "bytes": bytes,
        "sha256": sha256,
        "created": created.filter(|at| at.as_millisecond() != 0).map(|at| at.to_string()),
        "clusterId": format!("{:016x}", header.origin.cluster_id),
        "member": header.origin.member,
        "program": header.origin.program,
        "format": format,
    })
}
