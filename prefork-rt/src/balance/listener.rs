//! A TCP listener of tokio whose connections are spread evenly over the workers.

use std::fmt;
use std::io;
use std::net;
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;

use super::{Acceptor, OpenConnection};
use crate::error::Error;
use crate::sys::of_call;
use crate::worker::Worker;

/// A TCP listener whose connections are spread evenly over the workers; cargo feature `tokio`.
///
/// All workers have the listener, and the worker that wakes up first takes what there is: on an idle machine that is often
/// the same one. A worker with this listener counts its open connections in memory that the pool shares. Where it has at
/// least two more than another worker, it waits 300 µs before it accepts, and the other worker takes the connection. It
/// accepts at once where no worker has fewer, and where more than one connection waits.
///
/// * No connection waits longer for that, whatever the other workers do or say. A worker that is stopped or hangs while it
///   has few connections costs each accept of the others 300 µs.
/// * There is no timer while nothing happens. The first wait makes one, which takes a descriptor.
/// * The connections of all balanced listeners of a worker are one number, which [`status`](crate::status()) shows.
/// * A worker that is not ready, that was told to stop, or that has no balanced listener is not waited for. So drop the
///   listener to accept no more. A worker compares itself with 64 others at most.
/// * A connection that is open is never moved.
///
/// Nothing is waited for under `PREFORK=off`, where there is one worker; with [`reuse_port`](crate::Prefork::reuse_port)
/// (a socket with SO_REUSEPORT), where the kernel has chosen the worker already; and on systems other than Linux, which do
/// not tell how many connections wait. The connections are counted there, too.
///
/// ```no_run
/// use std::error::Error;
///
/// use prefork_rt::{BalancedListener, Worker, prefork};
/// use tokio::io::{copy, split};
/// use tokio::net::TcpListener;
///
/// #[prefork(listen = "127.0.0.1:8080")]
/// #[tokio::main(flavor = "current_thread")]
/// async fn main(worker: Worker, listener: TcpListener) -> Result<(), Box<dyn Error>> {
///     let mut shutdown = worker.shutdown();
///     let mut listener = BalancedListener::new(worker, listener)?;
///     loop {
///         let (stream, _client) = tokio::select! {
///             _ = &mut shutdown => return Ok(()),
///             accepted = listener.accept() => accepted?,
///         };
///         tokio::spawn(async move {
///             let (mut reader, mut writer) = split(stream); // it counts until both halves are dropped
///             copy(&mut reader, &mut writer).await
///         });
///     }
/// }
/// ```
pub struct BalancedListener {
    acceptor: Acceptor<net::TcpListener>,
}

impl BalancedListener {
    /// Takes a listener of this worker, and registers it with the tokio runtime that this is called in.
    ///
    /// ```no_run
    /// use prefork_rt::{BalancedListener, Error, Worker, prefork};
    /// use tokio::net::TcpListener;
    ///
    /// #[prefork(listen = ["public=*:8080", "admin=127.0.0.1:9000"])]
    /// #[tokio::main(flavor = "current_thread")]
    /// async fn main(worker: Worker) -> Result<(), Error> {
    ///     let public: TcpListener = worker.listener("public")?;
    ///     let public = BalancedListener::new(worker, public)?;
    ///     println!("{public:?}");
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] outside a tokio runtime; [`Error::System`] when the system refuses to register the listener.
    pub fn new(worker: Worker, listener: TcpListener) -> Result<BalancedListener, Error> {
        // The numbers are this worker's, whichever handle is given: there is one worker in a process.
        let _ = worker;
        if Handle::try_current().is_err() {
            let reason = "a BalancedListener is made outside a tokio runtime: make it inside block_on, or in a main \
                          below #[tokio::main]";
            return Err(Error::Argument { reason: reason.to_owned() });
        }
        let acceptor = listener.into_std().and_then(Acceptor::new);
        Ok(BalancedListener { acceptor: acceptor.map_err(Error::of_call("epoll_ctl(2)"))? })
    }

    /// Accepts a connection when there is one and it is this worker's turn.
    ///
    /// It may be cancelled, as a branch of `select!`, and loses no connection.
    ///
    /// ```no_run
    /// # async fn serve(mut listener: prefork_rt::BalancedListener) {
    /// match listener.accept().await {
    ///     Ok((stream, client)) => println!("{client} is connected: {stream:?}"),
    ///     Err(error) => eprintln!("cannot accept: {error}"),
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of accept(2). Most concern one connection only (ECONNABORTED) or pass (EMFILE), so go on after a pause, as
    /// with tokio's listener.
    pub async fn accept(&mut self) -> io::Result<(BalancedStream, net::SocketAddr)> {
        let ((stream, address), open) = self.acceptor.accept(net::TcpListener::accept).await?;
        stream.set_nonblocking(true).map_err(of_call("ioctl(2)"))?;
        Ok((BalancedStream { stream: TcpStream::from_std(stream)?, open }, address))
    }

    /// The address that it listens at.
    ///
    /// ```no_run
    /// # fn show(listener: &prefork_rt::BalancedListener) -> std::io::Result<()> {
    /// println!("listening on {}", listener.local_addr()?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of getsockname(2).
    pub fn local_addr(&self) -> io::Result<net::SocketAddr> {
        self.acceptor.get_ref().local_addr()
    }
}

impl AsFd for BalancedListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.acceptor.get_ref().as_fd()
    }
}

impl fmt::Debug for BalancedListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BalancedListener").field("listener", self.acceptor.get_ref()).finish()
    }
}

/// A connection from a [`BalancedListener`], which counts as one of this worker's while it lives.
///
/// It reads and writes as the [`TcpStream`] that it dereferences to. Halves of it are made by `tokio::io::split`. For
/// those of [`TcpStream::into_split`], keep the guard of [`into_parts`](BalancedStream::into_parts) beside them.
///
/// ```no_run
/// # async fn serve(mut listener: prefork_rt::BalancedListener) -> std::io::Result<()> {
/// use tokio::io::AsyncWriteExt;
///
/// let (mut stream, _client) = listener.accept().await?;
/// stream.set_nodelay(true)?; // as of a TcpStream
/// stream.write_all(b"hello\n").await
/// # }
/// ```
#[derive(Debug)]
pub struct BalancedStream {
    stream: TcpStream,
    open: OpenConnection,
}

impl BalancedStream {
    /// The connection, and what counts it until it is dropped.
    ///
    /// ```no_run
    /// # async fn serve(stream: prefork_rt::BalancedStream) -> std::io::Result<()> {
    /// let (stream, open) = stream.into_parts();
    /// let (mut reader, mut writer) = stream.into_split();
    /// tokio::io::copy(&mut reader, &mut writer).await?;
    /// drop(open);
    /// # Ok(())
    /// # }
    /// ```
    pub fn into_parts(self) -> (TcpStream, OpenConnection) {
        (self.stream, self.open)
    }
}

impl Deref for BalancedStream {
    type Target = TcpStream;

    fn deref(&self) -> &TcpStream {
        &self.stream
    }
}

impl DerefMut for BalancedStream {
    fn deref_mut(&mut self) -> &mut TcpStream {
        &mut self.stream
    }
}

impl AsyncRead for BalancedStream {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, to)
    }
}

impl AsyncWrite for BalancedStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
