//! The sockets of tokio, which are registered with the runtime that they are made in.

use std::io;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;

use super::{FromListener, FromWorker, Needs, Sealed, Wanted, Worker, take};
use crate::error::Error;
use crate::grammar::Kind;
use crate::sys::of_call;

listener_types! {
    tokio::net::TcpListener: Kind::Tcp, true, in_a_runtime("TcpListener"), |socket| {
        let socket = TcpListener::from(socket);
        socket.set_nonblocking(true).map_err(of_call("ioctl(2)"))?;
        tokio::net::TcpListener::from_std(socket).map_err(of_call("epoll_ctl(2)"))
    };
    tokio::net::UnixListener: Kind::Unix, true, in_a_runtime("UnixListener"), |socket| {
        let socket = UnixListener::from(socket);
        socket.set_nonblocking(true).map_err(of_call("ioctl(2)"))?;
        tokio::net::UnixListener::from_std(socket).map_err(of_call("epoll_ctl(2)"))
    };
    tokio::net::UdpSocket: Kind::Udp, true, in_a_runtime("UdpSocket"), |socket| {
        let socket = UdpSocket::from(socket);
        socket.set_nonblocking(true).map_err(of_call("ioctl(2)"))?;
        tokio::net::UdpSocket::from_std(socket).map_err(of_call("epoll_ctl(2)"))
    };
}

fn in_a_runtime(ty: &str) -> Result<(), Error> {
    match tokio::runtime::Handle::try_current() {
        Ok(_) => Ok(()),
        Err(_) => Err(Error::Argument {
            reason: format!(
                "a tokio::net::{ty} is asked for outside a tokio runtime: put #[tokio::main] below #[prefork], or ask \
                 inside block_on"
            ),
        }),
    }
}
