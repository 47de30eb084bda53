//! The port to other members: authenticated streams of bytes, to them and from them.
//!
//! What runs over the streams is in `peer`; whether they are TLS over TCP or the network of a simulation is decided
//! here. A transport vouches for one thing: that the other end is the member it is said to be.

use std::fmt::Debug;
use std::io;

use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};

/// Both directions of a connection.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A connection to another member.
pub type ByteStream = Box<dyn Io>;

/// A connection that came in: resolves, once it is authenticated, to the member at the other end and the stream.
/// Listening goes on meanwhile.
pub type Incoming = BoxFuture<'static, io::Result<(u64, ByteStream)>>;

/// Connects members. All waiting is on tokio's clock.
pub trait Transport: Debug + Send + Sync + 'static {
    /// A new connection to `member`, which listens on `address` (`HOST:PORT`). Fails when somebody else answers there.
    fn connect(&self, member: u64, address: &str) -> BoxFuture<'static, io::Result<ByteStream>>;

    /// The next connection from another member. An error is of the listener, not of one connection; it is tried again
    /// after a pause.
    fn accept(&self) -> BoxFuture<'_, io::Result<Incoming>>;
}
