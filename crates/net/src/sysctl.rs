//! Kernel parameters of the calling thread's network namespace.

use std::{fs, io};

use crate::{Error, Result};

/// Sets `key` (slashes for dots, below `/proc/sys`) unless it already has `value`. Writing some keys, such as
/// `ip_forward`, resets others, so an equal value is left alone.
pub(crate) fn set(key: &str, value: &'static str) -> Result<()> {
    let path = format!("/proc/sys/{key}");
    let fail = |source| Error::Sysctl { key: key.replace('/', "."), value, source };
    if get(key).map_err(fail)? == value {
        return Ok(());
    }
    fs::write(path, value).map_err(fail)
}

/// Like [`set`], for keys that a kernel may lack.
pub(crate) fn set_if_present(key: &str, value: &'static str) -> Result<()> {
    match set(key, value) {
        Err(Error::Sysctl { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// The value of `key`, trimmed.
pub(crate) fn get(key: &str) -> io::Result<String> {
    Ok(fs::read_to_string(format!("/proc/sys/{key}"))?.trim().to_owned())
}
