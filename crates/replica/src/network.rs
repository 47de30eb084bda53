//! The way to other members. A replica with one voter has none: whoever asks for another member is told that it
//! cannot be reached. A transport for several voters implements the same openraft traits.

use openraft::AnyError;
use openraft::error::{InstallSnapshotError, RPCError, RaftError, Unreachable};
use openraft::network::{RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse, VoteRequest,
    VoteResponse,
};

use crate::types::{Peer, TypeConfig};

/// The network of a member that is alone.
#[derive(Clone, Copy, Debug, Default)]
pub struct Alone;

/// The connection that cannot be made.
#[derive(Clone, Copy, Debug)]
pub struct Nobody {
    target: u64,
}

impl Nobody {
    fn unreachable<E: std::error::Error>(&self) -> RPCError<u64, Peer, E> {
        let reason = AnyError::error(format!("member {} cannot be reached: this member has no transport", self.target));
        RPCError::Unreachable(Unreachable::new(&reason))
    }
}

impl RaftNetworkFactory<TypeConfig> for Alone {
    type Network = Nobody;

    async fn new_client(&mut self, target: u64, _node: &Peer) -> Nobody {
        Nobody { target }
    }
}

impl RaftNetwork<TypeConfig> for Nobody {
    async fn append_entries(
        &mut self,
        _rpc: AppendEntriesRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<u64>, RPCError<u64, Peer, RaftError<u64>>> {
        Err(self.unreachable())
    }

    async fn install_snapshot(
        &mut self,
        _rpc: InstallSnapshotRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<InstallSnapshotResponse<u64>, RPCError<u64, Peer, RaftError<u64, InstallSnapshotError>>> {
        Err(self.unreachable())
    }

    async fn vote(
        &mut self,
        _rpc: VoteRequest<u64>,
        _option: RPCOption,
    ) -> Result<VoteResponse<u64>, RPCError<u64, Peer, RaftError<u64>>> {
        Err(self.unreachable())
    }
}
