//! Paths of files within a volume that the kubelet writes.

use std::{
    fmt,
    path::{Component, Path, PathBuf},
};

use crate::error::{Error, Result};

/// Most bytes of such a path.
const PATH_MAX: usize = 2048;
/// Most bytes of one part of it (`NAME_MAX`).
const PART_MAX: usize = 255;

/// A relative path without tricks. Names that begin with two dots belong to the writer of the files.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VolumePath(PathBuf);

impl VolumePath {
    /// Checks a path as a pod, a Secret or a ConfigMap has it.
    ///
    /// # Errors
    /// [`Error::Refused`] for one that could leave the volume or clash with the writer's own files.
    pub fn new(path: &str) -> Result<Self> {
        let plain = |part: &Component<'_>| {
            let Component::Normal(name) = part else { return false };
            let bytes = name.as_encoded_bytes();
            bytes.len() <= PART_MAX && !bytes.starts_with(b"..") && !bytes.contains(&0)
        };
        let parts = Path::new(path).components().filter(|part| !matches!(part, Component::CurDir));
        let parts: Vec<Component<'_>> = parts.collect();
        if parts.is_empty() || path.len() > PATH_MAX || !parts.iter().all(plain) {
            return Err(Error::refused(format!("volume path {path:?}"), "must be relative and stay inside the volume"));
        }
        Ok(Self(parts.iter().collect()))
    }

    /// The path.
    #[must_use]
    pub fn as_path(&self) -> &Path {
        &self.0
    }

    /// Its first part: what is seen in the root of the volume.
    #[must_use]
    pub fn top(&self) -> &Path {
        self.0.components().next().map_or(&self.0, |part| Path::new(part.as_os_str()))
    }
}

impl fmt::Display for VolumePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tricks_are_refused_and_plain_paths_pass() {
        let long = "a".repeat(PART_MAX + 1);
        for bad in ["", ".", "/", "/etc/passwd", "..", "../x", "a/../b", "..data", "a/..b", "a\0b", &long] {
            assert!(VolumePath::new(bad).is_err(), "{bad:?}");
        }
        for (text, wanted) in [
            ("a", "a"),
            ("deep/b", "deep/b"),
            ("a//b/", "a/b"),
            ("./c", "c"),
            ("./a/./b", "a/b"),
            (".hidden", ".hidden"),
        ] {
            assert_eq!(VolumePath::new(text).unwrap().to_string(), wanted);
        }
        assert_eq!(VolumePath::new("deep/b").unwrap().top(), Path::new("deep"));
    }

    proptest! {
        #[test]
        fn an_accepted_path_stays_below_any_root(text in "[a./\\\\\0]{0,12}|.{0,20}") {
            if let Ok(path) = VolumePath::new(&text) {
                prop_assert!(path.as_path().components().all(|c| matches!(c, Component::Normal(_))));
                prop_assert!(Path::new("/root").join(path.as_path()).starts_with("/root"));
            }
        }
    }
}
