//! The initial memory file system: the agent as `/init`, its libraries, a busybox, and the modules in order.
//!
//! Format: `newc` of cpio(5), which the kernel unpacks (Documentation/driver-api/early-userspace/buffer-format.rst).

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    error::{Result, file},
    image::{Extra, modules},
    program,
};

const FILE: u32 = 0o100_755;
const FOLDER: u32 = 0o040_755;
const LINK: u32 = 0o120_777;
/// Where the libraries are.
const LIBRARIES: &str = "lib/vmtest";
/// The shell that scripts of the host's package manager expect.
const BUSYBOX: &str = "/bin/busybox";

/// What the kernel needs to reach disk, network and agent.
pub const MODULES: [&str; 5] = ["virtio_pci", "virtio_blk", "virtio_console", "virtio_net", "virtio_rng"];

/// An archive in the making.
#[derive(Debug, Default)]
struct Archive {
    bytes: Vec<u8>,
    entries: u32,
    folders: BTreeSet<PathBuf>,
}

impl Archive {
    fn entry(&mut self, path: &Path, mode: u32, content: &[u8]) {
        let name = path.to_string_lossy();
        self.entries += 1;
        let fields = [
            self.entries,
            mode,
            0,
            0,
            1,
            0,
            u32::try_from(content.len()).unwrap_or(u32::MAX),
            0,
            0,
            0,
            0,
            u32::try_from(name.len() + 1).unwrap_or(u32::MAX),
            0,
        ];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08X}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn folder(&mut self, path: &Path) {
        if path.as_os_str().is_empty() || !self.folders.insert(path.to_owned()) {
            return;
        }
        if let Some(parent) = path.parent() {
            self.folder(parent);
        }
        self.entry(path, FOLDER, &[]);
    }

    fn add(&mut self, path: &str, mode: u32, content: &[u8]) {
        let path = Path::new(path.trim_start_matches('/'));
        if let Some(parent) = path.parent() {
            self.folder(parent);
        }
        self.entry(path, mode, content);
    }

    /// A program with its libraries, unless they are `known` to be there.
    fn program(&mut self, program: &Path, place: &str, known: &mut BTreeSet<PathBuf>) -> Result<()> {
        self.add(place, FILE, &read(program)?);
        let listing = program::run(Command::new("ldd").arg(program))?;
        for library in libraries(&listing).into_iter().filter(|library| known.insert(library.clone())) {
            let name = library.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let kept = if name.starts_with("ld-") { "ld.so".to_owned() } else { name };
            self.add(&format!("{LIBRARIES}/{kept}"), FILE, &read(&library)?);
            self.add(&library.to_string_lossy(), LINK, format!("/{LIBRARIES}/{kept}").as_bytes());
        }
        Ok(())
    }

    fn finish(mut self) -> Vec<u8> {
        self.entry(Path::new("TRAILER!!!"), 0, &[]);
        self.bytes
    }
}

/// Builds the archive for a kernel whose modules are in `modules`, with the program `agent`.
///
/// # Errors
/// When a module, library or program cannot be read.
pub fn build(agent: &Path, modules: &Path, extra: &Extra) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    for folder in ["proc", "sys", "dev", "run", "tmp"] {
        archive.folder(Path::new(folder));
    }
    let mut known = BTreeSet::new();
    archive.program(agent, "init", &mut known)?;
    for (program, place) in &extra.programs {
        archive.program(program, place, &mut known)?;
    }
    archive.add("bin/busybox", FILE, &read(Path::new(BUSYBOX))?);
    let applets = program::run(Command::new(BUSYBOX).arg("--list"))?;
    for applet in applets.lines().filter(|applet| *applet != "busybox") {
        archive.add(&format!("bin/{applet}"), LINK, b"busybox");
    }
    let wanted: Vec<&str> = MODULES.into_iter().chain(extra.modules.iter().map(String::as_str)).collect();
    for (number, module) in modules::load_order(modules, &wanted)?.iter().enumerate() {
        let name = module.file_name().unwrap_or_default().to_string_lossy();
        archive.add(&format!("modules/{number:02}-{name}"), FILE, &read(module)?);
    }
    Ok(archive.finish())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(file("read", path))
}

/// Paths in the output of ldd(1): `name => PATH (0x...)`, or `PATH (0x...)` for the loader.
fn libraries(listing: &str) -> Vec<PathBuf> {
    let path = |line: &str| line.split_whitespace().find(|word| word.starts_with('/')).map(PathBuf::from);
    listing.lines().filter_map(path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_is_unpacked_as_it_was_made() {
        let mut archive = Archive::default();
        archive.add("/bin/tool", FILE, b"content");
        archive.add("bin/link", LINK, b"tool");
        archive.folder(Path::new("proc"));
        let bytes = archive.finish();
        assert_eq!(bytes.len() % 4, 0);
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("archive"), bytes).unwrap();
        let unpack = "busybox cpio -idm --quiet < archive 2>/dev/null || busybox cpio -idm < archive";
        program::run(Command::new("sh").args(["-c", unpack]).current_dir(folder.path())).unwrap();
        assert_eq!(fs::read_to_string(folder.path().join("bin/tool")).unwrap(), "content");
        assert_eq!(fs::read_link(folder.path().join("bin/link")).unwrap(), Path::new("tool"));
        assert!(folder.path().join("proc").is_dir());
    }

    #[test]
    fn libraries_are_the_paths_that_ldd_prints() {
        let listing = "\tlinux-vdso.so.1 (0x1)\n\tlibc.so.6 => /lib/x/libc.so.6 (0x2)\n\t/lib64/ld-linux.so.2 (0x3)\n";
        assert_eq!(libraries(listing), [Path::new("/lib/x/libc.so.6"), Path::new("/lib64/ld-linux.so.2")]);
    }
}
