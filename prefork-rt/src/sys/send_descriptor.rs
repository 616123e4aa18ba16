//! Sending a message with a copy of a descriptor: sendmsg(2) with SCM_RIGHTS, unix(7).
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::io::{self, IoSlice};
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::outcome::checked;

/// The size of a descriptor, as the calls count.
const SIZE: u32 = size_of::<c_int>() as u32;

/// Room for a header and one descriptor, aligned as a header is: CMSG_SPACE(3) of one descriptor is at most 24 bytes.
type Control = [u64; 4];

/// Sends the message, and a copy of the descriptor with it, to the process that the socket is connected to.
pub(crate) fn send_with_descriptor(
    socket: BorrowedFd<'_>,
    message: &[u8],
    descriptor: BorrowedFd<'_>,
) -> io::Result<()> {
    let mut control: Control = [0; 4];
    let mut parts = [IoSlice::new(message)];
    // SAFETY: a msghdr is numbers and pointers, for which all zeros mean none.
    let mut header: libc::msghdr = unsafe { mem::zeroed() };
    // POSIX has an iovec be what an IoSlice is, and std says that they have one layout.
    header.msg_iov = parts.as_mut_ptr().cast();
    header.msg_iovlen = parts.len() as _;
    header.msg_control = control.as_mut_ptr().cast();
    // SAFETY: CMSG_SPACE(3) computes a number from a number.
    header.msg_controllen = unsafe { libc::CMSG_SPACE(SIZE) } as _;
    // SAFETY: CMSG_FIRSTHDR(3) reads the header, which is a live local.
    let first = unsafe { libc::CMSG_FIRSTHDR(&header) };
    // SAFETY: it is the beginning of `control`, which has room for a cmsghdr, is aligned for it, and is all zeros.
    let first = unsafe { &mut *first };
    first.cmsg_level = libc::SOL_SOCKET;
    first.cmsg_type = libc::SCM_RIGHTS;
    // SAFETY: CMSG_LEN(3) computes a number from a number.
    first.cmsg_len = unsafe { libc::CMSG_LEN(SIZE) } as _;
    // SAFETY: CMSG_DATA(3) computes the place after the header, which is in `control`.
    let data = unsafe { libc::CMSG_DATA(first) };
    // SAFETY: the place has room for a descriptor, as CMSG_SPACE(3) says; it need not be aligned for one.
    unsafe { data.cast::<c_int>().write_unaligned(descriptor.as_raw_fd()) };
    // SAFETY: sendmsg(2) reads what the header points to, all of which lives until here, and keeps nothing of it.
    checked(unsafe { libc::sendmsg(socket.as_raw_fd(), &header, 0) }).map(drop)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Seek};
    use std::os::fd::{AsFd, FromRawFd, OwnedFd};
    use std::os::unix::net::UnixDatagram;

    use super::*;

    #[test]
    fn the_receiver_has_the_message_and_the_open_file() {
        let (ours, theirs) = UnixDatagram::pair().expect("sockets");
        let mut file = File::open(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).expect("this crate's");
        send_with_descriptor(ours.as_fd(), b"one message", file.as_fd()).expect("it is sent");

        let (mut message, mut control): ([u8; 32], Control) = ([0; 32], [0; 4]);
        let mut part = libc::iovec { iov_base: message.as_mut_ptr().cast(), iov_len: message.len() };
        // SAFETY: as in `send_with_descriptor`.
        let mut header: libc::msghdr = unsafe { mem::zeroed() };
        header.msg_iov = &mut part;
        header.msg_iovlen = 1;
        header.msg_control = control.as_mut_ptr().cast();
        header.msg_controllen = size_of_val(&control) as _;
        // SAFETY: recvmsg(2) writes to what the header points to, which are live locals of the sizes that it has.
        let length = unsafe { libc::recvmsg(theirs.as_raw_fd(), &mut header, 0) };
        assert_eq!(&message[..usize::try_from(length).expect("a message")], b"one message");
        // SAFETY: CMSG_FIRSTHDR(3) reads the header, which is a live local.
        let first = unsafe { libc::CMSG_FIRSTHDR(&header) };
        // SAFETY: it is null or the beginning of `control`, where recvmsg(2) wrote a cmsghdr.
        let first = unsafe { first.as_ref() }.expect("a descriptor");
        assert_eq!((first.cmsg_level, first.cmsg_type), (libc::SOL_SOCKET, libc::SCM_RIGHTS));
        // SAFETY: CMSG_DATA(3) computes the place of what the header is of.
        let data = unsafe { libc::CMSG_DATA(first) };
        // SAFETY: recvmsg(2) wrote a descriptor there.
        let number = unsafe { data.cast::<c_int>().read_unaligned() };
        // SAFETY: recvmsg(2) opened it, and nothing else owns it.
        let mut received = File::from(unsafe { OwnedFd::from_raw_fd(number) });

        let mut text = String::new();
        received.read_to_string(&mut text).expect("text");
        assert!(text.contains("prefork-rt"));
        assert_eq!(file.stream_position().expect("a position"), text.len() as u64, "it is the same open file");
    }

    #[test]
    fn a_socket_without_a_receiver_is_an_error() {
        let socket = UnixDatagram::unbound().expect("a socket");
        let error = send_with_descriptor(socket.as_fd(), b"message", socket.as_fd()).expect_err("it is not connected");
        assert_eq!(error.raw_os_error(), Some(libc::ENOTCONN));
    }
}
