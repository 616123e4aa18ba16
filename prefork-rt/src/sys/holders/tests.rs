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
fn a_socket_that_keeps_others_from_an_address_is_told_from_one_with_only_its_port() {
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
fn a_socket_that_was_bound_by_a_descriptor_of_its_directory_is_found_by_its_name() {
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
    fn a_socket_of_each_kind_is_found_with_its_holders() {
        let tcp = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = tcp.local_addr().expect("an address");
        // An accepted socket has the address of the listener.
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
