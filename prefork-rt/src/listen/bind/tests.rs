use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};

use socket2::SockRef;

use super::*;
use crate::grammar;
use crate::listen::bound_before::bound_to;
use crate::listen::resolve::resolve;
use crate::sys;

fn before(entry: &str, socket: impl Into<OwnedFd>) -> BoundBefore {
    let stored = Some(format!("stored as {entry}"));
    BoundBefore { entry: entry.to_owned(), slot: None, stored, is_in_use: true, socket: socket.into() }
}

fn tcp() -> (TcpListener, u16) {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = socket.local_addr().expect("an address").port();
    (socket, port)
}

/// What is left when all this was listened on, and what took what.
fn bound(listen: &str, before: Vec<BoundBefore>) -> (Vec<(String, Option<String>)>, Vec<String>) {
    let places = resolve(grammar::addresses(listen).expect("entries")).expect("numbers");
    let listeners = bind(&places, before, None, Purpose::Rehearsal).expect("free ports");
    let took = |listener: &Listener| (listener.key.clone(), listener.stored.clone());
    let left = listeners.left.iter().map(|left| left.entry.clone());
    (listeners.listeners.iter().map(took).collect(), left.collect())
}

fn took(entry: &str, from: Option<&str>) -> (String, Option<String>) {
    (entry.to_owned(), from.map(|from| format!("stored as {from}")))
}

#[test]
fn an_entry_takes_what_was_bound_for_it_before_what_was_bound_for_its_place() {
    let sockets = || ["127.0.0.1:0", "a=127.0.0.1:0"].map(|entry| before(entry, tcp().0)).into();
    let (took_what, left) = bound("b=127.0.0.1:0, a=127.0.0.1:0", sockets());
    assert_eq!(took_what, [took("b=127.0.0.1:0", Some("127.0.0.1:0")), took("a=127.0.0.1:0", Some("a=127.0.0.1:0"))]);
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
    let before = slots.map(|(slot, socket)| BoundBefore { slot: Some(slot), ..before("127.0.0.1:0", socket) });
    let places = resolve(grammar::addresses("127.0.0.1:0, 127.0.0.1:0").expect("entries")).expect("numbers");
    let mut listeners = bind(&places, before.collect(), Some(2), Purpose::Rehearsal).expect("all of it was bound");
    let ports_now = |listener: &Listener| match &listener.sockets {
        Sockets::PerSlot(slots) => {
            let bound = |socket| SockRef::from(&socket).local_addr().expect("bound").as_socket().expect("a port");
            slots.members().map(|(_, socket)| bound(socket).port()).collect()
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
        let before = BoundBefore { is_in_use: in_use, ..before("127.0.0.1:0", socket) };
        let listeners = bind(&places, vec![before], None, Purpose::Rehearsal).expect("it was bound");
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
        bind(&places, vec![before("old=[::]:0", socket)], None, Purpose::Rehearsal).map(drop).unwrap_err().to_string()
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

/// With its text, under another name, and as the address that it is.
#[test]
fn every_address_is_the_same_place_however_it_is_written() {
    for (was, now) in [("*:0", "*:0"), ("*:0", "web=:0"), ("*:0", "[::]:0"), ("[::]:0", "*:0")] {
        let places = |listen| resolve(grammar::addresses(listen).expect("entries")).expect("numbers");
        let listeners = bind(&places(was), Vec::new(), None, Purpose::Service).expect("a port");
        let [listener] = &listeners.listeners[..] else { panic!("one socket") };
        let Sockets::One(socket) = &listener.sockets else { panic!("for all") };
        let socket = socket.try_clone().expect("a copy");
        let port = bound_to(&socket).expect("an address").port();
        let now = now.replace(":0", &format!(":{port}"));
        let before = vec![before(&listener.key, socket)];
        // Where there is no IPv6, the one that is written so is another.
        let Ok(_) = TcpListener::bind("[::1]:0") else { return eprintln!("skipped: there is no IPv6 here") };
        let listeners = bind(&places(&now), before, None, Purpose::Rehearsal).expect("it was bound");
        assert!(listeners.left.is_empty() && listeners.listeners[0].stored.is_some(), "{was}, {now}");
    }
}

#[test]
fn a_port_takes_what_is_bound_to_it_of_its_kind() {
    let (socket, port) = tcp();
    let at = format!("127.0.0.1:{port}");
    let (took_what, left) = bound(&at, vec![before("a=127.0.0.1:0", socket)]);
    assert_eq!((took_what, left.len()), (vec![took(&at, Some("a=127.0.0.1:0"))], 0));
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let at = socket.local_addr().expect("an address");
    let tcp_at = TcpListener::bind(at).map(drop).map(|()| at.to_string());
    // Another process may have the port for TCP.
    if let Ok(at) = tcp_at {
        let (took_what, left) = bound(&at, vec![before("udp:127.0.0.1:0", socket)]);
        assert_eq!((took_what, left.len()), (vec![took(&at, None)], 1));
    }
}
