//! Service `Auth`: users, roles and passwords of etcd, of which there are none. Clients prove who they are by
//! certificate; what etcd answers while its own authentication is off is answered the same way.

use std::sync::Arc;

use tonic::Status;

use super::EtcdServer;
use crate::refuse;
use crate::wire::services::{Anything, AuthStatusResponse, HeaderResponse, NameRequest, NamesResponse};

/// Revision of etcd's store of users and roles, to which nothing was ever written.
const AUTH_REVISION: u64 = 1;

impl EtcdServer {
    pub(super) async fn auth_enable(self: Arc<Self>, _: Anything) -> Result<HeaderResponse, Status> {
        Err(refuse::ROOT_USER_MISSING.into())
    }

    pub(super) async fn auth_disable(self: Arc<Self>, _: Anything) -> Result<HeaderResponse, Status> {
        Ok(HeaderResponse { header: Some(self.newest_header().await?) })
    }

    pub(super) async fn auth_status(self: Arc<Self>, _: Anything) -> Result<AuthStatusResponse, Status> {
        let header = Some(self.newest_header().await?);
        Ok(AuthStatusResponse { header, enabled: false, auth_revision: AUTH_REVISION })
    }

    pub(super) async fn authenticate(self: Arc<Self>, _: Anything) -> Result<HeaderResponse, Status> {
        Err(refuse::AUTH_NOT_ENABLED.into())
    }

    pub(super) async fn account_add(self: Arc<Self>, _: Anything) -> Result<HeaderResponse, Status> {
        Err(Status::unimplemented(
            "etcdserver: users and roles are not kept here: give clients certificates of the cluster's authority",
        ))
    }

    pub(super) async fn account_list(self: Arc<Self>, _: Anything) -> Result<NamesResponse, Status> {
        Ok(NamesResponse { header: Some(self.newest_header().await?), names: Vec::new() })
    }

    pub(super) async fn user_get(self: Arc<Self>, _: NameRequest) -> Result<NamesResponse, Status> {
        Err(refuse::USER_NOT_FOUND.into())
    }

    pub(super) async fn user_change(self: Arc<Self>, _: NameRequest) -> Result<HeaderResponse, Status> {
        Err(refuse::USER_NOT_FOUND.into())
    }

    pub(super) async fn role_change(self: Arc<Self>, _: NameRequest) -> Result<HeaderResponse, Status> {
        Err(refuse::ROLE_NOT_FOUND.into())
    }
}
