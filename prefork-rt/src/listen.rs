//! The sockets of `listen`: bound by the supervisor before the first fork, inherited, or taken over from the binary
//! before, and handed over to each worker.
//!
//! It must not know the types that they come as in a worker.

mod handed;
mod inet;
mod inherited;
mod listeners;
mod slots;
mod store;
mod unix;

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::thread::sleep;
use std::time::Duration;

use socket2::SockRef;

use crate::error::Error;
use crate::grammar::{self, Entry, Host, Kind, Place, UnixPath};
use crate::report;

pub(crate) use handed::{Wanted, check, hand_over, take};
pub(crate) use inherited::{Inherited, VARIABLES, copies, let_go, receive, receive_again};
use listeners::Sockets;
pub(crate) use listeners::{Listener, Listeners, ToHandOver};
use slots::Slots;
use store::Storable;
pub(crate) use store::{Change, settle};
pub(crate) use unix::{adopt_files, files, remove_files};

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

/// A socket that was bound for an entry of `listen` by the binary before, or before a restart of the service. Those of
/// slots come in the order in which the kernel has them.
pub(crate) struct Handed {
    pub(crate) entry: String,
    /// Whose it is, where each slot has its own.
    pub(crate) slot: Option<usize>,
    /// What it is called in a service manager's store, if it is there.
    pub(crate) stored: Option<String>,
    /// It came from the binary before, whose workers have it, too.
    pub(crate) is_in_use: bool,
    pub(crate) socket: OwnedFd,
}

/// An entry of `listen` whose host name, if it has one, is resolved.
pub(crate) struct Resolved {
    label: Label,
    /// The entry, as it is written.
    key: String,
    at: At,
}

enum At {
    Addresses(Vec<SocketAddr>),
    Path(UnixPath),
    Inherited(Vec<Inherited>),
}

/// What is to be listened on.
pub(crate) struct Plan {
    pub(crate) places: Vec<Resolved>,
    /// What this process was started with, where that decides what is listened on.
    came: Option<String>,
    /// What comes back from a service manager's store, and under which names there is more of ours, of no use any more.
    pub(crate) restored: Vec<Handed>,
    pub(crate) obsolete: Vec<String>,
}

/// Gives each entry the sockets that were inherited for it, or looks up its host name. Stored sockets are only ours, and
/// of no use when others come.
pub(crate) fn plan(entries: Vec<Entry>, inherited: Vec<Inherited>, per_slot: bool) -> Result<Plan, Error> {
    let (stored, started_with): (Vec<_>, Vec<_>) = inherited.into_iter().partition(store::is_ours);
    if started_with.is_empty() {
        let places = resolve(entries)?;
        let (restored, obsolete) = store::restore(&places, stored, per_slot);
        let obsolete = store::close(obsolete, &restored);
        return Ok(Plan { places, came: None, restored, obsolete });
    }
    let came = Some(inherited::list(&started_with));
    let matched = inherited::match_entries(&entries, started_with)?;
    let place = |(label, sockets)| Resolved { label, key: String::new(), at: At::Inherited(sockets) };
    let places: Vec<Resolved> = matched.into_iter().map(place).collect();
    let obsolete = store::close(stored, &[]);
    Ok(Plan { places, came, restored: Vec::new(), obsolete })
}

impl Plan {
    /// One for each socket.
    pub(crate) fn labels(&self) -> Vec<Label> {
        labels(&self.places)
    }

    /// What is asked for is not there: what is.
    pub(crate) fn explain(&self, error: Error) -> Error {
        match (error, &self.came) {
            (Error::Argument { reason }, Some(came)) => Error::Argument {
                reason: format!(
                    "{reason}; in the place of listen came what this program was started with, {came}: change the .socket \
                     unit, or what main asks for"
                ),
            },
            (error, _) => error,
        }
    }
}

/// Looks up the host names.
fn resolve(entries: Vec<Entry>) -> Result<Vec<Resolved>, Error> {
    let places = entries.into_iter().map(resolve_one).collect::<Result<Vec<_>, _>>()?;
    match listed_twice(&places) {
        Some(twice) => Err(Error::Option { name: "listen", reason: format!("{twice} is listed twice: list it once") }),
        None => Ok(places),
    }
}

fn resolve_one(entry: Entry) -> Result<Resolved, Error> {
    let key = entry.to_string();
    let Entry { name, place } = entry;
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
    Ok(Resolved { label: Label { kind, name }, key, at })
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
            At::Inherited(_) => Vec::new(),
        })
        .collect();
    listed.sort_unstable();
    listed.windows(2).find(|two| two[0] == two[1]).map(|twice| twice[0].clone())
}

fn unnamed(kind: Kind) -> Label {
    Label { kind, name: None }
}

fn labels<'a>(places: impl IntoIterator<Item = &'a Resolved>) -> Vec<Label> {
    let sockets = |place: &Resolved| match &place.at {
        At::Addresses(addresses) => addresses.len(),
        At::Path(_) => 1,
        At::Inherited(sockets) => sockets.len(),
    };
    places.into_iter().flat_map(|place| std::iter::repeat_n(place.label.clone(), sockets(place))).collect()
}

/// Binds every address that was not handed over, or none; in a rehearsal without leaving a file, or changing what others
/// have too. Where it is for so many slots, each has a socket of its own at each address that is not a path.
pub(crate) fn bind(
    places: &[Resolved],
    handed: Vec<Handed>,
    slots: Option<usize>,
    rehearsal: bool,
) -> Result<Listeners, Error> {
    let is_steered = handed.iter().any(|handed| handed.slot.is_some());
    let mut handed = Pile::new(handed, places);
    let mut listeners = Vec::new();
    for Resolved { label, key, at } in places {
        match at {
            At::Addresses(addresses) => {
                let only_ipv6 = |address| shares_its_port(label.kind, address, addresses, places);
                let mut missing = Vec::new();
                let mut own = Vec::new();
                for address in addresses {
                    let place = Where::Address(*address, only_ipv6(*address));
                    match handed.take(label, &place, slots.is_some(), rehearsal)? {
                        Some(listener) => own.push(listener),
                        None => missing.push(*address),
                    }
                }
                let bound =
                    inet::bind(label, &missing, only_ipv6, slots).map_err(|error| handed.explain(label, error))?;
                own.extend(missing.iter().zip(bound).map(|(address, sockets)| listener(label, address, sockets)));
                listeners.extend(own.into_iter().map(|listener| listener.storable(Some(Storable::inet(key)))));
            }
            At::Path(path) => {
                let (own, storable) = match handed.take(label, &Where::Path(&path.path), false, rehearsal)? {
                    Some(own) => {
                        let storable =
                            own.stored.as_deref().and_then(|name| Storable::unix_again(key, &path.path, name));
                        unix::check(path)?;
                        (own.rights(path.clone()), storable)
                    }
                    None => {
                        let socket = Sockets::One(unix::bind(label, path, rehearsal)?);
                        (listener(label, &path.path, socket), Storable::unix(key, &path.path))
                    }
                };
                listeners.push(own.storable(storable));
            }
            At::Inherited(sockets) => {
                if slots.is_some() && label.kind != Kind::Unix {
                    report::info("reuse_port: sockets that this program was started with are shared by all workers");
                }
                for one in sockets {
                    let socket = one.socket.try_clone().map_err(cannot_copy)?;
                    let socket = own(socket, one.is_in_use || rehearsal)?;
                    report::info(&format!("listening on {}, inherited", Shown(label, &one.place)));
                    let listener = Listener::new(label.clone(), key.clone(), Sockets::One(socket));
                    let listener = listener.inherited(one.name.clone(), one.number);
                    listeners.push(if one.is_in_use { listener.in_use() } else { listener });
                }
            }
        }
    }
    // What the binary before has told the kernel holds until there is news; and a rehearsal tells nobody anything.
    Ok(Listeners::own(listeners, handed.rest, !is_steered && !rehearsal))
}

fn listener(label: &Label, place: &impl fmt::Display, sockets: Sockets) -> Listener {
    Listener::new(label.clone(), Shown(label, place).to_string(), sockets)
}

/// What was handed over and not taken yet.
struct Pile {
    rest: Vec<Handed>,
    /// The entries of all that is listened on: what was bound for one of them is for no other.
    entries: BTreeSet<String>,
}

/// Where something is to be listened on.
enum Where<'a> {
    /// And whether it leaves its port to IPv4.
    Address(SocketAddr, bool),
    Path(&'a str),
}

impl Pile {
    fn new(handed: Vec<Handed>, places: &[Resolved]) -> Pile {
        let entries = places.iter().flat_map(|Resolved { label, at, .. }| match at {
            At::Addresses(addresses) => addresses.iter().map(|address| Shown(label, address).to_string()).collect(),
            At::Path(unix) => vec![Shown(label, &unix.path).to_string()],
            At::Inherited(_) => Vec::new(),
        });
        Pile { rest: handed, entries: entries.collect() }
    }

    /// What there is for this place. Of several with one entry, the first.
    fn take(
        &mut self,
        label: &Label,
        place: &Where<'_>,
        per_slot: bool,
        rehearsal: bool,
    ) -> Result<Option<Listener>, Error> {
        if matches!(*place, Where::Path(path) if fs::symlink_metadata(path).is_err()) {
            // Nobody could reach it.
            return Ok(None);
        }
        let Some(first) = self.find(label, place) else { return Ok(None) };
        let entry = self.rest[first].entry.clone();
        let is_per_slot = self.rest[first].slot.is_some();
        if is_per_slot != per_slot {
            return Err(Error::Option {
                name: "reuse_port",
                reason: format!(
                    "at {entry} the running pool has {}, which an upgrade cannot change: restart the service instead",
                    if is_per_slot { "a socket for each slot" } else { "one socket that all workers share" }
                ),
            });
        }
        let Handed { stored, is_in_use, socket, .. } = &self.rest[first];
        check_families(place, socket)?;
        let (stored, is_in_use, bound) = (stored.clone(), *is_in_use, bound_to(socket));
        let shown = bound.map_or_else(|| Shown(label, place).to_string(), |bound| Shown(label, &bound).to_string());
        report::info(&format!("listening on {shown}, {}", if is_in_use { "as before" } else { "inherited" }));
        let sockets = if is_per_slot {
            // With port 0 there may be others with this entry, at another port.
            let is_there = |handed: &Handed| handed.entry == entry && bound_to(&handed.socket) == bound;
            let (own, others) = self.rest.drain(..).partition(|handed| handed.slot.is_some() && is_there(handed));
            self.rest = others;
            let own: Vec<Handed> = own;
            let members = own.into_iter().filter_map(|handed| Some((handed.slot?, handed.socket)));
            Sockets::PerSlot(Slots::adopt(label.kind, members))
        } else {
            Sockets::One(own(self.rest.remove(first).socket, is_in_use || rehearsal)?)
        };
        let listener = listener(label, place, sockets).handed_as(entry, stored);
        Ok(Some(if is_in_use { listener.in_use() } else { listener }))
    }

    /// What was bound for this entry, or else for the same place: under another name, or with port 0.
    fn find(&self, label: &Label, place: &Where<'_>) -> Option<usize> {
        let (entry, asked) = (Shown(label, place).to_string(), Shown(&unnamed(label.kind), place).to_string());
        let is_there = |handed: &Handed| {
            let bound = bound_to(&handed.socket).zip(inherited::kind(&handed.socket).ok());
            bound.is_some_and(|(bound, kind)| Shown(&unnamed(kind), &bound).to_string() == asked)
        };
        let same_place = |handed: &Handed| {
            let place = grammar::name_and_place(&handed.entry).map_or(handed.entry.as_str(), |(_, place)| place);
            !self.entries.contains(&handed.entry) && (place == asked || is_there(handed))
        };
        let exact = self.rest.iter().position(|handed| handed.entry == entry);
        exact.or_else(|| self.rest.iter().position(same_place))
    }

    /// An address is in use: perhaps by what was handed over for another one, of which it is a part.
    fn explain(&self, label: &Label, error: Error) -> Error {
        let port = |address: &str| address.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        let is_part = |port: u16, handed: &Handed| {
            bound_to(&handed.socket).is_some_and(|bound| bound.port() == port)
                && inherited::kind(&handed.socket) == Ok(label.kind)
        };
        match error {
            Error::Listen { address, source, .. }
                if source.kind() == io::ErrorKind::AddrInUse
                    && port(&address).is_some_and(|port| self.rest.iter().any(|handed| is_part(port, handed))) =>
            {
                let advice = "the running pool holds its port at another address, and keeps it until this binary stays: \
                              restart the service instead";
                Error::Listen { address, source, advice }
            }
            error => error,
        }
    }
}

/// Whether IPv4 is served, too, is settled when a socket is bound.
fn check_families(place: &Where<'_>, socket: &OwnedFd) -> Result<(), Error> {
    let Where::Address(address, only_ipv6) = *place else { return Ok(()) };
    if !is_every_ipv6(address) || SockRef::from(socket).only_v6().is_ok_and(|only| only == only_ipv6) {
        return Ok(());
    }
    Err(Error::Option {
        name: "listen",
        reason: format!(
            "the running pool {} at {address}, which an upgrade cannot change: restart the service instead",
            if only_ipv6 { "serves IPv4, too," } else { "does not serve IPv4" }
        ),
    })
}

impl fmt::Display for Where<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Where::Address(address, _) => address.fmt(f),
            Where::Path(path) => f.write_str(path),
        }
    }
}

fn bound_to(socket: &OwnedFd) -> Option<SocketAddr> {
    SockRef::from(socket).local_addr().ok()?.as_socket()
}

/// Whoever had it before has left it in blocking mode or not; but whoever has it, too, keeps the mode.
fn own(socket: OwnedFd, others_have_it: bool) -> Result<OwnedFd, Error> {
    if !others_have_it {
        SockRef::from(&socket).set_nonblocking(false).map_err(cannot_copy)?;
    }
    Ok(socket)
}

fn cannot_copy(source: io::Error) -> Error {
    Error::System { call: "fcntl(2)", source }
}

/// Whether an IPv6 address for every interface must leave its port to IPv4, which it would serve too, because an IPv4
/// address with that port is listed. Port 0 is one port for the addresses of one name only.
fn shares_its_port(kind: Kind, address: SocketAddr, siblings: &[SocketAddr], places: &[Resolved]) -> bool {
    let of_kind = places.iter().filter(|place| place.label.kind == kind);
    let mut listed = of_kind.flat_map(|place| match &place.at {
        At::Addresses(addresses) => addresses.as_slice(),
        At::Path(_) | At::Inherited(_) => &[],
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

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};
    use std::os::fd::AsFd;

    use super::*;
    use crate::sys;

    fn handed(entry: &str, socket: impl Into<OwnedFd>) -> Handed {
        let stored = Some(format!("stored as {entry}"));
        Handed { entry: entry.to_owned(), slot: None, stored, is_in_use: true, socket: socket.into() }
    }

    fn tcp() -> (TcpListener, u16) {
        let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = socket.local_addr().expect("an address").port();
        (socket, port)
    }

    /// What is left when all this was listened on, and what took what.
    fn bound(listen: &str, handed: Vec<Handed>) -> (Vec<(String, Option<String>)>, Vec<String>) {
        let places = resolve(grammar::addresses(listen).expect("entries")).expect("numbers");
        let listeners = bind(&places, handed, None, true).expect("free ports");
        let took = |listener: &Listener| (listener.key.clone(), listener.stored.clone());
        let left = listeners.left.iter().map(|left| left.entry.clone());
        (listeners.listeners.iter().map(took).collect(), left.collect())
    }

    fn took(entry: &str, from: Option<&str>) -> (String, Option<String>) {
        (entry.to_owned(), from.map(|from| format!("stored as {from}")))
    }

    #[test]
    fn an_entry_takes_what_was_bound_for_it_before_what_was_bound_for_its_place() {
        let sockets = || ["127.0.0.1:0", "a=127.0.0.1:0"].map(|entry| handed(entry, tcp().0)).into();
        let (took_what, left) = bound("b=127.0.0.1:0, a=127.0.0.1:0", sockets());
        assert_eq!(
            took_what,
            [took("b=127.0.0.1:0", Some("127.0.0.1:0")), took("a=127.0.0.1:0", Some("a=127.0.0.1:0"))]
        );
        assert!(left.is_empty());
        let (took_what, left) = bound("b=127.0.0.1:0, 127.0.0.1:0", sockets());
        assert_eq!(took_what, [took("b=127.0.0.1:0", Some("a=127.0.0.1:0")), took("127.0.0.1:0", Some("127.0.0.1:0"))]);
        assert!(left.is_empty());
        let (took_what, left) = bound("127.0.0.2:0", sockets());
        assert_eq!(took_what, [took("127.0.0.2:0", None)]);
        assert_eq!(left, ["127.0.0.1:0", "a=127.0.0.1:0"]);
    }

    /// Two entries with port 0 have one text.
    #[test]
    fn sockets_of_slots_stay_with_their_port() {
        let socket = |port: u16| {
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
            sys::share_address(socket.as_fd()).expect("it can be shared");
            socket.bind(&SocketAddr::from(([127, 0, 0, 1], port)).into()).expect("it is free");
            socket.listen(1).expect("it listens");
            OwnedFd::from(socket)
        };
        let port = |socket: &OwnedFd| bound_to(socket).expect("an address").port();
        let (first, second) = (socket(0), socket(0));
        let ports = [port(&first), port(&second)];
        let others = ports.map(socket);
        let slots = [(0, first), (0, second)].into_iter().chain(others.into_iter().map(|socket| (1, socket)));
        let handed = slots.map(|(slot, socket)| Handed { slot: Some(slot), ..handed("127.0.0.1:0", socket) });
        let places = resolve(grammar::addresses("127.0.0.1:0, 127.0.0.1:0").expect("entries")).expect("numbers");
        let mut listeners = bind(&places, handed.collect(), Some(2), true).expect("all of it was bound");
        let ports_now = |listener: &Listener| match &listener.sockets {
            Sockets::PerSlot(slots) => {
                let bound = |socket| SockRef::from(&socket).local_addr().expect("bound").as_socket().expect("a port");
                slots.sockets().map(|socket| bound(socket).port()).collect()
            }
            Sockets::One(_) | Sockets::Taken => Vec::new(),
        };
        assert_eq!(listeners.listeners.iter().map(ports_now).collect::<Vec<_>>(), ports.map(|port| vec![port; 2]));
        assert!(listeners.left.is_empty());
        // And a slot that was added meanwhile gets what it has not.
        listeners.complete([1, 2].into_iter()).expect("it can be shared");
        assert_eq!(listeners.listeners.iter().map(ports_now).collect::<Vec<_>>(), ports.map(|port| vec![port; 3]));
    }

    #[test]
    fn what_workers_have_in_blocking_mode_stays_in_it() {
        let check = |in_use: bool, nonblocking: bool| {
            let (socket, _) = tcp();
            socket.set_nonblocking(nonblocking).expect("a mode");
            let places = resolve(grammar::addresses("127.0.0.1:0").expect("entries")).expect("numbers");
            let handed = Handed { is_in_use: in_use, ..handed("127.0.0.1:0", socket) };
            let listeners = bind(&places, vec![handed], None, true).expect("it was bound");
            let check = |kind| listeners.check_mode(|other| other == kind).map_err(|error| error.to_string());
            assert_eq!(check(Kind::Udp), Ok(()));
            check(Kind::Tcp)
        };
        for (in_use, nonblocking) in [(true, true), (false, true), (false, false)] {
            assert_eq!(check(in_use, nonblocking), Ok(()));
        }
        let why = check(true, false).unwrap_err();
        assert!(why.contains("have 127.0.0.1:0 in blocking mode") && why.contains("restart the service"), "{why}");
    }

    #[test]
    fn whether_ipv4_is_served_too_is_no_matter_of_an_upgrade() {
        let Ok(socket) = TcpListener::bind("[::]:0") else { return eprintln!("skipped: there is no IPv6 here") };
        let port = socket.local_addr().expect("an address").port();
        if SockRef::from(&socket).only_v6().expect("an option") {
            return eprintln!("skipped: IPv6 is by itself here");
        }
        let refusal = |listen: &str, socket: OwnedFd| {
            let places = resolve(grammar::addresses(listen).expect("entries")).expect("numbers");
            bind(&places, vec![handed("old=[::]:0", socket)], None, true).map(drop).unwrap_err().to_string()
        };
        let copy = || socket.try_clone().expect("a copy").into();
        let why = refusal(&format!("[::]:{port}, 0.0.0.0:{port}"), copy());
        assert!(why.contains("serves IPv4, too, at [::]:") && why.contains("restart the service"), "{why}");
        let why = refusal(&format!("0.0.0.0:{port}"), copy());
        assert!(why.contains("the running pool holds its port") && why.contains("restart the service"), "{why}");
        let socket = socket2::Socket::new(socket2::Domain::IPV6, socket2::Type::STREAM, None).expect("a socket");
        socket.set_only_v6(true).expect("an option");
        socket.bind(&SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, 0)).into()).expect("a port");
        socket.listen(1).expect("it listens");
        let port = TcpListener::from(socket.try_clone().expect("a copy")).local_addr().expect("an address").port();
        let why = refusal(&format!("[::]:{port}"), socket.into());
        assert!(why.contains("does not serve IPv4 at [::]:"), "{why}");
    }

    #[test]
    fn a_port_takes_what_is_bound_to_it_of_its_kind() {
        let (socket, port) = tcp();
        let at = format!("127.0.0.1:{port}");
        let (took_what, left) = bound(&at, vec![handed("a=127.0.0.1:0", socket)]);
        assert_eq!((took_what, left.len()), (vec![took(&at, Some("a=127.0.0.1:0"))], 0));
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let at = socket.local_addr().expect("an address");
        let tcp_at = TcpListener::bind(at).map(drop).map(|()| at.to_string());
        // Somebody else may have the port for TCP.
        if let Ok(at) = tcp_at {
            let (took_what, left) = bound(&at, vec![handed("udp:127.0.0.1:0", socket)]);
            assert_eq!((took_what, left.len()), (vec![took(&at, None)], 1));
        }
    }
}
