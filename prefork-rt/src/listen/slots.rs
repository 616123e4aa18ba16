//! The sockets of one address where each slot has its own: their order in the kernel, and which of them the kernel
//! gives new connections and datagrams.
//!
//! The kernel numbers the sockets of an address in the order in which they were bound or began to listen. When one is
//! closed, the last takes its number. This file keeps the kernel's order.

use std::io;
use std::mem;
use std::net::Shutdown;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use socket2::SockRef;

use crate::error::Error;
use crate::grammar::Kind;
use crate::policy::Intake;
use crate::sys::{self, Choice};

/// Further ranges are left out: the kernel limits the size of a steering program.
const MOST_RANGES: usize = 256;

pub(crate) enum Sockets {
    /// Shared by all workers; in a worker, its own.
    One(OwnedFd),
    PerSlot(Slots),
    /// The body of a worker has taken it.
    Taken,
}

pub(crate) struct Slots {
    kind: Kind,
    /// In the kernel's order.
    members: Vec<Member>,
}

struct Member {
    task_id: usize,
    socket: OwnedFd,
}

impl Sockets {
    /// A socket that another process made, in whichever mode. It gets blocking mode, unless others still use it: they
    /// share the mode.
    pub(super) fn taken_over(socket: OwnedFd, others_have_it: bool) -> Result<Sockets, Error> {
        if !others_have_it {
            SockRef::from(&socket).set_nonblocking(false).map_err(Error::fcntl)?;
        }
        Ok(Sockets::One(socket))
    }
}

impl Slots {
    /// The sockets of the slots 0, 1, 2…, in the order in which they were bound or began to listen.
    pub(super) fn new(kind: Kind, sockets: Vec<OwnedFd>) -> Slots {
        let mut members = Vec::with_capacity(sockets.len());
        for (task_id, socket) in sockets.into_iter().enumerate() {
            members.push(Member { task_id, socket });
        }
        Slots { kind, members }
    }

    /// The sockets with their task ids, in the kernel's order.
    pub(super) fn members(&self) -> impl Iterator<Item = (usize, BorrowedFd<'_>)> {
        self.members.iter().map(|member| (member.task_id, member.socket.as_fd()))
    }

    /// One of the sockets, if there are any.
    pub(super) fn any(&self) -> Option<BorrowedFd<'_>> {
        self.members.first().map(|member| member.socket.as_fd())
    }

    pub(super) fn of(&self, task_id: usize) -> Option<BorrowedFd<'_>> {
        self.members.iter().find(|member| member.task_id == task_id).map(|member| member.socket.as_fd())
    }

    /// Adds a socket that was bound, or began to listen, after all others.
    pub(super) fn add(&mut self, task_id: usize, socket: OwnedFd) {
        self.members.push(Member { task_id, socket });
    }

    /// Whether a connection waits to be accepted, or a datagram to be read.
    pub(super) fn has_waiting(&self, task_id: usize) -> bool {
        self.of(task_id).is_some_and(|socket| sys::wait_readable(socket, Some(Duration::ZERO)))
    }

    /// Has the kernel give what is new to the slots with an open intake. Where there are none, to those whose intake
    /// will open again. Where there are none of these either, nothing changes.
    pub(super) fn steer(&self, intake: impl Fn(usize) -> Intake) -> io::Result<()> {
        self.steer_by(&intake)
    }

    fn steer_by(&self, intake: &dyn Fn(usize) -> Intake) -> io::Result<()> {
        let places_of = |wanted| ranges(self.members.iter().map(|member| intake(member.task_id) == wanted));
        let mut places = places_of(Intake::Open);
        if places.is_empty() {
            places = places_of(Intake::Away);
        }
        match self.any() {
            Some(socket) if !places.is_empty() => sys::steer(socket, &places, self.choice()),
            _ => Ok(()),
        }
    }

    /// Closes a slot's socket, which gets nothing new any more, for all processes that have it.
    ///
    /// When the last socket takes the place of this one, the kernel's steering program is out of date. So the program
    /// that is installed before that leaves the last socket out, and is right before and after.
    pub(super) fn close(&mut self, task_id: usize, intake: impl Fn(usize) -> Intake) -> io::Result<()> {
        let Some(place) = self.members.iter().position(|member| member.task_id == task_id) else { return Ok(()) };
        let last = self.members.last().map_or(task_id, |member| member.task_id);
        let without_last = |other| if other == last { Intake::Closed } else { intake(other) };
        let prepared = if last == task_id { Ok(()) } else { self.steer_by(&without_last) };
        let gone = self.members.swap_remove(place);
        // Otherwise a process that the worker left behind would keep the socket in the kernel's list.
        let _ = SockRef::from(&gone.socket).shutdown(Shutdown::Both);
        drop(gone);
        prepared.and_then(|()| if last == task_id { Ok(()) } else { self.steer_by(&intake) })
    }

    /// In a worker: retains its own socket, and closes those of the other slots. The memory stays shared with the
    /// supervisor as long as the worker does not free it.
    pub(super) fn retain(mut self, task_id: usize) -> Option<OwnedFd> {
        let mut own = None;
        for member in self.members.drain(..) {
            if member.task_id == task_id {
                own = Some(member.socket);
            }
        }
        mem::forget(self.members);
        own
    }

    fn choice(&self) -> Choice {
        if self.kind == Kind::Udp { Choice::BySender } else { Choice::Random }
    }
}

/// The ranges of consecutive places that are chosen.
fn ranges(chosen: impl Iterator<Item = bool>) -> Vec<Range<u32>> {
    let mut ranges: Vec<Range<u32>> = Vec::new();
    for (place, is_chosen) in (0..).zip(chosen) {
        if !is_chosen {
            continue;
        }
        if ranges.len() == MOST_RANGES {
            break;
        }
        match ranges.last_mut() {
            Some(last) if last.end == place => last.end += 1,
            _ => ranges.push(place..place + 1),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
    use std::time::{Duration, Instant};

    use socket2::{Domain, Socket, Type};

    use super::*;

    const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[test]
    fn runs_of_slots_are_found() {
        let found = |text: &str| ranges(text.chars().map(|c| c == '1'));
        let of = |text: &str| -> Vec<(u32, u32)> { found(text).iter().map(|run| (run.start, run.end)).collect() };
        assert_eq!(of(""), []);
        assert_eq!(of("000"), []);
        assert_eq!(of("111"), [(0, 3)]);
        assert_eq!(of("01101"), [(1, 3), (4, 5)]);
        assert_eq!(of(&"10".repeat(1000)).len(), MOST_RANGES);
    }

    fn socket(kind: Kind, address: SocketAddr) -> OwnedFd {
        let ty = if kind == Kind::Udp { Type::DGRAM } else { Type::STREAM };
        let socket = Socket::new(Domain::for_address(address), ty, None).expect("a socket");
        sys::share_address(socket.as_fd()).expect("it can be shared");
        socket.bind(&address.into()).expect("it is free");
        if kind == Kind::Tcp {
            socket.listen(64).expect("it listens");
        }
        socket.into()
    }

    fn address(slots: &Slots) -> SocketAddr {
        let socket = slots.any().expect("there is one");
        SockRef::from(&socket).local_addr().expect("it is bound").as_socket().expect("an address")
    }

    fn slots(kind: Kind, count: usize, host: IpAddr) -> Slots {
        let first = socket(kind, SocketAddr::from((host, 0)));
        let mut slots = Slots::new(kind, vec![first]);
        (1..count).for_each(|task_id| slots.add(task_id, socket(kind, address(&slots))));
        slots
    }

    /// Sends 64 connections or datagrams, and says how many slots they reached. They must reach these slots only.
    fn spread(slots: &Slots, task_ids: &[usize]) -> usize {
        let address = address(slots);
        let mut clients = Vec::new();
        for _ in 0..64 {
            if slots.kind == Kind::Udp {
                let client = UdpSocket::bind((address.ip(), 0)).expect("a client");
                client.send_to(b"x", address).expect("it is sent");
            } else {
                clients.push(TcpStream::connect(address).expect("a slot listens"));
            }
        }
        let (mut reached, mut all) = (BTreeSet::new(), 0);
        let deadline = Instant::now() + Duration::from_secs(60);
        // A loaded machine may take a moment to carry what was sent.
        while all < 64 {
            assert!(Instant::now() < deadline, "{all} have come");
            for member in slots.members.iter().filter(|member| slots.has_waiting(member.task_id)) {
                assert!(task_ids.contains(&member.task_id), "slot {} got something", member.task_id);
                reached.insert(member.task_id);
                let clone = member.socket.try_clone().expect("a copy");
                SockRef::from(&clone).set_nonblocking(true).expect("non-blocking");
                all += if slots.kind == Kind::Udp {
                    let socket = UdpSocket::from(clone);
                    std::iter::from_fn(|| socket.recv(&mut [0]).ok()).count()
                } else {
                    let listener = TcpListener::from(clone);
                    std::iter::from_fn(|| listener.accept().ok()).count()
                };
            }
        }
        reached.len()
    }

    fn open(task_ids: &[usize]) -> impl Fn(usize) -> Intake {
        |task_id| if task_ids.contains(&task_id) { Intake::Open } else { Intake::Closed }
    }

    #[test]
    fn over_ipv6_what_is_new_is_spread_too() {
        let host = IpAddr::V6(Ipv6Addr::LOCALHOST);
        if UdpSocket::bind((host, 0)).is_err() {
            return eprintln!("skipped: there is no IPv6 here");
        }
        for kind in [Kind::Tcp, Kind::Udp] {
            let slots = slots(kind, 4, host);
            slots.steer(open(&[0, 1, 3])).expect("the kernel takes the program");
            assert_eq!(spread(&slots, &[0, 1, 3]), 3, "{kind:?}");
        }
    }

    #[test]
    fn where_no_slot_is_open_what_is_new_waits_in_those_that_will_be() {
        let slots = slots(Kind::Tcp, 3, LOCALHOST);
        let intake = |task_id| if task_id == 1 { Intake::Closed } else { Intake::Away };
        slots.steer(intake).expect("the kernel takes the program");
        assert_eq!(spread(&slots, &[0, 2]), 2);
        slots.steer(|_| Intake::Closed).expect("there is nothing to do");
        assert_eq!(spread(&slots, &[0, 2]), 2);
    }

    #[test]
    fn what_is_new_goes_where_it_is_steered_whichever_sockets_came_and_went() {
        for kind in [Kind::Tcp, Kind::Udp] {
            let mut slots = slots(kind, 5, LOCALHOST);
            let steer = |slots: &Slots, task_ids: &[usize]| {
                slots.steer(open(task_ids)).expect("the kernel takes the program");
                assert_eq!(spread(slots, task_ids), task_ids.len(), "{kind:?} {task_ids:?}");
            };
            let close = |slots: &mut Slots, task_id: usize, left: &[usize]| {
                slots.close(task_id, open(left)).expect("the kernel takes the program");
                assert_eq!(spread(slots, left), left.len(), "{kind:?} without {task_id}");
            };
            steer(&slots, &[0, 1, 2, 3, 4]);
            steer(&slots, &[0, 2, 3]);
            steer(&slots, &[4]);
            close(&mut slots, 1, &[0, 2, 4]);
            steer(&slots, &[2, 3, 4]);
            close(&mut slots, 0, &[2, 3, 4]);
            let address = address(&slots);
            slots.add(7, socket(kind, address));
            assert_eq!(spread(&slots, &[2, 3, 4]), 3, "nothing new goes to one that was added before it is chosen");
            steer(&slots, &[3, 7]);
            close(&mut slots, 2, &[3, 4, 7]);
            close(&mut slots, 4, &[3, 7]);
            steer(&slots, &[3]);
        }
    }
}
