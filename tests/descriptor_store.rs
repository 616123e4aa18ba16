//! A service manager stores the listeners of a program that it starts again: no connection that waits is lost.

mod support;
use support::activation::with_sockets;
use support::manager::Manager;
use support::pool::Files;
use support::session::Session;
use support::{DEADLINE, Signal, descriptors_of, fixture, until};

use std::fs;
use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::unistd::geteuid;

/// What a manager has stored, in the order in which it came.
struct Store(Vec<(String, OwnedFd)>);

impl Store {
    /// Waits until `count` sockets are stored.
    fn fill(manager: &Manager, count: usize, program: &Session) -> Store {
        program.stderr.wait_for("are ready");
        let mut store = Store(Vec::new());
        while store.0.len() < count {
            let (message, mut descriptors) = manager.receive_with_descriptors();
            let Some(rest) = message.strip_prefix("FDSTORE=1\nFDNAME=") else {
                assert!(descriptors.is_empty(), "{message}");
                continue;
            };
            let (name, poll) = rest.split_once('\n').map_or((rest, ""), |(name, poll)| (name, poll));
            assert_eq!(poll == "FDPOLL=0", name.contains("udp%3A"), "{message}");
            assert!(
                name.len() <= 255 && name.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b':'),
                "{name}"
            );
            assert_eq!(descriptors.len(), 1, "{message}");
            store.0.extend(descriptors.pop().map(|descriptor| (name.to_owned(), descriptor)));
        }
        store
    }

    /// Starts the program again with all stored sockets.
    fn start_again(&self, program: &Command) -> Session {
        let sockets: Vec<(&str, &OwnedFd)> = self.0.iter().map(|(name, socket)| (name.as_str(), socket)).collect();
        Session::start(&mut with_sockets(program, &sockets))
    }
}

fn path_in(files: &Files) -> PathBuf {
    let mut command = Command::new("true");
    files.name_in(&mut command);
    let directory = command.get_envs().find_map(|(_, value)| value).expect("a directory");
    Path::new(directory).join("app.sock")
}

fn address(program: &Session, prefix: &str) -> SocketAddr {
    let start = format!("listening on {prefix}");
    let line = program.stderr.wait_for(&format!("{start}127."));
    let (_, address) = line.split_once(&start).expect("an address");
    address.trim_end_matches(", inherited").parse().expect("an address")
}

fn kill(program: &mut Session) {
    program.signal(Signal::SIGKILL);
    program.wait();
    program.wait_until_empty();
}

fn answer(mut connection: impl Read) {
    let mut answer = String::new();
    connection.read_to_string(&mut answer).expect("an answer");
    let task_id: usize = answer.trim().parse().expect("a task id");
    assert!(task_id < 2);
}

fn no_connection_is_lost(manager: &Manager, user: Option<&str>) {
    const WAITING: usize = 20;
    let files = Files::with(&[]);
    let path = path_in(&files);
    let listen =
        format!("dns=udp:127.0.0.1:0, admin=127.0.0.1:0, local=unix:{}?mode=666, public=127.0.0.2:0", path.display());
    let mut listens = fixture("listens-to-each-kind");
    listens.args(["names", &listen]).env("FDSTORE", "16");
    manager.watches(&mut listens);
    if let Some(user) = user {
        listens.env("PREFORK_USER", user);
    }
    let mut program = Session::start(&mut listens);
    let store = Store::fill(manager, 4, &program);
    let [admin, public, dns] = ["admin=", "public=", "dns=udp:"].map(|prefix| address(&program, prefix));
    for round in 1..=2 {
        kill(&mut program);
        let waiting: Vec<TcpStream> = [admin, public]
            .into_iter()
            .flat_map(|address| (0..WAITING).map(move |_| TcpStream::connect(address).expect("it is stored")))
            .collect();
        let local: Vec<UnixStream> = (0..WAITING).map(|_| UnixStream::connect(&path).expect("it is stored")).collect();
        let client = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        client.set_read_timeout(Some(DEADLINE)).expect("a time");
        client.send_to(b"?", dns).expect("sent");

        program = store.start_again(&listens);
        for connection in waiting {
            connection.set_read_timeout(Some(DEADLINE)).expect("a time");
            answer(connection);
        }
        for connection in local {
            connection.set_read_timeout(Some(DEADLINE)).expect("a time");
            answer(connection);
        }
        client.recv(&mut [0; 16]).expect("an answer");
        for place in [
            format!("admin={admin}"),
            format!("public={public}"),
            format!("dns=udp:{dns}"),
            format!("local=unix:{}", path.display()),
        ] {
            program.stderr.wait_for(&format!("listening on {place}, inherited"));
        }
        // What is stored is stored once.
        manager.wait_for("READY=1");
        let messages = manager.receive_all();
        assert!(!messages.iter().any(|message| message.contains("FDSTORE")), "{round}: {messages:#?}");
    }
    program.stop();
    program.wait_until_empty();
    assert!(path.exists(), "the store still has the socket");
    // And so it is with the next.
    let mut program = store.start_again(&listens);
    answer(UnixStream::connect(&path).expect("a listener"));
    program.stop();
}

#[test]
fn no_connection_is_lost_when_a_killed_service_is_started_again() {
    no_connection_is_lost(&Manager::with_a_path(), None);
}

/// The stored socket is of no use any more either.
#[test]
fn a_socket_that_is_bound_anew_takes_the_place_of_the_stored_one() {
    let (manager, files, own) = (Manager::with_a_path(), Files::with(&[]), Files::with(&[]));
    let path = path_in(&own);
    let mut listens = fixture("listens-to-each-kind");
    listens.args(["spoils", &format!("127.0.0.1:0, udp:127.0.0.1:0, unix:{}", path.display())]);
    listens.env("FDSTORE", "16").env("PREFORK_BACKOFF", "0s");
    manager.watches(files.name_in(&mut listens));
    let mut program = Session::start(&mut listens);
    let mut store = Store::fill(&manager, 3, &program);
    let index = store.0.iter().position(|(name, _)| name.contains("unix%3A")).expect("it is stored");
    let (old, _) = store.0.remove(index);
    files.write("spoil", "unix shutdown aborts");
    manager.wait_for(&format!("FDSTOREREMOVE=1\nFDNAME={old}"));
    let (name, socket) = Store::fill(&manager, 1, &program).0.remove(0);
    assert!(name != old && name.contains("unix%3A"), "{name}");
    store.0.insert(index, (name, socket));
    program.stderr.wait_for("reload done after");
    answer(UnixStream::connect(&path).expect("a listener"));
    kill(&mut program);
    let waits = UnixStream::connect(&path).expect("it is stored");
    let mut program = store.start_again(&listens);
    answer(waits);
    program.stop();
}

/// An entry is stored by one name, however it is written.
#[test]
fn no_connection_to_every_address_of_a_port_is_lost_however_the_star_is_written() {
    let manager = Manager::with_a_path();
    let command = |listen| {
        let mut listens = fixture("listens-to-each-kind");
        manager.watches(listens.args(["tcp", listen]).env("FDSTORE", "16"));
        listens
    };
    let mut program = Session::start(&mut command("web=:0"));
    let store = Store::fill(&manager, 1, &program);
    assert_eq!(store.0[0].0, "prefork web=*%3A0");
    let line = program.stderr.wait_for("listening on web=");
    let port = line.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("a port");
    kill(&mut program);
    let waits = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).expect("it is stored");
    let program = store.start_again(&command("web=*:0"));
    answer(waits);
    assert!(program.stderr.wait_for("listening on web=").ends_with(&format!(":{port}, inherited")));
}

#[test]
fn no_connection_is_lost_with_a_manager_that_has_an_abstract_name() {
    no_connection_is_lost(&Manager::with_an_abstract_name(), None);
}

#[test]
fn no_connection_is_lost_when_workers_become_another_user() {
    if !geteuid().is_root() {
        skip!("only root can become another user");
    }
    no_connection_is_lost(&Manager::with_a_path(), Some("nobody"));
}

#[test]
fn the_name_of_a_stored_socket_says_which_entry_it_is() {
    let (files, manager) = (Files::with(&[]), Manager::with_a_path());
    let path = path_in(&files);
    let listen = format!("127.0.0.1:0,web=127.0.0.1:0,udp:127.0.0.1:0,unix:{}?mode=660", path.display());
    let mut listens = fixture("listens-to-each-kind");
    listens.args(["all-tcp", &listen]).env("FDSTORE", "16");
    let mut program = Session::start(manager.watches(&mut listens));
    let store = Store::fill(&manager, 4, &program);
    let names: Vec<&str> = store.0.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names[..3], ["prefork 127.0.0.1%3A0", "prefork web=127.0.0.1%3A0", "prefork udp%3A127.0.0.1%3A0"]);
    let unix = format!("prefork unix%3A{}?mode=660 ", path.display());
    assert!(names[3].starts_with(&unix), "{names:?}");
    program.stop();
}

/// A host name is several sockets with one name.
#[test]
fn the_addresses_of_a_host_name_come_back_with_it() {
    let manager = Manager::with_a_path();
    let mut listens = fixture("listens-to-each-kind");
    listens.args(["all-tcp", "localhost:0"]).env("FDSTORE", "16");
    let mut program = Session::start(manager.watches(&mut listens));
    program.stderr.wait_for("are ready");
    let count = program.stderr.count("listening on ");
    let store = Store::fill(&manager, count, &program);
    assert!(store.0.iter().all(|(name, _)| name == "prefork localhost%3A0"));
    let first = address(&program, "");
    kill(&mut program);
    let waiting = TcpStream::connect(first).expect("it is stored");
    let mut program = store.start_again(&listens);
    answer(waiting);
    program.stderr.wait_for("are ready");
    assert_eq!(program.stderr.count(", inherited"), count);
    program.stop();
}

#[test]
fn what_is_not_listened_on_any_more_is_removed() {
    let (files, manager) = (Files::with(&[]), Manager::with_a_path());
    let path = path_in(&files);
    let unix = format!("unix:{}", path.display());
    let command = |listen: &str| {
        let mut listens = fixture("listens-to-each-kind");
        listens.args(["all-tcp", listen]).env("FDSTORE", "16");
        manager.watches(&mut listens);
        listens
    };
    let mut program = Session::start(&mut command(&format!("127.0.0.1:0,old=127.0.0.1:0,{unix}")));
    let store = Store::fill(&manager, 3, &program);
    kill(&mut program);
    manager.receive_all();
    // The file is gone, so no client could reach that socket.
    fs::remove_file(&path).expect("a file");

    let mut program = store.start_again(&command(&format!("127.0.0.1:0,{unix},new=127.0.0.1:0")));
    let messages = manager.receive_until("READY=1");
    let count = |part: &str| messages.iter().filter(|message| message.contains(part)).count();
    assert_eq!(count("FDSTOREREMOVE=1\nFDNAME=prefork old=127.0.0.1%3A0"), 1, "{messages:#?}");
    assert_eq!(count("FDSTOREREMOVE=1\nFDNAME=prefork unix%3A"), 1, "{messages:#?}");
    assert_eq!(count("FDSTOREREMOVE"), 2, "{messages:#?}");
    assert_eq!(count("FDSTORE=1\nFDNAME=prefork unix%3A"), 1, "{messages:#?}");
    assert_eq!(count("FDSTORE=1\nFDNAME=prefork new=127.0.0.1%3A0"), 1, "{messages:#?}");
    assert_eq!(count("FDSTORE=1"), 2, "{messages:#?}");
    program.stderr.wait_for("are ready");
    assert_eq!(program.stderr.count(", inherited"), 1);
    // Each by its entry, with its own reason.
    program.stderr.wait_for("the stored socket of old=127.0.0.1:0 is closed: listen has no such entry any more");
    program.stderr.wait_for(&format!("the stored socket of {unix} is closed: its file is gone or belongs to another"));
    assert_eq!(program.stderr.count("the stored socket"), 2);
    assert_eq!(program.stderr.count(".sock.new"), 0);
    UnixStream::connect(&path).expect("a listener");
    program.stop();
}

/// A socket for each slot is what is asked for now.
#[test]
fn a_stored_socket_that_is_no_longer_shared_is_removed() {
    let manager = Manager::with_a_path();
    let command = |reuse_port: &str| {
        let mut listens = fixture("listens-to-each-kind");
        listens.args(["all-tcp", "127.0.0.1:0"]).env("FDSTORE", "16").env("PREFORK_REUSE_PORT", reuse_port);
        manager.watches(&mut listens);
        listens
    };
    let mut program = Session::start(&mut command("false"));
    let store = Store::fill(&manager, 1, &program);
    kill(&mut program);
    manager.receive_all();
    let mut program = store.start_again(&command("true"));
    let messages = manager.receive_until("READY=1");
    let changes: Vec<&String> = messages.iter().filter(|message| message.starts_with("FDSTORE")).collect();
    assert_eq!(changes, ["FDSTOREREMOVE=1\nFDNAME=prefork 127.0.0.1%3A0"]);
    program.stderr.wait_for("the stored socket of 127.0.0.1:0 is closed: with reuse_port each slot has a socket");
    assert_eq!(program.stderr.count(", inherited"), 0, "{:#?}", program.stderr.all());
    answer(TcpStream::connect(address(&program, "")).expect("a listener"));
    program.stop();
}

/// A unit that got a socket unit meanwhile.
#[test]
fn sockets_of_a_socket_unit_come_first() {
    let manager = Manager::with_a_path();
    let mut listens = fixture("listens-to-each-kind");
    listens.args(["tcp", "web=127.0.0.1:0"]).env("FDSTORE", "16");
    let mut program = Session::start(manager.watches(&mut listens));
    let mut store = Store::fill(&manager, 1, &program);
    kill(&mut program);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    store.0.insert(0, ("web.socket".to_owned(), listener.into()));
    manager.receive_all();
    let mut program = store.start_again(&listens);
    answer(TcpStream::connect(address).expect("a listener"));
    program.stderr.wait_for(&format!("listening on web={address}, inherited"));
    program.stderr.wait_for("are ready");
    assert_eq!(program.stderr.count(", inherited"), 1);
    manager.wait_for("FDSTOREREMOVE=1\nFDNAME=prefork web=127.0.0.1%3A0");
    program
        .stderr
        .wait_for("the stored socket of web=127.0.0.1:0 is closed: the sockets that this program was started");
    program.stop();
}

#[test]
fn nothing_is_stored_where_that_is_not_asked_for() {
    for store in [None, Some("0"), Some(""), Some("many")] {
        let (files, manager) = (Files::with(&[]), Manager::with_a_path());
        let path = path_in(&files);
        let mut listens = fixture("listens-to-each-kind");
        listens.args(["unix", &format!("unix:{}", path.display())]);
        if let Some(store) = store {
            listens.env("FDSTORE", store);
        }
        let mut program = Session::start(manager.watches(&mut listens));
        let messages = manager.receive_until("READY=1");
        assert!(!messages.iter().any(|message| message.contains("FDSTORE")), "{messages:#?}");
        program.stop();
        assert!(!path.exists());
    }
}

#[test]
fn what_there_is_no_room_for_is_said_and_its_file_is_removed() {
    let (files, manager) = (Files::with(&[]), Manager::with_a_path());
    let path = path_in(&files);
    let mut listens = fixture("listens-to-each-kind");
    listens.args(["unix", &format!("127.0.0.1:0,unix:{}", path.display())]).env("FDSTORE", "1");
    let mut program = Session::start(manager.watches(&mut listens));
    program.stderr.wait_for("FileDescriptorStoreMax= leaves room for 1 listeners only");
    let messages = manager.receive_until("READY=1");
    assert_eq!(messages.iter().filter(|message| message.contains("FDSTORE=1")).count(), 1, "{messages:#?}");
    program.stop();
    assert!(!path.exists());
}

/// The supervisor does not wait for a manager that does not read, and no worker has the sockets that are still to be stored.
#[test]
fn what_a_full_manager_does_not_take_is_stored_later() {
    let manager = Manager::with_a_path();
    let listens = || {
        let mut listens = fixture("listens");
        listens.arg("one").env("PREFORK_LISTEN", "127.0.0.1:0").env("FDSTORE", "1");
        listens
    };
    let mut plain = Session::start(&mut listens());
    manager.fill();
    let mut program = Session::start(manager.watches(&mut listens()));
    program.stderr.wait_for("are ready");
    plain.stderr.wait_for("are ready");
    let worker = |program: &Session| descriptors_of(program.wait_for_children(3)[0]).len();
    until("workers have the same", || (worker(&program) == worker(&plain)).then_some(()));
    let store = Store::fill(&manager, 1, &program);
    assert_eq!(store.0[0].0, "prefork 127.0.0.1%3A0");
    until("the copy is closed", || {
        let [program, plain] = [&program, &plain].map(|program| descriptors_of(program.pid()).len());
        (program == plain).then_some(())
    });
    program.stop();
    plain.stop();
}

#[test]
fn fdstore_is_seen_by_the_supervisor_alone() {
    let manager = Manager::with_a_path();
    let mut shows = fixture("shows-its-environment");
    let mut program = Session::start(manager.watches(&mut shows).env("FDSTORE", "1"));
    program.exit_code();
    program.stdout.wait_for("task 0 of 1");
    assert_eq!(program.stdout.count("FDSTORE="), 0, "{:#?}", program.stdout.all());
}
