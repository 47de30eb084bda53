//! Kernel modules in an order in which each finds what it needs.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use crate::error::{Error, Result, file};

/// Files of the modules and of all they depend on, dependencies first. Modules that are built in are left out.
///
/// # Errors
/// When the tree's index cannot be read, or a module is neither there nor built in.
pub fn load_order(tree: &Path, wanted: &[&str]) -> Result<Vec<PathBuf>> {
    let read = |name: &str| {
        let path = tree.join(name);
        fs::read_to_string(&path).map_err(file("read", path))
    };
    let order = order(&read("modules.dep")?, &read("modules.builtin")?, wanted);
    let order = order.map_err(|module| Error::Module { module, tree: tree.to_owned() })?;
    Ok(order.into_iter().map(|path| tree.join(path)).collect())
}

/// The same on the texts of `modules.dep(5)` and `modules.builtin`; fails with the name of what is missing.
fn order(dep: &str, builtin: &str, wanted: &[&str]) -> std::result::Result<Vec<String>, String> {
    let lines = dep.lines().filter_map(|line| line.split_once(':'));
    let needs: BTreeMap<&str, Vec<&str>> =
        lines.map(|(path, needs)| (path, needs.split_whitespace().collect())).collect();
    let files: BTreeMap<String, &str> = needs.keys().map(|path| (name(path), *path)).collect();
    let inside: BTreeSet<String> = builtin.lines().map(name).collect();
    let mut ordered: Vec<String> = Vec::new();
    for module in wanted {
        let Some(path) = files.get(*module) else {
            if inside.contains(*module) {
                continue;
            }
            return Err((*module).to_owned());
        };
        // The index lists all dependencies, the deepest last.
        for path in needs[path].iter().rev().chain([path]) {
            if !ordered.iter().any(|known| known == path) {
                ordered.push((*path).to_owned());
            }
        }
    }
    Ok(ordered)
}

/// `kernel/drivers/char/hw_random/virtio-rng.ko.xz` is `virtio_rng`.
fn name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split(".ko").next().unwrap_or(file).replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEP: &str = "k/virtio.ko: k/virtio_ring.ko\nk/virtio_ring.ko:\n\
        k/net/virtio-net.ko.xz: k/failover.ko k/virtio.ko k/virtio_ring.ko\nk/failover.ko:\n";

    #[test]
    fn what_is_needed_comes_first_and_once() {
        let order = order(DEP, "kernel/fs/ext4/ext4.ko\n", &["virtio", "ext4", "virtio_net"]).unwrap();
        assert_eq!(order, ["k/virtio_ring.ko", "k/virtio.ko", "k/failover.ko", "k/net/virtio-net.ko.xz"]);
    }

    #[test]
    fn a_module_that_is_nowhere_is_named() {
        assert_eq!(order(DEP, "", &["virtio", "dm_crypt"]), Err("dm_crypt".into()));
    }
}
