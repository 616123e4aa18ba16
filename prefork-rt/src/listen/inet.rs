//! TCP and UDP sockets: how an address is bound.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;

use socket2::{Domain, Protocol, Socket, Type};

use super::{BACKLOG, Label, Refusal, Shown, announce, is_every_ipv6, try_again};
use crate::error::Error;
use crate::grammar::{Kind, Place};
use crate::report;

/// How many ports the system may choose until one is free at every address of a name.
const PORTS_TO_TRY: u32 = 64;

/// A name's addresses without those that no interface has, unless that leaves none: `localhost` is `::1` too where
/// IPv6 is switched off.
pub(super) fn here(place: &Place, found: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for address in found {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    let (here, elsewhere): (Vec<_>, Vec<_>) = addresses.iter().copied().partition(|&address| is_here(address));
    if here.is_empty() {
        return addresses;
    }
    for address in elsewhere {
        report::warn(&format!("{place}: {} is left out: it belongs to no interface of this machine", address.ip()));
    }
    here
}

fn is_here(mut address: SocketAddr) -> bool {
    address.set_port(0);
    let not_here = |error: io::Error| {
        error.kind() == ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(libc::EAFNOSUPPORT)
    };
    !UdpSocket::bind(address).is_err_and(not_here)
}

/// Binds all addresses of an entry, at one port.
pub(super) fn bind(
    label: &Label,
    addresses: &[SocketAddr],
    only_ipv6: impl Fn(SocketAddr) -> bool,
) -> Result<Vec<OwnedFd>, Error> {
    let one = |address: SocketAddr| {
        try_again(&Shown(label, &address), || {
            bind_now(label.kind, address, only_ipv6(address)).map_err(|source| refusal(label.kind, source))
        })
    };
    let sockets = match addresses {
        [first, _, ..] if first.port() == 0 => {
            let chosen = || at_chosen_port(label.kind, addresses, &only_ipv6);
            try_again(&Shown(label, first), || chosen().map_err(|source| refusal(label.kind, source)))?
        }
        _ => addresses.iter().map(|&address| one(address)).collect::<Result<_, _>>()?,
    };
    for (socket, address) in sockets.iter().zip(addresses) {
        let bound = socket.local_addr().ok().and_then(|bound| bound.as_socket()).unwrap_or(*address);
        announce(label, &bound);
    }
    Ok(sockets.into_iter().map(OwnedFd::from).collect())
}

/// Binds all of them at one port, which the system chooses.
fn at_chosen_port(
    kind: Kind,
    addresses: &[SocketAddr],
    only_ipv6: impl Fn(SocketAddr) -> bool,
) -> io::Result<Vec<Socket>> {
    let at_one_port = || {
        let mut sockets: Vec<Socket> = Vec::new();
        let mut port = 0;
        for &(mut address) in addresses {
            address.set_port(port);
            let socket = bind_now(kind, address, only_ipv6(address))?;
            port = socket.local_addr()?.as_socket().map_or(port, |bound| bound.port());
            sockets.push(socket);
        }
        Ok(sockets)
    };
    let mut tried = 1;
    loop {
        match at_one_port() {
            Err(error) if io::Error::kind(&error) == ErrorKind::AddrInUse && tried < PORTS_TO_TRY => tried += 1,
            bound => return bound,
        }
    }
}

fn bind_now(kind: Kind, address: SocketAddr, only_ipv6: bool) -> io::Result<Socket> {
    let (kind_of_socket, protocol) = match kind {
        Kind::Udp => (Type::DGRAM, Protocol::UDP),
        Kind::Tcp | Kind::Unix => (Type::STREAM, Protocol::TCP),
    };
    let socket = Socket::new(Domain::for_address(address), kind_of_socket, Some(protocol))?;
    if is_every_ipv6(address) {
        socket.set_only_v6(only_ipv6)?;
    }
    // Of a UDP address, two processes could share it, and neither would know.
    if kind == Kind::Tcp {
        socket.set_reuse_address(true)?;
    }
    socket.bind(&address.into())?;
    if kind == Kind::Tcp {
        socket.listen(BACKLOG)?;
    }
    Ok(socket)
}

fn refusal(kind: Kind, source: io::Error) -> Refusal {
    let advice = match (source.kind(), kind) {
        (ErrorKind::AddrInUse, Kind::Udp) => {
            "another process holds the address: find it with `ss -lunp`, or choose another"
        }
        (ErrorKind::AddrInUse, _) => "another process holds the address: find it with `ss -ltnp`, or choose another",
        (ErrorKind::PermissionDenied, _) => "ports below 1024 need root or CAP_NET_BIND_SERVICE: choose a higher one",
        (ErrorKind::AddrNotAvailable, _) => "the address belongs to no interface of this machine",
        _ => "check the address",
    };
    Refusal { source, advice }
}
