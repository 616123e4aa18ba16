//! The listeners that `serve` accepts from: those of tokio, for TCP and for Unix sockets.

use std::io;
use std::task::{Context, Poll};

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

/// What [`serve`](super::serve) accepts from: `tokio::net::TcpListener` and `tokio::net::UnixListener`. Sealed.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a listener that `serve` accepts from",
    label = "expected `tokio::net::TcpListener` or `tokio::net::UnixListener`",
    note = "a listener of the standard library: set_nonblocking(true), then tokio::net::TcpListener::from_std"
)]
pub trait Listener: sealed::Listener {}

impl Listener for TcpListener {}
impl Listener for UnixListener {}

pub(super) mod sealed {
    use super::*;

    pub trait Listener: Unpin + Send + Sync + 'static {
        type Stream: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static;

        /// The next client, of which a small answer is sent at once.
        fn poll_accept(&self, context: &mut Context<'_>) -> Poll<io::Result<Self::Stream>>;
    }

    impl Listener for TcpListener {
        type Stream = TcpStream;

        fn poll_accept(&self, context: &mut Context<'_>) -> Poll<io::Result<TcpStream>> {
            TcpListener::poll_accept(self, context).map_ok(|(stream, _)| {
                // It fails when the client is gone, which the first read finds, too.
                let _ = stream.set_nodelay(true);
                stream
            })
        }
    }

    impl Listener for UnixListener {
        type Stream = UnixStream;

        fn poll_accept(&self, context: &mut Context<'_>) -> Poll<io::Result<UnixStream>> {
            UnixListener::poll_accept(self, context).map_ok(|(stream, _)| stream)
        }
    }
}
