//! One container of a pod.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Container;

use super::{
    env, mounts, ports, probes, resources,
    rules::{Errors, file_in_container, label, no_nul, one_of, place_in_container, text, unless},
    security,
};
use crate::{FieldError, Path};

/// What a container is checked with.
pub(super) struct Surroundings<'a> {
    /// Names of the volumes there are.
    pub(super) volumes: BTreeSet<&'a str>,
    /// Seconds the pod has to end.
    pub(super) grace: i64,
}

/// Checks a container by itself.
pub(super) fn check(container: &Container, around: &Surroundings<'_>, path: &Path<'_>) -> Errors {
    let mut errors = match container.name.as_str() {
        "" => vec![FieldError::required(path.field("name"), "give the container a name")],
        name => label(name, path.field("name")),
    };
    errors.extend(image(container, path.field("image")));
    let pulls = ["Always", "IfNotPresent", "Never"];
    errors.extend(one_of(&container.image_pull_policy, &pulls, path.field("imagePullPolicy")));
    let messages = ["File", "FallbackToLogsOnError"];
    errors.extend(one_of(&container.termination_message_policy, &messages, path.field("terminationMessagePolicy")));
    if let Some(place) = text(&container.working_dir) {
        errors.extend(place_in_container(place, path.field("workingDir")));
    }
    if let Some(place) = text(&container.termination_message_path) {
        errors.extend(file_in_container(place, path.field("terminationMessagePath")));
    }
    for (field, words) in [("command", &container.command), ("args", &container.args)] {
        let list = path.field(field);
        errors.extend(words.iter().flatten().enumerate().flat_map(|(index, word)| no_nul(word, list.index(index))));
    }
    errors.extend(probes::check(container, around.grace, path));
    errors.extend(ports::check(container, path));
    errors.extend(env::check(container, path));
    errors.extend(mounts::check(container, &around.volumes, path));
    let (wanted, context) = (container.resources.as_ref(), container.security_context.as_ref());
    errors.extend(wanted.iter().flat_map(|wanted| resources::check(wanted, &path.field("resources"))));
    errors.extend(resources::check_resize(container, path));
    errors.extend(context.iter().flat_map(|context| security::check(context, &path.field("securityContext"))));
    errors
}

fn image(container: &Container, path: Path<'_>) -> Errors {
    match text(&container.image) {
        None => vec![FieldError::required(path, "name the image to run")],
        Some(image) => unless(image.trim() == image, || {
            FieldError::invalid(path, format!("{image:?} must not begin or end with spaces"))
        }),
    }
}
