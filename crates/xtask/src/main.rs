//! Chores of the repository, run by `make`: checks of the sources, and the RocksDB library.

mod architecture;
mod circles;
mod features;
mod layers;
mod metadata;
mod rocksdb;
mod source;
mod words;

use anyhow::bail;

fn main() -> anyhow::Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("layers") => layers::check(),
        Some("circles") => circles::check(),
        Some("features") => features::check(),
        Some("words") => words::check(),
        Some("rocksdb") => rocksdb::print_environment(),
        _ => bail!("usage: xtask layers|circles|features|words|rocksdb"),
    }
}
