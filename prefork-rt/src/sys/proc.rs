//! What the system tells of another process: /proc, where there is one.

use std::fs;
use std::io;
use std::path::Path;

use super::{Pid, Signal, getpid};

/// The bytes that only this process uses, swapped or not: what the system would get back if it ended.
///
/// # Errors
///
/// [`io::ErrorKind::Unsupported`] where the system does not tell: not Linux, Linux before 4.14, no /proc.
pub(crate) fn private_memory(pid: Pid) -> io::Result<u64> {
    private_bytes(&of_process(pid, "smaps_rollup")?).ok_or_else(|| io::ErrorKind::Unsupported.into())
}

/// Whether this process has a handler for the signal.
///
/// # Errors
///
/// [`io::ErrorKind::Unsupported`] where the system does not tell: not Linux, no /proc.
pub(crate) fn catches(pid: Pid, signal: Signal) -> io::Result<bool> {
    let caught = caught_signals(&of_process(pid, "status")?).ok_or(io::ErrorKind::Unsupported)?;
    Ok(caught & (1 << (signal as u64 - 1)) != 0)
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

/// Whether /proc tells of processes by the ids that they have here: one of another PID namespace has other processes
/// under these numbers.
pub(super) fn is_of_our_processes() -> bool {
    fs::read_link(SELF).ok().as_deref() == Some(Path::new(&getpid().to_string()))
}

/// What smaps_rollup says in lines such as `Private_Dirty:       112 kB`.
fn private_bytes(rollup: &str) -> Option<u64> {
    let kilobytes = |name: &str| field(rollup, name)?.strip_suffix("kB")?.trim_end().parse::<u64>().ok();
    let own = kilobytes("Private_Clean")? + kilobytes("Private_Dirty")?;
    // Older kernels do not have these.
    let rest = ["Private_Hugetlb", "SwapPss"].into_iter().filter_map(kilobytes).sum::<u64>();
    Some((own + rest) * 1024)
}

/// One bit per signal, SIGHUP's the lowest: the line `SigCgt:\t0000000180004a02`.
fn caught_signals(status: &str) -> Option<u64> {
    u64::from_str_radix(field(status, "SigCgt")?, 16).ok()
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
    fn private_memory_is_what_nobody_else_has_and_a_share_of_the_swap() {
        assert_eq!(private_bytes(ROLLUP), Some((60 + 112 + 2048 + 8) * 1024));
        assert_eq!(private_bytes("Private_Clean: 1 kB\nPrivate_Dirty: 2 kB\n"), Some(3 * 1024));
        for broken in ["", "Private_Clean: 1 kB\n", "Private_Clean: x kB\nPrivate_Dirty: 2 kB\n"] {
            assert_eq!(private_bytes(broken), None, "{broken}");
        }
    }

    #[test]
    fn a_signal_is_caught_when_its_bit_is_set() {
        let status = "Name:\tSigCgt: f\nSigIgn:\t0000000000001000\nSigCgt:\t0000000180004202\n";
        assert_eq!(caught_signals(status), Some(0x1_8000_4202));
        for broken in ["", "SigCgt", "SigCgt:\t\n", "SigCgt:\tyes\n", "SigCgtX:\t1\n"] {
            assert_eq!(caught_signals(broken), None, "{broken}");
        }
    }

    #[cfg(target_os = "linux")]
    mod linux {
        use super::*;
        use std::hint::black_box;

        #[test]
        fn this_process_is_told_of() {
            let size = 64 << 20;
            let own = black_box(vec![1u8; size]);
            let told = private_memory(getpid()).expect("Linux tells");
            assert!((size as u64..1 << 40).contains(&told), "{told}");
            drop(own);
            // Rust's runtime catches SIGSEGV, and nobody can catch SIGKILL.
            assert!(catches(getpid(), Signal::SIGSEGV).expect("Linux tells"));
            assert!(!catches(getpid(), Signal::SIGKILL).expect("Linux tells"));
        }

        #[test]
        fn a_process_that_is_not_there_is_not_found() {
            let nobody = Pid::from_raw(i32::MAX);
            assert_eq!(private_memory(nobody).map_err(|error| error.kind()), Err(io::ErrorKind::NotFound));
            assert_eq!(catches(nobody, Signal::SIGUSR1).map_err(|error| error.kind()), Err(io::ErrorKind::NotFound));
        }
    }
}
