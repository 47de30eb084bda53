//! The workspace's Rust files, parsed, without what is compiled for tests only.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;
use syn::{Attribute, ImplItem, Item, TraitItem};

use crate::metadata::{Metadata, Package};

/// The source of one library or program: a tree of modules, the root first.
pub(crate) struct Tree {
    pub(crate) name: String,
    pub(crate) modules: Vec<Module>,
}

/// One file.
pub(crate) struct Module {
    /// Names from the root of the crate; empty for the root.
    pub(crate) path: Vec<String>,
    /// Relative to the repository.
    pub(crate) file: PathBuf,
    /// Without items that only tests see.
    pub(crate) syntax: syn::File,
}

/// Every library and program of the workspace. Files of test modules are left out.
pub(crate) fn trees(metadata: &Metadata) -> anyhow::Result<Vec<Tree>> {
    let mut trees = Vec::new();
    for package in &metadata.packages {
        let mut roots: Vec<&Path> = package
            .targets
            .iter()
            .filter(|target| target.kind.iter().any(|kind| kind == "lib" || kind == "bin"))
            .map(|target| target.src_path.as_path())
            .collect();
        roots.sort();
        for root in &roots {
            let files = owned(root, &roots)?;
            let sources = files.into_iter().map(|file| {
                let text = fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
                let shown = file.strip_prefix(&metadata.workspace_root).unwrap_or(&file).to_owned();
                Ok((shown, module_path(&file, root), text))
            });
            trees.push(tree(&title(package, root), sources.collect::<anyhow::Result<_>>()?)?);
        }
    }
    Ok(trees)
}

/// The package's name, and for a program beside a library the program's.
fn title(package: &Package, root: &Path) -> String {
    let folder = package.manifest_path.parent().unwrap_or(Path::new(""));
    match root.strip_prefix(folder).ok().and_then(Path::to_str) {
        None | Some("src/lib.rs" | "src/main.rs") => package.name.clone(),
        Some(other) => format!("{} ({other})", package.name),
    }
}

/// Parses the files (path to show, module path, text) and drops test modules with all below them.
pub(crate) fn tree(name: &str, sources: Vec<(PathBuf, Vec<String>, String)>) -> anyhow::Result<Tree> {
    let mut modules = Vec::new();
    let mut tests: BTreeSet<Vec<String>> = BTreeSet::new();
    for (file, path, text) in sources {
        let mut syntax = syn::parse_file(&text).with_context(|| format!("parse {}", file.display()))?;
        strip(&mut syntax.items, &path, &mut tests);
        modules.push(Module { path, file, syntax });
    }
    modules.retain(|module| !(0..=module.path.len()).any(|end| tests.contains(&module.path[..end])));
    modules.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(Tree { name: name.into(), modules })
}

/// Removes items under `#[cfg(test)]` and `#[test]`; notes the test modules that are files.
fn strip(items: &mut Vec<Item>, path: &[String], tests: &mut BTreeSet<Vec<String>>) {
    items.retain_mut(|item| {
        let for_tests = for_tests(attributes(item));
        if let Item::Mod(module) = item {
            let below: Vec<String> = path.iter().cloned().chain([module.ident.to_string()]).collect();
            match &mut module.content {
                Some((_, items)) if !for_tests => strip(items, &below, tests),
                None if for_tests => {
                    tests.insert(below);
                }
                _ => (),
            }
        }
        match item {
            Item::Impl(block) => block.items.retain(|item| match item {
                ImplItem::Fn(function) => !self::for_tests(&function.attrs),
                _ => true,
            }),
            Item::Trait(block) => block.items.retain(|item| match item {
                TraitItem::Fn(function) => !self::for_tests(&function.attrs),
                _ => true,
            }),
            _ => (),
        }
        !for_tests
    });
}

fn for_tests(attributes: &[Attribute]) -> bool {
    let cfg_test = |attribute: &Attribute| attribute.parse_args::<syn::Path>().is_ok_and(|path| path.is_ident("test"));
    let mut attributes = attributes.iter();
    attributes
        .any(|attribute| attribute.path().is_ident("test") || attribute.path().is_ident("cfg") && cfg_test(attribute))
}

/// What is written above an item.
fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// Files below the root's folder that are nearer to it than to another root.
fn owned(root: &Path, roots: &[&Path]) -> anyhow::Result<Vec<PathBuf>> {
    let folder = |root: &Path| root.parent().unwrap_or(Path::new("")).to_owned();
    let own = folder(root);
    let first = roots.iter().find(|other| folder(other) == own) == Some(&root);
    if !first {
        // A program beside the library: its modules are the library's.
        return Ok(vec![root.to_owned()]);
    }
    let nearer = |file: &Path| {
        roots.iter().any(|other| {
            let other_folder = folder(other);
            *other == file && *other != root
                || other_folder != own && other_folder.starts_with(&own) && file.starts_with(&other_folder)
        })
    };
    let mut files = Vec::new();
    rust_files(&own, &mut files)?;
    files.retain(|file| !nearer(file));
    Ok(files)
}

/// All `.rs` files below a folder.
fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    files(folder, &mut |file| {
        if file.extension().is_some_and(|extension| extension == "rs") {
            found.push(file);
        }
    })
}

/// Each file below a folder; `target` folders are left out.
pub(crate) fn files(folder: &Path, each: &mut dyn FnMut(PathBuf)) -> anyhow::Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))?;
    for entry in entries {
        let path = entry.with_context(|| format!("list {}", folder.display()))?.path();
        if !path.is_dir() {
            each(path);
        } else if path.file_name().is_some_and(|name| name != "target") {
            files(&path, each)?;
        }
    }
    Ok(())
}

/// `src/a/b.rs` and `src/a/b/mod.rs` are both `a::b`.
fn module_path(file: &Path, root: &Path) -> Vec<String> {
    if file == root {
        return Vec::new();
    }
    let below = root.parent().and_then(|folder| file.strip_prefix(folder).ok()).unwrap_or(file);
    let mut names: Vec<String> =
        below.with_extension("").components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
    if names.last().is_some_and(|name| name == "mod") {
        names.pop();
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_dropped_with_their_files() {
        let sources = [
            ("lib.rs", vec![], "mod a; #[cfg(test)] mod checks; #[cfg(test)] mod tests { use crate::a; }"),
            ("a.rs", vec!["a"], "pub fn f() {} #[test] fn g() {}"),
            ("checks/mod.rs", vec!["checks"], "mod more;"),
            ("checks/more.rs", vec!["checks", "more"], ""),
        ];
        let sources = sources.map(|(file, path, text)| {
            (PathBuf::from(file), path.into_iter().map(str::to_owned).collect(), text.to_owned())
        });
        let tree = tree("x", sources.to_vec()).unwrap();
        let files: Vec<_> = tree.modules.iter().map(|module| module.file.to_str().unwrap()).collect();
        assert_eq!(files, ["lib.rs", "a.rs"]);
        assert_eq!(tree.modules[0].syntax.items.len(), 1, "only `mod a;` is left");
        assert_eq!(tree.modules[1].syntax.items.len(), 1);
    }

    #[test]
    fn files_have_their_modules_names() {
        let path = |file: &str| module_path(Path::new(file), Path::new("/c/src/lib.rs")).join("::");
        assert_eq!(path("/c/src/lib.rs"), "");
        assert_eq!(path("/c/src/a/b.rs"), "a::b");
        assert_eq!(path("/c/src/a/mod.rs"), "a");
    }
}
