//! Deletes tokens that are no longer valid.

use std::time::Duration;

use api::{Kind, ObjectKey, kinds::Token};
use async_trait::async_trait;
use jiff::Timestamp;

use crate::{
    controller::{Controller, Next, Watch, itself},
    error::Error,
    step::Step,
    world::{self, World},
};

/// Reconciles tokens.
#[derive(Clone, Copy, Debug, Default)]
pub struct ExpiredTokens;

#[async_trait]
impl Controller for ExpiredTokens {
    fn name(&self) -> &'static str {
        "token-controller"
    }

    fn watches(&self) -> Vec<Watch> {
        vec![Watch::new(Kind::of::<Token>(), itself)]
    }

    async fn reconcile(&self, world: &dyn World, key: &ObjectKey) -> Result<Next, Error> {
        let Some(token) = world::get::<Token>(world, key).await? else {
            return Ok(Next::OnChange);
        };
        let Some(left) = left(&token, world.now()) else {
            world::apply(world, &[Step::delete(&token)]).await?;
            return Ok(Next::OnChange);
        };
        Ok(Next::After(left))
    }
}

/// How long the token is still valid; `None` when it is over.
fn left(token: &Token, now: Timestamp) -> Option<Duration> {
    let left = token.spec.expires_at.0.duration_since(now);
    Duration::try_from(left).ok().filter(|left| !left.is_zero())
}

#[cfg(test)]
mod tests {
    use api::decode;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_token_goes_at_the_very_instant_it_expires() {
        let token: Token = decode(json!({"metadata": {"name": "t"},
            "spec": {"user": "u", "digest": "d", "expiresAt": "2026-01-01T00:01:00Z"}}))
        .unwrap();
        let at = |text: &str| left(&token, text.parse().unwrap());
        assert_eq!(at("2026-01-01T00:00:00Z"), Some(Duration::from_secs(60)));
        assert_eq!(at("2026-01-01T00:01:00Z"), None);
        assert_eq!(at("2026-01-01T00:02:00Z"), None);
    }
}
