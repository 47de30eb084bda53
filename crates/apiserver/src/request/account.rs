//! Whether what a service account's token is bound to is still there.

use api::{
    Resource,
    kinds::{Pod, Secret, ServiceAccount},
};
use trust::jwt::{AccountClaim, ObjectClaim};

use crate::{
    api_error::{ApiError, Result},
    object,
    strategies::Objects,
};

/// Refuses a token whose account, or whose pod or secret, is gone or another one by now.
pub(crate) async fn check(objects: &dyn Objects, claim: &AccountClaim) -> Result<()> {
    let all = [
        (ServiceAccount::PLURAL, Some(&claim.serviceaccount)),
        (Pod::PLURAL, claim.pod.as_ref()),
        (Secret::PLURAL, claim.secret.as_ref()),
    ];
    for (plural, bound) in all {
        let Some(ObjectClaim { name, uid }) = bound else { continue };
        let found = objects.find(plural, Some(&claim.namespace), name).await?;
        if found.is_none_or(|found| object::uid(&found) != uid) {
            let message = format!(
                "the bearer token is refused: it is bound to {plural} {}/{name}, which is gone",
                claim.namespace
            );
            return Err(ApiError::unauthorized(message).remedy("ask for a new token"));
        }
    }
    Ok(())
}
