//! `nanocloud keyspace status|compact|defragment|alarms`: maintenance of the running keyspace.

use serde_json::Value;

use crate::{
    args::{KeyspaceAction, Output},
    context::Context,
    error::{Error, Result},
    exit::Exit,
    note, out,
    output::{self, Table},
    request::Request,
};

/// Path of the keyspace in the API.
const PATH: &str = "/apis/nanocloud.io/v1/keyspace";

/// Path of its snapshot.
pub const SNAPSHOT_PATH: &str = "/apis/nanocloud.io/v1/keyspace/snapshot";

/// Sends one request and prints the state after it.
pub async fn run(context: &Context<'_>, action: &KeyspaceAction) -> Result<Exit> {
    let (request, form) = match action {
        KeyspaceAction::Status { output } => (Request::get(PATH), *output),
        KeyspaceAction::Compact { revision } => {
            let request = Request::new("POST", format!("{PATH}/compact"));
            (request.maybe("revision", revision.map(|revision| revision.to_string())), Output::Table)
        }
        KeyspaceAction::Defragment => (Request::new("POST", format!("{PATH}/defragment")), Output::Table),
        KeyspaceAction::Alarms { clear: true } => (Request::new("DELETE", format!("{PATH}/alarms")), Output::Table),
        KeyspaceAction::Alarms { clear: false } => (Request::get(format!("{PATH}/alarms")), Output::Table),
        KeyspaceAction::Snapshot { .. } => {
            return Err(Error::usage(
                "command",
                "snapshots are handled on this machine",
                "see nanocloud keyspace --help",
            ));
        }
    };
    let state = context.send(&request).await?;
    if matches!(form, Output::Json | Output::Yaml) {
        out!("{}", output::document(&state, form)?)?;
    } else if matches!(action, KeyspaceAction::Alarms { .. }) {
        match state["alarms"].as_array() {
            Some(active) if !active.is_empty() => out!("{}", alarms(&state).render())?,
            _ => note!("no alarm is active"),
        }
    } else {
        out!("{}", table(&state).render())?;
    }
    Ok(Exit::Done)
}

fn table(state: &Value) -> Table {
    let mut table =
        Table::new(["member", "leader", "revision", "compacted", "leases", "size", "in use", "quota", "alarms"]);
    let kinds = state["alarms"].as_array().into_iter().flatten().map(|alarm| output::cell(&alarm["kind"]));
    let kinds: Vec<_> = kinds.collect();
    let fields = ["member", "leader", "revision", "compactRevision", "leases"];
    let bytes = ["sizeBytes", "inUseBytes", "quotaBytes"].map(|field| size(state[field].as_u64().unwrap_or(0)));
    let cells = fields.map(|field| output::cell(&state[field])).into_iter().chain(bytes);
    table.row(cells.chain([if kinds.is_empty() { "none".into() } else { kinds.join(",") }]));
    table
}

fn alarms(state: &Value) -> Table {
    let mut table = Table::new(["member", "alarm"]);
    for alarm in state["alarms"].as_array().into_iter().flatten() {
        table.row([output::cell(&alarm["member"]), output::cell(&alarm["kind"])]);
    }
    table
}

/// A number of bytes, readable for people.
fn size(bytes: u64) -> String {
    match bytes {
        0..1_048_576 => format!("{}Ki", bytes / 1024),
        _ => format!("{}Mi", bytes / 1_048_576),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_state_fits_a_line() {
        let state = json!({
            "member": 1, "leader": 1, "revision": 77, "compactRevision": 5, "leases": 2, "sizeBytes": 3_000_000,
            "inUseBytes": 4_096, "quotaBytes": 0, "alarms": [{"member": 1, "kind": "NoSpace"}],
        });
        let text = table(&state).render();
        let cells: Vec<&str> = text.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(cells, ["1", "1", "77", "5", "2", "2Mi", "4Ki", "0Ki", "NoSpace"]);
        assert_eq!(alarms(&state).render(), "MEMBER   ALARM\n1        NoSpace\n");
    }
}
