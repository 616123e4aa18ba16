//! The sockets of `listen`: bound by the supervisor before the first fork, handed over to each worker.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Mutex, PoisonError};
use std::thread::sleep;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use crate::error::Error;
use crate::report;

/// The kernel lowers it to net.core.somaxconn.
const BACKLOG: i32 = 4096;
/// A server that was just stopped may hold its address for a moment.
const TRIES: u32 = 5;
const BETWEEN_TRIES: Duration = Duration::from_millis(500);

/// Binds every address, or none.
pub(crate) fn bind(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, Error> {
    if let Some(twice) = listed_twice(addresses) {
        return Err(Error::Option { name: "listen", reason: format!("{twice} is listed twice: list it once") });
    }
    addresses.iter().map(|&address| bind_one(address, is_shared(address, addresses))).collect()
}

/// With port 0 each is another address.
fn listed_twice(addresses: &[SocketAddr]) -> Option<SocketAddr> {
    let seen_before = |&(index, address): &(usize, &SocketAddr)| addresses[..index].contains(address);
    addresses
        .iter()
        .enumerate()
        .filter(|(_, address)| address.port() != 0)
        .find(seen_before)
        .map(|(_, &address)| address)
}

/// Whether an IPv6 address for every interface must leave its port to IPv4, which it would serve too, because the
/// list has an IPv4 address with that port.
fn is_shared(address: SocketAddr, addresses: &[SocketAddr]) -> bool {
    let port = address.port();
    let with_ipv4 = || addresses.iter().any(|other| other.is_ipv4() && other.port() == port);
    address.is_ipv6() && address.ip().is_unspecified() && port != 0 && with_ipv4()
}

fn bind_one(address: SocketAddr, only_ipv6: bool) -> Result<TcpListener, Error> {
    let mut tries = 1;
    loop {
        match bind_now(address, only_ipv6) {
            Ok(listener) => {
                let bound = listener.local_addr().unwrap_or(address);
                report::info(&format!("listening on {bound}"));
                return Ok(listener);
            }
            Err(error) if error.kind() == ErrorKind::AddrInUse && tries < TRIES => {
                if tries == 1 {
                    report::warn(&format!("{address} is in use, trying again for 2 s"));
                }
                tries += 1;
                sleep(BETWEEN_TRIES);
            }
            Err(source) => return Err(Error::Listen { address, source }),
        }
    }
}

fn bind_now(address: SocketAddr, only_ipv6: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if only_ipv6 {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// What this worker was handed and has not taken, and how many there were.
struct Handed {
    listeners: Vec<TcpListener>,
    addresses: usize,
}

static HANDED: Mutex<Handed> = Mutex::new(Handed { listeners: Vec::new(), addresses: 0 });

/// Gives a worker its listeners.
pub(crate) fn hand_over(listeners: Vec<TcpListener>) {
    let mut handed = HANDED.lock().unwrap_or_else(PoisonError::into_inner);
    *handed = Handed { addresses: listeners.len(), listeners };
}

/// The one listener there is, for whoever asks first.
pub(crate) fn take_only() -> Result<TcpListener, Error> {
    let mut handed = HANDED.lock().unwrap_or_else(PoisonError::into_inner);
    check_only(handed.addresses)?;
    handed.listeners.pop().ok_or_else(taken)
}

/// All listeners, in the order of their addresses.
pub(crate) fn take_all() -> Result<Vec<TcpListener>, Error> {
    let mut handed = HANDED.lock().unwrap_or_else(PoisonError::into_inner);
    check_any(handed.addresses)?;
    match std::mem::take(&mut handed.listeners) {
        listeners if listeners.is_empty() => Err(taken()),
        listeners => Ok(listeners),
    }
}

/// Whether a `TcpListener` can be given.
pub(crate) fn check_only(addresses: usize) -> Result<(), Error> {
    match addresses {
        0 | 1 => check_any(addresses),
        _ => Err(Error::Argument {
            reason: format!(
                "a TcpListener is asked for, but listen has {addresses} addresses: ask for Vec<TcpListener>, or listen \
                 on one address"
            ),
        }),
    }
}

/// Whether a `Vec<TcpListener>` can be given.
pub(crate) fn check_any(addresses: usize) -> Result<(), Error> {
    match addresses {
        0 => Err(Error::Argument {
            reason: "a TcpListener is asked for, but nothing is listened on: give an address, for example listen = \
                     \"127.0.0.1:8080\" or PREFORK_LISTEN=127.0.0.1:8080"
                .to_owned(),
        }),
        _ => Ok(()),
    }
}

fn taken() -> Error {
    Error::Argument {
        reason: "the TcpListener was handed over before in this worker: ask for it once, and use try_clone() for a \
                 second handle"
            .to_owned(),
    }
}
