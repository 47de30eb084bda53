//! Files of a simulated disk.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use replica::disk::{AsyncFile, DiskFile};
use tokio::io::{AsyncRead, AsyncSeek, AsyncWrite, ReadBuf};

/// What is in a file.
#[derive(Debug, Default)]
pub struct Content {
    bytes: Vec<u8>,
    /// How many of them a crash leaves.
    synced: usize,
}

impl Content {
    /// Bytes a crash may take.
    pub fn unsynced(&self) -> u64 {
        (self.bytes.len() - self.synced.min(self.bytes.len())) as u64
    }

    /// Loses the last `lost` bytes.
    pub fn crash(&mut self, lost: u64) {
        let left = self.bytes.len() - usize::try_from(lost).unwrap_or(usize::MAX).min(self.bytes.len());
        self.bytes.truncate(left);
        self.synced = left;
    }
}

/// An open file.
#[derive(Debug)]
pub struct File {
    content: Arc<Mutex<Content>>,
    position: usize,
}

impl File {
    /// Opens it at its beginning.
    pub fn new(content: Arc<Mutex<Content>>) -> Self {
        File { content, position: 0 }
    }
}

impl Read for File {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let content = self.content.lock();
        let rest = content.bytes.get(self.position..).unwrap_or_default();
        let count = rest.len().min(into.len());
        into[..count].copy_from_slice(&rest[..count]);
        self.position += count;
        Ok(count)
    }
}

impl Write for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut content = self.content.lock();
        let end = self.position + bytes.len();
        if content.bytes.len() < end {
            content.bytes.resize(end, 0);
        }
        content.bytes[self.position..end].copy_from_slice(bytes);
        content.synced = content.synced.min(self.position);
        self.position = end;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for File {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let base = match to {
            SeekFrom::Start(_) => 0,
            SeekFrom::Current(_) => self.position,
            SeekFrom::End(_) => self.content.lock().bytes.len(),
        };
        let target = match to {
            SeekFrom::Start(offset) => usize::try_from(offset).ok(),
            SeekFrom::Current(offset) | SeekFrom::End(offset) => {
                isize::try_from(offset).ok().and_then(|offset| base.checked_add_signed(offset))
            }
        };
        self.position = target.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position as u64)
    }
}

impl DiskFile for File {
    fn sync_all(&self) -> io::Result<()> {
        let mut content = self.content.lock();
        content.synced = content.bytes.len();
        Ok(())
    }

    fn into_async(self: Box<Self>) -> Box<dyn AsyncFile> {
        self
    }
}

impl AsyncFile for File {
    fn into_blocking(self: Box<Self>) -> BoxFuture<'static, io::Result<Box<dyn DiskFile>>> {
        async move { Ok(self as Box<dyn DiskFile>) }.boxed()
    }
}

impl AsyncRead for File {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let count = self.read(into.initialize_unfilled())?;
        into.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for File {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(self.write(bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl AsyncSeek for File {
    fn start_seek(mut self: Pin<&mut Self>, to: SeekFrom) -> io::Result<()> {
        self.seek(to).map(drop)
    }

    fn poll_complete(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<u64>> {
        Poll::Ready(Ok(self.position as u64))
    }
}
