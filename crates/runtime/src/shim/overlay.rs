//! Mounting a container's root filesystem: image layers below, one writable directory above.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};

use super::mounts::Context;

/// mount(2) takes one page of options; a little is left for the names of the options.
const OPTIONS_BYTES_MAX: usize = 4000;

/// The parts of an overlay.
pub(super) struct Overlay<'a> {
    /// Lowest first.
    pub(super) layers: &'a [PathBuf],
    pub(super) upper: &'a Path,
    pub(super) work: &'a Path,
    pub(super) target: &'a Path,
}

impl Overlay<'_> {
    /// Makes the directories and mounts, without devices. Changes the working directory of this process
    /// to `/`.
    pub(super) fn mount(&self) -> io::Result<()> {
        for directory in [self.upper, self.work, self.target] {
            fs::create_dir_all(directory)?;
        }
        let lower: Vec<&Path> = self.layers.iter().rev().map(PathBuf::as_path).collect();
        let result = match plan(&lower, self.upper, self.work) {
            Plan::Options { directory, options } => {
                std::env::set_current_dir(directory)?;
                mount_with(&options, self.target)
            }
            Plan::OneByOne => self.mount_one_by_one(&lower),
        };
        std::env::set_current_dir("/")?;
        result
    }

    /// The newer interface (`lowerdir+`, Linux 6.8) has no limit on the length.
    fn mount_one_by_one(&self, lower: &[&Path]) -> io::Result<()> {
        let context = Context::open(c"overlay")?;
        for layer in lower {
            context.set_path(c"lowerdir+", layer).map_err(|error| {
                io::Error::new(error.kind(), format!("{} layers are too many for this kernel: {error}", lower.len()))
            })?;
        }
        context.set_path(c"upperdir", self.upper)?;
        context.set_path(c"workdir", self.work)?;
        let target = fs::File::open(self.target)?;
        context.create(libc::MOUNT_ATTR_NODEV)?.attach(target.as_fd())
    }
}

/// Without the promise to survive a power cut if the kernel can do without: the writable layer goes
/// with the container anyway.
fn mount_with(options: &[u8], target: &Path) -> io::Result<()> {
    let volatile = [options, b",volatile"].concat();
    let attempt = |options: &[u8]| {
        mount(Some("overlay"), target, Some("overlay"), MsFlags::MS_NODEV, Some(OsStr::from_bytes(options)))
    };
    match attempt(&volatile) {
        Err(Errno::EINVAL) => Ok(attempt(options)?),
        result => Ok(result?),
    }
}

enum Plan {
    /// From this directory with these options.
    Options {
        directory: PathBuf,
        options: Vec<u8>,
    },
    OneByOne,
}

/// `lower` is highest first.
fn plan(lower: &[&Path], upper: &Path, work: &Path) -> Plan {
    let whole = options(lower, upper, work);
    if whole.len() <= OPTIONS_BYTES_MAX {
        return Plan::Options { directory: "/".into(), options: whole };
    }
    let directory = common_directory(lower);
    let short: Vec<&Path> = lower.iter().map(|path| path.strip_prefix(&directory).unwrap_or(path)).collect();
    let short = options(&short, upper, work);
    if short.len() <= OPTIONS_BYTES_MAX { Plan::Options { directory, options: short } } else { Plan::OneByOne }
}

fn common_directory(paths: &[&Path]) -> PathBuf {
    let Some((first, rest)) = paths.split_first() else {
        return "/".into();
    };
    let shared = |candidate: &&Path| rest.iter().all(|path| path.starts_with(candidate));
    first.ancestors().skip(1).find(shared).unwrap_or(Path::new("/")).to_owned()
}

fn options(lower: &[&Path], upper: &Path, work: &Path) -> Vec<u8> {
    let mut text = b"lowerdir=".to_vec();
    for (index, path) in lower.iter().enumerate() {
        if index > 0 {
            text.push(b':');
        }
        escape(path, b":\\,", &mut text);
    }
    for (name, path) in [(",upperdir=", upper), (",workdir=", work)] {
        text.extend_from_slice(name.as_bytes());
        escape(path, b"\\,", &mut text);
    }
    text
}

fn escape(path: &Path, special: &[u8], text: &mut Vec<u8>) {
    for byte in path.as_os_str().as_bytes() {
        if special.contains(byte) {
            text.push(b'\\');
        }
        text.push(*byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(count: usize, length: usize) -> Plan {
        let layers: Vec<PathBuf> =
            (0..count).map(|index| PathBuf::from(format!("/state/layers/{index:0length$}/diff"))).collect();
        let lower: Vec<&Path> = layers.iter().map(PathBuf::as_path).collect();
        plan(&lower, Path::new("/u"), Path::new("/w"))
    }

    #[test]
    fn absolute_then_relative_then_one_by_one() {
        assert!(matches!(planned(3, 64), Plan::Options { directory, .. } if directory == Path::new("/")));
        let relative = planned(52, 64);
        assert!(matches!(relative, Plan::Options { directory, .. } if directory == Path::new("/state/layers")));
        assert!(matches!(planned(120, 64), Plan::OneByOne));
    }

    #[test]
    fn separators_in_names_are_escaped() {
        let options = options(&[Path::new("/a:b"), Path::new("/c,d")], Path::new("/u:v"), Path::new("/w"));
        assert_eq!(String::from_utf8_lossy(&options), r"lowerdir=/a\:b:/c\,d,upperdir=/u:v,workdir=/w");
    }
}
