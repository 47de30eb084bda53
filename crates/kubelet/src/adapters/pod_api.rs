//! The API through the client.

use std::collections::BTreeMap;

use api::{
    kinds::{ConfigMap, PersistentVolumeClaim, Pod, Secret, Service, ServiceAccount},
    meta::DEFAULT_NAMESPACE,
};
use async_trait::async_trait;
use client::{Api, Client, DeleteParams, EventRecorder, ListParams};
use k8s_openapi::{
    api::core::v1::{PersistentVolumeClaimStatus, PodStatus},
    apimachinery::pkg::api::resource::Quantity,
};
use serde_json::{Value, json};

use crate::{
    claims::held,
    error::{Error, Result},
    pod::{lookup::TokenWish, status::take_foreign_conditions},
    ports::{AccountToken, Events, PodApi, Severity},
};

/// Tries of a write that loses against others.
const CONFLICTS_MAX: usize = 8;

/// The API.
#[derive(Debug, Clone)]
pub struct ClientPodApi {
    client: Client,
}

impl ClientPodApi {
    /// Over a client with the kubelet's own rights.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    fn claims(&self, claim: &PersistentVolumeClaim) -> Api<PersistentVolumeClaim> {
        Api::namespaced(self.client.clone(), claim.metadata.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE))
    }

    fn pods(&self, pod: &Pod) -> Api<Pod> {
        Api::namespaced(self.client.clone(), pod.metadata.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE))
    }
}

#[async_trait]
impl PodApi for ClientPodApi {
    async fn write_status(&self, pod: &Pod, status: PodStatus) -> Result<Option<Pod>> {
        let api = self.pods(pod);
        let name = pod.metadata.name.clone().unwrap_or_default();
        let action = || format!("write status of pod {name}");
        let mut wanted = Pod { status: Some(status.clone()), ..pod.clone() };
        for _ in 0..CONFLICTS_MAX {
            match api.replace_status(&wanted).await {
                Ok(written) => return Ok(Some(written)),
                Err(error) if error.is_not_found() => return Ok(None),
                Err(error) if error.is_conflict() => {}
                Err(error) => return Err(Error::api(action())(error)),
            }
            let Some(fresh) = api.get_opt(&name).await.map_err(Error::api(action()))? else { return Ok(None) };
            if fresh.metadata.uid != pod.metadata.uid {
                return Ok(None);
            }
            let mut status = status.clone();
            take_foreign_conditions(&mut status, fresh.status.as_ref());
            wanted = Pod { status: Some(status), ..fresh };
        }
        Err(Error::NotRunning(format!("status of pod {name} not written: others change it all the time")))
    }

    async fn release(&self, pod: &Pod) -> Result<()> {
        let name = pod.metadata.name.clone().unwrap_or_default();
        let params = DeleteParams::immediate().uid(pod.metadata.uid.clone().unwrap_or_default());
        match self.pods(pod).delete_opt(&name, &params).await {
            // Another pod of this name: ours is gone.
            Err(error) if error.is_conflict() => Ok(()),
            other => other.map_err(Error::api(format!("delete pod {name}"))),
        }
    }

    async fn secret(&self, namespace: &str, name: &str) -> Result<Option<Secret>> {
        let api = Api::<Secret>::namespaced(self.client.clone(), namespace);
        api.get_opt(name).await.map_err(Error::api(format!("get secret {name}")))
    }

    async fn config_map(&self, namespace: &str, name: &str) -> Result<Option<ConfigMap>> {
        let api = Api::<ConfigMap>::namespaced(self.client.clone(), namespace);
        api.get_opt(name).await.map_err(Error::api(format!("get configmap {name}")))
    }

    async fn service(&self, namespace: &str, name: &str) -> Result<Option<Service>> {
        let api = Api::<Service>::namespaced(self.client.clone(), namespace);
        api.get_opt(name).await.map_err(Error::api(format!("get service {name}")))
    }

    async fn services(&self, namespace: &str) -> Result<Vec<Service>> {
        let api = Api::<Service>::namespaced(self.client.clone(), namespace);
        let found = api.list_all(&ListParams::default()).await;
        Ok(found.map_err(Error::api(format!("list services of namespace {namespace}")))?.items)
    }

    async fn token(&self, pod: &Pod, wish: &TokenWish) -> Result<AccountToken> {
        let meta = &pod.metadata;
        let account = pod.spec.as_ref().and_then(|spec| spec.service_account_name.as_deref()).unwrap_or_default();
        let audiences: Vec<&str> =
            Some(wish.audience.as_str()).filter(|audience| !audience.is_empty()).into_iter().collect();
        let bound = json!({"apiVersion": "v1", "kind": "Pod", "name": meta.name, "uid": meta.uid});
        let spec = json!({"audiences": audiences, "expirationSeconds": wish.seconds, "boundObjectRef": bound});
        let asked = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec});
        let namespace = meta.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
        let action = || format!("make a token of serviceaccount {account}");
        let accounts = Api::<ServiceAccount>::namespaced(self.client.clone(), namespace);
        let mut answer = accounts.token(account, &asked).await.map_err(Error::api(action()))?;
        let expires = answer["status"]["expirationTimestamp"].as_str().and_then(|text| text.parse().ok());
        match (answer["status"]["token"].take(), expires) {
            (Value::String(value), Some(expires)) => Ok(AccountToken { value, expires }),
            _ => Err(Error::NotRunning(format!("the API's answer has no token of serviceaccount {account}"))),
        }
    }

    async fn claim(&self, namespace: &str, name: &str) -> Result<Option<PersistentVolumeClaim>> {
        let api = Api::<PersistentVolumeClaim>::namespaced(self.client.clone(), namespace);
        api.get_opt(name).await.map_err(Error::api(format!("get persistentvolumeclaim {name}")))
    }

    async fn replace_claim(&self, claim: &PersistentVolumeClaim) -> Result<()> {
        let name = claim.metadata.name.as_deref().unwrap_or_default();
        match self.claims(claim).replace(claim).await {
            Err(error) if error.is_not_found() => Ok(()),
            other => other.map(drop).map_err(Error::api(format!("write persistentvolumeclaim {name}"))),
        }
    }

    async fn bind_claim(&self, claim: &PersistentVolumeClaim, node: &str, capacity: &str) -> Result<()> {
        let name = claim.metadata.name.clone().unwrap_or_default();
        let fail = || Error::api(format!("bind persistentvolumeclaim {name}"));
        let api = self.claims(claim);
        let mut claim = claim.clone();
        if let Some(held) = held(&claim, node) {
            claim = api.replace(&held).await.map_err(fail())?;
        }
        if claim.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Bound") {
            return Ok(());
        }
        let modes = claim.spec.as_ref().and_then(|s| s.access_modes.clone());
        claim.status = Some(PersistentVolumeClaimStatus {
            phase: Some("Bound".to_owned()),
            access_modes: modes,
            capacity: Some(BTreeMap::from([("storage".to_owned(), Quantity(capacity.to_owned()))])),
            ..claim.status.unwrap_or_default()
        });
        api.replace_status(&claim).await.map(drop).map_err(fail())
    }
}

/// Events through a recorder.
#[derive(Debug, Clone)]
pub struct ApiEvents(EventRecorder);

impl ApiEvents {
    /// Over a recorder whose writer runs.
    #[must_use]
    pub fn new(recorder: EventRecorder) -> Self {
        Self(recorder)
    }
}

impl Events for ApiEvents {
    fn pod(&self, pod: &Pod, severity: Severity, reason: &str, message: String) {
        self.0.record(pod, severity, reason, message);
    }

    fn claim(&self, claim: &PersistentVolumeClaim, severity: Severity, reason: &str, message: String) {
        self.0.record(claim, severity, reason, message);
    }
}
