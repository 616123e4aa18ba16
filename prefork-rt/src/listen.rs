//! The sockets of `listen`: bound by the supervisor before the first fork, inherited, or taken over from the binary
//! before, and handed over to each worker.
//!
//! It must not know the types that they come as in a worker.

mod as_bound;
mod before;
mod handed;
mod held;
mod inet;
mod inherited;
mod listeners;
mod repair;
mod slots;
mod store;
mod unix;

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::thread::sleep;
use std::time::Duration;

use socket2::SockRef;

use crate::error::Error;
use crate::grammar::{self, Entry, Host, Kind, Place, UnixPath};
use crate::report;
use crate::sys::Bound;

pub(crate) use before::Handed;
use before::{Pile, Where};
pub(crate) use handed::{Wanted, check, hand_over, take};
pub(crate) use inherited::{Inherited, VARIABLES, copies, distrusted, let_go, receive, receive_again};
use listeners::Sockets;
pub(crate) use listeners::{Listener, Listeners, ToHandOver};
pub(crate) use repair::Moment;
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
        let why = |stored: &Inherited| store::why_obsolete(stored, &places, per_slot);
        let obsolete = store::close(obsolete, &restored, why);
        return Ok(Plan { places, came: None, restored, obsolete });
    }
    let came = Some(inherited::list(&started_with));
    let matched = inherited::match_entries(&entries, started_with)?;
    let place = |(label, sockets)| Resolved { label, key: String::new(), at: At::Inherited(sockets) };
    let places: Vec<Resolved> = matched.into_iter().map(place).collect();
    let obsolete = store::close(stored, &[], |_| "the sockets that this program was started with take its place");
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
    let every: Vec<bool> = entries.iter().map(|entry| is_every_address(&entry.place)).collect();
    let places = entries.into_iter().map(resolve_one).collect::<Result<Vec<_>, _>>()?;
    let wrong = match (included(&places, &every), listed_twice(&places)) {
        (Some((every, other)), _) => format!("{every} is every address with this port, {other} too: list one of them"),
        (None, Some(twice)) => format!("{twice} is listed twice: list it once"),
        (None, None) => return Ok(places),
    };
    Err(Error::Option { name: "listen", reason: wrong })
}

fn is_every_address(place: &Place) -> bool {
    match place {
        Place::Tcp(host) | Place::Udp(host) => matches!(host, Host::Every(_)),
        Place::Unix(_) => false,
    }
}

/// An entry that is every address with a port, and another with an address that has this port. Of port 0, each is another.
fn included<'a>(places: &'a [Resolved], every: &[bool]) -> Option<(&'a str, &'a str)> {
    let port = |place: &Resolved| match &place.at {
        At::Addresses(addresses) => addresses.first().map(SocketAddr::port).filter(|&port| port != 0),
        At::Path(_) | At::Inherited(_) => None,
    };
    let is_in = |one: &Resolved, other: &Resolved| {
        one.label.kind == other.label.kind && port(one).is_some() && port(one) == port(other)
    };
    let all = || places.iter().enumerate();
    let pairs = all().filter(|&(index, _)| every[index]).flat_map(|one| all().map(move |other| (one, other)));
    let mut included = pairs.filter(|((index, one), (other_index, other))| index != other_index && is_in(one, other));
    included.next().map(|((_, one), (_, other))| (one.key.as_str(), other.key.as_str()))
}

fn resolve_one(entry: Entry) -> Result<Resolved, Error> {
    let key = entry.to_string();
    let Entry { name, place } = entry;
    let kind = place.kind();
    let at = match &place {
        Place::Tcp(Host::Address(address)) | Place::Udp(Host::Address(address)) => At::Addresses(vec![*address]),
        Place::Tcp(Host::Every(port)) | Place::Udp(Host::Every(port)) => At::Addresses(vec![inet::every(*port)]),
        Place::Tcp(Host::Name(host, port)) | Place::Udp(Host::Name(host, port)) => {
            let found = (host.as_str(), *port).to_socket_addrs().map_err(|source| Error::Listen {
                address: place.to_string(),
                source,
                advice: "check the name, /etc/hosts and the name server, or write an IP address".to_owned(),
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

/// What an entry is without its name, if it has one.
fn without_name(entry: &str) -> &str {
    grammar::name_and_place(entry).map_or(entry, |(_, place)| place)
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

/// What sockets are bound for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To be served.
    Service,
    /// The rehearsal of an upgrade: no file is left, and nothing changes that other processes have too.
    Rehearsal,
    /// A check, of which the same holds, beside a service that may have the addresses: one in use is noted.
    Check,
}

impl Purpose {
    fn leaves_no_trace(self) -> bool {
        match self {
            Purpose::Service => false,
            Purpose::Rehearsal | Purpose::Check => true,
        }
    }

    /// How often an address in use is tried.
    fn tries(self) -> u32 {
        match self {
            Purpose::Service | Purpose::Rehearsal => TRIES,
            Purpose::Check => 1,
        }
    }
}

/// Binds every address that was not handed over, or none. With a number of slots, each slot has a socket of its own at
/// each address that is not a path.
pub(crate) fn bind(
    places: &[Resolved],
    handed: Vec<Handed>,
    slots: Option<usize>,
    purpose: Purpose,
) -> Result<Listeners, Error> {
    let mut in_use = 0;
    let is_steered = handed.iter().any(|handed| handed.slot.is_some());
    let mut handed = Pile::new(handed, places);
    let no_trace = purpose.leaves_no_trace();
    if slots.is_some() && places.iter().all(|place| place.label.kind == Kind::Unix) {
        report::info("reuse_port has no effect: listen has no TCP or UDP address, and Unix sockets are shared");
    }
    let mut listeners = Vec::new();
    for Resolved { label, key, at } in places {
        match at {
            At::Addresses(addresses) => {
                let only_ipv6 = |address| shares_its_port(label.kind, address, addresses, places);
                let mut missing = Vec::new();
                let mut own = Vec::new();
                for address in addresses {
                    let place = Where::Address(*address, only_ipv6(*address));
                    match handed.take(label, &place, slots.is_some(), no_trace)? {
                        Some(listener) => own.push(listener),
                        None => missing.push(*address),
                    }
                }
                let bound = inet::bind(label, &missing, only_ipv6, slots, purpose)
                    .map_err(|error| handed.explain(label, error))?;
                in_use += bound.iter().filter(|sockets| sockets.is_none()).count();
                let bound = missing.iter().zip(bound);
                own.extend(bound.filter_map(|(address, sockets)| Some(listener(label, address, sockets?))));
                listeners.extend(own.into_iter().map(|listener| listener.storable(Some(Storable::inet(key)))));
            }
            At::Path(path) => {
                let (own, storable) = match handed.take(label, &Where::Path(&path.path), false, no_trace)? {
                    Some(own) => {
                        let storable =
                            own.stored.as_deref().and_then(|name| Storable::unix_again(key, &path.path, name));
                        unix::check(path)?;
                        (own.rights(path.clone()), storable)
                    }
                    None => {
                        let Some(socket) = unix::bind(label, path, purpose)? else {
                            in_use += 1;
                            continue;
                        };
                        (listener(label, &path.path, Sockets::One(socket)), Storable::unix(key, &path.path))
                    }
                };
                listeners.push(own.storable(storable).unix(path.clone()));
            }
            At::Inherited(sockets) => {
                if slots.is_some() && label.kind != Kind::Unix {
                    report::info("reuse_port: sockets that this program was started with are shared by all workers");
                }
                for one in sockets {
                    let socket = one.socket.try_clone().map_err(Error::fcntl)?;
                    let socket = own(socket, one.is_in_use || no_trace)?;
                    report::info(&format!("listening on {}, inherited", Shown(label, &one.place)));
                    let listener = Listener::new(label.clone(), key.clone(), Sockets::One(socket));
                    listeners.push(listener.inherited(one.name.clone(), one.number).in_use(one.is_in_use));
                }
            }
        }
    }
    // What the binary before has told the kernel holds until there is news; and a rehearsal or check tells it nothing.
    let mut listeners = Listeners::own(listeners, handed.rest, !is_steered && !no_trace);
    listeners.in_use = in_use;
    Ok(listeners)
}

fn listener(label: &Label, place: &impl fmt::Display, sockets: Sockets) -> Listener {
    Listener::new(label.clone(), Shown(label, place).to_string(), sockets)
}

/// Whoever had it before has left it in blocking mode or not; but whoever has it, too, keeps the mode.
fn own(socket: OwnedFd, others_have_it: bool) -> Result<OwnedFd, Error> {
    if !others_have_it {
        SockRef::from(&socket).set_nonblocking(false).map_err(Error::fcntl)?;
    }
    Ok(socket)
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

/// What was bound; of a check, `None` and a note where another process has it.
fn bound_or_noted<T>(bound: Result<T, Error>, purpose: Purpose, at: Bound<'_>) -> Result<Option<T>, Error> {
    match (bound, purpose) {
        (Ok(bound), _) => Ok(Some(bound)),
        (Err(error), Purpose::Service | Purpose::Rehearsal) => Err(held::explain(error, at)),
        (Err(error), Purpose::Check) => {
            report::info(&format!("PREFORK=check: {}", held::note(error, at)?));
            Ok(None)
        }
    }
}

/// Binds what may be in use for a moment longer.
fn try_again<T>(what: &impl fmt::Display, purpose: Purpose, bind: impl Fn() -> Result<T, Refusal>) -> Result<T, Error> {
    for tried in 1.. {
        match bind() {
            Ok(bound) => return Ok(bound),
            Err(Refusal { source, .. }) if source.kind() == io::ErrorKind::AddrInUse && tried < purpose.tries() => {
                if tried == 1 {
                    report::warn(&format!("{what} is in use, trying again for 2 s"));
                }
                sleep(BETWEEN_TRIES);
            }
            Err(Refusal { source, advice }) => {
                let advice = advice_on_resources(&source).unwrap_or(advice);
                return Err(Error::Listen { address: what.to_string(), source, advice: advice.to_owned() });
            }
        }
    }
    unreachable!("the last try returns")
}

/// What to do where a limit of this process or of the system is reached, whatever else may go wrong with an address.
fn advice_on_resources(error: &io::Error) -> Option<&'static str> {
    match error.raw_os_error()? {
        libc::EMFILE | libc::ENFILE => Some(
            "there are no descriptors left: raise the limit (`ulimit -n`, LimitNOFILE=); reuse_port takes one for each \
             worker and address",
        ),
        libc::ENOMEM | libc::ENOBUFS => {
            Some("there is no memory for it: free some, or raise the limit (the cgroup's memory.max)")
        }
        _ => None,
    }
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
