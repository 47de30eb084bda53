//! This node as a member of a cluster: its identity, joining, the transport to other members, and what only the leader
//! runs.

use std::{
    fs, io,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail};
use futures::{Stream, StreamExt};
use jiff::Timestamp;
use replica::{Rejection, Start, TlsTransport, Transport};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use trust::{AssetsConfig, Authority, JoinToken, SecureAssets, SharedAssets, member};

use crate::{host, settings::Settings, setup};

/// Identity of the member that forms a cluster.
const FIRST_MEMBER: u64 = 1;
/// How often the member's certificate is renewed; it is valid for much longer.
const RENEW_EVERY: Duration = Duration::from_secs(30 * 24 * 3600);
/// How long other members must reject this one before it gives up; after a restart they reject it for a moment.
const REFUSED_FOR: Duration = Duration::from_secs(15);
/// Interval between attempts while the cluster has no leader.
const PAUSE: Duration = Duration::from_millis(500);

/// Which member this node is.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    /// The member.
    pub id: u64,
    /// How it starts with an empty keyspace.
    pub start: Start,
}

/// The file with the identity of this member. Ids are hexadecimal.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Remembered {
    member_id: String,
    /// The cluster that was joined; absent if the keyspace was restored, because it contains the cluster's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cluster_id: Option<String>,
}

/// The answer of a member to a server that joins.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    member_id: String,
    cluster_id: String,
    assets: SharedAssets,
}

fn file(settings: &Settings) -> PathBuf {
    settings.state_root.join("member.json")
}

impl Identity {
    /// The identity of this node: the one it joined or was restored with, or that of the first member of a new cluster.
    pub fn load(settings: &Settings) -> anyhow::Result<Self> {
        let path = file(settings);
        let broken = || format!("{} cannot be read; join again with an empty state root", path.display());
        let Some(text) = found(&path).with_context(broken)? else {
            return Ok(Self { id: FIRST_MEMBER, start: Start::Form });
        };
        let remembered: Remembered = serde_json::from_str(&text).with_context(broken)?;
        let number = |text: &str| u64::from_str_radix(text, 16).with_context(broken);
        let start = match &remembered.cluster_id {
            Some(cluster_id) => Start::Join { cluster_id: number(cluster_id)? },
            None => Start::Form,
        };
        Ok(Self { id: number(&remembered.member_id)?, start })
    }
}

/// The contents of a file, or `None` if it does not exist. Any other read error is an error.
fn found(path: &Path) -> io::Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether a directory is not empty.
fn is_used(folder: &Path) -> io::Result<bool> {
    match fs::read_dir(folder) {
        Ok(mut entries) => Ok(entries.next().is_some()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// The idempotency key of this attempt to join. It is kept until the join is complete, so that a server that crashes
/// in between is recognized when it tries again.
fn join_key(settings: &Settings) -> anyhow::Result<String> {
    let path = join_key_file(settings);
    let unusable = || format!("{} cannot be used to join", path.display());
    if let Some(key) = found(&path).with_context(unusable)?.filter(|key| !key.is_empty()) {
        return Ok(key);
    }
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("the kernel gives no random numbers: {error}"))?;
    let key: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let unfinished = path.with_extension("tmp");
    let write = || -> io::Result<()> {
        let mut file = fs::File::options().create(true).truncate(true).write(true).mode(0o600).open(&unfinished)?;
        file.write_all(key.as_bytes())?;
        file.sync_all()?;
        fs::rename(&unfinished, &path)?;
        fs::File::open(&settings.state_root)?.sync_all()
    };
    write().with_context(unusable)?;
    Ok(key)
}

fn join_key_file(settings: &Settings) -> PathBuf {
    settings.state_root.join("joining.key")
}

/// Joins a cluster, unless this node already did. Afterwards it has the keys of the cluster.
pub async fn join(settings: &Settings, token: &JoinToken) -> anyhow::Result<()> {
    let joined = file(settings).try_exists();
    if joined.with_context(|| format!("{} cannot be looked at", file(settings).display()))? {
        tracing::info!("this node has joined already; the join token is not needed");
        return Ok(());
    }
    if settings.peer_listen.is_none() {
        bail!("a server that joins needs an address for other members: give --peer-listen ADDRESS:PORT");
    }
    let used = is_used(&settings.keyspace());
    if used.with_context(|| format!("{} cannot be looked at", settings.keyspace().display()))? {
        bail!("{} holds a keyspace already: join with an empty state root", settings.state_root.display());
    }
    setup::folders(settings)?;
    host::check_writable(&settings.state_root)?;
    let key = join_key(settings)?;
    let mut last = None;
    for server in &token.servers {
        match ask(settings, token, server, &key).await {
            Ok(answer) => return adopt(settings, &answer),
            // Trying another member only helps if this one could not be reached.
            Err(error @ client::Error::Transport { .. }) => last = Some((server, error)),
            Err(error) => return Err(error).with_context(|| format!("{server} does not take this server in")),
        }
    }
    match last {
        Some((server, error)) => Err(error).with_context(|| format!("{server} cannot be reached to join")),
        None => bail!("the join token names no server"),
    }
}

async fn ask(settings: &Settings, token: &JoinToken, server: &str, key: &str) -> client::Result<Answer> {
    let url = server.parse().map_err(|_| client::Error::Request(format!("{server:?} is no URL")))?;
    let config = client::Config::new(url, token.ca_pem(), client::Identity::Bearer(token.token()));
    let body = json!({
        "name": settings.node_name,
        "peerAddress": settings.peer_address(),
        "apiUrl": settings.api_url(),
        "version": env!("CARGO_PKG_VERSION"),
        "key": key,
    });
    let request = axum::http::Request::post("/apis/nanocloud.io/v1/members/join")
        .header("content-type", "application/json")
        .body(bytes::Bytes::from(body.to_string()))
        .map_err(|error| client::Error::Request(error.to_string()))?;
    client::Client::connect(config)?.json(request).await
}

fn adopt(settings: &Settings, answer: &Answer) -> anyhow::Result<()> {
    let dir = settings.secure_assets();
    answer.assets.install(&dir)?;
    // Each member has its own certificates of the server and of the administrator.
    let config = AssetsConfig { dir, server_names: settings.server_names(), data_exists: true };
    SecureAssets::init(&config, jiff::Timestamp::now())?;
    remember(
        settings,
        &Remembered { member_id: answer.member_id.clone(), cluster_id: Some(answer.cluster_id.clone()) },
    )?;
    if let Err(error) = fs::remove_file(join_key_file(settings)) {
        tracing::warn!(%error, "the key of the join, which is not needed any more, was not removed");
    }
    tracing::info!(member = answer.member_id, cluster = answer.cluster_id, "joined the cluster");
    Ok(())
}

/// Records that the keyspace of this node was restored as that of member `id`.
pub fn restored(settings: &Settings, id: u64) -> anyhow::Result<()> {
    remember(settings, &Remembered { member_id: format!("{id:x}"), cluster_id: None })
}

fn remember(settings: &Settings, remembered: &Remembered) -> anyhow::Result<()> {
    let path = file(settings);
    let unfinished = path.with_extension("tmp");
    fs::write(&unfinished, serde_json::to_vec_pretty(remembered)?)
        .and_then(|()| fs::File::open(&unfinished)?.sync_all())
        .and_then(|()| fs::rename(&unfinished, &path))
        .and_then(|()| fs::File::open(&settings.state_root)?.sync_all())
        .with_context(|| format!("cannot write {}", path.display()))
}

/// The configuration of this node's replica.
pub fn replica_config(settings: &Settings, identity: Identity) -> replica::Config {
    let peer = replica::Peer {
        address: settings.peer_address(),
        name: settings.node_name.clone(),
        api_url: settings.api_url(),
    };
    replica::Config {
        node_id: identity.id,
        start: identity.start,
        peer,
        ..replica::Config::with_settings(settings.keyspace(), &settings.replica)
    }
}

/// The transport to other members, if this node has a peer address.
pub async fn transport(
    settings: &Settings,
    assets: &SecureAssets,
    identity: Identity,
) -> anyhow::Result<Option<Arc<TlsTransport>>> {
    let Some(address) = settings.peer_listen else { return Ok(None) };
    let (authority, certificate) = member_certificate(assets, identity)?;
    let listener = host::listen(address).await?;
    Ok(Some(Arc::new(TlsTransport::new(listener, &authority, &certificate)?)))
}

/// The transport as the replica takes it.
pub fn port(transport: Option<&Arc<TlsTransport>>) -> Option<Arc<dyn Transport>> {
    transport.map(|transport| transport.clone() as Arc<dyn Transport>)
}

/// Renews the member's certificate, long before it expires, until stopped.
pub async fn renew(
    transport: Arc<TlsTransport>,
    assets: SecureAssets,
    identity: Identity,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    while stop.run_until_cancelled(tokio::time::sleep(RENEW_EVERY)).await.is_some() {
        let (authority, certificate) = member_certificate(&assets, identity)?;
        transport.renew(&authority, &certificate)?;
    }
    Ok(())
}

/// The CA of the members, and this member's certificate.
fn member_certificate(assets: &SecureAssets, identity: Identity) -> Result<(Authority, trust::Identity), trust::Error> {
    let now = Timestamp::now();
    let authority = member::authority(assets.authority(), now)?;
    let certificate = member::issue(&authority, identity.id, member::LIFETIME, now)?;
    Ok((authority, certificate))
}

/// Fails if other members keep rejecting this one: it was removed, or runs twice.
pub async fn refusals(
    mut rejection: watch::Receiver<Option<Rejection>>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let watching = async {
        loop {
            let refused = rejection.wait_for(Option::is_some).await;
            let Ok(Some(refused)) = refused.map(|refused| refused.clone()) else { return None };
            tracing::error!(reason = %refused, "another member refuses this one");
            match tokio::time::timeout(REFUSED_FOR, rejection.wait_for(|now| now.as_ref() != Some(&refused))).await {
                Err(_) => return Some(refused),
                Ok(_) => continue,
            }
        }
    };
    match stop.run_until_cancelled(watching).await {
        Some(Some(refused)) => Err(refused.into()),
        _ => Ok(()),
    }
}

/// Retries until it succeeds: a cluster may have no leader for a while, and a new member has no data yet.
pub async fn retry_until_ok<T, E: std::fmt::Display, F: Future<Output = Result<T, E>>>(
    what: &'static str,
    mut attempt: impl FnMut() -> F,
) -> T {
    let mut told = false;
    loop {
        match attempt().await {
            Ok(done) => return done,
            Err(error) if !told => tracing::info!(%error, "waiting for the cluster to {what}"),
            Err(_) => {}
        }
        told = true;
        tokio::time::sleep(PAUSE).await;
    }
}

/// Runs a task while this member is the leader, according to `leads`. The task must end soon after its token is
/// cancelled.
pub async fn while_leading<F: Future<Output = ()>>(
    leads: impl Stream<Item = bool>,
    stop: CancellationToken,
    mut run: impl FnMut(CancellationToken) -> F,
) {
    let mut leads = pin!(leads);
    while let Some(Some(leading)) = stop.run_until_cancelled(leads.next()).await {
        if !leading {
            continue;
        }
        let term = stop.child_token();
        let mut running = pin!(run(term.clone()));
        tokio::select! {
            () = &mut running => {}
            _ = leads.next() => {
                term.cancel();
                running.await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Sources;

    fn settings(root: &Path) -> Settings {
        let root = root.display().to_string();
        let variable = |name: &str| (name == "NANOCLOUD_STATE_ROOT").then(|| root.clone());
        let global = cli::args::Global { config: Some("/dev/null".into()), ..Default::default() };
        let server = cli::args::Server::default();
        Settings::resolve(&Sources::open(&global, &server, &variable).unwrap()).unwrap()
    }

    #[test]
    fn a_member_knows_which_one_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(folder.path());
        let identity = || Identity::load(&settings).unwrap();
        assert!(matches!(identity(), Identity { id: FIRST_MEMBER, start: Start::Form }));
        remember(&settings, &Remembered { member_id: "1f".into(), cluster_id: Some("a0".into()) }).unwrap();
        assert!(matches!(identity(), Identity { id: 0x1f, start: Start::Join { cluster_id: 0xa0 } }));
        restored(&settings, 2).unwrap();
        assert!(matches!(identity(), Identity { id: 2, start: Start::Form }));
        fs::write(file(&settings), "{}").unwrap();
        assert!(Identity::load(&settings).unwrap_err().to_string().contains("member.json"));
        // An unreadable file is not a missing one: this node must not consider itself the first member.
        fs::remove_file(file(&settings)).unwrap();
        fs::create_dir(file(&settings)).unwrap();
        assert!(Identity::load(&settings).unwrap_err().to_string().contains("member.json"));
    }

    #[test]
    fn a_join_that_is_tried_again_has_the_same_key() {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(folder.path());
        let key = join_key(&settings).unwrap();
        assert_eq!((key.len(), join_key(&settings).unwrap()), (64, key));
        fs::remove_file(join_key_file(&settings)).unwrap();
        fs::create_dir(join_key_file(&settings)).unwrap();
        assert!(join_key(&settings).unwrap_err().to_string().contains("joining.key"));
    }
}
