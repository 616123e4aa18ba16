//! The supervisor never waits for a log reader, and never dies of a closed or full standard error.

mod support;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write, pipe};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;

use nix::sys::resource::{Resource, setrlimit};
use support::before_exec::before_exec;
use support::session::Session;
use support::terminal::Terminal;
use support::{Lines, Signal, children_of, fixture, own_path, send, until, words};

/// Kills a worker and waits for its replacement, `times` times.
fn goes_on_restarting(program: &Session, times: usize) {
    for _ in 0..times {
        let before = program.wait_for_children(3);
        send(before[0], Signal::SIGKILL);
        until("the worker is replaced", || {
            let now = program.children();
            (now.len() == 3 && !now.contains(&before[0])).then_some(())
        });
    }
}

fn goes_on_and_stops(mut program: Session) {
    goes_on_restarting(&program, 5);
    program.signal(Signal::SIGTERM);
    assert_eq!(program.exit_code(), 0);
    program.wait_until_empty();
}

/// Writes into a pipe until it takes no more, and says how much it took. Non-blocking mode belongs to an opening of
/// the pipe: the one that is handed on stays as it is.
fn fill(pipe: impl AsFd) -> usize {
    let path = format!("/proc/self/fd/{}", pipe.as_fd().as_raw_fd());
    let opened = OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(path).expect("a pipe");
    write_what_fits(opened)
}

fn write_what_fits(mut into: impl Write) -> usize {
    let mut all = 0;
    for size in [4096, 1] {
        while let Ok(written) = into.write(&vec![b'x'; size]) {
            all += written;
        }
    }
    all
}

#[test]
fn a_full_pipe_loses_lines_and_says_how_many_when_it_is_read() {
    let (mut reader, writer) = pipe().expect("a pipe");
    let filled = fill(&writer);
    let mut program = Session::start_with_stderr(&mut fixture("sleeps"), writer.into());
    // All are ready by then, which is a line.
    program.stdout.wait_for_nth("task", 3);
    goes_on_restarting(&program, 5);
    reader.read_exact(&mut vec![0; filled]).expect("what was filled in");
    let lines = Lines::read(reader);
    goes_on_restarting(&program, 1);
    let note = lines.wait_for("lines missing here");
    // That it starts, that all are ready, and two lines for every restart, the last of which may just have found room;
    // where no worker had lived for a second, that this looks like a failure to boot, too.
    let lost: usize = note.rsplit(' ').next().and_then(|number| number.parse().ok()).expect("a number");
    assert!((11..=13).contains(&lost), "{note}");
    program.signal(Signal::SIGTERM);
    assert_eq!(program.exit_code(), 0);
    lines.wait_for("exiting with status 0");
    assert_eq!(lines.count("missing"), 1);
}

#[test]
fn a_full_pipe_that_is_never_read_stops_nothing() {
    let (_reader, writer) = pipe().expect("a pipe");
    fill(&writer);
    goes_on_and_stops(Session::start_with_stderr(&mut fixture("sleeps"), writer.into()));
}

#[test]
fn a_full_pipe_of_another_user_stops_nothing() {
    // That user cannot open it once more: the pipe belongs to who made it.
    let (_reader, writer) = pipe().expect("a pipe");
    fill(&writer);
    let started = Session::start_as_a_user_of_its_own(&mut fixture("sleeps"), writer.into());
    goes_on_and_stops(skip_unless!(started, "others may not run what was built here"));
}

#[test]
fn a_pipe_whose_reader_goes_away_stops_nothing() {
    let (reader, writer) = pipe().expect("a pipe");
    let program = Session::start_with_stderr(&mut fixture("sleeps"), writer.into());
    program.wait_for_children(3);
    drop(reader);
    goes_on_and_stops(program);
}

#[test]
fn a_pipe_that_never_had_a_reader_stops_nothing() {
    let (reader, writer) = pipe().expect("a pipe");
    drop(reader);
    goes_on_and_stops(Session::start_with_stderr(&mut fixture("sleeps"), writer.into()));
}

#[test]
fn a_closed_standard_error_stops_nothing() {
    let mut shell = support::clean_command("/bin/sh");
    shell.args(["-c", "exec \"$0\" \"$@\" 2>&-"]).args(words(&fixture("sleeps")));
    goes_on_and_stops(Session::start(&mut shell));
}

#[test]
fn a_full_disk_stops_nothing() {
    let full = File::options().write(true).open("/dev/full").expect("/dev/full");
    goes_on_and_stops(Session::start_with_stderr(&mut fixture("sleeps"), full.into()));
}

#[test]
fn a_file_that_may_not_grow_stops_nothing() {
    let path = own_path("may-not-grow");
    let file = File::create(&path).expect("a file");
    let mut command = fixture("sleeps");
    before_exec(&mut command, || Ok(setrlimit(Resource::RLIMIT_FSIZE, 1, 1)?));
    goes_on_and_stops(Session::start_with_stderr(&mut command, file.into()));
    std::fs::remove_file(path).expect("the file");
}

#[test]
fn a_logger_that_panics_stops_nothing() {
    let program = Session::start(&mut fixture("panics-while-logging"));
    goes_on_restarting(&program, 5);
    program.stderr.wait_for_nth("killed by SIGKILL", 5);
    goes_on_and_stops(program);
}

#[test]
fn a_full_socket_stops_nothing() {
    let (_reader, writer) = UnixStream::pair().expect("a socket");
    writer.set_nonblocking(true).expect("a socket");
    write_what_fits(&writer);
    writer.set_nonblocking(false).expect("a socket");
    goes_on_and_stops(Session::start_with_stderr(&mut fixture("sleeps"), OwnedFd::from(writer).into()));
}

#[test]
fn a_socket_is_written_to_and_may_be_closed() {
    let (reader, writer) = UnixStream::pair().expect("a socket");
    let program = Session::start_with_stderr(&mut fixture("sleeps"), OwnedFd::from(writer).into());
    Lines::read(reader.try_clone().expect("a descriptor")).wait_for("starting 3 workers");
    program.wait_for_children(3);
    reader.shutdown(std::net::Shutdown::Both).expect("a socket");
    goes_on_and_stops(program);
}

#[test]
fn a_paused_terminal_stops_nothing() {
    const CTRL_S: &str = "\x13";
    let mut terminal = Terminal::run(&mut fixture("sleeps"));
    terminal.screen.wait_for_nth("task", 3);
    let supervisor = terminal.pid();
    let workers = children_of(supervisor);
    terminal.type_in(CTRL_S);
    for &worker in &workers {
        send(worker, Signal::SIGKILL);
    }
    until("the workers are replaced", || {
        let now = children_of(supervisor);
        (now.len() == 3 && !workers.iter().any(|worker| now.contains(worker))).then_some(())
    });
    send(supervisor, Signal::SIGTERM);
    assert_eq!(terminal.exit_code(), 0);
}
