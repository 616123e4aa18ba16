//! What one process can change of a listening socket for all processes that share it, and how that is undone.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

#[cfg(all(feature = "tokio", any(target_os = "linux", target_os = "android")))]
pub(crate) use linux::queue_length;
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) use linux::{Admission, detach_filter, has_filter, is_shut_down, queue_room};
#[cfg(all(feature = "tokio", not(any(target_os = "linux", target_os = "android"))))]
pub(crate) use portable::queue_length;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) use portable::{Admission, detach_filter, has_filter, is_shut_down, queue_room};

use super::outcome::checked;

/// Disconnects a socket from its peer, or stops a TCP listener from listening: connect(2) to AF_UNSPEC.
pub(crate) fn disconnect(socket: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: any bytes are a `sockaddr_in`; zeroes are one of AF_UNSPEC.
    let nowhere: libc::sockaddr_in = unsafe { std::mem::zeroed() };
    let length = size_of_val(&nowhere) as libc::socklen_t;
    // SAFETY: connect(2) reads as many bytes as the length says, which are those of a live local.
    checked(unsafe { libc::connect(socket.as_raw_fd(), std::ptr::from_ref(&nowhere).cast(), length) }).map(drop)
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod linux {
    use std::ffi::c_int;
    use std::io;
    use std::os::fd::{AsRawFd, BorrowedFd};

    use crate::sys::outcome::checked;

    /// From `asm-generic/socket.h`. Architectures with a header of their own have the same numbers there.
    const SO_GET_FILTER: c_int = 26;
    const SO_DETACH_FILTER: c_int = 27;

    /// How many connections may wait to be accepted at a TCP socket that listens: TCP_INFO.
    pub(crate) fn queue_room(socket: BorrowedFd<'_>) -> Option<u32> {
        /// The index of `tcpi_sacked` among the words of `tcp_info`: for a socket that listens it is the backlog.
        const BACKLOG: usize = 7;
        listener_info(socket).map(|info| info[BACKLOG])
    }

    /// How many connections wait to be accepted at a TCP socket that listens: TCP_INFO. `None` for any other socket.
    #[cfg(feature = "tokio")]
    pub(crate) fn queue_length(socket: BorrowedFd<'_>) -> Option<u32> {
        /// The index of `tcpi_unacked`: for a socket that listens it is the length of the queue.
        const WAITING: usize = 6;
        listener_info(socket).map(|info| info[WAITING])
    }

    /// The first words of `tcp_info` of a socket that listens.
    fn listener_info(socket: BorrowedFd<'_>) -> Option<[u32; 8]> {
        /// From `tcp_states.h`.
        const TCP_LISTEN: u8 = 10;
        let mut info = [0_u32; 8];
        let length = get(socket, libc::IPPROTO_TCP, libc::TCP_INFO, &mut info).ok()?;
        (length == size_of_val(&info) && info[0].to_ne_bytes()[0] == TCP_LISTEN).then_some(info)
    }

    /// Whether a socket that has no peer was shut down for reading: poll(2).
    pub(crate) fn is_shut_down(socket: BorrowedFd<'_>) -> bool {
        let mut asked = libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLRDHUP, revents: 0 };
        // SAFETY: poll(2) reads and writes one `pollfd`, which is a live local.
        unsafe { libc::poll(&raw mut asked, 1, 0) == 1 && asked.revents & libc::POLLRDHUP != 0 }
    }

    /// Whether a program decides what comes to this socket: SO_GET_FILTER.
    pub(crate) fn has_filter(socket: BorrowedFd<'_>) -> bool {
        // A classic program has a length; any other one is an error.
        match get::<u32>(socket, libc::SOL_SOCKET, SO_GET_FILTER, &mut []) {
            Ok(length) => length > 0,
            Err(error) => error.raw_os_error() == Some(libc::EACCES),
        }
    }

    /// SO_DETACH_FILTER.
    pub(crate) fn detach_filter(socket: BorrowedFd<'_>) -> io::Result<()> {
        set(socket, libc::SOL_SOCKET, SO_DETACH_FILTER, &[0; 4])
    }

    /// Large enough for the name of an interface.
    type Value = [u8; libc::IFNAMSIZ];

    #[cfg(not(any(target_arch = "sparc", target_arch = "sparc64")))]
    const SO_LOCK_FILTER: c_int = 44;
    #[cfg(any(target_arch = "sparc", target_arch = "sparc64"))]
    const SO_LOCK_FILTER: c_int = 40;
    const IPV6_MINHOPCOUNT: c_int = 73;

    /// The options that keep clients out, and what has happened when one differs.
    const OPTIONS: [(c_int, c_int, &str); 4] = [
        (libc::SOL_SOCKET, SO_LOCK_FILTER, "its filter was locked"),
        (libc::SOL_SOCKET, libc::SO_BINDTODEVICE, "it was bound to another interface"),
        (libc::IPPROTO_IP, libc::IP_MINTTL, "it dropped packets by their TTL"),
        (libc::IPPROTO_IPV6, IPV6_MINHOPCOUNT, "it dropped packets by their hop limit"),
    ];

    /// The options of a socket that keep clients out, as they were at one moment.
    pub(crate) struct Admission([Option<(Value, usize)>; OPTIONS.len()]);

    impl Admission {
        /// As they are now: getsockopt(2).
        pub(crate) fn of(socket: BorrowedFd<'_>) -> Admission {
            Admission(OPTIONS.map(|(level, name, _)| {
                let mut value = Value::default();
                get(socket, level, name, &mut value).ok().map(|length| (value, length.min(value.len())))
            }))
        }

        /// Puts back the options that differ: setsockopt(2). Returns what had happened, and whether it could be undone.
        pub(crate) fn restore(&self, socket: BorrowedFd<'_>) -> Vec<(&'static str, io::Result<()>)> {
            let now = Admission::of(socket);
            let mut put_back = Vec::new();
            for (index, (level, name, what)) in OPTIONS.into_iter().enumerate() {
                match &self.0[index] {
                    Some((value, length)) if self.0[index] != now.0[index] => {
                        put_back.push((what, set(socket, level, name, &value[..*length])));
                    }
                    Some(_) | None => {}
                }
            }
            put_back
        }
    }

    /// getsockopt(2). Returns how many bytes of the value were filled in; for a filter, how long it is.
    fn get<T: Copy>(socket: BorrowedFd<'_>, level: c_int, name: c_int, value: &mut [T]) -> io::Result<usize> {
        // A value has a few bytes.
        let mut length = size_of_val(value) as libc::socklen_t;
        // SAFETY: getsockopt(2) writes at most as many bytes as the length says, which are those of the slice; its items
        // are integers, which may have any bits. It writes one number to the length.
        let result =
            unsafe { libc::getsockopt(socket.as_raw_fd(), level, name, value.as_mut_ptr().cast(), &raw mut length) };
        checked(result).map(|_| length as usize)
    }

    fn set(socket: BorrowedFd<'_>, level: c_int, name: c_int, value: &[u8]) -> io::Result<()> {
        let length = value.len() as libc::socklen_t;
        // SAFETY: setsockopt(2) reads as many bytes as the length says, which are those of the slice.
        let set = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, value.as_ptr().cast(), length) };
        checked(set).map(drop)
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod portable {
    use std::io;
    use std::os::fd::BorrowedFd;

    pub(crate) fn queue_room(_: BorrowedFd<'_>) -> Option<u32> {
        None
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn queue_length(_: BorrowedFd<'_>) -> Option<u32> {
        None
    }

    pub(crate) fn is_shut_down(_: BorrowedFd<'_>) -> bool {
        false
    }

    pub(crate) fn has_filter(_: BorrowedFd<'_>) -> bool {
        false
    }

    pub(crate) fn detach_filter(_: BorrowedFd<'_>) -> io::Result<()> {
        Ok(())
    }

    pub(crate) struct Admission;

    impl Admission {
        pub(crate) fn of(_: BorrowedFd<'_>) -> Admission {
            Admission
        }

        pub(crate) fn restore(&self, _: BorrowedFd<'_>) -> Vec<(&'static str, io::Result<()>)> {
            Vec::new()
        }
    }
}
