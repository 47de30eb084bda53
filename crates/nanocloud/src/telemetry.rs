//! Log lines of the server, as text or JSON.

use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

/// Format of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// What goes before the filter that was asked for: openraft tells of its votes and logs by printing its structures. The
/// filter may ask for them, as by `info,openraft=info`.
const QUIET: &str = "openraft=warn";

/// Starts logging to standard error. `filter` is like `info` or `info,kubelet=debug`.
pub fn start(format: LogFormat, filter: &str) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(format!("{QUIET},{filter}"))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Text => builder.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("logging cannot be started: {error}"))
}

/// A panic ends the process, because a restart is better than a server that is half dead. A panic in a controller only
/// ends the work on one object; otherwise the object that causes it could not be deleted.
pub fn abort_on_panic() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        print(info);
        if client::is_isolated() {
            return;
        }
        cli::note!("nanocloud: this is a bug; please report the lines above. Containers keep running.");
        std::process::abort();
    }));
}
