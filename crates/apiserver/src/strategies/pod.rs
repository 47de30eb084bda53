//! Pods have a service account, a grace period, and a node that runs them.

use api::{
    Resource,
    kinds::{
        Pod, ServiceAccount,
        pod::{GRACE_SECONDS, SECONDS_MAX},
    },
};
use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::strategy::{NodeAccess, Objects, Strategy};
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
    /// those of its account.
    async fn fill(&self, objects: &dyn Objects, namespace: Option<&str>, pod: &mut Value) -> Result<()> {
        let name = match object::text(pod, "/spec/serviceAccountName") {
            "" => object::text(pod, "/spec/serviceAccount"),
            name => name,
        };
        let name = if name.is_empty() { DEFAULT } else { name }.to_owned();
        match objects.find(ServiceAccount::PLURAL, namespace, &name).await? {
            Some(account) => take_logins(pod, &account),
            None if name == DEFAULT => {}
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
    use serde_json::json;

    use super::*;

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
