//! Activity of a connection: how long it has been idle, and whether its peer reads what it is sent.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep},
};

/// What one connection is doing.
#[derive(Debug)]
pub(crate) struct Activity {
    began: Instant,
    /// Requests that are not answered in full.
    open: AtomicUsize,
    /// Milliseconds from the beginning to the end of the last request.
    last: AtomicU64,
    /// Whether a stream was opened that people read at their own pace, such as a log.
    unhurried: AtomicBool,
}

impl Activity {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            began: Instant::now(),
            open: AtomicUsize::new(0),
            last: AtomicU64::new(0),
            unhurried: AtomicBool::new(false),
        })
    }

    /// From now on the peer may read at its own pace.
    pub(crate) fn unhurried(&self) {
        self.unhurried.store(true, Ordering::Relaxed);
    }

    /// Counts a request until the body of its response is dropped.
    pub(super) fn request(self: &Arc<Self>) -> Busy {
        self.open.fetch_add(1, Ordering::AcqRel);
        Busy(self.clone())
    }

    /// Resolves when no request was open for that long.
    pub(super) async fn idle(&self, most: Duration) {
        loop {
            let quiet = self.began.elapsed().saturating_sub(Duration::from_millis(self.last.load(Ordering::Acquire)));
            let is_open = self.open.load(Ordering::Acquire) > 0;
            if !is_open && quiet >= most {
                return;
            }
            tokio::time::sleep(if is_open { most } else { most.saturating_sub(quiet) }).await;
        }
    }
}

/// A request that is not answered in full.
#[derive(Debug)]
pub(super) struct Busy(Arc<Activity>);

impl Drop for Busy {
    fn drop(&mut self) {
        let now = u64::try_from(self.0.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.0.last.store(now, Ordering::Release);
        self.0.open.fetch_sub(1, Ordering::AcqRel);
    }
}

/// An answer's body, which keeps its connection busy.
pub(super) struct Answer {
    body: axum::body::Body,
    _busy: Busy,
}

impl Answer {
    pub(super) fn new(body: axum::body::Body, busy: Busy) -> Self {
        Self { body, _busy: busy }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A socket whose peer must read within a time, unless it may read at its own pace.
pub(super) struct Impatient<S> {
    socket: S,
    activity: Arc<Activity>,
    most: Duration,
    /// Runs while a write waits for the peer.
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<S> Impatient<S> {
    pub(super) fn new(socket: S, activity: Arc<Activity>, most: Duration) -> Self {
        Self { socket, activity, most, waiting: None }
    }

    /// Passes on how a write went, or that the peer took too long.
    fn judge<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.waiting = None;
            return written;
        }
        let most = self.most;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(tokio::time::sleep(most)));
        ready!(waiting.as_mut().poll(cx));
        if self.activity.unhurried.load(Ordering::Relaxed) {
            self.waiting = None;
            return Poll::Pending;
        }
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer takes nothing of what it is sent")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Impatient<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Impatient<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(cx, buf);
        self.judge(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write_vectored(cx, bufs);
        self.judge(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.socket).poll_flush(cx);
        self.judge(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.socket).poll_shutdown(cx);
        self.judge(cx, shut)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const MOST: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_when_nothing_was_open_for_long_enough() {
        let activity = Activity::new();
        let began = Instant::now();
        let busy = activity.request();
        let done = async {
            tokio::time::sleep(3 * MOST).await;
            drop(busy);
        };
        tokio::join!(activity.idle(MOST), done);
        assert!(began.elapsed() >= 4 * MOST && began.elapsed() <= 5 * MOST, "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_is_cut_off_unless_it_may_take_its_time() {
        let (near, mut far) = tokio::io::duplex(16);
        let activity = Activity::new();
        let mut socket = Impatient::new(near, activity.clone(), MOST);
        let began = Instant::now();
        let error = socket.write_all(&[0; 64]).await.unwrap_err();
        assert_eq!((error.kind(), began.elapsed()), (io::ErrorKind::TimedOut, MOST));

        let mut taken = [0; 16];
        far.read_exact(&mut taken).await.unwrap();
        activity.unhurried();
        let slow = async {
            tokio::time::sleep(10 * MOST).await;
            let mut rest = [0; 48];
            far.read_exact(&mut rest).await.unwrap();
        };
        let (written, ()) = tokio::join!(socket.write_all(&[0; 48]), slow);
        written.unwrap();
    }
}
