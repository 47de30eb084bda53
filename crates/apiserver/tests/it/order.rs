//! Strategic merge patches against kubectl's own library, by random patches.

use std::process::Stdio;

use serde_json::{Map, Value, json};
use tokio::{io::AsyncWriteExt, process::Command};

use crate::server::{self, Server, ask};

const SETS: &str = "/apis/apps/v1/namespaces/default/statefulsets";
/// How many patches are compared; each takes a kubectl.
const ROUNDS: u64 = 60;

/// Random numbers that are the same in each run (xorshift64*).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(high).unwrap() % bound
    }

    fn one_in(&mut self, of: usize) -> bool {
        self.below(of) == 0
    }

    /// Some of the letters, in any order.
    fn some(&mut self, letters: &str, most: usize) -> Vec<String> {
        let mut left: Vec<char> = letters.chars().collect();
        let count = self.below(most + 1).min(left.len());
        (0..count).map(|_| left.remove(self.below(left.len())).to_string()).collect()
    }
}

fn named(names: &[String], item: impl Fn(&str) -> Value) -> Value {
    names.iter().map(|name| item(name)).collect()
}

fn env(dice: &mut Dice) -> Value {
    named(&dice.some("ABCDE", 5), |name| json!({"name": name, "value": name}))
}

fn stored(dice: &mut Dice) -> Value {
    let mut containers = named(&dice.some("abcd", 4), |name| json!({"name": name, "image": name}));
    let all = containers.as_array_mut().unwrap();
    all.push(json!({"name": "z", "image": "z"}));
    for container in all {
        container["env"] = env(dice);
    }
    json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet",
        "metadata": {"name": "s", "namespace": "default", "finalizers": named(&dice.some("abcd", 4), |name| json!(format!("f.io/{name}")))},
        "spec": {
            "serviceName": "s", "selector": {"matchLabels": {"app": "x"}},
            "template": {
                "metadata": {"labels": {"app": "x"}},
                "spec": {
                    "containers": containers,
                    "volumes": named(&dice.some("uvw", 3), |name| json!({"name": name, "emptyDir": {}})),
                },
            },
        },
    })
}

/// A list of a patch, its order if that is told, and which items go. New items carry no directives: kubectl's library
/// keeps those as they are.
fn list(
    dice: &mut Dice,
    field: &str,
    known: &[String],
    letters: &str,
    fill: &mut dyn FnMut(&mut Dice, &str, bool) -> Value,
) -> Map<String, Value> {
    let wanted = dice.some(letters, 4);
    let mut items = Vec::new();
    for name in &wanted {
        let is_known = known.contains(name);
        if is_known && name != "z" && dice.one_in(4) {
            items.push(json!({"name": name, "$patch": "delete"}));
        } else {
            items.push(fill(dice, name, is_known));
        }
    }
    let mut fields = Map::new();
    if dice.one_in(2) {
        let mut order: Vec<&String> =
            wanted.iter().zip(&items).filter(|(_, item)| item.get("$patch").is_none()).map(|(name, _)| name).collect();
        for name in known.iter().filter(|name| !wanted.contains(name)) {
            if dice.one_in(2) {
                order.insert(dice.below(order.len() + 1), name);
            }
        }
        // Kubectl's library fails on an order of nothing.
        let order = if order.is_empty() { return Map::from_iter([(field.to_owned(), items.into())]) } else { order };
        fields.insert(format!("$setElementOrder/{field}"), order.iter().map(|name| json!({"name": name})).collect());
    }
    fields.insert(field.to_owned(), items.into());
    fields
}

fn names(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
}

fn patch(dice: &mut Dice, stored: &Value) -> Value {
    let spec = &stored["spec"]["template"]["spec"];
    let containers = list(dice, "containers", &names(&spec["containers"]), "abcdexyz", &mut |dice, name, is_known| {
        let mut item = json!({"name": name, "image": format!("{name}:2")});
        if is_known && dice.one_in(2) {
            let before = spec["containers"].as_array().unwrap().iter().find(|c| c["name"] == name).unwrap();
            let more = list(
                dice,
                "env",
                &names(&before["env"]),
                "ABCDEFG",
                &mut |_, name, _| json!({"name": name, "value": "2"}),
            );
            item.as_object_mut().unwrap().extend(more);
        } else {
            item["env"] = env(dice);
        }
        item
    });
    let volumes = list(
        dice,
        "volumes",
        &names(&spec["volumes"]),
        "uvwxy",
        &mut |_, name, _| json!({"name": name, "emptyDir": {}}),
    );
    let mut meta = Map::new();
    if dice.one_in(2) {
        let finalizers = dice.some("abcdef", 4);
        meta.insert("finalizers".into(), named(&finalizers, |name| json!(format!("f.io/{name}"))));
    }
    let template: Map<String, Value> = containers.into_iter().chain(volumes).collect();
    json!({"metadata": meta, "spec": {"template": {"spec": template}}})
}

async fn by_kubectl(stored: &Value, patch: &Value) -> Value {
    let patch = patch.to_string();
    let mut kubectl = Command::new("kubectl")
        .args(["patch", "--local", "-f", "-", "-o", "json", "--type", "strategic", "-p", &patch])
        .env("KUBECONFIG", "/dev/null")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("kubectl must be in PATH (.ci/run installs it)");
    kubectl.stdin.take().unwrap().write_all(stored.to_string().as_bytes()).await.unwrap();
    let output = kubectl.wait_with_output().await.unwrap();
    assert!(output.status.success(), "{patch}\n{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What is compared: the lists that have an order.
fn lists(set: &Value) -> Value {
    let spec = &set["spec"]["template"]["spec"];
    let containers = spec["containers"].as_array().into_iter().flatten();
    let containers: Vec<_> = containers
        .map(|container| {
            let env = container["env"].as_array().into_iter().flatten();
            let env: Vec<_> = env.map(|item| json!([item["name"], item["value"]])).collect();
            json!([container["name"], container["image"], env])
        })
        .collect();
    let finalizers = set["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
    json!({"containers": containers, "volumes": names(&spec["volumes"]), "finalizers": finalizers})
}

async fn here(server: &Server, stored: &Value, patch: &Value) -> Value {
    ask("POST", SETS).json(stored).send(server).await.expect(201);
    let path = format!("{SETS}/s");
    let patched = ask("PATCH", &path).typed("application/strategic-merge-patch+json", patch).send(server).await;
    let patched = patched.expect(200).body;
    let none = json!({"metadata": {"finalizers": null}});
    ask("PATCH", &path).typed("application/merge-patch+json", &none).send(server).await.expect(200);
    ask("DELETE", &path).send(server).await.expect(200);
    patched
}

#[tokio::test]
async fn strategic_patches_order_lists_as_kubectl_does() {
    let server = server::start().await;
    for round in 1..=ROUNDS {
        let mut dice = Dice(round.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let stored = stored(&mut dice);
        let patch = patch(&mut dice, &stored);
        let (theirs, ours) = tokio::join!(by_kubectl(&stored, &patch), here(&server, &stored, &patch));
        assert_eq!(lists(&ours), lists(&theirs), "round {round}\n{}\n{patch}", lists(&stored));
    }
}
