//! Tokens of service accounts that pods have, in memory; a new one is fetched long before the old one ends.

use std::collections::BTreeMap;

use api::kinds::Pod;
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;

use crate::{
    error::Result,
    pod::lookup::TokenWish,
    ports::{AccountToken, PodApi},
};

/// Longest time for which a token is used, however long it is valid (Kubernetes).
const AGE_MAX: SignedDuration = SignedDuration::from_hours(24);
/// Part of its lifetime for which a token is used, in percent (Kubernetes).
const USED_PERCENT: i32 = 80;

/// The tokens of all pods of the node, by uid of the pod and what was asked for.
#[derive(Default)]
pub(crate) struct Tokens(Mutex<BTreeMap<(String, TokenWish), Held>>);

struct Held {
    token: AccountToken,
    renew: Timestamp,
}

impl Tokens {
    /// A token for a pod: the one it has, or another when that one is used up.
    pub(crate) async fn of(&self, api: &dyn PodApi, pod: &Pod, wish: &TokenWish, now: Timestamp) -> Result<String> {
        let key = (pod.metadata.uid.clone().unwrap_or_default(), wish.clone());
        let held = self.0.lock().get(&key).map(|held| (held.token.clone(), held.renew));
        if let Some((token, renew)) = &held
            && now < *renew
        {
            return Ok(token.value.clone());
        }
        let token = match (api.token(pod, wish).await, held) {
            (Ok(token), _) => token,
            // The old one is good for a while.
            (Err(error), Some((old, _))) if now < old.expires => {
                tracing::warn!(error = crate::error::chain(&error), "a token of a service account is not renewed");
                return Ok(old.value);
            }
            (Err(error), _) => return Err(error),
        };
        let value = token.value.clone();
        let renew = renew_at(&token, now);
        self.0.lock().insert(key, Held { token, renew });
        Ok(value)
    }

    /// Forgets the tokens of a pod that is gone.
    pub(crate) fn forget(&self, uid: &str) {
        self.0.lock().retain(|(owner, _), _| owner != uid);
    }
}

fn renew_at(token: &AccountToken, now: Timestamp) -> Timestamp {
    let used = token.expires.duration_since(now) / 100 * USED_PERCENT;
    now.saturating_add(used.min(AGE_MAX)).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_renewed_after_four_fifths_of_its_life_and_within_a_day() {
        let renewed_after = |seconds: i64| {
            let expires = Timestamp::from_second(seconds).unwrap();
            renew_at(&AccountToken { value: String::new(), expires }, Timestamp::UNIX_EPOCH).as_second()
        };
        assert_eq!(renewed_after(3_600), 2_880);
        assert_eq!(renewed_after(30 * 86_400), 86_400);
    }
}
