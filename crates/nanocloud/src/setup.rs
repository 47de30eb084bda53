//! `nanocloud setup`: keys, directories and the first token of a node.

use std::{
    fs::{self, OpenOptions, Permissions},
    io::Write,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
    time::Duration,
};

use anyhow::Context;
use api::{
    Time,
    kinds::{Token, token::TokenSpec},
};
use cli::outln;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use trust::{AssetsConfig, SecureAssets, SingleUseToken};

use crate::settings::Settings;

/// How long the first token can be exchanged.
const FIRST_TOKEN_TTL: Duration = Duration::from_secs(3600);

/// Prepares a node. Running it again keeps what is intact.
pub fn run(settings: &Settings, args: &cli::args::Setup) -> anyhow::Result<()> {
    crate::host::require_root("setup")?;
    let mut said = Vec::new();
    if args.repair {
        // First, because it fails while a server has the keyspace open.
        said = crate::keyspace::repair(&settings.keyspace())?;
    }
    folders(settings)?;
    storage::Volumes::open(&settings.csi_root).context("the volume root cannot be prepared")?;
    let config = AssetsConfig {
        dir: settings.secure_assets(),
        server_names: settings.server_names().into_iter().chain(args.name.iter().cloned()).collect(),
        data_exists: fs::read_dir(settings.keyspace()).is_ok_and(|mut entries| entries.next().is_some()),
    };
    let now = Timestamp::now();
    let (_, changes) = if args.repair {
        SecureAssets::repair(&config, args.accept_loss, now)?
    } else {
        SecureAssets::init(&config, now)?
    };
    said.extend(changes.iter().map(ToString::to_string));
    if changes.is_empty() {
        said.push(format!("{} is complete; nothing changed", config.dir.display()));
    }
    crate::host::check_kernel()?;
    match args.no_token {
        false => said.push(leave_first_start(settings, args.retention, now)?),
        // A token printed by an earlier run stays valid.
        true if settings.first_start().exists() => {}
        true => FirstStart { token: None, retention: args.retention }.write(settings)?,
    }
    // Last, so that a closed pipe does not end the setup halfway.
    outln!("{}", said.join("\n"))?;
    Ok(())
}

/// Creates the directories of the state root.
pub fn folders(settings: &Settings) -> anyhow::Result<()> {
    for (folder, mode) in [("", 0o711), ("keyspace", 0o700), ("catalog", 0o755), ("images", 0o700), ("logs", 0o700)] {
        private_folder(&settings.state_root.join(folder), mode)?;
    }
    Ok(())
}

/// What the server reads at its next start.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FirstStart {
    /// The `Token` object of the printed token; `None` once the token was exchanged.
    pub token: Option<serde_json::Value>,
    /// How many backups of each service are kept.
    pub retention: u32,
}

impl FirstStart {
    /// Writes the file, readable by root only.
    pub fn write(&self, settings: &Settings) -> anyhow::Result<()> {
        let path = settings.first_start();
        let unfinished = path.with_extension("tmp");
        let text = serde_json::to_vec_pretty(self)?;
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let written = options.open(&unfinished).and_then(|mut file| {
            file.write_all(&text)?;
            file.sync_all()
        });
        written
            .and_then(|()| fs::rename(&unfinished, &path))
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

/// Writes the token and the retention for the server. Returns the text with the token.
fn leave_first_start(settings: &Settings, retention: u32, now: Timestamp) -> anyhow::Result<String> {
    let (token, record) = SingleUseToken::mint(FIRST_TOKEN_TTL, now)?;
    let expires_at = Time(record.expires.context("a minted token always expires")?);
    let mut grant = Token {
        metadata: api::ObjectMeta { name: Some(token.id().to_owned()), ..Default::default() },
        spec: TokenSpec {
            user: trust::assets::ADMIN_USER.into(),
            groups: vec!["system:masters".into()],
            scopes: Vec::new(),
            expires_at,
            digest: record.digest,
        },
        status: None,
    };
    api::Resource::apply_defaults(&mut grant);
    let first = FirstStart { token: Some(api::encode(&grant)), retention };
    first.write(settings)?;
    Ok(format!(
        "\nToken (valid once, for one hour):\n\n    {}\n\n\
         Next:  nanocloud config --token TOKEN | sh    # gives kubectl and nanocloud access\n       \
         nanocloud server                       # starts the node",
        trust::ExposeSecret::expose_secret(&token.reveal())
    ))
}

fn private_folder(path: &Path, mode: u32) -> anyhow::Result<()> {
    fs::create_dir_all(path)
        .and_then(|()| fs::set_permissions(path, Permissions::from_mode(mode)))
        .with_context(|| format!("cannot prepare {}: is the disk writable and not full?", path.display()))
}
