//! Repository chores, run by `make`: `xtask layers` and `xtask rocksdb`.

mod architecture;
mod circles;
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
        Some("words") => words::check(),
        Some("rocksdb") => rocksdb::print_environment(),
        _ => bail!("usage: xtask layers|rocksdb"),
    }
}
