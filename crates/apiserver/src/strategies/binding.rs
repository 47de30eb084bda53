//! Bindings run their command in a pod, and the pod's node writes how it went.

use api::{
    Resource,
    kinds::{Binding, Pod},
};
use async_trait::async_trait;

use super::strategy::{NodeAccess, Objects, Strategy};
use crate::{api_error::Result, object};

pub(super) struct Bindings;

#[async_trait]
impl Strategy for Bindings {
    /// A node changes bindings whose command runs in one of its pods.
    async fn confine(&self, objects: &dyn Objects, access: NodeAccess<'_>) -> Result<()> {
        if !access.changes {
            return Ok(());
        }
        let NodeAccess { node, namespace, name, .. } = access;
        let Some(binding) = objects.find(Binding::PLURAL, Some(namespace), name).await? else { return Ok(()) };
        let target = format!("{}-0", object::text(&binding, "/spec/target/bundle"));
        let pod = objects.find(Pod::PLURAL, Some(namespace), &target).await?;
        if pod.is_some_and(|pod| object::text(&pod, "/spec/nodeName") == node) {
            return Ok(());
        }
        Err(access.refused("binding"))
    }
}
