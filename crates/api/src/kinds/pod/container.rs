//! One container of a pod.

use std::{collections::BTreeSet, path::Path as FilePath};

use k8s_openapi::api::core::v1::{Container, EnvVar};

use super::{
    env, mounts, ports, probes, resources,
    rules::{Errors, argument, bytes_in_all, command, label, mount_point, one_of, place_in_container, text, unless},
    security,
};
use crate::{FieldError, Path};

/// What a container is checked with.
pub(super) struct Surroundings<'a> {
    /// Names of the volumes there are.
    pub(super) volumes: BTreeSet<&'a str>,
    /// Names of the containers there are.
    pub(super) containers: BTreeSet<&'a str>,
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
        errors.extend(termination_message_path(place, path.field("terminationMessagePath")));
    }
    errors.extend(program(container, path));
    errors.extend(probes::check(container, around.grace, path));
    errors.extend(ports::check(container, path));
    errors.extend(env::check(container, &around.containers, path));
    errors.extend(mounts::check(container, &around.volumes, path));
    let (wanted, context) = (container.resources.as_ref(), container.security_context.as_ref());
    errors.extend(wanted.iter().flat_map(|wanted| resources::check(wanted, &path.field("resources"))));
    errors.extend(resources::check_resize(container, path));
    errors.extend(context.iter().flat_map(|context| security::check(context, &path.field("securityContext"))));
    errors
}

/// A file is made there, which nobody can do in the kernel's own file systems.
fn termination_message_path(place: &str, path: Path<'_>) -> Errors {
    let errors = mount_point(place, path);
    if errors.is_empty() && FilePath::new(place).starts_with("/sys") {
        return vec![FieldError::invalid(path, "must not be in /sys, which is the kernel's")];
    }
    errors
}

/// What the container runs, with all that the program is given at its start.
fn program(container: &Container, path: &Path<'_>) -> Errors {
    use super::rules::ARGUMENT_BYTES_BESIDE as EACH;
    let words = |list: &Option<Vec<String>>| list.iter().flatten().map(|word| word.len() + EACH).sum::<usize>();
    let variable = |variable: &EnvVar| variable.name.len() + variable.value.as_ref().map_or(0, String::len) + 1 + EACH;
    let variables = container.env.iter().flatten().map(variable).sum::<usize>();
    let mut errors = command(container.command.as_deref().unwrap_or_default(), &path.field("command"));
    let list = path.field("args");
    let args = container.args.iter().flatten().enumerate();
    errors.extend(args.flat_map(|(index, word)| argument(word, 0, list.index(index))));
    errors.extend(bytes_in_all(words(&container.command) + words(&container.args) + variables, path));
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
