//! Which processes have a socket open: /proc/net lists the sockets of the system, /proc/PID/fd those of a process.
//!
//! Each function takes time that grows with the sockets or the processes of the whole system, so the caller asks only when it
//! knows that some process has a socket open. Where there is no /proc, nothing is found. It must not know what a socket is for.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};

use super::listing::names_in;
use super::proc::{is_of_our_processes, pids};
use super::{Pid, descriptor, getpid};

/// What a socket is bound to.
#[derive(Clone, Copy)]
pub(crate) enum Bound<'a> {
    Tcp(SocketAddr),
    Udp(SocketAddr),
    /// Any of these paths. `/proc/self/fd/NAME` stands for a name in any directory of which a process had a descriptor.
    Unix(&'a [PathBuf]),
}

/// Which list of the kernel a socket is in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum SocketList {
    Tcp,
    Udp,
    Unix,
}

impl Bound<'_> {
    fn list(&self) -> SocketList {
        match self {
            Bound::Tcp(_) => SocketList::Tcp,
            Bound::Udp(_) => SocketList::Udp,
            Bound::Unix(_) => SocketList::Unix,
        }
    }

    /// How likely it is that the listed socket keeps others from being bound here. 0 is the most likely, `None` is not at all.
    fn rank(&self, listed: &Listed<'_>) -> Option<u8> {
        match self {
            Bound::Tcp(address) | Bound::Udp(address) => rank_of_address(listed, *address),
            Bound::Unix(paths) => paths.iter().find_map(|path| rank_of_path(listed, path)),
        }
    }
}

/// A process that has a socket open.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) pid: Pid,
    name: String,
}

impl Holder {
    #[cfg(test)]
    pub(crate) fn new(pid: i32, name: &str) -> Holder {
        Holder { pid: Pid::from_raw(pid), name: name.to_owned() }
    }

    pub(crate) fn is_this_process(&self) -> bool {
        self.pid == getpid()
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pid {} ({})", self.pid, self.name)
    }
}

/// The number that no other socket of the kernel has: fstat(2).
pub(crate) fn socket_number(socket: BorrowedFd<'_>) -> io::Result<u64> {
    // The type is another one on other systems.
    #[allow(clippy::useless_conversion, reason = "it is u64 on Linux")]
    Ok(descriptor::status(socket.as_raw_fd())?.st_ino.into())
}

/// The numbers of the sockets that most likely keep others from being bound there. The system lists the sockets of this network
/// namespace, whichever process has them, but no TCP sockets that are bound and neither listen nor are connected.
pub(crate) fn sockets_at(bound: Bound<'_>) -> Vec<u64> {
    let (mut best, mut found) = (None, Vec::new());
    let _ = each_listed(bound.list(), &mut |listed| {
        let rank = bound.rank(&listed);
        if rank.is_some_and(|rank| best.is_none_or(|best| rank < best)) {
            (best, found) = (rank, Vec::new());
        }
        if rank.is_some() && rank == best {
            found.push(listed.socket);
        }
        true
    });
    found
}

/// Which of these listening sockets still exist, in any process of this network namespace.
pub(crate) fn still_open(list: SocketList, sockets: &[u64]) -> Vec<u64> {
    let mut open = Vec::new();
    let _ = each_listed(list, &mut |listed| {
        if sockets.contains(&listed.socket) {
            open.push(listed.socket);
        }
        // The kernel lists TCP sockets that listen first, and there may be many that are connected.
        open.len() < sockets.len() && (list != SocketList::Tcp || listed.state == LISTENS)
    });
    open
}

/// The processes that have one of these sockets open, in the order of their ids, as far as this process may know their
/// descriptors. Without root these are processes of this user, and never those outside of this PID namespace.
pub(crate) fn holders(sockets: &[u64]) -> Vec<Holder> {
    if !is_of_our_processes() {
        return Vec::new();
    }
    let mut links: Vec<PathBuf> = Vec::new();
    for socket in sockets {
        links.push(format!("socket:[{socket}]").into());
    }
    let mut holders: Vec<Holder> = Vec::new();
    for pid in pids() {
        if let Some(found) = holder(pid, &links) {
            let index = holders.partition_point(|known| known.pid < found.pid);
            holders.insert(index, found);
        }
    }
    holders
}

fn holder(pid: i32, links: &[PathBuf]) -> Option<Holder> {
    let directory = format!("/proc/{pid}/fd");
    let open = names_in(&directory)?;
    let is_one =
        |name: &OsString| fs::read_link(Path::new(&directory).join(name)).is_ok_and(|link| links.contains(&link));
    open.iter().any(is_one).then_some(())?;
    let name = fs::read(format!("/proc/{pid}/comm")).ok()?;
    Some(Holder { pid: Pid::from_raw(pid), name: String::from_utf8_lossy(&name).trim_end().to_owned() })
}

/// A socket in a line of /proc/net.
struct Listed<'a> {
    at: At<'a>,
    state: &'a str,
    socket: u64,
}

enum At<'a> {
    Address(SocketAddr),
    Path(&'a Path),
}

/// The state of a TCP socket that listens.
const LISTENS: &str = "0A";
/// The state of a Unix socket that is not connected, as one that listens is.
const UNCONNECTED: &str = "01";

/// Calls `goes_on` for each socket in a list, until it returns `false`.
fn each_listed(list: SocketList, goes_on: &mut dyn FnMut(Listed<'_>) -> bool) -> io::Result<()> {
    let files: &[&str] = match list {
        SocketList::Tcp => &["/proc/net/tcp", "/proc/net/tcp6"],
        SocketList::Udp => &["/proc/net/udp", "/proc/net/udp6"],
        SocketList::Unix => &["/proc/net/unix"],
    };
    for file in files {
        // IPv6 may be switched off.
        let Ok(file) = File::open(file) else { continue };
        let mut file = BufReader::new(file);
        let mut line = Vec::new();
        while file.read_until(b'\n', &mut line)? > 0 {
            let text = String::from_utf8_lossy(&line);
            let listed = if list == SocketList::Unix { listed_path(&text) } else { listed_address(&text) };
            if listed.is_some_and(|listed| !goes_on(listed)) {
                break;
            }
            line.clear();
        }
    }
    Ok(())
}

/// Reads `0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 1000 0 4711 1 …`
fn listed_address(line: &str) -> Option<Listed<'_>> {
    let mut fields = line.split_ascii_whitespace();
    let at = At::Address(address(fields.nth(1)?)?);
    Some(Listed { at, state: fields.nth(1)?, socket: fields.nth(5)?.parse().ok()? })
}

/// Reads an address that is written in words of 32 bits. In memory a word has the order of the network, and it is written as
/// the number that this machine reads there.
fn address(hex: &str) -> Option<SocketAddr> {
    let (ip, port) = hex.split_once(':')?;
    let word = |from: usize| Some(u32::from_str_radix(ip.get(from..from + 8)?, 16).ok()?.to_ne_bytes());
    let ip = match ip.len() {
        8 => IpAddr::from(word(0)?),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?].concat();
            IpAddr::from(<[u8; 16]>::try_from(words).ok()?)
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip.to_canonical(), u16::from_str_radix(port, 16).ok()?))
}

/// Reads `00000000f7608a3f: 00000002 00000000 00010000 0001 01 4711 /run/app.sock`, where spaces fill up shorter numbers.
fn listed_path(line: &str) -> Option<Listed<'_>> {
    let mut rest = line.trim_end_matches('\n');
    let mut field = || {
        let (field, after) = rest.trim_start_matches(' ').split_once(' ')?;
        rest = after;
        Some(field)
    };
    let _ = [field()?, field()?, field()?, field()?, field()?];
    let (state, socket) = (field()?, field()?);
    Some(Listed { at: At::Path(Path::new(rest)), state, socket: socket.parse().ok()? })
}

fn rank_of_address(listed: &Listed<'_>, wanted: SocketAddr) -> Option<u8> {
    let At::Address(bound) = listed.at else { return None };
    let (one, other) = (bound.ip(), wanted.ip().to_canonical());
    let takes_all = |one: IpAddr, other: IpAddr| match one {
        IpAddr::V4(ip) => ip == Ipv4Addr::UNSPECIFIED && other.is_ipv4(),
        IpAddr::V6(ip) => ip == Ipv6Addr::UNSPECIFIED,
    };
    let rank = match one {
        _ if bound.port() != wanted.port() => return None,
        _ if one == other => 0,
        _ if !takes_all(one, other) && !takes_all(other, one) => return None,
        // A socket of the IPv6 address for all interfaces may leave its port to IPv4.
        _ if one.is_ipv4() == other.is_ipv4() => 1,
        _ => 2,
    };
    // Connected sockets keep their port from others, too. No UDP socket listens, so all have the same handicap.
    Some(if listed.state == LISTENS { rank } else { rank + 3 })
}

fn rank_of_path(listed: &Listed<'_>, wanted: &Path) -> Option<u8> {
    let At::Path(path) = listed.at else { return None };
    let is_there = || {
        let directory = |path: &Path| path.parent().and_then(|directory| fs::canonicalize(directory).ok());
        path.is_absolute() && path.file_name() == wanted.file_name() && directory(path) == directory(wanted)
    };
    // The path of a socket that was bound by a descriptor of its directory: see `Directory::with_address`.
    let by_descriptor = |path: &Path| {
        let mut parts = path.strip_prefix("/proc/self/fd").ok()?.iter();
        (parts.clone().count() == 2).then(|| parts.next_back()).flatten().map(OsStr::to_owned)
    };
    let has_name = || by_descriptor(path).is_some_and(|name| Path::new("/proc/self/fd").join(name) == wanted);
    // A connection that was accepted there has this path, too.
    (path == wanted || has_name() || is_there()).then_some(u8::from(listed.state != UNCONNECTED))
}

#[cfg(test)]
mod tests;
