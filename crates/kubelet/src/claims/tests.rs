//! Claims on two nodes over one API in memory.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use api::kinds::{ConfigMap, Secret, Service};
use async_trait::async_trait;
use client::Event;
use k8s_openapi::api::core::v1::PodStatus;
use parking_lot::Mutex;
use serde_json::json;

use super::*;
use crate::{error::Result as KubeletResult, pod::lookup::TokenWish, ports::AccountToken};

/// The API, as far as claims go: every write is conditional on the version that was read.
#[derive(Default)]
struct Api {
    claims: Mutex<BTreeMap<String, PersistentVolumeClaim>>,
}

impl Api {
    fn put(&self, claim: serde_json::Value) {
        let claim: PersistentVolumeClaim = serde_json::from_value(claim).unwrap();
        self.claims.lock().insert(claim.metadata.name.clone().unwrap(), claim);
    }

    fn get(&self, name: &str) -> Option<PersistentVolumeClaim> {
        self.claims.lock().get(name).cloned()
    }

    fn node(&self, name: &str) -> Option<String> {
        self.get(name)?.metadata.annotations?.get(SELECTED_NODE).cloned()
    }

    fn replace(&self, claim: &PersistentVolumeClaim) -> KubeletResult<()> {
        let mut claims = self.claims.lock();
        let name = claim.metadata.name.clone().unwrap();
        let Some(known) = claims.get(&name) else { return Ok(()) };
        if known.metadata.resource_version != claim.metadata.resource_version {
            return Err(Error::NotRunning("conflict".into()));
        }
        let mut next = claim.clone();
        let version = known.metadata.resource_version.as_deref().unwrap_or("0").parse::<u64>().unwrap();
        next.metadata.resource_version = Some((version + 1).to_string());
        let done = next.metadata.deletion_timestamp.is_some() && next.metadata.finalizers.iter().flatten().count() == 0;
        if done {
            drop(claims.remove(&name))
        } else {
            drop(claims.insert(name, next))
        }
        Ok(())
    }
}

#[async_trait]
impl PodApi for Api {
    async fn write_status(&self, _: &Pod, _: PodStatus) -> KubeletResult<Option<Pod>> {
        Ok(None)
    }

    async fn release(&self, _: &Pod) -> KubeletResult<()> {
        Ok(())
    }

    async fn token(&self, _: &Pod, _: &TokenWish) -> KubeletResult<AccountToken> {
        Err(Error::NotRunning("no pod runs here".into()))
    }

    async fn secret(&self, _: &str, _: &str) -> KubeletResult<Option<Secret>> {
        Ok(None)
    }

    async fn config_map(&self, _: &str, _: &str) -> KubeletResult<Option<ConfigMap>> {
        Ok(None)
    }

    async fn service(&self, _: &str, _: &str) -> KubeletResult<Option<Service>> {
        Ok(None)
    }

    async fn services(&self, _: &str) -> KubeletResult<Vec<Service>> {
        Ok(Vec::new())
    }

    async fn claim(&self, _: &str, name: &str) -> KubeletResult<Option<PersistentVolumeClaim>> {
        Ok(self.get(name))
    }

    async fn replace_claim(&self, claim: &PersistentVolumeClaim) -> KubeletResult<()> {
        self.replace(claim)
    }

    async fn bind_claim(&self, claim: &PersistentVolumeClaim, node: &str, _: &str) -> KubeletResult<()> {
        held(claim, node).map_or(Ok(()), |held| self.replace(&held))
    }
}

/// The disk of a node.
#[derive(Default)]
struct Disk(Mutex<BTreeSet<String>>);

#[async_trait]
impl VolumeDriver for Disk {
    async fn create(&self, request: storage::VolumeRequest) -> Result<(), storage::Error> {
        self.0.lock().insert(request.id.to_string());
        Ok(())
    }

    async fn publish(&self, _: &str, _: &str, name: &str, _: bool) -> Result<PathBuf, storage::Error> {
        Ok(PathBuf::from(name))
    }

    async fn unpublish_all(&self, _: &str) -> Result<(), storage::Error> {
        Ok(())
    }

    async fn holds(&self, volume: &str) -> Result<bool, storage::Error> {
        Ok(self.0.lock().contains(volume))
    }

    async fn delete(&self, volume: &str) -> Result<(), storage::Error> {
        self.0.lock().remove(volume);
        Ok(())
    }

    async fn pods(&self) -> Result<Vec<String>, storage::Error> {
        Ok(Vec::new())
    }
}

/// Events about claims: name of the claim, reason and text.
#[derive(Default)]
struct Told(Mutex<Vec<(String, String, String)>>);

impl Events for Told {
    fn pod(&self, _: &Pod, _: Severity, _: &str, _: String) {}
    fn claim(&self, claim: &PersistentVolumeClaim, _: Severity, reason: &str, message: String) {
        self.0.lock().push((claim.metadata.name.clone().unwrap(), reason.to_owned(), message));
    }
}

/// A node: its disk and its look at the claims.
struct Node {
    name: &'static str,
    api: Arc<Api>,
    disk: Arc<Disk>,
    pods: Vec<Pod>,
    told: Arc<Told>,
}

impl Node {
    fn pair() -> (Arc<Api>, Self, Self) {
        let api = Arc::new(Api::default());
        let node =
            |name| Self { name, api: Arc::clone(&api), disk: Arc::default(), pods: Vec::new(), told: Arc::default() };
        let (a, b) = (node("a"), node("b"));
        (api, a, b)
    }

    fn has(&self, volume: &str) -> bool {
        self.disk.0.lock().contains(volume)
    }

    /// Looks at a claim once, with everything it knows now.
    async fn look(&self, name: &str) -> KubeletResult<Next> {
        let (claims, pods) = (Store::default(), Store::default());
        claims.apply(Event::Restarted(self.api.claims.lock().values().cloned().collect()));
        pods.apply(Event::Restarted(self.pods.clone()));
        let api: Arc<dyn PodApi> = Arc::clone(&self.api) as _;
        let volumes: Arc<dyn VolumeDriver> = Arc::clone(&self.disk) as _;
        let events: Arc<dyn Events> = Arc::clone(&self.told) as _;
        let claims = Claims { node: self.name.into(), api, claims, pods, volumes, events };
        claims.reconcile(&ObjectKey::namespaced("default", name)).await
    }
}

fn claim(uid: &str, annotations: serde_json::Value, deleted: bool) -> serde_json::Value {
    let mut claim = json!({"metadata": {"name": "data", "namespace": "default", "uid": uid, "resourceVersion": "1",
            "annotations": annotations, "finalizers": [VOLUME_DATA.name()]},
        "spec": {"volumeName": format!("pvc-{uid}")}});
    if deleted {
        claim["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    }
    claim
}

#[tokio::test]
async fn the_node_that_finds_the_volume_of_an_old_claim_writes_itself_down() {
    let (api, a, b) = Node::pair();
    api.put(claim("c1", json!({}), false));
    a.disk.0.lock().insert("pvc-c1".into());
    b.look("data").await.unwrap();
    assert_eq!(api.node("data"), None);
    a.look("data").await.unwrap();
    assert_eq!(api.node("data").as_deref(), Some("a"));
    b.look("data").await.unwrap();
    assert_eq!(api.node("data").as_deref(), Some("a"));
}

#[tokio::test]
async fn only_the_node_with_the_volume_deletes_it_and_lets_the_claim_go() {
    let (api, mut a, b) = Node::pair();
    api.put(claim("c1", json!({SELECTED_NODE: "a"}), true));
    a.disk.0.lock().insert("pvc-c1".into());
    let user = json!({"metadata": {"name": "p", "namespace": "default"}, "spec": {"containers": [],
        "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]}});
    a.pods = vec![serde_json::from_value(user).unwrap()];
    // B has no pod that uses it and no volume: neither is its business.
    b.look("data").await.unwrap();
    assert!(matches!(a.look("data").await.unwrap(), Next::After(_)), "in use");
    assert!(api.get("data").is_some() && a.has("pvc-c1"));
    a.pods.clear();
    b.look("data").await.unwrap();
    assert!(api.get("data").is_some());
    a.look("data").await.unwrap();
    assert!(api.get("data").is_none() && !a.has("pvc-c1"));
}

#[tokio::test]
async fn a_claim_whose_finalizer_was_taken_gets_it_back_or_its_volume_is_named() {
    let (api, a, b) = Node::pair();
    let mut bare = claim("c1", json!({SELECTED_NODE: "a"}), false);
    bare["metadata"]["finalizers"] = json!([]);
    api.put(bare.clone());
    a.look("data").await.unwrap();
    assert_eq!(api.get("data").unwrap().metadata.finalizers, Some(Vec::new()), "without data it needs none");
    a.disk.0.lock().insert("pvc-c1".into());
    a.look("data").await.unwrap();
    assert_eq!(api.get("data").unwrap().metadata.finalizers.unwrap(), [VOLUME_DATA.name()]);

    let gone: PersistentVolumeClaim = serde_json::from_value(bare).unwrap();
    api.claims.lock().clear();
    for node in [&a, &b] {
        for key in keys_of(&gone, true) {
            node.look(&key.name).await.unwrap();
        }
    }
    assert!(a.has("pvc-c1"), "nobody said that the data may go");
    let told = a.told.0.lock().clone();
    assert_eq!((told.len(), told[0].0.as_str(), told[0].1.as_str()), (1, "data", "VolumeLeftBehind"));
    assert!(told[0].2.contains("volume pvc-c1 is left on the disk of node a"), "{told:?}");
    assert!(b.told.0.lock().is_empty(), "it is not on node b");
}

#[tokio::test]
async fn a_deleted_claim_of_an_earlier_version_is_let_go_by_the_node_that_has_it() {
    let (api, a, b) = Node::pair();
    api.put(claim("c1", json!({}), true));
    a.disk.0.lock().insert("pvc-c1".into());
    b.look("data").await.unwrap();
    assert!(api.get("data").is_some(), "nobody says that B has it");
    a.look("data").await.unwrap();
    a.look("data").await.unwrap();
    assert!(api.get("data").is_none() && !a.has("pvc-c1"));
}

#[tokio::test]
async fn a_claim_with_the_finalizer_of_an_older_release_is_released() {
    let (api, a, _) = Node::pair();
    let mut old = claim("c1", json!({SELECTED_NODE: "a"}), true);
    old["metadata"]["finalizers"] = json!(["nanocloud.io/volume"]);
    api.put(old);
    a.disk.0.lock().insert("pvc-c1".into());
    a.look("data").await.unwrap();
    assert!(api.get("data").is_none() && !a.has("pvc-c1"));
}

#[tokio::test]
async fn a_claim_made_again_under_its_name_is_not_touched() {
    let (api, a, _) = Node::pair();
    api.put(claim("old", json!({SELECTED_NODE: "a"}), true));
    a.disk.0.lock().insert("pvc-old".into());
    let (claims, pods) = (Store::default(), Store::default());
    claims.apply(Event::Restarted(api.claims.lock().values().cloned().collect()));
    api.put(claim("new", json!({SELECTED_NODE: "a"}), false));
    let claims = Claims {
        node: "a".into(),
        api: api.clone() as _,
        claims,
        pods,
        volumes: a.disk.clone() as _,
        events: Arc::<Told>::default(),
    };
    claims.reconcile(&ObjectKey::namespaced("default", "data")).await.unwrap();
    assert_eq!(api.get("data").unwrap().metadata.finalizers.unwrap(), [VOLUME_DATA.name()]);
}

#[tokio::test]
async fn two_nodes_that_use_a_fresh_claim_at_once_do_not_both_have_it() {
    let (api, ..) = Node::pair();
    api.put(json!({"metadata": {"name": "data", "namespace": "default", "uid": "c1", "resourceVersion": "1"}}));
    let read = api.get("data").unwrap();
    api.bind_claim(&read, "a", "1Gi").await.unwrap();
    assert!(api.bind_claim(&read, "b", "1Gi").await.is_err(), "it was decided on an older version");
    assert_eq!(api.node("data").as_deref(), Some("a"));
    assert!(obstacle(&api.get("data").unwrap(), "b", false).unwrap().contains("node a"));
}

#[test]
fn who_may_use_a_claim() {
    let read = |value| serde_json::from_value::<PersistentVolumeClaim>(value).unwrap();
    let fresh = read(json!({"metadata": {"name": "data", "uid": "c1"}}));
    for (claim, on_disk, wanted) in [
        (fresh, false, None),
        (read(claim("c1", json!({SELECTED_NODE: "a"}), false)), false, None),
        (read(claim("c1", json!({SELECTED_NODE: "b"}), false)), true, Some("is on node b")),
        (read(claim("c1", json!({}), false)), true, None),
        (read(claim("c1", json!({}), false)), false, Some("no other node has said yet")),
    ] {
        let found = obstacle(&claim, "a", on_disk);
        match wanted {
            None => assert_eq!(found, None),
            Some(words) => assert!(found.as_ref().is_some_and(|text| text.contains(words)), "{found:?}"),
        }
    }
}

#[test]
fn a_held_claim_has_node_volume_and_finalizer_and_then_stays_as_it_is() {
    let fresh: PersistentVolumeClaim = serde_json::from_value(json!({"metadata": {"name": "d", "uid": "c1"}})).unwrap();
    let first = held(&fresh, "a").unwrap();
    assert_eq!(holder(&first, "a"), Holder::Here);
    assert_eq!(first.metadata.finalizers.as_deref(), Some(&[VOLUME_DATA.name().to_owned()][..]));
    assert_eq!(first.spec.as_ref().unwrap().volume_name.as_deref(), Some("pvc-c1"));
    assert_eq!(held(&first, "a"), None);
    let mut deleted = fresh;
    deleted.metadata.deletion_timestamp = Some(api::Time(jiff::Timestamp::UNIX_EPOCH));
    assert_eq!(held(&deleted, "a").unwrap().metadata.finalizers, None, "none is added to what goes");
}
