//! Builds that fail say why, and leave the catalog as it was.

use std::fs;

use imagebuilder::{Error, RecipeFolder};

use crate::source::{Deb, Yard, build, packages};

fn recipe(package: &str) -> String {
    format!("name = \"a\"\nversion = \"1\"\n[packages]\ndebian = [\"{package}\"]\n")
}

#[test]
fn an_unknown_package_is_named() {
    let yard = Yard::new(&packages());
    yard.recipe("a", &recipe("programm"), &[]);
    let error = yard.build("a").unwrap_err();
    assert!(matches!(&error, Error::PackageNotFound { recipe, package } if recipe == "a" && package == "programm"));
    assert!(!yard.path("catalog/a").exists(), "nothing half-made is left");
}

#[test]
fn a_missing_tool_says_what_to_install_and_where_else_to_go() {
    let yard = Yard::new(&packages());
    yard.recipe("a", &recipe("program"), &[]);
    let mut config = yard.config("catalog");
    config.apt.apt_get = yard.path("no-apt-get").display().to_string();
    let said = build(&config, "a").unwrap_err().to_string();
    assert!(said.contains("apt-get install apt") && said.contains("Nix"), "{said}");
}

#[test]
fn packages_that_contradict_each_other() {
    let yard = Yard::new(&[
        Deb { name: "one", version: "1", depends: "two", files: &[("bin/x", "1")] },
        Deb { name: "two", version: "1", depends: "", files: &[("usr/bin/x", "2")] },
    ]);
    yard.recipe("a", &recipe("one"), &[]);
    let error = yard.build("a").unwrap_err();
    assert!(matches!(error, Error::Conflict { path, first, second }
        if path.ends_with("usr/bin/x") && first == "one" && second == "two"));
    assert!(!yard.path("catalog/a/index.json").exists());
}

#[test]
fn a_failed_build_keeps_the_image_that_was_there() {
    let yard = Yard::new(&packages());
    yard.recipe("a", &recipe("program"), &[]);
    let first = yard.build("a").unwrap();
    yard.recipe("a", &(recipe("program") + "[[join]]\nto = \"/x\"\nfrom = \"/etc\"\nsuffix = \".none\"\n"), &[]);
    assert!(matches!(yard.build("a").unwrap_err(), Error::EmptyJoin { .. }));
    let index = fs::read_to_string(yard.path("catalog/a/index.json")).unwrap();
    assert!(index.contains(&first.digest));
    let left = fs::read_dir(yard.path("catalog/a/blobs/sha256")).unwrap().count();
    assert_eq!(left, 3, "layer, configuration and manifest of the first image");
}

#[test]
fn bases_in_a_circle() {
    let yard = Yard::new(&[]);
    yard.recipe("a", "name = \"a\"\nversion = \"1\"\nbase = \"b\"\n", &[]);
    yard.recipe("b", "name = \"b\"\nversion = \"1\"\nbase = \"a\"\n", &[]);
    assert!(matches!(yard.build("a").unwrap_err(), Error::Bases(_)));
}

#[test]
fn recipe_folders() {
    let yard = Yard::new(&[]);
    yard.recipe("a", "name = \"b\"\nversion = \"1\"\n", &[]);
    yard.recipe("c/d", "name = \"c/d\"\nversion = \"1\"\n[[file]]\nfrom = \"gone\"\nto = \"/x\"\n", &[]);
    let root = yard.path("recipes");
    assert_eq!(RecipeFolder::names(&root).unwrap(), ["a", "c/d"]);
    assert!(matches!(RecipeFolder::load(&root, "a"), Err(Error::RecipeFolder { .. })));
    assert!(matches!(RecipeFolder::load(&root, "c/d"), Err(Error::ReadRecipe { path, .. }) if path.ends_with("gone")));
}

#[test]
fn a_recipe_or_a_base_that_is_not_there_is_named_with_what_to_do() {
    let yard = Yard::new(&[]);
    yard.recipe("a", "name = \"a\"\nversion = \"1\"\nbase = \"base\"\n", &[]);
    let said = yard.build("a").unwrap_err().to_string();
    let file = yard.path("recipes/base/recipe.toml").display().to_string();
    assert!(said.contains(r#""a" is based on "base""#) && said.contains(&file) && said.contains("copy"), "{said}");
    let said = RecipeFolder::load(&yard.path("recipes"), "none").unwrap_err().to_string();
    assert!(said.contains("none/recipe.toml: name a directory that contains"), "{said}");
}
