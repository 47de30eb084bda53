//! What a recipe's types cannot say.

use std::collections::BTreeSet;

use super::format::{Owner, Recipe, RecipeError};
use crate::kind::is_absolute_path;
use crate::names::is_dns_label;

fn invalid(key: impl Into<String>, message: impl Into<String>) -> RecipeError {
    RecipeError::Invalid { key: key.into(), message: message.into() }
}

pub(super) fn validate(recipe: &Recipe) -> Result<(), RecipeError> {
    image_path("name", &recipe.name)?;
    if let Some(base) = &recipe.base {
        image_path("base", base)?;
        if *base == recipe.name {
            return Err(invalid("base", "a recipe cannot lie on itself"));
        }
    }
    tag(&recipe.version)?;
    for (at, package) in recipe.packages.debian.iter().enumerate() {
        debian_package(&format!("packages.debian[{at}]"), package)?;
    }
    for (at, package) in recipe.debian.omit.iter().enumerate() {
        debian_package(&format!("debian.omit[{at}]"), package)?;
        if recipe.packages.debian.contains(package) {
            return Err(invalid(format!("debian.omit[{at}]"), format!("{package} is also in packages.debian")));
        }
    }
    for (at, path) in recipe.debian.exclude.iter().enumerate() {
        absolute(&format!("debian.exclude[{at}]"), path)?;
    }
    for (at, attribute) in recipe.packages.nix.iter().enumerate() {
        nix_attribute(&format!("packages.nix[{at}]"), attribute)?;
    }
    for (path, target) in &recipe.nix.links {
        let key = format!("nix.links.{path}");
        absolute(&key, path)?;
        let (attribute, inside) = target.split_once(':').unwrap_or_default();
        nix_attribute(&key, attribute)?;
        if !is_absolute_path(&format!("/{inside}")) {
            return Err(invalid(key, format!("{target:?} is not <package>:<path in it>")));
        }
    }
    user(recipe)?;
    entries(recipe)?;
    command(recipe)
}

fn image_path(key: &str, text: &str) -> Result<(), RecipeError> {
    if text.len() <= 128 && text.split('/').all(is_dns_label) {
        return Ok(());
    }
    Err(invalid(key, format!("{text:?} is no image name: DNS labels (a-z, 0-9, inner '-') joined by '/'")))
}

fn tag(text: &str) -> Result<(), RecipeError> {
    let inner = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let fits = !text.is_empty() && text.len() <= 128 && text.chars().all(inner) && !text.starts_with(['.', '-']);
    if fits && text != "latest" {
        return Ok(());
    }
    Err(invalid("version", format!("{text:?} is no image tag: letters, digits, '.', '_', '-', and not latest")))
}

/// Debian Policy 5.6.1: at least two of a-z, 0-9, '+', '-', '.', beginning with a letter or digit.
fn debian_package(key: &str, text: &str) -> Result<(), RecipeError> {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.".contains(c);
    if text.len() >= 2 && text.chars().all(inner) && text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return Ok(());
    }
    Err(invalid(key, format!("{text:?} is no name of a Debian package")))
}

/// A path of attributes in nixpkgs, such as `redis` or `dockerTools.binSh`.
fn nix_attribute(key: &str, text: &str) -> Result<(), RecipeError> {
    let inner = |c: char| c.is_ascii_alphanumeric() || "_-'".contains(c);
    let word = |part: &str| part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && part.chars().all(inner);
    if text.split('.').all(word) {
        return Ok(());
    }
    Err(invalid(key, format!("{text:?} is no attribute path in nixpkgs")))
}

fn absolute(key: &str, path: &str) -> Result<(), RecipeError> {
    if is_absolute_path(path) && path != "/" {
        return Ok(());
    }
    Err(invalid(key, format!("{path:?} is not an absolute path in normal form")))
}

fn user(recipe: &Recipe) -> Result<(), RecipeError> {
    let Some(user) = &recipe.user else {
        let owned = recipe.files.iter().any(|file| file.owner == Owner::User)
            || recipe.directories.iter().any(|directory| directory.owner == Owner::User);
        if owned {
            return Err(invalid("user", "something is owned by the user, but there is none"));
        }
        return Ok(());
    };
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c);
    let fits = user.name.len() <= 32 && user.name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    if !fits || !user.name.chars().all(inner) || matches!(user.name.as_str(), "root" | "nobody" | "nogroup") {
        return Err(invalid("user.name", format!("{:?} is no name for a service's user", user.name)));
    }
    for (key, id) in [("user.uid", user.uid), ("user.gid", user.gid)] {
        if !(1..=65533).contains(&id) {
            return Err(invalid(key, format!("{id} is not from 1 to 65533")));
        }
    }
    absolute("user.home", &user.home)
}

fn entries(recipe: &Recipe) -> Result<(), RecipeError> {
    let mut seen = BTreeSet::new();
    let mut place = |key: String, path: &str| {
        absolute(&key, path)?;
        if seen.insert(path.to_owned()) {
            return Ok(());
        }
        Err(invalid(key, format!("{path:?} is made twice")))
    };
    for (at, file) in recipe.files.iter().enumerate() {
        place(format!("file[{at}].to"), &file.to)?;
        // As a path below the folder: no root, no '..'.
        if !is_absolute_path(&format!("/{}", file.from)) || file.from.is_empty() {
            return Err(invalid(format!("file[{at}].from"), format!("{:?} is no path inside the folder", file.from)));
        }
    }
    for (at, directory) in recipe.directories.iter().enumerate() {
        place(format!("directory[{at}].path"), &directory.path)?;
    }
    for (at, link) in recipe.symlinks.iter().enumerate() {
        place(format!("symlink[{at}].path"), &link.path)?;
        if link.target.is_empty() || link.target.contains('\0') {
            return Err(invalid(format!("symlink[{at}].target"), "a link points at something"));
        }
    }
    for (at, join) in recipe.joins.iter().enumerate() {
        place(format!("join[{at}].to"), &join.to)?;
        absolute(&format!("join[{at}].from"), &join.from)?;
    }
    Ok(())
}

fn command(recipe: &Recipe) -> Result<(), RecipeError> {
    if recipe.label.is_some() && recipe.entrypoint.is_empty() {
        return Err(invalid("entrypoint", "a service needs a command"));
    }
    if recipe.entrypoint.first().is_some_and(|program| !program.starts_with('/')) {
        return Err(invalid("entrypoint[0]", "the program is given by its absolute path"));
    }
    if !is_absolute_path(&recipe.working_dir) {
        return Err(invalid("working_dir", "not an absolute path in normal form"));
    }
    let signal = recipe.stop_signal.strip_prefix("SIG").unwrap_or_default();
    if signal.is_empty() || !signal.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit()) {
        return Err(invalid("stop_signal", format!("{:?} is no signal name such as SIGTERM", recipe.stop_signal)));
    }
    for name in recipe.env.keys() {
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) || !name.chars().all(word) {
            return Err(invalid(format!("env.{name}"), "an environment variable is made of letters, digits and _"));
        }
    }
    Ok(())
}
