//! Whether requests can be served. Probes are open to anonymous callers, so concurrent ones share one check.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use api::Reason;
use tokio::sync::{Mutex, Semaphore};

use crate::{
    api_error::{ApiError, Result},
    limits::{MAX_PROBES, PROBE_FRESH},
};

/// The result of the last check, which is reused for a moment.
#[derive(Debug)]
pub(crate) struct Readiness {
    found: Mutex<Option<(Instant, Result<(), String>)>>,
    places: Semaphore,
    fresh: Duration,
}

impl Default for Readiness {
    fn default() -> Self {
        Self { found: Mutex::default(), places: Semaphore::new(MAX_PROBES), fresh: PROBE_FRESH }
    }
}

impl Readiness {
    /// The result of a moment ago, or of a new check; concurrent callers wait for the same check.
    ///
    /// # Errors
    /// 429 when too many wait already, else why requests cannot be served.
    pub(crate) async fn check(&self, look: impl Future<Output = Result<()>>) -> Result<()> {
        let Ok(_place) = self.places.try_acquire() else {
            return Err(
                ApiError::new(Reason::TooManyRequests, format!("{MAX_PROBES} probes wait already")).retry_after(1)
            );
        };
        let mut found = self.found.lock().await;
        let known = found.as_ref().filter(|(at, _)| at.elapsed() < self.fresh);
        let result = match known {
            Some((_, result)) => result.clone(),
            None => {
                let result = look.await.map_err(|failure| failure.to_string());
                *found = Some((Instant::now(), result.clone()));
                result
            }
        };
        result.map_err(|why| ApiError::new(Reason::ServiceUnavailable, format!("not ready: {why}")).retry_after(1))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn many_probes_are_one_look() {
        let readiness = Readiness { fresh: Duration::from_secs(3600), ..Readiness::default() };
        let looks = AtomicUsize::new(0);
        let probe = || {
            readiness.check(async {
                looks.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
                Err(ApiError::new(Reason::InternalError, "broken"))
            })
        };
        let answers = futures::future::join_all((0..MAX_PROBES + 10).map(|_| probe())).await;
        assert_eq!(looks.load(Ordering::Relaxed), 1);
        let count = |code| answers.iter().filter(|answer| answer.as_ref().unwrap_err().status.code == code).count();
        assert_eq!((count(503), count(429)), (MAX_PROBES, 10));
        // What is old is looked at again.
        let stale = Readiness { fresh: Duration::ZERO, ..Readiness::default() };
        assert!(stale.check(async { Err(ApiError::new(Reason::InternalError, "broken")) }).await.is_err());
        assert!(stale.check(async { Ok(()) }).await.is_ok());
    }
}
