//! Reads kubeconfig files: the same credentials serve kubectl and nanocloud.

use std::{collections::BTreeMap, path::Path};

use base64::{Engine, engine::general_purpose::STANDARD};
use secrecy::SecretString;
use serde::Deserialize;
use url::Url;

use crate::{Config, Identity};

/// Why a kubeconfig cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KubeconfigError {
    /// It is no kubeconfig.
    #[error("the kubeconfig is not readable as YAML: {0}")]
    Syntax(String),
    /// Something it names is not there.
    #[error("the kubeconfig has no {what} {name:?}")]
    Missing {
        /// `context`, `cluster`, `user` or `field`.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// A value cannot be used.
    #[error("the kubeconfig's {field} is not usable: {message}")]
    Value {
        /// Which field.
        field: &'static str,
        /// Why.
        message: String,
    },
}

/// A kubeconfig file (`v1 Config` of client-go).
#[derive(Debug, Deserialize)]
pub struct Kubeconfig {
    #[serde(default, rename = "current-context")]
    current_context: String,
    #[serde(default)]
    contexts: Vec<Named<Context>>,
    #[serde(default)]
    clusters: Vec<Named<Cluster>>,
    #[serde(default)]
    users: Vec<Named<User>>,
}

#[derive(Debug, Deserialize)]
struct Named<T> {
    name: String,
    #[serde(flatten)]
    value: BTreeMap<String, T>,
}

#[derive(Debug, Default, Deserialize)]
struct Context {
    #[serde(default)]
    cluster: String,
    #[serde(default)]
    user: String,
    namespace: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Cluster {
    #[serde(default)]
    server: String,
    certificate_authority: Option<String>,
    certificate_authority_data: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct User {
    client_certificate: Option<String>,
    client_certificate_data: Option<String>,
    client_key: Option<String>,
    client_key_data: Option<SecretString>,
    token: Option<SecretString>,
}

impl Kubeconfig {
    /// Reads the text of a file.
    pub fn parse(yaml: &str) -> Result<Self, KubeconfigError> {
        // The parser likes to quote the lines around an error; here they hold keys and tokens.
        let options = serde_saphyr::options! { with_snippet: false };
        serde_saphyr::from_str_with_options(yaml, options).map_err(|error| KubeconfigError::Syntax(error.to_string()))
    }

    /// The configuration of a context (the current one when `None`), with its namespace. Relative
    /// paths start at `folder`; `read` reads a file.
    pub fn config(
        &self,
        context: Option<&str>,
        folder: &Path,
        read: impl Fn(&Path) -> std::io::Result<String>,
    ) -> Result<(Config, Option<String>), KubeconfigError> {
        let context = find(&self.contexts, "context", context.unwrap_or(&self.current_context))?;
        let cluster = find(&self.clusters, "cluster", &context.cluster)?;
        let user = find(&self.users, "user", &context.user)?;
        let text = |field, data: Option<&str>, file: Option<&String>| match (data, file) {
            (Some(data), _) => decode(field, data),
            (None, Some(file)) => {
                let path = folder.join(file);
                let fail = |error| value(field, format!("{}: {error}", path.display()));
                read(&path).map_err(fail)
            }
            (None, None) => Err(KubeconfigError::Missing { what: "field", name: field.into() }),
        };
        let server = Url::parse(&cluster.server).map_err(|error| value("server", error))?;
        let ca = text(
            "certificate-authority",
            cluster.certificate_authority_data.as_deref(),
            cluster.certificate_authority.as_ref(),
        )?;
        let identity = if let Some(token) = &user.token {
            Identity::Bearer(token.clone())
        } else if user.client_certificate.is_some() || user.client_certificate_data.is_some() {
            let key = user.client_key_data.as_ref().map(secrecy::ExposeSecret::expose_secret);
            Identity::Certificate {
                certificate: text(
                    "client-certificate",
                    user.client_certificate_data.as_deref(),
                    user.client_certificate.as_ref(),
                )?,
                key: text("client-key", key, user.client_key.as_ref())?.into(),
            }
        } else {
            Identity::Anonymous
        };
        Ok((Config::new(server, ca, identity), context.namespace.clone()))
    }
}

fn find<'a, T>(all: &'a [Named<T>], what: &'static str, name: &str) -> Result<&'a T, KubeconfigError> {
    let found = all.iter().find(|named| named.name == name).and_then(|named| named.value.get(what));
    found.ok_or_else(|| KubeconfigError::Missing { what, name: name.into() })
}

fn decode(field: &'static str, data: &str) -> Result<String, KubeconfigError> {
    let bytes = STANDARD.decode(data.trim()).map_err(|error| value(field, error))?;
    String::from_utf8(bytes).map_err(|error| value(field, error))
}

fn value(field: &'static str, message: impl ToString) -> KubeconfigError {
    KubeconfigError::Value { field, message: message.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "
apiVersion: v1
kind: Config
current-context: here
contexts: [{name: here, context: {cluster: c, user: u, namespace: web}}]
clusters: [{name: c, cluster: {server: 'https://127.0.0.1:6443', certificate-authority-data: Q0E=}}]
users: [{name: u, user: {client-certificate: cert.pem, client-key-data: S0VZ}}]
";

    #[test]
    fn data_and_files_are_read_and_the_namespace_kept() {
        let files = |path: &Path| match path.to_str() {
            Some("/k/cert.pem") => Ok("CERT".to_owned()),
            _ => Err(std::io::ErrorKind::NotFound.into()),
        };
        let (config, namespace) = Kubeconfig::parse(TEXT).unwrap().config(None, Path::new("/k"), files).unwrap();
        assert_eq!((config.server.as_str(), config.ca.as_str()), ("https://127.0.0.1:6443/", "CA"));
        assert!(matches!(config.identity, Identity::Certificate { certificate, .. } if certificate == "CERT"));
        assert_eq!(namespace.as_deref(), Some("web"));
    }

    #[test]
    fn what_is_missing_is_named() {
        let parsed = Kubeconfig::parse(TEXT).unwrap();
        let error = parsed.config(Some("there"), Path::new("/"), |_| Ok(String::new())).unwrap_err();
        assert_eq!(error.to_string(), r#"the kubeconfig has no context "there""#);
    }

    #[test]
    fn an_error_does_not_quote_the_file() {
        let broken = TEXT.replace("client-certificate: cert.pem", "token: hunter2, token: [hunter2");
        let error = Kubeconfig::parse(&broken).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    }
}
