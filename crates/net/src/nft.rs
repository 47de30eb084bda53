//! The `nft` tool.

use std::{io, process::Stdio, time::Duration};

use tokio::{io::AsyncWriteExt as _, process::Command};

use crate::{Error, Result};

/// Longest time `nft` may take; 1500 elements take about 0.15 s.
const NFT_TIMEOUT: Duration = Duration::from_secs(20);
/// Longest part of nft's message kept in an error, in bytes.
pub(crate) const MAX_STDERR: usize = 2048;

/// Loads a script in one transaction.
pub(crate) async fn load(table: &str, script: &str) -> Result<()> {
    run(&["-f", "-"], script, || format!("the rules of table {table}")).await.map(drop)
}

/// Whether the `inet` table and the `bridge` table of this name exist.
pub(crate) async fn exist(table: &str) -> Result<[bool; 2]> {
    let tables = run(&["list", "tables"], "", || "the list of tables".into()).await?;
    let has = |family: &str| tables.lines().any(|line| line.trim() == format!("table {family} {table}"));
    Ok([has("inet"), has("bridge")])
}

/// Both tables of this name as the kernel has them, or `None` if one is missing. Lines are sorted: the kernel hands
/// out the elements of a set in an order that changes when it makes room for more.
pub(crate) async fn list(table: &str) -> Result<Option<Vec<String>>> {
    if exist(table).await? != [true; 2] {
        return Ok(None);
    }
    let mut lines = Vec::new();
    // nft 1.0.6 finds only one of two tables that are listed in one run, and lists a table without its rules in a run
    // with definitions.
    for family in ["inet", "bridge"] {
        let what = || format!("the list of table {family} {table}");
        let text = run(&["-s", "list", "table", family, table], "", what).await?;
        lines.extend(text.split(['\n', '{', '}', ',']).map(|part| format!("{family} {}", part.trim())));
    }
    lines.sort();
    Ok(Some(lines))
}

/// Removes the tables of this name if they exist.
pub(crate) async fn remove(table: &str) -> Result<()> {
    let one = |family: &str| format!("table {family} {table}\ndelete table {family} {table}\n");
    load(table, &format!("{}{}", one("inet"), one("bridge"))).await
}

#[expect(clippy::disallowed_methods, reason = "nft(8) is the interface of nftables; killed with the future")]
async fn run(arguments: &[&str], input: &str, what: impl Fn() -> String) -> Result<String> {
    let failed = |error: io::Error| Error::Nft { what: what(), stderr: error.to_string() };
    let mut child = Command::new("nft")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => Error::NftMissing { source },
            _ => failed(source),
        })?;
    let stdin = child.stdin.take();
    let feed = async move {
        if let Some(mut stdin) = stdin {
            stdin.write_all(input.as_bytes()).await?;
        }
        Ok::<(), io::Error>(())
    };
    let talk = async { tokio::join!(feed, child.wait_with_output()) };
    let (fed, output) =
        tokio::time::timeout(NFT_TIMEOUT, talk).await.map_err(|_| failed(io::Error::from(io::ErrorKind::TimedOut)))?;
    let output = output.map_err(failed)?;
    if !output.status.success() {
        let mut stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        stderr.truncate(stderr.floor_char_boundary(MAX_STDERR));
        return Err(Error::Nft { what: what(), stderr });
    }
    fed.map_err(failed)?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
