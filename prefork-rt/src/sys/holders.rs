//! Which processes hold a socket: /proc/net lists the sockets of the system, /proc/PID/fd those of a process.
//!
//! Each function costs time that grows with the sockets or the processes of the whole system, so the caller asks only
//! when it knows that a socket is held. Where there is no /proc, nothing is found. It must not know what a socket is for.

use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use super::proc::is_of_our_processes;
use super::{Pid, getpid};

/// What a socket is bound to.
#[derive(Clone, Copy)]
pub(crate) enum Bound<'a> {
    Tcp(SocketAddr),
    Udp(SocketAddr),
    /// To any of these paths, or to a name in any directory of which a process had a descriptor: `/proc/self/fd/NAME`.
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

    /// How much it looks as if this socket kept others from being bound here; the lowest is the most.
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

/// The number by which the kernel tells a socket from all others: fstat(2).
pub(crate) fn socket_number(socket: BorrowedFd<'_>) -> io::Result<u64> {
    // The type differs from system to system.
    #[allow(clippy::useless_conversion, reason = "it is u64 on Linux")]
    Ok(nix::sys::stat::fstat(socket)?.st_ino.into())
}

/// The numbers of the sockets that keep others from being bound there; none where the system lists none. It lists those of
/// this network namespace, whichever process holds them, but for TCP sockets that are bound and do not listen.
pub(crate) fn sockets_at(bound: Bound<'_>) -> Vec<u64> {
    let mut found = Vec::new();
    let _ = each_listed(bound.list(), |listed| {
        found.extend(bound.rank(&listed).map(|rank| (rank, listed.socket)));
        true
    });
    let best = found.iter().map(|&(rank, _)| rank).min();
    found.into_iter().filter(|&(rank, _)| Some(rank) == best).map(|(_, socket)| socket).collect()
}

/// Those of these listening sockets that still exist, in whichever process of this network namespace.
pub(crate) fn still_open(list: SocketList, sockets: &[u64]) -> Vec<u64> {
    let mut open = Vec::new();
    let _ = each_listed(list, |listed| {
        open.extend(Some(listed.socket).filter(|socket| sockets.contains(socket)));
        // The kernel lists the TCP sockets that listen before those that are connected, of which there may be many.
        open.len() < sockets.len() && (list != SocketList::Tcp || listed.state == LISTENS)
    });
    open
}

/// The processes that have one of these sockets open, in the order of their ids: those that this process may look into.
/// Without root these are processes of the same user, and never those outside of its PID namespace.
pub(crate) fn holders(sockets: &[u64]) -> Vec<Holder> {
    if !is_of_our_processes() {
        return Vec::new();
    }
    let links: Vec<PathBuf> = sockets.iter().map(|socket| format!("socket:[{socket}]").into()).collect();
    let pids =
        fs::read_dir("/proc").into_iter().flatten().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let mut holders: Vec<Holder> = pids.filter_map(|pid| holder(pid, &links)).collect();
    holders.sort_unstable_by_key(|holder| holder.pid);
    holders
}

fn holder(pid: i32, links: &[PathBuf]) -> Option<Holder> {
    let mut open = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
    let is_one = |path: PathBuf| fs::read_link(path).is_ok_and(|link| links.contains(&link));
    open.any(|entry| entry.is_ok_and(|entry| is_one(entry.path()))).then_some(())?;
    let name = fs::read(format!("/proc/{pid}/comm")).ok()?;
    Some(Holder { pid: Pid::from_raw(pid), name: String::from_utf8_lossy(&name).trim_end().to_owned() })
}

/// A line of /proc/net.
struct Listed<'a> {
    at: At<'a>,
    state: &'a str,
    socket: u64,
}

enum At<'a> {
    Address(SocketAddr),
    Path(&'a Path),
}

/// A TCP socket that listens.
const LISTENS: &str = "0A";
/// A Unix socket that is not connected: one that listens.
const UNCONNECTED: &str = "01";

/// Until it says that this is enough.
fn each_listed(list: SocketList, mut goes_on: impl FnMut(Listed<'_>) -> bool) -> io::Result<()> {
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

/// `0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 1000 0 4711 1 …`
fn listed_address(line: &str) -> Option<Listed<'_>> {
    let mut fields = line.split_ascii_whitespace();
    let at = At::Address(address(fields.nth(1)?)?);
    Some(Listed { at, state: fields.nth(1)?, socket: fields.nth(5)?.parse().ok()? })
}

/// In words of 32 bits, each as this machine reads it from memory, where it stands as the network has it.
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

/// `00000000f7608a3f: 00000002 00000000 00010000 0001 01 4711 /run/app.sock`, where spaces fill up what is shorter.
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
        // An IPv6 address for every interface may leave its port to IPv4.
        _ if one.is_ipv4() == other.is_ipv4() => 1,
        _ => 2,
    };
    // What is connected keeps its port from others too; of UDP there is nothing that listens.
    Some(if listed.state == LISTENS { rank } else { rank + 3 })
}

fn rank_of_path(listed: &Listed<'_>, wanted: &Path) -> Option<u8> {
    let At::Path(path) = listed.at else { return None };
    let is_there = || {
        let directory = |path: &Path| path.parent().and_then(|directory| fs::canonicalize(directory).ok());
        path.is_absolute() && path.file_name() == wanted.file_name() && directory(path) == directory(wanted)
    };
    // A pool binds its sockets by a descriptor of their directory.
    let by_descriptor = |path: &Path| {
        let mut parts = path.strip_prefix("/proc/self/fd").ok()?.iter();
        (parts.clone().count() == 2).then(|| parts.next_back()).flatten().map(OsStr::to_owned)
    };
    let is_pool = || by_descriptor(path).is_some_and(|name| Path::new("/proc/self/fd").join(name) == wanted);
    // Whoever was accepted there has this path too.
    (path == wanted || is_pool() || is_there()).then_some(u8::from(listed.state != UNCONNECTED))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_the_kernel_writes_it() {
        let text = if cfg!(target_endian = "little") { "0100007F:1F90" } else { "7F000001:1F90" };
        assert_eq!(address(text), Some("127.0.0.1:8080".parse().expect("an address")));
        let mapped = if cfg!(target_endian = "little") {
            "0000000000000000FFFF00000100007F:0050"
        } else {
            "00000000000000000000FFFF7F000001:0050"
        };
        assert_eq!(address(mapped), Some("127.0.0.1:80".parse().expect("an address")));
        assert_eq!(address("00000000000000000000000000000000:0050"), Some("[::]:80".parse().expect("an address")));
        for broken in ["", "0100007F", "0100007F:", ":1F90", "0100007:1F90", "0100007F:11F90", "ä100007F:1F90"] {
            assert_eq!(address(broken), None, "{broken}");
        }
    }

    #[test]
    fn who_keeps_an_address_from_others_is_told_from_who_only_has_its_port() {
        let ranked = |state, bound: &str, wanted: &str| {
            let bound = At::Address(bound.parse().expect("an address"));
            rank_of_address(&Listed { at: bound, state, socket: 1 }, wanted.parse().expect("an address"))
        };
        assert_eq!(ranked(LISTENS, "127.0.0.1:80", "127.0.0.1:80"), Some(0));
        assert_eq!(ranked(LISTENS, "127.0.0.1:80", "127.0.0.1:81"), None);
        assert_eq!(ranked(LISTENS, "127.0.0.1:80", "127.0.0.2:80"), None);
        assert_eq!(ranked(LISTENS, "0.0.0.0:80", "127.0.0.2:80"), Some(1));
        assert_eq!(ranked(LISTENS, "127.0.0.2:80", "0.0.0.0:80"), Some(1));
        assert_eq!(ranked(LISTENS, "[::1]:80", "0.0.0.0:80"), None);
        assert_eq!(ranked(LISTENS, "[::]:80", "0.0.0.0:80"), Some(2));
        assert_eq!(ranked(LISTENS, "127.0.0.2:80", "[::]:80"), Some(2));
        assert_eq!(ranked("01", "127.0.0.1:80", "127.0.0.1:80"), Some(3));
    }

    #[test]
    fn a_path_may_have_spaces() {
        let line = "00000000f7608a3f: 00000002 00000000 00010000 0001 01  4711 /run/a b.sock\n";
        let listed = listed_path(line).expect("a socket");
        assert_eq!((listed.state, listed.socket), (UNCONNECTED, 4711));
        assert_eq!(rank_of_path(&listed, "/run/a b.sock".as_ref()), Some(0));
        assert_eq!(rank_of_path(&listed, "/run/b.sock".as_ref()), None);
        for unnamed in
            ["Num RefCount Protocol Flags Type St Inode Path\n", "f7: 00000002 00000000 00010000 0001 01 4711\n", ""]
        {
            assert!(listed_path(unnamed).is_none(), "{unnamed}");
        }
    }

    #[test]
    fn a_socket_of_a_pool_is_found_by_the_name_that_the_pool_gave_it() {
        let rank = |bound: &str, wanted: &str| {
            let listed = Listed { at: At::Path(bound.as_ref()), state: UNCONNECTED, socket: 1 };
            rank_of_path(&listed, wanted.as_ref())
        };
        assert_eq!(rank("/proc/self/fd/12/run-app-app.sock", "/proc/self/fd/run-app-app.sock"), Some(0));
        assert_eq!(rank("/proc/self/fd/12/run-app.sock", "/proc/self/fd/run-app-app.sock"), None);
        assert_eq!(rank("/proc/self/fd/12/a/run-app-app.sock", "/proc/self/fd/run-app-app.sock"), None);
        assert_eq!(rank("/run/app/run-app-app.sock", "/proc/self/fd/run-app-app.sock"), None);
    }

    #[cfg(target_os = "linux")]
    mod linux {
        use super::*;
        use std::net::{TcpListener, TcpStream, UdpSocket};
        use std::os::fd::AsFd;

        fn is_ours(bound: Bound<'_>, socket: impl AsFd) {
            let sockets = sockets_at(bound);
            assert_eq!(sockets, [socket_number(socket.as_fd()).expect("a number")]);
            let holders = holders(&sockets);
            assert!(holders.iter().any(Holder::is_this_process), "{holders:?}");
        }

        #[test]
        fn a_socket_of_each_kind_is_found_with_who_holds_it() {
            let tcp = TcpListener::bind("127.0.0.1:0").expect("a port");
            let address = tcp.local_addr().expect("an address");
            // Accepted ones have the address of the listener.
            let _client = TcpStream::connect(address).expect("it listens");
            let _accepted = tcp.accept().expect("a client");
            is_ours(Bound::Tcp(address), &tcp);
            let number = [socket_number(tcp.as_fd()).expect("a number")];
            assert_eq!(still_open(SocketList::Tcp, &number), number);
            drop(tcp);
            assert_eq!(still_open(SocketList::Tcp, &number), [0; 0]);
            let udp = UdpSocket::bind("127.0.0.1:0").expect("a port");
            is_ours(Bound::Udp(udp.local_addr().expect("an address")), &udp);
            assert_eq!(sockets_at(Bound::Udp("127.0.0.1:0".parse().expect("an address"))), [0; 0]);
            let path = std::env::temp_dir().join(format!("prefork-holders-{}", getpid()));
            let unix = std::os::unix::net::UnixListener::bind(&path).expect("a path");
            let _client = std::os::unix::net::UnixStream::connect(&path).expect("it listens");
            let _accepted = unix.accept().expect("a client");
            is_ours(Bound::Unix(std::slice::from_ref(&path)), &unix);
            let number = [socket_number(unix.as_fd()).expect("a number")];
            assert_eq!(still_open(SocketList::Unix, &number), number);
            fs::remove_file(path).expect("it is ours");
        }
    }
}
