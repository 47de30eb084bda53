//! A package source in a temporary folder, and a place to build in.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use imagebuilder::{AptConfig, BuildConfig, Built, Error, Phase, RecipeFolder};
use sha2::{Digest, Sha256};

/// Time of the files in the packages.
pub(crate) const TIME: i64 = 1_700_000_000;

/// A package in the making.
pub(crate) struct Deb<'a> {
    pub(crate) name: &'a str,
    pub(crate) version: &'a str,
    pub(crate) depends: &'a str,
    /// Path and contents; contents `-> x` make a link.
    pub(crate) files: &'a [(&'a str, &'a str)],
}

/// A folder with packages, recipes and a catalog.
pub(crate) struct Yard {
    folder: tempfile::TempDir,
}

impl Yard {
    pub(crate) fn new(packages: &[Deb<'_>]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let yard = Self { folder };
        for name in ["source", "lists/partial", "recipes", "etc"] {
            fs::create_dir_all(yard.path(name)).unwrap();
        }
        let line = format!("deb [trusted=yes] copy:{} ./\n", yard.path("source").display());
        fs::write(yard.path("etc/sources.list"), line).unwrap();
        yard.publish(packages);
        yard
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Makes the packages and their list, instead of earlier ones.
    pub(crate) fn publish(&self, packages: &[Deb<'_>]) {
        let mut list = String::new();
        for package in packages {
            let file = self.pack(package);
            let bytes = fs::read(self.path("source").join(&file)).unwrap();
            list += &format!(
                "Package: {}\nVersion: {}\nArchitecture: all\nMaintainer: none\nFilename: ./{file}\nSize: {}\nSHA256: {}\n",
                package.name,
                package.version,
                bytes.len(),
                hex::encode(Sha256::digest(&bytes)),
            );
            if !package.depends.is_empty() {
                list += &format!("Depends: {}\n", package.depends);
            }
            list += "Description: test\n\n";
        }
        fs::write(self.path("source/Packages"), list).unwrap();
    }

    fn pack(&self, package: &Deb<'_>) -> String {
        let root = self.path("pack").join(package.name);
        for (path, contents) in package.files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            match contents.strip_prefix("-> ") {
                Some(target) => std::os::unix::fs::symlink(target, &path).unwrap(),
                None => fs::write(&path, contents).unwrap(),
            }
        }
        fs::create_dir_all(root.join("DEBIAN")).unwrap();
        let control = format!(
            "Package: {}\nVersion: {}\nArchitecture: all\nMaintainer: none\nDescription: test\n",
            package.name, package.version
        );
        fs::write(root.join("DEBIAN/control"), control).unwrap();
        for entry in walkdir::WalkDir::new(&root) {
            let entry = entry.unwrap();
            if entry.file_type().is_dir() {
                fs::set_permissions(entry.path(), fs::Permissions::from_mode(0o755)).unwrap();
            }
        }
        let file = format!("{}_{}_all.deb", package.name, package.version);
        run(Command::new("dpkg-deb")
            .args(["--root-owner-group", "-Zgzip", "--build"])
            .arg(&root)
            .arg(self.path("source").join(&file))
            // Newer times are limited to this one.
            .env("SOURCE_DATE_EPOCH", TIME.to_string()));
        fs::remove_dir_all(root).unwrap();
        file
    }

    /// Writes a recipe and its files.
    pub(crate) fn recipe(&self, name: &str, text: &str, files: &[(&str, &str)]) {
        let folder = self.path("recipes").join(name);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("recipe.toml"), text).unwrap();
        for (file, contents) in files {
            fs::write(folder.join(file), contents).unwrap();
        }
    }

    pub(crate) fn config(&self, catalog: &str) -> BuildConfig {
        BuildConfig {
            recipes: self.path("recipes"),
            catalog: self.path(catalog),
            cache: self.path("cache"),
            apt: AptConfig {
                lists: self.path("lists"),
                options: vec![
                    format!("Dir::Etc::sourcelist={}", self.path("etc/sources.list").display()),
                    "Dir::Etc::sourceparts=-".to_owned(),
                ],
                ..AptConfig::default()
            },
            source_date_epoch: None,
        }
    }

    pub(crate) fn build(&self, name: &str) -> Result<Built, Error> {
        build(&self.config("catalog"), name).map(|(built, _)| built)
    }
}

/// Builds, and tells which phases of the named image were reported.
pub(crate) fn build(config: &BuildConfig, name: &str) -> Result<(Built, Vec<Phase>), Error> {
    let folder = RecipeFolder::load(&config.recipes, name)?;
    let mut phases = Vec::new();
    let built = imagebuilder::build(&folder, config, &mut |progress| {
        if progress.image == name && phases.last() != Some(&progress.phase) {
            phases.push(progress.phase);
        }
        assert!(progress.done <= progress.total || progress.total == 0);
    })?;
    Ok((built, phases))
}

/// Runs a command that must succeed, and gives what it said.
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A shell, a library and a program that needs both.
pub(crate) fn packages<'a>() -> Vec<Deb<'a>> {
    vec![
        Deb {
            name: "shell",
            version: "1",
            depends: "",
            files: &[("bin/sh", "#!"), ("usr/share/doc/shell/copyright", "free"), ("usr/share/man/man1/sh.1", "x")],
        },
        Deb { name: "library", version: "2", depends: "tool", files: &[("lib/so.1", "code"), ("lib/so", "-> so.1")] },
        Deb { name: "tool", version: "3", depends: "", files: &[("usr/sbin/tool", "x")] },
        Deb {
            name: "program",
            version: "4",
            depends: "shell, library",
            files: &[
                ("usr/bin/program", "run"),
                ("var/run/program/x", "x"),
                ("etc/parts/b.crt", "B\n"),
                ("etc/parts/a.crt", "A\n"),
            ],
        },
    ]
}

/// Paths and kinds in the last layer of an image.
pub(crate) fn listing(layout: &Path) -> Vec<String> {
    let document = |digest: &str| -> serde_json::Value {
        let path = layout.join("blobs").join(digest.replace(':', "/"));
        serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
    };
    let index: serde_json::Value = serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap();
    let manifest = document(index["manifests"][0]["digest"].as_str().unwrap());
    let layer = manifest["layers"].as_array().unwrap().last().unwrap()["digest"].as_str().unwrap().to_owned();
    let file = fs::File::open(layout.join("blobs").join(layer.replace(':', "/"))).unwrap();
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(file));
    let entries = archive.entries().unwrap().map(|entry| {
        let entry = entry.unwrap();
        let header = entry.header();
        assert!(header.mtime().unwrap() <= TIME.unsigned_abs(), "{:?}", entry.path());
        let owner = format!("{}:{}", header.uid().unwrap(), header.gid().unwrap());
        let path = entry.path().unwrap().display().to_string();
        match entry.link_name().unwrap() {
            Some(target) => format!("{path} -> {}", target.display()),
            None => format!("{path} {:o} {owner}", header.mode().unwrap()),
        }
    });
    entries.collect()
}
