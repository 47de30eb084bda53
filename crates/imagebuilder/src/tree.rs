//! The file tree of one layer in the making.
//!
//! Paths are relative to the image's root. Everything below `bin`, `sbin`, `lib`, `lib64` (and the
//! other names of Debian's merged `/usr`) is put below `usr/`, and what lies below a symbolic link of
//! the base goes to where the link leads, as it would on a running system.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use crate::Error;

/// Top-level directories that are links into `/usr`.
pub(crate) const MERGED: [&str; 6] = ["bin", "lib", "lib32", "lib64", "libx32", "sbin"];
/// Most links followed in one path, as in the kernel (path_resolution(7)).
const MAX_LINKS: usize = 40;

/// Something in the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    /// Permission bits.
    pub(crate) mode: u32,
    pub(crate) uid: u64,
    pub(crate) gid: u64,
    /// Seconds since 1970.
    pub(crate) mtime: i64,
    /// Who brought it, for messages.
    pub(crate) origin: Rc<str>,
}

/// What kind of thing it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    Directory,
    /// A range of the spool file and the digest of its bytes.
    File {
        offset: u64,
        len: u64,
        sha256: [u8; 32],
    },
    Symlink(PathBuf),
}

/// The directories and links of the layers below.
#[derive(Debug, Default)]
pub(crate) struct Below {
    pub(crate) directories: BTreeMap<PathBuf, Node>,
    pub(crate) links: BTreeMap<PathBuf, PathBuf>,
}

/// The tree.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    nodes: BTreeMap<PathBuf, Node>,
    below: Below,
}

impl Tree {
    pub(crate) fn on(below: Below) -> Self {
        Self { nodes: BTreeMap::new(), below }
    }

    /// All entries, parents before their children.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = (&Path, &Node)> {
        self.nodes.iter().map(|(path, node)| (path.as_path(), node))
    }

    #[cfg(test)]
    pub(crate) fn get(&self, path: &Path) -> Option<&Node> {
        self.nodes.get(path)
    }

    /// Where a path of a package or recipe lies in the image: normal form, links followed.
    /// `None` when it leaves the root.
    pub(crate) fn place(&self, path: &Path) -> Option<PathBuf> {
        let mut placed = PathBuf::new();
        let mut rest: Vec<PathBuf> = parts(path)?;
        rest.reverse();
        let mut links = 0;
        while let Some(part) = rest.pop() {
            placed.push(&part);
            let Some(target) = self.link_at(&placed) else { continue };
            // The last part of a path names the link itself.
            if rest.is_empty() {
                continue;
            }
            links += 1;
            if links > MAX_LINKS {
                return None;
            }
            placed.pop();
            let target = resolve_target(&placed, &target)?;
            placed = PathBuf::new();
            rest.extend(parts(&target)?.into_iter().rev());
        }
        Some(placed)
    }

    fn link_at(&self, placed: &Path) -> Option<PathBuf> {
        if let Some(name) = placed.to_str()
            && MERGED.contains(&name)
        {
            return Some(Path::new("usr").join(name));
        }
        self.below.links.get(placed).cloned()
    }

    /// Adds what a package brings, at its placed path.
    ///
    /// # Errors
    /// [`Error::Conflict`] when another one brought something different there.
    pub(crate) fn add(&mut self, path: PathBuf, node: Node) -> Result<(), Error> {
        if path.as_os_str().is_empty() {
            return Ok(());
        }
        // A package ships `bin/` as a directory; in the image it is a link, made with the base.
        if node.kind == Kind::Directory && path.to_str().is_some_and(|name| MERGED.contains(&name)) {
            let merged = Path::new("usr").join(&path);
            return self.add(merged, node);
        }
        if node.kind == Kind::Directory && self.below.links.contains_key(&path) {
            return Ok(());
        }
        match self.nodes.get(&path) {
            None => {
                self.nodes.insert(path, node);
                Ok(())
            }
            Some(there) if same(there, &node) => Ok(()),
            Some(there) => Err(Error::Conflict {
                path: Path::new("/").join(path),
                first: there.origin.to_string(),
                second: node.origin.to_string(),
            }),
        }
    }

    /// Puts what the recipe wants at a placed path, whatever was there. What lay below a directory
    /// that is no directory any more goes with it.
    pub(crate) fn put(&mut self, path: PathBuf, node: Node) {
        if node.kind != Kind::Directory {
            self.nodes.retain(|other, _| other == &path || !other.starts_with(&path));
        }
        self.nodes.insert(path, node);
    }

    /// Gives every entry its parents: as below, or plain ones of root's.
    pub(crate) fn complete(&mut self, origin: &Rc<str>) {
        let mut missing = BTreeMap::new();
        for path in self.nodes.keys() {
            for parent in path.ancestors().skip(1).take_while(|parent| !parent.as_os_str().is_empty()) {
                if !self.nodes.contains_key(parent) && !missing.contains_key(parent) {
                    missing.insert(parent.to_owned(), directory(origin));
                }
            }
        }
        self.nodes.append(&mut missing);
        for (path, node) in &mut self.nodes {
            let recipe_wants = Rc::ptr_eq(&node.origin, origin) && !node.is_implicit();
            if node.kind == Kind::Directory
                && !recipe_wants
                && let Some(there) = self.below.directories.get(path)
            {
                *node = there.clone();
            }
        }
    }

    /// Leaves out directories that the layers below have just so, unless something in them needs a mention.
    pub(crate) fn prune(&mut self) {
        let below = &self.below.directories;
        self.nodes.retain(|path, node| {
            node.kind != Kind::Directory || !below.get(path).is_some_and(|there| same_attributes(there, node))
        });
    }

    /// Limits every time to `epoch`.
    pub(crate) fn clamp(&mut self, epoch: i64) {
        for node in self.nodes.values_mut() {
            node.mtime = node.mtime.clamp(0, epoch.max(0));
        }
    }

    /// The newest time in the tree.
    pub(crate) fn newest(&self) -> Option<i64> {
        self.nodes.values().map(|node| node.mtime).max()
    }
}

/// Time of entries the recipe makes: they take the image's.
pub(crate) const NO_TIME: i64 = i64::MAX;

impl Node {
    /// Made by [`Tree::complete`], not asked for.
    fn is_implicit(&self) -> bool {
        self.mtime == IMPLICIT_TIME
    }
}

const IMPLICIT_TIME: i64 = i64::MAX - 1;

fn directory(origin: &Rc<str>) -> Node {
    Node { kind: Kind::Directory, mode: 0o755, uid: 0, gid: 0, mtime: IMPLICIT_TIME, origin: origin.clone() }
}

fn same(there: &Node, node: &Node) -> bool {
    match (&there.kind, &node.kind) {
        // Two packages may disagree on the mode of a shared directory; the first one wins, as in dpkg.
        (Kind::Directory, Kind::Directory) => true,
        (Kind::File { sha256: a, .. }, Kind::File { sha256: b, .. }) => a == b && same_attributes(there, node),
        (Kind::Symlink(a), Kind::Symlink(b)) => a == b,
        _ => false,
    }
}

fn same_attributes(a: &Node, b: &Node) -> bool {
    (a.mode, a.uid, a.gid) == (b.mode, b.uid, b.gid)
}

/// The normal parts of a path; `None` when it goes above the root.
fn parts(path: &Path) -> Option<Vec<PathBuf>> {
    let mut found: Vec<PathBuf> = Vec::new();
    for component in path.components() {
        match component {
            Component::RootDir | Component::CurDir => {}
            Component::Normal(name) => found.push(PathBuf::from(name)),
            Component::ParentDir => {
                found.pop()?;
            }
            Component::Prefix(_) => return None,
        }
    }
    Some(found)
}

/// The path, from the root, that a link in `folder` leads to.
fn resolve_target(folder: &Path, target: &Path) -> Option<PathBuf> {
    let joined = if target.is_absolute() { target.to_owned() } else { folder.join(target) };
    Some(parts(&joined)?.into_iter().collect())
}

/// A link's target as it must be written after its path was `shipped` and is now `placed`: relative ones
/// that climb would climb elsewhere, so they are made absolute.
pub(crate) fn retarget(shipped: &Path, placed: &Path, target: &Path) -> PathBuf {
    let climbs = target.components().any(|component| component == Component::ParentDir);
    let shipped_parent: Option<PathBuf> = parts(shipped).map(|parts| parts.into_iter().collect());
    if target.is_absolute() || !climbs || shipped_parent.as_deref() == Some(placed) {
        return target.to_owned();
    }
    let folder = shipped.parent().unwrap_or(Path::new(""));
    match resolve_target(folder, target) {
        Some(path) => Path::new("/").join(path),
        None => target.to_owned(),
    }
}

/// True for a path at or below one of the prefixes.
pub(crate) fn is_below(path: &Path, prefixes: &[PathBuf]) -> bool {
    prefixes.iter().any(|prefix| path.starts_with(prefix))
}

/// True if the file name of a path is this one.
pub(crate) fn is_named(path: &Path, name: &str) -> bool {
    path.file_name() == Some(OsStr::new(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(kind: Kind, origin: &str) -> Node {
        Node { kind, mode: 0o755, uid: 0, gid: 0, mtime: 5, origin: Rc::from(origin) }
    }

    fn file(content: u8) -> Kind {
        Kind::File { offset: 0, len: 1, sha256: [content; 32] }
    }

    fn place(tree: &Tree, path: &str) -> Option<String> {
        tree.place(Path::new(path)).map(|path| path.to_string_lossy().into_owned())
    }

    #[test]
    fn merged_usr() {
        let tree = Tree::default();
        assert_eq!(place(&tree, "./bin/sh").as_deref(), Some("usr/bin/sh"));
        assert_eq!(
            place(&tree, "./lib/x86_64-linux-gnu/libc.so.6").as_deref(),
            Some("usr/lib/x86_64-linux-gnu/libc.so.6")
        );
        assert_eq!(place(&tree, "/usr/bin/env").as_deref(), Some("usr/bin/env"));
        assert_eq!(place(&tree, "./bin").as_deref(), Some("bin"));
        assert_eq!(place(&tree, "./library/x").as_deref(), Some("library/x"));
    }

    #[test]
    fn follows_links_of_the_base_and_never_leaves_the_root() {
        let mut below = Below::default();
        below.links.insert("var/run".into(), "/run".into());
        below.links.insert("loop".into(), "loop/x".into());
        below.links.insert("up".into(), "../../..".into());
        let tree = Tree::on(below);
        assert_eq!(place(&tree, "var/run/mysqld").as_deref(), Some("run/mysqld"));
        assert_eq!(place(&tree, "var/run").as_deref(), Some("var/run"));
        assert_eq!(place(&tree, "loop/a"), None);
        assert_eq!(place(&tree, "up/etc/passwd"), None);
        assert_eq!(place(&tree, "../etc/passwd"), None);
        assert_eq!(place(&tree, "a/../../etc"), None);
    }

    #[test]
    fn conflicts_are_found_and_equal_things_are_none() {
        let mut tree = Tree::default();
        tree.add("usr/bin/x".into(), node(file(1), "a")).unwrap();
        tree.add("usr/bin/x".into(), node(file(1), "b")).unwrap();
        let error = tree.add("usr/bin/x".into(), node(file(2), "c")).unwrap_err();
        assert!(matches!(error, Error::Conflict { first, second, .. } if first == "a" && second == "c"));
        assert!(tree.add("usr/bin/x".into(), node(Kind::Directory, "d")).is_err());
    }

    #[test]
    fn directories_of_the_base_keep_their_mode() {
        let mut below = Below::default();
        let mut tmp = node(Kind::Directory, "base");
        tmp.mode = 0o1777;
        below.directories.insert("tmp".into(), tmp);
        let recipe: Rc<str> = Rc::from("recipe");
        let mut tree = Tree::on(below);
        tree.put("tmp/x/y".into(), node(file(1), "recipe"));
        tree.complete(&recipe);
        assert_eq!(tree.get(Path::new("tmp")).unwrap().mode, 0o1777);
        assert_eq!(tree.get(Path::new("tmp/x")).unwrap().mode, 0o755);
        tree.prune();
        assert!(tree.get(Path::new("tmp")).is_none(), "the base has it already");
        assert!(tree.get(Path::new("tmp/x")).is_some());
    }

    #[test]
    fn a_recipes_file_takes_the_place_of_a_directory() {
        let mut tree = Tree::default();
        tree.add("etc/conf".into(), node(Kind::Directory, "a")).unwrap();
        tree.add("etc/conf/x".into(), node(file(1), "a")).unwrap();
        tree.put("etc/conf".into(), node(file(2), "recipe"));
        assert!(tree.get(Path::new("etc/conf/x")).is_none());
    }

    #[test]
    fn climbing_links_are_made_absolute_when_moved() {
        let retarget = |shipped: &str, placed: &str, target: &str| {
            retarget(Path::new(shipped), Path::new(placed), Path::new(target)).to_string_lossy().into_owned()
        };
        assert_eq!(retarget("./lib/a.so", "usr/lib/a.so", "../usr/lib/b.so"), "/usr/lib/b.so");
        assert_eq!(retarget("./lib/a.so", "usr/lib/a.so", "b.so"), "b.so");
        assert_eq!(retarget("./usr/lib/a.so", "usr/lib/a.so", "../share/b"), "../share/b");
        assert_eq!(retarget("./lib/a", "usr/lib/a", "/etc/b"), "/etc/b");
    }
}
