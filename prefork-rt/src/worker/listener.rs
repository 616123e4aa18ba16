//! The types that the sockets of `listen` come as: those of the standard library, and with the feature `tokio` those of
//! tokio.

use std::io;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;

use super::Worker;
use super::argument::{FromWorker, Needs, sealed::Sealed};
use crate::error::Error;
use crate::grammar::Kind;
use crate::listen::{self, Wanted};

/// What [`Worker::listener`](crate::Worker::listener) can give, and [`FromWorker`] too. Sealed.
///
/// | type | what it is given |
/// |---|---|
/// | [`TcpListener`], [`UnixListener`], [`UdpSocket`] | the socket of that kind, where there is exactly one |
/// | `Vec` of these | all sockets of that kind which were not taken before, in the order of `listen` |
/// | with the cargo feature `tokio`: `tokio::net::TcpListener`, `UnixListener`, `UdpSocket`, and `Vec` of these | these sockets, registered with the runtime that it is asked for in |
///
/// ```no_run
/// use std::net::{TcpListener, UdpSocket};
///
/// use prefork_rt::{Error, Worker, prefork};
///
/// #[prefork(listen = ["dns=*:53", "queries=udp:*:53"])]
/// fn main(worker: Worker) -> Result<(), Error> {
///     let connections: Vec<TcpListener> = worker.listener("dns")?;
///     let queries: UdpSocket = worker.listener("queries")?;
///     // …
///     Ok(())
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the type of a listener",
    label = "expected `TcpListener`, `UnixListener`, `UdpSocket`, or a `Vec` of one of these",
    note = "accepted: the types of the standard library, and with prefork-rt's cargo feature `tokio` those of `tokio::net`"
)]
pub trait FromListener: FromWorker {
    #[doc(hidden)]
    fn wanted() -> Wanted;

    /// Whether one can be made here and now, before the sockets are taken.
    #[doc(hidden)]
    fn check_place() -> Result<(), Error>;

    #[doc(hidden)]
    fn from_sockets(sockets: Vec<OwnedFd>) -> io::Result<Self>;
}

/// Takes the sockets that the type asks for, by name or by kind.
pub(crate) fn take<T: FromListener>(name: Option<&str>) -> Result<T, Error> {
    T::check_place()?;
    let sockets = listen::take(T::wanted(), name)?;
    T::from_sockets(sockets).map_err(Error::of_call("taking over a listener"))
}

macro_rules! listener_types {
    ($($socket:ty: $kind:expr, $nonblocking:literal, $check_place:expr, $from:expr;)*) => {$(
        listener_types!(@one $socket, $kind, false, $nonblocking, $check_place, |mut sockets: Vec<OwnedFd>| {
            // There is exactly one, because that is what was asked for.
            match sockets.pop() {
                Some(socket) => ($from)(socket),
                None => Err(io::ErrorKind::NotFound.into()),
            }
        });
        listener_types!(@one Vec<$socket>, $kind, true, $nonblocking, $check_place, |sockets: Vec<OwnedFd>| {
            let from: fn(OwnedFd) -> io::Result<_> = $from;
            let mut all = Vec::with_capacity(sockets.len());
            for socket in sockets {
                all.push(from(socket)?);
            }
            Ok(all)
        });
    )*};
    (@one $ty:ty, $kind:expr, $all:literal, $nonblocking:literal, $check_place:expr, $from:expr) => {
        impl Sealed for $ty {}
        #[diagnostic::do_not_recommend]
        impl FromListener for $ty {
            fn wanted() -> Wanted {
                Wanted { kind: $kind, all: $all, nonblocking: $nonblocking }
            }
            fn check_place() -> Result<(), Error> {
                $check_place
            }
            fn from_sockets(sockets: Vec<OwnedFd>) -> io::Result<Self> {
                ($from)(sockets)
            }
        }
        #[diagnostic::do_not_recommend]
        impl FromWorker for $ty {
            fn needs() -> Needs {
                Needs::listener(Self::wanted())
            }
            fn from_worker(_: Worker) -> Result<Self, Error> {
                take(None)
            }
        }
    };
}

listener_types! {
    TcpListener: Kind::Tcp, false, Ok(()), |socket| Ok(TcpListener::from(socket));
    UnixListener: Kind::Unix, false, Ok(()), |socket| Ok(UnixListener::from(socket));
    UdpSocket: Kind::Udp, false, Ok(()), |socket| Ok(UdpSocket::from(socket));
}

#[cfg(feature = "tokio")]
mod of_tokio;
