//! A sandbox for workers: a seccomp filter, made once before the first fork and applied in each worker by an `after_fork`
//! hook, before the body runs. The supervisor stays outside.
//!
//! `cargo run --example sandbox`: each worker does its work and cannot start a program, nor can anything that takes it over.

use std::error::Error;
use std::process::Command;

use prefork_rt::{Worker, after_fork, prefork};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

/// What the workers of this service never do. A filter that lists what they may do is stricter, and longer.
const REFUSED: [i64; 4] = [libc::SYS_execve, libc::SYS_execveat, libc::SYS_ptrace, libc::SYS_mount];

/// Runs once, in the first process, before any worker is forked.
fn sandbox() -> Result<(), Box<dyn Error>> {
    let rules = REFUSED.map(|call| (call, Vec::new())).into();
    let refuse = SeccompAction::Errno(libc::EPERM as u32);
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, std::env::consts::ARCH.try_into()?)?;
    let program = BpfProgram::try_from(filter)?;
    // A worker whose hook fails ends, and does not serve without its sandbox.
    after_fork(move |_| seccompiler::apply_filter(&program));
    Ok(())
}

#[prefork(workers = 2, preload = sandbox, no_new_privs = true)]
fn main(worker: Worker) {
    let started = Command::new("/bin/true").status();
    println!("worker {}: starting a program gives {started:?}", worker.task_id());
}
