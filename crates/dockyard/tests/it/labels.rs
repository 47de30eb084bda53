//! `testdata/ok`: labels that parse; `testdata/bad`: labels that do not, each with what is said about it.

use std::fs;
use std::path::{Path, PathBuf};

use dockyard::Surface;

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(folder);
    let mut found: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    found.sort();
    found
}

#[test]
fn good_labels_parse_and_print_to_themselves() {
    let files = files("ok");
    assert!(!files.is_empty());
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        let surface = Surface::parse(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let printed = surface.to_label();
        let again = Surface::parse(&printed).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(again.to_label(), printed, "{}", path.display());
        assert!(surface.options().eq(again.options()), "{}", path.display());
    }
}

#[test]
fn bad_labels_are_refused_where_they_are_wrong() {
    let files = files("bad");
    assert!(!files.is_empty());
    let mut differing = Vec::new();
    for path in files {
        let error = Surface::parse(&fs::read_to_string(&path).unwrap())
            .map(|_| ())
            .expect_err(&format!("{} is accepted", path.display()));
        let said = format!("{error}\n{}", error.excerpt());
        let expected = fs::read_to_string(path.with_extension("txt")).unwrap_or_default();
        if said.trim_end() != expected.trim_end() {
            differing.push(format!("{}\nsaid:\n{said}\nexpected:\n{expected}", path.display()));
        }
    }
    assert!(differing.is_empty(), "{}", differing.join("\n\n"));
}

#[test]
fn limits_hold() {
    let many: Vec<String> = (0..=dockyard::MAX_OPTIONS).map(|at| format!("\"o{at}=x\"")).collect();
    let label = |options: &[String]| format!("{{\"version\":1,\"options\":[{}]}}", options.join(","));
    assert!(Surface::parse(&label(&many[1..])).is_ok());
    assert!(Surface::parse(&label(&many)).unwrap_err().message.contains("128"));
    let long = format!("{{\"description\":\"{}\"}}", "x".repeat(dockyard::MAX_LABEL_BYTES));
    assert!(Surface::parse(&long).is_err());
    let nested = |depth: usize| {
        let inner = (0..depth).fold("x".to_owned(), |inner, _| format!("(!if a=b {inner} y)"));
        format!("{{\"options\":[\"a=b\",\"c=!if a=b {inner} y\"]}}")
    };
    assert!(Surface::parse(&nested(dockyard::MAX_NESTING)).is_ok());
    assert!(Surface::parse(&nested(dockyard::MAX_NESTING + 1)).is_err());
}
