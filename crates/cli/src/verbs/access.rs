//! `nanocloud token`, `config` and `ca`: who may use the server.

use api::meta::DEFAULT_NAMESPACE;
use base64::{Engine, engine::general_purpose::STANDARD};
use client::Identity;
use qrcode::{QrCode, render::unicode::Dense1x2};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use crate::{
    args::{Ca, Config, Global, Output, Token},
    connection::{DEFAULT_SERVER, LocalAdmin, Sources, address},
    context::{self, Context},
    error::{Error, Result},
    exit::Exit,
    note, out, outln, output,
    request::Request,
};

/// Issues a single-use token.
pub async fn token(context: &Context<'_>, args: &Token) -> Result<Exit> {
    let body = json!({
        "user": args.user,
        "groups": args.groups,
        "scopes": args.scopes,
        "ttlSeconds": args.ttl.as_secs(),
    });
    let issued = context.send(&Request::post("/apis/nanocloud.io/v1/tokens/issue", body)).await?;
    if matches!(args.output, Output::Json | Output::Yaml) {
        out!("{}", output::document(&issued, args.output)?)?;
        return Ok(Exit::Done);
    }
    let text = word(&issued, "token")?;
    outln!("{text}")?;
    note!(
        "valid once, until {}; use it with: nanocloud config --token TOKEN | sh",
        issued["expiresAt"].as_str().unwrap_or("?")
    );
    if args.qr {
        let link = format!("{}/apis/nanocloud.io/v1/tokens/exchange#{text}", context.client.server());
        let code = QrCode::new(link).map_err(|error| Error::io("draw the QR code", std::io::Error::other(error)))?;
        outln!("{}", code.render::<Dense1x2>().build())?;
    }
    Ok(Exit::Done)
}

/// Prints the CA certificate, or issues a client certificate.
pub async fn ca(context: &Context<'_>, args: &Ca) -> Result<Exit> {
    let Some(name) = &args.common_name else {
        out!("{}", context.client.config().map(|config| config.ca.clone()).unwrap_or_default())?;
        return Ok(Exit::Done);
    };
    let (csr, key) = context.sources.signing_request(name, &args.additional)?;
    let mut body = json!({"csr": csr, "user": name});
    if !args.additional.is_empty() {
        body["names"] = json!(args.additional);
    }
    let issued = context.send(&Request::post("/apis/nanocloud.io/v1/certificates", body)).await?;
    out!("{}{}", word(&issued, "certificate")?, key.expose_secret())?;
    Ok(Exit::Done)
}

/// The contents of a kubeconfig.
struct Access {
    server: String,
    ca: String,
    identity: Identity,
}

/// Prints a script that installs a kubeconfig.
pub async fn config(global: &Global, sources: &dyn Sources, args: &Config) -> Result<Exit> {
    let mut access = match &args.token {
        Some(token) => redeem(global, sources, args, token).await?,
        None => own(global, sources)?,
    };
    if let Some(host) = &args.host {
        let mut url = address(&access.server)?;
        let message = || Error::usage("--host", format!("{host:?} is not a host name"), "write a name or an address");
        url.set_host(Some(host)).map_err(|_| message())?;
        access.server = url.to_string();
    }
    out!("{}", script(&kubeconfig(args, &access)?))?;
    Ok(Exit::Done)
}

/// The credentials that other commands use on this machine.
fn own(global: &Global, sources: &dyn Sources) -> Result<Access> {
    let connection = crate::connection::resolve(global, sources)?;
    let config = connection.config;
    Ok(Access { server: config.server.to_string(), ca: config.ca, identity: config.identity })
}

/// Exchanges a token: at the server, or with the keys of this machine if the server is not running.
async fn redeem(global: &Global, sources: &dyn Sources, args: &Config, token: &str) -> Result<Access> {
    let root = global.state_root.clone().or_else(|| sources.variable("NANOCLOUD_STATE_ROOT").map(Into::into));
    let local = sources.local(root.as_deref())?;
    let ca = match (global.ca.clone().or_else(|| sources.variable("NANOCLOUD_CA").map(Into::into)), &local) {
        (Some(path), _) => sources.read(&path).map_err(|error| Error::unreadable("--ca", &path, &error))?,
        (None, Some(local)) => local.ca.clone(),
        (None, None) => {
            let remedy = "give the CA certificate with --ca (`nanocloud ca` prints it on the server)";
            return Err(Error::usage("--ca", "the CA certificate of the server is not known on this machine", remedy));
        }
    };
    let named = global.server.clone().or_else(|| sources.variable("NANOCLOUD_SERVER"));
    let server =
        named.or_else(|| local.as_ref().map(|local| local.server.clone())).unwrap_or_else(|| DEFAULT_SERVER.into());
    let server = address(&server)?;
    let identity = Identity::Bearer(token.to_owned().into());
    let client = context::client(global, client::Config::new(server.clone(), ca, identity))?;
    // The token determines the user, so the request does not name one.
    let (csr, key) = sources.signing_request("", &[])?;
    let exchange = async |body: Value| -> Result<Result<Value, client::Error>> {
        Ok(client.json(Request::post("/apis/nanocloud.io/v1/tokens/exchange", body).http()?).await)
    };
    match exchange(json!({"csr": csr})).await? {
        // Certificates cannot carry scopes, so a token with scopes is exchanged for a bearer token.
        Err(error) if is_scoped(&error) => {
            let answer = exchange(json!({})).await??;
            note_user(&answer, &args.user);
            note!(
                "the token is limited to scopes, so the credential expires at {}",
                answer["expiresAt"].as_str().unwrap_or("?")
            );
            let identity = Identity::Bearer(word(&answer, "token")?.into());
            Ok(Access { server: server.to_string(), ca: word(&answer, "ca")?, identity })
        }
        Ok(answer) => {
            note_user(&answer, &args.user);
            let identity = Identity::Certificate { certificate: word(&answer, "certificate")?, key };
            Ok(Access { server: server.to_string(), ca: word(&answer, "ca")?, identity })
        }
        Err(error @ client::Error::Transport { .. }) => match sources.redeem(root.as_deref(), token)? {
            Some(LocalAdmin { ca, identity, .. }) => Ok(Access { server: server.to_string(), ca, identity }),
            None => Err(error.into()),
        },
        Err(error) => Err(error.into()),
    }
}

/// Warns if the credential is for another user than the kubeconfig names.
fn note_user(answer: &Value, called: &str) {
    match answer["user"].as_str() {
        Some(user) if user != called => {
            note!("note: the token is for user {user:?}; the kubeconfig names the user {called:?}")
        }
        _ => {}
    }
}

/// Whether a token cannot be exchanged for a certificate because it has scopes.
fn is_scoped(error: &client::Error) -> bool {
    let client::Error::Api(status) = error else { return false };
    status.details.iter().flat_map(|details| &details.causes).any(|cause| cause.reason == api::cause::SCOPED_TOKEN)
}

fn word(answer: &Value, field: &str) -> Result<String> {
    let missing = || Error::io("read the server's answer", std::io::Error::other(format!("it has no {field}")));
    answer[field].as_str().map(str::to_owned).ok_or_else(missing)
}

/// A kubeconfig as JSON, which is YAML too.
fn kubeconfig(args: &Config, access: &Access) -> Result<String> {
    let encode = |text: &str| STANDARD.encode(text);
    let secret = |text: &SecretString| encode(text.expose_secret());
    let user = match &access.identity {
        Identity::Certificate { certificate, key } => {
            json!({"client-certificate-data": encode(certificate), "client-key-data": secret(key)})
        }
        Identity::Bearer(token) => json!({"token": token.expose_secret()}),
        Identity::Anonymous => json!({}),
    };
    let (cluster, name) = (&args.cluster, &args.user);
    let document = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": cluster,
        "clusters": [{"name": cluster, "cluster": {
            "server": access.server.trim_end_matches('/'), "certificate-authority-data": encode(&access.ca)
        }}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": cluster, "context": {"cluster": cluster, "user": name, "namespace": DEFAULT_NAMESPACE}}],
    });
    output::document(&document, Output::Json)
}

/// A POSIX shell script that writes the kubeconfig with mode 0600 and keeps a backup of an existing one.
fn script(kubeconfig: &str) -> String {
    format!(
        r#"#!/bin/sh
set -eu
target="${{KUBECONFIG:-$HOME/.kube/config}}"
umask 077
mkdir -p "$(dirname "$target")"
if [ -e "$target" ]; then
    cp "$target" "$target.before-nanocloud"
    echo "the old file is $target.before-nanocloud" >&2
fi
cat >"$target.new" <<'KUBECONFIG'
{kubeconfig}KUBECONFIG
mv "$target.new" "$target"
echo "wrote $target; try: kubectl get pods -A" >&2
"#
    )
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests start programs and tasks, and end them")]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn the_script_installs_what_the_client_reads_back() {
        let args = Config { token: None, user: "u".into(), cluster: "c".into(), host: None, action: None };
        let identity = Identity::Certificate { certificate: "CERT".into(), key: "KEY".to_owned().into() };
        let access = Access { server: "https://h:1/".into(), ca: "CA".into(), identity };
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("sub/config");
        let run = || {
            let text = script(&kubeconfig(&args, &access).unwrap());
            let status = Command::new("sh").arg("-c").arg(text).env("KUBECONFIG", &target).status().unwrap();
            assert!(status.success());
        };
        run();
        run();
        assert!(folder.path().join("sub/config.before-nanocloud").exists());
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&target).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
        let parsed = client::Kubeconfig::parse(&std::fs::read_to_string(&target).unwrap()).unwrap();
        let (config, namespace) = parsed.config(None, folder.path(), |_| Ok(String::new())).unwrap();
        assert_eq!((config.server.as_str(), config.ca.as_str()), ("https://h:1/", "CA"));
        assert!(matches!(config.identity, Identity::Certificate { certificate, .. } if certificate == "CERT"));
        assert_eq!(namespace.as_deref(), Some("default"));
    }
}
