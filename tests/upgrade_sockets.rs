//! Upgrades of pools whose slots have sockets of their own, and of pools that were started with sockets: every queued client
//! is answered.

mod support;
use std::fs;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

use support::activation::with_sockets;
use support::http::{Client, address_in, thousands, under_load};
use support::manager::Manager;
use support::upgrading::{Upgrading, ask, asks_the_fixture};
use support::{Signal, clean_command, descriptors_of, until};

#[test]
fn no_connection_is_lost_while_slots_with_sockets_of_their_own_change_hands() {
    let pool = Upgrading::start("per-slot-1");
    let client: Client<'_> = &asks_the_fixture;
    let seen = under_load(&[client; 4], pool.address, |seen| {
        for (nth, signal) in (1..).zip([Signal::SIGTTIN, Signal::SIGTTIN, Signal::SIGTTOU, Signal::SIGTTIN]) {
            pool.program.signal(signal);
            pool.program.stderr.wait_for_nth(" instead of ", nth);
            pool.upgrade_to(&format!("per-slot-{}", nth + 1));
            pool.wait_for_upgrade(nth);
        }
        let is_over = || thousands(seen) || !seen.failures.lock().unwrap().is_empty();
        until("there are thousands of answers", || is_over().then_some(()));
    });
    assert_eq!(*seen.failures.lock().unwrap(), [""; 0], "{:#?}", pool.program.stderr.all());
    until("all slots have workers", || (pool.program.children().len() == 4).then_some(()));
    assert_eq!(pool.ask(), "per-slot-5");
    pool.stop();
}

#[test]
fn a_new_binary_that_fails_gives_the_sockets_of_slots_back() {
    let pool = Upgrading::start("per-slot-1");
    let client: Client<'_> = &asks_the_fixture;
    let seen = under_load(&[client; 4], pool.address, |_| {
        pool.upgrade_to("per-slot-dies");
        pool.wait_for_failure();
        // All that is done with sockets still works: one more slot, one fewer, and fresh workers.
        pool.program.signal(Signal::SIGTTIN);
        pool.program.stdout.wait_for("per-slot-1 2");
        pool.program.signal(Signal::SIGTTOU);
        pool.program.stderr.wait_for(", stopped");
        pool.program.signal(Signal::SIGHUP);
        pool.program.stderr.wait_for("reload done after");
    });
    assert_eq!(*seen.failures.lock().unwrap(), [""; 0], "{:#?}", pool.program.stderr.all());
    assert_eq!(seen.words.lock().unwrap().iter().collect::<Vec<_>>(), ["per-slot-1"]);
    pool.stop();
}

/// The worker that did it is alive when its binary is replaced.
#[test]
fn a_new_binary_repairs_a_listener_that_a_worker_has_spoilt() {
    let pool = Upgrading::start("spoils");
    pool.program.stdout.wait_for("has spoilt it");
    pool.upgrade_to("serves-2");
    let line = pool.program.stderr.wait_for(" was repaired as this program took it over: ");
    assert!(line.contains(&pool.address.to_string()) && line.ends_with(": it was shut down"), "{line}");
    pool.wait_for_upgrade(1);
    assert_eq!(pool.ask(), "serves-2");
    pool.stop();
}

#[test]
fn a_new_binary_that_wants_more_workers_gets_sockets_for_them() {
    let pool = Upgrading::start("per-slot-1");
    pool.upgrade_to("per-slot-wants-4");
    pool.wait_for_upgrade(1);
    for task_id in 0..4 {
        pool.program.stdout.wait_for(&format!("per-slot-wants-4 {task_id} "));
    }
    pool.upgrade_to("per-slot-2");
    pool.wait_for_upgrade(2);
    pool.program.wait_for_children(2);
    assert_eq!(pool.ask(), "per-slot-2");
    pool.stop();
}

/// A worker that has finished accepts nothing, not at an address either that is new.
#[test]
fn a_slot_that_has_finished_gets_no_sockets_at_a_new_address() {
    let listen = |release: &Path, listen: &str| fs::write(release.join("address"), listen).expect("written");
    let pool = Upgrading::start_with("per-slot-pinned-ends", |command| {
        listen(command.get_current_dir().expect("a directory"), "127.0.0.1:0");
        command
    });
    let host = u32::from_ne_bytes([127, 0, 0, 1]);
    let listener = format!(" {host:08X}:{:04X} 00000000:0000 0A ", pool.address.port());
    let listens = |line: &&str| line.contains(&listener);
    let count = || fs::read_to_string("/proc/net/tcp").expect("/proc").lines().filter(listens).count();
    until("its socket has gone", || (count() == 1).then_some(()));
    listen(&pool.release.path(""), "127.0.0.1:0, new=127.0.0.1:0");
    pool.upgrade_to("per-slot-pinned-2");
    pool.wait_for_upgrade(1);
    let new = address_in(&pool.program.stderr.wait_for("listening on new="));
    for _ in 0..20 {
        assert_eq!(ask(new).expect("an answer"), "per-slot-pinned-2");
    }
    pool.stop();
}

/// An upgrade takes more descriptors than the pool: if they are not there, nothing has changed.
#[test]
fn an_upgrade_for_which_there_are_too_few_descriptors_is_abandoned() {
    let start = |limit: usize| {
        Upgrading::start_as("per-slot-1", |command| {
            let mut sh = clean_command("sh");
            sh.args(["-c", &format!("ulimit -n {limit}; exec ./app")]).env("PREFORK_WORKERS", "16");
            sh.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
            sh
        })
    };
    // The process that runs the tests may have left them some descriptors, too.
    let pool = start(256);
    let open = descriptors_of(pool.program.pid()).len();
    pool.stop();
    let mut ends = [0, 0];
    for limit in (open + 6..=open + 42).step_by(3) {
        let mut pool = start(limit);
        pool.upgrade_to("per-slot-2");
        let abandoned = until("the upgrade ends", || {
            let count = |text: &str| pool.program.stderr.count(text);
            assert_eq!(count("no way back"), 0, "{limit}");
            let is_over = count("upgrade abandoned: ") + count("upgrade done after") > 0;
            is_over.then(|| count("upgrade abandoned: "))
        });
        ends[abandoned] += 1;
        if abandoned == 1 {
            let line = pool.wait_for_failure();
            assert!(line.contains("Too many open files") && line.contains("`ulimit -n`"), "{line}");
        }
        assert_eq!(pool.ask(), if abandoned == 1 { "per-slot-1" } else { "per-slot-2" }, "{limit}");
        pool.program.stop();
        pool.program.wait_until_empty();
    }
    assert!(ends.iter().all(|&count| count > 0), "{ends:?}");
}

#[test]
fn whether_slots_have_sockets_of_their_own_is_no_matter_of_an_upgrade() {
    for (before, after, has) in [
        ("serves-1", "per-slot-1", "one socket that all workers share"),
        ("per-slot-1", "serves-1", "a socket for each"),
    ] {
        let pool = Upgrading::start(before);
        pool.upgrade_to(after);
        let line = pool.wait_for_failure();
        assert!(line.contains("reuse_port: at 127.0.0.1:0 the running pool has") && line.contains(has), "{line}");
        assert_eq!(pool.ask(), before);
        pool.stop();
    }
}

#[test]
fn sockets_that_a_program_was_started_with_stay_through_upgrades_and_the_way_back() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let socket = OwnedFd::from(listener);
    let pool = Upgrading::start_as("serves-1", |command| with_sockets(&command, &[("web", &socket)]));
    drop(socket);
    assert_eq!(pool.address, address);
    let client: Client<'_> = &asks_the_fixture;
    let seen = under_load(&[client; 2], address, |_| {
        pool.upgrade_to("serves-2");
        pool.wait_for_upgrade(1);
        pool.upgrade_to("dies");
        pool.wait_for_failure();
        pool.upgrade_to("makes-a-second-builder");
        pool.wait_for_upgrade(2);
        pool.upgrade_to("serves-3");
        pool.wait_for_upgrade(3);
    });
    assert_eq!(*seen.failures.lock().unwrap(), [""; 0], "{:#?}", pool.program.stderr.all());
    assert_eq!(ask(address).expect("an answer"), "serves-3");
    // A binary that listens on more than came is told so, and nothing has changed.
    pool.upgrade_to("listens-to-two");
    let line = pool.program.stderr.wait_for("are not those of listen");
    assert!(line.contains("upgrade abandoned: "), "{line}");
    assert_eq!(pool.ask(), "serves-3");
    pool.stop();
}

/// Under another name, or with the number that port 0 became.
#[test]
fn a_listener_that_is_written_in_another_way_is_the_same() {
    let cases = [
        ("serves-1", "named", "serves-3"),
        ("per-slot-1", "per-slot-named", "per-slot-3"),
        ("serves-1", "pinned", "pinned-3"),
    ];
    for (first, then, last) in cases {
        let pool = Upgrading::start(first);
        fs::write(pool.release.path("address"), pool.address.to_string()).expect("written");
        let client: Client<'_> = &asks_the_fixture;
        let seen = under_load(&[client; 2], pool.address, |_| {
            pool.upgrade_to(&format!("{then}-dies"));
            pool.wait_for_failure();
            pool.upgrade_to(&format!("{then}-2"));
            pool.wait_for_upgrade(1);
            pool.upgrade_to(last);
            pool.wait_for_upgrade(2);
        });
        assert_eq!(*seen.failures.lock().unwrap(), [""; 0], "{:#?}", pool.program.stderr.all());
        assert_eq!(pool.ask(), last);
        // All of it was one socket: no other port was bound in between.
        let listens = |line: &&String| line.contains("prefork: listening on ");
        let port = format!(":{}", pool.address.port());
        assert!(pool.program.stderr.all().iter().filter(listens).all(|line| line.contains(&port)));
        pool.stop();
    }
}

#[test]
fn the_file_of_a_unix_socket_is_as_the_binary_says_that_stays() {
    let manager = Manager::with_a_path();
    for is_stored in [false, true] {
        let listen = |release: &Path, unix: &str| {
            let socket = release.join("app.sock");
            let unix = unix.replace("PATH", socket.to_str().expect("text"));
            fs::write(release.join("address"), format!("127.0.0.1:0{unix}")).expect("written");
        };
        let mut pool = Upgrading::start_with("pinned-1", |command| {
            listen(command.get_current_dir().expect("a directory"), ", unix:PATH?mode=640");
            if is_stored { manager.watches(command).env("FDSTORE", "16") } else { command }
        });
        let upgrade = |behaviour: &str, unix: &str| {
            listen(&pool.release.path(""), unix);
            pool.upgrade_to(behaviour);
        };
        let mode = |socket: &Path| fs::metadata(socket).expect("it is there").permissions().mode() & 0o777;
        let socket = pool.release.path("app.sock");
        assert_eq!(mode(&socket), 0o640);
        upgrade("pinned-2", ", unix:PATH?mode=600");
        pool.wait_for_upgrade(1);
        assert_eq!(mode(&socket), 0o600);
        upgrade("pinned-3", ", unix:PATH?owner=nobody-at-all");
        pool.program.stderr.wait_for("there is no user \"nobody-at-all\"");
        // Without its file no client reaches the socket, so there is another one.
        fs::remove_file(&socket).expect("it is there");
        upgrade("pinned-4", ", unix:PATH?mode=660");
        pool.wait_for_upgrade(2);
        assert_eq!(mode(&socket), 0o660);
        UnixStream::connect(&socket).expect("a listener");
        // What is not listened on any more has no file in the end, stored or not.
        upgrade("pinned-5", "");
        pool.wait_for_upgrade(3);
        // A socket that is on its way to the service manager is still open.
        manager.receive_all();
        pool.program.stop();
        pool.program.wait_until_empty();
        assert!(!socket.exists(), "{is_stored}");
    }
}

/// It has bound all that it listens on before it fails.
#[test]
fn a_new_binary_that_cannot_start_leaves_no_file() {
    let pool = Upgrading::start("serves-1");
    let socket = pool.release.path("app.sock");
    fs::write(pool.release.path("address"), format!("127.0.0.1:0, unix:{}", socket.display())).expect("written");
    pool.upgrade_to("pinned-threads");
    let line = pool.wait_for_failure();
    assert!(line.contains("could not start: forking is unsafe"), "{line}");
    assert!(!socket.exists());
    assert_eq!(pool.ask(), "serves-1");
    pool.stop();
}

/// Who waits for a client in blocking mode goes on to wait.
#[test]
fn a_new_binary_that_fails_gives_sockets_back_in_the_mode_that_they_had() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let socket = OwnedFd::from(listener);
    for is_inherited in [false, true] {
        let pool = Upgrading::start_as("blocks-1", |command| {
            if is_inherited { with_sockets(&command, &[("web", &socket)]) } else { command }
        });
        let workers = pool.program.children();
        for nth in 1..=2 {
            pool.upgrade_to("unblocks-dies");
            pool.program.stderr.wait_for_nth("upgrade abandoned: ", nth);
            for _ in 0..10 {
                assert_eq!(pool.ask(), "blocks-1");
            }
        }
        assert_eq!(pool.program.wait_for_children(2), workers, "{:#?}", pool.program.stderr.all());
        assert_eq!(pool.program.stderr.count("exited with status 1"), 0, "{:#?}", pool.program.stderr.all());
        pool.upgrade_to("blocks-2");
        pool.wait_for_upgrade(1);
        assert_eq!(pool.ask(), "blocks-2");
        pool.stop();
    }
}

/// The next start of the unit finds there what the last binary listens on.
#[test]
fn what_a_service_manager_stores_follows_the_binary_that_stays() {
    let manager = Manager::with_a_path();
    let mut pool = Upgrading::start_with("serves-1", |command| manager.watches(command).env("FDSTORE", "16"));
    let changes = || {
        let messages = manager.receive_until("READY=1");
        let changes = messages.into_iter().filter(|message| message.starts_with("FDSTORE"));
        changes.collect::<Vec<_>>()
    };
    let stores = |name: &str| format!("FDSTORE=1\nFDNAME=prefork {name}127.0.0.1%3A0");
    let removes = |name: &str| format!("FDSTOREREMOVE=1\nFDNAME=prefork {name}127.0.0.1%3A0");
    assert_eq!(changes(), [stores("")]);
    pool.upgrade_to("listens-to-two");
    pool.wait_for_upgrade(1);
    assert_eq!(changes(), [stores("extra=")]);
    pool.upgrade_to("serves-2");
    pool.wait_for_upgrade(2);
    assert_eq!(changes(), [removes("extra=")]);
    // A binary that does not stay changes nothing.
    for other in ["named-dies", "dies"] {
        pool.upgrade_to(other);
        assert_eq!(changes(), [""; 0], "{other}");
    }
    pool.program.stderr.wait_for_nth("upgrade abandoned: ", 2);
    // No socket is taken that is there under another name.
    pool.upgrade_to("named-2");
    pool.wait_for_upgrade(3);
    assert_eq!(changes(), [removes(""), stores("web=")]);
    pool.upgrade_to("named-3");
    pool.wait_for_upgrade(4);
    assert_eq!(changes(), [""; 0]);
    pool.program.stop();
}

/// A binary that could not tell it leaves that to the next.
#[test]
fn what_a_service_manager_has_not_taken_yet_outlives_the_binary() {
    let manager = Manager::with_a_path();
    manager.fill();
    let mut pool = Upgrading::start_with("serves-1", |command| manager.watches(command).env("FDSTORE", "16"));
    let before = descriptors_of(pool.program.pid()).len();
    for (nth, behaviour) in (1..).zip(["dies", "fails-later", "dies"]) {
        pool.upgrade_to(behaviour);
        pool.program.stderr.wait_for_nth("upgrade abandoned: ", nth);
    }
    pool.upgrade_to("serves-2");
    pool.wait_for_upgrade(1);
    // One to tell it with may be open for a moment.
    until("nothing is left over", || (descriptors_of(pool.program.pid()).len() <= before).then_some(()));
    loop {
        let (message, descriptors) = manager.receive_with_descriptors();
        if message.contains("FDSTORE") {
            assert_eq!((message.as_str(), descriptors.len()), ("FDSTORE=1\nFDNAME=prefork 127.0.0.1%3A0", 1));
            break;
        }
    }
    manager.wait_for("READY=1");
    pool.program.stop();
}

/// A binary that was started again by its service manager has what was stored as if it had bound it.
#[test]
fn what_came_back_from_the_store_stays_through_upgrades() {
    let manager = Manager::with_a_path();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let (address, socket) = (listener.local_addr().expect("an address"), OwnedFd::from(listener));
    let pool = Upgrading::start_as("serves-1", |mut command| {
        manager.watches(&mut command).env("FDSTORE", "16");
        with_sockets(&command, &[("prefork 127.0.0.1%3A0", &socket)])
    });
    assert_eq!(pool.address, address);
    let client: Client<'_> = &asks_the_fixture;
    let seen = under_load(&[client; 2], address, |_| {
        for (nth, behaviour) in (1..).zip(["serves-2", "named-1", "listens-to-two", "serves-3"]) {
            pool.upgrade_to(behaviour);
            pool.wait_for_upgrade(nth);
        }
    });
    assert_eq!(*seen.failures.lock().unwrap(), [""; 0], "{:#?}", pool.program.stderr.all());
    assert_eq!(pool.ask(), "serves-3");
    pool.stop();
}
