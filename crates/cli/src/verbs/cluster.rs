//! `nanocloud cluster`: the description of a cluster, written by Nix.

use std::{fs::File, io::Read, path::Path};

use fleet::{Fleet, Role};

use crate::{
    args::{Cluster as Args, ClusterAction, Output},
    error::{Error, Result},
    exit::Exit,
    out,
    output::{Table, document},
};

/// Checks a description and shows its nodes, or prints the schema.
pub fn run(args: &Args) -> Result<Exit> {
    match &args.action {
        ClusterAction::Check { file } => out!("{}", nodes(&read(file)?))?,
        ClusterAction::Schema => out!("{}", document(&Fleet::schema(), Output::Json)?)?,
    }
    Ok(Exit::Done)
}

fn read(path: &Path) -> Result<Fleet> {
    let fail = |error| Error::unreadable("FILE", path, &error);
    // One byte above the limit, so that a larger file is detected.
    let limit = fleet::MAX_BYTES as u64 + 1;
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        std::io::stdin().take(limit).read_to_end(&mut bytes).map_err(fail)?;
    } else {
        File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes)).map_err(fail)?;
    }
    Fleet::decode(&bytes).map_err(|error| {
        let reason = std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
        Error::usage(path.display().to_string(), format!("{error}{reason}"), "correct services.nanocloud.cluster")
    })
}

fn nodes(fleet: &Fleet) -> String {
    let mut table = Table::new(["node", "role", "address", "pool", "class", "failure domain"]);
    for (name, node) in &fleet.nodes {
        let role = match node.role {
            Role::Server => "server",
            Role::Agent => "agent",
        };
        let pool = node.pool.as_deref().unwrap_or_default();
        let class = fleet.class_of(node).unwrap_or_default();
        table.row([name, role, &node.address, pool, class, &node.failure_domain]);
    }
    table.render()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOLDEN: &str = include_str!("../../../../nix/ci/golden/cluster.json");

    #[test]
    fn a_sound_description_is_shown_and_an_unsound_one_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("cluster.json");
        std::fs::write(&file, GOLDEN).unwrap();
        insta::assert_snapshot!(nodes(&read(&file).unwrap()), @r"
        NODE       ROLE     ADDRESS      POOL      CLASS           FAILURE DOMAIN
        node01     server   192.0.2.11   control   control-plane   rack-a
        node02     server   192.0.2.12   control   control-plane   rack-b
        node03     server   192.0.2.13   control   control-plane   rack-c
        worker01   agent    192.0.2.21   workers   worker          rack-a
        ");
        std::fs::write(&file, GOLDEN.replace("\"minSize\": 3", "\"minSize\": 4")).unwrap();
        let report = read(&file).unwrap_err().report();
        assert!(report.contains("pools.control: it has 3 nodes; allowed are 4 to 3."), "{report}");
    }
}
