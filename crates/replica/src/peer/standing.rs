//! What a member that connects may ask, by what this one knows of it.

use super::wire::Request;

/// What is known of who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is a member.
    Member,
    /// It is not known: perhaps this member has missed that it was taken in.
    Unknown,
    /// It was removed.
    Removed,
}

impl Standing {
    /// Whether it may ask that. A member that lags behind learns from a leader it does not know yet, and votes for one, so
    /// Raft's own requests are answered to whoever has not been removed: Raft itself decides about them. What is asked of
    /// a leader is for members, all of which a leader knows.
    pub(crate) fn may_ask(self, request: &Request) -> bool {
        match self {
            Standing::Member => true,
            Standing::Removed => false,
            Standing::Unknown => match request {
                Request::Append(_)
                | Request::Vote(_)
                | Request::SnapshotOffer { .. }
                | Request::SnapshotChunk { .. }
                | Request::Presence => true,
                Request::Propose(_) | Request::ReadIndex | Request::Change(_) | Request::Elect => false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_no_member_asks_nothing_of_a_leader() {
        let requests = [
            (Request::Presence, true),
            (Request::Vote(openraft::raft::VoteRequest::new(openraft::Vote::new(1, 1), None)), true),
            (Request::Propose(Default::default()), false),
            (Request::ReadIndex, false),
            (Request::Elect, false),
            (Request::Change(keyspace::MemberChange::Promote { id: 9 }), false),
        ];
        for (request, of_raft) in requests {
            assert!(Standing::Member.may_ask(&request));
            assert!(!Standing::Removed.may_ask(&request), "{request:?}");
            assert_eq!(Standing::Unknown.may_ask(&request), of_raft, "{request:?}");
        }
    }
}
