//! Recipes: the ones of the Dockyard parse, and what is wrong with others is named.

use std::path::Path;

use dockyard::{Recipe, RecipeError, Surface};

const MINIMAL: &str = "name = \"a\"\nversion = \"1\"\n";

fn key_of(more: &str) -> String {
    match Recipe::parse(&format!("{MINIMAL}{more}")) {
        Err(RecipeError::Invalid { key, .. }) => key,
        other => panic!("{more:?} gave {other:?}"),
    }
}

#[test]
fn every_recipe_of_the_dockyard_is_valid() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../dockyard");
    for name in
        ["base", "mariadb", "wordpress", "redis", "postgresql", "nginx", "diagnostics/loopback", "diagnostics/visits"]
    {
        let text = std::fs::read_to_string(root.join(name).join(dockyard::RECIPE_FILE)).unwrap();
        let recipe = Recipe::parse(&text).unwrap_or_else(|error| {
            panic!("{name}: {error}: {:?}", std::error::Error::source(&error).map(ToString::to_string))
        });
        assert_eq!(recipe.name, name);
        let (uid, _) = recipe.run_as();
        assert_ne!(uid, 0, "{name} runs as root");
    }
}

/// Images made by Nix carry labels that mean the same as ours (`nix/ci/golden/labels.json`).
#[test]
fn labels_made_by_nix_mean_the_same() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let text = std::fs::read_to_string(root.join("nix/ci/golden/labels.json")).unwrap();
    let golden: std::collections::BTreeMap<String, std::collections::BTreeMap<String, String>> =
        serde_json::from_str(&text).unwrap();
    assert!(golden.contains_key("redis"));
    for (name, labels) in golden {
        let recipe = root.join("dockyard").join(&name).join(dockyard::RECIPE_FILE);
        let recipe = Recipe::parse(&std::fs::read_to_string(recipe).unwrap()).unwrap();
        assert_eq!(labels["org.opencontainers.image.title"], recipe.name);
        assert_eq!(labels["org.opencontainers.image.version"], recipe.version);
        let Some(made_by_nix) = labels.get(dockyard::LABEL) else {
            assert!(recipe.label.is_none(), "{name}");
            continue;
        };
        let ours = recipe.surface().unwrap().to_label();
        assert_eq!(Surface::parse(made_by_nix).unwrap().to_label(), ours, "{name}");
    }
}

#[test]
fn defaults() {
    let recipe = Recipe::parse(MINIMAL).unwrap();
    assert_eq!((recipe.working_dir.as_str(), recipe.stop_signal.as_str()), ("/", "SIGTERM"));
    assert_eq!(recipe.run_as(), (65534, 65534));
}

#[test]
fn mistakes_are_named_by_their_key() {
    for (more, key) in [
        ("[packages]\ndebian = [\"Bad\"]", "packages.debian[0]"),
        ("[packages]\ndebian = [\"perl\"]\n[debian]\nomit = [\"perl\"]", "debian.omit[0]"),
        ("[debian]\nexclude = [\"usr\"]", "debian.exclude[0]"),
        ("[packages]\nnix = [\"9lives\"]", "packages.nix[0]"),
        ("[nix.links]\n\"usr\" = \"redis:bin\"", "nix.links.usr"),
        ("[nix.links]\n\"/usr/x\" = \"redis\"", "nix.links./usr/x"),
        ("[user]\nname = \"root\"\nuid = 5\ngid = 5\nhome = \"/x\"", "user.name"),
        ("[user]\nname = \"x\"\nuid = 0\ngid = 5\nhome = \"/x\"", "user.uid"),
        ("[[directory]]\npath = \"/x\"\nowner = \"user\"", "user"),
        ("[[directory]]\npath = \"/\"", "directory[0].path"),
        ("[[directory]]\npath = \"/x\"\n[[directory]]\npath = \"/x\"", "directory[1].path"),
        ("[[file]]\nfrom = \"../x\"\nto = \"/x\"", "file[0].from"),
        ("[[file]]\nfrom = \"x\"\nto = \"/a/../x\"", "file[0].to"),
        ("[[symlink]]\npath = \"/x\"\ntarget = \"\"", "symlink[0].target"),
        ("entrypoint = [\"sh\"]", "entrypoint[0]"),
        ("working_dir = \"x\"", "working_dir"),
        ("stop_signal = \"TERM\"", "stop_signal"),
        ("base = \"a\"", "base"),
        ("base = \"A\"", "base"),
        ("[label]\ndescription = \"x\"", "entrypoint"),
        ("[env]\n\"1\" = \"x\"", "env.1"),
    ] {
        assert_eq!(key_of(more), key, "{more}");
    }
    assert!(
        matches!(Recipe::parse("name = \"a\"\nversion = \"latest\""), Err(RecipeError::Invalid { key, .. }) if key == "version")
    );
}

#[test]
fn unknown_keys_and_wrong_modes_show_their_line() {
    for (more, said) in [
        ("colour = \"red\"", "colour"),
        ("[[file]]\nfrom = \"x\"\nto = \"/x\"\nmode = \"4755\"", "4755"),
        ("[[file]]\nfrom = \"x\"\nto = \"/x\"\nmode = \"rwx\"", "rwx"),
    ] {
        let error = Recipe::parse(&format!("{MINIMAL}{more}")).unwrap_err();
        let RecipeError::Syntax(source) = error else { panic!("{more}: {error:?}") };
        assert!(source.to_string().contains(said), "{source}");
        assert!(source.to_string().contains("line"), "{source}");
    }
}

#[test]
fn the_label_is_checked_with_the_recipe() {
    let error =
        Recipe::parse(&format!("{MINIMAL}entrypoint = [\"/x\"]\n[label]\noptions = [\"a=${{b}}\"]")).unwrap_err();
    let RecipeError::Label(source) = error else { panic!("{error:?}") };
    assert_eq!((source.path.as_str(), source.column()), ("options[0]", Some(3)));
}
