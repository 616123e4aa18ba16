//! What a program finds when it starts: masks, dispositions, limits, filters.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sys::signal::{SigHandler, SigSet, Signal, signal};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

/// Runs something in the new process before it becomes the program. It makes system calls and nothing else.
pub fn before_exec(
    command: &mut Command,
    call: impl FnMut() -> io::Result<()> + Send + Sync + 'static,
) -> &mut Command {
    // SAFETY: between fork(2) and exec(2) only async-signal-safe calls are allowed; every caller in these tests makes
    // bare system calls with what it prepared before.
    unsafe { command.pre_exec(call) }
}

/// Starts the program with no signal blocked or ignored that ends or stops it: what a shell puts in the background
/// has the keyboard's signals ignored.
pub fn at_default(command: &mut Command) -> &mut Command {
    before_exec(command, || {
        SigSet::empty().thread_set_mask()?;
        for restored in AT_DEFAULT {
            // SAFETY: no handler is installed.
            unsafe { signal(restored, SigHandler::SigDfl) }?;
        }
        Ok(())
    })
}

const AT_DEFAULT: [Signal; 11] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGCHLD,
    Signal::SIGCONT,
    Signal::SIGTSTP,
    Signal::SIGTTIN,
    Signal::SIGTTOU,
];

/// Starts the program with these signals ignored, as `nohup` does.
pub fn ignoring<const N: usize>(command: &mut Command, signals: [Signal; N]) -> &mut Command {
    before_exec(command, move || {
        for ignored in signals {
            // SAFETY: no handler is installed.
            unsafe { signal(ignored, SigHandler::SigIgn) }?;
        }
        Ok(())
    })
}

/// Starts the program with these signals blocked.
pub fn blocking<const N: usize>(command: &mut Command, signals: [Signal; N]) -> &mut Command {
    let set: SigSet = signals.into_iter().collect();
    before_exec(command, move || Ok(set.thread_block()?))
}

/// Starts the program so that its fork(2) fails with ENOMEM; it could start a thread.
pub fn without_fork(command: &mut Command) -> &mut Command {
    let filter = no_fork();
    before_exec(command, move || seccompiler::apply_filter(&filter).map_err(|_| io::ErrorKind::PermissionDenied.into()))
}

/// Starts the program so that the kernel refuses to steer what is new among sockets that share an address.
pub fn without_steering(command: &mut Command) -> &mut Command {
    let option = |argument, value: libc::c_int| {
        SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value as u64).expect("a condition")
    };
    let steers = vec![option(1, libc::SOL_SOCKET), option(2, libc::SO_ATTACH_REUSEPORT_CBPF)];
    let filter = refusal(libc::SYS_setsockopt, steers, libc::EPERM);
    before_exec(command, move || seccompiler::apply_filter(&filter).map_err(|_| io::ErrorKind::PermissionDenied.into()))
}

/// Starts the program so that this call fails with this error, whatever its arguments are.
pub fn without_call(command: &mut Command, call: libc::c_long, error: libc::c_int) -> &mut Command {
    let arch = std::env::consts::ARCH.try_into().expect("an architecture that seccompiler knows");
    let refuse = SeccompAction::Errno(error as u32);
    let filter = SeccompFilter::new([(call, vec![])].into(), SeccompAction::Allow, refuse, arch).expect("a filter");
    let filter: BpfProgram = filter.try_into().expect("a program");
    before_exec(command, move || seccompiler::apply_filter(&filter).map_err(|_| io::ErrorKind::PermissionDenied.into()))
}

/// Starts the program where IPv6 is switched off, as the kernel's parameter ipv6.disable=1 does it.
pub fn without_ipv6(command: &mut Command) -> &mut Command {
    let family = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, libc::AF_INET6 as u64);
    let filter = refusal(libc::SYS_socket, vec![family.expect("a condition")], libc::EAFNOSUPPORT);
    before_exec(command, move || seccompiler::apply_filter(&filter).map_err(|_| io::ErrorKind::PermissionDenied.into()))
}

fn no_fork() -> BpfProgram {
    let threads = libc::CLONE_VM as u64;
    let forks = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(threads), 0);
    refusal(libc::SYS_clone, vec![forks.expect("a condition")], libc::ENOMEM)
}

/// What makes a system call fail with this error where all conditions hold.
fn refusal(call: libc::c_long, conditions: Vec<SeccompCondition>, error: libc::c_int) -> BpfProgram {
    let arch = std::env::consts::ARCH.try_into().expect("an architecture that seccompiler knows");
    let rule = SeccompRule::new(conditions).expect("a rule");
    let rules: BTreeMap<i64, Vec<SeccompRule>> = [(call, vec![rule])].into();
    let refuse = SeccompAction::Errno(error as u32);
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, arch).expect("a filter");
    filter.try_into().expect("a program")
}
