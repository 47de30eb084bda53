//! Objects of kinds that definitions define.

use api::{Kind, Reason, Resource, kinds::CustomResourceDefinition};
use async_trait::async_trait;
use serde_json::Value;

use super::strategy::{Claim, Objects, Strategy};
use crate::{
    api_error::{ApiError, Result},
    object,
};

pub(super) struct CustomResources;

#[async_trait]
impl Strategy for CustomResources {
    /// Every change counts, whatever the fields are called.
    fn complete(&self, object: &mut Value) {
        object::set_meta(object, "generation", Some(1.into()));
    }

    /// Nothing is made while its definition goes, or after it is gone: nobody could delete it any more.
    async fn claim(&self, objects: &dyn Objects, kind: &Kind, _object: &mut Value) -> Result<Claim> {
        let name = kind.resource();
        match objects.pinned(CustomResourceDefinition::PLURAL, &name).await? {
            Some((definition, _)) if object::is_deleting(&definition) => {
                let message = "create not allowed while custom resource definition is terminating";
                Err(ApiError::new(Reason::MethodNotAllowed, message)
                    .remedy("wait until the definition is gone, and make it again"))
            }
            Some((_, unchanged)) => Ok(Claim { compares: vec![unchanged], ..Claim::default() }),
            None => Err(ApiError::not_served(&name)),
        }
    }
}
