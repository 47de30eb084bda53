//! Guests made of Debian's packages, kept by the hash of their recipe.
//!
//! Kernel and modules come from one and the same tree; the disk has no boot loader, the emulator starts the kernel.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use sha2::{Digest, Sha256};

use super::{Extra, Image, ROOT_SERIAL, initramfs};
use crate::{
    error::{Error, Result, file},
    program,
};

/// Release of the guests.
const SUITE: &str = "bookworm";
/// Changes when the same packages would give another result.
const FORMAT: &str = "1";
/// The kernel for virtual machines.
const KERNEL: &str = "linux-image-cloud-amd64";
/// Size of the disk of a systemd guest in MiB; it is sparse.
const DISK_MIB: u64 = 4096;
/// What every systemd guest has.
const PACKAGES: [&str; 15] = [
    "apparmor",
    "ca-certificates",
    "cryptsetup-bin",
    "curl",
    "dbus",
    "e2fsprogs",
    "iproute2",
    "iputils-ping",
    "kmod",
    "nftables",
    "procps",
    "systemd-sysv",
    "udev",
    "util-linux",
    "wireguard-tools",
];
/// Units that only cost time in a guest that lives for minutes and has no clock but the host's.
const MASKED: [&str; 13] = [
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "console-getty.service",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "getty@tty1.service",
    "systemd-binfmt.service",
    "systemd-logind.service",
    "systemd-timesyncd.service",
    "systemd-pstore.service",
    "serial-getty@ttyS0.service",
];
/// Paths of packages that are not unpacked.
const EXCLUDED: [&str; 4] = ["/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*"];

/// Builds Debian guests below a folder that outlives the run.
#[derive(Clone, Debug)]
pub struct Debian {
    cache: PathBuf,
    agent: PathBuf,
}

impl Debian {
    /// Keeps trees and disks in `cache`; `agent` is the program of [`crate::agent`].
    #[must_use]
    pub fn new(cache: &Path, agent: &Path) -> Self {
        Self { cache: cache.to_owned(), agent: agent.to_owned() }
    }

    /// A guest of kernel, agent and busybox, without a disk; the agent is the first process. Its initial memory file
    /// system is written to `folder`.
    ///
    /// # Errors
    /// When packages cannot be fetched or unpacked.
    pub fn tiny(&self, folder: &Path) -> Result<Image> {
        self.tiny_with(folder, &Extra::default())
    }

    /// The same with more modules and programs.
    ///
    /// # Errors
    /// As [`Debian::tiny`], or when a module or program is not there.
    pub fn tiny_with(&self, folder: &Path, extra: &Extra) -> Result<Image> {
        let kept = self.kept("kernel", &[KERNEL.to_owned()], |unfinished| {
            let tree = unfinished.join("tree");
            let mut command = bootstrap("extract", &[KERNEL.to_owned()]);
            program::run(command.args([SUITE]).arg(&tree))?;
            keep_kernel(&tree, unfinished)?;
            fs::remove_dir_all(&tree).map_err(file("remove", &tree))
        })?;
        self.image(&kept, folder, None, extra)
    }

    /// A guest with systemd on a disk, and `packages` beside the usual ones.
    ///
    /// # Errors
    /// When packages cannot be fetched or installed, or the disk cannot be made.
    pub fn systemd(&self, folder: &Path, packages: &[String]) -> Result<Image> {
        let mut all: Vec<String> = PACKAGES.map(String::from).into();
        all.push(KERNEL.to_owned());
        all.extend(packages.iter().cloned());
        all.sort();
        all.dedup();
        let kept = self.kept("systemd", &all, |unfinished| {
            let tree = unfinished.join("tree");
            program::run(bootstrap("minbase", &all).args([SUITE]).arg(&tree))?;
            keep_kernel(&tree, unfinished)?;
            settle(&tree)?;
            disk_from_folder(&tree, &unfinished.join("disk"), DISK_MIB)?;
            fs::remove_dir_all(&tree).map_err(file("remove", &tree))
        })?;
        self.image(&kept, folder, Some(kept.join("disk")), &Extra::default())
    }

    fn image(&self, kept: &Path, folder: &Path, disk: Option<PathBuf>, extra: &Extra) -> Result<Image> {
        let initrd = folder.join(if disk.is_some() { "systemd.initrd" } else { "tiny.initrd" });
        let archive = initramfs::build(&self.agent, &kept.join("modules"), extra)?;
        fs::write(&initrd, archive).map_err(file("write", &initrd))?;
        let append = match disk {
            Some(_) => format!("vmtest.root={ROOT_SERIAL} systemd.show_status=0"),
            None => String::new(),
        };
        Ok(Image { kernel: kept.join("vmlinuz"), initrd, disk, append })
    }

    /// The folder of a recipe, made unless it is there. Renamed last, so that an interrupted build is never used.
    fn kept(&self, kind: &str, packages: &[String], build: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
        let recipe = [&[FORMAT, SUITE, kind], &MASKED[..], &EXCLUDED[..]].concat().join("\n");
        let recipe = format!("{recipe}\n{DISK_MIB}\n{}\n", packages.join("\n"));
        let name = format!("{kind}-{}", &hex::encode(Sha256::digest(&recipe))[..16]);
        let kept = self.cache.join(&name);
        if kept.is_dir() {
            return Ok(kept);
        }
        fs::create_dir_all(&self.cache).map_err(file("make", &self.cache))?;
        let unfinished = tempfile::Builder::new().prefix(&format!(".{name}.")).tempdir_in(&self.cache);
        let unfinished = unfinished.map_err(file("make a folder in", &self.cache))?;
        build(unfinished.path())?;
        fs::write(unfinished.path().join("recipe"), recipe).map_err(file("write", unfinished.path()))?;
        match fs::rename(unfinished.path(), &kept) {
            // Somebody else was faster with the same recipe.
            Err(_) if kept.is_dir() => Ok(kept),
            result => result.map(|()| kept.clone()).map_err(file("rename", &kept)),
        }
    }
}

fn bootstrap(variant: &str, packages: &[String]) -> Command {
    let mut command = Command::new("mmdebstrap");
    command.args(["--quiet", &format!("--variant={variant}"), &format!("--include={}", packages.join(","))]);
    command.arg("--aptopt=Acquire::Languages \"none\"");
    if variant != "extract" {
        command.args(EXCLUDED.map(|path| format!("--dpkgopt=path-exclude={path}")));
    }
    // The harness makes its own initial memory file system.
    command.env("INITRD", "No").env("DEBIAN_FRONTEND", "noninteractive");
    command
}

/// Copies kernel and modules out of a tree.
fn keep_kernel(tree: &Path, to: &Path) -> Result<()> {
    let boot = tree.join("boot");
    let kernel = find(&boot, "vmlinuz-")?;
    let release = kernel.trim_start_matches("vmlinuz-").to_owned();
    let (from, kept) = (boot.join(&kernel), to.join("vmlinuz"));
    fs::copy(&from, &kept).map_err(file("copy", from))?;
    let modules = tree.join("lib/modules").join(&release);
    if !modules.join("modules.dep").exists() {
        // Packages that were only unpacked have not run their scripts.
        program::run(Command::new("depmod").arg("-b").arg(tree).arg(&release))?;
    }
    program::run(Command::new("cp").arg("-a").arg(&modules).arg(to.join("modules"))).map(drop)
}

fn find(folder: &Path, prefix: &str) -> Result<String> {
    let names = fs::read_dir(folder).map_err(file("list", folder))?.flatten();
    let mut names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let found = names.find(|name| name.starts_with(prefix));
    found.ok_or_else(|| Error::Module { module: prefix.to_owned(), tree: folder.to_owned() })
}

/// Makes the tree boot quickly and the same each time.
fn settle(tree: &Path) -> Result<()> {
    let units = tree.join("etc/systemd/system");
    for unit in MASKED {
        let path = units.join(unit);
        // Some are enabled by a link of this very name.
        let _ = fs::remove_file(&path);
        symlink("/dev/null", &path).map_err(file("mask", path))?;
    }
    for (path, content) in [
        ("etc/machine-id", ""),
        ("etc/hostname", "guest\n"),
        ("etc/hosts", "127.0.0.1 localhost\n::1 localhost\n"),
        ("etc/systemd/journald.conf.d/vmtest.conf", "[Journal]\nStorage=persistent\nForwardToConsole=no\n"),
        (
            "etc/systemd/system.conf.d/vmtest.conf",
            "[Manager]\nDefaultTimeoutStartSec=300s\nDefaultTimeoutStopSec=60s\n",
        ),
    ] {
        let path = tree.join(path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(file("make", folder))?;
        }
        fs::write(&path, content).map_err(file("write", path))?;
    }
    for path in ["boot", "var/cache/apt", "var/lib/apt/lists"] {
        let path = tree.join(path);
        fs::remove_dir_all(&path).map_err(file("empty", &path))?;
        fs::create_dir_all(&path).map_err(file("make", path))?;
    }
    let profiles = tree.join("etc/apparmor.d");
    for entry in fs::read_dir(&profiles).map_err(file("list", &profiles))?.flatten() {
        // The stock profiles cost seconds of each boot, and confine nothing that is here.
        if entry.path().is_file() {
            fs::remove_file(entry.path()).map_err(file("remove", entry.path()))?;
        }
    }
    Ok(())
}

/// A raw ext4 disk of a size in MiB with the content of a folder.
///
/// # Errors
/// When it does not fit, or cannot be written.
pub fn disk_from_folder(folder: &Path, disk: &Path, mib: u64) -> Result<()> {
    let mut command = Command::new("mke2fs");
    command.args(["-q", "-F", "-t", "ext4", "-E", "lazy_itable_init=1,lazy_journal_init=1", "-d"]);
    program::run(command.arg(folder).arg(disk).arg(format!("{mib}M"))).map(drop)
}
