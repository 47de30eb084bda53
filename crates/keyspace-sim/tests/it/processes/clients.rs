//! Clients that take notes of all they ask and are told, over all the processes they talk to.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use keyspace::testing::Random;
use keyspace::{KeyRange, Revision, Status};
use keyspace_sim::checker::watch::Followed;
use keyspace_sim::history::{Operation, Outcome, Request, Time, Truth};
use keyspace_sim::wire::{Answer, Call, receive, send};
use tokio::net::TcpStream;

/// Keys there are.
const KEYS: u64 = 64;
/// Longest a client waits for an answer, after which it is unknown.
const PATIENCE: Duration = Duration::from_secs(10);

/// The notes of all clients. Clones are the same ones.
#[derive(Clone)]
pub struct Notes {
    began: Instant,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    values: u64,
    operations: Vec<Operation>,
    answered: u64,
}

impl Notes {
    pub fn new() -> Self {
        Notes { began: Instant::now(), inner: Arc::default() }
    }

    fn now(&self) -> Time {
        self.began.elapsed().as_nanos() as Time
    }

    /// How many requests were answered.
    pub fn answered(&self) -> u64 {
        self.inner.lock().expect("whole").answered
    }

    /// All requests.
    pub fn operations(&self) -> Vec<Operation> {
        self.inner.lock().expect("whole").operations.clone()
    }

    fn value(&self) -> Bytes {
        let mut inner = self.inner.lock().expect("whole");
        inner.values += 1;
        format!("value {} {}", inner.values, ".".repeat(100)).into()
    }

    /// Takes note of a request and, later, of how it ended.
    async fn note(&self, request: Request, asked: impl Future<Output = io::Result<Answer>>) -> io::Result<Answer> {
        let invoked = self.now();
        let number = {
            let mut inner = self.inner.lock().expect("whole");
            inner.operations.push(Operation { invoked, request, outcome: Outcome::Unknown });
            inner.operations.len() - 1
        };
        let answer = tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(|late| Err(io::Error::other(late)));
        let at = self.now();
        let mut inner = self.inner.lock().expect("whole");
        match &answer {
            Ok(Answer::Done(response)) => {
                inner.operations[number].outcome = Outcome::Done { at, response: response.clone() };
                inner.answered += 1;
            }
            Ok(Answer::Refused(_)) => inner.operations[number].outcome = Outcome::Refused,
            _ => {}
        }
        answer
    }
}

/// A client of one process, until that dies.
pub struct Client {
    pub notes: Notes,
    stream: TcpStream,
    random: Random,
    /// A value some key had, so that swaps succeed now and then.
    seen: Option<(Bytes, Option<Bytes>)>,
    /// Whether reads are answered from the past, against what is noted: a bug put in on purpose.
    pub stale: bool,
}

impl Client {
    pub async fn connect(address: SocketAddr, notes: Notes, seed: u64) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Client { notes, stream, random: Random::new(seed), seen: None, stale: false })
    }

    fn any_request(&mut self) -> Request {
        let key = Bytes::from(format!("k/{:02}", self.random.below(KEYS)));
        match self.random.below(10) {
            0..4 => Request::Put { writes: vec![(key, self.notes.value())], lease: 0 },
            4 => {
                let other = Bytes::from(format!("m/{}", self.random.below(4)));
                Request::Put { writes: vec![(key, self.notes.value()), (other, self.notes.value())], lease: 0 }
            }
            5 => Request::Delete { key },
            6 | 7 => {
                let (key, expected) = self.seen.take().unwrap_or((key, None));
                Request::Swap { key, expected, value: self.notes.value() }
            }
            8 if self.random.one_in(8) => Request::Read { key: "k/0".into(), prefix: true, serializable: false },
            _ => Request::Read { key, prefix: false, serializable: false },
        }
    }

    /// Asks something. An error when the connection is gone.
    pub async fn step(&mut self) -> io::Result<Answer> {
        let request = self.any_request();
        let (notes, stale) = (self.notes.clone(), self.stale);
        let call = Call::Ask { request: request.clone(), stale };
        let stream = &mut self.stream;
        let asked = async move {
            send(stream, &call).await?;
            receive(stream).await
        };
        let answer = notes.note(request.clone(), asked).await?;
        if let (Request::Put { writes, .. }, Answer::Done(_)) = (&request, &answer) {
            self.seen = writes.first().map(|(key, value)| (key.clone(), Some(value.clone())));
        }
        Ok(answer)
    }
}

/// Asks a member one thing.
pub async fn call(address: SocketAddr, call: &Call) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(address).await?;
    send(&mut stream, call).await?;
    receive(&mut stream).await
}

/// How a member is.
pub async fn status(address: SocketAddr) -> io::Result<Status> {
    match call(address, &Call::Status).await? {
        Answer::Status(status, _) => Ok(status),
        other => Err(io::Error::other(format!("{other:?}"))),
    }
}

/// A watcher that goes on where it was when its process died.
#[derive(Clone)]
pub struct Watcher(Arc<Mutex<Followed>>);

impl Watcher {
    pub fn new(range: KeyRange) -> Self {
        Watcher(Arc::new(Mutex::new(Followed { range, from: 2, through: 1, events: Vec::new() })))
    }

    /// What it was given.
    pub fn followed(&self) -> Followed {
        self.0.lock().expect("whole").clone()
    }

    /// Follows until it is complete up to `until`, or the process is gone.
    pub async fn follow(&self, address: SocketAddr, until: Revision) -> io::Result<()> {
        let mut stream = TcpStream::connect(address).await?;
        let call = {
            let followed = self.0.lock().expect("whole");
            Call::Watch { range: followed.range.clone(), from: followed.through + 1 }
        };
        send(&mut stream, &call).await?;
        while self.0.lock().expect("whole").through < until {
            match receive(&mut stream).await? {
                Answer::Batch { revision, events } => {
                    let mut followed = self.0.lock().expect("whole");
                    followed.through = followed.through.max(revision);
                    followed.events.extend(events);
                }
                other => return Err(io::Error::other(format!("{other:?}"))),
            }
        }
        Ok(())
    }
}

/// Everything that was ever committed, as a new watcher of everything is given it.
pub async fn truth(address: SocketAddr) -> Truth {
    let newest = status(address).await.expect("the member answers").revision;
    let watcher = Watcher::new(KeyRange::all());
    watcher.follow(address, newest).await.expect("all history is there");
    let mut truth: std::collections::BTreeMap<Revision, Vec<_>> = Default::default();
    for event in watcher.followed().events {
        truth.entry(event.kv.mod_revision).or_default().push(event);
    }
    truth.into_iter().map(|(revision, events)| (revision, events.into())).collect()
}
