//! The user that a container runs as.

use api::kinds::Pod;
use k8s_openapi::api::core::v1::Container;

use super::shared::Shared;
use crate::{
    error::{Error, Result},
    pod::security::{confinement, user},
    ports::ImageFacts,
};

/// The numeric user of a container: the pod's wish over the image's user.
pub(super) async fn identity(
    shared: &Shared,
    pod: &Pod,
    container: &Container,
    image: &ImageFacts,
) -> Result<runtime::container::UserIds> {
    let confinement = confinement(pod, container, &shared.config.policy)?;
    let of_image = match confinement.user {
        // A wished user gets the groups the image gives that user.
        Some(uid) => {
            let fail = |source| Error::Image { image: image.reference.clone(), source };
            shared.ports.images.user(image, uid).await.map_err(fail)?
        }
        None => image.user.clone(),
    };
    user(&confinement, of_image)
}
