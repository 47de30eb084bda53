//! Keeps the static RocksDB library outside the checkout, for it takes minutes to compile.
//!
//! The crate librocksdb-sys would compile 343 files, each of which reads the same headers first: half an hour of
//! processor time. RocksDB also compiles when many files are included into one (its own `unity` build), which takes a
//! fifth of that. Sources, headers and definitions are the crate's, so the bindings it makes fit.

use std::{
    collections::VecDeque,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Mutex,
    thread,
};

use anyhow::{Context, bail, ensure};

use crate::metadata::{self, Metadata};

const LIBRARY: &str = "librocksdb.a";
/// Counts changes of how the library is made, so that an older one is not taken for it.
const RECIPE: u32 = 2;
/// Parts that compile beside each other; each needs about 1.5 GiB of memory.
const UNITS: usize = 8;

/// As librocksdb-sys has them for Linux with the feature `lz4`.
const DEFINITIONS: &[&str] = &[
    "HAVE_ALIGNED_NEW",
    "HAVE_UINT128_EXTENSION",
    "LZ4=1",
    "NDEBUG=1",
    "OS_LINUX",
    "ROCKSDB_AUXV_GETAUXVAL_PRESENT",
    "ROCKSDB_FALLOCATE_PRESENT",
    "ROCKSDB_LIB_IO_POSIX",
    "ROCKSDB_PLATFORM_POSIX",
    "ROCKSDB_RANGESYNC_PRESENT",
    "ROCKSDB_SCHED_GETCPU_PRESENT",
];

/// Sources that no other source and nothing of the C interface names (the linker proves it), by the beginning of their paths.
const UNUSED: &[&str] = &[
    "test_util/transaction_test_util.cc",
    "tools/dump/",
    "utilities/cassandra/",
    "utilities/fault_injection_secondary_cache.cc",
    "utilities/persistent_cache/",
    "utilities/simulator_cache/cache_simulator.cc",
];

/// Prints the variables that make the build link the cached library, after making the cache.
pub(crate) fn print_environment() -> anyhow::Result<()> {
    let metadata = metadata::read(&[])?;
    let (version, rocksdb) = package(&metadata, "librocksdb-sys")?;
    let (_, lz4) = package(&metadata, "lz4-sys")?;
    let folder = cache()?.join(format!("rocksdb-{version}-{RECIPE}"));
    if !folder.join(LIBRARY).is_file() {
        build(&folder, &rocksdb, &lz4.join("liblz4/lib"))?;
    }
    println!("export ROCKSDB_LIB_DIR={} ROCKSDB_STATIC=1", folder.display());
    Ok(())
}

/// Version and folder of a package.
fn package(metadata: &Metadata, name: &str) -> anyhow::Result<(String, PathBuf)> {
    let package = metadata.packages.iter().find(|package| package.name == name);
    let package = package.with_context(|| format!("{name} is not in Cargo.lock"))?;
    Ok((package.version.clone(), package.manifest_path.parent().context("a manifest has a folder")?.to_owned()))
}

#[expect(clippy::disallowed_methods, reason = "where other programs keep their caches")]
fn cache() -> anyhow::Result<PathBuf> {
    let base = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let base = base.or_else(|| std::env::home_dir().map(|home| home.join(".cache")));
    Ok(base.context("neither XDG_CACHE_HOME nor HOME is set")?.join("nanocloud"))
}

/// Compiles the sources of `rocksdb` (the folder of librocksdb-sys) into the library in `folder`.
fn build(folder: &Path, rocksdb: &Path, lz4: &Path) -> anyhow::Result<()> {
    eprintln!("building RocksDB once into {} (a few minutes)", folder.display());
    let work = folder.join("build");
    fs::create_dir_all(&work).with_context(|| format!("create {}", work.display()))?;
    let list = fs::read_to_string(rocksdb.join("rocksdb_lib_sources.txt")).context("the list of RocksDB's sources")?;
    let mut sources = Vec::new();
    for source in sources_of(&list) {
        let size = fs::metadata(rocksdb.join("rocksdb").join(source)).with_context(|| format!("find {source}"))?.len();
        sources.push((source, size));
    }
    let mut queue = VecDeque::new();
    for (index, unit) in units(&sources).iter().enumerate() {
        let path = work.join(format!("unit{index}.cc"));
        fs::write(&path, unit).with_context(|| format!("write {}", path.display()))?;
        queue.push_back(path);
    }
    queue.push_back(rocksdb.join("build_version.cc"));
    let objects: Vec<PathBuf> = queue.iter().map(|source| object(&work, source)).collect();
    compile_all(queue, |source| compile(source, &object(&work, source), rocksdb, lz4))?;
    let unfinished = work.join(LIBRARY);
    run(program("ar").arg("crs").arg(&unfinished).args(objects))?;
    // Renamed last, so that an interrupted build is never linked.
    fs::rename(&unfinished, folder.join(LIBRARY)).context("put the library into its place")?;
    fs::remove_dir_all(&work).context("remove the build folder")
}

/// The list's files, but for what is not used and for a file that the crate has written itself.
fn sources_of(list: &str) -> Vec<&str> {
    let left_out = |source: &str| {
        source == "util/build_version.cc" || UNUSED.iter().any(|beginning| source.starts_with(beginning))
    };
    list.lines().map(str::trim).filter(|source| !source.is_empty() && !left_out(source)).collect()
}

/// Sources in their order, in `UNITS` texts of about the same size that include them.
fn units(sources: &[(&str, u64)]) -> Vec<String> {
    let total: u64 = sources.iter().map(|(_, size)| size).sum();
    let mut units = vec![String::new(); UNITS];
    let mut before = 0;
    for (source, size) in sources {
        let unit = before * UNITS as u64 / total.max(1);
        units[usize::try_from(unit).unwrap_or(0)].push_str(&format!("#include \"{source}\"\n"));
        before += size;
    }
    units.retain(|unit| !unit.is_empty());
    units
}

fn object(work: &Path, source: &Path) -> PathBuf {
    work.join(source.file_name().unwrap_or_default()).with_extension("o")
}

/// Compiles every source, as many at once as there are processors, and gives the first error.
fn compile_all(queue: VecDeque<PathBuf>, compile: impl Fn(&Path) -> anyhow::Result<()> + Sync) -> anyhow::Result<()> {
    let queue = Mutex::new(queue);
    let next = || queue.lock().ok().and_then(|mut queue| queue.pop_front());
    let work = || {
        while let Some(source) = next() {
            if let Err(error) = compile(&source) {
                // The others stop, too.
                while next().is_some() {}
                return Err(error);
            }
        }
        anyhow::Ok(())
    };
    let workers = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            match worker.join() {
                Ok(done) => done?,
                Err(_) => bail!("a compiling thread panicked"),
            }
        }
        Ok(())
    })
}

fn compile(source: &Path, object: &Path, rocksdb: &Path, lz4: &Path) -> anyhow::Result<()> {
    let mut command = program(compiler());
    command.args(["-std=c++20", "-O2", "-fPIC", "-ffunction-sections", "-fdata-sections", "-w", "-include", "cstdint"]);
    command.args(DEFINITIONS.iter().map(|definition| format!("-D{definition}")));
    for folder in [&rocksdb.join("rocksdb/include"), &rocksdb.join("rocksdb"), rocksdb, lz4] {
        command.arg("-I").arg(folder);
    }
    run(command.arg("-c").arg(source).arg("-o").arg(object))
}

/// clang needs four fifths of gcc's time here.
fn compiler() -> &'static str {
    let known = program("clang++").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if known.is_ok_and(|status| status.success()) { "clang++" } else { "c++" }
}

#[expect(clippy::disallowed_methods, reason = "compilers are programs, and are waited for")]
fn program(name: &str) -> Command {
    Command::new(name)
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let shown = command.get_program().to_string_lossy().into_owned();
    let status = command.status().with_context(|| format!("{shown} (scripts/install-deps build installs it)"))?;
    ensure!(status.success(), "{shown} failed ({status}); its messages are above");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_source_is_in_one_unit_and_units_are_of_a_size() {
        let names: Vec<String> = (0..100).map(|number| format!("f{number}.cc")).collect();
        let sources: Vec<(&str, u64)> = names.iter().map(|name| (name.as_str(), 10)).collect();
        let units = units(&sources);
        assert_eq!(units.len(), UNITS);
        let all: Vec<&str> = units.iter().flat_map(|unit| unit.lines()).collect();
        assert_eq!(all, names.iter().map(|name| format!("#include \"{name}\"")).collect::<Vec<_>>());
        assert!(units.iter().all(|unit| (12..=13).contains(&unit.lines().count())), "{units:?}");
    }

    #[test]
    fn the_crates_own_version_file_takes_the_place_of_rocksdbs() {
        assert_eq!(sources_of("db/c.cc\nutil/build_version.cc\n\n"), ["db/c.cc"]);
    }

    #[test]
    fn an_error_of_any_unit_is_the_builds() {
        let queue = || ["a", "b", "c"].map(PathBuf::from).into();
        assert!(compile_all(queue(), |_| Ok(())).is_ok());
        assert!(compile_all(queue(), |source| if source == Path::new("b") { bail!("b") } else { Ok(()) }).is_err());
    }
}
