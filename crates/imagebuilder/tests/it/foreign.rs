//! Other people's tools read what is built.

use std::process::Command;

use serde_json::Value;

use crate::source::{Yard, packages, run};

const RECIPE: &str = r#"
name = "service"
version = "7"
entrypoint = ["/usr/bin/program"]
cmd = ["--help"]
working_dir = "/data"
stop_signal = "SIGINT"
[packages]
debian = ["program"]
[env]
COLOUR = "green"
[user]
name = "me"
uid = 1234
gid = 1235
home = "/data"
[label]
description = "a service"
options = ["a=b|<int> # a number"]
ports = [{ name = "dns", port = 5353, protocol = "UDP" }]
volumes = [{ name = "data", path = "/data", size = "1Gi" }]
"#;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn skopeo_sees_the_configuration() {
    let yard = Yard::new(&packages());
    yard.recipe("service", RECIPE, &[]);
    let built = yard.build("service").unwrap();
    let reference = |tag: &str| format!("oci:{}:{tag}", built.layout.display());
    for tag in ["7", "latest"] {
        let seen = json(&run(Command::new("skopeo").args(["inspect", &reference(tag)])));
        assert_eq!(seen["Digest"], built.digest.as_str());
    }
    let config = json(&run(Command::new("skopeo").args(["inspect", "--config", &reference("latest")])));
    assert_eq!(config["created"], "2023-11-14T22:13:20Z");
    let config = &config["config"];
    assert_eq!(config["User"], "1234:1235");
    assert_eq!(config["ExposedPorts"], json(r#"{"5353/udp": {}}"#));
    assert_eq!(config["Volumes"], json(r#"{"/data": {}}"#));
    assert_eq!(config["Entrypoint"], json(r#"["/usr/bin/program"]"#));
    assert_eq!(config["Cmd"], json(r#"["--help"]"#));
    assert_eq!(config["WorkingDir"], "/data");
    assert_eq!(config["StopSignal"], "SIGINT");
    assert_eq!(config["Env"][1], "COLOUR=green");
    let label = config["Labels"]["io.nanocloud.options"].as_str().unwrap();
    let surface = dockyard::Surface::parse(label).unwrap();
    assert_eq!(surface.option("a").unwrap().allowed(), ["b", "<int>"]);
    let raw = json(&run(Command::new("skopeo").args(["inspect", "--raw", &reference("latest")])));
    let packages = json(raw["annotations"]["io.nanocloud.packages"].as_str().unwrap());
    let names: Vec<&str> =
        packages.as_array().unwrap().iter().map(|package| package["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["library", "program", "shell", "tool"]);
    assert_eq!(packages[0]["sha256"].as_str().unwrap().len(), 64);
}

#[test]
fn umoci_unpacks_it() {
    let yard = Yard::new(&packages());
    yard.recipe("service", RECIPE, &[]);
    let built = yard.build("service").unwrap();
    let bundle = yard.path("bundle");
    run(Command::new("umoci").args(["unpack", "--image", &format!("{}:latest", built.layout.display())]).arg(&bundle));
    let read = |path: &str| std::fs::read_to_string(bundle.join("rootfs").join(path)).unwrap();
    assert_eq!(read("usr/bin/program"), "run");
    assert_eq!(read("lib/so"), "code");
    assert!(read("etc/passwd").contains("me:x:1234:1235:me:/data:"));
    assert!(read("etc/passwd").contains("nobody:x:65534:65534:"));
    assert!(read("etc/group").contains("me:x:1235:"));
}
