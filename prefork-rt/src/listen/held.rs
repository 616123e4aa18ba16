//! Names the other processes that hold a place where this one would listen, or a socket on which it has listened.

use std::fmt::Display;
use std::io::ErrorKind;
use std::os::fd::BorrowedFd;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::grammar::Kind;
use crate::sys::{self, Bound, Holder, SocketList};
use crate::wording::list;

/// Further processes are counted, not named: a pool is a supervisor and all its workers.
const MOST_NAMED: usize = 3;

/// The processes that hold an address or a path.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// The system lists no socket there.
    Unknown,
    /// A process that this one may not see, because it belongs to another user or another PID namespace.
    Unseen,
    ByThisProcess,
    By(Vec<Holder>),
}

impl Held {
    /// Reads the sockets and processes of the whole system. Call it only when something is in use.
    pub(super) fn look(bound: Bound<'_>) -> Held {
        let sockets = sys::sockets_at(bound);
        if sockets.is_empty() { Held::Unknown } else { Held::by(sys::holders(&sockets)) }
    }

    fn by(mut holders: Vec<Holder>) -> Held {
        let seen = holders.len();
        holders.retain(|holder| !holder.is_this_process());
        match holders.len() {
            0 if seen > 0 => Held::ByThisProcess,
            0 => Held::Unseen,
            _ => Held::By(holders),
        }
    }

    /// What to do about an address in use.
    pub(super) fn advice(&self, bound: Bound<'_>) -> String {
        let (what, tool, choose) = match bound {
            Bound::Tcp(_) => ("another process holds the address", "ss -ltnp", "choose another"),
            Bound::Udp(_) => ("another process holds the address", "ss -lunp", "choose another"),
            Bound::Unix(_) => ("another process listens there", "ss -lxp", "choose another path"),
        };
        match self {
            Held::Unknown => format!("{what}: find it with `{tool}`, or {choose}"),
            Held::Unseen => format!(
                "{what}: it cannot be seen from here, being of another user or outside of this container; find it with \
                 `{tool}` as root of the host, or {choose}"
            ),
            Held::ByThisProcess => {
                "this process holds it itself, perhaps for another entry of listen: leave one of them out".to_owned()
            }
            Held::By(holders) => {
                let verb = if holders.len() == 1 { "holds" } else { "hold" };
                format!("{what}: {} {verb} it, as `{tool}` shows too; stop it, or {choose}", names(holders))
            }
        }
    }
}

/// Where the error says that a place is in use, names the process that holds it.
pub(super) fn explain(error: Error, bound: Bound<'_>) -> Error {
    match error {
        // The system has found no free port.
        error if matches!(bound, Bound::Tcp(address) | Bound::Udp(address) if address.port() == 0) => error,
        Error::Listen { address, source, .. } if source.kind() == ErrorKind::AddrInUse => {
            Error::Listen { address, source, advice: Held::look(bound).advice(bound) }
        }
        error => error,
    }
}

/// The line about a place that another process has, such as the running service, or systemd for it. Returns any other
/// error. A user who may not bind there gets EACCES, even where the place is in use, so this looks for the process
/// itself.
pub(super) fn note(error: Error, bound: Bound<'_>) -> Result<String, Error> {
    let Error::Listen { address, source, advice } = error else { return Err(error) };
    let by = match (Held::look(bound), source.kind()) {
        (Held::ByThisProcess, _) => {
            let advice = Held::ByThisProcess.advice(bound);
            return Err(Error::Listen { address, source, advice });
        }
        (Held::Unknown, ErrorKind::AddrInUse) => String::new(),
        (Held::Unknown, _) => return Err(Error::Listen { address, source, advice }),
        (Held::Unseen, _) => " by a process that cannot be seen from here".to_owned(),
        (Held::By(holders), _) => format!(" by {}", names(&holders)),
    };
    Ok(format!("{address} is in use{by}, so it was not bound; that is no failure, as the service may be running"))
}

/// "pid 4711 (app) and pid 4712 (app)".
fn names(holders: &[Holder]) -> String {
    list(holders.len(), MOST_NAMED, |nth, f| holders[nth].fmt(f)).to_string()
}

/// A socket that was bound here and that this process has closed.
pub(super) struct Closed {
    place: String,
    kind: Kind,
    number: u64,
}

/// Notes a socket that is about to be closed. `None` where the system does not tell its number.
pub(super) fn closing(place: String, kind: Kind, socket: BorrowedFd<'_>) -> Option<Closed> {
    Some(Closed { place, kind, number: sys::socket_number(socket).ok()? })
}

/// A process that was just killed closes what it has within moments.
const MOMENTS: Duration = Duration::from_millis(500);
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);

/// A line that names the processes that still have one of these sockets, if there are any.
pub(super) fn after_the_end(closed: &[Closed]) -> Option<String> {
    let start = Instant::now();
    loop {
        let mut open: Vec<&Closed> = Vec::new();
        for kind in Kind::ALL {
            open.append(&mut of_kind(closed, kind));
        }
        if open.is_empty() {
            return None;
        }
        if start.elapsed() > MOMENTS {
            return still_open(&open);
        }
        sleep(BETWEEN_LOOKS);
    }
}

/// The closed sockets of this kind that another process still has open.
fn of_kind(closed: &[Closed], kind: Kind) -> Vec<&Closed> {
    let mut of_kind: Vec<&Closed> = Vec::new();
    for closed in closed {
        if closed.kind == kind {
            of_kind.push(closed);
        }
    }
    if !of_kind.is_empty() {
        let open = sys::still_open(list_of(kind), &numbers(&of_kind));
        of_kind.retain(|closed| open.contains(&closed.number));
    }
    of_kind
}

fn numbers(closed: &[&Closed]) -> Vec<u64> {
    let mut numbers = Vec::new();
    for closed in closed {
        numbers.push(closed.number);
    }
    numbers
}

fn list_of(kind: Kind) -> SocketList {
    match kind {
        Kind::Tcp => SocketList::Tcp,
        Kind::Udp => SocketList::Udp,
        Kind::Unix => SocketList::Unix,
    }
}

fn still_open(open: &[&Closed]) -> Option<String> {
    let mut places: Vec<&str> = Vec::new();
    for closed in open {
        if places.last() != Some(&closed.place.as_str()) {
            places.push(&closed.place);
        }
    }
    let places = places.join(", ");
    match Held::by(sys::holders(&numbers(open))) {
        Held::By(holders) => {
            let verb = if holders.len() == 1 { "holds" } else { "hold" };
            Some(format!(
                "{} still {verb} {places}, which the next start needs; a process that has left the process group in \
                 which it was started is not killed with it; end it with `kill {}`",
                names(&holders),
                pids(&holders)
            ))
        }
        // This process is about to end, so the next start can bind the place.
        Held::ByThisProcess => None,
        Held::Unknown | Held::Unseen => Some(format!(
            "a process that cannot be seen from here, being of another user or outside of this container, still holds \
             {places}, which the next start needs; find it with `ss -lnp` as root of the host, and end it"
        )),
    }
}

fn pids(holders: &[Holder]) -> String {
    let mut pids: Vec<String> = Vec::new();
    for holder in holders {
        pids.push(holder.pid.to_string());
    }
    pids.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_holders_a_few_are_named() {
        let holders = |count: i32| -> Vec<Holder> { (1..=count).map(|pid| Holder::new(pid, "app")).collect() };
        assert_eq!(names(&holders(1)), "pid 1 (app)");
        assert_eq!(names(&holders(2)), "pid 1 (app) and pid 2 (app)");
        assert_eq!(names(&holders(3)), "pid 1 (app), pid 2 (app) and pid 3 (app)");
        assert_eq!(names(&holders(9)), "pid 1 (app), pid 2 (app), pid 3 (app) and 6 more");
    }
}
