//! Binds claims to node-local volumes. The kubelet makes the directory when a pod needs it.

use api::{Kind, ObjectKey, kinds::PersistentVolumeClaim};
use async_trait::async_trait;

use crate::{
    controller::{Controller, Next, Watch, itself},
    error::Error,
    step::Step,
    world::{self, World},
};

/// Reconciles claims.
#[derive(Clone, Copy, Debug, Default)]
pub struct PersistentVolumeClaims;

#[async_trait]
impl Controller for PersistentVolumeClaims {
    fn name(&self) -> &'static str {
        "persistentvolumeclaim-controller"
    }

    fn watches(&self) -> Vec<Watch> {
        vec![Watch::new(Kind::of::<PersistentVolumeClaim>(), itself)]
    }

    async fn reconcile(&self, world: &dyn World, key: &ObjectKey) -> Result<Next, Error> {
        if let Some(claim) = world::get::<PersistentVolumeClaim>(world, key).await? {
            world::apply(world, &plan(&claim)).await?;
        }
        Ok(Next::OnChange)
    }
}

/// First the volume's name, which never changes, then the status that promises it: two writes, each
/// at the version that was read, so the second comes with the change that the first makes.
fn plan(claim: &PersistentVolumeClaim) -> Vec<Step> {
    let (Some(uid), None) = (&claim.metadata.uid, &claim.metadata.deletion_timestamp) else {
        return Vec::new();
    };
    let mut wanted = claim.clone();
    let spec = wanted.spec.get_or_insert_default();
    if spec.volume_name.as_deref().unwrap_or_default().is_empty() {
        spec.volume_name = Some(format!("pvc-{uid}"));
        return vec![Step::replace(&wanted)];
    }
    let capacity = spec.resources.clone().unwrap_or_default().requests;
    let access_modes = spec.access_modes.clone();
    let volume = spec.volume_name.clone().unwrap_or_default();
    let status = wanted.status.get_or_insert_default();
    if status.phase.as_deref() == Some("Bound") {
        return Vec::new();
    }
    status.phase = Some("Bound".into());
    status.access_modes = access_modes;
    status.capacity = capacity.map(|all| all.into_iter().filter(|(name, _)| name == "storage").collect());
    vec![
        Step::replace_status(&wanted),
        Step::normal(claim, "ProvisioningSucceeded", format!("bound to node-local volume {volume}")),
    ]
}

#[cfg(test)]
mod tests {
    use api::decode;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_claim_gets_a_name_then_is_bound_then_left_alone() {
        let claim = |volume: &str, phase: &str| -> PersistentVolumeClaim {
            decode(json!({"metadata": {"name": "data", "namespace": "n", "uid": "u1"},
                "spec": {"volumeName": volume, "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
                "status": {"phase": phase}}))
            .unwrap()
        };
        let [Step::Replace { object, .. }] = &plan(&claim("", "Pending"))[..] else { panic!() };
        assert_eq!(object["spec"]["volumeName"], "pvc-u1");
        let [Step::ReplaceStatus { object, .. }, Step::Notify(_)] = &plan(&claim("kept", "Pending"))[..] else {
            panic!()
        };
        assert_eq!(object["status"]["phase"], "Bound");
        assert_eq!(object["status"]["capacity"]["storage"], "1Gi");
        assert!(plan(&claim("pvc-u1", "Bound")).is_empty());
    }
}
