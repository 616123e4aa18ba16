//! The file of the socket: its mode and owner, and when it comes and goes.

use std::fs::{self, File, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use nix::unistd::geteuid;

use crate::support::{Program, SetAtEnd, Signal, clean_command, fixture, send, until, wait_until_gone, words};
use crate::{Directory, both_answer, command, inode, refusal, skip, stale, starts, stops};

#[test]
fn the_file_is_there_while_the_supervisor_is() {
    let directory = Directory::new("life");
    let program = starts("unix", &directory.address());
    both_answer(&directory.socket());
    let before = inode(&directory.socket());
    let workers = program.wait_for_children(2);
    send(workers[0], Signal::SIGTERM);
    program.stderr.wait_for("killed by SIGTERM");
    wait_until_gone(&workers[..1]);
    assert_eq!(inode(&directory.socket()), before, "a worker removes nothing");
    stops(program);
    assert_eq!(directory.files(), [""; 0]);
}

#[test]
fn the_file_is_removed_at_every_end_but_sigkill() {
    let directory = Directory::new("ends");
    for (how, code) in [("unix-finish", 0), ("unix-fail", 1)] {
        let mut program = starts(how, &directory.address());
        assert_eq!(program.exit_code(), code, "{how}");
        assert_eq!(directory.files(), [""; 0], "{how}");
    }
    for stop in [Signal::SIGINT, Signal::SIGQUIT] {
        let mut program = starts("unix", &directory.address());
        program.stderr.wait_for("are ready");
        program.signal(stop);
        assert_eq!(program.exit_code(), 0);
        assert_eq!(directory.files(), [""; 0], "{stop}");
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().expect("an address");
    let last = refusal(&mut command("all-tcp", &format!("{},{taken}", directory.address())), 1);
    assert!(last.contains(&taken.to_string()), "{last}");
    assert_eq!(directory.files(), [""; 0], "a start that failed leaves none");
}

#[test]
fn a_file_left_by_a_killed_supervisor_is_replaced() {
    let directory = Directory::new("killed");
    let mut program = starts("unix", &directory.address());
    both_answer(&directory.socket());
    let (workers, before) = (program.wait_for_children(2), inode(&directory.socket()));
    program.signal(Signal::SIGKILL);
    program.wait();
    wait_until_gone(&workers);
    assert_eq!(inode(&directory.socket()), before, "no process was left to remove it");
    assert_eq!(UnixStream::connect(directory.socket()).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    // And one that it had not finished.
    let unfinished = directory.unfinished();
    fs::create_dir(&unfinished).expect("a directory");
    fs::set_permissions(&unfinished, Permissions::from_mode(0o700)).expect("its mode");
    drop(UnixListener::bind(unfinished.join("old")).expect("a socket"));
    let program = starts("unix", &directory.address());
    both_answer(&directory.socket());
    assert_eq!(directory.files(), ["app.sock"]);
    stops(program);
    assert_eq!(directory.files(), [""; 0]);
}

#[test]
fn the_mode_is_right_from_the_first_moment() {
    for (umask, mode, expected) in [("077", "?mode=666", 0o666), ("000", "?mode=600", 0o600), ("027", "", 0o750)] {
        let directory = Directory::new(&format!("mode-{umask}"));
        let (stop, path) = (AtomicBool::new(false), directory.socket());
        let connections = AtomicUsize::new(0);
        thread::scope(|threads| {
            let watchers = (
                threads.spawn(|| modes(&path, &stop, &connections)),
                threads.spawn(|| modes_of_a_directory(&directory.unfinished(), &stop)),
            );
            let watched = SetAtEnd(&stop);
            for _ in 0..5 {
                let mut sh = clean_command("sh");
                sh.args(["-c", "umask $0; exec \"$@\"", umask]).args(words(&fixture("listens-to-each-kind")));
                let program = Program::start(sh.args(["unix", &format!("{}{mode}", directory.address())]));
                program.stderr.wait_for("listening on unix:");
                assert_eq!(fs::symlink_metadata(&path).expect("the file").mode() & 0o7777, expected);
                program.stdout.wait_for_nth("serves Unix", 2);
                let before = connections.load(Ordering::Relaxed);
                until("a client connects", || (connections.load(Ordering::Relaxed) > before).then_some(()));
                stops(program);
            }
            drop(watched);
            let finished = watchers.0.join().expect("a watcher");
            assert!(finished.seen.iter().all(|&seen| seen == expected), "{umask}: {:?}", finished.seen);
            assert_eq!(finished.refused, [""; 0], "who finds the file can connect");
            let unfinished = watchers.1.join().expect("a watcher");
            assert!(unfinished.iter().all(|&seen| seen == 0o700), "no other user reaches it: {umask}: {unfinished:?}");
        });
    }
}

#[derive(Default)]
struct Modes {
    seen: Vec<u32>,
    /// A connection was refused after one had succeeded.
    refused: Vec<String>,
}

/// Counts its connections.
fn modes(path: &Path, stop: &AtomicBool, connections: &AtomicUsize) -> Modes {
    let mut modes = Modes::default();
    let mode = || fs::symlink_metadata(path).ok().map(|file| file.mode() & 0o7777);
    // The next file may have the number of this one.
    let file = || {
        let file = fs::symlink_metadata(path).ok()?;
        Some((file.ino(), file.created().ok(), file.ctime(), file.ctime_nsec()))
    };
    let mut refused = None;
    while !stop.load(Ordering::Relaxed) {
        let (before, seen) = (file(), mode());
        modes.seen.extend(seen.filter(|seen| !modes.seen.contains(seen)));
        match UnixStream::connect(path) {
            Ok(_) => {
                // At its end it is still there for a moment, but no client can connect after that.
                if refused.is_some() && refused == file() {
                    modes.refused.push(format!("{refused:?}"));
                }
                connections.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => refused = before.filter(|_| before == file()),
            Err(_) => {}
        }
    }
    modes
}

fn modes_of_a_directory(path: &Path, stop: &AtomicBool) -> Vec<u32> {
    let mut seen = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let mode = fs::symlink_metadata(path).ok().map(|directory| directory.mode() & 0o7777);
        seen.extend(mode.filter(|mode| !seen.contains(mode)));
    }
    seen
}

#[test]
fn the_file_has_its_owner_and_group() {
    let directory = Directory::new("owner");
    let last = refusal(&mut command("unix", &format!("{}?owner=nobody-at-all", directory.address())), 2);
    assert!(last.contains("listen: unix:") && last.contains("there is no user \"nobody-at-all\""), "{last}");
    let last = refusal(&mut command("unix", &format!("{}?group=nobody-at-all", directory.address())), 2);
    assert!(last.contains("there is no group \"nobody-at-all\""), "{last}");
    if !geteuid().is_root() {
        skip!("only root can give a file away");
    }
    let nobody = nix::unistd::User::from_name("nobody").expect("users").expect("nobody");
    for (parameters, owner, group) in [
        ("?owner=nobody&mode=660", nobody.uid.as_raw(), 0),
        ("?owner=1234&group=4321&mode=600", 1234, 4321),
        ("?group=4321", 0, 4321),
    ] {
        let program = starts("unix", &format!("{}{parameters}", directory.address()));
        let file = fs::symlink_metadata(directory.socket()).expect("the file");
        assert_eq!((file.uid(), file.gid()), (owner, group), "{parameters}");
        both_answer(&directory.socket());
        stops(program);
        assert_eq!(directory.files(), [""; 0]);
    }
}

#[test]
fn what_is_no_socket_is_left_alone() {
    let directory = Directory::new("other");
    let (path, real) = (directory.socket(), directory.0.join("real.sock"));
    let _listener = UnixListener::bind(&real).expect("a socket");
    let make: [(&str, &dyn Fn()); 3] = [
        ("file", &|| fs::write(&path, "precious").expect("a file")),
        ("directory", &|| fs::create_dir(&path).expect("a directory")),
        ("symbolic link", &|| symlink(&real, &path).expect("a link")),
    ];
    for (what, make) in make {
        make();
        let before = inode(&path);
        let last = refusal(&mut command("unix", &directory.address()), 1);
        assert!(last.contains("is no socket") && last.contains("remove it"), "{what}: {last}");
        assert_eq!(inode(&path), before, "{what}");
        fs::remove_dir(&path).or_else(|_| fs::remove_file(&path)).expect("removed");
    }
}

#[test]
fn a_file_that_belongs_to_another_process_by_now_is_left_alone() {
    let directory = Directory::new("not-own");
    let path = directory.socket();
    let replace: [(&str, &dyn Fn() -> Option<UnixListener>); 3] = [
        ("a listener", &|| Some(UnixListener::bind(&path).expect("a socket"))),
        ("a stale socket", &|| {
            // Another inode than the one that is free by now.
            let _other = File::create(directory.0.join("other")).expect("a file");
            drop(UnixListener::bind(&path).expect("a socket"));
            None
        }),
        ("a file", &|| {
            fs::write(&path, "precious").expect("a file");
            None
        }),
    ];
    for (what, replace) in replace {
        let program = starts("unix", &directory.address());
        program.stdout.wait_for_nth("serves Unix", 2);
        fs::remove_file(&path).expect("removed");
        let _listener = replace();
        let after = inode(&path);
        stops(program);
        assert_eq!(inode(&path), after, "{what}");
        fs::remove_file(&path).expect("removed");
        let _ = fs::remove_file(directory.0.join("other"));
    }
}

#[test]
fn prefork_check_leaves_everything_as_it_is() {
    let directory = Directory::new("check");
    let mut check = command("unix", &format!("{}?mode=600", directory.address()));
    let mut program = Program::start(check.env("PREFORK", "check"));
    assert_eq!(program.exit_code(), 0);
    assert_eq!(directory.files(), [""; 0]);
    let before = stale(&directory);
    let mut program = Program::start(&mut check);
    assert_eq!(program.exit_code(), 0);
    assert_eq!(directory.files(), ["app.sock"]);
    assert_eq!(inode(&directory.socket()), before);
    assert_eq!(program.stdout.all(), [""; 0]);
}

#[test]
fn prefork_off_removes_the_file_when_main_returns() {
    let directory = Directory::new("off");
    let mut program = Program::start(command("unix-once", &directory.address()).env("PREFORK", "off"));
    program.stdout.wait_for("task 0 waits");
    let _client = UnixStream::connect(directory.socket()).expect("a listener");
    assert_eq!(program.exit_code(), 0);
    assert_eq!(directory.files(), [""; 0]);
}
