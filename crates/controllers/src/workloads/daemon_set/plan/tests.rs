use api::{Resource, decode};
use serde_json::{Value, json};

use super::*;

fn set(update: Value) -> DaemonSet {
    let mut set: DaemonSet = decode(json!({
        "metadata": {"name": "agent", "namespace": "d", "uid": "u", "generation": 1},
        "spec": {"selector": {"matchLabels": {"app": "agent"}}, "updateStrategy": update, "revisionHistoryLimit": 1,
            "template": {"metadata": {"labels": {"app": "agent"}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}}}
    }))
    .unwrap();
    set.apply_defaults();
    set
}

fn node(name: &str, taints: Value) -> Node {
    let status = json!({"conditions": [{"type": "Ready", "status": "True"}]});
    decode(json!({"metadata": {"name": name}, "spec": {"taints": taints}, "status": status})).unwrap()
}

/// A set with its objects; what the plan says happens to them.
struct Game {
    set: DaemonSet,
    pods: Vec<Pod>,
    revisions: Vec<ControllerRevision>,
    nodes: Vec<Node>,
    version: u64,
    /// Fewest pods that were ready at once, and most that there were.
    bounds: (usize, usize),
}

impl Game {
    fn new(set: DaemonSet, nodes: &[&str]) -> Self {
        let nodes = nodes.iter().map(|name| node(name, json!([]))).collect();
        Self { set, pods: Vec::new(), revisions: Vec::new(), nodes, version: 0, bounds: (usize::MAX, 0) }
    }

    /// Carries a plan out; answers what it does to pods.
    fn step(&mut self) -> (usize, Vec<String>) {
        let (steps, _) = plan(&Observed {
            set: self.set.clone(),
            pods: self.pods.clone(),
            revisions: self.revisions.clone(),
            nodes: self.nodes.clone(),
            now: "2026-01-01T00:00:00Z".parse().unwrap(),
        });
        let mut done = Vec::new();
        let count = steps.len();
        for step in steps {
            self.version += 1;
            self.set.metadata.resource_version = Some(self.version.to_string());
            match step {
                Step::Create { kind, object, .. } if kind.kind() == "Pod" => {
                    let pod: Pod = decode(object).unwrap();
                    done.push(format!("+{}", nodes::target(&pod).unwrap()));
                    self.pods.push(pod);
                }
                Step::Create { object, .. } => self.revisions.push(decode(object).unwrap()),
                Step::Delete { kind, key, .. } if kind.kind() == "Pod" => {
                    let at = self.pods.iter().position(|pod| pod.metadata.name.as_ref() == Some(&key.name)).unwrap();
                    done.push(format!("-{}", nodes::target(&self.pods.remove(at)).unwrap()));
                }
                Step::Delete { key, .. } => {
                    self.revisions.retain(|kept| kept.metadata.name.as_ref() != Some(&key.name))
                }
                Step::Replace { key, object, .. } => {
                    let kept: ControllerRevision = decode(object).unwrap();
                    let known = self.revisions.iter_mut().find(|kept| kept.metadata.name.as_ref() == Some(&key.name));
                    *known.unwrap() = kept;
                }
                Step::ReplaceStatus { object, .. } => self.set = decode(object).unwrap(),
                _ => {}
            }
        }
        (count, done)
    }

    /// All pods come up.
    fn run(&mut self) {
        for pod in &mut self.pods {
            let node = nodes::target(pod).map(str::to_owned);
            pod.spec.as_mut().unwrap().node_name = node;
            let status = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]});
            pod.status = serde_json::from_value(status).unwrap();
        }
    }

    fn settle(&mut self) -> Vec<String> {
        let mut done = Vec::new();
        for _ in 0..100 {
            let (count, steps) = self.step();
            let ready = self.pods.iter().filter(|pod| health::is_ready(pod)).count();
            self.bounds = (self.bounds.0.min(ready), self.bounds.1.max(self.pods.len()));
            if count == 0 {
                return done;
            }
            done.extend(steps);
            self.run();
        }
        panic!("it never ends: {done:?}");
    }

    fn set_image(&mut self, image: &str) {
        let template = &mut self.set.spec.as_mut().unwrap().template;
        template.spec.as_mut().unwrap().containers[0].image = Some(image.into());
    }

    fn images(&self) -> Vec<String> {
        self.pods.iter().map(|pod| pod.spec.as_ref().unwrap().containers[0].image.clone().unwrap()).collect()
    }
}

#[test]
fn each_node_runs_one_pod() {
    let mut game = Game::new(set(json!({})), &["a", "b"]);
    assert_eq!(game.settle(), ["+a", "+b"]);
    let status = game.set.status.clone().unwrap();
    let counts = (status.desired_number_scheduled, status.current_number_scheduled, status.number_ready);
    assert_eq!((counts, status.number_misscheduled), ((2, 2, 2), 0));
    assert_eq!(
        (status.updated_number_scheduled, status.number_available, status.number_unavailable),
        (Some(2), Some(2), Some(0))
    );
    game.nodes.push(node("c", json!([])));
    assert_eq!(game.settle(), ["+c"]);
    game.nodes.remove(0);
    assert_eq!(game.settle(), ["-a"], "its node is gone");
    game.nodes[0] = node("b", json!([{"key": "own", "effect": "NoSchedule"}]));
    assert_eq!(game.settle(), [""; 0], "it may stay");
    assert_eq!(game.set.status.as_ref().unwrap().number_misscheduled, 1);
    game.nodes[0] = node("b", json!([{"key": "own", "effect": "NoExecute"}]));
    assert_eq!(game.settle(), ["-b"]);
    let failed = json!({"phase": "Failed"});
    game.pods[0].status = serde_json::from_value(failed).unwrap();
    assert_eq!(game.settle(), ["-c", "+c"]);
    game.pods.push(Pod {
        metadata: api::ObjectMeta { name: Some("twice".into()), ..game.pods[0].metadata.clone() },
        ..game.pods[0].clone()
    });
    assert_eq!(game.settle(), ["-c"], "one is enough");
}

#[test]
fn templates_are_rolled_out_within_the_limits() {
    let rolling =
        |missing: Value, surge: Value| json!({"rollingUpdate": {"maxUnavailable": missing, "maxSurge": surge}});
    for (update, wanted, bounds) in [
        (json!({}), vec!["-a", "+a", "-b", "+b", "-c", "+c"], (2, 3)),
        (rolling(json!("100%"), json!(0)), vec!["-a", "-b", "-c", "+a", "+b", "+c"], (0, 3)),
        (rolling(json!(0), json!(1)), vec!["+a", "-a", "+b", "-b", "+c", "-c"], (3, 4)),
    ] {
        let mut game = Game::new(set(update.clone()), &["a", "b", "c"]);
        game.settle();
        game.set_image("i:2");
        game.bounds = (usize::MAX, 0);
        assert_eq!(game.settle(), wanted, "{update}");
        assert_eq!(game.bounds, bounds, "{update}");
        assert_eq!(game.images(), ["i:2"; 3]);
    }
    let mut manual = Game::new(set(json!({"type": "OnDelete"})), &["a", "b"]);
    manual.settle();
    manual.set_image("i:2");
    assert_eq!(manual.settle(), [""; 0]);
    manual.pods.remove(0);
    assert_eq!(manual.settle(), ["+a"]);
    assert_eq!(manual.images(), ["i:1", "i:2"]);
    assert_eq!(manual.set.status.as_ref().unwrap().updated_number_scheduled, Some(1));
}

#[test]
fn earlier_templates_are_kept_and_come_back() {
    let mut game = Game::new(set(json!({})), &["a"]);
    game.settle();
    for image in ["i:2", "i:3"] {
        game.set_image(image);
        game.settle();
    }
    let numbers = |game: &Game| game.revisions.iter().map(|kept| kept.revision).collect::<Vec<_>>();
    assert_eq!(numbers(&game), [2, 3], "the first is beyond the number that is kept");
    game.set_image("i:2");
    game.settle();
    assert_eq!(numbers(&game), [4, 3]);
    let hash = history::hash_of_pod(&game.pods[0]).unwrap();
    assert_eq!(game.revisions[0].metadata.name.as_deref(), Some(&*format!("agent-{hash}")));
}
