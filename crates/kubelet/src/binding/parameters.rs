//! Parameters of a binding as the command reads them from file descriptor 3.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Seek as _, Write as _},
    os::fd::OwnedFd,
};

use nix::{
    fcntl::{FcntlArg, SealFlag, fcntl},
    sys::memfd::{MFdFlags, memfd_create},
};

/// `name=value` lines in order of name; in values `%` is `%25`, newline `%0A` and carriage return `%0D`.
#[must_use]
pub fn encode(parameters: &BTreeMap<String, String>) -> String {
    let escape = |value: &str| value.replace('%', "%25").replace('\n', "%0A").replace('\r', "%0D");
    parameters.iter().map(|(name, value)| format!("{name}={}\n", escape(value))).collect()
}

/// A file in memory with the text, positioned at its start, that nobody can change.
pub(crate) fn sealed(text: &str) -> io::Result<OwnedFd> {
    let memory = memfd_create("parameters", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
    let mut file = File::from(memory);
    file.write_all(text.as_bytes())?;
    file.rewind()?;
    let seals = SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_SEAL;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(file.into())
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use proptest::prelude::*;

    use super::*;

    fn decode(text: &str) -> BTreeMap<String, String> {
        let unescape = |v: &str| v.replace("%0A", "\n").replace("%0D", "\r").replace("%25", "%");
        text.lines().map(|line| line.split_once('=').map(|(n, v)| (n.to_owned(), unescape(v))).unwrap()).collect()
    }

    #[test]
    fn the_file_can_be_read_and_not_be_written() {
        let mut file = File::from(sealed("a=b\n").unwrap());
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "a=b\n");
        assert_eq!(file.write_all(b"x").unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    }

    proptest! {
        #[test]
        fn every_value_comes_back(values in prop::collection::btree_map("[a-z_]{1,8}", "[^\\x00]{0,30}", 0..5)) {
            let text = encode(&values);
            prop_assert_eq!(text.lines().count(), values.len());
            prop_assert_eq!(decode(&text), values);
        }
    }
}
