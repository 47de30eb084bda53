//! A fact is written once: names, reasons and kinds have a home each, and other files use them from there.
//!
//! What only tests see is not looked at: a test that repeats a literal checks it.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use proc_macro2::{Delimiter, TokenStream, TokenTree};
use quote::ToTokens;
use syn::{
    Ident, Item, Visibility,
    visit::{self, Visit},
};

use crate::{
    metadata,
    source::{self, Module},
};

/// Lines of one file of code.
const LINES: usize = 600;

/// Tokens that may stand in the named files only. `"` is any text, and `0` any number.
struct Rule {
    tokens: &'static str,
    within: &'static str,
    home: &'static str,
    instead: &'static str,
}

impl Rule {
    fn covers(&self, file: &Path) -> bool {
        file.starts_with(self.within) && !file.starts_with(self.home)
    }
}

const RULES: &[Rule] = &[
    Rule {
        tokens: "kind . kind ( ) = =",
        within: "crates/apiserver/",
        home: "crates/apiserver/src/strategies/",
        instead: "ask the kind's strategy (apiserver/src/strategies)",
    },
    Rule {
        tokens: "kind . kind ( ) ! =",
        within: "crates/apiserver/",
        home: "crates/apiserver/src/strategies/",
        instead: "ask the kind's strategy (apiserver/src/strategies)",
    },
    Rule {
        tokens: "kind . kind ( ) {",
        within: "crates/apiserver/",
        home: "crates/apiserver/src/strategies/",
        instead: "ask the kind's strategy (apiserver/src/strategies)",
    },
    Rule {
        tokens: "reason = = \"",
        within: "crates/",
        home: "crates/api/src/reason.rs",
        instead: "compare with api::Reason",
    },
    Rule {
        tokens: "reason ( ) = = \"",
        within: "crates/",
        home: "crates/api/src/reason.rs",
        instead: "compare with api::Reason",
    },
    Rule {
        tokens: "ApiError : : new ( 0",
        within: "crates/",
        home: "crates/api/src/reason.rs",
        instead: "give a variant of api::Reason",
    },
    Rule {
        tokens: "Failure : : new ( 0",
        within: "crates/",
        home: "crates/api/src/reason.rs",
        instead: "give a variant of api::Reason",
    },
    Rule {
        tokens: "thread : : sleep",
        within: "crates/",
        home: "crates/runtime/src/process.rs",
        instead: "wait for an event, or use tokio::time::sleep",
    },
];

/// Texts of the API (annotations, labels, finalizers, managers, groups) and where they are written.
const NAMES: Rule = Rule {
    tokens: "nanocloud.io/",
    within: "crates/",
    home: "crates/api/src/names.rs",
    instead: "add a constant to api/src/names.rs and use it",
};

/// Files with a text that looks like one and is in no object: the version of a fleet's document, the issuer of tokens.
const NO_NAMES: &[&str] = &["crates/fleet/src/document.rs", "crates/trust/src/assets/mod.rs"];

/// Names that nothing public has, since the field has a word for it: where, the name, the field's word.
const PRIVATE_WORDS: &[(&str, &str, &str)] = &[
    ("crates/", "Ages", "RevisionTimes"),
    ("crates/apiserver/", "Call", "RequestContext"),
    ("crates/apiserver/", "Failure", "ApiError"),
    ("crates/apiserver/", "Outcome", "Result"),
    ("crates/etcd/", "Answers", "ResponseStream"),
    ("crates/", "Birth", "InitProcess"),
    ("crates/", "Door", "Listener"),
    ("crates/", "External", "EtcdBackend"),
    ("crates/", "Face", "EtcdServer"),
    ("crates/", "Luck", "Fault"),
    ("crates/", "Way", "WritePath"),
    ("crates/", "Wish", "DesiredObject"),
    ("crates/", "Wreck", "DamagedTables"),
    ("crates/", "be_born", "run_init"),
    ("crates/", "born_with", "clone_flags"),
    ("crates/", "patiently", "retry_until_ok"),
];

/// Fails with every finding.
pub(crate) fn check() -> anyhow::Result<()> {
    let metadata = metadata::read(&["--no-deps"])?;
    let mut found = Vec::new();
    for tree in source::trees(&metadata)? {
        for module in tree.modules.iter().filter(|module| !module.file.starts_with("crates/xtask")) {
            found.extend(module_findings(module));
        }
    }
    let mut files = Vec::new();
    for folder in ["crates", "scripts", "nix", "packaging"] {
        code_files(&metadata.workspace_root.join(folder), &mut files)?;
    }
    for file in &files {
        let shown = file.strip_prefix(&metadata.workspace_root).unwrap_or(file);
        let text = fs::read_to_string(file).with_context(|| format!("read {}", shown.display()))?;
        found.extend(file_findings(shown, &text));
    }
    if !found.is_empty() {
        bail!("{} facts have a second home:\n  {}", found.len(), found.join("\n  "));
    }
    println!("words: {} files", files.len());
    Ok(())
}

/// What is wrong with a file as text.
fn file_findings(file: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let lines = text.lines().count();
    if lines > LINES {
        found.push(format!("{}: {lines} lines, more than {LINES}: split it by concept", file.display()));
    }
    if file.extension().is_some_and(|extension| extension == "rs") {
        for (index, line) in text.lines().enumerate() {
            if line.trim_start().starts_with("#[path") {
                found.push(format!("{}:{}: #[path]: put the file where its module says", file.display(), index + 1));
            }
        }
    }
    found
}

/// What is wrong with the code of a file.
fn module_findings(module: &Module) -> Vec<String> {
    let mut tokens = Vec::new();
    flatten(module.syntax.to_token_stream(), &mut tokens);
    let mut found = Vec::new();
    for rule in RULES.iter().filter(|rule| rule.covers(&module.file)) {
        let wanted: Vec<&str> = rule.tokens.split(' ').collect();
        let here = tokens
            .windows(wanted.len())
            .filter(|window| window.iter().zip(&wanted).all(|(token, want)| token.is(want)));
        found.extend(here.map(|window| (window[0].line, format!("`{}`: {}", spaced(window), rule.instead))));
    }
    if NAMES.covers(&module.file) && !NO_NAMES.iter().any(|file| module.file == Path::new(file)) {
        let texts = tokens
            .iter()
            .filter(|token| token.text.strip_prefix('"').is_some_and(|text| text.starts_with(NAMES.tokens)));
        found.extend(texts.map(|token| (token.line, format!("`{}`: {}", token.text, NAMES.instead))));
    }
    let mut names = PublicNames::default();
    names.visit_file(&module.syntax);
    for (name, line) in names.0 {
        let private = PRIVATE_WORDS.iter().find(|(within, word, _)| *word == name && module.file.starts_with(within));
        found.extend(private.map(|(_, word, better)| (line, format!("{word}: the field says {better}"))));
    }
    let found: BTreeSet<(usize, String)> = found.into_iter().collect();
    found.into_iter().map(|(line, what)| format!("{}:{line}: {what}", module.file.display())).collect()
}

struct Token {
    text: String,
    line: usize,
}

impl Token {
    fn is(&self, wanted: &str) -> bool {
        match wanted {
            "\"" => self.text.starts_with('"'),
            "0" => self.text.starts_with(|first: char| first.is_ascii_digit()),
            wanted => self.text == wanted,
        }
    }
}

fn spaced(tokens: &[Token]) -> String {
    tokens.iter().map(|token| token.text.as_str()).collect::<Vec<_>>().join(" ")
}

/// All tokens in a row, without documentation.
fn flatten(stream: TokenStream, tokens: &mut Vec<Token>) {
    for token in stream {
        let line = token.span().start().line;
        match token {
            TokenTree::Group(group) => {
                if group.delimiter() == Delimiter::Bracket && is_documentation(&group.stream()) {
                    continue;
                }
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::None => ("", ""),
                };
                tokens.push(Token { text: open.into(), line });
                flatten(group.stream(), tokens);
                tokens.push(Token { text: close.into(), line });
            }
            other => tokens.push(Token { text: other.to_string(), line }),
        }
    }
}

fn is_documentation(stream: &TokenStream) -> bool {
    let first = stream.clone().into_iter().next();
    matches!(first, Some(TokenTree::Ident(ident)) if ident == "doc")
}

/// Names of items that other files can see, with their lines.
#[derive(Default)]
struct PublicNames(Vec<(String, usize)>);

impl PublicNames {
    fn note(&mut self, visibility: &Visibility, name: &Ident) {
        if !matches!(visibility, Visibility::Inherited) {
            self.0.push((name.to_string(), name.span().start().line));
        }
    }
}

impl<'ast> Visit<'ast> for PublicNames {
    fn visit_item(&mut self, item: &'ast Item) {
        match item {
            Item::Enum(item) => self.note(&item.vis, &item.ident),
            Item::Fn(item) => self.note(&item.vis, &item.sig.ident),
            Item::Struct(item) => self.note(&item.vis, &item.ident),
            Item::Trait(item) => self.note(&item.vis, &item.ident),
            Item::Type(item) => self.note(&item.vis, &item.ident),
            _ => (),
        }
        visit::visit_item(self, item);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.note(&function.vis, &function.sig.ident);
    }
}

/// Files of code below a folder: Rust, Python, Nix and scripts.
fn code_files(folder: &Path, found: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    source::files(folder, &mut |file| match file.extension().and_then(|extension| extension.to_str()) {
        Some("rs" | "py" | "nix" | "sh") => found.push(file),
        None if fs::read(&file).is_ok_and(|bytes| bytes.starts_with(b"#!")) => found.push(file),
        _ => (),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(file: &str, text: &str) -> Vec<String> {
        let tree = source::tree("x", vec![(file.into(), vec![], text.into())]).unwrap();
        tree.modules.iter().flat_map(module_findings).collect()
    }

    /// Each fault is found once in an ordinary file, and not where it belongs.
    #[test]
    fn every_rule_finds_its_fault() {
        let faults = [
            ("crates/api/src/names.rs", "const L: &str = \"nanocloud.io/x\";"),
            ("crates/apiserver/src/strategies/pod.rs", "fn f() -> bool { kind.kind() == \"Pod\" }"),
            ("crates/apiserver/src/strategies/pod.rs", "fn f() -> bool { call.kind.kind() != \"Pod\" }"),
            ("crates/apiserver/src/strategies/pod.rs", "fn f() { match self.kind.kind() { _ => () } }"),
            ("crates/api/src/reason.rs", "fn f() -> bool { status.reason == \"Gone\" }"),
            ("crates/api/src/reason.rs", "fn f() -> bool { error.reason() == \"Gone\" }"),
            ("crates/api/src/reason.rs", "fn f() { ApiError::new(404, text) }"),
            ("crates/api/src/reason.rs", "fn f() { Failure::new(404, text) }"),
            ("crates/runtime/src/process.rs", "fn f() { std::thread::sleep(second) }"),
        ];
        for (home, fault) in faults {
            let found = findings("crates/apiserver/src/route.rs", fault);
            assert_eq!(found.len(), 1, "{fault}: {found:?}");
            assert!(found[0].starts_with("crates/apiserver/src/route.rs:1: "), "{found:?}");
            assert_eq!(findings(home, fault), [""; 0], "{fault}");
            let in_tests = format!("#[cfg(test)] mod tests {{ {fault} }}");
            assert_eq!(findings("crates/apiserver/src/route.rs", &in_tests), [""; 0]);
        }
        assert_eq!(RULES.len() + 1, faults.len(), "a fault for each rule");
    }

    #[test]
    fn documentation_and_what_is_compared_by_type_are_no_faults() {
        let text = "/// Of `nanocloud.io/x`.\nfn f() -> bool { reason == Reason::Gone && ApiError::new(Reason::Gone) }";
        assert_eq!(findings("crates/net/src/link.rs", text), [""; 0]);
    }

    #[test]
    fn private_words_are_found_in_what_others_see() {
        let found = findings(
            "crates/net/src/link.rs",
            "struct Luck;\npub(crate) struct Birth;\nimpl Luck { pub fn be_born() {} }",
        );
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].contains(":2: Birth: the field says InitProcess"), "{found:?}");
    }

    #[test]
    fn long_files_and_paths_of_modules_are_found() {
        let long = "x\n".repeat(LINES + 1);
        assert_eq!(file_findings(Path::new("scripts/bench"), &long).len(), 1);
        assert!(file_findings(Path::new("scripts/bench"), &long[2..]).is_empty());
        assert_eq!(file_findings(Path::new("a.rs"), "mod a;\n#[path = \"c.rs\"]\nmod b;\n").len(), 1);
    }
}
