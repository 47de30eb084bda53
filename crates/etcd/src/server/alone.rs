//! The cluster of a keyspace with one member.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use keyspace::{Cluster, ClusterError, ClusterState, Keyspace, Member, MemberChange, MemberRole, MemberState};
use sha2::{Digest, Sha256};

/// The cluster of a keyspace that has one member for ever, such as one in memory.
pub struct Alone {
    keyspace: Arc<dyn Keyspace>,
    cluster_id: u64,
    name: String,
}

impl std::fmt::Debug for Alone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Alone").field("cluster_id", &self.cluster_id).field("name", &self.name).finish_non_exhaustive()
    }
}

impl Alone {
    /// The only member of `keyspace`, on a node of that name.
    pub fn new(keyspace: Arc<dyn Keyspace>, cluster_id: u64, name: impl Into<String>) -> Self {
        Alone { keyspace, cluster_id, name: name.into() }
    }
}

impl Cluster for Alone {
    fn members(&self) -> BoxFuture<'_, ClusterState> {
        async move {
            let status = self.keyspace.status().await.unwrap_or_default();
            let member = Member { id: status.node_id, name: self.name.clone(), ..Member::default() };
            let leads = status.leader == Some(status.node_id);
            let index = status.applied_index;
            ClusterState {
                cluster_id: self.cluster_id,
                asked: status.node_id,
                leader: status.leader,
                term: status.term,
                last_index: index,
                applied_index: index,
                members: vec![MemberState {
                    member,
                    role: MemberRole::Voter,
                    leads,
                    reachable: true,
                    matched: leads.then_some(index),
                }],
            }
        }
        .boxed()
    }

    fn change(&self, _: MemberChange) -> BoxFuture<'_, Result<(), ClusterError>> {
        async move { Err(ClusterError::Alone) }.boxed()
    }
}

/// An identity for a cluster: the same for the same bytes, such as those of its authority's certificate.
pub fn cluster_id(of: &[u8]) -> u64 {
    let digest: [u8; 32] = Sha256::digest(of).into();
    digest.first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
}
