//! Sockets that share an address, and to which of them the kernel gives new connections and datagrams: SO_REUSEPORT and
//! SO_ATTACH_REUSEPORT_CBPF.
#![allow(unsafe_code)]

/// How the kernel chooses among the sockets that share an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// A random one each time: for connections.
    Random,
    /// One socket for all datagrams of a sender, until the set of sockets changes.
    BySender,
}

#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) use linux::{queues_migrate, share_address, steer};
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) use portable::{queues_migrate, share_address, steer};

/// setsockopt(2) at the level of the socket.
#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
fn set_option<T>(socket: std::os::fd::BorrowedFd<'_>, name: std::ffi::c_int, value: &T) -> std::io::Result<()> {
    use std::os::fd::AsRawFd;
    // The values here have a few bytes.
    let length = size_of::<T>() as libc::socklen_t;
    // SAFETY: setsockopt(2) reads as many bytes as the length says, from a reference to a value of that size. Where the value
    // is a program, it also reads the instructions: `steer` takes their count and place from a vector that lives until then.
    let set = unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, name, std::ptr::from_ref(value).cast(), length)
    };
    super::outcome::checked(set).map(drop)
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod linux {
    use std::fs;
    use std::io;
    use std::ops::Range;
    use std::os::fd::BorrowedFd;

    use libc::{sock_filter, sock_fprog};

    use super::{Choice, set_option};

    /// Lets other sockets of this user be bound to the address that this one has, or is about to have.
    pub(crate) fn share_address(socket: BorrowedFd<'_>) -> io::Result<()> {
        set_option(socket, libc::SO_REUSEPORT, &1)
    }

    /// Gives new connections and datagrams to the sockets at these places only. `socket` is any of those that share the
    /// address. Sockets have their places in the order in which they were bound, or began to listen; when one is closed, the
    /// last one takes its place.
    pub(crate) fn steer(socket: BorrowedFd<'_>, places: &[Range<u32>], choice: Choice) -> io::Result<()> {
        let mut program = program(places, choice);
        let length = u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        let program = sock_fprog { len: length, filter: program.as_mut_ptr() };
        set_option(socket, libc::SO_ATTACH_REUSEPORT_CBPF, &program)
    }

    /// Whether the queue of a listener that is closed goes to the others that share its address: net.ipv4.tcp_migrate_req.
    /// `None` where the kernel does not have this setting.
    pub(crate) fn queues_migrate() -> Option<bool> {
        let text = fs::read_to_string("/proc/sys/net/ipv4/tcp_migrate_req").ok()?;
        Some(text.trim() != "0")
    }

    // Instructions, from linux/bpf_common.h.
    const LOAD_WORD: u16 = 0x20;
    const LOAD_HALF_AT_X: u16 = 0x48;
    const LOAD_HEADER_LENGTH_INTO_X: u16 = 0xb1;
    const SET_X: u16 = 0x01;
    const A_TO_X: u16 = 0x07;
    const XOR_X: u16 = 0xac;
    const ADD: u16 = 0x04;
    const MULTIPLY: u16 = 0x24;
    const SHIFT_RIGHT: u16 = 0x74;
    const REMAINDER: u16 = 0x94;
    const SKIP_IF_EQUAL: u16 = 0x15;
    const SKIP_IF_AT_LEAST: u16 = 0x35;
    const JUMP: u16 = 0x05;
    const RETURN_A: u16 = 0x16;

    /// From linux/filter.h: SKF_AD_OFF with SKF_AD_PROTOCOL and SKF_AD_RANDOM, SKF_NET_OFF.
    const PROTOCOL: u32 = 0xffff_f000;
    const RANDOM: u32 = 0xffff_f000 + 56;
    const IP_HEADER: u32 = 0xfff0_0000;
    const ETH_P_IPV6: u32 = 0x86dd;
    const IPV6_HEADER_LENGTH: u32 = 40;

    fn instruction(code: u16, k: u32) -> sock_filter {
        sock_filter { code, jt: 0, jf: 0, k }
    }

    fn skip_if(code: u16, k: u32, skipped: u8) -> sock_filter {
        sock_filter { code, jt: skipped, jf: 0, k }
    }

    /// Draws a number below the count of the places, and returns the place with this index.
    fn program(places: &[Range<u32>], choice: Choice) -> Vec<sock_filter> {
        let mut program = match choice {
            Choice::Random => vec![instruction(LOAD_WORD, RANDOM)],
            Choice::BySender => hash_of_sender(),
        };
        // The kernel refuses a division by 0, and so a program for no place.
        program.push(instruction(REMAINDER, places.iter().map(|range| range.end - range.start).sum()));
        let mut passed = 0;
        for range in places {
            let count = range.end - range.start;
            program.push(skip_if(SKIP_IF_AT_LEAST, passed + count, 2));
            program.push(instruction(ADD, range.start.wrapping_sub(passed)));
            program.push(instruction(RETURN_A, 0));
            passed += count;
        }
        program.push(instruction(RETURN_A, 0));
        program
    }

    /// Mixes the sender's port and the last 4 bytes of its address.
    fn hash_of_sender() -> Vec<sock_filter> {
        // The last 4 bytes of the source address.
        let (address_of_v4, address_of_v6) = (IP_HEADER + 12, IP_HEADER + 20);
        vec![
            instruction(LOAD_WORD, PROTOCOL),
            skip_if(SKIP_IF_EQUAL, ETH_P_IPV6, 5),
            instruction(LOAD_HEADER_LENGTH_INTO_X, IP_HEADER),
            instruction(LOAD_HALF_AT_X, IP_HEADER),
            instruction(A_TO_X, 0),
            instruction(LOAD_WORD, address_of_v4),
            instruction(JUMP, 4),
            instruction(SET_X, IPV6_HEADER_LENGTH),
            instruction(LOAD_HALF_AT_X, IP_HEADER),
            instruction(A_TO_X, 0),
            instruction(LOAD_WORD, address_of_v6),
            instruction(XOR_X, 0),
            instruction(MULTIPLY, 0x9e37_79b1),
            instruction(SHIFT_RIGHT, 16),
        ]
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod portable {
    use std::io;
    use std::ops::Range;
    use std::os::fd::BorrowedFd;

    use super::Choice;

    /// FreeBSD alone has an option that spreads new connections. On other systems SO_REUSEPORT gives all to one socket.
    #[cfg(target_os = "freebsd")]
    pub(crate) fn share_address(socket: BorrowedFd<'_>) -> io::Result<()> {
        super::set_option(socket, libc::SO_REUSEPORT_LB, &1_i32)
    }

    #[cfg(not(target_os = "freebsd"))]
    pub(crate) fn share_address(_: BorrowedFd<'_>) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn steer(_: BorrowedFd<'_>, _: &[Range<u32>], _: Choice) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn queues_migrate() -> Option<bool> {
        None
    }
}
