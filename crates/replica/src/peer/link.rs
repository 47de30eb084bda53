//! One lane to one member: connects when needed, numbers requests, notices silence, and pauses after failures.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncWrite, AsyncWriteExt, BufWriter, ReadHalf};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, timeout};

use super::hello::{self, Hello, Rejection};
use super::{backoff, wire};
use crate::config::Timing;
use crate::transport::{ByteStream, Transport};

/// Calls that may wait to be written.
const MAX_QUEUED_CALLS: usize = 256;
/// Calls that may wait for their answer.
const MAX_PENDING_CALLS: usize = 4_096;
/// Longest to connect, and then to be welcomed.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// A connection on which nothing happens is shown to be there this often.
const IDLE_PING: Duration = Duration::from_secs(10);

/// Why there is no answer.
#[derive(Clone, Debug)]
pub(crate) enum CallError {
    /// The request did not leave: nothing was done.
    NotSent(String),
    /// The connection ended before the answer: it is unknown what was done.
    Lost(String),
}

impl std::fmt::Display for CallError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            CallError::NotSent(text) | CallError::Lost(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for CallError {}

struct Call {
    address: String,
    request: Vec<u8>,
    reply: oneshot::Sender<Result<Vec<u8>, CallError>>,
}

impl Call {
    fn fail(self, error: CallError) {
        // Who asked may be gone.
        drop(self.reply.send(Err(error)));
    }
}

/// The sending end of a lane. Dropping the last clone ends it.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    calls: mpsc::Sender<Call>,
}

/// What a lane's task knows.
pub(crate) struct LinkTask {
    pub(crate) hello: Hello,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) timing: Timing,
    /// Told when something came from the member.
    pub(crate) heard: Arc<dyn Fn(u64) + Send + Sync>,
    /// Told when the member refuses this one (`None`: accepts it).
    pub(crate) verdict: watch::Sender<Option<Rejection>>,
}

impl Link {
    /// Starts the lane's task.
    pub(crate) fn start(task: LinkTask) -> Self {
        let (calls, queue) = mpsc::channel(MAX_QUEUED_CALLS);
        #[expect(clippy::disallowed_methods, reason = "ends with the queue, whose other end is the link")]
        tokio::spawn(task.run(queue));
        Link { calls }
    }

    /// Sends a request to the member, which listens on `address`, and waits for its answer.
    pub(crate) async fn call(&self, address: &str, request: Vec<u8>) -> Result<Vec<u8>, CallError> {
        let (reply, answer) = oneshot::channel();
        let call = Call { address: address.to_owned(), request, reply };
        self.calls.try_send(call).map_err(|_| CallError::NotSent("too many requests wait for it".into()))?;
        answer.await.unwrap_or_else(|_| Err(CallError::Lost("the connection ended".into())))
    }
}

impl LinkTask {
    async fn run(self, mut calls: mpsc::Receiver<Call>) {
        let mut failures = 0;
        while let Some(first) = calls.recv().await {
            if first.reply.is_closed() {
                continue;
            }
            match self.open(&first.address).await {
                Ok(stream) => {
                    failures = 0;
                    self.converse(stream, first, &mut calls).await;
                }
                Err(error) => {
                    failures += 1;
                    let (to, lane) = (self.hello.to, self.hello.lane);
                    if failures == 1 {
                        tracing::warn!(member = format!("{to:x}"), ?lane, %error, "a member cannot be reached");
                    }
                    let error = CallError::NotSent(format!("member {to:x} cannot be reached: {error}"));
                    first.fail(error.clone());
                    let pause = backoff::pause(failures, self.hello.incarnation ^ to);
                    if !refuse_for(pause, &error, &mut calls).await {
                        return;
                    }
                }
            }
        }
    }

    /// Connects and introduces itself.
    async fn open(&self, address: &str) -> io::Result<ByteStream> {
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, "it does not answer");
        let connected = timeout(CONNECT_WITHIN, self.transport.connect(self.hello.to, address)).await;
        let mut stream = connected.map_err(late)??;
        let welcome = timeout(CONNECT_WITHIN, hello::introduce(&mut stream, &self.hello)).await.map_err(late)??;
        self.verdict.send_if_modified(|verdict| {
            let rejection = welcome.as_ref().err().cloned();
            let changed = *verdict != rejection;
            *verdict = rejection;
            changed
        });
        match welcome {
            Ok(_) => Ok(stream),
            Err(rejection) => Err(io::Error::new(io::ErrorKind::PermissionDenied, rejection)),
        }
    }

    /// Talks until the connection or the lane ends.
    async fn converse(&self, stream: ByteStream, first: Call, calls: &mut mpsc::Receiver<Call>) {
        let (input, output) = tokio::io::split(stream);
        let pending = Pending::new();
        let ended = tokio::select! {
            ended = self.listen(input, &pending) => ended,
            ended = self.speak(BufWriter::new(output), first, calls, &pending) => ended,
            ended = self.watch(&pending) => ended,
        };
        let text = match ended {
            Ok(()) => "the connection was closed".to_owned(),
            Err(error) => format!("the connection broke: {error}"),
        };
        tracing::debug!(member = format!("{:x}", self.hello.to), lane = ?self.hello.lane, text, "connection ended");
        pending.fail(&CallError::Lost(text));
    }

    async fn listen(&self, mut input: ReadHalf<ByteStream>, pending: &Pending) -> io::Result<()> {
        while let Some((number, bytes)) = wire::read_frame(&mut input, wire::MAX_FRAME_BYTES).await? {
            pending.heard();
            (self.heard)(self.hello.to);
            if number != wire::PING
                && let Some(reply) = pending.take(number)
            {
                drop(reply.send(Ok(bytes)));
            }
        }
        Ok(())
    }

    async fn speak(
        &self,
        mut output: BufWriter<impl AsyncWrite + Unpin>,
        first: Call,
        calls: &mut mpsc::Receiver<Call>,
        pending: &Pending,
    ) -> io::Result<()> {
        let mut next = Some(first);
        loop {
            while let Some(call) = next.take().or_else(|| calls.try_recv().ok()) {
                match pending.enter(call.reply) {
                    Ok(number) => wire::write_frame(&mut output, number, &call.request).await?,
                    Err(reply) => {
                        drop(reply.send(Err(CallError::NotSent("too many requests wait for answers".into()))));
                    }
                }
            }
            output.flush().await?;
            let quiet = if pending.any() { self.timing.heartbeat } else { IDLE_PING };
            match timeout(quiet, calls.recv()).await {
                Ok(Some(call)) => next = Some(call),
                Ok(None) => return Ok(()),
                Err(_) => {
                    wire::write_frame(&mut output, wire::PING, &[]).await?;
                    pending.pinged();
                }
            }
        }
    }

    /// Ends the connection when the member is silent although it was asked something.
    async fn watch(&self, pending: &Pending) -> io::Result<()> {
        loop {
            sleep(self.timing.heartbeat).await;
            if pending.silent_for() > self.timing.dead_after() {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "it is silent"));
            }
        }
    }
}

/// Refuses calls for a while. False when the lane ended.
async fn refuse_for(pause: Duration, error: &CallError, calls: &mut mpsc::Receiver<Call>) -> bool {
    let until = Instant::now() + pause;
    loop {
        match tokio::time::timeout_at(until, calls.recv()).await {
            Ok(Some(call)) => call.fail(error.clone()),
            Ok(None) => return false,
            Err(_) => return true,
        }
    }
}

/// Requests without answer on one connection.
struct Pending {
    inner: Mutex<Waiting>,
}

struct Waiting {
    next: u64,
    replies: HashMap<u64, oneshot::Sender<Result<Vec<u8>, CallError>>>,
    /// When something was asked last that nothing came after.
    asked: Option<Instant>,
}

impl Pending {
    fn new() -> Self {
        Pending { inner: Mutex::new(Waiting { next: 1, replies: HashMap::new(), asked: None }) }
    }

    /// The number of a new request; its reply back when there are too many.
    fn enter(
        &self,
        reply: oneshot::Sender<Result<Vec<u8>, CallError>>,
    ) -> Result<u64, oneshot::Sender<Result<Vec<u8>, CallError>>> {
        let mut waiting = self.inner.lock();
        if waiting.replies.len() >= MAX_PENDING_CALLS {
            waiting.replies.retain(|_, reply| !reply.is_closed());
        }
        if waiting.replies.len() >= MAX_PENDING_CALLS {
            return Err(reply);
        }
        let number = waiting.next;
        waiting.next += 1;
        waiting.replies.insert(number, reply);
        waiting.asked.get_or_insert_with(Instant::now);
        Ok(number)
    }

    fn pinged(&self) {
        self.inner.lock().asked.get_or_insert_with(Instant::now);
    }

    fn heard(&self) {
        self.inner.lock().asked = None;
    }

    fn take(&self, number: u64) -> Option<oneshot::Sender<Result<Vec<u8>, CallError>>> {
        self.inner.lock().replies.remove(&number)
    }

    fn any(&self) -> bool {
        let mut waiting = self.inner.lock();
        waiting.replies.retain(|_, reply| !reply.is_closed());
        !waiting.replies.is_empty()
    }

    fn silent_for(&self) -> Duration {
        self.inner.lock().asked.map_or(Duration::ZERO, |asked| asked.elapsed())
    }

    fn fail(&self, error: &CallError) {
        for (_, reply) in std::mem::take(&mut self.inner.lock().replies) {
            drop(reply.send(Err(error.clone())));
        }
    }
}
