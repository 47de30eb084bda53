//! Which server, and with which credentials: flags, then environment, then kubeconfig, then the keys of this machine.

use std::{
    io,
    path::{Path, PathBuf},
};

use client::{Identity, Kubeconfig};
use secrecy::SecretString;
use url::Url;

use crate::{
    args::Global,
    error::{Error, Result},
};

/// Default address.
pub const DEFAULT_SERVER: &str = "https://127.0.0.1:6443";

/// The environment of the command. Tests pass maps.
pub trait Sources {
    /// A variable of the environment; empty is the same as unset.
    fn variable(&self, name: &str) -> Option<String>;
    /// A file's text.
    fn read(&self, path: &Path) -> io::Result<String>;
    /// The administrator's credential of the server on this machine, if its keys are readable.
    fn local(&self, state_root: Option<&Path>) -> Result<Option<LocalAdmin>>;
    /// Exchanges, once, the token that `setup` printed, if no server has started since; `None` if there is none.
    fn redeem(&self, state_root: Option<&Path>, token: &str) -> Result<Option<LocalAdmin>>;
    /// A certificate signing request (PKCS #10, PEM) for a user, with its new key.
    fn signing_request(&self, user: &str, names: &[String]) -> Result<(String, SecretString)>;
}

/// The administrator's credential that `setup` made on this machine.
#[derive(Clone, Debug)]
pub struct LocalAdmin {
    /// Authority, PEM.
    pub ca: String,
    /// The administrator's certificate and key.
    pub identity: Identity,
    /// Address the server is configured to listen on.
    pub server: String,
}

/// What was found, with the namespace of the kubeconfig's context.
#[derive(Debug)]
pub struct Connection {
    /// How to reach the server.
    pub config: client::Config,
    /// Namespace of the context.
    pub namespace: Option<String>,
}

/// Decides which server to use, and with which credentials.
///
/// # Errors
/// [`Error::Usage`] names what is wrong, or that nothing was found.
pub fn resolve(flags: &Global, sources: &dyn Sources) -> Result<Connection> {
    let path = |flag: &Option<PathBuf>, name| flag.clone().or_else(|| sources.variable(name).map(PathBuf::from));
    let server = flags.server.clone().or_else(|| sources.variable("NANOCLOUD_SERVER"));
    let token =
        path(&flags.token_file, "NANOCLOUD_TOKEN_FILE").map(|path| read(sources, "--token-file", &path)).transpose()?;
    let ca = path(&flags.ca, "NANOCLOUD_CA").map(|path| read(sources, "--ca", &path)).transpose()?;
    if let (Some(token), Some(ca)) = (&token, &ca) {
        let server = address(server.as_deref().unwrap_or(DEFAULT_SERVER))?;
        let identity = Identity::Bearer(token.trim().to_owned().into());
        return Ok(Connection { config: client::Config::new(server, ca.clone(), identity), namespace: None });
    }
    let mut found = match from_kubeconfig(flags, sources)? {
        Some(found) => found,
        None => from_local(flags, sources)?,
    };
    if let Some(server) = server {
        found.config.server = address(&server)?;
    }
    if let Some(ca) = ca {
        found.config.ca = ca;
    }
    if let Some(token) = token {
        found.config.identity = Identity::Bearer(token.trim().to_owned().into());
    }
    Ok(found)
}

fn read(sources: &dyn Sources, field: &str, path: &Path) -> Result<String> {
    sources.read(path).map_err(|error| Error::unreadable(field, path, &error))
}

pub(crate) fn address(text: &str) -> Result<Url> {
    let text = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    let fail = |message: String| Error::usage("--server", message, "write it like https://127.0.0.1:6443");
    let url = Url::parse(&text).map_err(|error| fail(format!("{text:?}: {error}")))?;
    if url.scheme() != "https" || !url.has_host() {
        return Err(fail(format!("{text:?} is not an https address")));
    }
    Ok(url)
}

fn from_kubeconfig(flags: &Global, sources: &dyn Sources) -> Result<Option<Connection>> {
    // A state root given as a flag selects its server, not that of the current context.
    if flags.kubeconfig.is_none() && flags.context.is_none() && flags.state_root.is_some() {
        return Ok(None);
    }
    let named = flags.kubeconfig.clone().or_else(|| sources.variable("KUBECONFIG").map(PathBuf::from));
    let path = match (&named, sources.variable("HOME")) {
        (Some(path), _) => path.clone(),
        (None, Some(home)) => Path::new(&home).join(".kube/config"),
        (None, None) => return Ok(None),
    };
    let text = match sources.read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound && named.is_none() && flags.context.is_none() => {
            return Ok(None);
        }
        Err(error) => {
            let message = format!("{}: {error}", path.display());
            return Err(Error::usage("--kubeconfig", message, "make one with `sudo nanocloud config | sh`"));
        }
    };
    let folder = path.parent().unwrap_or(Path::new("/"));
    let config = Kubeconfig::parse(&text)
        .and_then(|parsed| parsed.config(flags.context.as_deref(), folder, |path| sources.read(path)))
        .map_err(|error| {
            let message = format!("{}: {error}", path.display());
            Error::usage("--kubeconfig", message, "correct it, or name another with --kubeconfig or --context")
        })?;
    Ok(Some(Connection { config: config.0, namespace: config.1 }))
}

fn from_local(flags: &Global, sources: &dyn Sources) -> Result<Connection> {
    let root = flags.state_root.clone().or_else(|| sources.variable("NANOCLOUD_STATE_ROOT").map(PathBuf::from));
    let Some(local) = sources.local(root.as_deref())? else {
        return Err(Error::usage(
            "credentials",
            "no kubeconfig, and no readable keys of a server on this machine",
            "run `sudo nanocloud config | sh`, or give --kubeconfig, or --token-file with --ca",
        ));
    };
    Ok(Connection { config: client::Config::new(address(&local.server)?, local.ca, local.identity), namespace: None })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[derive(Default)]
    struct World {
        variables: BTreeMap<&'static str, &'static str>,
        files: BTreeMap<&'static str, &'static str>,
        local: bool,
    }

    impl Sources for World {
        fn variable(&self, name: &str) -> Option<String> {
            self.variables.get(name).map(|text| (*text).to_owned())
        }
        fn read(&self, path: &Path) -> io::Result<String> {
            let found = path.to_str().and_then(|path| self.files.get(path));
            found.map(|text| (*text).to_owned()).ok_or_else(|| io::ErrorKind::NotFound.into())
        }
        fn local(&self, _: Option<&Path>) -> Result<Option<LocalAdmin>> {
            let server = "127.0.0.1:7000".to_owned();
            Ok(self.local.then(|| LocalAdmin { ca: "LOCAL".into(), identity: Identity::Anonymous, server }))
        }
        fn redeem(&self, _: Option<&Path>, _: &str) -> Result<Option<LocalAdmin>> {
            Ok(None)
        }
        fn signing_request(&self, _: &str, _: &[String]) -> Result<(String, SecretString)> {
            Ok((String::new(), String::new().into()))
        }
    }

    const KUBECONFIG: &str = "
current-context: c
contexts: [{name: c, context: {cluster: c, user: u, namespace: web}}]
clusters: [{name: c, cluster: {server: 'https://kube:1', certificate-authority-data: Q0E=}}]
users: [{name: u, user: {token: t}}]
";

    fn server(flags: &Global, world: &World) -> String {
        resolve(flags, world).unwrap().config.server.to_string()
    }

    #[test]
    fn flag_wins_over_variable_over_kubeconfig_over_this_machine() {
        let mut world = World { local: true, ..World::default() };
        let mut flags = Global::default();
        assert_eq!(server(&flags, &world), "https://127.0.0.1:7000/");
        world.variables.insert("HOME", "/h");
        world.files.insert("/h/.kube/config", KUBECONFIG);
        assert_eq!(server(&flags, &world), "https://kube:1/");
        world.variables.insert("NANOCLOUD_SERVER", "https://env:2");
        assert_eq!(server(&flags, &world), "https://env:2/");
        flags.server = Some("flag:3".into());
        assert_eq!(server(&flags, &world), "https://flag:3/");
    }

    #[test]
    fn a_state_root_by_flag_means_its_own_server() {
        let mut world = World { local: true, ..World::default() };
        world.variables.insert("HOME", "/h");
        world.files.insert("/h/.kube/config", KUBECONFIG);
        let flags = Global { state_root: Some("/s".into()), ..Global::default() };
        assert_eq!(server(&flags, &world), "https://127.0.0.1:7000/");
        world.variables.insert("KUBECONFIG", "/h/.kube/config");
        assert_eq!(server(&flags, &world), "https://127.0.0.1:7000/", "a flag is nearer than the environment");
    }

    #[test]
    fn nothing_found_says_what_to_do() {
        let error = resolve(&Global::default(), &World::default()).unwrap_err();
        assert!(error.report().contains("remedy: run `sudo nanocloud config | sh`"), "{}", error.report());
        let flags = Global { kubeconfig: Some("/none".into()), ..Global::default() };
        assert!(resolve(&flags, &World { local: true, ..World::default() }).is_err(), "a named file must exist");
    }

    #[test]
    fn plain_http_is_refused() {
        let flags = Global { server: Some("http://a".into()), ..Global::default() };
        assert!(resolve(&flags, &World { local: true, ..World::default() }).is_err());
    }
}
