//! A kubelet that runs nothing: pods come up, crash and end, bindings succeed, fail and time out.

use api::{
    Kind, ObjectKey, encode,
    kinds::{Binding, Pod, binding::BindingPhase},
};
use serde_json::{Value, json};

use super::memory::Memory;
use crate::world::World;

/// What happens to what is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Luck {
    Good,
    Bad,
}

/// Every pod, and every binding, one step on.
pub(crate) async fn step(world: &Memory, mut luck: impl FnMut() -> Luck) {
    for pod in world.all("pods") {
        one_pod(world, pod, luck()).await;
    }
    for binding in world.all("bindings") {
        one_binding(world, binding, luck()).await;
    }
}

async fn one_pod(world: &Memory, mut pod: Value, luck: Luck) {
    let kind = Kind::of::<Pod>();
    if !pod["spec"]["nodeName"].is_string() {
        return;
    }
    if !pod["metadata"]["deletionTimestamp"].is_null() {
        return world.remove_now(&kind, &key(&pod));
    }
    let (ready, state) = match luck {
        Luck::Good => ("True", json!({"running": {}})),
        Luck::Bad => ("False", json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}})),
    };
    let name = pod["spec"]["containers"][0]["name"].clone();
    let last = json!({"terminated": {"exitCode": 3, "message": "cannot open the data directory"}});
    pod["status"] = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": ready}],
        "containerStatuses": [{"name": name, "image": "i", "imageID": "i", "ready": ready == "True", "restartCount": 1,
            "state": state, "lastState": last}]});
    let _ = world.replace_status(&kind, &pod).await;
}

async fn one_binding(world: &Memory, binding: Value, luck: Luck) {
    let Ok(mut binding) = api::decode::<Binding>(binding) else { panic!("a binding does not decode") };
    let before = binding.status.clone().unwrap_or_default();
    if before.token == binding.spec.token {
        return;
    }
    let status = binding.status.get_or_insert_default();
    status.token = binding.spec.token.clone();
    status.attempts = before.attempts + 1;
    status.finished_at = Some(api::Time(world.now()));
    (status.phase, status.exit_code) = match luck {
        Luck::Good => (BindingPhase::Completed, Some(0)),
        Luck::Bad if status.attempts % 2 == 0 => (BindingPhase::TimedOut, None),
        Luck::Bad => (BindingPhase::Failed, Some(1)),
    };
    let _ = world.replace_status(&Kind::of::<Binding>(), &encode(&binding)).await;
}

fn key(object: &Value) -> ObjectKey {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
    ObjectKey::namespaced(text("namespace"), text("name"))
}
