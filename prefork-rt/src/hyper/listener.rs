//! The listeners that `serve` accepts from: those of tokio, for TCP and for Unix sockets.

use std::io;
use std::net;
use std::os::unix;

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

/// What [`serve`](super::serve) accepts from: `tokio::net::TcpListener` and `tokio::net::UnixListener`. Sealed.
///
/// ```
/// use prefork_rt::hyper::Listener;
///
/// fn is_served<L: Listener>(_: &L) {}
///
/// # fn check(tcp: tokio::net::TcpListener, unix: tokio::net::UnixListener) {
/// is_served(&tcp);
/// is_served(&unix);
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a listener that `serve` accepts from",
    label = "expected `tokio::net::TcpListener` or `tokio::net::UnixListener`",
    note = "a listener of the standard library: set_nonblocking(true), then tokio::net::TcpListener::from_std"
)]
pub trait Listener: sealed::Listener {}

impl Listener for TcpListener {}
impl Listener for UnixListener {}

pub(super) mod sealed {
    use std::os::fd::{AsFd, AsRawFd};

    use tokio::io::{AsyncRead, AsyncWrite};

    use super::*;

    pub trait Listener: Send + 'static {
        type Std: AsRawFd + AsFd + Send + Sync + 'static;
        type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

        fn into_std(self) -> io::Result<Self::Std>;

        /// The next client, if there is one.
        fn accept(listener: &Self::Std) -> io::Result<Self::Stream>;
    }

    impl Listener for TcpListener {
        type Std = net::TcpListener;
        type Stream = TcpStream;

        fn into_std(self) -> io::Result<net::TcpListener> {
            TcpListener::into_std(self)
        }

        fn accept(listener: &net::TcpListener) -> io::Result<TcpStream> {
            let (stream, _) = listener.accept()?;
            stream.set_nonblocking(true)?;
            // Small answers are sent at once. It fails when the client is gone, which the first read finds, too.
            let _ = stream.set_nodelay(true);
            TcpStream::from_std(stream)
        }
    }

    impl Listener for UnixListener {
        type Std = unix::net::UnixListener;
        type Stream = UnixStream;

        fn into_std(self) -> io::Result<unix::net::UnixListener> {
            UnixListener::into_std(self)
        }

        fn accept(listener: &unix::net::UnixListener) -> io::Result<UnixStream> {
            let (stream, _) = listener.accept()?;
            stream.set_nonblocking(true)?;
            UnixStream::from_std(stream)
        }
    }
}
