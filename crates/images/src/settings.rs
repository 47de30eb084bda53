//! The part of an image's configuration that containers are made from.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Settings from an OCI image configuration (image-spec, `config.md`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageSettings {
    /// CPU architecture as Go names it (`amd64`, `arm64`).
    pub architecture: String,
    /// Operating system.
    pub os: String,
    /// `user`, `uid`, `user:group`, ...; empty is root. [`Image::user`](crate::Image::user) resolves it.
    pub user: String,
    /// Environment as (name, value).
    pub env: Vec<(String, String)>,
    /// Program and first arguments.
    pub entrypoint: Vec<String>,
    /// Default arguments, or the program when there is no entrypoint.
    pub cmd: Vec<String>,
    /// Working directory; empty is `/`.
    pub working_dir: String,
    /// Ports the program listens on, like `3306/tcp`.
    pub exposed_ports: Vec<String>,
    /// Paths that hold data.
    pub volumes: Vec<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Signal that asks the program to end, like `SIGTERM`; empty is SIGTERM.
    pub stop_signal: String,
    /// Digests (`sha256:...`) of the layers as plain tar, lowest first.
    pub diff_ids: Vec<String>,
}

impl ImageSettings {
    /// What to run: Kubernetes' rule for `command` and `args` over the image's entrypoint and cmd.
    pub fn argv(&self, command: &[String], args: &[String]) -> Vec<String> {
        let (head, tail): (&[String], &[String]) = match (command.is_empty(), args.is_empty()) {
            (false, _) => (command, args),
            (true, false) => (&self.entrypoint, args),
            (true, true) => (&self.entrypoint, &self.cmd),
        };
        head.iter().chain(tail).cloned().collect()
    }

    /// Reads an OCI or Docker image configuration.
    pub(crate) fn parse(bytes: &[u8]) -> serde_json::Result<Self> {
        let file: ConfigFile = serde_json::from_slice(bytes)?;
        let config = file.config.unwrap_or_default();
        let env = config.env.unwrap_or_default();
        Ok(Self {
            architecture: file.architecture,
            os: file.os,
            user: config.user.unwrap_or_default(),
            env: env.into_iter().filter_map(variable).collect(),
            entrypoint: config.entrypoint.unwrap_or_default(),
            cmd: config.cmd.unwrap_or_default(),
            working_dir: config.working_dir.unwrap_or_default(),
            exposed_ports: config.exposed_ports.unwrap_or_default().into_keys().collect(),
            volumes: config.volumes.unwrap_or_default().into_keys().collect(),
            labels: config.labels.unwrap_or_default(),
            stop_signal: config.stop_signal.unwrap_or_default(),
            diff_ids: file.rootfs.diff_ids,
        })
    }
}

/// `NAME=value`. One without a name is nothing that a program could ask for; the rest of the image is usable.
fn variable(entry: String) -> Option<(String, String)> {
    let (name, value) = match entry.split_once('=') {
        Some((name, value)) => (name.to_owned(), value.to_owned()),
        None => (entry, String::new()),
    };
    let usable = !name.is_empty() && !name.contains('\0') && !value.contains('\0');
    usable.then_some((name, value))
}

#[derive(Deserialize)]
struct ConfigFile {
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    os: String,
    config: Option<ConfigPart>,
    rootfs: RootFs,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ConfigPart {
    user: Option<String>,
    env: Option<Vec<String>>,
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    working_dir: Option<String>,
    exposed_ports: Option<BTreeMap<String, serde_json::Value>>,
    volumes: Option<BTreeMap<String, serde_json::Value>>,
    labels: Option<BTreeMap<String, String>>,
    stop_signal: Option<String>,
}

#[derive(Deserialize)]
struct RootFs {
    diff_ids: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn kubernetes_command_and_args_rules() {
        let image = ImageSettings { entrypoint: words(&["entry"]), cmd: words(&["cmd"]), ..Default::default() };
        assert_eq!(image.argv(&[], &[]), words(&["entry", "cmd"]));
        assert_eq!(image.argv(&[], &words(&["a"])), words(&["entry", "a"]));
        assert_eq!(image.argv(&words(&["c"]), &[]), words(&["c"]), "a command drops the image's cmd");
        assert_eq!(image.argv(&words(&["c"]), &words(&["a"])), words(&["c", "a"]));
    }

    #[test]
    fn variables_that_no_program_could_have_are_left_out() -> serde_json::Result<()> {
        let text = br#"{"rootfs":{"diff_ids":[]},"config":{"Env":["=x","","A=1","N\u0000=1","V=\u0000","B"]}}"#;
        let env = ImageSettings::parse(text)?.env;
        assert_eq!(env, [("A".to_owned(), "1".to_owned()), ("B".to_owned(), String::new())]);
        Ok(())
    }

    #[test]
    fn config_with_nulls_and_unknown_fields_is_read() -> serde_json::Result<()> {
        let text =
            br#"{"architecture":"amd64","os":"linux","extra":1,"rootfs":{"type":"layers","diff_ids":["sha256:0"]},
            "config":{"Env":["A=b=c","EMPTY"],"Entrypoint":null,"Cmd":["x"],"User":"app","ExposedPorts":{"80/tcp":{}},
            "Labels":{"k":"v"}}}"#;
        let settings = ImageSettings::parse(text)?;
        assert_eq!(settings.env, [("A".into(), "b=c".into()), ("EMPTY".into(), String::new())]);
        assert_eq!((settings.user.as_str(), settings.exposed_ports), ("app", vec!["80/tcp".to_owned()]));
        assert!(settings.entrypoint.is_empty());
        assert!(ImageSettings::parse(b"{}").is_err(), "no rootfs, no image");
        Ok(())
    }
}
