//! What the system tells of another process: /proc. It must not know what the process is to this one.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

use super::listing::names_in;
use super::{Pid, Signal, getpid};

/// The bytes that the process shares with no other, swapped or not: what the system would get back if it ended.
///
/// # Errors
///
/// [`io::ErrorKind::Unsupported`] where the system does not tell: not Linux, Linux before 4.14, no /proc.
pub(crate) fn private_memory(pid: Pid) -> io::Result<u64> {
    private_bytes(&of_process(pid, "smaps_rollup")?).ok_or_else(|| io::ErrorKind::Unsupported.into())
}

/// What keeps a process from running, or from ending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    Nothing,
    /// A process that traces it: "pid 4711 (gdb)".
    Debugger(String),
    CoreDump,
}

/// Whether a debugger or a core dump holds the process. A tracer that also traces this process (`strace -f`, a sandbox)
/// holds only a process that it has stopped.
///
/// # Errors
///
/// [`io::ErrorKind::Unsupported`] where the system does not tell: not Linux, no /proc.
pub(crate) fn hold(pid: Pid) -> io::Result<Hold> {
    let status = of_process(pid, "status")?;
    let tracer = tracer(&status);
    if field(&status, "CoreDumping") == Some("1") {
        return Ok(Hold::CoreDump);
    }
    let is_stopped = field(&status, "State").is_some_and(|state| state.starts_with('t'));
    let is_ours = || of_process(getpid(), "status").is_ok_and(|own| self::tracer(&own) == tracer);
    Ok(match tracer {
        0 if is_stopped => Hold::Debugger("outside of this container".to_owned()),
        0 => Hold::Nothing,
        _ if !is_stopped && is_ours() => Hold::Nothing,
        _ => Hold::Debugger(described(tracer)),
    })
}

/// The thread that traces, from /proc/PID/status: 0 where there is none, or none with an id in this PID namespace.
fn tracer(status: &str) -> i32 {
    field(status, "TracerPid").and_then(|tracer| tracer.parse().ok()).unwrap_or(0)
}

/// "pid 4711 (gdb)" for the process that has this thread.
fn described(thread: i32) -> String {
    let status = of_process(Pid::from_raw(thread), "status").unwrap_or_default();
    let pid = field(&status, "Tgid").and_then(|pid| pid.parse().ok()).unwrap_or(thread);
    let name = of_process(Pid::from_raw(pid), "comm");
    name.map_or_else(|_| format!("pid {pid}"), |name| format!("pid {pid} ({})", name.trim_end()))
}

/// A process in a process group.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) group: Pid,
    /// It is a zombie, and SIGKILL did not end it.
    pub(crate) had_ended: bool,
    pid: i32,
    name: String,
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pid {} ({})", self.pid, self.name)
    }
}

/// The processes in these groups, zombies included; none where the system does not tell. This reads of every process of the
/// system, so the caller asks only when it knows that the groups have processes.
pub(crate) fn members(groups: &[Pid]) -> Vec<Member> {
    if !is_of_our_processes() {
        return Vec::new();
    }
    let mut members = Vec::new();
    for pid in pids() {
        let stat = fs::read(format!("/proc/{pid}/stat")).unwrap_or_default();
        if let Some(member) = member(&String::from_utf8_lossy(&stat)) {
            if groups.contains(&member.group) {
                members.push(member);
            }
        }
    }
    members
}

/// The ids of all processes that /proc has.
pub(super) fn pids() -> Vec<i32> {
    let mut pids = Vec::new();
    for name in names_in("/proc").unwrap_or_default() {
        if let Some(Ok(pid)) = name.to_str().map(str::parse) {
            pids.push(pid);
        }
    }
    pids
}

/// Reads a line of /proc/PID/stat, `4711 (sleep) Z 1 4700 …`: the id, the name, which may contain anything, the state, the
/// parent, the group, and more. The 52nd field is the status of wait(2), where this process may know it.
fn member(stat: &str) -> Option<Member> {
    let (head, fields) = stat.rsplit_once(')')?;
    let (pid, name) = head.split_once(" (")?;
    let mut fields = fields.split_ascii_whitespace();
    let (state, group, end) = (fields.next()?, fields.nth(1)?, fields.nth(46)?);
    let was_killed = end.parse::<i32>().is_ok_and(|end| end & 0x7f == Signal::SIGKILL as i32);
    Some(Member {
        group: Pid::from_raw(group.parse().ok()?),
        had_ended: matches!(state, "Z" | "X") && !was_killed,
        pid: pid.parse().ok()?,
        name: name.to_owned(),
    })
}

fn of_process(pid: Pid, file: &str) -> io::Result<String> {
    if !is_of_our_processes() {
        return Err(io::ErrorKind::Unsupported.into());
    }
    fs::read_to_string(format!("/proc/{pid}/{file}")).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound if !Path::new(SELF).join(file).exists() => io::ErrorKind::Unsupported.into(),
        _ => error,
    })
}

const SELF: &str = "/proc/self";

/// Whether /proc is of this PID namespace: in that of another one, ids are those of other processes.
pub(super) fn is_of_our_processes() -> bool {
    fs::read_link(SELF).ok().as_deref() == Some(Path::new(&getpid().to_string()))
}

/// Adds up lines of smaps_rollup such as `Private_Dirty:       112 kB`.
fn private_bytes(rollup: &str) -> Option<u64> {
    let kilobytes = |name: &str| field(rollup, name)?.strip_suffix("kB")?.trim_end().parse::<u64>().ok();
    let own = kilobytes("Private_Clean")? + kilobytes("Private_Dirty")?;
    // Older kernels do not have these.
    let rest = ["Private_Hugetlb", "SwapPss"].into_iter().filter_map(kilobytes).sum::<u64>();
    Some((own + rest) * 1024)
}

fn field<'a>(file: &'a str, name: &str) -> Option<&'a str> {
    file.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROLLUP: &str = "\
563bca9e0000-7ffd055f0000 ---p 00000000 00:00 0                          [rollup]
Rss:                1736 kB
Shared_Clean:       1564 kB
Shared_Dirty:        100 kB
Private_Clean:        60 kB
Private_Dirty:       112 kB
Shared_Hugetlb:     4096 kB
Private_Hugetlb:    2048 kB
Swap:                 40 kB
SwapPss:               8 kB
Locked:                0 kB
";

    #[test]
    fn private_memory_is_what_no_other_process_has_and_a_share_of_the_swap() {
        assert_eq!(private_bytes(ROLLUP), Some((60 + 112 + 2048 + 8) * 1024));
        assert_eq!(private_bytes("Private_Clean: 1 kB\nPrivate_Dirty: 2 kB\n"), Some(3 * 1024));
        for broken in ["", "Private_Clean: 1 kB\n", "Private_Clean: x kB\nPrivate_Dirty: 2 kB\n"] {
            assert_eq!(private_bytes(broken), None, "{broken}");
        }
    }

    #[test]
    fn a_member_that_was_killed_is_told_from_one_that_had_ended() {
        let stat = |state: &str, end: &str| member(&format!("4711 (a) b) {state} 1 4700{} {end}\n", " 9".repeat(46)));
        let of = |state: &str, end: &str| stat(state, end).map(|member| (member.group.as_raw(), member.had_ended));
        assert_eq!(stat("S", "0").map(|member| member.to_string()).as_deref(), Some("pid 4711 (a) b)"));
        assert_eq!(of("S", "0"), Some((4700, false)));
        assert_eq!(of("Z", "9"), Some((4700, false)));
        assert_eq!(of("Z", "137"), Some((4700, false)), "with a core dump");
        for end in ["0", "256", "15", "2304"] {
            assert_eq!(of("Z", end), Some((4700, true)), "{end}");
        }
        for broken in ["", "4711 (x", "4711 (x) Z", "4711 (x) Z 1", "x (x) Z 1 1 0"] {
            assert_eq!(member(broken), None, "{broken}");
        }
    }

    #[test]
    fn a_tracer_is_told_where_there_is_one() {
        assert_eq!(tracer("Name:\tx\nTracerPid:\t4711\n"), 4711);
        for none in ["TracerPid:\t0\n", "TracerPid:\t\n", "Name:\tTracerPid: 1\n", ""] {
            assert_eq!(tracer(none), 0, "{none}");
        }
    }

    #[cfg(target_os = "linux")]
    mod linux {
        use super::*;
        use std::hint::black_box;

        #[test]
        fn this_process_is_a_member_of_its_group() {
            let own = crate::sys::getpgrp();
            let told = members(&[own]);
            assert!(told.iter().any(|member| member.pid == getpid().as_raw() && !member.had_ended), "{told:?}");
            assert!(told.iter().all(|member| member.group == own));
        }

        #[test]
        fn a_process_that_runs_is_held_by_nothing() {
            // A tracer that traces this process has not stopped it: it runs.
            assert_eq!(hold(getpid()).expect("Linux tells"), Hold::Nothing);
            let status = of_process(getpid(), "status").expect("Linux tells");
            assert_eq!(field(&status, "CoreDumping"), Some("0"));
        }

        #[test]
        fn the_private_memory_of_this_process_is_told() {
            let size = 64 << 20;
            let own = black_box(vec![1u8; size]);
            let told = private_memory(getpid()).expect("Linux tells");
            assert!((size as u64..1 << 40).contains(&told), "{told}");
            drop(own);
        }

        #[test]
        fn a_process_that_is_not_there_is_not_found() {
            let no_process = Pid::from_raw(i32::MAX);
            assert_eq!(private_memory(no_process).map_err(|error| error.kind()), Err(io::ErrorKind::NotFound));
        }
    }
}
