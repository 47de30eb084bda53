//! Logins to registries, read from the Secrets that a pod names in `imagePullSecrets`.

use std::collections::BTreeMap;

use api::kinds::{Pod, Secret};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use images::{Credentials, Reference};
use serde::Deserialize;

/// Most logins of one pod; further ones are left out.
pub const LOGINS_MAX: usize = 64;
/// A registry that nobody has: what is not said to be in a registry is in none that a login is for.
const NO_REGISTRY: &str = "unqualified.invalid";

/// Proof for images of a registry, or of one place in it. Never prints the proof.
#[derive(Debug, Clone)]
pub struct Login {
    /// Host and port, and perhaps the beginning of repositories: `registry.example:5000/team`.
    place: String,
    credentials: Credentials,
}

/// What there is to know of the Secrets of a pod.
#[derive(Debug, Clone, Default)]
pub struct Logins {
    /// Logins, as many as were found.
    pub all: Vec<Login>,
    /// Secrets that are missing or are no logins, with the reason; no value of a secret is in it.
    pub problems: Vec<String>,
}

#[derive(Deserialize)]
struct DockerConfig {
    auths: BTreeMap<String, Entry>,
}

/// One entry of a docker configuration.
#[derive(Deserialize)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    #[serde(rename = "registrytoken")]
    registry_token: Option<String>,
}

impl Entry {
    fn credentials(self) -> Option<Credentials> {
        if let Some(token) = self.registry_token.filter(|token| !token.is_empty()) {
            return Some(Credentials::Bearer(token));
        }
        let joined = self.auth.filter(|auth| !auth.is_empty());
        let (user, password) = match joined {
            Some(auth) => {
                let text = String::from_utf8(STANDARD.decode(auth.trim()).ok()?).ok()?;
                let (user, password) = text.split_once(':')?;
                (user.to_owned(), password.trim_end_matches('\0').to_owned())
            }
            None => (self.username?, self.password?),
        };
        Some(Credentials::Basic { user, password })
    }
}

/// Names of the Secrets with logins.
#[must_use]
pub fn names(pod: &Pod) -> Vec<String> {
    let named = pod.spec.iter().flat_map(|spec| spec.image_pull_secrets.iter().flatten());
    named.map(|reference| reference.name.clone()).filter(|name| !name.is_empty()).collect()
}

/// Reads Secrets; `None` was asked for and does not exist.
#[must_use]
pub fn logins<'a>(secrets: impl IntoIterator<Item = (&'a str, Option<&'a Secret>)>) -> Logins {
    let mut found = Logins::default();
    for (name, secret) in secrets {
        match secret.ok_or("not found").and_then(read) {
            Ok(entries) => found.all.extend(entries),
            Err(problem) => found.problems.push(format!("secret {name:?} {problem}")),
        }
    }
    found.all.truncate(LOGINS_MAX);
    found
}

fn read(secret: &Secret) -> Result<Vec<Login>, &'static str> {
    let data = |key: &str| secret.data.as_ref().and_then(|data| data.get(key)).map(|value| value.0.as_slice());
    // An error of the parser may repeat what it read.
    let entries = match (data(".dockerconfigjson"), data(".dockercfg")) {
        (Some(text), _) => serde_json::from_slice::<DockerConfig>(text).map(|config| config.auths),
        (None, Some(text)) => serde_json::from_slice(text),
        (None, None) => return Err("has neither .dockerconfigjson nor .dockercfg"),
    };
    let entries =
        entries.map_err(|_| "is no docker configuration: its text is not the JSON that `docker login` writes")?;
    let login =
        |(place, entry): (String, Entry)| Some(Login { place: plain_place(&place), credentials: entry.credentials()? });
    Ok(entries.into_iter().filter_map(login).collect())
}

/// `https://index.docker.io/v1/` and its like as references have them.
fn plain_place(text: &str) -> String {
    let place = text.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/');
    let place = place.strip_suffix("/v1").or_else(|| place.strip_suffix("/v2")).unwrap_or(place);
    if place == "index.docker.io" { "docker.io".to_owned() } else { place.to_owned() }
}

/// The logins for an image, those for the most exact place first.
#[must_use]
pub fn for_image(logins: &[Login], image: &str) -> Vec<Credentials> {
    let Ok(reference) = Reference::parse(image, NO_REGISTRY) else { return Vec::new() };
    let whole = format!("{}/{}", reference.registry(), reference.repository());
    let fits =
        |login: &&Login| whole.strip_prefix(&login.place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let mut fitting: Vec<&Login> = logins.iter().filter(fits).collect();
    fitting.sort_by_key(|login| std::cmp::Reverse(login.place.len()));
    fitting.into_iter().map(|login| login.credentials.clone()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const PASSWORD: &str = "hunter2:x";

    fn secret(key: &str, text: &str) -> Secret {
        serde_json::from_value(json!({"metadata": {"name": "s"}, "data": {key: STANDARD.encode(text)}})).unwrap()
    }

    fn of(auths: Value) -> Logins {
        let secret = secret(".dockerconfigjson", &json!({ "auths": auths }).to_string());
        logins([("s", Some(&secret))])
    }

    fn users(logins: &Logins, image: &str) -> Vec<String> {
        let user = |credentials: Credentials| match credentials {
            Credentials::Basic { user, password } => format!("{user}={password}"),
            Credentials::Bearer(token) => token,
        };
        for_image(&logins.all, image).into_iter().map(user).collect()
    }

    #[test]
    fn logins_are_found_by_registry_and_by_place() {
        let auth = STANDARD.encode(format!("joined:{PASSWORD}"));
        let found = of(json!({
            "registry.example:5000": {"auth": auth},
            "registry.example:5000/team": {"username": "team", "password": "p"},
            "https://index.docker.io/v1/": {"username": "hub", "password": "p"},
            "http://token.example/": {"registrytoken": "t0"},
            "half.example": {"username": "nobody"},
        }));
        assert!(found.problems.is_empty());
        let joined = format!("joined={PASSWORD}");
        for (image, wanted) in [
            ("registry.example:5000/app:1", vec![joined.as_str()]),
            ("registry.example:5000/team/app", vec!["team=p", joined.as_str()]),
            ("registry.example:5000/teams/app", vec![joined.as_str()]),
            ("registry.example/app", vec![]),
            ("docker.io/library/redis", vec!["hub=p"]),
            ("redis", vec![]),
            ("token.example/a/b", vec!["t0"]),
            ("half.example/a", vec![]),
            ("Not An Image", vec![]),
        ] {
            assert_eq!(users(&found, image), wanted, "{image}");
        }
    }

    #[test]
    fn the_older_form_is_read_too() {
        let text = json!({"old.example": {"username": "u", "password": "p"}}).to_string();
        let secret = secret(".dockercfg", &text);
        assert_eq!(users(&logins([("s", Some(&secret))]), "old.example/a"), ["u=p"]);
    }

    #[test]
    fn what_is_wrong_is_told_without_any_value() {
        let broken = secret(".dockerconfigjson", r#"{"auths": {"a.example": "hunter2"}}"#);
        let other = secret("password", "hunter2");
        let found = logins([("broken", Some(&broken)), ("other", Some(&other)), ("gone", None)]);
        assert!(found.all.is_empty());
        let said = format!("{found:?}");
        assert!(!said.contains("hunter2") && found.problems.len() == 3, "{said}");
        assert!(found.problems[0].contains("\"broken\" is no docker configuration"), "{said}");
        assert!(!format!("{:?}", of(json!({"a": {"username": "u", "password": "hunter2"}}))).contains("hunter2"));
    }

    #[test]
    fn there_are_only_so_many() {
        let many: serde_json::Map<String, Value> =
            (0..200).map(|n| (format!("r{n}.example"), json!({"username": "u", "password": "p"}))).collect();
        assert_eq!(of(Value::Object(many)).all.len(), LOGINS_MAX);
    }
}
