//! The certificate of the API's authority, in a ConfigMap of every namespace: clients in pods trust it.

use api::{
    Kind, ObjectKey, ObjectMeta,
    kinds::{ConfigMap, Namespace},
    names::config_map::{ROOT_CA, ROOT_CA_KEY},
};
use async_trait::async_trait;

use crate::{
    controller::{Change, Controller, Next, Watch, itself, name_of, namespace_of},
    error::Error,
    step::Step,
    world::{self, World},
};

/// Annotation that says what the map is for.
const DESCRIPTION: &str = "kubernetes.io/description";
const PURPOSE: &str = "The authority that signed the certificate of the API at its service address and at \
                       kubernetes.default.svc.";

/// Reconciles the maps with the authority's certificate.
#[derive(Clone, Debug)]
pub struct RootCertificates {
    /// The certificate, PEM.
    authority: String,
}

impl RootCertificates {
    /// Maps with this certificate.
    #[must_use]
    pub fn new(authority: String) -> Self {
        Self { authority }
    }
}

#[async_trait]
impl Controller for RootCertificates {
    fn name(&self) -> &'static str {
        "root-ca-certificate-publisher"
    }

    fn watches(&self) -> Vec<Watch> {
        vec![Watch::new(Kind::of::<Namespace>(), itself), Watch::new(Kind::of::<ConfigMap>(), home)]
    }

    async fn reconcile(&self, world: &dyn World, key: &ObjectKey) -> Result<Next, Error> {
        let namespace = world::get::<Namespace>(world, key).await?;
        if namespace.is_some_and(|namespace| namespace.metadata.deletion_timestamp.is_none()) {
            let found = world::get::<ConfigMap>(world, &ObjectKey::namespaced(key.name.clone(), ROOT_CA)).await?;
            world::apply(world, &self.plan(&key.name, found).into_iter().collect::<Vec<_>>()).await?;
        }
        Ok(Next::OnChange)
    }
}

impl RootCertificates {
    fn plan(&self, namespace: &str, found: Option<ConfigMap>) -> Option<Step> {
        let data = Some([(ROOT_CA_KEY.to_owned(), self.authority.clone())].into());
        match found {
            // It is made again from its deletion on.
            Some(found) if found.metadata.deletion_timestamp.is_some() => None,
            Some(found) if found.immutable == Some(true) && found.data != data => Some(Step::delete(&found)),
            Some(found) if found.data == data && found.binary_data.is_none() => None,
            Some(found) => Some(Step::replace(&ConfigMap { data, binary_data: None, ..found })),
            None => {
                let metadata = ObjectMeta {
                    name: Some(ROOT_CA.into()),
                    namespace: Some(namespace.into()),
                    annotations: Some([(DESCRIPTION.to_owned(), PURPOSE.to_owned())].into()),
                    ..ObjectMeta::default()
                };
                Some(Step::create(&ConfigMap { metadata, data, ..ConfigMap::default() }))
            }
        }
    }
}

/// The namespace of a map with the certificate.
fn home(change: Change<'_>) -> Vec<ObjectKey> {
    let named = name_of(change.object).is_some_and(|name| name == ROOT_CA);
    namespace_of(change.object).filter(|_| named).map(ObjectKey::cluster).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::Cluster;

    #[tokio::test]
    async fn the_map_is_made_again_and_mended() {
        let world = Cluster::start().await;
        let (controller, key) = (RootCertificates::new("pem".into()), ObjectKey::cluster("default"));
        let map = ObjectKey::namespaced("default", ROOT_CA);
        let kind = Kind::of::<ConfigMap>();
        for spoiled in
            [json!({"data": {"ca.crt": "other", "x": "y"}}), json!({"immutable": true, "data": {}}), json!({})]
        {
            for _ in 0..2 {
                controller.reconcile(&world, &key).await.unwrap();
            }
            let mut found = world.get(&kind, &map).await.unwrap().unwrap();
            assert_eq!(found["data"], json!({"ca.crt": "pem"}));
            found.as_object_mut().unwrap().extend(spoiled.as_object().unwrap().clone());
            world.admin().replace(&kind, &found).await.unwrap();
        }
        world.delete::<ConfigMap>(&map).await;
        controller.reconcile(&world, &key).await.unwrap();
        assert!(world.get(&kind, &map).await.unwrap().is_some());
        assert_eq!(world.all::<ConfigMap>().len(), 1, "namespaces that were not asked about have none yet");
    }
}
