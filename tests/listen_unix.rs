//! A Unix socket's file: right from its first moment, replaced only when nobody has it, and removed by whoever made it.

mod support;
use support::{Program, SetAtEnd, Signal, fixture, own_path, until, wait_until_gone, words};

use std::fs::{self, File, Permissions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use nix::fcntl::{Flock, FlockArg};
use nix::unistd::geteuid;

const NOBODY: u32 = 65534;

/// A directory of this test's own, which goes with it.
struct Directory(PathBuf);

impl Directory {
    fn new(test: &str) -> Directory {
        let path = own_path(&format!("unix-{test}"));
        fs::create_dir(&path).expect("a directory");
        Directory(path)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("app.sock")
    }

    /// What `listen` is told.
    fn address(&self) -> String {
        format!("unix:{}", self.socket().display())
    }

    /// Where a start makes its socket.
    fn unfinished(&self) -> PathBuf {
        self.0.join(".app.sock.prefork")
    }

    /// The lock that a start takes.
    fn lock(&self) -> Flock<File> {
        if !self.unfinished().exists() {
            fs::create_dir(self.unfinished()).expect("a directory");
            fs::set_permissions(self.unfinished(), Permissions::from_mode(0o700)).expect("its mode");
        }
        lock(&self.unfinished())
    }

    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).expect("the directory");
        entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("text")).collect()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn lock(directory: &Path) -> Flock<File> {
    let opened = File::open(directory).expect("the directory");
    Flock::lock(opened, FlockArg::LockExclusive).map_err(|(_, error)| error).expect("the lock")
}

fn command(how: &str, listen: &str) -> Command {
    let mut command = fixture("listens-to-each-kind");
    command.args([how, listen]);
    command
}

fn starts(how: &str, listen: &str) -> Program {
    let program = Program::start(&mut command(how, listen));
    program.stderr.wait_for("listening on unix:");
    program
}

fn stops(mut program: Program) {
    program.stop();
}

fn ask(path: &Path) -> Option<usize> {
    let mut answer = String::new();
    UnixStream::connect(path).expect("somebody listens").read_to_string(&mut answer).ok()?;
    answer.trim().parse().ok()
}

fn both_answer(path: &Path) {
    let mut answered = [false; 2];
    until("both workers have answered", || {
        answered[ask(path)?] = true;
        (answered == [true; 2]).then_some(())
    });
}

fn inode(path: &Path) -> u64 {
    fs::symlink_metadata(path).expect("a file").ino()
}

/// A file that nobody listens on any more.
fn stale(directory: &Directory) -> u64 {
    drop(UnixListener::bind(directory.socket()).expect("a socket"));
    inode(&directory.socket())
}

/// The last line of a program that was refused with this status, which forked nothing.
fn refusal(command: &mut Command, code: i32) -> String {
    let mut program = Program::start(command);
    assert_eq!(program.exit_code(), code, "{:#?}", program.stderr.all());
    assert_eq!(program.stdout.all(), [""; 0]);
    program.stderr.all().pop().expect("a line")
}

#[test]
fn the_file_is_there_while_the_supervisor_is() {
    let directory = Directory::new("life");
    let program = starts("unix", &directory.address());
    both_answer(&directory.socket());
    let before = inode(&directory.socket());
    let workers = program.wait_for_children(2);
    support::send(workers[0], Signal::SIGTERM);
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
    assert_eq!(inode(&directory.socket()), before, "nobody was left to remove it");
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
fn a_second_start_is_refused_and_the_first_does_not_notice() {
    let directory = Directory::new("second");
    let program = starts("unix", &directory.address());
    program.stdout.wait_for_nth("serves Unix", 2);
    let before = inode(&directory.socket());
    let last = refusal(&mut command("unix", &directory.address()), 1);
    assert!(last.contains(&directory.address()) && last.contains("ss -lxp"), "{last}");
    assert!(last.contains(&format!("pid {} (", program.pid())), "{last}");
    assert_eq!(inode(&directory.socket()), before);
    assert_eq!(directory.files(), ["app.sock"]);
    assert_eq!(program.stdout.count("has a client"), 0, "nobody has connected");
    both_answer(&directory.socket());
    stops(program);
}

#[test]
fn a_listener_whose_queue_is_full_is_alive() {
    let directory = Directory::new("full");
    let listener = UnixListener::bind(directory.socket()).expect("a socket");
    socket2::SockRef::from(&listener).listen(0).expect("a short queue");
    let _queued = UnixStream::connect(directory.socket()).expect("it listens");
    let last = refusal(&mut command("unix", &directory.address()), 1);
    assert!(last.contains("another process listens there"), "{last}");
}

#[test]
fn of_several_that_start_at_once_one_has_the_socket() {
    let directory = Directory::new("race");
    for round in 0..4 {
        if round % 2 == 0 {
            stale(&directory);
        }
        // A program that was too slow for the 2 s that the lock is waited for has given up; when all have: once more.
        let winner = until("one has the socket", || race(&directory));
        both_answer(&directory.socket());
        stops(winner);
        assert_eq!(directory.files(), [""; 0]);
    }
}

/// Starts five at once, waits until four have lost, and returns the one that has not, if there is one.
fn race(directory: &Directory) -> Option<Program> {
    let lock = directory.lock();
    let before = directory.files();
    let programs: Vec<Program> = (0..5).map(|_| Program::start(&mut command("unix", &directory.address()))).collect();
    for program in &programs {
        let descriptors = format!("/proc/{}/fd", program.pid());
        until("it waits for the lock, or has not", || {
            let open = fs::read_dir(&descriptors).ok()?.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
            let waits = open.into_iter().any(|target| target == directory.unfinished());
            (waits || program.stderr.count("listen") > 0).then_some(())
        });
        assert_eq!(program.stderr.count("listening on"), 0, "it has no lock");
    }
    assert_eq!(directory.files(), before);
    drop(lock);
    let has_won = |program: &Program| {
        until("it listens or does not", || {
            let listens = program.stderr.count("are ready") > 0;
            (listens || program.stderr.count("cannot listen on") > 0).then_some(listens)
        })
    };
    let (mut winners, losers): (Vec<Program>, Vec<Program>) = programs.into_iter().partition(has_won);
    assert!(winners.len() < 2, "{} have the socket", winners.len());
    for mut loser in losers {
        assert_eq!(loser.exit_code(), 1);
    }
    winners.pop()
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
                let mut sh = support::clean_command("sh");
                sh.args(["-c", "umask $0; exec \"$@\"", umask]).args(words(&fixture("listens-to-each-kind")));
                let program = Program::start(sh.args(["unix", &format!("{}{mode}", directory.address())]));
                program.stderr.wait_for("listening on unix:");
                assert_eq!(fs::symlink_metadata(&path).expect("the file").mode() & 0o7777, expected);
                program.stdout.wait_for_nth("serves Unix", 2);
                let before = connections.load(Ordering::Relaxed);
                until("somebody connects", || (connections.load(Ordering::Relaxed) > before).then_some(()));
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
    /// Somebody could not, and could later.
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
                // At its end it is still there for a moment, but nobody can connect after that.
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
fn a_file_that_is_somebody_else_s_by_now_is_left_alone() {
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
    let _client = UnixStream::connect(directory.socket()).expect("somebody listens");
    assert_eq!(program.exit_code(), 0);
    assert_eq!(directory.files(), [""; 0]);
}

/// Who may read a directory can lock it.
#[test]
fn a_lock_on_the_directory_keeps_no_start_and_no_stop() {
    let directory = Directory::new("held");
    let _held = lock(&directory.0);
    for is_stale in [false, true] {
        if is_stale {
            stale(&directory);
        }
        let mut program = starts("unix", &directory.address());
        both_answer(&directory.socket());
        program.stop();
        assert_eq!(
            program.stderr.count("lock") + program.stderr.count("left behind"),
            0,
            "{:#?}",
            program.stderr.all()
        );
        assert_eq!(directory.files(), [""; 0]);
    }
}

#[test]
fn another_start_of_this_user_is_waited_for_but_not_for_ever() {
    let directory = Directory::new("own-lock");
    let held = directory.lock();
    let last = refusal(&mut command("unix", &directory.address()), 1);
    assert!(last.contains("another start or stop of this user is at work there"), "{last}");
    drop(held);
    // On a machine that is too slow for its 2 s, it may have given up: then once more.
    until("it listens", || {
        let held = directory.lock();
        let program = Program::start(&mut command("unix", &directory.address()));
        program.stderr.wait_for("starting 2 workers");
        drop(held);
        let listens = until("it listens or does not", || {
            let listens = program.stderr.count("are ready") > 0;
            (listens || program.stderr.count("cannot listen on") > 0).then_some(listens)
        });
        listens.then(|| stops(program))
    });
    assert_eq!(directory.files(), [""; 0]);
}

#[test]
fn a_stop_waits_for_nothing_that_was_put_in_the_place_of_the_directory() {
    let directory = Directory::new("fifo");
    let moved = own_path("unix-fifo-moved");
    let make: [(&str, &dyn Fn()); 3] = [
        ("a FIFO", &|| nix::unistd::mkfifo(&directory.0, nix::sys::stat::Mode::S_IRWXU).expect("a FIFO")),
        ("a file", &|| fs::write(&directory.0, "").expect("a file")),
        ("a loop", &|| symlink(&directory.0, &directory.0).expect("a link")),
    ];
    for (what, make) in make {
        let mut program = starts("unix", &directory.address());
        program.stdout.wait_for_nth("serves Unix", 2);
        fs::rename(&directory.0, &moved).expect("moved");
        make();
        program.stop();
        let left = format!("{} is left behind: ", directory.address());
        let lines: Vec<String> = program.stderr.all().into_iter().filter(|line| line.contains(&left)).collect();
        let reason = if what == "a loop" { "Too many levels of symbolic links" } else { "Not a directory" };
        assert!(lines.len() == 1 && lines[0].contains(reason), "{what}: {lines:?}");
        fs::remove_file(&directory.0).expect("removed");
        fs::rename(&moved, &directory.0).expect("moved back");
        // The next start replaces what was left.
    }
}

#[test]
fn a_link_to_the_directory_is_followed_if_it_is_root_s_or_this_user_s() {
    let directory = Directory::new("links");
    let (real, link) = (directory.0.join("real"), directory.0.join("link"));
    fs::create_dir(&real).expect("a directory");
    symlink("real", &link).expect("a link");
    let address = format!("unix:{}/app.sock", link.display());
    let program = starts("unix", &address);
    both_answer(&real.join("app.sock"));
    let last = refusal(&mut command("unix", &format!("unix:{}/app.sock", real.display())), 1);
    assert!(last.contains(&format!("pid {} (", program.pid())), "{last}");
    stops(program);
    assert!(!real.join("app.sock").exists());
    if !geteuid().is_root() {
        skip!("only root can give a link away");
    }
    std::os::unix::fs::lchown(&link, Some(NOBODY), None).expect("it can be given");
    let last = refusal(&mut command("unix", &address), 1);
    assert!(
        last.contains("belongs to user 65534") && last.contains("write the path of the directory itself"),
        "{last}"
    );
    assert_eq!(fs::read_dir(&real).expect("the directory").count(), 0);
}

#[test]
fn a_directory_that_is_not_there_or_not_writable_is_said() {
    let directory = Directory::new("none");
    let last = refusal(&mut command("unix", &format!("unix:{}/none/app.sock", directory.0.display())), 1);
    assert!(last.contains("No such file") && last.contains("its directory must be there"), "{last}");
    if geteuid().is_root() {
        // What root may do proves nothing: as nobody, with a copy of the program that nobody can reach.
        let copy = directory.0.join("program");
        fs::copy(fixture("listens-to-each-kind").get_program(), &copy).expect("a copy");
        fs::set_permissions(&directory.0, Permissions::from_mode(0o755)).expect("open to nobody");
        let mut program = support::clean_command(copy.to_str().expect("text"));
        program.args(["listens-to-each-kind", "unix", &directory.address()]).uid(NOBODY).gid(NOBODY);
        let last = refusal(&mut program, 1);
        assert!(last.contains("Permission denied") && last.contains("write to the directory"), "{last}");
    }
}

#[test]
fn a_socket_of_another_user_is_not_taken_for_stale() {
    if !geteuid().is_root() {
        skip!("only root can be two users");
    }
    let directory = Directory::new("theirs");
    let copy = directory.0.join("program");
    fs::copy(fixture("listens-to-each-kind").get_program(), &copy).expect("a copy");
    fs::set_permissions(&directory.0, Permissions::from_mode(0o777)).expect("open to nobody");
    let program = starts("unix", &format!("{}?mode=600", directory.address()));
    let before = inode(&directory.socket());
    let mut second = support::clean_command(copy.to_str().expect("text"));
    second.args(["listens-to-each-kind", "unix", &directory.address()]).uid(NOBODY).gid(NOBODY);
    let last = refusal(&mut second, 1);
    assert!(last.contains("it belongs to another user"), "{last}");
    assert_eq!(inode(&directory.socket()), before);
    both_answer(&directory.socket());
    stops(program);
}
