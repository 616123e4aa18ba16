//! `SharedBytes` are there once, for all workers: none can write to them, and nothing else comes by them.

use std::fs;
use std::process::Command;

mod support;
use support::{Program, Signal, fixture};

fn start(command: &mut Command) -> Program {
    let program = Program::start(command);
    has_read(&program, 0, 1);
    program
}

fn has_read(program: &Program, task_id: usize, times: usize) {
    let line = program.stdout.wait_for_nth(&format!("task {task_id} reads "), times);
    assert!(line.ends_with("reads 4194304 bytes, as written: true"), "{line}");
}

/// What /proc/PID/smaps says of the mapping: its first line, and the number of KiB after this name.
fn mapping(pid: i32, name: &str) -> (String, u64) {
    let smaps = fs::read_to_string(format!("/proc/{pid}/smaps")).expect("a process");
    let mut lines = smaps.lines().skip_while(|line| !line.contains("prefork-shared-bytes"));
    let first = lines.next().expect("a mapping of the bytes").to_owned();
    let value = lines.find_map(|line| line.strip_prefix(name)?.trim_start_matches(':').split_whitespace().next());
    (first, value.and_then(|kib| kib.parse().ok()).expect("a number"))
}

#[test]
fn a_worker_that_writes_to_them_ends_and_the_next_one_reads_what_was_loaded() {
    let mut program = start(fixture("shares-bytes").arg("writes"));
    program.stderr.wait_for("SIGSEGV");
    has_read(&program, 1, 1);
    program.stop();
    assert_eq!(program.stdout.count("has written"), 0);
}

#[test]
fn a_worker_that_replaces_another_reads_them_too() {
    let mut program = start(&mut fixture("shares-bytes"));
    has_read(&program, 1, 1);
    for worker in program.wait_for_children(2) {
        support::send(worker, Signal::SIGKILL);
    }
    has_read(&program, 0, 2);
    has_read(&program, 1, 2);
    program.stop();
}

#[cfg(target_os = "linux")]
#[test]
fn no_process_has_a_page_of_its_own_or_a_descriptor() {
    let mut program = start(&mut fixture("shares-bytes"));
    has_read(&program, 1, 1);
    for pid in program.wait_for_children(2).into_iter().chain([program.pid()]) {
        let (first, private) = mapping(pid, "Private_Dirty");
        assert!(first.contains(" r--s "), "{first}");
        assert_eq!((private, mapping(pid, "Anonymous").1), (0, 0), "{first}");
        let open = fs::read_dir(format!("/proc/{pid}/fd")).expect("/proc");
        let names: Vec<_> = open.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok()).collect();
        assert!(names.iter().all(|name| !name.to_string_lossy().contains("prefork-shared-bytes")), "{names:?}");
    }
    program.stop();
}

/// The kernel counts a page that only one process has mapped as private to it, and max_memory goes by that.
#[cfg(target_os = "linux")]
#[test]
fn they_do_not_count_as_the_memory_of_the_only_worker() {
    let mut program = start(fixture("shares-bytes").env("PREFORK_WORKERS", "1"));
    let [worker] = program.wait_for_children(1)[..] else { panic!("one worker") };
    let (first, shared) = mapping(worker, "Shared_Dirty");
    let private = mapping(worker, "Private_Dirty").1 + mapping(worker, "Private_Clean").1;
    assert_eq!((private, shared), (0, 4096), "{first}");
    program.stop();
}

#[test]
fn the_next_binary_loads_its_own() {
    let mut program = start(&mut fixture("shares-bytes"));
    has_read(&program, 1, 1);
    program.signal(Signal::SIGUSR2);
    program.stderr.wait_for("upgrade done after");
    has_read(&program, 0, 2);
    has_read(&program, 1, 2);
    if cfg!(target_os = "linux") {
        let maps = fs::read_to_string(format!("/proc/{}/maps", program.pid())).expect("a process");
        assert_eq!(maps.matches("prefork-shared-bytes").count(), 1, "{maps}");
    }
    program.stop();
}

#[test]
fn they_are_there_without_workers_too() {
    let mut program = start(fixture("shares-bytes").env("PREFORK", "off"));
    program.stop();
}
