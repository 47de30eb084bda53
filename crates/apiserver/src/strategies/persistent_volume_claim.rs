//! Claims belong to the node that has their volume.

use api::{Kind, Resource, kinds::PersistentVolumeClaim, names::annotation::SELECTED_NODE};
use async_trait::async_trait;
use serde_json::Value;

use super::{
    limits,
    strategy::{Claim, NodeAccess, Objects, Strategy},
};
use crate::api_error::{ApiError, Result};

pub(super) struct Claims;

#[async_trait]
impl Strategy for Claims {
    /// Its size must be within the ranges of its namespace.
    async fn claim(&self, objects: &dyn Objects, kind: &Kind, claim: &mut Value) -> Result<Claim> {
        limits::fit_claim(objects, kind, claim).await?;
        Ok(Claim::default())
    }

    /// A node changes claims whose volume no other node has.
    async fn confine(&self, objects: &dyn Objects, access: NodeAccess<'_>) -> Result<()> {
        if !access.changes {
            return Ok(());
        }
        let NodeAccess { node, namespace, name, .. } = access;
        match objects.find(PersistentVolumeClaim::PLURAL, Some(namespace), name).await? {
            Some(claim) if !is_open_to(&claim, node) => Err(ApiError::forbidden(format!(
                "node {node:?} may not change persistentvolumeclaim {namespace}/{name}: its volume is on another node"
            ))),
            _ => Ok(()),
        }
    }
}

/// Whether a claim's volume is on this node, or on none yet.
fn is_open_to(claim: &Value, node: &str) -> bool {
    let known = claim.pointer("/metadata/annotations").and_then(|all| all.get(SELECTED_NODE)?.as_str());
    known.is_none_or(|known| known.is_empty() || known == node)
}
