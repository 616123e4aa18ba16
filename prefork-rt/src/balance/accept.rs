//! Accepting from a listener of any kind when it is this worker's turn, and counting what was accepted.

use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::task::{Context, Poll, ready};

use socket2::SockRef;
use tokio::io::unix::AsyncFd;
use tokio::runtime::Handle;

use super::turn::Turns;
use crate::scoreboard::Counted;

/// A listener of the standard library in non-blocking mode, registered with the runtime in which it was made.
///
/// While it lives, the other workers wait for this one where it has fewer connections: drop it to accept no more.
pub(crate) struct Acceptor<L: AsRawFd> {
    listener: AsyncFd<L>,
    /// `None` where waiting would help no other worker: at the socket of a slot, which is this worker's alone. At a Unix
    /// socket the kernel does not say how many connections wait, and so there is no wait either.
    turns: Option<Turns>,
    _counted: Counted,
}

/// A connection of this worker that counts as open while this value lives: from
/// [`BalancedStream::into_parts`](crate::BalancedStream::into_parts).
///
/// ```no_run
/// use prefork_rt::{BalancedStream, OpenConnection};
/// use tokio::net::TcpStream;
///
/// /// A client of a protocol that needs the stream itself.
/// struct Client {
///     stream: TcpStream,
///     open: OpenConnection,
/// }
///
/// impl From<BalancedStream> for Client {
///     fn from(stream: BalancedStream) -> Client {
///         let (stream, open) = stream.into_parts();
///         Client { stream, open }
///     }
/// }
/// ```
#[derive(Debug)]
#[must_use = "the connection counts as open until this is dropped"]
pub struct OpenConnection(#[expect(dead_code, reason = "it counts until it is dropped")] Counted);

impl<L: AsRawFd + AsFd> Acceptor<L> {
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub(crate) fn new(listener: L) -> io::Result<Acceptor<L>> {
        // Where sockets share an address, the kernel has chosen the worker when the connection came.
        let is_of_a_slot = SockRef::from(&listener).reuse_port().unwrap_or(false);
        let turns = (!is_of_a_slot).then(|| Turns::new(Handle::current()));
        Ok(Acceptor { listener: register(listener)?, turns, _counted: Counted::listener() })
    }

    pub(crate) fn get_ref(&self) -> &L {
        self.listener.get_ref()
    }

    /// Waits for a connection and for this worker's turn, and calls `accept`, which is to return
    /// [`io::ErrorKind::WouldBlock`] where there is none. May be cancelled: no connection is lost, and the next call goes on
    /// with a wait that has begun.
    pub(crate) async fn accept<T>(&mut self, accept: impl Fn(&L) -> io::Result<T>) -> io::Result<(T, OpenConnection)> {
        let accepted = poll_fn(|context| self.poll_accept(context, &accept)).await?;
        Ok((accepted, OpenConnection(Counted::connection())))
    }

    fn poll_accept<T>(
        &mut self,
        context: &mut Context<'_>,
        accept: impl Fn(&L) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        loop {
            let mut ready = ready!(self.listener.poll_read_ready(context))?;
            if let Some(turns) = &mut self.turns {
                ready!(turns.poll(context, ready.get_inner().as_fd()));
            }
            // Otherwise another worker was faster.
            if let Ok(accepted) = ready.try_io(|listener| accept(listener.get_ref())) {
                return Poll::Ready(accepted);
            }
        }
    }
}

/// Registers a descriptor with the runtime that this is called in.
#[allow(deprecated)] // Its successor, `AsyncFd::register`, is not in tokio before 1.54.
pub(super) fn register<T: AsRawFd + AsFd>(descriptor: T) -> io::Result<AsyncFd<T>> {
    // With AsFd a type vouches that the descriptor is open as long as the value lives, which the deprecated way does not ask.
    AsyncFd::new(descriptor)
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    fn acceptor<L: AsRawFd + AsFd>(listener: L) -> Acceptor<L> {
        SockRef::from(&listener).set_nonblocking(true).unwrap();
        Acceptor::new(listener).unwrap()
    }

    #[tokio::test]
    async fn every_connection_is_accepted_at_a_listener_of_any_kind() {
        let mut tcp = acceptor(TcpListener::bind("127.0.0.1:0").unwrap());
        let mut clients = Vec::new();
        for _ in 0..3 {
            clients.push(TcpStream::connect(tcp.get_ref().local_addr().unwrap()).unwrap());
        }
        for client in &mut clients {
            let ((connection, address), _open) = tcp.accept(TcpListener::accept).await.unwrap();
            assert_eq!(address, client.local_addr().unwrap());
            drop(connection);
            assert_eq!(client.read(&mut [0]).unwrap(), 0);
        }

        let path = std::env::temp_dir().join(format!("prefork-balance-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let mut unix = acceptor(UnixListener::bind(&path).unwrap());
        let _client = UnixStream::connect(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let (_connection, _open) = unix.accept(UnixListener::accept).await.unwrap();
    }

    #[tokio::test]
    async fn a_socket_that_shares_its_address_has_no_turns() {
        let socket = |shares| {
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
            socket.set_reuse_port(shares).unwrap();
            socket.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
            socket.listen(8).unwrap();
            acceptor(TcpListener::from(socket)).turns.is_some()
        };
        assert_eq!([socket(false), socket(true)], [true, false]);
    }
}
