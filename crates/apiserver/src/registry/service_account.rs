//! What a pod takes from its service account when it is made, as Kubernetes' admission does.

use api::{Kind, kinds};
use serde_json::Value;

use super::store::Registry;
use crate::{
    api_error::{ApiError, Result},
    object,
};

/// The account of pods that name none. Controllers make it in every namespace, perhaps a moment after the pod.
const DEFAULT: &str = "default";

impl Registry {
    /// Refuses a pod whose account is not there; one that names no logins for images gets those of its account.
    pub(super) async fn take_service_account(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        document: &mut Value,
    ) -> Result<()> {
        if kind.kind != "Pod" {
            return Ok(());
        }
        let name = match object::text(document, "/spec/serviceAccountName") {
            "" => object::text(document, "/spec/serviceAccount"),
            name => name,
        };
        let name = if name.is_empty() { DEFAULT } else { name }.to_owned();
        let Some(accounts) = kinds::find("serviceaccounts") else { return Ok(()) };
        match self.find(accounts, namespace, &name).await? {
            Some(account) => take_logins(document, &account.object),
            None if name == DEFAULT => {}
            None => {
                let (namespace, pod) = (namespace.unwrap_or_default(), object::name(document));
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
