//! The OCI image configuration of a recipe (image-spec v1.1, config.md).

use dockyard::{LABEL, Recipe, RecipeError};
use serde_json::{Map, Value, json};

/// Command search path of every image.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin";

/// What belongs to a configuration besides the recipe.
pub(crate) struct Parts<'a> {
    pub(crate) architecture: &'a str,
    /// RFC 3339.
    pub(crate) created: &'a str,
    pub(crate) diff_ids: &'a [String],
}

/// The configuration document.
pub(crate) fn document(recipe: &Recipe, parts: &Parts<'_>) -> Result<Value, RecipeError> {
    let (uid, gid) = recipe.run_as();
    let mut config = Map::new();
    config.insert("User".to_owned(), json!(format!("{uid}:{gid}")));
    let label = recipe.label.as_ref();
    let ports = label.map_or(&[][..], |label| &label.ports);
    set(
        &mut config,
        "ExposedPorts",
        ports.iter().map(|port| format!("{}/{}", port.port, port.protocol.as_str().to_lowercase())),
    );
    let mut env = vec![format!("PATH={PATH}")];
    env.extend(recipe.env.iter().map(|(name, value)| format!("{name}={value}")));
    config.insert("Env".to_owned(), json!(env));
    if !recipe.entrypoint.is_empty() {
        config.insert("Entrypoint".to_owned(), json!(recipe.entrypoint));
    }
    if !recipe.cmd.is_empty() {
        config.insert("Cmd".to_owned(), json!(recipe.cmd));
    }
    let volumes = label.map_or(&[][..], |label| &label.volumes);
    set(&mut config, "Volumes", volumes.iter().map(|volume| volume.path.clone()));
    config.insert("WorkingDir".to_owned(), json!(recipe.working_dir));
    config.insert("StopSignal".to_owned(), json!(recipe.stop_signal));
    config.insert("Labels".to_owned(), labels(recipe)?);
    Ok(json!({
        "created": parts.created,
        "architecture": parts.architecture,
        "os": "linux",
        "config": config,
        "rootfs": { "type": "layers", "diff_ids": parts.diff_ids },
    }))
}

fn labels(recipe: &Recipe) -> Result<Value, RecipeError> {
    let mut labels = Map::new();
    let description = recipe.label.as_ref().map_or("", |label| &label.description);
    if !description.is_empty() {
        labels.insert("org.opencontainers.image.description".to_owned(), json!(description));
    }
    labels.insert("org.opencontainers.image.title".to_owned(), json!(recipe.name));
    labels.insert("org.opencontainers.image.version".to_owned(), json!(recipe.version));
    if recipe.label.is_some() {
        labels.insert(LABEL.to_owned(), json!(recipe.surface()?.to_label()));
    }
    Ok(Value::Object(labels))
}

/// A set, as OCI writes one: an object with empty values.
fn set(config: &mut Map<String, Value>, name: &str, members: impl Iterator<Item = String>) {
    let members: Map<String, Value> = members.map(|member| (member, json!({}))).collect();
    if !members.is_empty() {
        config.insert(name.to_owned(), Value::Object(members));
    }
}
