//! Sockets that a program is started with take the place of `listen`: as systemd hands them over, in the words of
//! sd_listen_fds(3). Where it says `by_systemd`, systemd's own tool does.

mod support;
use support::activation::{announced, by_systemd, descriptors, own_address, with_sockets};
use support::more_rights::{MoreRights, Rights};
use support::pool::Files;
use support::session::Session;
use support::{DEADLINE, Program, Signal, fixture, send, until};

use std::fs;
use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::unistd::geteuid;

const NO_SYSTEMD: &str = "systemd-socket-activate (Debian's package systemd) is not installed";

fn ask(mut connection: impl Read) -> usize {
    let mut answer = String::new();
    connection.read_to_string(&mut answer).expect("an answer");
    answer.trim().parse().expect("a task id")
}

fn ask_tcp(address: SocketAddr) -> usize {
    let connection = TcpStream::connect(address).expect("a listener");
    connection.set_read_timeout(Some(DEADLINE)).expect("a time");
    ask(connection)
}

fn ask_unix(path: &Path) -> usize {
    ask(UnixStream::connect(path).expect("a listener"))
}

fn ask_udp(address: SocketAddr) -> usize {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.set_read_timeout(Some(DEADLINE)).expect("a time");
    socket.send_to(b"?", address).expect("sent");
    let mut answer = [0; 16];
    let count = socket.recv(&mut answer).expect("an answer");
    std::str::from_utf8(&answer[..count]).expect("text").trim().parse().expect("a task id")
}

/// Asks until each of the `workers` has answered.
fn all_answer(workers: usize, ask: impl Fn() -> usize) {
    let mut answered = vec![false; workers];
    until("all workers have answered", || {
        answered[ask()] = true;
        answered.iter().all(|&answered| answered).then_some(())
    });
}

/// Starts it, once systemd's tool listens on all there is.
fn start_listening(command: &mut Command, sockets: usize) -> Session {
    let program = Session::start(command);
    program.stderr.wait_for_nth("Listening on", sockets);
    program
}

fn socket_in(files: &Files, command: &mut Command) -> PathBuf {
    files.name_in(command);
    let directory = command.get_envs().find(|(name, _)| *name == "FILES").and_then(|(_, value)| value);
    PathBuf::from(directory.expect("a directory")).join("app.sock")
}

fn refusal(program: &mut Program) -> String {
    assert_eq!(program.exit_code(), 2, "{:#?}", program.stderr.all());
    assert_eq!(program.stdout.all(), [""; 0], "nothing is forked");
    program.stderr.all().pop().expect("a line")
}

fn tcp() -> (OwnedFd, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    (listener.into(), address)
}

fn udp() -> (OwnedFd, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let address = socket.local_addr().expect("an address");
    (socket.into(), address)
}

/// The numbers of its descriptors that are sockets, and their flags.
fn sockets_of(pid: i32) -> Vec<(String, i32)> {
    let is_socket = |number: &String| {
        let target = fs::read_link(format!("/proc/{pid}/fd/{number}"));
        target.is_ok_and(|target| target.to_string_lossy().starts_with("socket:"))
    };
    let flags = |number: &String| {
        let text = fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}")).expect("/proc");
        let flags = text.lines().find_map(|line| line.strip_prefix("flags:")).expect("flags").trim();
        i32::from_str_radix(flags, 8).expect("octal")
    };
    let numbers = support::descriptors_of(pid).into_iter().filter(is_socket);
    numbers.map(|number| (number.clone(), flags(&number))).collect()
}

/// The program is given one TCP socket and its code has no `listen`; its workers run as this user.
fn a_tcp_socket_is_served(user: Option<&str>) {
    let address = own_address();
    let mut listens = fixture("listens");
    listens.arg("one");
    if let Some(user) = user {
        listens.env("PREFORK_USER", user);
    }
    let mut command = skip_unless!(by_systemd(&["-l", &address.to_string()], &listens), "{NO_SYSTEMD}");
    let mut program = start_listening(&mut command, 1);
    all_answer(3, || ask_tcp(address));
    program.stderr.wait_for(&format!("listening on {address}, inherited"));
    let inherited = sockets_of(program.pid());
    assert!(inherited.iter().all(|(_, flags)| flags & libc::O_CLOEXEC != 0), "{inherited:?}");
    assert_eq!(inherited.len(), 1, "{inherited:?}");

    let killed = program.wait_for_children(3)[0];
    send(killed, Signal::SIGKILL);
    program.stderr.wait_for("restarting (1/10)");
    program.stdout.wait_for_nth(" serves", 4);
    all_answer(3, || ask_tcp(address));
    program.stop();
    program.wait_until_empty();
    assert!(TcpStream::connect(address).is_err(), "the address still has a listener");
}

#[test]
fn a_tcp_socket_is_given_by_its_type() {
    a_tcp_socket_is_served(None);
}

#[test]
fn a_tcp_socket_is_given_to_workers_that_become_another_user() {
    if !geteuid().is_root() {
        skip!("only root can become another user");
    }
    a_tcp_socket_is_served(Some("nobody"));
}

#[test]
fn a_unix_socket_takes_the_place_of_an_entry_and_its_file_stays() {
    let files = Files::with(&[]);
    let mut listens = fixture("listens-to-each-kind");
    let path = socket_in(&files, &mut listens);
    listens.args(["unix", "unix:/nowhere/app.sock?mode=600"]);
    let mut command = skip_unless!(by_systemd(&["-l", path.to_str().expect("text")], &listens), "{NO_SYSTEMD}");
    let mut program = start_listening(&mut command, 1);
    all_answer(2, || ask_unix(&path));
    program.stderr.wait_for(&format!("listening on unix:{}, inherited", path.display()));
    program.stop();
    assert!(path.exists(), "it was not ours");
}

#[test]
fn a_udp_socket_takes_the_place_of_an_entry() {
    let address = own_address();
    let mut listens = fixture("listens-to-each-kind");
    listens.args(["udp", "dns=udp:127.0.0.1:9"]);
    let mut command = skip_unless!(by_systemd(&["--datagram", "-l", &address.to_string()], &listens), "{NO_SYSTEMD}");
    let mut program = start_listening(&mut command, 1);
    all_answer(2, || ask_udp(address));
    program.stderr.wait_for(&format!("listening on dns=udp:{address}, inherited"));
    program.stop();
}

#[test]
fn several_are_given_by_name_or_in_order() {
    let [first, second] = [own_address(), own_address()];
    let (first, second) = (first.to_string(), second.to_string());
    let both = ["-l", &first, "-l", &second];
    for (names, listen, admin) in [
        // By name, in whatever order listen has them.
        (Some("--fdname=admin:public"), "public=127.0.0.1:9,admin=127.0.0.1:10", &first),
        // In order: no address has these names.
        (Some("--fdname=a.socket:a.socket"), "public=127.0.0.1:9,admin=127.0.0.1:10", &second),
        (None, "admin=127.0.0.1:9,public=127.0.0.1:10", &first),
        // One by name, and the other in order.
        (Some("--fdname=x:admin"), "admin=127.0.0.1:9,public=127.0.0.1:10", &second),
        // With no word of listen.
        (Some("--fdname=public:admin"), "none", &second),
    ] {
        let public = if admin == &first { &second } else { &first };
        let options: Vec<&str> = both.into_iter().chain(names).collect();
        let mut listens = fixture("listens-to-each-kind");
        listens.args(["tcp-names", "127.0.0.1:9"]).env("PREFORK_LISTEN", listen);
        let mut command = skip_unless!(by_systemd(&options, &listens), "{NO_SYSTEMD}");
        let mut program = start_listening(&mut command, 2);
        all_answer(2, || ask_tcp(admin.parse().expect("an address")));
        all_answer(2, || ask_tcp(public.parse().expect("an address")));
        program.stdout.wait_for(&format!("admin is Ok({admin}), public is Ok({public})"));
        program.stderr.wait_for(&format!("listening on admin={admin}, inherited"));
        program.stop();
        program.wait_until_empty();
    }
}

#[test]
fn what_does_not_fit_is_refused_and_said() {
    let address = own_address();
    for (listen, parts) in [
        ("unix:/run/app.sock?mode=600", "expected unix:/run/app.sock?mode=600; came descriptor 3, 127."),
        ("a=127.0.0.1:9,b=127.0.0.1:10", "expected a=127.0.0.1:9 + b=127.0.0.1:10; came descriptor 3, 127."),
    ] {
        let mut listens = fixture("listens-to-each-kind");
        listens.args(["tcp", listen]);
        let mut command = skip_unless!(by_systemd(&["-l", &address.to_string()], &listens), "{NO_SYSTEMD}");
        let mut program = start_listening(&mut command, 1);
        let client = TcpStream::connect(address);
        let last = refusal(&mut program);
        drop(client);
        assert!(last.contains("environment variable LISTEN_FDS") && last.contains(parts), "{last}");
    }
}

#[test]
fn each_misfit_is_said_in_words_of_its_own() {
    let ((tcp, tcp_at), (udp, udp_at)) = (tcp(), udp());
    let connected: OwnedFd = TcpStream::connect(tcp_at).expect("a connection").into();
    let unbound: OwnedFd =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("one").into();
    let datagrams: OwnedFd = UnixDatagram::unbound().expect("a socket").into();
    let file: OwnedFd = fs::File::open("/dev/null").expect("a file").into();
    let one = "127.0.0.1:9";
    for (sockets, listen, part) in [
        (&[("a", &tcp), ("b", &tcp)][..], one, "expected 127.0.0.1:9; came \"a\" (descriptor 3), "),
        (&[("a", &tcp), ("b", &tcp)], one, "; by name or in order, 2 came for 1: change the .socket unit"),
        (&[("a", &tcp)], "a=127.0.0.1:9,b=127.0.0.1:10", "0 came for 1"),
        (&[("a", &tcp), ("b", &udp)], "a=127.0.0.1:9", "1 came for 0"),
        (&[("a", &tcp)], "a=udp:127.0.0.1:9", &format!("for a=udp:127.0.0.1:9 came \"a\" (descriptor 3), {tcp_at}")),
        (
            &[("a", &tcp), ("a", &udp)],
            "a=127.0.0.1:9",
            &format!("for a=127.0.0.1:9 came \"a\" (descriptor 4), udp:{udp_at}"),
        ),
        (&[("a", &connected)], one, "for 127.0.0.1:9 came \"a\" (descriptor 3), a stream socket that does not listen"),
        (
            &[("a", &unbound)],
            "none",
            "nothing can be made of \"a\" (descriptor 3), a stream socket that does not listen",
        ),
        (&[("a", &datagrams)], "none", "a Unix datagram socket"),
        (&[("a", &file)], "none", "nothing can be made of \"a\" (descriptor 3), no socket"),
    ] {
        let mut program =
            Program::start(&mut with_sockets(fixture("listens-to-each-kind").args(["tcp", listen]), sockets));
        let last = refusal(&mut program);
        assert!(last.contains("environment variable LISTEN_FDS") && last.contains(part), "{part:?} in {last}");
    }
    let mut program = Program::start(&mut with_sockets(
        fixture("listens-to-each-kind").args(["attribute", "none"]),
        &[("web.socket", &tcp)],
    ));
    let last = refusal(&mut program);
    assert!(last.contains("a UnixListener is asked for, but listen has no Unix socket"), "{last}");
    assert!(last.contains(&format!("take the place of listen: \"web.socket\" (descriptor 3), {tcp_at};")), "{last}");
}

#[test]
fn a_start_that_fails_leaves_the_sockets_to_the_next() {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = socket.local_addr().expect("an address");
    let socket = OwnedFd::from(socket);
    let mut command = with_sockets(fixture("starts-after-a-failure").arg("127.0.0.1:0, 127.0.0.2:0"), &[("", &socket)]);
    let mut program = Program::start(&mut command);
    assert_eq!(program.exit_code(), 0);
    let mut lines = program.stdout.all();
    lines.sort();
    assert_eq!(lines, ["no workers for LISTEN_FDS".to_owned(), format!("task 0 at {at}"), format!("task 1 at {at}")]);
}

#[test]
fn what_is_announced_and_not_there_is_refused() {
    let (socket, _) = tcp();
    for (count, names, part) in
        [("2", "a:b", "Bad file descriptor"), ("1", "a:b", "2 names came (LISTEN_FDS=1 "), ("x", "", "LISTEN_FDS=x")]
    {
        let mut command = with_sockets(fixture("listens").arg("one"), &[("", &socket)]);
        command.env("LISTEN_FDS", count).env("LISTEN_FDNAMES", names);
        let last = refusal(&mut Program::start(&mut command));
        assert!(last.contains("environment variable LISTEN_FDS: the sockets that are announced cannot be"), "{last}");
        assert!(last.contains(part), "{part:?} in {last}");
    }
}

/// sd_listen_fds(3) says so: a variable that was passed on by mistake announces nothing.
#[test]
fn what_is_announced_to_another_process_is_named_and_ignored() {
    let (socket, address) = tcp();
    let mut listens = fixture("listens");
    listens.arg("one").env("PREFORK_LISTEN", "127.0.0.1:0");
    announced(&mut listens, 1, "a").env("LISTEN_PID", "1");
    descriptors(&mut listens, [&socket].into_iter());
    let mut program = Session::start(&mut listens);
    let line = program.stderr.wait_for("LISTEN_FDS=1 is ignored: LISTEN_PID=1 names another process, and this is pid ");
    assert!(line.contains(&format!("this is pid {}: start this program with `exec`", program.pid())), "{line}");
    let line = program.stderr.wait_for("listening on 127.");
    assert!(!line.contains("inherited") && !line.contains(&address.to_string()), "{line}");
    program.stderr.wait_for("are ready");
    assert_eq!(program.stderr.count("LISTEN_"), 1, "{:#?}", program.stderr.all());
    program.stop();
}

/// As tools for developers do: `systemfd --no-pid`.
#[test]
fn what_is_announced_to_no_process_by_name_is_ours() {
    let (socket, address) = tcp();
    for pid in [Some(""), None] {
        let mut listens = fixture("listens");
        listens.arg("one").env("PREFORK_LISTEN", "127.0.0.1:9");
        announced(&mut listens, 1, "a");
        descriptors(&mut listens, [&socket].into_iter());
        listens.envs(pid.map(|pid| ("LISTEN_PID", pid)));
        let mut program = Session::start(&mut listens);
        all_answer(3, || ask_tcp(address));
        program.stderr.wait_for(&format!("listening on {address}, inherited"));
        assert_eq!(program.stderr.count("LISTEN_"), 0, "{:#?}", program.stderr.all());
        program.stop();
        program.wait_until_empty();
    }
}

#[test]
fn names_of_sockets_that_are_not_announced_are_named_and_ignored() {
    for (count, says) in [
        ("", "ignored without LISTEN_FDS, which announces sockets: LISTEN_FDNAMES"),
        ("0", "LISTEN_FDNAMES is ignored: LISTEN_FDS=0 announces no sockets"),
    ] {
        let mut listens = fixture("listens");
        listens.arg("one").env("PREFORK_LISTEN", "127.0.0.1:0").env("LISTEN_FDNAMES", "a").env("LISTEN_FDS", count);
        let mut program = Session::start(&mut listens);
        program.stderr.wait_for(says);
        program.stderr.wait_for("are ready");
        program.stop();
    }
}

#[test]
fn workers_see_none_of_the_variables_and_neither_does_the_only_process() {
    let (socket, _) = tcp();
    for mode in ["", "off"] {
        let mut shows = fixture("shows-its-environment");
        shows.env("PREFORK", mode).env("LISTEN_PIDFDID", "1");
        let mut program = Session::start(&mut with_sockets(&shows, &[("a", &socket)]));
        program.exit_code();
        program.stderr.wait_for(", inherited");
        program.stdout.wait_for("task 0 of 1");
        for who in ["own", "child"] {
            assert_eq!(program.stdout.count(&format!("{who} LISTEN_")), 0, "{:#?}", program.stdout.all());
        }
    }
}

#[test]
fn without_workers_the_only_process_has_them() {
    let (socket, address) = tcp();
    let mut listens = fixture("listens");
    listens.arg("one").env("PREFORK", "off");
    let mut program = Session::start(&mut with_sockets(&listens, &[("a", &socket)]));
    assert_eq!(ask_tcp(address), 0);
    program.signal(Signal::SIGKILL);
    program.wait();
}

#[test]
fn a_check_takes_nothing_and_changes_nothing() {
    let (socket, address) = tcp();
    let listener = TcpListener::from(socket.try_clone().expect("a copy"));
    listener.set_nonblocking(true).expect("a socket");
    let _waiting = TcpStream::connect(address).expect("it listens");
    for (listen, code) in [("127.0.0.1:9", 0), ("none", 0), ("udp:127.0.0.1:9", 2)] {
        let mut listens = fixture("listens-to-each-kind");
        listens.args(["tcp", listen]).env("PREFORK", "check");
        let mut program = Program::start(&mut with_sockets(&listens, &[("a", &socket)]));
        assert_eq!(program.exit_code(), code, "{:#?}", program.stderr.all());
        assert_eq!(program.stderr.count(&format!("{address}, inherited")), usize::from(code == 0));
    }
    // It waits still, and who accepts does not.
    listener.accept().expect("the connection that waits");
    let error = listener.accept().expect_err("there is no other");
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
}

/// All copies of a socket share its blocking mode, so the program sets the mode that it needs.
#[test]
fn tokio_s_types_are_filled_from_inherited_sockets() {
    let directory = Files::with(&[]);
    let path = socket_in(&directory, &mut fixture("listens"));
    let unix: OwnedFd = UnixListener::bind(&path).expect("a socket").into();
    let ((tcp, tcp_at), (udp, udp_at)) = (tcp(), udp());
    let all = [("web", &tcp), ("web", &unix), ("unknown", &udp)];
    for how in ["attribute", "builder", "attribute-threads"] {
        let mut program = Session::start(&mut with_sockets(fixture("listens-with-tokio").arg(how), &all));
        all_answer(2, || ask_tcp(tcp_at));
        all_answer(2, || ask_unix(&path));
        all_answer(2, || ask_udp(udp_at));
        program.stop();
        program.wait_until_empty();
        // In blocking mode again, for a program that expects it.
        let mut program =
            Session::start(&mut with_sockets(fixture("listens-to-each-kind").args(["builder", "none"]), &all));
        all_answer(2, || ask_tcp(tcp_at));
        program.stop();
        program.wait_until_empty();
    }
    assert!(path.exists());
}

/// A name is that of all sockets of a unit, where the unit does not say otherwise.
#[test]
fn sockets_of_one_name_are_one_listener_with_several_addresses() {
    let ((one, one_at), (two, two_at)) = (tcp(), tcp());
    let both = [("web", &one), ("web", &two)];
    for listen in ["web=localhost.invalid:80", "none"] {
        let mut listens = fixture("listens-to-each-kind");
        listens.args(["all-tcp", listen]);
        let mut program = Session::start(&mut with_sockets(&listens, &both));
        all_answer(2, || ask_tcp(one_at));
        all_answer(2, || ask_tcp(two_at));
        program.stderr.wait_for(&format!("listening on web={two_at}, inherited"));
        program.stop();
        program.wait_until_empty();
    }
    let mut asks = fixture("listens-to-each-kind");
    asks.args(["asks", "none"]).env("PREFORK_WORKERS", "1");
    let mut program = Session::start(&mut with_sockets(&asks, &both));
    assert_eq!(program.exit_code(), 0);
    program.stdout.wait_for("web: a TcpListener called \"web\" is asked for, but there are 2 addresses of that name");
    program.stdout.wait_for("all of web: given");
}

/// This program could bind where its caller must not connect.
#[test]
fn a_program_with_more_rights_than_its_caller_takes_none() {
    let copy = match MoreRights::of(&fixture("listens"), Rights::SetUserId) {
        Ok(copy) => copy,
        Err(why) => skip!("{why}"),
    };
    let (socket, _) = tcp();
    let mut listens = copy.program();
    listens.arg("one-twice");
    let mut program = Session::start(&mut copy.as_nobody(with_sockets(&listens, &[("a", &socket)])));
    program.exit_code();
    assert_eq!(program.stderr.count("inherited"), 0, "{:#?}", program.stderr.all());
    let line = program.stderr.wait_for("more rights than its caller");
    assert!(line.contains(": LISTEN_FDS, LISTEN_PID, LISTEN_FDNAMES; "), "{line}");
    let error = "nothing is listened on";
    assert!(program.stderr.count(error) > 0, "{:#?}", program.stderr.all());
}

/// Its caller is the same user, and what the service manager announces is for this process.
#[test]
fn a_program_with_file_capabilities_takes_what_is_announced_to_it_and_nothing_else() {
    let copy = match MoreRights::of(&fixture("listens"), Rights::FileCapabilities) {
        Ok(copy) => copy,
        Err(why) => skip!("{why}"),
    };
    let (socket, address) = tcp();
    let mut listens = copy.program();
    listens.arg("one");
    let mut program = Session::start(&mut copy.as_nobody(with_sockets(&listens, &[("a", &socket)])));
    program.stderr.wait_for(&format!("listening on a={address}, inherited"));
    all_answer(3, || ask_tcp(address));
    assert_eq!(program.stderr.count("ignored"), 0, "{:#?}", program.stderr.all());
    program.stop();
    let mut listens = copy.command();
    announced(listens.arg("one-twice"), 1, "a");
    descriptors(&mut listens, [&socket].into_iter());
    let mut program = Session::start(&mut listens);
    program.exit_code();
    let line = program.stderr.wait_for("more rights than its caller");
    assert!(line.contains(": LISTEN_FDS, LISTEN_FDNAMES; "), "{line}");
    assert_eq!(program.stderr.count("inherited"), 0, "{:#?}", program.stderr.all());
}
