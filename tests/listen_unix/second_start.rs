//! A second start at the same path.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;

use nix::unistd::geteuid;

use crate::support::{Program, clean_command, fixture, until};
use crate::{Directory, NOBODY, both_answer, command, inode, refusal, skip, stale, starts, stops};

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
    assert_eq!(program.stdout.count("has a client"), 0, "no client has connected");
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
fn a_socket_of_another_user_is_not_taken_for_stale() {
    if !geteuid().is_root() {
        skip!("only root can be two users");
    }
    let directory = Directory::new("theirs");
    let copy = directory.0.join("program");
    fs::copy(fixture("listens-to-each-kind").get_program(), &copy).expect("a copy");
    fs::set_permissions(&directory.0, Permissions::from_mode(0o777)).expect("open to the user nobody");
    let program = starts("unix", &format!("{}?mode=600", directory.address()));
    let before = inode(&directory.socket());
    let mut second = clean_command(copy.to_str().expect("text"));
    second.args(["listens-to-each-kind", "unix", &directory.address()]).uid(NOBODY).gid(NOBODY);
    let last = refusal(&mut second, 1);
    assert!(last.contains("it belongs to another user"), "{last}");
    assert_eq!(inode(&directory.socket()), before);
    both_answer(&directory.socket());
    stops(program);
}
