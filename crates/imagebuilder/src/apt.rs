//! Resolving and fetching packages with apt, using a private state.
//!
//! apt sees the machine's package lists and keys, but a private list of installed packages: those of
//! the image's base, and stand-ins for the packages the recipe omits. It therefore names exactly what
//! the new layer must hold. Signatures of the lists and hashes of the packages are checked by apt.

#![expect(clippy::disallowed_methods, reason = "apt and dpkg-deb are programs, and are waited for")]

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use sha2::{Digest, Sha256};

use crate::apt_answers::AptAnswers;
use crate::hash::FieldHasher;
use crate::package::{Candidate, Package};
use crate::progress::{Phase, Reporter};
use crate::tool::{collect_stderr, start_error, tail};
use crate::{AptConfig, Error};

/// Version of the stand-ins: satisfies every `>=` and is easy to recognise.
const STAND_IN_VERSION: &str = "9999:0";

/// What apt takes to be installed.
#[derive(Debug, Default)]
pub(crate) struct Installed<'a> {
    /// The packages of the base image.
    pub(crate) base: &'a [Package],
    /// Packages to omit.
    pub(crate) omitted: &'a [String],
}

pub(crate) struct Apt<'a> {
    config: &'a AptConfig,
    arch: &'static str,
    cache: PathBuf,
    status: PathBuf,
    recipe: &'a str,
}

impl<'a> Apt<'a> {
    /// Prepares the private state below `work` (fresh) and `cache` (kept).
    pub(crate) fn new(
        config: &'a AptConfig,
        arch: &'static str,
        cache: &Path,
        work: &Path,
        recipe: &'a str,
    ) -> Result<Self, Error> {
        let partial = cache.join("archives/partial");
        fs::create_dir_all(&partial).map_err(Error::write(partial))?;
        Ok(Self { config, arch, cache: cache.to_owned(), status: work.join("status"), recipe })
    }

    pub(crate) fn archive(&self, candidate: &Candidate) -> PathBuf {
        self.cache.join("archives").join(&candidate.file)
    }

    /// The packages to add so that `wanted` are installed, sorted by name.
    pub(crate) fn resolve(&self, wanted: &[String], installed: &Installed<'_>) -> Result<Vec<Candidate>, Error> {
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        self.ensure_lists()?;
        let answers = AptAnswers::new(&self.cache, self.recipe);
        let question = self.question(wanted, installed)?;
        if let Some(answer) = answers.recall(&question) {
            return Ok(answer);
        }
        let found = self.ask(wanted, installed)?;
        answers.keep(&question, &found)?;
        Ok(found)
    }

    /// A digest of everything that the result depends on: the request and the package lists.
    fn question(&self, wanted: &[String], installed: &Installed<'_>) -> Result<String, Error> {
        let mut hasher = FieldHasher::new("packages");
        hasher.field(self.arch.as_bytes());
        for group in [wanted, installed.omitted, &self.config.options] {
            hasher.field(&group.len().to_be_bytes());
            group.iter().for_each(|name| hasher.field(name.as_bytes()));
        }
        for package in installed.base {
            hasher.field(package.name.as_bytes());
            hasher.field(package.version.as_bytes());
        }
        let read_error = |source| Error::Tool { tool: self.config.apt_get.clone(), source };
        let mut lists = Vec::new();
        for entry in fs::read_dir(&self.config.lists).map_err(read_error)? {
            let entry = entry.map_err(read_error)?;
            let metadata = entry.metadata().map_err(read_error)?;
            lists.push((entry.file_name(), metadata.len(), metadata.mtime(), metadata.mtime_nsec()));
        }
        lists.sort();
        for (name, len, seconds, nanoseconds) in lists {
            hasher.field(name.as_encoded_bytes());
            hasher.field(&len.to_be_bytes());
            hasher.field(&seconds.to_be_bytes());
            hasher.field(&nanoseconds.to_be_bytes());
        }
        Ok(hasher.finish())
    }

    fn ask(&self, wanted: &[String], installed: &Installed<'_>) -> Result<Vec<Candidate>, Error> {
        self.write_status(installed)?;
        let mut command = self.get();
        // apt does not print what the archive folder holds, so it is shown an empty one.
        let empty = self.status.with_extension("archives");
        let partial = empty.join("partial");
        fs::create_dir_all(&partial).map_err(Error::write(partial))?;
        command.arg("-o").arg(option("Dir::Cache::archives", &empty));
        command.args(["--yes", "--print-uris", "install"]).args(wanted);
        let output = self.run(command, "finding packages")?;
        let uris = String::from_utf8_lossy(&output.stdout).into_owned();
        let files: Vec<(&str, u64)> = uris.lines().filter_map(parse_uri).collect();
        let mut found = self.describe(&files)?;
        found.sort_by(|a, b| a.package.cmp(&b.package));
        Ok(found)
    }

    /// Waits until no other build, in this process or another, fetches into the archive directory.
    ///
    /// apt renames what it has fetched, and fails when another apt did so first: it must not lock the directory
    /// itself, because it would fail immediately instead of waiting.
    fn lock_archives(&self) -> Result<fs::File, Error> {
        let path = self.cache.join("archives.lock");
        let open = fs::OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        open.and_then(|file| file.lock().map(|()| file)).map_err(Error::write(path))
    }

    /// Fetches what is not in the archive folder yet.
    pub(crate) fn download(
        &self,
        wanted: &[String],
        candidates: &[Candidate],
        reporter: &mut Reporter<'_>,
    ) -> Result<(), Error> {
        let total: u64 = candidates.iter().map(|candidate| candidate.size).sum();
        let _alone = self.lock_archives()?;
        let absent: Vec<&Candidate> = candidates.iter().filter(|candidate| !self.is_fetched(candidate)).collect();
        let missing: u64 = absent.iter().map(|candidate| candidate.size).sum();
        reporter.report(Phase::Download, total - missing, total);
        if absent.is_empty() {
            return Ok(());
        }
        let mut command = self.get();
        command.args(["--yes", "--download-only", "-o", "APT::Status-Fd=1", "install"]).args(wanted);
        self.stream(command, "fetching packages", |line| {
            if let Some(percent) = parse_download_status(line) {
                reporter.report(Phase::Download, total - missing + percent_of(missing, percent), total);
            }
        })?;
        match absent.into_iter().find(|candidate| !self.is_fetched(candidate)) {
            None => {
                reporter.report(Phase::Download, total, total);
                Ok(())
            }
            Some(candidate) => Err(Error::ToolFailed {
                tool: self.config.apt_get.clone(),
                doing: "fetching packages".to_owned(),
                said: format!("{} is missing or differs from the package list", candidate.file),
            }),
        }
    }

    /// Brings the machine's package lists up to date.
    pub(crate) fn update(&self) -> Result<(), Error> {
        let mut command = Command::new(&self.config.apt_get);
        command
            .args(["-q", "-o", "APT::Sandbox::User=root", "-o"])
            .arg(option("Dir::State::lists", &self.config.lists));
        // Only the package lists are needed.
        command.args(["-o", "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false"]);
        self.more_options(&mut command);
        command.arg("update");
        self.run(command, "updating the package lists").map(|_| ())
    }

    fn ensure_lists(&self) -> Result<(), Error> {
        let known = || {
            fs::read_dir(&self.config.lists).is_ok_and(|mut entries| {
                entries.any(|entry| entry.is_ok_and(|entry| entry.file_name().to_string_lossy().contains("_Packages")))
            })
        };
        if known() {
            return Ok(());
        }
        self.update()?;
        if known() { Ok(()) } else { Err(Error::NoPackageLists(self.config.lists.clone())) }
    }

    /// A package in the archive folder counts when its hash is the one of the list.
    fn is_fetched(&self, candidate: &Candidate) -> bool {
        let hash = || -> std::io::Result<String> {
            let mut hasher = Sha256::new();
            let mut file = fs::File::open(self.archive(candidate))?;
            std::io::copy(&mut file, &mut crate::hash::HashWriter(&mut hasher))?;
            Ok(hex::encode(hasher.finalize()))
        };
        hash().is_ok_and(|hash| hash == candidate.package.sha256)
    }

    fn get(&self) -> Command {
        let mut command = Command::new(&self.config.apt_get);
        command.args(["-q", "--no-install-recommends", "--no-install-suggests"]);
        command.args(["-o", "APT::Sandbox::User=root", "-o", "Debug::NoLocking=1", "-o", "APT::Install-Recommends=0"]);
        command.args(["-o", "APT::Get::List-Cleanup=0", "-o", "Dpkg::Use-Pty=0"]);
        self.directories(&mut command);
        command
    }

    fn more_options(&self, command: &mut Command) {
        for more in &self.config.options {
            command.arg("-o").arg(more);
        }
    }

    fn directories(&self, command: &mut Command) {
        let pairs = [
            ("Dir::State::lists", self.config.lists.as_path()),
            ("Dir::State::status", self.status.as_path()),
            ("Dir::State::extended_states", &self.status.with_extension("extended")),
            ("Dir::Cache", self.cache.as_path()),
            ("Dir::Cache::archives", &self.cache.join("archives")),
        ];
        for (name, path) in pairs {
            command.arg("-o").arg(option(name, path));
        }
        command.args(["-o", &format!("APT::Architecture={}", self.arch)]);
        self.more_options(command);
    }

    fn write_status(&self, installed: &Installed<'_>) -> Result<(), Error> {
        let base = installed.base.iter().filter(|package| !installed.omitted.contains(&package.name));
        let base: Vec<String> = base.map(|package| exact(&package.name, &package.version)).collect();
        let mut text = String::new();
        if !base.is_empty() {
            for fields in self.show(&base)? {
                fields.write_installed(&mut text);
            }
        }
        if !installed.omitted.is_empty() {
            // An unknown package does not have to be omitted.
            let described = self.show_known(installed.omitted)?;
            for name in installed.omitted {
                let fields = described.iter().find(|fields| fields.get("Package") == Some(name.as_str()));
                self.stand_in(&mut text, name, fields.and_then(|fields| fields.get("Provides")));
            }
        }
        fs::write(&self.status, text).map_err(Error::write(&self.status))
    }

    fn stand_in(&self, text: &mut String, name: &str, provides: Option<&str>) {
        let provides = provides.map(|provides| format!("Provides: {provides}\n")).unwrap_or_default();
        // `allowed` also satisfies dependencies on "<name>:any". Writing to a String cannot fail.
        let _infallible = write!(
            text,
            "Package: {name}\nStatus: install ok installed\nMaintainer: none\nArchitecture: {}\nMulti-Arch: allowed\n\
             Version: {STAND_IN_VERSION}\n{provides}Description: stand-in\n\n",
            self.arch
        );
    }

    /// Version and hash of each package file.
    fn describe(&self, files: &[(&str, u64)]) -> Result<Vec<Candidate>, Error> {
        if files.is_empty() {
            return Ok(Vec::new());
        }
        let parts: Vec<(&str, String, &str)> = files.iter().filter_map(|(file, _)| parse_file_name(file)).collect();
        let names: Vec<String> = parts.iter().map(|(name, version, _)| exact(name, version)).collect();
        let described = self.show(&names)?;
        let mut found = Vec::new();
        for ((file, size), (name, version, arch)) in files.iter().zip(parts) {
            let fields = described
                .iter()
                .find(|fields| fields.get("Package") == Some(name) && fields.get("Version") == Some(version.as_str()));
            let Some(sha256) = fields.and_then(|fields| fields.get("SHA256")) else {
                return Err(Error::PackageNotFound { recipe: self.recipe.to_owned(), package: exact(name, &version) });
            };
            found.push(Candidate {
                package: Package { name: name.to_owned(), version, arch: arch.to_owned(), sha256: sha256.to_owned() },
                file: (*file).to_owned(),
                size: *size,
            });
        }
        Ok(found)
    }

    fn show(&self, names: &[String]) -> Result<Vec<Fields>, Error> {
        let output = self.run(self.show_command(names), "reading package descriptions")?;
        Ok(paragraphs(&output))
    }

    /// As [`Apt::show`], for names of which some may be unknown.
    fn show_known(&self, names: &[String]) -> Result<Vec<Fields>, Error> {
        let mut command = self.show_command(names);
        quiet(&mut command);
        let tool = &self.config.apt_cache;
        command.output().map(|output| paragraphs(&output)).map_err(|source| start_error(tool, "apt", source))
    }

    fn show_command(&self, names: &[String]) -> Command {
        let mut command = Command::new(&self.config.apt_cache);
        self.directories(&mut command);
        command.args(["show", "--no-all-versions"]).args(names);
        command
    }

    fn run(&self, mut command: Command, doing: &str) -> Result<Output, Error> {
        let tool = command.get_program().to_string_lossy().into_owned();
        quiet(&mut command);
        let output = command.output().map_err(|source| start_error(&tool, "apt", source))?;
        if output.status.success() {
            return Ok(output);
        }
        // apt explains unmet dependencies on its standard output.
        let mut said = String::from_utf8_lossy(&output.stdout).into_owned();
        said.push_str(&String::from_utf8_lossy(&output.stderr));
        Err(self.failure(&tool, doing, &said))
    }

    fn stream(&self, mut command: Command, doing: &str, mut each: impl FnMut(&str)) -> Result<(), Error> {
        let tool = command.get_program().to_string_lossy().into_owned();
        quiet(&mut command);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|source| start_error(&tool, "apt", source))?;
        let said = collect_stderr(&mut child);
        let io_error = |source| Error::Tool { tool: tool.clone(), source };
        if let Some(stdout) = child.stdout.take() {
            for line in BufReader::new(stdout).lines() {
                each(&line.map_err(io_error)?);
            }
        }
        let status = child.wait().map_err(io_error)?;
        let said = said.and_then(|thread| thread.join().ok()).unwrap_or_default();
        if status.success() { Ok(()) } else { Err(self.failure(&tool, doing, &said)) }
    }

    fn failure(&self, tool: &str, doing: &str, said: &str) -> Error {
        match unknown_package(said) {
            Some(package) => Error::PackageNotFound { recipe: self.recipe.to_owned(), package: package.to_owned() },
            None if is_outdated(said) => Error::OutdatedLists { said: tail(said.trim()).to_owned() },
            None => {
                Error::ToolFailed { tool: tool.to_owned(), doing: doing.to_owned(), said: tail(said.trim()).to_owned() }
            }
        }
    }
}

fn quiet(command: &mut Command) {
    command.env("LC_ALL", "C").env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
}

fn option(name: &str, path: &Path) -> std::ffi::OsString {
    let mut text = std::ffi::OsString::from(format!("{name}="));
    text.push(path);
    text
}

fn exact(name: &str, version: &str) -> String {
    format!("{name}={version}")
}

fn paragraphs(output: &Output) -> Vec<Fields> {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split("\n\n").map(Fields::parse).filter(|fields| fields.get("Package").is_some()).collect()
}

fn percent_of(total: u64, percent: f64) -> u64 {
    // Only a progress bar: the loss of precision beyond 2^52 bytes does not matter.
    (total as f64 * percent.clamp(0.0, 100.0) / 100.0) as u64
}

/// `'uri' file size [hash]`
fn parse_uri(line: &str) -> Option<(&str, u64)> {
    let rest = line.strip_prefix('\'')?;
    let (_, rest) = rest.split_once("' ")?;
    let mut words = rest.split(' ');
    let file = words.next()?;
    let size = words.next()?.parse().ok()?;
    (!file.contains('/') && file.ends_with(".deb")).then_some((file, size))
}

/// `name_version_arch.deb`, the epoch's colon written `%3a`.
fn parse_file_name(file: &str) -> Option<(&str, String, &str)> {
    let mut parts = file.strip_suffix(".deb")?.split('_');
    let (name, version, arch) = (parts.next()?, parts.next()?, parts.next()?);
    Some((name, version.replace("%3a", ":"), arch))
}

/// `dlstatus:<file>:<percent>:<text>`
fn parse_download_status(line: &str) -> Option<f64> {
    line.strip_prefix("dlstatus:")?.split(':').nth(1)?.parse().ok()
}

/// True when a mirror no longer has what the lists promise.
fn is_outdated(said: &str) -> bool {
    ["404  Not Found", "Hash Sum mismatch", "(2: No such file or directory)"].iter().any(|sign| said.contains(sign))
}

fn unknown_package(said: &str) -> Option<&str> {
    for line in said.lines() {
        let line = line.strip_prefix("E: ").unwrap_or(line);
        let name = line.strip_prefix("Unable to locate package ").or_else(|| {
            let (name, _) = line.strip_prefix("Package '")?.split_once("' has no installation candidate")?;
            Some(name)
        });
        if let Some(name) = name {
            return Some(name.trim());
        }
    }
    None
}

/// Fields that say how a package relates to others. apt takes a version in its lists for the installed one
/// only when these agree.
const RELATIONS: [&str; 17] = [
    "Package",
    "Version",
    "Architecture",
    "Multi-Arch",
    "Essential",
    "Important",
    "Maintainer",
    "Installed-Size",
    "Depends",
    "Pre-Depends",
    "Recommends",
    "Suggests",
    "Provides",
    "Conflicts",
    "Breaks",
    "Replaces",
    "Enhances",
];

/// The fields of one control paragraph; continuation lines are left out.
struct Fields(Vec<(String, String)>);

impl Fields {
    fn parse(paragraph: &str) -> Self {
        let lines = paragraph.lines().filter(|line| !line.starts_with([' ', '\t']));
        Self(lines.filter_map(|line| line.split_once(": ")).map(|(k, v)| (k.to_owned(), v.to_owned())).collect())
    }

    /// Writes the paragraph as that of an installed package.
    fn write_installed(&self, text: &mut String) {
        text.push_str("Status: install ok installed\nDescription: part of the base\n");
        for (name, value) in self.0.iter().filter(|(name, _)| RELATIONS.contains(&name.as_str())) {
            // Writing to a String cannot fail.
            let _infallible = writeln!(text, "{name}: {value}");
        }
        text.push('\n');
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_never_fetch_into_one_cache_at_once() {
        let (cache, work, config) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), AptConfig::default());
        let apt = Apt::new(&config, "amd64", cache.path(), work.path(), "recipe").unwrap();
        let held = apt.lock_archives().unwrap();
        let other = fs::File::open(cache.path().join("archives.lock")).unwrap();
        assert!(matches!(other.try_lock(), Err(fs::TryLockError::WouldBlock)));
        drop(held);
        other.try_lock().unwrap();
    }

    #[test]
    fn reads_what_apt_prints() {
        let line = "'http://deb.debian.org/z/zlib1g_1.2.13.dfsg-1_amd64.deb' zlib1g_1%3a1.2.13.dfsg-1_amd64.deb 86684 MD5Sum:ec";
        let (file, size) = parse_uri(line).unwrap();
        assert_eq!(size, 86684);
        assert_eq!(parse_file_name(file).unwrap(), ("zlib1g", "1:1.2.13.dfsg-1".to_owned(), "amd64"));
        assert_eq!(parse_uri("'http://x/a.deb' a_1_all.deb 5 "), Some(("a_1_all.deb", 5)));
        assert_eq!(parse_uri("Reading package lists..."), None);
        assert_eq!(parse_uri("'http://x/a.deb' ../../a.deb 5 "), None);
        assert_eq!(parse_download_status("dlstatus:1:20.5:Retrieving file 1 of 5"), Some(20.5));
        assert_eq!(parse_download_status("pmstatus:x:1:y"), None);
    }

    #[test]
    fn names_the_unknown_package() {
        assert_eq!(unknown_package("Reading...\nE: Unable to locate package mariadb-sever\n"), Some("mariadb-sever"));
        assert_eq!(unknown_package("E: Package 'awk' has no installation candidate"), Some("awk"));
        assert_eq!(unknown_package("E: Could not open lock file"), None);
    }

    #[test]
    fn fields_without_continuations() {
        let fields = Fields::parse("Package: a\nDescription: b\n long: c\nSHA256: 00");
        assert_eq!(fields.get("Package"), Some("a"));
        assert_eq!(fields.get(" long"), None);
        assert_eq!(fields.get("SHA256"), Some("00"));
    }
}
