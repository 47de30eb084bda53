//! A panic over one object stays with that object.
//!
//! A reconcile that panics ends as an error; its key is kept in quarantine, longer each time, while everything
//! else goes on. The hook that ends the process at a panic asks [`is_isolated`] first.

use std::{
    any::Any,
    cell::Cell,
    collections::BTreeMap,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use api::ObjectKey;
use parking_lot::Mutex;
use tokio::time::Instant;

/// How long a key is left alone after its first panic; it doubles with each further one.
pub const QUARANTINE_FIRST: Duration = Duration::from_secs(30);
/// Longest quarantine.
pub const QUARANTINE_MAX: Duration = Duration::from_secs(3600);

thread_local! {
    static ISOLATED: Cell<bool> = const { Cell::new(false) };
}

/// Whether the running code is a reconciler's, whose panics are caught.
#[must_use]
pub fn is_isolated() -> bool {
    ISOLATED.get()
}

/// The message of a panic.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a bug in the controller: {0}")]
pub struct Panicked(String);

/// Sets the mark for as long as it lives.
struct Mark(bool);

impl Mark {
    fn set() -> Self {
        Self(ISOLATED.replace(true))
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        ISOLATED.set(self.0);
    }
}

/// Runs code whose panic is an error.
pub(crate) fn call<T>(code: impl FnOnce() -> T) -> Result<T, Panicked> {
    let mark = Mark::set();
    // What the code may leave half done are locks, which parking_lot frees, and wake-up hints.
    let result = catch_unwind(AssertUnwindSafe(code));
    drop(mark);
    result.map_err(|panic| Panicked(text(panic.as_ref())))
}

/// Runs a future whose panic is an error.
pub(crate) async fn isolate<F: Future>(future: F) -> Result<F::Output, Panicked> {
    Isolated(pin!(future)).await
}

struct Isolated<'a, F>(Pin<&'a mut F>);

impl<F: Future> Future for Isolated<'_, F> {
    type Output = Result<F::Output, Panicked>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match call(|| self.0.as_mut().poll(context)) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Err(panicked) => Poll::Ready(Err(panicked)),
        }
    }
}

fn text(panic: &(dyn Any + Send)) -> String {
    let known = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    known.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "the panic has no message".to_owned())
}

/// Keys over which a reconcile panicked: until when they are left alone, and how often it happened.
#[derive(Debug, Default)]
pub(crate) struct Quarantine(Mutex<BTreeMap<ObjectKey, (Instant, u32)>>);

impl Quarantine {
    /// How much longer the key has to wait; `None` when it may be tried.
    pub(crate) fn left(&self, key: &ObjectKey) -> Option<Duration> {
        let until = self.0.lock().get(key).map(|(until, _)| *until)?;
        Some(until.saturating_duration_since(Instant::now())).filter(|left| !left.is_zero())
    }

    /// Records a panic; returns how long the key has to wait.
    pub(crate) fn add(&self, key: &ObjectKey) -> Duration {
        let mut all = self.0.lock();
        let (until, times) = all.entry(key.clone()).or_insert((Instant::now(), 0));
        let wait = QUARANTINE_FIRST.saturating_mul(2_u32.saturating_pow(*times)).min(QUARANTINE_MAX);
        *times = times.saturating_add(1);
        *until = Instant::now() + wait;
        wait
    }

    /// The key was reconciled without a panic.
    pub(crate) fn forget(&self, key: &ObjectKey) {
        self.0.lock().remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_error_at_every_await_and_the_mark_goes_with_the_code() {
        assert!(!is_isolated());
        let went_well = isolate(async {
            tokio::task::yield_now().await;
            is_isolated()
        });
        assert_eq!(went_well.await, Ok(true));
        let panics = isolate(async {
            tokio::task::yield_now().await;
            assert!(!is_isolated(), "on purpose");
        });
        assert!(panics.await.unwrap_err().0.contains("on purpose"));
        assert!(!is_isolated(), "the mark is taken off after a panic too");
        assert_eq!(call(|| panic!("a number {}", 7)).unwrap_err().0, "a number 7");
    }

    #[tokio::test(start_paused = true)]
    async fn quarantine_grows_and_ends() {
        let (quarantine, key) = (Quarantine::default(), ObjectKey::cluster("a"));
        assert_eq!(quarantine.left(&key), None);
        let waits: Vec<_> = (0..9).map(|_| quarantine.add(&key)).collect();
        assert_eq!(waits[..2], [QUARANTINE_FIRST, QUARANTINE_FIRST * 2]);
        assert_eq!((waits[8], quarantine.left(&key)), (QUARANTINE_MAX, Some(QUARANTINE_MAX)));
        assert_eq!(quarantine.left(&ObjectKey::cluster("b")), None);
        tokio::time::advance(QUARANTINE_MAX).await;
        assert_eq!(quarantine.left(&key), None);
        quarantine.forget(&key);
        assert_eq!(quarantine.add(&key), QUARANTINE_FIRST);
    }
}
