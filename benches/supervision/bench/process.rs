//! What Linux says of a process.

use std::fs;

use nix::unistd::Pid;

/// What a process did.
#[derive(Clone, Copy)]
pub struct Activity {
    /// How often it went to sleep of its own accord.
    pub wakeups: u64,
    /// How often another process ran in its place, of its own accord or not.
    pub switches: u64,
    /// In hundredths of a second.
    pub cpu_ticks: u64,
}

pub fn activity(pid: Pid) -> Activity {
    let status = read(pid, "status");
    let number = |key| last_number(line(&status, key));
    let wakeups = number("voluntary_ctxt_switches:");
    let stat = read(pid, "stat");
    let (_, after_name) = stat.rsplit_once(") ").expect("a name in parentheses");
    // Fields 14 and 15 of proc_pid_stat(5); the state is the third.
    let cpu_ticks = after_name.split(' ').skip(14 - 3).take(2).map(last_number).sum();
    Activity { wakeups, switches: wakeups + number("nonvoluntary_ctxt_switches:"), cpu_ticks }
}

/// A sum over the memory of a process: proc_pid_smaps_rollup(5).
pub fn kilobytes(pid: Pid, key: &str) -> u64 {
    last_number(line(&read(pid, "smaps_rollup"), key).trim_end_matches(" kB"))
}

/// The children of a process that has one thread, zombies included, in the order of their start; none when it is gone.
pub fn children(pid: Pid) -> Vec<Pid> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    children.split_whitespace().map(|pid| Pid::from_raw(pid.parse().expect("a process id"))).collect()
}

/// Whether it runs: a zombie does not.
pub fn is_alive(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, after_name)| !after_name.starts_with('Z'))
}

fn read(pid: Pid, name: &str) -> String {
    fs::read_to_string(format!("/proc/{pid}/{name}")).expect("the process is alive")
}

fn line<'text>(text: &'text str, key: &str) -> &'text str {
    text.lines().find(|line| line.starts_with(key)).expect("Linux writes a line of it")
}

fn last_number(line: &str) -> u64 {
    line.split_whitespace().last().and_then(|word| word.parse().ok()).expect("ends with a number")
}
