//! The streams of one HTTP/2 connection, run by the task of the connection.
//!
//! A task for each stream, as is usual, writes each answer in three pieces: another thread sends the head on its way
//! while the stream still makes message and trailers, and each piece costs a system call here and a wake-up of the
//! client. In one task the answers of all streams that are ready go out with one write. What takes long must not run
//! here: it would hold up the other streams of its connection.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use parking_lot::Mutex;

/// What a connection gives its streams to; clones are the same one.
#[derive(Clone, Default)]
pub(crate) struct Streams {
    begun: Arc<Mutex<Vec<BoxFuture<'static, ()>>>>,
}

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Streams {
    fn execute(&self, stream: F) {
        self.begun.lock().push(Box::pin(stream));
    }
}

impl Streams {
    /// Runs `connection` and the streams it begins, until the connection ends; then what is left of them is dropped.
    pub(crate) async fn run<C: Future>(&self, connection: C) -> C::Output {
        let mut connection = pin!(connection);
        let mut running = FuturesUnordered::new();
        poll_fn(|context| self.poll(context, connection.as_mut(), &mut running)).await
    }

    /// First the streams, so that the connection finds all that they have to say; again for those that it begins.
    fn poll<C: Future>(
        &self,
        context: &mut Context<'_>,
        mut connection: Pin<&mut C>,
        running: &mut FuturesUnordered<BoxFuture<'static, ()>>,
    ) -> Poll<C::Output> {
        loop {
            while let Poll::Ready(Some(())) = running.poll_next_unpin(context) {}
            if let Poll::Ready(ended) = connection.as_mut().poll(context) {
                return Poll::Ready(ended);
            }
            let begun = std::mem::take(&mut *self.begun.lock());
            if begun.is_empty() {
                return Poll::Pending;
            }
            running.extend(begun);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::rt::Executor;
    use tokio::sync::oneshot;

    /// The connection begins a stream, and ends when the stream has answered.
    #[tokio::test]
    async fn streams_run_beside_their_connection() {
        let streams = Streams::default();
        let (answer, answered) = oneshot::channel();
        let connection = async {
            streams.execute(async move {
                tokio::task::yield_now().await;
                answer.send(7).unwrap();
            });
            answered.await
        };
        assert_eq!(streams.run(connection).await, Ok(7));
    }

    #[tokio::test]
    async fn streams_end_with_their_connection() {
        let streams = Streams::default();
        let (held, dropped) = oneshot::channel::<()>();
        let connection = async {
            streams.execute(async move {
                std::future::pending::<()>().await;
                drop(held);
            });
            tokio::task::yield_now().await;
        };
        streams.run(connection).await;
        assert!(dropped.await.is_err());
    }
}
