//! Who may do what: the built-in roles, and a copy of all roles and bindings that a watch keeps up to date.
//!
//! A request that the built-in roles allow never needs the copy. It is read when it is first asked for; from then on a
//! decision reads memory alone, and follows a change of a role or binding as soon as the watch delivers it.

use std::{fmt, sync::Arc};

use api::{
    Resource,
    k8s_openapi::api::rbac::v1::PolicyRule,
    kinds::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
};
use futures::StreamExt;
use keyspace::{EventKind, KeyRange, Keyspace, RangeRequest, WatchRequest, WatchStream, prefix_end};
use parking_lot::RwLock;
use serde::de::DeserializeOwned;
use tokio::{sync::OnceCell, task::JoinSet};
use trust::{Attributes, Decision, Subject, rbac::Policies};

use crate::{
    api_error::Result,
    limits::{LIST_STEP, POLICY_RETRY},
};

/// The policies, and where they are read from.
pub(crate) struct Authorizer {
    source: Source,
    copy: OnceCell<Copy>,
}

/// Where roles and bindings are.
#[derive(Clone)]
struct Source {
    keyspace: Arc<dyn Keyspace>,
    /// Of the keys of the whole API group.
    prefix: String,
}

/// The newest policies that were delivered. The task ends with the copy.
struct Copy {
    policies: Arc<RwLock<Arc<Policies>>>,
    _task: JoinSet<()>,
}

impl fmt::Debug for Authorizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorizer").field("is_read", &self.copy.initialized()).finish_non_exhaustive()
    }
}

impl Authorizer {
    /// Decides by the roles and bindings whose keys begin with `prefix`.
    pub(crate) fn new(keyspace: Arc<dyn Keyspace>, prefix: String) -> Self {
        Self { source: Source { keyspace, prefix }, copy: OnceCell::new() }
    }

    /// Whether the subject may do it.
    pub(crate) async fn decide(&self, subject: &Subject, request: &Attributes<'_>) -> Result<Decision> {
        match trust::built_in(subject, request) {
            Decision::Deny { .. } if subject.scopes.is_none() => {
                Ok(trust::authorize(subject, request, &*self.policies().await?))
            }
            decided => Ok(decided),
        }
    }

    /// All roles and bindings, as far as they have been delivered.
    pub(crate) async fn policies(&self) -> Result<Arc<Policies>> {
        let copy = self.copy.get_or_try_init(|| self.source.clone().copy()).await?;
        Ok(copy.policies.read().clone())
    }
}

impl Source {
    async fn copy(self) -> Result<Copy, keyspace::Error> {
        let (policies, changes) = self.read().await?;
        let policies = Arc::new(RwLock::new(Arc::new(policies)));
        let mut task = JoinSet::new();
        task.spawn(self.follow(policies.clone(), changes));
        Ok(Copy { policies, _task: task })
    }

    /// All that is there, and what changes from then on.
    async fn read(&self) -> Result<(Policies, WatchStream), keyspace::Error> {
        let end = prefix_end(self.prefix.as_bytes()).unwrap_or_default();
        let (mut policies, mut start, mut at) = (Policies::default(), self.prefix.clone(), 0);
        loop {
            let range = KeyRange::span(start.clone(), end.clone());
            let page = self.keyspace.range(RangeRequest::new(range).at(at).limit(LIST_STEP)).await?;
            if at == 0 {
                at = page.revision;
            }
            for kv in &page.kvs {
                self.put(&mut policies, &kv.key, Some(&kv.value));
            }
            match page.kvs.last() {
                // The smallest key after the last one is that key followed by a zero byte.
                Some(last) if page.more => start = format!("{}\0", String::from_utf8_lossy(&last.key)),
                _ => break,
            }
        }
        let changes = WatchRequest::new(KeyRange::prefix(self.prefix.clone()), at + 1);
        Ok((policies, self.keyspace.watch(changes).await?))
    }

    /// Keeps the policies up to date. When the watch ends everything is read again; until then they stay as they were.
    async fn follow(self, policies: Arc<RwLock<Arc<Policies>>>, mut changes: WatchStream) {
        loop {
            if let Some(Ok(batch)) = changes.next().await {
                let mut next = policies.read().clone();
                let changed = Arc::make_mut(&mut next);
                for event in &batch.events {
                    let value = (event.kind == EventKind::Put).then_some(&*event.kv.value);
                    self.put(changed, &event.kv.key, value);
                }
                *policies.write() = next;
                continue;
            }
            tracing::debug!("the watch of roles and bindings ended; they are read again");
            changes = loop {
                tokio::time::sleep(POLICY_RETRY).await;
                if let Ok((all, changes)) = self.read().await {
                    *policies.write() = Arc::new(all);
                    break changes;
                }
            };
        }
    }

    /// Puts an object, or removes one that is gone or cannot be read: it grants nothing then.
    fn put(&self, policies: &mut Policies, key: &[u8], value: Option<&[u8]>) {
        let key = String::from_utf8_lossy(key);
        let Some((plural, place)) = key.strip_prefix(&self.prefix).and_then(|rest| rest.split_once('/')) else {
            return;
        };
        let (namespace, name) = match place.split_once('/') {
            Some((namespace, name)) => (Some(namespace.to_owned()), name),
            None => (None, place),
        };
        let is_put = match (plural, value) {
            (Role::PLURAL, Some(value)) => read(value).map(|role| policies.put_role(role)),
            (ClusterRole::PLURAL, Some(value)) => read(value).map(|role| policies.put_cluster_role(role)),
            (RoleBinding::PLURAL, Some(value)) => read(value).map(|binding| policies.put_role_binding(binding)),
            (ClusterRoleBinding::PLURAL, Some(value)) => {
                read(value).map(|binding| policies.put_cluster_role_binding(binding))
            }
            _ => None,
        };
        match plural {
            _ if is_put.is_some() => {}
            Role::PLURAL | ClusterRole::PLURAL => policies.remove_role(namespace, name),
            _ => policies.remove_binding(namespace, name),
        }
    }
}

fn read<T: DeserializeOwned>(value: &[u8]) -> Option<T> {
    let object = serde_json::from_slice(value);
    object.inspect_err(|error| tracing::error!(%error, "a role or binding cannot be read and grants nothing")).ok()
}

/// The maker of a write, for what depends on it beyond the permission to write.
#[derive(Clone, Debug)]
pub(crate) struct Author {
    pub(crate) subject: Subject,
    pub(crate) authorizer: Arc<Authorizer>,
}

impl Author {
    /// Whether the author may do it.
    pub(crate) async fn may(&self, request: &Attributes<'_>) -> Result<bool> {
        Ok(self.authorizer.decide(&self.subject, request).await?.is_allowed())
    }

    /// The parts of the rules that the author does not hold in a namespace; empty for the whole cluster.
    pub(crate) async fn lacks(&self, namespace: &str, rules: &[PolicyRule]) -> Result<Vec<PolicyRule>> {
        let policies = self.authorizer.policies().await?;
        Ok(trust::rbac::uncovered(policies.rules(&self.subject, namespace), rules))
    }
}
