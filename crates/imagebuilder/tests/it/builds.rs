//! What gets into an image, and that the same goes in twice.

use std::fs;
use std::os::unix::fs::MetadataExt;

use imagebuilder::Phase;

use crate::source::{Deb, Yard, build, listing, packages};

const BASE: &str = r#"
name = "base"
version = "1"
[packages]
debian = ["shell"]
[[symlink]]
path = "/var/run"
target = "/run"
[[directory]]
path = "/tmp"
mode = "1777"
"#;

const SERVICE: &str = r#"
name = "group/service"
version = "7"
base = "base"
entrypoint = ["/usr/lib/start"]
[packages]
debian = ["program"]
[debian]
omit = ["tool"]
exclude = ["/usr/share/none"]
[user]
name = "me"
uid = 1234
gid = 1235
home = "/data"
[[directory]]
path = "/data"
mode = "0700"
owner = "user"
[[directory]]
path = "/tmp/mine"
owner = "user"
[[file]]
from = "start"
to = "/usr/lib/start"
mode = "0755"
[[join]]
to = "/etc/all.crt"
from = "/etc/parts"
suffix = ".crt"
[label]
description = "a service"
options = ["a=b"]
ports = [{ name = "http", port = 8080 }]
volumes = [{ name = "data", path = "/data", size = "1Gi" }]
"#;

fn yard() -> Yard {
    let yard = Yard::new(&packages());
    yard.recipe("base", BASE, &[]);
    yard.recipe("group/service", SERVICE, &[("start", "#!/bin/sh\n")]);
    yard
}

#[test]
fn what_is_in_the_layers() {
    let yard = yard();
    let built = yard.build("group/service").unwrap();
    assert_eq!(
        listing(&yard.path("catalog/base")),
        [
            "bin -> usr/bin",
            "etc/ 755 0:0",
            "etc/group 644 0:0",
            "etc/passwd 644 0:0",
            "tmp/ 1777 0:0",
            "usr/ 755 0:0",
            "usr/bin/ 755 0:0",
            "usr/bin/sh 644 0:0",
            "usr/share/ 755 0:0",
            "usr/share/doc/ 755 0:0",
            "usr/share/doc/shell/ 755 0:0",
            "usr/share/doc/shell/copyright 644 0:0",
            "var/ 755 0:0",
            "var/run -> /run",
        ]
    );
    // Not again what the base has; below its link; without the omitted tool.
    assert_eq!(
        listing(&built.layout),
        [
            "data/ 700 1234:1235",
            "etc/all.crt 644 0:0",
            "etc/group 644 0:0",
            "etc/parts/ 755 0:0",
            "etc/parts/a.crt 644 0:0",
            "etc/parts/b.crt 644 0:0",
            "etc/passwd 644 0:0",
            "run/ 755 0:0",
            "run/program/ 755 0:0",
            "run/program/x 644 0:0",
            "tmp/mine/ 755 1234:1235",
            "usr/bin/program 644 0:0",
            "usr/lib/ 755 0:0",
            "usr/lib/so -> so.1",
            "usr/lib/so.1 644 0:0",
            "usr/lib/start 755 0:0",
        ]
    );
    assert_eq!(built.packages, 3);
    assert_eq!(built.tags, ["7", "latest"]);
}

#[test]
fn the_same_inputs_give_the_same_digest_anywhere() {
    let first = yard();
    let second = yard();
    let a = first.build("group/service").unwrap();
    let b = second.build("group/service").unwrap();
    assert_eq!(a.digest, b.digest);
    let (again, _) = build(&first.config("other"), "group/service").unwrap();
    assert_eq!((again.digest, again.cached), (a.digest, false));
}

#[test]
fn a_second_build_finds_the_first_and_reads_no_package() {
    let yard = yard();
    let config = yard.config("catalog");
    let (first, phases) = build(&config, "group/service").unwrap();
    assert_eq!(phases, [Phase::Resolve, Phase::Download, Phase::Unpack, Phase::Write, Phase::Done]);
    let (second, phases) = build(&config, "group/service").unwrap();
    assert!(second.cached && !first.cached);
    assert_eq!(phases, [Phase::Resolve, Phase::Done]);
    assert_eq!(first.digest, second.digest);
}

#[test]
fn a_change_of_any_input_makes_another_image() {
    let yard = yard();
    let mut digests = vec![yard.build("group/service").unwrap().digest];
    yard.recipe("group/service", SERVICE, &[("start", "#!/bin/dash\n")]);
    digests.push(yard.build("group/service").unwrap().digest);
    yard.recipe("base", &BASE.replace("1777", "1755"), &[]);
    digests.push(yard.build("group/service").unwrap().digest);
    let mut config = yard.config("catalog");
    config.source_date_epoch = Some(1_600_000_000);
    digests.push(build(&config, "group/service").unwrap().0.digest);
    digests.dedup();
    assert_eq!(digests.len(), 4);
}

#[test]
fn outdated_lists_are_updated() {
    let yard = yard();
    let first = yard.build("base").unwrap();
    yard.publish(&[Deb { name: "shell", version: "2", depends: "", files: &[("bin/sh", "#!2")] }]);
    // The machine's list still promises version 1, which is gone.
    fs::remove_file(yard.path("source/shell_1_all.deb")).unwrap();
    let unchanged = yard.build("base").unwrap();
    assert!(unchanged.cached, "nothing is fetched for an image that is there");
    fs::remove_dir_all(yard.path("cache")).unwrap();
    fs::remove_dir_all(yard.path("catalog")).unwrap();
    let second = yard.build("base").unwrap();
    assert_ne!(first.digest, second.digest);
    assert!(yard.path("cache/archives/shell_2_all.deb").exists());
}

#[test]
fn a_spoilt_package_in_the_cache_is_fetched_again() {
    let yard = yard();
    let first = yard.build("base").unwrap();
    let archive = yard.path("cache/archives/shell_1_all.deb");
    fs::write(&archive, "spoilt").unwrap();
    let (again, _) = build(&yard.config("other"), "base").unwrap();
    assert_eq!(again.digest, first.digest);
}

#[test]
fn layers_of_the_base_are_the_same_file() {
    let yard = yard();
    yard.build("group/service").unwrap();
    let blobs = |name: &str| -> Vec<u64> {
        let folder = yard.path("catalog").join(name).join("blobs/sha256");
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().metadata().unwrap().ino()).collect()
    };
    let (base, service) = (blobs("base"), blobs("group/service"));
    assert_eq!(base.iter().filter(|inode| service.contains(inode)).count(), 1);
}
