//! No two files of a crate import each other, directly or by way of others.
//!
//! An import is a name of another file that code uses. Re-exports are transparent: who names `shape::Square`, which
//! `shape/mod.rs` takes from `shape/square.rs`, imports the latter; so a `mod.rs` that only shows what is below it
//! imports nothing.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::bail;
use proc_macro2::{TokenStream, TokenTree};
use syn::{
    Attribute, Item, ItemMod, ItemUse, Macro, UseTree, Visibility,
    visit::{self, Visit},
};

use crate::{metadata, source, source::Tree};

/// Fails with every circle of the workspace's crates.
pub(crate) fn check() -> anyhow::Result<()> {
    let trees = source::trees(&metadata::read(&["--no-deps"])?)?;
    let mut found = Vec::new();
    let mut files = 0;
    for tree in &trees {
        files += tree.modules.len();
        let imports = imports(tree);
        let edges: Vec<BTreeSet<usize>> = imports.iter().map(|imports| imports.keys().copied().collect()).collect();
        found.extend(circles(&edges).iter().map(|circle| shown(tree, &imports, circle)));
    }
    if !found.is_empty() {
        bail!("circles of imports (move what both need into a file below both):\n  {}", found.join("\n  "));
    }
    println!("circles: none in {files} files");
    Ok(())
}

/// A circle with its imports, by the names that are imported.
fn shown(tree: &Tree, imports: &[Imports], circle: &[usize]) -> String {
    let mut text = format!("{}: {} files import each other", tree.name, circle.len());
    for from in circle {
        for (to, names) in imports[*from].iter().filter(|(to, _)| circle.contains(to)) {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let file = |index: &usize| tree.modules[*index].file.display().to_string();
            text += &format!("\n    {} uses {} ({})", file(from), file(to), names.join(", "));
        }
    }
    text
}

/// Names from the root of the crate.
type Path = Vec<String>;

/// The files that a file imports, by their index in the tree, with the names it takes from each.
type Imports = BTreeMap<usize, BTreeSet<String>>;

/// What a scope (a file or a module within one) declares, shows and imports.
#[derive(Default)]
struct Scope {
    file: usize,
    items: BTreeSet<String>,
    /// The name that code uses, and the path behind it, as written.
    names: BTreeMap<String, Path>,
    /// Paths whose names are all taken (`use a::*`).
    globs: Vec<Path>,
}

/// All scopes of a crate.
struct Scopes(BTreeMap<Path, Scope>);

/// What each file of the tree imports.
fn imports(tree: &Tree) -> Vec<Imports> {
    let mut scopes = Scopes(BTreeMap::new());
    for (index, module) in tree.modules.iter().enumerate() {
        scopes.declare(index, &module.path, &module.syntax.items);
    }
    let follow = |(index, module): (usize, &source::Module)| {
        let mut uses = Uses { scopes: &scopes, scope: module.path.clone(), found: Imports::new() };
        uses.visit_file(&module.syntax);
        uses.found.remove(&index);
        uses.found
    };
    tree.modules.iter().enumerate().map(follow).collect()
}

impl Scopes {
    fn declare(&mut self, file: usize, path: &[String], items: &[Item]) {
        let mut scope = Scope { file, ..Scope::default() };
        for item in items {
            match item {
                Item::Use(item) => flatten(&item.tree, &mut Vec::new(), &mut scope),
                Item::Mod(ItemMod { content: Some((_, items)), ident, .. }) => {
                    let below: Path = path.iter().cloned().chain([ident.to_string()]).collect();
                    self.declare(file, &below, items);
                }
                item => scope.items.extend(name(item)),
            }
        }
        self.0.insert(path.to_vec(), scope);
    }

    /// The path from the root that `path` means in a scope; None for another crate's.
    fn absolute(&self, scope: &[String], path: &[String], depth: u8) -> Option<Path> {
        let (first, rest) = path.split_first()?;
        let mut base = match first.as_str() {
            "crate" => Vec::new(),
            "self" => scope.to_vec(),
            "super" => scope.split_last()?.1.to_vec(),
            name => {
                let below: Path = scope.iter().cloned().chain([name.to_owned()]).collect();
                if self.0.contains_key(&below) {
                    below
                } else if let Some(target) = self.0.get(scope).and_then(|scope| scope.names.get(name)) {
                    // A name that means itself (`use serde::Serialize`) is another crate's.
                    (depth > 0 && target.first() != Some(first)).then_some(())?;
                    self.absolute(scope, target, depth - 1)?
                } else if self.0.get(scope)?.items.contains(name) {
                    below
                } else {
                    return None;
                }
            }
        };
        for name in rest {
            match name.as_str() {
                "super" => drop(base.pop()),
                "self" => (),
                name => base.push(name.into()),
            }
        }
        Some(base)
    }

    /// The file that declares what an absolute path names; None for a module as such.
    fn declaring(&self, path: &[String], depth: u8) -> Option<usize> {
        let mut end = path.len();
        while !self.0.contains_key(&path[..end]) {
            end = end.checked_sub(1)?;
        }
        let (base, rest) = path.split_at(end);
        let scope = &self.0[base];
        let Some((name, rest)) = rest.split_first() else {
            // A module, unless its parent also takes an item of that name from elsewhere (a function, say).
            let (own, parent) = path.split_last()?;
            let target = self.0.get(parent)?.names.get(own)?;
            let behind = self.absolute(parent, target, depth.checked_sub(1)?)?;
            return (behind != path).then(|| self.declaring(&behind, depth - 1))?;
        };
        if scope.items.contains(name) || depth == 0 {
            return Some(scope.file);
        }
        if let Some(target) = scope.names.get(name) {
            let mut behind = self.absolute(base, target, depth - 1)?;
            behind.extend_from_slice(rest);
            return self.declaring(&behind, depth - 1);
        }
        let globs = scope.globs.iter().filter_map(|glob| self.absolute(base, glob, depth - 1));
        let shown = globs.filter(|glob| self.0.get(glob).is_some_and(|scope| scope.items.contains(name)));
        shown.map(|glob| self.0[&glob].file).next().or(Some(scope.file))
    }
}

/// How far a chain of re-exports is followed.
const DEPTH: u8 = 8;

/// The name an item declares.
fn name(item: &Item) -> Option<String> {
    let ident = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(ident.to_string())
}

/// Notes each name that a `use` brings.
fn flatten(tree: &UseTree, path: &mut Path, scope: &mut Scope) {
    let mut named = |shown: &syn::Ident, real: &syn::Ident| {
        let mut full = path.clone();
        if real != "self" {
            full.push(real.to_string());
        }
        let shown = if shown == "self" { full.last().cloned().unwrap_or_default() } else { shown.to_string() };
        scope.names.insert(shown, full);
    };
    match tree {
        UseTree::Name(name) => named(&name.ident, &name.ident),
        UseTree::Rename(rename) => named(&rename.rename, &rename.ident),
        UseTree::Glob(_) => scope.globs.push(path.clone()),
        UseTree::Path(step) => {
            path.push(step.ident.to_string());
            flatten(&step.tree, path, scope);
            path.pop();
        }
        UseTree::Group(group) => group.items.iter().for_each(|tree| flatten(tree, path, scope)),
    }
}

/// Collects the files whose names a file uses.
struct Uses<'a> {
    scopes: &'a Scopes,
    scope: Path,
    found: Imports,
}

impl Uses<'_> {
    fn note(&mut self, path: &[String]) {
        let absolute = self.scopes.absolute(&self.scope, path, DEPTH);
        if let Some(file) = absolute.and_then(|path| self.scopes.declaring(&path, DEPTH)) {
            self.found.entry(file).or_default().extend(path.last().cloned());
        }
    }

    /// Paths within a macro's arguments, which are not parsed: names joined by `::`.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Path = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    if colons != 2 && !path.is_empty() {
                        self.note(&std::mem::take(&mut path));
                    }
                    path.push(ident.to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                TokenTree::Group(group) => {
                    self.tokens(group.stream());
                    colons = 0;
                }
                _ => colons = 0,
            }
        }
        if !path.is_empty() {
            self.note(&path);
        }
    }
}

impl<'ast> Visit<'ast> for Uses<'_> {
    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        if module.content.is_some() {
            self.scope.push(module.ident.to_string());
            visit::visit_item_mod(self, module);
            self.scope.pop();
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        if !matches!(item.vis, Visibility::Inherited) {
            return; // A re-export: whoever names it imports the file behind it.
        }
        let mut brought = Scope::default();
        flatten(&item.tree, &mut Vec::new(), &mut brought);
        for path in brought.names.values() {
            self.note(path);
        }
        for glob in &brought.globs {
            let target = self.scopes.absolute(&self.scope, glob, DEPTH);
            if let Some(scope) = target.and_then(|path| self.scopes.0.get(&path)) {
                self.found.entry(scope.file).or_default().insert("*".into());
            }
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Path = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.note(&names);
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        self.visit_path(&call.path);
        self.tokens(call.tokens.clone());
    }

    fn visit_attribute(&mut self, _: &'ast Attribute) {}

    fn visit_visibility(&mut self, _: &'ast Visibility) {}
}

/// Groups of two or more that reach each other (Tarjan's strongly connected components).
fn circles(edges: &[BTreeSet<usize>]) -> Vec<Vec<usize>> {
    let mut walk = Walk { edges, order: vec![None; edges.len()], low: vec![0; edges.len()], ..Walk::default() };
    for node in 0..edges.len() {
        if walk.order[node].is_none() {
            walk.visit(node);
        }
    }
    walk.found
}

#[derive(Default)]
struct Walk<'a> {
    edges: &'a [BTreeSet<usize>],
    order: Vec<Option<usize>>,
    low: Vec<usize>,
    visited: usize,
    open: Vec<usize>,
    found: Vec<Vec<usize>>,
}

impl Walk<'_> {
    fn visit(&mut self, node: usize) {
        let own = self.visited;
        self.visited += 1;
        self.order[node] = Some(own);
        self.low[node] = own;
        self.open.push(node);
        for &next in &self.edges[node] {
            match self.order[next] {
                None => {
                    self.visit(next);
                    self.low[node] = self.low[node].min(self.low[next]);
                }
                Some(order) if self.open.contains(&next) => self.low[node] = self.low[node].min(order),
                Some(_) => (),
            }
        }
        if self.low[node] == own {
            let start = self.open.iter().position(|open| *open == node).unwrap_or(0);
            let mut group = self.open.split_off(start);
            if group.len() > 1 {
                group.sort_unstable();
                self.found.push(group);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files of a crate (module path, text), and the circles among them by module path.
    fn found(files: &[(&str, &str)]) -> Vec<Vec<String>> {
        let sources = files.iter().map(|(path, text)| {
            let names = path.split("::").filter(|name| !name.is_empty()).map(str::to_owned).collect();
            (path.into(), names, (*text).to_owned())
        });
        let tree = source::tree("x", sources.collect()).unwrap();
        let named = |circle: &Vec<usize>| circle.iter().map(|index| tree.modules[*index].path.join("::")).collect();
        let edges: Vec<BTreeSet<usize>> =
            imports(&tree).iter().map(|imports| imports.keys().copied().collect()).collect();
        circles(&edges).iter().map(named).collect()
    }

    #[test]
    fn files_that_import_each_other_are_found() {
        let circle = |a: &str, b: &str| found(&[("", "mod a; mod b;"), ("a", a), ("b", b)]);
        let both = [["a".to_owned(), "b".to_owned()]];
        assert_eq!(circle("use crate::b::F; pub struct E;", "use crate::a::E; pub struct F;"), both);
        assert_eq!(circle("fn e() { crate::b::f() }", "use super::a; fn f() { a::e() }"), both, "without importing");
        assert_eq!(
            circle("fn e() { assert!(super::b::f()) }", "use crate::a::*; fn f() {}"),
            both,
            "in a macro, by glob"
        );
        assert!(circle("use crate::b::F;", "pub struct F;").is_empty());
        assert!(circle("use crate::b;", "pub struct F;\n#[cfg(test)]\nmod tests { use crate::a; }").is_empty());
    }

    #[test]
    fn a_circle_of_three_is_one_circle() {
        let files = [("", ""), ("a", "use crate::b::B; struct A;"), ("b", "use crate::c::C; struct B;")];
        let closed = [&files[..], &[("c", "use crate::a::A; struct C;")]].concat();
        assert_eq!(found(&closed), [["a", "b", "c"]]);
        let open = [&files[..], &[("c", "struct C;")]].concat();
        assert!(found(&open).is_empty());
    }

    #[test]
    fn a_face_of_reexports_is_transparent() {
        let face = ("s", "mod one; mod two; pub use one::One; pub use two::Two;");
        assert!(
            found(&[("", ""), face, ("s::one", "use super::Two; struct One;"), ("s::two", "struct Two;")]).is_empty()
        );
        let closed = found(&[
            ("", ""),
            face,
            ("s::one", "use super::Two; struct One;"),
            ("s::two", "use super::One; struct Two;"),
        ]);
        assert_eq!(closed, [["s::one", "s::two"]]);
    }

    #[test]
    fn a_parent_and_its_child_can_be_a_circle() {
        let parent = ("p", "mod child; pub struct Shared; fn f() { child::g() }");
        assert_eq!(found(&[("", ""), parent, ("p::child", "use super::Shared; fn g() {}")]), [["p", "p::child"]]);
    }
}
