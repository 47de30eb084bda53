//! Rules for single values that many fields of a pod share.

use std::{net::IpAddr, path::Path as FilePath};

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
/// Most bytes of one part of a path (`NAME_MAX` of Linux).
const PART_BYTES_MAX: usize = 255;
/// Most bytes of a path (`PATH_MAX` of Linux counts the NUL at its end, too).
const PATH_BYTES_MAX: usize = 4095;
/// Most bytes of the path of a file in a volume of files.
const FILE_PATH_BYTES_MAX: usize = 2048;
/// Most bytes of one argument, or of a variable with its name (`MAX_ARG_STRLEN` of Linux counts the NUL, too).
pub const ARGUMENT_BYTES_MAX: usize = 128 * 1024 - 1;
/// Most bytes of all arguments and variables that a program is started with.
pub const PROGRAM_BYTES_MAX: usize = 1 << 20;
/// Bytes that count for each of them beside its text: the NUL at its end, and the pointer to it.
pub const ARGUMENT_BYTES_BESIDE: usize = 9;
/// Longest time to end or to run, in seconds: 68 years. A time stamp so far ahead can still be written.
pub const SECONDS_MAX: i64 = i32::MAX as i64;

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

/// An argument of a program, or the value of a variable. `beside` are the bytes before it in the same string.
pub(super) fn argument(text: &str, beside: usize, path: Path<'_>) -> Errors {
    if beside + text.len() > ARGUMENT_BYTES_MAX {
        let message = format!("{} bytes, programs are started with at most {ARGUMENT_BYTES_MAX}", beside + text.len());
        return vec![FieldError::too_long(path, message)];
    }
    unless(!text.contains('\0'), || FieldError::invalid(path, "must not contain a NUL character"))
}

/// The program to run and its arguments. None at all is for the caller to judge.
pub(super) fn command(words: &[String], path: &Path<'_>) -> Errors {
    let mut errors = unless(words.first().is_none_or(|program| !program.is_empty()), || {
        FieldError::invalid(path.index(0), "must name a program")
    });
    errors.extend(words.iter().enumerate().flat_map(|(index, word)| argument(word, 0, path.index(index))));
    errors
}

/// What a container's programs are started with is at most so many bytes in all.
pub(super) fn bytes_in_all(bytes: usize, path: &Path<'_>) -> Errors {
    unless(bytes <= PROGRAM_BYTES_MAX, || {
        let message =
            format!("command, args and env are {bytes} bytes in all, at most {PROGRAM_BYTES_MAX} are allowed");
        FieldError::too_long(path, message)
    })
}

/// A list with at most so many items.
pub(super) fn at_most(items: usize, limit: usize, path: Path<'_>) -> Errors {
    unless(items <= limit, || FieldError::too_many(path, items, limit))
}

/// A path as a container sees it.
pub(super) fn place_in_container(place: &str, path: Path<'_>) -> Errors {
    if !place.starts_with('/') || steps_up(place) || place.contains('\0') {
        return vec![FieldError::invalid(path, format!("{place:?} must be an absolute path without `..` and NUL"))];
    }
    short(place, PATH_BYTES_MAX, path)
}

/// Where something can be mounted in a container: as [`place_in_container`], and not over what programs need.
pub(super) fn mount_point(place: &str, path: Path<'_>) -> Errors {
    let errors = place_in_container(place, path);
    if !errors.is_empty() {
        return errors;
    }
    let place = FilePath::new(place);
    let message = if place == FilePath::new("/") {
        "must not be the root of the container"
    } else if place.starts_with("/proc") {
        "must not be in /proc, which is the kernel's"
    } else if place == FilePath::new("/dev") || place.starts_with("/dev/pts") {
        "must not hide the devices and terminals of the container; what is below /dev, such as /dev/shm, may be given"
    } else {
        return errors;
    };
    vec![FieldError::invalid(path, message)]
}

fn steps_up(path: &str) -> bool {
    path.split('/').any(|part| part == "..")
}

/// A path that Linux takes.
fn short(text: &str, most: usize, path: Path<'_>) -> Errors {
    unless(text.len() <= most && text.split('/').all(|part| part.len() <= PART_BYTES_MAX), || {
        FieldError::too_long(path, format!("at most {most} bytes, and {PART_BYTES_MAX} between two slashes"))
    })
}

/// Permission bits of files.
pub(super) fn mode(mode: Option<i32>, path: Path<'_>) -> Errors {
    unless(mode.is_none_or(|mode| (0..=0o777).contains(&mode)), || {
        FieldError::invalid(path, "must be from 0 to 0777 (octal) or 511 (decimal)")
    })
}

/// A path that starts at a directory and stays below it.
pub(super) fn path_below(text: &str, path: Path<'_>) -> Errors {
    if text.starts_with('/') || steps_up(text) || text.contains('\0') {
        return vec![FieldError::invalid(path, format!("{text:?} must be a relative path without '..' and NUL"))];
    }
    short(text, PATH_BYTES_MAX, path)
}

/// A path of a node.
pub(super) fn path_of_node(text: &str, path: Path<'_>) -> Errors {
    if text.is_empty() {
        return vec![FieldError::required(path, "name the path on the node")];
    }
    place_in_container(text, path)
}

/// The path of a file in a volume of files, which must be there. Names that begin with two dots belong to the writer of the volume.
pub(super) fn file_path(text: &str, path: Path<'_>) -> Errors {
    if text.is_empty() {
        return vec![FieldError::required(path, "name the file")];
    }
    if text.starts_with('/') || text.split('/').any(|part| part.starts_with("..")) || !names_a_file(text) {
        let message = format!("{text:?} must be a relative path whose parts do not begin with '..'");
        return vec![FieldError::invalid(path, message)];
    }
    short(text, FILE_PATH_BYTES_MAX, path)
}

fn names_a_file(path: &str) -> bool {
    !path.contains('\0') && path.split('/').any(|part| !part.is_empty() && part != ".")
}
