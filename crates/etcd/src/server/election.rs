//! Service `Election`: the first in a queue of keys leads; the key's value is the leader's.

use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use keyspace::{KeyRange, Op, Put, Revision, WatchRequest, WatchStream};
use tonic::Status;

use super::routes::ResponseStream;
use super::session::queue;
use super::{EtcdServer, failed};
use crate::convert::{self, signed, unsigned};
use crate::refuse;
use crate::wire::services::{
    CampaignRequest, CampaignResponse, HeaderResponse, LeaderKey, LeaderRequest, LeaderResponse, ProclaimRequest,
    ResignRequest,
};

impl EtcdServer {
    pub(super) async fn campaign(self: Arc<Self>, request: CampaignRequest) -> Result<CampaignResponse, Status> {
        let place = self.take_place(&request.name, request.lease, request.value.clone()).await?;
        if place.value.as_ref().is_some_and(|value| *value != request.value) {
            let put = Put { key: place.key.clone(), value: request.value, lease: place.lease, ..Put::default() };
            let held = self.while_held(place.key.clone(), place.taken, Op::Put(put)).await?;
            held.ok_or_else(|| Status::from(refuse::SESSION_EXPIRED))?;
        }
        let revision = self.wait_for_turn(&request.name, &place).await?;
        let leader = LeaderKey { name: request.name, key: place.key, rev: signed(place.taken), lease: place.lease };
        Ok(CampaignResponse { header: Some(self.header(revision)), leader: Some(leader) })
    }

    pub(super) async fn proclaim(self: Arc<Self>, request: ProclaimRequest) -> Result<HeaderResponse, Status> {
        let leader = request.leader.ok_or_else(|| Status::from(refuse::MISSING_LEADER_KEY))?;
        let put = Put { key: leader.key.clone(), value: request.value, lease: leader.lease, ..Put::default() };
        let done = self.while_held(leader.key, unsigned(leader.rev), Op::Put(put)).await?;
        let revision = done.ok_or_else(|| Status::from(refuse::NOT_LEADING))?;
        Ok(HeaderResponse { header: Some(self.header(revision)) })
    }

    pub(super) async fn leader(self: Arc<Self>, request: LeaderRequest) -> Result<LeaderResponse, Status> {
        let (first, revision) = self.first_place(&request.name).await?;
        let kv = first.ok_or_else(|| Status::from(refuse::NO_ELECTION_LEADER))?;
        Ok(LeaderResponse { header: Some(self.header(revision)), kv: Some(convert::key_value(kv)) })
    }

    /// The leader, and then each new leader or new value of it.
    pub(super) async fn observe(
        self: Arc<Self>,
        request: LeaderRequest,
    ) -> Result<ResponseStream<LeaderResponse>, Status> {
        let changes = WatchRequest::new(KeyRange::prefix(queue(&request.name)), 0);
        let changes = self.keyspace.watch(changes).await.map_err(failed)?;
        let observer = Observer { server: self, name: request.name, changes, told: None };
        Ok(futures::stream::unfold(Some(observer), |observer| async move {
            let mut observer = observer?;
            match observer.next().await {
                Ok(answer) => Some((Ok(answer), Some(observer))),
                Err(status) => Some((Err(status), None)),
            }
        })
        .boxed())
    }

    pub(super) async fn resign(self: Arc<Self>, request: ResignRequest) -> Result<HeaderResponse, Status> {
        let leader = request.leader.ok_or_else(|| Status::from(refuse::MISSING_LEADER_KEY))?;
        let delete = Op::delete(leader.key.clone());
        let done = self.while_held(leader.key, unsigned(leader.rev), delete).await?;
        let header = match done {
            Some(revision) => self.header(revision),
            None => self.newest_header().await?,
        };
        Ok(HeaderResponse { header: Some(header) })
    }
}

/// Somebody who follows an election.
struct Observer {
    server: Arc<EtcdServer>,
    name: Bytes,
    changes: WatchStream,
    /// Key and revision of what was told last.
    told: Option<(Bytes, Revision)>,
}

impl Observer {
    /// The next leader, or the next value of the same.
    async fn next(&mut self) -> Result<LeaderResponse, Status> {
        loop {
            let (first, revision) = self.server.first_place(&self.name).await?;
            let news = first.filter(|kv| self.told.as_ref() != Some(&(kv.key.clone(), kv.mod_revision)));
            if let Some(kv) = news {
                self.told = Some((kv.key.clone(), kv.mod_revision));
                let header = Some(self.server.header(revision));
                return Ok(LeaderResponse { header, kv: Some(convert::key_value(kv)) });
            }
            match self.changes.next().await {
                Some(changed) => drop(changed.map_err(failed)?),
                None => return Err(refuse::STOPPED.into()),
            }
        }
    }
}
