//! Which sockets and connections this process has: /proc, getsockopt(2), getpeername(2).
#![allow(unsafe_code)]

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, RawFd};
use std::path::{Path, PathBuf};

use socket2::{SockAddr, SockRef, Type};

use super::SingleThread;
use super::holders::socket_number;
use super::threads::{Descriptors, Open, descriptors, is_close_on_exec};

/// A connected socket of a kind that keeps requests and answers in order.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Connection {
    pub(crate) descriptor: RawFd,
    pub(crate) socket: SocketId,
    pub(crate) peer: Peer,
}

/// Which socket it is, whatever descriptors it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SocketId(u64);

/// What a socket is connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    Internet(SocketAddr),
    /// The socket of this file.
    File(PathBuf),
    /// The Unix socket with this name in the abstract namespace.
    Abstract(Vec<u8>),
    /// A client, without a name of its own, of the Unix socket with this name.
    ClientOf(Box<Peer>),
    /// A socket of another family, by its number.
    Other(i32),
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Internet(address) => address.fmt(f),
            Peer::File(path) => path.display().fmt(f),
            Peer::Abstract(name) => write!(f, "@{}", String::from_utf8_lossy(name)),
            Peer::ClientOf(listener) => write!(f, "a client of {listener}"),
            Peer::Other(family) => write!(f, "a socket of address family {family}"),
        }
    }
}

/// The sockets that this process was started with: those that came through exec(2), and its standard input, output and
/// error. A socket that C code has opened without close-on-exec looks as if it came through exec(2).
pub(crate) fn inherited_sockets() -> Vec<SocketId> {
    let is_inherited = |descriptor: RawFd| descriptor <= libc::STDERR_FILENO || !is_close_on_exec(descriptor);
    let mut inherited = Vec::new();
    for (descriptor, socket) in sockets(&descriptors()) {
        if is_inherited(descriptor) {
            inherited.push(socket);
        }
    }
    inherited
}

/// The connections among the descriptors of this process, which were listed just now. Pairs of sockets without names are left
/// out, because both ends are in processes of one program.
pub(crate) fn connections(descriptors: &Descriptors, _: &SingleThread) -> Vec<Connection> {
    let mut connections = Vec::new();
    for (descriptor, socket) in sockets(descriptors) {
        // SAFETY: the list says that this socket is open, this thread has closed none since then, and `SingleThread` says
        // that there is no other thread.
        let borrowed = unsafe { BorrowedFd::borrow_raw(descriptor) };
        if let Some(peer) = peer(borrowed) {
            connections.push(Connection { descriptor, socket, peer });
        }
    }
    connections
}

/// Which socket this is, and what it is connected to. `None` where it is no [`Connection`].
pub(crate) fn connection(socket: BorrowedFd<'_>) -> io::Result<Option<(SocketId, Peer)>> {
    let Some(peer) = peer(socket) else { return Ok(None) };
    Ok(Some((SocketId(socket_number(socket)?), peer)))
}

fn sockets(descriptors: &Descriptors) -> impl Iterator<Item = (RawFd, SocketId)> {
    descriptors.iter().filter_map(|&(descriptor, open)| match open {
        Open::Socket(number) => Some((descriptor, SocketId(number))),
        Open::EventLoop(_) | Open::Other => None,
    })
}

fn peer(socket: BorrowedFd<'_>) -> Option<Peer> {
    let socket = SockRef::from(&socket);
    // Each datagram stands alone. A socket that listens, or is not connected, has no peer.
    if !matches!(socket.r#type().ok()?, Type::STREAM | Type::SEQPACKET) {
        return None;
    }
    let peer = socket.peer_addr().ok()?;
    if let Some(address) = peer.as_socket() {
        return Some(Peer::Internet(address));
    }
    if i32::from(peer.family()) != libc::AF_UNIX {
        return Some(Peer::Other(peer.family().into()));
    }
    let listener = || Some(Peer::ClientOf(Box::new(name(&socket.local_addr().ok()?)?)));
    name(&peer).or_else(listener)
}

/// The name of a Unix socket, if it has one.
fn name(address: &SockAddr) -> Option<Peer> {
    let file = address.as_pathname().map(|path| Peer::File(Path::to_owned(path)));
    file.or_else(|| address.as_abstract_namespace().map(|name| Peer::Abstract(name.to_owned())))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::fd::{AsFd, AsRawFd};
    use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

    use super::*;

    fn peer_of(socket: &impl AsFd) -> Option<String> {
        connection(socket.as_fd()).expect("it is open").map(|(_, peer)| peer.to_string())
    }

    #[test]
    fn a_connection_is_known_by_its_peer() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let client = TcpStream::connect(address).expect("it listens");
        let (server, from) = listener.accept().expect("a client");
        assert_eq!(peer_of(&client), Some(address.to_string()));
        assert_eq!(peer_of(&server), Some(from.to_string()));

        let path = std::env::temp_dir().join(format!("prefork-peer-{}", std::process::id()));
        let listener = UnixListener::bind(&path).expect("a path");
        let client = UnixStream::connect(&path).expect("it listens");
        let server = listener.accept().expect("a client").0;
        std::fs::remove_file(&path).expect("it is there");
        assert_eq!(peer_of(&client), Some(path.display().to_string()));
        assert_eq!(peer_of(&server), Some(format!("a client of {}", path.display())));
    }

    #[test]
    fn what_is_not_connected_or_has_no_order_is_no_connection() {
        let (one, other) = UnixStream::pair().expect("a pair");
        assert_eq!((peer_of(&one), peer_of(&other)), (None, None));
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        assert_eq!(peer_of(&listener), None);
        let datagrams = UdpSocket::bind("127.0.0.1:0").expect("a port");
        datagrams.connect(datagrams.local_addr().expect("an address")).expect("connected");
        assert_eq!(peer_of(&datagrams), None);
        assert_eq!(peer_of(&UnixDatagram::pair().expect("a pair").0), None);
        assert_eq!(peer_of(&std::fs::File::open("/dev/null").expect("a file")), None);
    }

    #[test]
    fn a_socket_is_the_one_that_proc_tells_of() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let client = TcpStream::connect(listener.local_addr().expect("an address")).expect("it listens");
        let socket = connection(client.as_fd()).expect("it is open").expect("it is connected").0;
        assert!(sockets(&descriptors()).any(|found| found == (client.as_raw_fd(), socket)));
        assert!(!inherited_sockets().contains(&socket), "it is close-on-exec");
    }
}
