//! Keeps the static RocksDB library outside the checkout: it takes a quarter of an hour to compile.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};

use crate::metadata;

const LIBRARY: &str = "librocksdb.a";
const CRATE: &str = "librocksdb-sys";

/// Prints the variables that make the build link the cached library, after making the cache.
///
/// The library is built by the very crate that links it later, in a target folder of its own.
pub(crate) fn print_environment() -> anyhow::Result<()> {
    let metadata = metadata::read(&[])?;
    let package = metadata.packages.iter().find(|package| package.name == CRATE);
    let version = &package.with_context(|| format!("{CRATE} is not in Cargo.lock"))?.version;
    let folder = cache()?.join(format!("rocksdb-{version}"));
    if !folder.join(LIBRARY).is_file() {
        build(&folder)?;
    }
    println!("export ROCKSDB_LIB_DIR={} ROCKSDB_STATIC=1", folder.display());
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "where other programs keep their caches")]
fn cache() -> anyhow::Result<PathBuf> {
    let base = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let base = base.or_else(|| std::env::home_dir().map(|home| home.join(".cache")));
    Ok(base.context("neither XDG_CACHE_HOME nor HOME is set")?.join("nanocloud"))
}

fn build(folder: &Path) -> anyhow::Result<()> {
    eprintln!("building RocksDB once into {} (about 15 minutes on two cores)", folder.display());
    let target = folder.join("build");
    let status = metadata::cargo()
        .args(["build", "--release", "--quiet", "-p", CRATE, "--target-dir"])
        .arg(&target)
        .env_remove("ROCKSDB_LIB_DIR")
        .status()
        .context("cargo build")?;
    ensure!(
        status.success(),
        "building RocksDB failed; it needs a C++ compiler and libclang (scripts/install-deps build)"
    );
    let outputs = fs::read_dir(target.join("release/build")).context("build outputs")?;
    let library = outputs.flatten().map(|entry| entry.path().join("out").join(LIBRARY)).find(|path| path.is_file());
    let library = library.context("the build left no library")?;
    // Renamed last, so that an interrupted copy is never linked.
    let unfinished = folder.join("unfinished");
    fs::copy(&library, &unfinished).and_then(|_| fs::rename(&unfinished, folder.join(LIBRARY))).context("cache")?;
    fs::remove_dir_all(&target).context("remove the build folder")
}
