//! What the recipe adds to the packages: accounts, directories, files, links, joined files.

use std::path::Path;
use std::rc::Rc;

use dockyard::{Owner, Recipe};

use crate::Error;
use crate::deb::Spool;
use crate::folder::RecipeFolder;
use crate::tree::{Kind, MERGED, NO_TIME, Node, Tree};

/// Shell of every account, because there are no logins in a container.
const NO_SHELL: &str = "/usr/sbin/nologin";

/// Applies a recipe to the tree of its packages.
pub(crate) struct Additions<'a> {
    pub(crate) folder: &'a RecipeFolder,
    pub(crate) tree: &'a mut Tree,
    pub(crate) spool: &'a mut Spool,
    /// True for the lowest image, which gets the links of the merged `/usr`.
    pub(crate) is_base: bool,
}

impl Additions<'_> {
    pub(crate) fn apply(mut self) -> Result<(), Error> {
        let origin: Rc<str> = Rc::from("the recipe");
        let recipe = &self.folder.recipe;
        if self.is_base {
            self.merged_links(&origin);
        }
        self.file("/etc/passwd", passwd(recipe).as_bytes(), 0o644, Owner::Root, &origin)?;
        self.file("/etc/group", group(recipe).as_bytes(), 0o644, Owner::Root, &origin)?;
        for entry in &recipe.directories {
            self.put(&entry.path, Kind::Directory, entry.mode.0, entry.owner, &origin)?;
        }
        for (entry, contents) in recipe.files.iter().zip(&self.folder.contents) {
            self.file(&entry.to, contents, entry.mode.0, entry.owner, &origin)?;
        }
        for entry in &recipe.symlinks {
            self.put(&entry.path, Kind::Symlink((&entry.target).into()), 0o777, Owner::Root, &origin)?;
        }
        for entry in &recipe.joins {
            let parts = self.parts(&entry.from, &entry.suffix)?;
            if parts.is_empty() {
                let (to, from, suffix) = (entry.to.clone(), entry.from.clone(), entry.suffix.clone());
                return Err(Error::EmptyJoin { to, from, suffix });
            }
            let kind = self.spool.join(&parts).map_err(Error::write(&entry.to))?;
            self.put(&entry.to, kind, 0o644, Owner::Root, &origin)?;
        }
        self.tree.complete(&origin);
        self.tree.prune();
        Ok(())
    }

    fn merged_links(&mut self, origin: &Rc<str>) {
        for name in MERGED {
            let target = Path::new("usr").join(name);
            if self.tree.nodes().any(|(path, _)| path.starts_with(&target)) {
                self.tree.put(name.into(), self.node(Kind::Symlink(target), 0o777, Owner::Root, origin));
            }
        }
    }

    fn parts(&self, from: &str, suffix: &str) -> Result<Vec<(u64, u64)>, Error> {
        let folder = self.place(from)?;
        let below = self.tree.nodes().filter(|(path, _)| path.starts_with(&folder));
        let named = below.filter(|(path, _)| path.to_string_lossy().ends_with(suffix));
        Ok(named
            .filter_map(|(_, node)| match node.kind {
                Kind::File { offset, len, .. } => Some((offset, len)),
                Kind::Directory | Kind::Symlink(_) => None,
            })
            .collect())
    }

    fn file(&mut self, to: &str, contents: &[u8], mode: u32, owner: Owner, origin: &Rc<str>) -> Result<(), Error> {
        let kind = self.spool.add(contents).map_err(Error::write(to))?;
        self.put(to, kind, mode, owner, origin)
    }

    fn put(&mut self, path: &str, kind: Kind, mode: u32, owner: Owner, origin: &Rc<str>) -> Result<(), Error> {
        let placed = self.place(path)?;
        let node = self.node(kind, mode, owner, origin);
        self.tree.put(placed, node);
        Ok(())
    }

    fn place(&self, path: &str) -> Result<std::path::PathBuf, Error> {
        self.tree.place(Path::new(path)).ok_or_else(|| Error::BadPackage {
            package: self.folder.recipe.name.clone(),
            path: path.into(),
            problem: "which a link leads out of the root",
        })
    }

    fn node(&self, kind: Kind, mode: u32, owner: Owner, origin: &Rc<str>) -> Node {
        let (uid, gid) = match owner {
            Owner::Root => (0, 0),
            Owner::User => self.folder.recipe.run_as(),
        };
        Node { kind, mode, uid: uid.into(), gid: gid.into(), mtime: NO_TIME, origin: origin.clone() }
    }
}

fn passwd(recipe: &Recipe) -> String {
    let mut text = format!("root:x:0:0:root:/root:{NO_SHELL}\n");
    if let Some(user) = &recipe.user {
        text += &format!("{0}:x:{1}:{2}:{0}:{3}:{NO_SHELL}\n", user.name, user.uid, user.gid, user.home);
    }
    text + &format!("nobody:x:65534:65534:nobody:/nonexistent:{NO_SHELL}\n")
}

fn group(recipe: &Recipe) -> String {
    let mut text = "root:x:0:\n".to_owned();
    if let Some(user) = &recipe.user {
        text += &format!("{}:x:{}:\n", user.name, user.gid);
    }
    text + "nogroup:x:65534:\n"
}
