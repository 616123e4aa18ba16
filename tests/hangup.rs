//! SIGHUP in a real terminal: a graceful stop where it means that the terminal went away, else a reload. And what else
//! a terminal sends that is not meant.

mod support;

use std::ops::{Deref, DerefMut};
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sys::signal::kill;
use nix::unistd::{Pid, geteuid};
use support::pid_1::as_pid_1;
use support::pool::Files;
use support::terminal::{CTRL_Z, Terminal};
use support::{
    Signal, children_of, clean_command, fixture, is_alive, line, send, state_of, until, wait_until_gone, words,
};

/// A pool of which a terminal's shell is the parent, with its output in the files `out` and `err`.
struct Job {
    terminal: Terminal,
    files: Files,
    supervisor: i32,
}

impl Job {
    /// `start` is a line for the shell, in which `PROGRAM` runs the pool. `None` where there is no bash.
    fn in_bash(mut bash: Command, start: &str) -> Option<Job> {
        let files = Files::with(&[]);
        let terminal = Terminal::bash(files.name_in(&mut bash))?;
        Some(Job::start(terminal, files, start))
    }

    /// Starts the job in a shell that tells its jobs nothing when the terminal is gone.
    fn in_sh(start: &str) -> Job {
        let files = Files::with(&[]);
        let mut sh = clean_command("/bin/sh");
        let terminal = Terminal::run(files.name_in(&mut sh).arg("-i").env("PS1", "").env_remove("ENV"));
        Job::start(terminal, files, start)
    }

    fn start(mut terminal: Terminal, files: Files, start: &str) -> Job {
        let program = format!("{} >$FILES/out 2>$FILES/err", line(&fixture("reloads")));
        terminal.type_in(&format!("{}\n", start.replace("PROGRAM", &program)));
        let supervisor = terminal.job();
        let job = Job { terminal, files, supervisor };
        job.files.wait_for("err", "all 3 workers are ready");
        job
    }

    /// The pool stops once, in order, and lets its workers take their time, however often it hears that the terminal is gone.
    fn stops_gracefully(&self, why: &str) {
        self.files.wait_for_nth("out", "is told to stop", 3);
        let line = self.files.wait_for("err", "stopping 3 workers, at most 25s");
        assert!(line.contains(why), "{line}");
    }

    fn has_stopped(&self) {
        self.files.write("drained", "");
        let last = self.files.wait_for("err", "stopped by SIGHUP");
        assert!(last.ends_with(": exiting with status 0"), "{last}");
        wait_until_gone(&[self.supervisor]);
        assert_eq!(self.files.count("out", "returns"), 3, "{:#?}", self.files.lines("out"));
        assert_eq!(self.files.count("err", "stopping"), 1, "{:#?}", self.files.lines("err"));
        assert_eq!(self.files.count("err", "kill"), 0, "{:#?}", self.files.lines("err"));
    }
}

impl Deref for Job {
    type Target = Files;

    fn deref(&self) -> &Files {
        &self.files
    }
}

impl DerefMut for Job {
    fn deref_mut(&mut self) -> &mut Files {
        &mut self.files
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        // Its workers end with it.
        if is_alive(self.supervisor) {
            let _ = kill(Pid::from_raw(self.supervisor), Signal::SIGKILL);
        }
    }
}

#[test]
fn the_terminal_of_a_foreground_or_background_job_of_bash_goes_away() {
    for start in ["PROGRAM", "PROGRAM &"] {
        let mut job = skip_unless!(Job::in_bash(clean_command("bash"), start), "there is no bash");
        job.write("stop", "wait");
        job.terminal.hang_up();
        job.stops_gracefully("SIGHUP from pid ");
        // Bash has told its jobs, and in the foreground the kernel does again when bash is gone.
        job.terminal.wait();
        send(job.supervisor, Signal::SIGHUP);
        job.has_stopped();
    }
}

#[test]
fn the_terminal_of_a_foreground_job_of_sh_goes_away() {
    let mut job = Job::in_sh("PROGRAM");
    job.write("stop", "wait");
    job.terminal.hang_up();
    job.stops_gracefully("SIGHUP from the terminal, which is gone: ");
    job.has_stopped();
}

#[test]
fn the_terminal_goes_away_from_workers_that_have_sessions_of_their_own() {
    if !geteuid().is_root() {
        skip!("only root can become another user");
    }
    let mut job = Job::in_sh("PREFORK_USER=nobody PROGRAM");
    job.write("stop", "wait");
    let all = children_of(job.supervisor);
    job.terminal.hang_up();
    job.stops_gracefully("SIGHUP from the terminal, which is gone: ");
    job.has_stopped();
    wait_until_gone(&all);
}

#[test]
fn the_terminal_of_a_session_leader_goes_away() {
    let files = Files::with(&[("stop", "wait")]);
    let mut shell = clean_command("/bin/sh");
    shell.arg("-c").arg("exec \"$0\" \"$@\" >$FILES/out 2>$FILES/err").args(words(&fixture("reloads")));
    let terminal = Terminal::run(files.name_in(&mut shell));
    let mut job = Job { supervisor: terminal.pid(), terminal, files };
    job.files.wait_for("err", "all 3 workers are ready");
    job.terminal.hang_up();
    job.stops_gracefully("SIGHUP from the terminal, which is gone: ");
    send(job.supervisor, Signal::SIGHUP);
    job.files.write("drained", "");
    assert_eq!(job.terminal.exit_code(), 0);
    job.has_stopped();
}

#[test]
fn the_terminal_of_a_suspended_job_goes_away() {
    let mut job = skip_unless!(Job::in_bash(clean_command("bash"), "PROGRAM"), "there is no bash");
    let all = [children_of(job.supervisor), vec![job.supervisor]].concat();
    job.terminal.type_in(CTRL_Z);
    until("all are stopped", || all.iter().all(|&pid| state_of(pid) == Some('T')).then_some(()));
    job.write("stop", "wait");
    job.terminal.hang_up();
    job.stops_gracefully("SIGHUP from pid ");
    job.has_stopped();
    wait_until_gone(&all);
}

#[test]
fn the_shell_of_the_session_exits_and_hangs_its_jobs_up() {
    // It does so where it is a login shell.
    let mut login = clean_command("bash");
    login.arg0("-bash");
    let job = Job::in_bash(login, "shopt -s huponexit; PROGRAM &");
    let mut job = skip_unless!(job, "there is no bash");
    job.write("stop", "wait");
    let shell = job.terminal.pid();
    job.terminal.type_in("exit\n");
    job.terminal.wait();
    job.stops_gracefully(&format!("SIGHUP from pid {shell}, the shell of this session, which ends"));
    job.has_stopped();
}

#[test]
fn sighup_by_a_process_is_a_reload_while_the_terminal_is_there_and_a_stop_when_it_is_gone() {
    let mut job = Job::in_sh("PROGRAM &");
    for reload in 1..=2 {
        send(job.supervisor, Signal::SIGHUP);
        job.files.wait_for_nth("err", ": 3 workers were replaced", reload);
    }
    job.files.wait_for("err", &format!("SIGHUP from pid {}: reloading 3 workers", std::process::id()));
    // This shell leaves its background jobs alone, and so does the kernel.
    job.terminal.hang_up();
    job.terminal.wait();
    job.files.write("stop", "wait");
    send(job.supervisor, Signal::SIGHUP);
    job.stops_gracefully("and the terminal is gone: ");
    job.files.write("drained", "");
    job.files.wait_for("err", "stopped by SIGHUP");
    wait_until_gone(&[job.supervisor]);
}

/// The leader of the session passes on what it was sent, and stays: an init of a container with a terminal, script(1),
/// the shell itself.
#[test]
fn sighup_by_the_leader_of_the_session_that_stays_is_a_reload() {
    let mut job = Job::in_sh("PROGRAM &");
    let leader = job.terminal.pid();
    for reload in 1..=2 {
        job.terminal.type_in(&format!("kill -HUP {}\n", job.supervisor));
        job.files.wait_for_nth("err", &format!("SIGHUP from pid {leader}: reloading 3 workers"), reload);
        job.files.wait_for_nth("err", ": 3 workers were replaced", reload);
    }
    send(job.supervisor, Signal::SIGTERM);
    job.files.wait_for("err", "stopped by SIGTERM");
    wait_until_gone(&[job.supervisor]);
}

/// `docker run -t --init`.
#[test]
fn sighup_that_pid_1_with_a_terminal_passes_on_is_a_reload_at_once() {
    let files = Files::with(&[]);
    let mut init = clean_command("setsid");
    // It takes the terminal from the test's session.
    init.args([
        "--ctty",
        "sh",
        "-c",
        "trap 'kill -HUP $!' HUP; \"$0\" \"$@\" >$FILES/out 2>$FILES/err & until wait; do :; done",
    ]);
    init.args(words(&fixture("reloads")));
    let command = as_pid_1(&init);
    let mut command = skip_unless!(command, "unshare(1) may not make a PID namespace");
    let terminal = Terminal::run(files.name_in(&mut command));
    let Some(shell) = child_that_is(terminal.pid(), "sh") else { skip!("only root can take a terminal") };
    files.wait_for("err", "all 3 workers are ready");
    for reload in 1..=2 {
        send(shell, Signal::SIGHUP);
        files.wait_for_nth("err", "SIGHUP from pid 1: reloading 3 workers", reload);
        files.wait_for_nth("err", ": 3 workers were replaced", reload);
    }
    assert_eq!(files.count("err", "stopping"), 0, "{:#?}", files.lines("err"));
}

/// The child of that name, or that there is none any more.
fn child_that_is(parent: i32, name: &str) -> Option<i32> {
    let is_it =
        |pid: i32| std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim_end() == name);
    until("the child is there", || match children_of(parent)[..] {
        _ if !is_alive(parent) => Some(None),
        [child] if is_it(child) => Some(Some(child)),
        _ => None,
    })
}

#[test]
fn under_nohup_every_sighup_is_a_reload() {
    for start in ["nohup PROGRAM", "nohup PROGRAM &"] {
        let mut job = skip_unless!(Job::in_bash(clean_command("bash"), start), "there is no bash");
        job.terminal.hang_up();
        job.terminal.wait();
        job.files.wait_for("err", "reload done");
        send(job.supervisor, Signal::SIGHUP);
        let by = std::process::id();
        until("it is answered", || (job.count("err", &format!("SIGHUP from pid {by}: ")) > 0).then_some(()));
        until("all reloads are over", || {
            (job.count("err", "one at a time") == job.count("err", "3 workers were replaced")).then_some(())
        });
        send(job.supervisor, Signal::SIGTERM);
        job.files.wait_for("err", "stopped by SIGTERM");
        wait_until_gone(&[job.supervisor]);
        assert_eq!(job.count("err", "stopping"), 1, "{:#?}", job.lines("err"));
    }
}

/// What a background job's own children do is no word to the supervisor, though the kernel tells the whole group.
#[test]
fn sigttin_and_sigttou_by_the_terminal_are_ignored() {
    for touch in ["cat /dev/tty", "stty -F /dev/tty echo"] {
        let start = format!("sh -c 'until [ -e $FILES/go ]; do sleep 0.01; done; exec {touch}' & exec PROGRAM");
        let start = format!("sh -c '{}' &", start.replace('\'', "'\\''"));
        let job = skip_unless!(Job::in_bash(clean_command("bash"), &start), "there is no bash");
        let name = |pid: i32| std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        job.write("go", "");
        let toucher = until("the kernel stops it", || {
            let all = children_of(job.supervisor);
            all.into_iter().find(|&pid| name(pid).contains("/dev/tty\0") && state_of(pid) == Some('T'))
        });
        // Answered later than what the kernel sent, of the same kind or not.
        send(job.supervisor, Signal::SIGHUP);
        job.files.wait_for("err", ": 3 workers were replaced");
        send(job.supervisor, Signal::SIGTTIN);
        job.files.wait_for("err", ": 4 workers instead of 3");
        assert_eq!(job.count("err", "instead of"), 1, "{:#?}", job.lines("err"));
        assert_eq!(job.count("err", "SIGTT"), 1, "{:#?}", job.lines("err"));
        send(job.supervisor, Signal::SIGTERM);
        wait_until_gone(&[job.supervisor, toucher]);
    }
}
