//! Rules for single values that many fields of a pod share.

use std::net::IpAddr;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::{
    FieldError, Path,
    meta::{LABEL_MAX, NAME_MAX, is_dns_label, is_dns_subdomain, is_label_value, is_qualified_name},
};

/// What is wrong with a part of a pod; empty if nothing is.
pub(super) type Errors = Vec<FieldError>;

/// Longest name of a port (RFC 6335).
const PORT_NAME_MAX: usize = 15;
/// Largest user or group id, as in Kubernetes.
const ID_MAX: i64 = i32::MAX as i64;

/// The text of a field that is set and not empty.
pub(super) fn text(field: &Option<String>) -> Option<&str> {
    field.as_deref().filter(|text| !text.is_empty())
}

/// An error if the condition does not hold.
pub(super) fn unless(holds: bool, error: impl FnOnce() -> FieldError) -> Errors {
    if holds { Errors::new() } else { vec![error()] }
}

/// The value, if there is one, is among those there are.
pub(super) fn one_of(value: &Option<String>, allowed: &[&str], path: Path<'_>) -> Errors {
    let Some(value) = text(value) else { return Errors::new() };
    unless(allowed.contains(&value), || {
        FieldError::not_supported(path, format!("{value:?} must be one of {}", allowed.join(", ")))
    })
}

/// A number, if there is one, is at least `least`.
pub(super) fn at_least(value: Option<impl Into<i64>>, least: i64, path: Path<'_>) -> Errors {
    let value = value.map(Into::into);
    unless(value.is_none_or(|value| value >= least), || FieldError::invalid(path, format!("must be at least {least}")))
}

/// A number, if there is one, is in a range.
pub(super) fn within(value: Option<impl Into<i64>>, least: i64, most: i64, path: Path<'_>) -> Errors {
    let value = value.map(Into::into);
    unless(value.is_none_or(|value| (least..=most).contains(&value)), || {
        FieldError::invalid(path, format!("must be from {least} to {most}"))
    })
}

/// A user or group id.
pub(super) fn id(value: Option<i64>, path: Path<'_>) -> Errors {
    within(value, 0, ID_MAX, path)
}

/// A DNS label.
pub(super) fn label(text: &str, path: Path<'_>) -> Errors {
    unless(is_dns_label(text), || {
        let rule = "must be lower-case letters, digits or '-', and start and end with a letter or digit";
        FieldError::invalid(path, format!("{text:?} {rule} (RFC 1123 label, {LABEL_MAX} characters at most)"))
    })
}

/// A DNS label that must be there.
pub(super) fn required_label(text: &str, path: Path<'_>) -> Errors {
    if text.is_empty() { vec![FieldError::required(path, "give it a name")] } else { label(text, path) }
}

/// The name of another object.
pub(super) fn name(text: &str, path: Path<'_>) -> Errors {
    unless(is_dns_subdomain(text), || {
        let rule = "must be lower-case letters, digits, '-' or '.', and start and end with a letter or digit";
        FieldError::invalid(path, format!("{text:?} {rule} (RFC 1123 subdomain, {NAME_MAX} characters at most)"))
    })
}

/// The name of another object, which must be there.
pub(super) fn required_name(text: &str, path: Path<'_>) -> Errors {
    if text.is_empty() { vec![FieldError::required(path, "name the object")] } else { name(text, path) }
}

/// A key of labels, or of what is written like one.
pub(super) fn qualified(text: &str, path: Path<'_>) -> Errors {
    unless(is_qualified_name(text), || {
        FieldError::invalid(path, format!("{text:?} must be [prefix/]name of letters, digits, '-', '_' or '.'"))
    })
}

/// The value of a label.
pub(super) fn label_value(text: &str, path: Path<'_>) -> Errors {
    unless(is_label_value(text), || {
        FieldError::invalid(path, format!("{text:?} must be at most {LABEL_MAX} letters, digits, '-', '_' or '.'"))
    })
}

/// A key of a ConfigMap or a Secret, which must be there.
pub(super) fn required_key(text: &str, path: Path<'_>) -> Errors {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if text.is_empty() {
        return vec![FieldError::required(path, "name the key")];
    }
    unless(text.len() <= NAME_MAX && text.chars().all(plain) && text != "." && !text.starts_with(".."), || {
        FieldError::invalid(path, format!("{text:?} must be letters, digits, '-', '_' or '.', and no path"))
    })
}

/// The name of an environment variable.
pub(super) fn variable(text: &str, path: Path<'_>) -> Errors {
    unless(text.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'='), || {
        FieldError::invalid(path, format!("{text:?} must be printable ASCII characters other than '='"))
    })
}

/// The name of a port (IANA_SVC_NAME).
pub(super) fn port_name(text: &str, path: Path<'_>) -> Errors {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let good = text.len() <= PORT_NAME_MAX
        && text.bytes().all(plain)
        && text.bytes().any(|byte| byte.is_ascii_lowercase())
        && !text.starts_with('-')
        && !text.ends_with('-')
        && !text.contains("--");
    unless(good, || {
        let rule = "must be lower-case letters, digits or single '-' between them, with at least one letter";
        FieldError::invalid(path, format!("{text:?} {rule} (IANA_SVC_NAME, {PORT_NAME_MAX} characters at most)"))
    })
}

/// The number of a port.
pub(super) fn port_number(number: i32, path: Path<'_>) -> Errors {
    within(Some(number), 1, 65_535, path)
}

/// A port by number or name.
pub(super) fn port(port: &IntOrString, path: Path<'_>) -> Errors {
    match port {
        IntOrString::Int(number) => port_number(*number, path),
        IntOrString::String(name) => port_name(name, path),
    }
}

/// An address.
pub(super) fn address(text: &str, path: Path<'_>) -> Errors {
    unless(text.parse::<IpAddr>().is_ok(), || {
        FieldError::invalid(path, format!("{text:?} must be an IP address, such as 192.0.2.7"))
    })
}

/// Text that the kernel takes: it ends where a NUL is.
pub(super) fn no_nul(text: &str, path: Path<'_>) -> Errors {
    unless(!text.contains('\0'), || FieldError::invalid(path, "must not contain a NUL character"))
}

/// A path as a container sees it.
pub(super) fn place_in_container(place: &str, path: Path<'_>) -> Errors {
    let steps_up = place.split('/').any(|step| step == "..");
    unless(place.starts_with('/') && !steps_up && !place.contains('\0'), || {
        FieldError::invalid(path, format!("{place:?} must be an absolute path without `..` and NUL"))
    })
}

/// As [`place_in_container`], and not the root of the container.
pub(super) fn file_in_container(place: &str, path: Path<'_>) -> Errors {
    if place.trim_matches('/').is_empty() && place.starts_with('/') {
        return vec![FieldError::invalid(path, "must not be the root of the container")];
    }
    place_in_container(place, path)
}

/// Permission bits of files.
pub(super) fn mode(mode: Option<i32>, path: Path<'_>) -> Errors {
    unless(mode.is_none_or(|mode| (0..=0o777).contains(&mode)), || {
        FieldError::invalid(path, "must be from 0 to 0777 (octal) or 511 (decimal)")
    })
}

/// A path that starts at a directory and stays below it.
pub(super) fn path_below(text: &str, path: Path<'_>) -> Errors {
    unless(!text.starts_with('/') && text.split('/').all(|part| part != "..") && !text.contains('\0'), || {
        FieldError::invalid(path, format!("{text:?} must be a relative path without '..' and NUL"))
    })
}

/// The path of a file in a volume of files, which must be there. Names that begin with two dots belong to the writer of the volume.
pub(super) fn file_path(text: &str, path: Path<'_>) -> Errors {
    if text.is_empty() {
        return vec![FieldError::required(path, "name the file")];
    }
    unless(!text.starts_with('/') && text.split('/').all(|part| !part.starts_with("..")) && names_a_file(text), || {
        FieldError::invalid(path, format!("{text:?} must be a relative path whose parts do not begin with '..'"))
    })
}

fn names_a_file(path: &str) -> bool {
    !path.contains('\0') && path.split('/').any(|part| !part.is_empty() && part != ".")
}
