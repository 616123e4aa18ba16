//! TCP and UDP sockets: how an address is bound.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::attempt::{BACKLOG, Purpose, Refusal, announce, bound_or_noted, try_again};
use super::label::{Label, Labelled};
use super::slots::{Slots, Sockets};
use crate::error::Error;
use crate::grammar::{Kind, Place};
use crate::logging;
use crate::sys::{self, Bound};

/// How many ports the system may choose until one is free at every address of a name.
const PORTS_TO_TRY: u32 = 64;

/// The addresses of a host name that an interface of this machine has, or all of them where none has: `localhost` is
/// `::1`, too, where IPv6 is switched off.
pub(super) fn here(place: &Place, found: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for address in found {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if !addresses.iter().any(|&address| is_here(address)) {
        return addresses;
    }
    addresses.retain(|&address| {
        let is_here = is_here(address);
        if !is_here {
            let ip = address.ip();
            logging::warn(&format!("{place}: {ip} is left out: it belongs to no interface of this machine"));
        }
        is_here
    });
    addresses
}

/// The address that stands for all addresses of this machine. Its socket serves IPv6 and IPv4, so that `main` has one
/// listener everywhere. Where there is no IPv6, it is an IPv4 address.
pub(super) fn every(port: u16) -> SocketAddr {
    let of_ipv6 = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    if is_here(of_ipv6) { of_ipv6 } else { SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)) }
}

fn is_here(mut address: SocketAddr) -> bool {
    address.set_port(0);
    let not_here = |error: io::Error| {
        error.kind() == ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(libc::EAFNOSUPPORT)
    };
    !UdpSocket::bind(address).is_err_and(not_here)
}

pub(super) fn is_every_ipv6(address: SocketAddr) -> bool {
    address.is_ipv6() && address.ip().is_unspecified()
}

/// Binds all addresses of an entry at one port: one socket per address, or one for each of `slots`. For a check, `None`
/// stands for an address in use.
pub(super) fn bind(
    label: &Label,
    addresses: &[SocketAddr],
    only_ipv6: &dyn Fn(SocketAddr) -> bool,
    slots: Option<usize>,
    purpose: Purpose,
) -> Result<Vec<Option<Sockets>>, Error> {
    let mut sockets: Vec<Option<Vec<Socket>>> = Vec::new();
    match addresses {
        [first, _, ..] if first.port() == 0 => {
            let chosen = || at_chosen_port(label.kind, addresses, only_ipv6, slots).map_err(refusal);
            for at_address in try_again(&Labelled(label, first), purpose, &chosen)? {
                sockets.push(Some(at_address));
            }
        }
        _ => {
            for &address in addresses {
                let now = || bind_now(label.kind, address, only_ipv6(address), slots).map_err(refusal);
                let tried = try_again(&Labelled(label, &address), purpose, &now);
                sockets.push(bound_or_noted(tried, purpose, bound(label.kind, address))?);
            }
        }
    }
    let mut bound = Vec::new();
    for (sockets, address) in sockets.into_iter().zip(addresses) {
        if let Some(sockets) = &sockets {
            let bound = sockets.first().and_then(|socket| socket.local_addr().ok()?.as_socket()).unwrap_or(*address);
            announce(label, &bound);
        }
        bound.push(sockets.map(|sockets| sockets_of(label.kind, sockets, slots)));
    }
    Ok(bound)
}

fn sockets_of(kind: Kind, sockets: Vec<Socket>, slots: Option<usize>) -> Sockets {
    let mut descriptors: Vec<OwnedFd> = Vec::new();
    for socket in sockets {
        descriptors.push(socket.into());
    }
    match slots {
        None if descriptors.len() == 1 => Sockets::One(descriptors.remove(0)),
        _ => Sockets::PerSlot(Slots::new(kind, descriptors)),
    }
}

/// Binds all addresses at one port, which the system chooses.
fn at_chosen_port(
    kind: Kind,
    addresses: &[SocketAddr],
    only_ipv6: &dyn Fn(SocketAddr) -> bool,
    slots: Option<usize>,
) -> io::Result<Vec<Vec<Socket>>> {
    let at_one_port = || {
        let mut sockets: Vec<Vec<Socket>> = Vec::new();
        let mut port = 0;
        for &(mut address) in addresses {
            address.set_port(port);
            let at_address = bind_now(kind, address, only_ipv6(address), slots)?;
            port = port_of(&at_address)?.unwrap_or(port);
            sockets.push(at_address);
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

fn port_of(sockets: &[Socket]) -> io::Result<Option<u16>> {
    let Some(socket) = sockets.first() else { return Ok(None) };
    Ok(socket.local_addr()?.as_socket().map(|bound| bound.port()))
}

/// Binds one socket, or one for each of `slots`, in their order. The first is bound alone, and shares the address with
/// the others only then: so an address that another process has is in use, even if that process shares it.
fn bind_now(kind: Kind, address: SocketAddr, only_ipv6: bool, slots: Option<usize>) -> io::Result<Vec<Socket>> {
    let first = bind_one(kind, address, only_ipv6, false)?;
    let mut sockets = vec![first];
    if let Some(slots) = slots {
        sys::share_address(sockets[0].as_fd())?;
        let address = sockets[0].local_addr()?.as_socket().unwrap_or(address);
        for _ in 1..slots {
            sockets.push(bind_one(kind, address, only_ipv6, true)?);
        }
    }
    if kind == Kind::Tcp {
        sockets.iter().try_for_each(|socket| socket.listen(BACKLOG))?;
    }
    Ok(sockets)
}

/// The address at which a socket is bound, and whether it leaves its port to IPv4.
pub(super) fn address_of(socket: BorrowedFd<'_>) -> io::Result<(SocketAddr, bool)> {
    let socket = SockRef::from(&socket);
    let address = socket.local_addr()?.as_socket().ok_or(ErrorKind::InvalidInput)?;
    Ok((address, is_every_ipv6(address) && socket.only_v6()?))
}

/// Binds one more socket at the address that the sockets of slots share.
pub(super) fn bind_beside(kind: Kind, address: SocketAddr, only_ipv6: bool) -> io::Result<OwnedFd> {
    let socket = bind_one(kind, address, only_ipv6, true)?;
    if kind == Kind::Tcp {
        socket.listen(BACKLOG)?;
    }
    Ok(socket.into())
}

/// Binds a socket at the address of `old`, which is of no use to any process any more.
pub(super) fn bind_anew(kind: Kind, address: SocketAddr, only_ipv6: bool, old: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let old = SockRef::from(&old);
    // A TCP socket that does not listen lets another bind its address, and a UDP socket does so with SO_REUSEADDR.
    let _ = old.shutdown(Shutdown::Both);
    if kind == Kind::Udp {
        old.set_reuse_address(true)?;
    }
    let socket = new(kind, address, only_ipv6)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    if kind == Kind::Tcp {
        socket.listen(BACKLOG)?;
    } else {
        socket.set_reuse_address(false)?;
    }
    Ok(socket.into())
}

fn new(kind: Kind, address: SocketAddr, only_ipv6: bool) -> io::Result<Socket> {
    let (kind_of_socket, protocol) = match kind {
        Kind::Udp => (Type::DGRAM, Protocol::UDP),
        Kind::Tcp | Kind::Unix => (Type::STREAM, Protocol::TCP),
    };
    let socket = Socket::new(Domain::for_address(address), kind_of_socket, Some(protocol))?;
    if is_every_ipv6(address) {
        socket.set_only_v6(only_ipv6)?;
    }
    Ok(socket)
}

fn bind_one(kind: Kind, address: SocketAddr, only_ipv6: bool, shares: bool) -> io::Result<Socket> {
    let socket = new(kind, address, only_ipv6)?;
    // With this option, two processes could share a UDP address without knowing.
    if kind == Kind::Tcp {
        socket.set_reuse_address(true)?;
    }
    if shares {
        sys::share_address(socket.as_fd())?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

fn bound(kind: Kind, address: SocketAddr) -> Bound<'static> {
    match kind {
        Kind::Udp => Bound::Udp(address),
        Kind::Tcp | Kind::Unix => Bound::Tcp(address),
    }
}

fn refusal(source: io::Error) -> Refusal {
    let advice = match source.kind() {
        // For any other port, `held` names the process that has it.
        ErrorKind::AddrInUse => "no port that the system chooses is free: check net.ipv4.ip_local_port_range",
        ErrorKind::PermissionDenied => "ports below 1024 need root or CAP_NET_BIND_SERVICE: choose a higher one",
        _ if source.raw_os_error() == Some(libc::EAFNOSUPPORT) => {
            "IPv6 is switched off or not allowed here (RestrictAddressFamilies=): write an IPv4 address, for example \
             0.0.0.0 for every one, or * for every address of each family that there is"
        }
        ErrorKind::AddrNotAvailable => "the address belongs to no interface of this machine",
        _ => "check the address",
    };
    Refusal { source, advice }
}
