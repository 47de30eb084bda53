//! Service `Watch`: many watches on one stream.
//!
//! ```text
//!   requests ──► Session ◄── batches of all watches (those that are ready)
//!                   │ one thing at a time
//!                   ▼
//!                answers        (polled by the connection: a client that does not read stops this, and nobody else)
//! ```

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::{AbortHandle, Abortable, BoxStream, SelectAll};
use keyspace::{Error, Refusal, Revision, WatchBatch, WatchEvent};
use prost::Message;
use tonic::{Status, Streaming};

use super::batching::Batching;
use super::routes::ResponseStream;
use super::{EtcdServer, failed};
use crate::convert::{self, signed};
use crate::limits::{FRAGMENT_BYTES, MAX_WATCHES_PER_STREAM};
use crate::wire::watch::{Ask, WatchCreateRequest, WatchRequest, WatchResponse};

/// Id of answers that are about no watch, or all.
const NO_WATCH: i64 = -1;

impl EtcdServer {
    pub(super) async fn watch(
        self: Arc<Self>,
        requests: Streaming<WatchRequest>,
    ) -> Result<ResponseStream<WatchResponse>, Status> {
        let session = Session {
            server: self,
            requests: Some(requests),
            watches: HashMap::new(),
            batches: Batching::new(SelectAll::new()),
            outbox: VecDeque::new(),
            next_id: 0,
            marks: VecDeque::new(),
        };
        Ok(futures::stream::unfold(session, |mut session| async move {
            let answer = session.next().await?;
            Some((answer, session))
        })
        .boxed())
    }
}

type Batches = BoxStream<'static, (i64, Result<WatchBatch, Error>)>;

/// One stream of a client.
struct Session {
    server: Arc<EtcdServer>,
    /// None once the client has said all.
    requests: Option<Streaming<WatchRequest>>,
    watches: HashMap<i64, Watch>,
    batches: Batching<SelectAll<Batches>>,
    outbox: VecDeque<WatchResponse>,
    next_id: i64,
    /// Progress requests that are not answered yet: the revision each waits for.
    marks: VecDeque<Revision>,
}

struct Watch {
    ends: AbortHandle,
    fragment: bool,
    /// The client filters everything out, and may still want progress.
    mute: bool,
    /// The client asked for marks by itself.
    progress: bool,
    /// Delivered so far.
    delivered: Revision,
    marker: keyspace::Marker,
}

/// What happened next.
enum Happened {
    Request(Option<Result<WatchRequest, Status>>),
    Batch(i64, Result<WatchBatch, Error>),
}

impl Session {
    async fn next(&mut self) -> Option<Result<WatchResponse, Status>> {
        loop {
            if let Some(answer) = self.outbox.pop_front() {
                return Some(Ok(answer));
            }
            if self.requests.is_none() && self.watches.is_empty() {
                return None;
            }
            let done = match self.happens().await {
                Happened::Request(Some(Ok(request))) => self.take(request).await,
                Happened::Request(Some(Err(status))) => Err(status),
                Happened::Request(None) => {
                    // The client has no more to say; its watches go on.
                    self.requests = None;
                    Ok(())
                }
                Happened::Batch(id, batch) => self.deliver(id, batch).await,
            };
            if let Err(status) = done {
                self.requests = None;
                self.watches.drain().for_each(|(_, watch)| watch.ends.abort());
                return Some(Err(status));
            }
        }
    }

    async fn happens(&mut self) -> Happened {
        let Session { requests, batches, .. } = self;
        let request = async {
            match requests {
                Some(requests) => requests.next().await,
                None => std::future::pending().await,
            }
        };
        if batches.get_ref().is_empty() {
            return Happened::Request(request.await);
        }
        tokio::select! {
            request = request => Happened::Request(request),
            Some((id, batch)) = batches.next() => Happened::Batch(id, batch),
        }
    }

    async fn take(&mut self, request: WatchRequest) -> Result<(), Status> {
        match request.request {
            Some(Ask::Create(create)) => self.create(create).await,
            Some(Ask::Cancel(cancel)) => self.cancel(cancel.watch_id).await,
            Some(Ask::Progress(_)) => self.progress().await,
            // etcd skips what it does not know.
            None => Ok(()),
        }
    }

    async fn create(&mut self, create: WatchCreateRequest) -> Result<(), Status> {
        let id = match self.choose_id(&create) {
            Ok(id) => id,
            Err(reason) => return self.refuse(reason).await,
        };
        let (request, mute) = convert::watch(&create)?;
        let compacted = match self.server.keyspace.watch(request).await {
            Ok(stream) => {
                let created = WatchResponse { created: true, ..self.response(id, stream.revision()) };
                self.outbox.push_back(created);
                self.follow(id, &create, mute, stream);
                return Ok(());
            }
            Err(Error::Refused(Refusal::Compacted { compacted, .. })) => compacted,
            Err(error) => return Err(failed(error)),
        };
        let header = Some(self.server.newest_header().await?);
        self.outbox.push_back(WatchResponse {
            header: header.clone(),
            watch_id: id,
            created: true,
            ..Default::default()
        });
        self.outbox.push_back(WatchResponse {
            header,
            watch_id: id,
            canceled: true,
            compact_revision: signed(compacted),
            ..Default::default()
        });
        Ok(())
    }

    /// The id of a new watch, or why there is none.
    fn choose_id(&mut self, create: &WatchCreateRequest) -> Result<i64, &'static str> {
        let (start, end) = (&create.key, &create.range_end);
        if !end.is_empty() && end != &b"\0"[..] && start >= end {
            return Err("mvcc: watcher range is empty");
        }
        if self.watches.len() >= MAX_WATCHES_PER_STREAM {
            return Err("etcdserver: too many watchers");
        }
        if create.watch_id == 0 {
            while self.watches.contains_key(&self.next_id) {
                self.next_id += 1;
            }
            self.next_id += 1;
            return Ok(self.next_id - 1);
        }
        if self.watches.contains_key(&create.watch_id) {
            return Err("mvcc: duplicate watch ID provided on the WatchStream");
        }
        Ok(create.watch_id)
    }

    async fn refuse(&mut self, reason: &str) -> Result<(), Status> {
        self.outbox.push_back(WatchResponse {
            header: Some(self.server.newest_header().await?),
            watch_id: NO_WATCH,
            created: true,
            canceled: true,
            cancel_reason: reason.to_owned(),
            ..Default::default()
        });
        Ok(())
    }

    fn follow(&mut self, id: i64, create: &WatchCreateRequest, mute: bool, stream: keyspace::WatchStream) {
        let (ends, registration) = AbortHandle::new_pair();
        let marker = stream.marker();
        let batches = stream.map(move |batch| (id, batch));
        self.batches.get_mut().push(Abortable::new(batches, registration).boxed());
        let (fragment, progress) = (create.fragment, create.progress_notify);
        self.watches.insert(id, Watch { ends, fragment, mute, progress, delivered: 0, marker });
        if !self.marks.is_empty() {
            self.remind(id);
        }
    }

    async fn cancel(&mut self, id: i64) -> Result<(), Status> {
        let Some(watch) = self.watches.remove(&id) else { return Ok(()) };
        watch.ends.abort();
        let header = Some(self.server.newest_header().await?);
        self.outbox.push_back(WatchResponse { header, watch_id: id, canceled: true, ..Default::default() });
        self.mark();
        Ok(())
    }

    /// The client asks how far all watches have come: it is told once each has come to where the keyspace is now.
    async fn progress(&mut self) -> Result<(), Status> {
        self.marks.push_back(self.server.standing().await?.revision);
        let ids: Vec<i64> = self.watches.keys().copied().collect();
        ids.into_iter().for_each(|id| self.remind(id));
        self.mark();
        Ok(())
    }

    /// Asks a watch to say how far it has come as soon as it is not behind.
    fn remind(&self, id: i64) {
        if let Some(watch) = self.watches.get(&id) {
            watch.marker.request();
        }
    }

    /// Answers the progress requests that all watches have met.
    fn mark(&mut self) {
        while let Some(wanted) = self.marks.front().copied() {
            if self.watches.values().any(|watch| watch.delivered < wanted) {
                return;
            }
            self.marks.pop_front();
            let answer = self.response(NO_WATCH, wanted);
            self.outbox.push_back(answer);
        }
    }

    async fn deliver(&mut self, id: i64, batch: Result<WatchBatch, Error>) -> Result<(), Status> {
        let Some(watch) = self.watches.get_mut(&id) else { return Ok(()) };
        match batch {
            Ok(batch) => {
                watch.delivered = watch.delivered.max(batch.revision);
                let (mute, fragment, progress) = (watch.mute, watch.fragment, watch.progress);
                if batch.is_progress() {
                    if progress && self.marks.is_empty() {
                        let answer = self.response(id, batch.revision);
                        self.outbox.push_back(answer);
                    }
                } else if !mute {
                    self.events(id, fragment, batch.revision, batch.events);
                }
                self.mark();
                Ok(())
            }
            Err(Error::Refused(Refusal::Compacted { compacted, .. })) => {
                self.watches.remove(&id);
                let header = Some(self.server.newest_header().await?);
                self.outbox.push_back(WatchResponse {
                    header,
                    watch_id: id,
                    canceled: true,
                    compact_revision: signed(compacted),
                    ..Default::default()
                });
                Ok(())
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// Answers with events; in pieces if they are many and the client can put pieces together.
    fn events(&mut self, id: i64, fragment: bool, revision: Revision, events: Vec<WatchEvent>) {
        let mut answer = self.response(id, revision);
        if !fragment {
            answer.events = events.into_iter().map(convert::event).collect();
            self.outbox.push_back(answer);
            return;
        }
        let mut bytes = 0;
        for event in events.into_iter().map(convert::event) {
            let size = event.encoded_len();
            if bytes + size > FRAGMENT_BYTES && !answer.events.is_empty() {
                let next = self.response(id, revision);
                let full = std::mem::replace(&mut answer, next);
                self.outbox.push_back(WatchResponse { fragment: true, ..full });
                bytes = 0;
            }
            bytes += size;
            answer.events.push(event);
        }
        self.outbox.push_back(answer);
    }

    fn response(&self, watch_id: i64, revision: Revision) -> WatchResponse {
        WatchResponse { header: Some(self.server.header(revision)), watch_id, ..Default::default() }
    }
}
