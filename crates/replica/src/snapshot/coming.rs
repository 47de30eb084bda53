//! A file that is still being made: reading it waits until it is there.

use std::fmt;
use std::io::{self, ErrorKind, SeekFrom};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncSeek, AsyncWrite, ReadBuf};

use crate::disk::{AsyncFile, DiskFile};

type Opening = BoxFuture<'static, io::Result<Box<dyn AsyncFile>>>;

/// The file, once it is there.
pub(crate) enum Coming {
    /// Not yet. The lock is for [`Sync`] alone: who has the file polls it.
    Opening(Mutex<Opening>),
    /// It is.
    Open(Box<dyn AsyncFile>),
}

impl fmt::Debug for Coming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Coming::Opening(_) => "Opening",
            Coming::Open(_) => "Open",
        })
    }
}

impl Coming {
    pub(crate) fn new(opening: Opening) -> Self {
        Coming::Opening(Mutex::new(opening))
    }

    fn failed(kind: ErrorKind) -> Self {
        Coming::new(futures::future::ready(Err(kind.into())).boxed())
    }

    fn poll_file(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Pin<&mut Box<dyn AsyncFile>>>> {
        if let Coming::Opening(opening) = self {
            match ready!(opening.get_mut().poll_unpin(context)) {
                Ok(file) => *self = Coming::Open(file),
                Err(error) => {
                    // Whoever asks again is told again.
                    *self = Coming::failed(error.kind());
                    return Poll::Ready(Err(error));
                }
            }
        }
        match self {
            Coming::Open(file) => Poll::Ready(Ok(Pin::new(file))),
            Coming::Opening(_) => Poll::Pending,
        }
    }
}

impl AsyncFile for Coming {
    fn into_blocking(mut self: Box<Self>) -> BoxFuture<'static, io::Result<Box<dyn DiskFile>>> {
        async move {
            std::future::poll_fn(|context| self.poll_file(context).map_ok(drop)).await?;
            match *self {
                Coming::Open(file) => file.into_blocking().await,
                Coming::Opening(_) => Err(ErrorKind::NotFound.into()),
            }
        }
        .boxed()
    }
}

impl AsyncRead for Coming {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        ready!(self.get_mut().poll_file(context))?.poll_read(context, into)
    }
}

impl AsyncSeek for Coming {
    /// To be called after [`AsyncSeek::poll_complete`], which waits for the file.
    fn start_seek(self: Pin<&mut Self>, to: SeekFrom) -> io::Result<()> {
        match self.get_mut() {
            Coming::Open(file) => Pin::new(file).start_seek(to),
            Coming::Opening(_) => Err(ErrorKind::NotFound.into()),
        }
    }

    fn poll_complete(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<u64>> {
        ready!(self.get_mut().poll_file(context))?.poll_complete(context)
    }
}

/// A snapshot that was made is not written to.
impl AsyncWrite for Coming {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(ErrorKind::Unsupported.into()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests start programs and tasks, and end them")]
mod tests {
    use std::io::Write;

    use tokio::io::{AsyncReadExt, AsyncSeekExt};
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn who_reads_waits_for_the_file() {
        let (done, made) = oneshot::channel::<Box<dyn AsyncFile>>();
        let mut coming = Coming::new(made.map(|file| file.map_err(io::Error::other)).boxed());
        let reading = tokio::spawn(async move {
            let mut text = String::new();
            let end = coming.seek(SeekFrom::End(0)).await?;
            coming.seek(SeekFrom::Start(2)).await?;
            coming.read_to_string(&mut text).await?;
            io::Result::Ok((end, text))
        });
        tokio::task::yield_now().await;
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(b"a snapshot").expect("writes");
        done.send(DiskFile::into_async(Box::new(file))).expect("somebody waits");
        assert_eq!(reading.await.expect("no panic").expect("reads"), (10, "snapshot".to_owned()));
    }

    #[tokio::test]
    async fn a_failure_is_told_again() {
        let mut coming = Coming::new(futures::future::ready(Err(ErrorKind::StorageFull.into())).boxed());
        for _ in 0..2 {
            let error = coming.seek(SeekFrom::End(0)).await.expect_err("fails");
            assert_eq!(error.kind(), ErrorKind::StorageFull);
        }
        let error = Box::new(coming).into_blocking().await.expect_err("fails");
        assert_eq!(error.kind(), ErrorKind::StorageFull);
    }
}
