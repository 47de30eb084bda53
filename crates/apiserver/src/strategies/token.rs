//! A token that can be exchanged makes its bearer the user it names.

use api::{Kind, kinds::Token};
use async_trait::async_trait;
use serde_json::Value;
use trust::attributes::impersonation;

use super::strategy::{Objects, Strategy};
use crate::{
    api_error::{ApiError, Result},
    authorizer::Author,
};

pub(super) struct Tokens;

#[async_trait]
impl Strategy for Tokens {
    /// A token is made for those as whom its author may act.
    async fn permit(
        &self,
        _objects: &dyn Objects,
        _kind: &Kind,
        author: &Author,
        token: &Value,
        old: Option<&Value>,
    ) -> Result<()> {
        if old.is_some_and(|old| old.get("spec") == token.get("spec")) {
            return Ok(());
        }
        let token: Token = api::decode_from(token)
            .map_err(|error| ApiError::internal("a token that was admitted cannot be read", error))?;
        for wanted in impersonation(&token.spec.user, &token.spec.groups) {
            if !author.may(&wanted).await? {
                return Err(ApiError::forbidden(format!("a token of this user and these groups needs: {wanted}"))
                    .remedy("ask an administrator for a role that covers it"));
            }
        }
        Ok(())
    }
}
