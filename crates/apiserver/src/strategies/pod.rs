//! Pods have a service account, limits, a grace period, and a node that runs them.

use api::{
    Kind, Resource,
    kinds::{
        Pod, ServiceAccount,
        pod::{GRACE_SECONDS, SECONDS_MAX},
    },
    names::config_map::{ROOT_CA, ROOT_CA_KEY},
};
use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{
    limits,
    strategy::{Claim, NodeAccess, Objects, Strategy},
};
use crate::{
    api_error::{ApiError, Result},
    object,
};

/// The account of pods that name none. Controllers make it in every namespace, perhaps a moment after the pod.
const DEFAULT: &str = "default";

pub(super) struct Pods;

#[async_trait]
impl Strategy for Pods {
    /// As Kubernetes' admission does: refuses a pod whose account is not there; one that names no logins for images gets
    /// those of its account, and each gets a token of its account
    /// as files, unless it or the account opts out.
    async fn fill(&self, objects: &dyn Objects, namespace: Option<&str>, pod: &mut Value) -> Result<()> {
        let name = match object::text(pod, "/spec/serviceAccountName") {
            "" => object::text(pod, "/spec/serviceAccount"),
            name => name,
        };
        let name = if name.is_empty() { DEFAULT } else { name }.to_owned();
        match objects.find(ServiceAccount::PLURAL, namespace, &name).await? {
            Some(account) => {
                take_logins(pod, &account);
                mount_token(pod, Some(&account));
            }
            None if name == DEFAULT => mount_token(pod, None),
            None => {
                let (namespace, pod) = (namespace.unwrap_or_default(), object::name(pod));
                return Err(ApiError::forbidden(format!(
                    "pods {pod:?} is forbidden: error looking up service account {namespace}/{name}: serviceaccount \
                     {name:?} not found"
                ))
                .remedy(format!(
                    "make it with `kubectl -n {namespace} create serviceaccount {name}`, or name another"
                )));
            }
        }
        Ok(())
    }

    /// As the ranges of its namespace say.
    async fn claim(&self, objects: &dyn Objects, kind: &Kind, pod: &mut Value) -> Result<Claim> {
        limits::fit_pod(objects, kind, pod).await?;
        Ok(Claim::default())
    }

    /// As in Kubernetes. Nodes may not: by labels they would draw what is meant for other pods to their own.
    fn metadata_with_status(&self) -> &'static [&'static str] {
        &["labels", "annotations", "finalizers"]
    }

    /// None when nothing runs the pod or it has ended already.
    fn grace_seconds(&self, pod: &Value, asked: Option<i64>) -> i64 {
        let phase = object::text(pod, "/status/phase");
        if object::text(pod, "/spec/nodeName").is_empty() || matches!(phase, "Succeeded" | "Failed") {
            return 0;
        }
        let own = pod.pointer("/spec/terminationGracePeriodSeconds").and_then(Value::as_i64);
        asked.or(own).unwrap_or(GRACE_SECONDS).clamp(0, SECONDS_MAX)
    }

    /// The last state tells that no time was left to the pod.
    fn last_state(&self, pod: &mut Value, now: Timestamp) {
        let before = pod.pointer("/metadata/deletionGracePeriodSeconds").and_then(Value::as_i64).unwrap_or(0);
        let asked = object::text(pod, "/metadata/deletionTimestamp").parse::<Timestamp>();
        let asked = asked.ok().and_then(|end| end.checked_sub(SignedDuration::from_secs(before)).ok()).unwrap_or(now);
        object::set_meta(pod, "deletionTimestamp", Some(object::time(asked)));
        object::set_meta(pod, "deletionGracePeriodSeconds", Some(0.into()));
    }

    /// A node changes pods bound to it.
    async fn confine(&self, objects: &dyn Objects, access: NodeAccess<'_>) -> Result<()> {
        if !access.changes || access.is_session {
            return Ok(());
        }
        match objects.find(Pod::PLURAL, Some(access.namespace), access.name).await? {
            Some(pod) if object::text(&pod, "/spec/nodeName") != access.node => Err(access.refused("pod")),
            _ => Ok(()),
        }
    }
}

/// Where the token of its account is in each container.
const TOKEN_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// What the names of volumes with tokens begin with.
const TOKEN_VOLUME: &str = "kube-api-access-";
/// Lifetime of such a token: the odd seconds tell it from those that somebody asked for, as in Kubernetes.
const TOKEN_SECONDS: u32 = 3_607;
/// Lists of containers that get it.
const CONTAINERS: [&str; 2] = ["containers", "initContainers"];

/// Adds the volume with a token of the account, and mounts it where a container has nothing at that place.
fn mount_token(pod: &mut Value, account: Option<&Value>) {
    const AUTOMOUNT: &str = "/automountServiceAccountToken";
    let own = pod.pointer("/spec").and_then(|spec| spec.pointer(AUTOMOUNT)?.as_bool());
    let given = account.and_then(|account| account.pointer(AUTOMOUNT)?.as_bool());
    let Some(spec) = pod.get_mut("spec").and_then(Value::as_object_mut) else { return };
    if !own.or(given).unwrap_or(true) {
        return;
    }
    let volumes = spec.get("volumes").and_then(Value::as_array).into_iter().flatten();
    let mut names = volumes.map(|volume| object::text(volume, "/name"));
    let found = names.find(|name| name.starts_with(TOKEN_VOLUME)).map(str::to_owned);
    let name = found.clone().unwrap_or_else(|| object::generated_name(TOKEN_VOLUME));
    let mut mounted = false;
    for list in CONTAINERS {
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            mounted |= mount(container, &name);
        }
    }
    if mounted && found.is_none() {
        let sources = json!([
            {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
            {"configMap": {"name": ROOT_CA, "items": [{"key": ROOT_CA_KEY, "path": ROOT_CA_KEY}]}},
            {"downwardAPI": {"items": [
                {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}},
        ]);
        let volume = json!({"name": name, "projected": {"sources": sources}});
        match spec.entry("volumes").or_insert(Value::Null) {
            Value::Array(volumes) => volumes.push(volume),
            none => *none = json!([volume]),
        }
    }
}

/// Mounts the volume into a container that has nothing there. Answers whether it was mounted.
fn mount(container: &mut Value, volume: &str) -> bool {
    let Some(container) = container.as_object_mut() else { return false };
    let mounts = container.entry("volumeMounts").or_insert(Value::Null);
    if mounts.is_null() {
        *mounts = json!([]);
    }
    let Some(mounts) = mounts.as_array_mut() else { return false };
    if mounts.iter().any(|mount| object::text(mount, "/mountPath") == TOKEN_PATH) {
        return false;
    }
    mounts.push(json!({"name": volume, "readOnly": true, "mountPath": TOKEN_PATH}));
    true
}

fn take_logins(pod: &mut Value, account: &Value) {
    let own = pod.pointer("/spec/imagePullSecrets").and_then(Value::as_array);
    let given = account.get("imagePullSecrets").and_then(Value::as_array).filter(|given| !given.is_empty());
    let Some(given) = given.filter(|_| own.is_none_or(Vec::is_empty)) else { return };
    if let Some(spec) = pod.get_mut("spec").and_then(Value::as_object_mut) {
        spec.insert("imagePullSecrets".to_owned(), given.clone().into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_mounted_unless_the_pod_or_its_account_opts_out() {
        let mounted = |own: Value, of_account: Value| {
            let other = json!({"name": "b", "volumeMounts": [{"name": "x", "mountPath": TOKEN_PATH}]});
            let spec = json!({"containers": [{"name": "a"}, other], "automountServiceAccountToken": own});
            let mut pod = json!({"spec": spec});
            mount_token(&mut pod, Some(&json!({"automountServiceAccountToken": of_account})));
            mount_token(&mut pod, None);
            pod["spec"].take()
        };
        let spec = mounted(Value::Null, Value::Null);
        let name = &spec["volumes"][0]["name"];
        assert!(
            name.as_str().unwrap().starts_with("kube-api-access-") && spec["volumes"].as_array().unwrap().len() == 1
        );
        let mount = json!([{"name": name, "readOnly": true, "mountPath": TOKEN_PATH}]);
        assert_eq!(spec["containers"][0]["volumeMounts"], mount);
        assert_eq!(spec["containers"][1]["volumeMounts"][0]["name"], "x", "what is there stays");
        for (own, of_account, wanted) in
            [(json!(true), json!(false), true), (json!(false), json!(true), false), (json!(null), json!(true), true)]
        {
            assert_eq!(mounted(own, of_account)["volumes"].is_array(), wanted);
        }
        let mut opted_out = json!({"spec": {"containers": [{"name": "a"}]}});
        mount_token(&mut opted_out, Some(&json!({"automountServiceAccountToken": false})));
        assert_eq!(opted_out["spec"], json!({"containers": [{"name": "a"}]}));
    }

    #[test]
    fn a_pod_without_logins_takes_those_of_its_account() {
        let given = json!([{"name": "registry"}]);
        for (own, of_account, wanted) in [
            (Value::Null, given.clone(), given.clone()),
            (json!([]), given.clone(), given.clone()),
            (json!([{"name": "own"}]), given.clone(), json!([{"name": "own"}])),
            (Value::Null, json!([]), Value::Null),
            (Value::Null, Value::Null, Value::Null),
        ] {
            let mut pod = json!({"spec": {"containers": [], "imagePullSecrets": own}});
            take_logins(&mut pod, &json!({"imagePullSecrets": of_account}));
            assert_eq!(pod["spec"]["imagePullSecrets"], wanted);
        }
        let mut none = json!({});
        take_logins(&mut none, &json!({"imagePullSecrets": given}));
        assert_eq!(none, json!({}));
    }
}
