//! AppArmor: which profiles the kernel has, and the step into one when a program is executed
//! (apparmor(7), aa_change_onexec(2)).
//!
//! Profiles are the host's: whoever installs the program loads them. Entering one takes no capability.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Whether the kernel's AppArmor is switched on: `Y` or `N`.
const ENABLED: &str = "/sys/module/apparmor/parameters/enabled";
/// Loaded profiles, a line each: `name (mode)`.
const PROFILES: &str = "/sys/kernel/security/apparmor/profiles";
/// What a thread writes its next profile to (since Linux 5.8).
const NEXT: &str = "/proc/thread-self/attr/apparmor/exec";
/// Longest name of a profile taken.
const NAME_BYTES_MAX: usize = 128;

/// What the kernel has of a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// It confines.
    Enforced,
    /// It is loaded, and breaches are only logged.
    Complains,
    /// It is not loaded.
    Missing,
    /// The kernel has no AppArmor, or it is switched off.
    NoAppArmor,
}

impl Profile {
    /// Asks the kernel.
    ///
    /// # Errors
    /// When the list of profiles cannot be read, as without securityfs or root.
    pub fn find(name: &str) -> io::Result<Self> {
        if fs::read_to_string(ENABLED).ok().is_none_or(|enabled| enabled.trim() != "Y") {
            return Ok(Self::NoAppArmor);
        }
        Ok(Self::of(&fs::read_to_string(Path::new(PROFILES))?, name))
    }

    fn of(list: &str, name: &str) -> Self {
        let mode = |line: &str| {
            let (loaded, mode) = line.rsplit_once(' ')?;
            (loaded == name).then(|| mode.trim_matches(['(', ')']).to_owned())
        };
        match list.lines().find_map(mode).as_deref() {
            Some("enforce" | "kill") => Self::Enforced,
            Some("complain") => Self::Complains,
            _ => Self::Missing,
        }
    }
}

/// Whether a text can name a profile: it becomes part of a line for the kernel.
pub(crate) fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !text.is_empty() && text.len() <= NAME_BYTES_MAX && text.chars().all(plain)
}

/// The calling process's way into a profile. Opened where `/proc` is the host's: a container's is not trusted.
pub(crate) struct Entry(File);

impl Entry {
    /// Opens it. The kernel takes the writing from the process that opened it only.
    pub(crate) fn open() -> io::Result<Self> {
        OpenOptions::new().write(true).open(NEXT).map(Self)
    }

    /// By another descriptor, out of the way of those that the program gets.
    pub(crate) fn by(&self, other: impl FnOnce(BorrowedFd<'_>) -> io::Result<OwnedFd>) -> io::Result<Self> {
        other(self.0.as_fd()).map(|fd| Self(fd.into()))
    }

    /// The next execution enters the profile; fails when it is not loaded.
    pub(crate) fn enter_on_exec(mut self, name: &str) -> io::Result<()> {
        // The kernel wants the line in one piece.
        self.0.write_all(format!("exec {name}").as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_profile_of_that_name_that_enforces_confines() {
        let list = "/usr/bin/man (enforce)\nname with (brackets) (kill)\nbindings-old (enforce)\nbindings (complain)\nfree (unconfined)\n";
        for (name, expected) in [
            ("/usr/bin/man", Profile::Enforced),
            ("name with (brackets)", Profile::Enforced),
            ("bindings", Profile::Complains),
            ("free", Profile::Missing),
            ("binding", Profile::Missing),
            ("", Profile::Missing),
        ] {
            assert_eq!(Profile::of(list, name), expected, "{name}");
        }
    }

    #[test]
    fn a_name_is_one_word_of_a_line() {
        assert!(is_name("nanocloud-bindings"));
        for bad in ["", "a b", "a\nexec b", "a//b", "a\0", &"a".repeat(NAME_BYTES_MAX + 1)] {
            assert!(!is_name(bad), "{bad:?}");
        }
    }
}
