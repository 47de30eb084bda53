//! Connections from other members.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncWrite, AsyncWriteExt, BufWriter, ReadHalf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::answer::Answerer;
use super::hello::{self, Hello, PROTOCOL, Rejection, Welcome};
use super::links::{Links, Me};
use super::standing::Standing;
use super::wire::{self, Answer, Failure, MAX_FRAME_BYTES, MAX_HELLO_BYTES, Request};
use crate::transport::{ByteStream, Incoming, Transport};

/// Connections at once: lanes times the most members there can be while some are exchanged, and room for reconnecting.
const MAX_CONNECTIONS: usize = 64;
/// Requests of one connection under way at once; more wait in the connection.
const MAX_REQUESTS: usize = 512;
/// Longest for a connection to authenticate and to introduce itself.
const INTRODUCED_WITHIN: Duration = Duration::from_secs(5);
/// A connection that is silent for so long is closed; the other side pings more often.
const SILENT_FOR: Duration = Duration::from_secs(30);
/// Pause after the listener failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves other members until dropped.
pub(crate) async fn serve(transport: Arc<dyn Transport>, links: Links, answerer: Arc<Answerer>) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(place) = places.clone().acquire_owned().await else { return };
        match transport.accept().await {
            Ok(incoming) => {
                let connection = Connection { links: links.clone(), answerer: answerer.clone(), _place: place };
                connections.spawn(connection.run(incoming));
            }
            Err(error) => {
                tracing::warn!(%error, "the peer listener failed");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

struct Connection {
    links: Links,
    answerer: Arc<Answerer>,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    async fn run(self, incoming: Incoming) {
        let introduced = timeout(INTRODUCED_WITHIN, self.introduced(incoming)).await;
        let (hello, stream) = match introduced {
            Ok(Ok(introduced)) => introduced,
            Ok(Err(error)) => return tracing::warn!(%error, "a connection to the peer address was refused"),
            Err(_) => return tracing::debug!("a connection to the peer address did not introduce itself"),
        };
        let sessions = self.links.sessions();
        let ended = self.converse(&hello, stream).await;
        sessions.leave(hello.from, hello.incarnation);
        if let Err(error) = ended {
            tracing::debug!(member = format!("{:x}", hello.from), lane = ?hello.lane, %error, "connection ended");
        }
    }

    /// Who it is, when it may stay; entered into the sessions.
    async fn introduced(&self, incoming: Incoming) -> io::Result<(Hello, ByteStream)> {
        let (proved, mut stream) = incoming.await?;
        let Some((_, bytes)) = wire::read_frame(&mut stream, MAX_HELLO_BYTES).await? else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        let me = self.links.me();
        let admitted = hello::read(&bytes)?
            .map_err(|theirs| Rejection::Protocol { id: me.id, theirs, ours: PROTOCOL })
            .and_then(|hello| self.admit(me, proved, &hello).map(|()| hello));
        let welcome: Welcome = admitted.as_ref().map(|_| me.incarnation).map_err(Clone::clone);
        wire::write_frame(&mut stream, wire::PING, &wire::encode(&welcome)?).await?;
        stream.flush().await?;
        match admitted {
            Ok(hello) => Ok((hello, stream)),
            Err(rejection) => {
                // The refusal must arrive before the end of the connection does.
                stream.shutdown().await?;
                Err(io::Error::new(io::ErrorKind::PermissionDenied, rejection))
            }
        }
    }

    fn admit(&self, me: Me, proved: u64, hello: &Hello) -> Result<(), Rejection> {
        if hello.cluster_id != me.cluster_id {
            return Err(Rejection::Cluster { id: me.id, theirs: hello.cluster_id, ours: me.cluster_id });
        }
        if hello.to != me.id {
            return Err(Rejection::Target { id: me.id, wanted: hello.to });
        }
        if hello.from != proved {
            return Err(Rejection::Identity { claimed: hello.from, proved });
        }
        if hello.from == me.id {
            return Err(Rejection::Duplicate { id: me.id });
        }
        if self.answerer.parts.standing(hello.from) == Standing::Removed {
            return Err(Rejection::Removed { id: hello.from });
        }
        self.links.sessions().enter(hello.from, hello.incarnation)
    }

    async fn converse(&self, hello: &Hello, stream: ByteStream) -> io::Result<()> {
        let (input, output) = tokio::io::split(stream);
        let (answers, queue) = mpsc::channel(MAX_REQUESTS);
        tokio::select! {
            ended = self.listen(hello, input, answers) => ended,
            ended = speak(BufWriter::new(output), queue) => ended,
            () = self.removed(hello.from) => Err(io::Error::new(io::ErrorKind::PermissionDenied, "it was removed")),
        }
    }

    /// Waits until the member has been removed, and a moment longer: it may be itself that asked for it, and has an answer
    /// coming.
    async fn removed(&self, member: u64) {
        let parts = &self.answerer.parts;
        let mut servers = parts.raft.server_metrics();
        while parts.standing(member) != Standing::Removed {
            if servers.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
        sleep(parts.config.timing.heartbeat).await;
    }

    async fn listen(
        &self,
        hello: &Hello,
        mut input: ReadHalf<ByteStream>,
        answers: mpsc::Sender<(u64, Vec<u8>)>,
    ) -> io::Result<()> {
        let places = Arc::new(Semaphore::new(MAX_REQUESTS));
        // Dropped with the connection: nobody would get the answers.
        let mut running = JoinSet::new();
        loop {
            let frame = timeout(SILENT_FOR, wire::read_frame(&mut input, MAX_FRAME_BYTES)).await;
            let Some((number, bytes)) = frame.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?? else {
                return Ok(());
            };
            if !self.links.sessions().heard(hello.from, hello.incarnation) {
                return Err(io::Error::other("another process has taken its place"));
            }
            while running.try_join_next().is_some() {}
            if number == wire::PING {
                answers.send((number, Vec::new())).await.map_err(io::Error::other)?;
                continue;
            }
            let request: Request = wire::decode(&bytes)?;
            let place = places.clone().acquire_owned().await.map_err(io::Error::other)?;
            let (answerer, answers) = (self.answerer.clone(), answers.clone());
            // Looked at for each request: the membership changes while connections stay.
            let may = self.answerer.parts.standing(hello.from).may_ask(&request);
            let from = hello.from;
            running.spawn(async move {
                let answer = if may { answerer.answer(request).await } else { no_member(from) };
                let bytes = wire::encode(&answer).or_else(|error| {
                    let text = format!("it was done, and the answer cannot be sent: {error}");
                    wire::encode(&Answer::Failed(Failure::Unknown(text)))
                });
                if let Ok(bytes) = bytes {
                    // The connection may be gone.
                    drop(answers.send((number, bytes)).await);
                }
                drop(place);
            });
        }
    }
}

/// Nothing was done.
fn no_member(member: u64) -> Answer {
    Answer::Failed(Failure::NoLeader(format!("member {member:x} is no member of this cluster")))
}

async fn speak(
    mut output: BufWriter<impl AsyncWrite + Unpin>,
    mut queue: mpsc::Receiver<(u64, Vec<u8>)>,
) -> io::Result<()> {
    while let Some((number, bytes)) = queue.recv().await {
        wire::write_frame(&mut output, number, &bytes).await?;
        while let Ok((number, bytes)) = queue.try_recv() {
            wire::write_frame(&mut output, number, &bytes).await?;
        }
        output.flush().await?;
    }
    Ok(())
}
