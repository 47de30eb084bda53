//! What commands read from this machine.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use api::kinds::Token;
use cli::{
    Error, Result,
    args::{Global, Server},
    connection::{LocalAdmin, Sources},
};
use client::Identity;
use jiff::Timestamp;
use trust::{SecretString, SecureAssets, SingleUseToken, TokenOutcome, TokenRecord, single_use};

use crate::{
    settings::{self, Settings},
    setup::FirstStart,
};

/// This machine: its environment, its files and the keys of its server.
#[derive(Debug)]
pub struct Machine {
    /// Flags that name files of the server on this machine.
    pub global: Global,
}

impl Machine {
    fn settings(&self, state_root: Option<&Path>) -> Result<Settings> {
        let mut global = self.global.clone();
        global.state_root = state_root.map(Path::to_owned).or(global.state_root);
        let variable = |name: &str| self.variable(name);
        let resolved =
            settings::Sources::open(&global, &Server::default(), &variable).and_then(|s| Settings::resolve(&s));
        resolved.map_err(|error| Error::usage("configuration", error.to_string(), "see `nanocloud config check`"))
    }
}

fn local_error(
    action: &'static str,
    remedy: &str,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> Error {
    Error::Local { action, source: source.into(), remedy: remedy.into() }
}

impl Sources for Machine {
    fn variable(&self, name: &str) -> Option<String> {
        #[expect(clippy::disallowed_methods, reason = "where the environment is read")]
        env::var(name).ok().filter(|value| !value.is_empty())
    }

    fn read(&self, path: &Path) -> io::Result<String> {
        fs::read_to_string(path)
    }

    fn local(&self, state_root: Option<&Path>) -> Result<Option<LocalAdmin>> {
        let settings = self.settings(state_root)?;
        let dir: PathBuf = settings.secure_assets();
        if fs::read_dir(&dir).is_err() {
            return Ok(None);
        }
        let assets = SecureAssets::open(&dir, Timestamp::now())
            .map_err(|error| local_error("use the keys of this machine's server", "run `nanocloud setup`", error))?;
        let admin = assets.admin();
        let identity =
            Identity::Certificate { certificate: admin.certificate_pem().to_owned(), key: admin.key_pem().clone() };
        Ok(Some(LocalAdmin { ca: assets.ca_pem().to_owned(), identity, server: reachable(settings.listen) }))
    }

    fn redeem(&self, state_root: Option<&Path>, token: &str) -> Result<Option<LocalAdmin>> {
        let settings = self.settings(state_root)?;
        let Ok(text) = fs::read_to_string(settings.first_start()) else { return Ok(None) };
        let broken = |error| local_error("read the first token", "run `nanocloud setup` for a new one", error);
        let first: FirstStart = serde_json::from_str(&text).map_err(broken)?;
        let Some(value) = &first.token else { return Ok(None) };
        let grant: Token = api::decode(value.clone())
            .map_err(|error| local_error("read the first token", "run `nanocloud setup` for a new one", error))?;
        let Some(presented) = SingleUseToken::parse(token.trim()) else { return Ok(None) };
        let expires = grant.spec.expires_at.0;
        let record =
            TokenRecord { digest: grant.spec.digest, minted: Timestamp::now(), expires: Some(expires), consumed: None };
        let budget: Duration = single_use::MAX_TTL;
        let known = grant.metadata.name.as_deref() == Some(presented.id());
        match single_use::verify(&presented, known.then_some(&record), budget, Timestamp::now()) {
            TokenOutcome::Accepted => {}
            outcome => {
                let remedy = "run `nanocloud setup` for a new token";
                return Err(Error::usage("--token", format!("it is not accepted: {}", outcome.reason()), remedy));
            }
        }
        // Removed before the credential is returned, so that the token works only once.
        let rest = FirstStart { token: None, ..first };
        rest.write(&settings)
            .map_err(|error| local_error("mark the token as used", "is the state root writable?", error))?;
        self.local(state_root)
    }

    fn signing_request(&self, user: &str, names: &[String]) -> Result<(String, SecretString)> {
        trust::csr::generate(user, names)
            .map_err(|error| local_error("make a signing request", "correct the names", error))
    }
}

/// An address that clients on this machine can reach.
fn reachable(listen: std::net::SocketAddr) -> String {
    match listen.ip().is_unspecified() {
        true => format!("https://127.0.0.1:{}", listen.port()),
        false => format!("https://{listen}"),
    }
}
