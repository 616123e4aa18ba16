//! The sockets of `listen`: bound by the supervisor before the first fork, handed over to each worker.
//!
//! It must not know the types that they come as in a worker.

mod handed;
mod inet;
mod listeners;
mod slots;
mod unix;

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::thread::sleep;
use std::time::Duration;

use crate::error::Error;
use crate::grammar::{Entry, Host, Kind, Place, UnixPath};
use crate::report;

pub(crate) use handed::{Wanted, check, hand_over, take};
use listeners::Sockets;
pub(crate) use listeners::{Listener, Listeners};
pub(crate) use unix::remove_files;

/// The kernel lowers it to net.core.somaxconn.
const BACKLOG: i32 = 4096;
/// A server that was just stopped may hold its address for a moment.
const TRIES: u32 = 5;
const BETWEEN_TRIES: Duration = Duration::from_millis(500);

/// What a socket is asked for by.
#[derive(Clone)]
pub(crate) struct Label {
    pub(crate) kind: Kind,
    pub(crate) name: Option<String>,
}

/// An entry of `listen` whose host name, if it has one, is resolved.
pub(crate) struct Resolved {
    label: Label,
    at: At,
}

enum At {
    Addresses(Vec<SocketAddr>),
    Path(UnixPath),
}

/// Looks up the host names.
pub(crate) fn resolve(entries: Vec<Entry>) -> Result<Vec<Resolved>, Error> {
    let places = entries.into_iter().map(resolve_one).collect::<Result<Vec<_>, _>>()?;
    match listed_twice(&places) {
        Some(twice) => Err(Error::Option { name: "listen", reason: format!("{twice} is listed twice: list it once") }),
        None => Ok(places),
    }
}

fn resolve_one(Entry { name, place }: Entry) -> Result<Resolved, Error> {
    let kind = place.kind();
    let at = match &place {
        Place::Tcp(Host::Address(address)) | Place::Udp(Host::Address(address)) => At::Addresses(vec![*address]),
        Place::Tcp(Host::Name(host, port)) | Place::Udp(Host::Name(host, port)) => {
            let found = (host.as_str(), *port).to_socket_addrs().map_err(|source| Error::Listen {
                address: place.to_string(),
                source,
                advice: "check the name, /etc/hosts and the name server, or write an IP address",
            })?;
            At::Addresses(inet::here(&place, found))
        }
        Place::Unix(path) => At::Path(path.clone()),
    };
    Ok(Resolved { label: Label { kind, name }, at })
}

/// With port 0 each is another address.
fn listed_twice(places: &[Resolved]) -> Option<String> {
    let mut listed: Vec<String> = places
        .iter()
        .flat_map(|place| match &place.at {
            At::Addresses(addresses) => {
                let with_port = addresses.iter().filter(|address| address.port() != 0);
                with_port.map(|address| Shown(&unnamed(place.label.kind), address).to_string()).collect()
            }
            At::Path(unix) => vec![Shown(&unnamed(Kind::Unix), &unix.path).to_string()],
        })
        .collect();
    listed.sort_unstable();
    listed.windows(2).find(|two| two[0] == two[1]).map(|twice| twice[0].clone())
}

fn unnamed(kind: Kind) -> Label {
    Label { kind, name: None }
}

/// One for each socket that will be bound.
pub(crate) fn labels(places: &[Resolved]) -> Vec<Label> {
    let sockets = |place: &Resolved| match &place.at {
        At::Addresses(addresses) => addresses.len(),
        At::Path(_) => 1,
    };
    places.iter().flat_map(|place| std::iter::repeat_n(place.label.clone(), sockets(place))).collect()
}

/// Binds every address, or none; in a rehearsal without leaving a file. Where it is for so many slots, each has a socket
/// of its own at each address that is not a path.
pub(crate) fn bind(places: &[Resolved], slots: Option<usize>, rehearsal: bool) -> Result<Listeners, Error> {
    let mut listeners = Vec::new();
    for Resolved { label, at } in places {
        match at {
            At::Addresses(addresses) => {
                let only_ipv6 = |address| shares_its_port(label.kind, address, addresses, places);
                let bound = inet::bind(label, addresses, only_ipv6, slots)?;
                let at = addresses.iter().zip(bound);
                listeners.extend(at.map(|(address, sockets)| listener(label, address, sockets)));
            }
            At::Path(path) => {
                let socket = unix::bind(label, path, rehearsal)?;
                listeners.push(listener(label, &path.path, Sockets::One(socket)));
            }
        }
    }
    Ok(Listeners::own(listeners))
}

fn listener(label: &Label, place: &impl fmt::Display, sockets: Sockets) -> Listener {
    Listener::new(label.clone(), Shown(label, place).to_string(), sockets)
}

/// Whether an IPv6 address for every interface must leave its port to IPv4, which it would serve too, because an IPv4
/// address with that port is listed. Port 0 is one port for the addresses of one name only.
fn shares_its_port(kind: Kind, address: SocketAddr, siblings: &[SocketAddr], places: &[Resolved]) -> bool {
    let of_kind = places.iter().filter(|place| place.label.kind == kind);
    let mut listed = of_kind.flat_map(|place| match &place.at {
        At::Addresses(addresses) => addresses.as_slice(),
        At::Path(_) => &[],
    });
    let same_port = listed.any(|other| other.is_ipv4() && other.port() == address.port() && address.port() != 0);
    is_every_ipv6(address) && (same_port || siblings.iter().any(SocketAddr::is_ipv4))
}

fn is_every_ipv6(address: SocketAddr) -> bool {
    address.is_ipv6() && address.ip().is_unspecified()
}

/// Binds what may be in use for a moment longer.
fn try_again<T>(what: &impl fmt::Display, bind: impl Fn() -> Result<T, Refusal>) -> Result<T, Error> {
    for tried in 1.. {
        match bind() {
            Ok(bound) => return Ok(bound),
            Err(Refusal { source, .. }) if source.kind() == io::ErrorKind::AddrInUse && tried < TRIES => {
                if tried == 1 {
                    report::warn(&format!("{what} is in use, trying again for 2 s"));
                }
                sleep(BETWEEN_TRIES);
            }
            Err(Refusal { source, advice }) => return Err(Error::Listen { address: what.to_string(), source, advice }),
        }
    }
    unreachable!("the last try returns")
}

/// Why something cannot be listened on, and what to do.
struct Refusal {
    source: io::Error,
    advice: &'static str,
}

fn announce(label: &Label, bound: &impl fmt::Display) {
    report::info(&format!("listening on {}", Shown(label, bound)));
}

/// Where a socket is, as `listen` takes it: `admin=127.0.0.1:9000`.
struct Shown<'a, T>(&'a Label, &'a T);

impl<T: fmt::Display> fmt::Display for Shown<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shown(Label { kind, name }, place) = self;
        let scheme = match kind {
            Kind::Tcp => "",
            Kind::Udp => "udp:",
            Kind::Unix => "unix:",
        };
        match name {
            Some(name) => write!(f, "{name}={scheme}{place}"),
            None => write!(f, "{scheme}{place}"),
        }
    }
}
