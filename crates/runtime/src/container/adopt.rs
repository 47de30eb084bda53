//! Finding containers of an earlier daemon.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use tokio::net::UnixStream;

use super::error::ContainerError;
use super::handle::Handle;
use super::monitor;
use super::runtime::Runtime;
use super::status::{Adoption, Exit};
use crate::process;
use crate::shim::dir::{Record, ShimDir};
use crate::wire::{self, Reply, Request};

impl Runtime {
    /// Takes over every container found in the run root that is not known yet: running ones are
    /// watched again, ended ones give their exit, those whose shim is gone are killed and reported
    /// so, half-made ones are removed. Cgroups that belong to none are removed too.
    pub async fn adopt(&self) -> Result<Adoption, ContainerError> {
        let path = self.containers_dir();
        let listed = std::fs::read_dir(&path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let listed = listed.map_err(|source| ContainerError::RunRoot { path, source })?;
        let mut adoption = Adoption::default();
        for entry in listed {
            let id = entry.file_name().to_string_lossy().into_owned();
            let Ok(reservation) = self.reserve(&id) else {
                continue;
            };
            let dir = ShimDir::new(&self.containers_dir(), &id);
            match self.adopt_one(dir).await? {
                Some(handle) => {
                    adoption.containers.push(handle.info());
                    reservation.fill(handle);
                }
                None => adoption.swept.push(id),
            }
        }
        self.sweep_cgroups().await?;
        Ok(adoption)
    }

    async fn adopt_one(&self, dir: ShimDir) -> Result<Option<Arc<Handle>>, ContainerError> {
        let inner = Arc::clone(&self.inner);
        let looked = dir.clone();
        let found = tokio::task::spawn_blocking(move || match look(&looked) {
            Found::Orphan(record) => {
                monitor::recover(&inner.cgroups, &looked, &record).map(|exit| Found::Ended(record, exit))
            }
            Found::Torn => monitor::sweep(&inner.cgroups, &looked, &inner.config.cgroup_root).map(|_| Found::Torn),
            found => Ok(found),
        });
        let id = dir.id().to_owned();
        let found: Found = found
            .await
            .unwrap_or_else(|error| Err(ContainerError::Refused { id: id.clone(), problem: error.to_string() }))?;
        match found {
            Found::Torn | Found::Orphan(_) => Ok(None),
            Found::Ended(record, exit) => Ok(Some(monitor::ended(&dir, record, exit))),
            Found::Alive(record) => self.rejoin(&dir, record).await.map(Some),
        }
    }

    async fn rejoin(&self, dir: &ShimDir, record: Record) -> Result<Arc<Handle>, ContainerError> {
        let id = record.id.clone();
        let probe = monitor::ended(dir, record.clone(), monitor::unknown_exit());
        let joined: io::Result<UnixStream> = async {
            let conversation = probe.converse(Request::Watch, Vec::new()).await?;
            match wire::receive_async::<Reply>(&conversation).await? {
                Some((Reply::Watching, _)) => Ok(conversation),
                _ => Err(io::ErrorKind::ConnectionAborted.into()),
            }
        }
        .await;
        match joined {
            Ok(conversation) => Ok(monitor::watch_adopted(&self.inner, dir, record, conversation)),
            // It ended while we asked.
            Err(error) => {
                tracing::debug!(%id, %error, "shim ended during adoption");
                let (inner, gone) = (Arc::clone(&self.inner), dir.clone());
                let lost = record.clone();
                let exit = tokio::task::spawn_blocking(move || monitor::recover(&inner.cgroups, &gone, &lost)).await;
                let exit = match exit {
                    Ok(exit) => exit?,
                    Err(error) => return Err(ContainerError::Refused { id, problem: error.to_string() }),
                };
                Ok(monitor::ended(dir, record, exit))
            }
        }
    }

    async fn sweep_cgroups(&self) -> Result<(), ContainerError> {
        let known: BTreeSet<String> = self.inner.containers.lock().keys().cloned().collect();
        let inner = Arc::clone(&self.inner);
        let swept = tokio::task::spawn_blocking(move || inner.cgroups.sweep(&inner.config.cgroup_root, &known));
        swept.await.unwrap_or_else(|error| {
            Err(ContainerError::Refused { id: "(cgroups)".to_owned(), problem: error.to_string() })
        })
    }
}

enum Found {
    /// Nothing usable: the start was cut short.
    Torn,
    /// Its shim lives.
    Alive(Record),
    /// It has ended.
    Ended(Record, Exit),
    /// No shim and no exit.
    Orphan(Record),
}

fn look(dir: &ShimDir) -> Found {
    if !dir.settle() {
        tracing::warn!(id = %dir.id(), "a shim neither starts its container nor ends; it will be killed");
    }
    let Ok(Some(record)) = dir.read_record() else {
        return Found::Torn;
    };
    match dir.read_exit() {
        Ok(Some(exit)) => Found::Ended(record, exit),
        _ if process::alive(&record.shim) && dir.locked() => Found::Alive(record),
        _ => Found::Orphan(record),
    }
}
