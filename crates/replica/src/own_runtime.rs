//! Threads that a part of the process has to itself.
//!
//! A write goes through a handful of tasks: queue, Raft, log, state machine, and back. Among the workers of a large
//! runtime each step may wake another thread, which costs more than the step. With one worker only the way in and the
//! way out do.

use std::io;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio_util::context::TokioContext;

/// Threads for what takes long, such as writing a snapshot.
const BLOCKING_THREADS: usize = 8;

/// A runtime beside that of the caller. Dropping it ends its threads, and every task that is left on them.
#[derive(Debug)]
pub struct OwnRuntime {
    handle: Handle,
    /// There until it is dropped.
    runtime: Option<Runtime>,
}

impl OwnRuntime {
    /// Starts so many workers, with this name for their threads.
    ///
    /// # Errors
    /// When the system gives no thread or no event queue.
    pub fn start(name: &str, workers: usize) -> io::Result<Self> {
        let mut builder = Builder::new_multi_thread();
        builder.thread_name(name).worker_threads(workers).max_blocking_threads(BLOCKING_THREADS).enable_all();
        let runtime = builder.build()?;
        Ok(OwnRuntime { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }

    /// Runs a future where it is polled; what it spawns, runs here.
    pub async fn host<F: Future>(&self, future: F) -> F::Output {
        TokioContext::new(future, self.handle.clone()).await
    }
}

impl Drop for OwnRuntime {
    fn drop(&mut self) {
        let runtime = self.runtime.take();
        // A runtime must not be waited for on a thread of another.
        let waiting = std::thread::Builder::new().name("ending".into()).spawn(move || drop(runtime));
        if waiting.map(std::thread::JoinHandle::join).is_err() {
            tracing::error!("there is no thread to end a runtime on");
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests start programs and tasks, and end them")]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    #[tokio::test]
    async fn tasks_run_on_it_and_end_with_it() {
        let own = OwnRuntime::start("keyspace", 1).unwrap();
        let (held, dropped) = oneshot::channel::<()>();
        let task = async move {
            tokio::spawn(async move {
                std::future::pending::<()>().await;
                drop(held);
            });
            std::thread::current().name().map(str::to_owned)
        };
        let name = own.host(async { tokio::spawn(task).await }).await.unwrap();
        assert_eq!(name.as_deref(), Some("keyspace"));
        drop(own);
        assert!(dropped.await.is_err());
    }
}
