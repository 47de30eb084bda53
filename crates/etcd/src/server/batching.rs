//! A stream that rests after it had much to say, so that what comes meanwhile can be said together.
//!
//! Many watches of one client that follow the same keys have an answer each for every write. While writes come fast,
//! a message for each costs both sides more than the events in it; after a rest, one message has the events of several
//! writes. (etcd gathers for 100 ms once a watcher lags.) A stream with less to say is never held up.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::{Stream, StreamExt};
use tokio::time::{Sleep, sleep};

use crate::limits::{WATCH_BURST, WATCH_REST};

/// Items of `inner`, which is left alone for [`WATCH_REST`] whenever it gave [`WATCH_BURST`] items without a pause.
pub(super) struct Batching<S> {
    inner: S,
    /// Items since it last had none.
    given: usize,
    rest: Option<Pin<Box<Sleep>>>,
}

impl<S> Batching<S> {
    pub(super) fn new(inner: S) -> Self {
        Batching { inner, given: 0, rest: None }
    }

    pub(super) fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    pub(super) fn get_ref(&self) -> &S {
        &self.inner
    }
}

impl<S: Stream + Unpin> Stream for Batching<S> {
    type Item = S::Item;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<S::Item>> {
        loop {
            if let Some(rest) = &mut self.rest {
                ready!(rest.as_mut().poll(context));
                self.rest = None;
            }
            if let Poll::Ready(item) = self.inner.poll_next_unpin(context) {
                self.given += 1;
                return Poll::Ready(item);
            }
            if std::mem::take(&mut self.given) < WATCH_BURST {
                return Poll::Pending;
            }
            self.rest = Some(Box::pin(sleep(WATCH_REST)));
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::channel::mpsc;
    use tokio::time::Instant;

    use super::*;

    /// Items that come while a stream that was busy rests are had together, after the rest.
    #[tokio::test(start_paused = true)]
    async fn a_busy_stream_rests_and_a_quiet_one_does_not() {
        for (items, rest) in [(WATCH_BURST, WATCH_REST), (WATCH_BURST - 1, std::time::Duration::ZERO)] {
            let (sender, receiver) = mpsc::unbounded();
            let mut batching = Batching::new(receiver);
            (0..items).for_each(|item| sender.unbounded_send(item).unwrap());
            for item in 0..items {
                assert_eq!(batching.next().await, Some(item));
            }
            assert_eq!(futures::poll!(batching.next()), Poll::Pending);
            let start = Instant::now();
            sender.unbounded_send(items).unwrap();
            assert_eq!(batching.next().await, Some(items));
            assert_eq!(start.elapsed(), rest, "after {items} items");
            // Rested: the next one comes at once.
            sender.unbounded_send(0).unwrap();
            assert_eq!((batching.next().await, start.elapsed()), (Some(0), rest));
        }
    }
}
