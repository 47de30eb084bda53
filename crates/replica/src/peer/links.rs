//! The links of this member to all others, made when first used.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::hello::{Hello, Lane, PROTOCOL, Rejection};
use super::link::{CallError, Link, LinkTask};
use super::sessions::Sessions;
use super::wire::{self, Answer, Request};
use crate::config::Timing;
use crate::transport::Transport;

/// Who this member is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Me {
    pub(crate) id: u64,
    pub(crate) cluster_id: u64,
    pub(crate) incarnation: u64,
}

/// The links to other members. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Links {
    inner: Arc<Inner>,
}

struct Inner {
    me: Me,
    timing: Timing,
    /// None while this member is alone.
    transport: Option<Arc<dyn Transport>>,
    links: Mutex<HashMap<(u64, Lane), Link>>,
    sessions: Arc<Sessions>,
    /// When each member answered last.
    heard: Arc<Mutex<HashMap<u64, tokio::time::Instant>>>,
    verdict: watch::Sender<Option<Rejection>>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Links").field("me", &self.me).finish_non_exhaustive()
    }
}

impl Links {
    pub(crate) fn new(me: Me, timing: Timing, transport: Option<Arc<dyn Transport>>) -> Self {
        let inner = Inner {
            me,
            timing,
            transport,
            links: Mutex::default(),
            sessions: Arc::new(Sessions::new(timing.dead_after())),
            heard: Arc::default(),
            verdict: watch::Sender::new(None),
        };
        Links { inner: Arc::new(inner) }
    }

    pub(crate) fn me(&self) -> Me {
        self.inner.me
    }

    pub(crate) fn transport(&self) -> Option<&Arc<dyn Transport>> {
        self.inner.transport.as_ref()
    }

    pub(crate) fn sessions(&self) -> &Arc<Sessions> {
        &self.inner.sessions
    }

    /// The newest refusal of this member by another one; nothing since one welcomed it.
    pub(crate) fn verdict(&self) -> watch::Receiver<Option<Rejection>> {
        self.inner.verdict.subscribe()
    }

    /// Whether the member was heard of lately, in either direction.
    pub(crate) fn is_live(&self, member: u64) -> bool {
        let answered = self.inner.heard.lock().get(&member).copied();
        let dead_after = self.inner.timing.dead_after();
        answered.is_some_and(|at| at.elapsed() < dead_after) || self.inner.sessions.is_live(member)
    }

    /// Asks a member something.
    pub(crate) async fn ask(
        &self,
        member: u64,
        address: &str,
        lane: Lane,
        request: &Request,
    ) -> Result<Answer, CallError> {
        let request = wire::encode(request).map_err(|error| CallError::NotSent(format!("the request: {error}")))?;
        let answer = self.link(member, lane)?.call(address, request).await?;
        wire::decode(&answer).map_err(|error| CallError::Lost(format!("the answer cannot be read: {error}")))
    }

    /// Ends the links to members that are none any more.
    pub(crate) fn keep(&self, is_member: impl Fn(u64) -> bool) {
        self.inner.links.lock().retain(|(member, _), _| is_member(*member));
    }

    /// Ends all links.
    pub(crate) fn close(&self) {
        self.inner.links.lock().clear();
    }

    fn link(&self, member: u64, lane: Lane) -> Result<Link, CallError> {
        let inner = &self.inner;
        let Some(transport) = &inner.transport else {
            return Err(CallError::NotSent(format!(
                "member {member:x} cannot be reached: this member has no transport"
            )));
        };
        let mut links = inner.links.lock();
        let link = links.entry((member, lane)).or_insert_with(|| {
            let Me { id, cluster_id, incarnation } = inner.me;
            let heard = inner.heard.clone();
            Link::start(LinkTask {
                hello: Hello { protocol: PROTOCOL, cluster_id, from: id, to: member, incarnation, lane },
                transport: transport.clone(),
                timing: inner.timing,
                heard: Arc::new(move |member| {
                    heard.lock().insert(member, tokio::time::Instant::now());
                }),
                verdict: inner.verdict.clone(),
            })
        });
        Ok(link.clone())
    }
}
