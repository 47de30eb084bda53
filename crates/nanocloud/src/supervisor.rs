//! Tasks that run as long as the process and are stopped together.

use std::{future::Future, time::Duration};

use anyhow::{Context, bail};
use tokio::{task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;

/// How long tasks may take to stop before they are dropped.
const PATIENCE: Duration = Duration::from_secs(20);

/// A group of tasks with one stop signal.
#[derive(Debug, Default)]
pub struct Supervisor {
    tasks: JoinSet<(&'static str, anyhow::Result<()>)>,
    stop: CancellationToken,
}

impl Supervisor {
    /// The stop signal of this group.
    pub fn token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Starts a task.
    pub fn spawn(&mut self, name: &'static str, task: impl Future<Output = anyhow::Result<()>> + Send + 'static) {
        self.tasks.spawn(async move { (name, task.await) });
    }

    /// Waits until a task ends on its own, which is always an error.
    pub async fn ended(&mut self) -> anyhow::Result<()> {
        match self.tasks.join_next().await {
            None => std::future::pending().await,
            Some(Ok((name, Ok(())))) => bail!("the {name} ended unexpectedly"),
            Some(Ok((name, Err(error)))) => Err(error).with_context(|| format!("the {name} failed")),
            Some(Err(error)) => Err(error).context("a part of the server ended"),
        }
    }

    /// Signals all tasks to stop and waits for them.
    pub async fn stop(&mut self) {
        self.stop.cancel();
        let finished = timeout(PATIENCE, async {
            while let Some(ended) = self.tasks.join_next().await {
                if let Ok((name, Err(error))) = ended {
                    tracing::warn!(part = name, error = format!("{error:#}"), "ended with an error");
                }
            }
        });
        if finished.await.is_err() {
            tracing::warn!(seconds = PATIENCE.as_secs(), "some parts did not stop in time and are dropped");
            self.tasks.shutdown().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_task_that_ends_on_its_own_is_an_error_that_names_it() {
        let mut supervisor = Supervisor::default();
        let stop = supervisor.token();
        supervisor.spawn("patient", async move {
            stop.cancelled().await;
            Ok(())
        });
        supervisor.spawn("hasty", async { Ok(()) });
        let error = supervisor.ended().await.unwrap_err();
        assert!(error.to_string().contains("the hasty ended"), "{error}");
        supervisor.stop().await;
        assert!(supervisor.tasks.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_stop_is_dropped() {
        let mut supervisor = Supervisor::default();
        supervisor.spawn("stubborn", std::future::pending());
        supervisor.stop().await;
        assert!(supervisor.tasks.is_empty());
    }
}
