//! Children that have ended or stopped, and the process groups that they leave behind.
//!
//! A child that has ended keeps its process id, and the id of the group it led, until it is reaped. So the caller first
//! learns which child has ended, then does what needs the id, and only then reaps it.
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::io;
use std::mem::MaybeUninit;

use super::Pid;
use super::outcome::{checked, is, uninterrupted};
use super::process::send_to_group;

/// A child that has ended or stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// It is a zombie until it is reaped.
    Ended(Pid),
    Stopped(Pid),
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Exited(c_int),
    Killed { signal: c_int, dumped_core: bool },
}

/// What is left of the process group of a child that was reaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    Nothing,
    /// Processes that this one may signal.
    Ours,
    /// Processes of another user.
    Others,
}

/// A child that has ended or stopped, if there is one: waitid(2) for any child, without waiting. The news stays until
/// [`reap`] or [`take_stop`] takes it. The kernel looks through all children that live, up to the one that it finds.
pub(crate) fn next_news() -> io::Result<Option<News>> {
    wait_for(libc::P_ALL, 0, NEWS).map(|info| info.map(|info| info.news))
}

/// Whether this child has ended or stopped: as [`next_news`], but for one child, whatever others there are. Nothing if it is
/// no child, or was reaped.
pub(crate) fn news_of(pid: Pid) -> io::Result<Option<News>> {
    wait_for(libc::P_PID, pid.as_raw(), NEWS).map(|info| info.map(|info| info.news))
}

const NEWS: c_int = libc::WEXITED | libc::WSTOPPED | libc::WNOWAIT;

/// A child in this process group that has ended, if there is one: waitid(2). It stays until it is reaped.
pub(crate) fn next_ended_in(group: Pid) -> io::Result<Option<Pid>> {
    let info = wait_for(libc::P_PGID, group.as_raw(), libc::WEXITED | libc::WNOWAIT)?;
    Ok(info.map(|info| match info.news {
        News::Ended(pid) | News::Stopped(pid) => pid,
    }))
}

/// The signal that has stopped a child: waitid(2). Each stop is returned once, and not at all if the child was continued
/// or has ended since.
pub(crate) fn take_stop(pid: Pid) -> io::Result<Option<c_int>> {
    wait_for(libc::P_PID, pid.as_raw(), libc::WSTOPPED).map(|info| info.map(|info| info.status))
}

/// How a child ended, and nothing if it has not: waitpid(2) for this child, without waiting. Afterwards the child is gone.
pub(crate) fn reap(pid: Pid) -> io::Result<Option<End>> {
    let mut status = 0;
    // SAFETY: waitpid(2) writes one int through the pointer, which is to a live local of that type.
    match uninterrupted(|| checked(unsafe { libc::waitpid(pid.as_raw(), &raw mut status, libc::WNOHANG) }))? {
        0 => Ok(None),
        _ => Ok(Some(End::of(status))),
    }
}

impl End {
    fn of(status: c_int) -> End {
        if libc::WIFSIGNALED(status) {
            End::Killed { signal: libc::WTERMSIG(status), dumped_core: libc::WCOREDUMP(status) }
        } else {
            End::Exited(libc::WEXITSTATUS(status))
        }
    }
}

/// Kills what is left of the group of a child that has ended and was not reaped: killpg(2). No other process can have the
/// child's id yet, so a group with this id is the child's own.
pub(crate) fn kill_rest(leader: Pid) {
    // It fails where there is no such group, or no member may be signalled. `rest_of` tells.
    let _ = send_to_group(leader, libc::SIGKILL);
}

/// What is left of the group of a child that was reaped: killpg(2) with no signal. Call it after the child was reaped: the
/// child itself is in the group until then. Processes that were killed just now may still be there for a moment.
pub(crate) fn rest_of(leader: Pid) -> Rest {
    match send_to_group(leader, 0) {
        Ok(()) => Rest::Ours,
        Err(error) if is(&error, libc::EPERM) => Rest::Others,
        Err(_) => Rest::Nothing,
    }
}

/// What waitid(2) returns.
struct Info {
    news: News,
    /// An exit status, or a signal.
    status: c_int,
}

fn wait_for(kind: libc::idtype_t, id: i32, options: c_int) -> io::Result<Option<Info>> {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    let (id, options) = (id as libc::id_t, options | libc::WNOHANG);
    // SAFETY: waitid(2) writes one structure through the pointer, which is to a live local of that type.
    match uninterrupted(|| checked(unsafe { libc::waitid(kind, id, info.as_mut_ptr(), options) })) {
        Err(error) if is(&error, libc::ECHILD) => return Ok(None),
        result => result.map(drop)?,
    }
    // SAFETY: zeros initialize a structure of integers and pointers, and waitid(2) may have written to it since.
    let info = unsafe { info.assume_init() };
    // SAFETY: waitid(2) fills in the process id, or leaves it 0 where there is no such child.
    let pid = unsafe { info.si_pid() };
    // SAFETY: waitid(2) fills in the status where it fills in the process id.
    let status = unsafe { info.si_status() };
    let pid = Pid::from_raw(pid);
    let news = match info.si_code {
        _ if pid.as_raw() == 0 => return Ok(None),
        libc::CLD_STOPPED | libc::CLD_TRAPPED => News::Stopped(pid),
        _ => News::Ended(pid),
    };
    Ok(Some(Info { news, status }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::CommandExt;
    use std::process::Command;
    use std::thread::sleep;
    use std::time::Duration;

    #[allow(clippy::zombie_processes, reason = "each test reaps it")]
    fn leader(script: &str) -> Pid {
        let child = Command::new("sh").args(["-c", script]).process_group(0).spawn().expect("sh");
        Pid::from_raw(child.id() as i32)
    }

    fn wait_for_news(pid: Pid, options: c_int) -> News {
        loop {
            if let Some(info) = wait_for(libc::P_PID, pid.as_raw(), options | libc::WNOWAIT).expect("a child") {
                return info.news;
            }
            sleep(Duration::from_millis(2));
        }
    }

    #[test]
    fn how_a_child_ended_is_told_once() {
        let real_time = libc::SIGRTMIN() + 3;
        for (script, end) in [
            ("exit 3".to_owned(), End::Exited(3)),
            ("kill -9 $$".to_owned(), End::Killed { signal: 9, dumped_core: false }),
            (format!("kill -{real_time} $$"), End::Killed { signal: real_time, dumped_core: false }),
        ] {
            let pid = leader(&script);
            assert_eq!(wait_for_news(pid, libc::WEXITED), News::Ended(pid));
            assert_eq!(next_ended_in(pid).expect("asked"), Some(pid));
            assert_eq!(news_of(pid).expect("asked"), Some(News::Ended(pid)));
            assert_eq!(reap(pid).expect("a child"), Some(end));
            assert!(reap(pid).is_err(), "it is no child any more");
            assert_eq!((next_ended_in(pid).expect("asked"), news_of(pid).expect("asked")), (None, None));
        }
    }

    #[test]
    fn a_stop_is_told_once_and_not_of_a_child_that_has_died_since() {
        let pid = leader("kill -STOP $$");
        assert_eq!(wait_for_news(pid, libc::WSTOPPED), News::Stopped(pid));
        assert_eq!(reap(pid).expect("a child"), None);
        assert_eq!(news_of(pid).expect("a child"), Some(News::Stopped(pid)));
        assert_eq!(take_stop(pid).expect("a child"), Some(libc::SIGSTOP));
        assert_eq!(take_stop(pid).expect("a child"), None);
        assert_eq!(news_of(pid).expect("a child"), None);
        kill_rest(pid);
        assert_eq!(wait_for_news(pid, libc::WEXITED), News::Ended(pid));
        reap(pid).expect("a child");
        let pid = leader("kill -STOP $$");
        wait_for_news(pid, libc::WSTOPPED);
        kill_rest(pid);
        wait_for_news(pid, libc::WEXITED);
        assert_eq!(take_stop(pid).expect("a child"), None);
        assert_eq!(reap(pid).expect("a child"), Some(End::Killed { signal: libc::SIGKILL, dumped_core: false }));
    }

    #[test]
    fn what_is_left_of_a_group_is_killed_and_told() {
        for (script, rest) in [("sleep 1000 & exit 0", Rest::Ours), ("exit 0", Rest::Nothing)] {
            let pid = leader(script);
            wait_for_news(pid, libc::WEXITED);
            kill_rest(pid);
            reap(pid).expect("a child");
            // They may be gone already, where the process that reaps orphans is fast.
            assert!([rest, Rest::Nothing].contains(&rest_of(pid)), "{script}");
            while rest_of(pid) != Rest::Nothing {
                sleep(Duration::from_millis(2));
            }
        }
    }
}
