//! What was loaded before the first fork lies in huge pages, where the kernel can move it there, and holds what it held.

use std::fs;
use std::process::Command;

mod support;
use support::before_exec::before_exec;
use support::{Program, Signal, fixture};

/// What the fixture loads is about 90 MiB, of which a few pages at the ends of mappings cannot be moved.
const MOST: u64 = 78 << 20;

fn large(code_says: Option<bool>) -> Command {
    let mut command = fixture("loads-large-data");
    command.args(code_says.map(|huge| huge.to_string()));
    command
}

/// Starts it, and waits until both workers have read all data.
fn start(command: &mut Command) -> Program {
    let program = Program::start(command);
    has_read(&program, 1);
    program
}

fn has_read(program: &Program, times: usize) {
    for task_id in 0..2 {
        let line = program.stdout.wait_for_nth(&format!("task {task_id} reads the data: "), times);
        assert!(line.ends_with(": true"), "{line}");
    }
}

/// A line of /proc/PID/smaps_rollup in bytes.
fn memory(pid: i32, line: &str) -> u64 {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("a process");
    let found =
        rollup.lines().find_map(|found| found.strip_prefix(line)?.trim_start_matches(':').split_whitespace().next());
    found.and_then(|kib| kib.parse::<u64>().ok()).expect("a number") << 10
}

fn in_huge_pages(program: &Program) -> u64 {
    memory(program.pid(), "AnonHugePages")
}

/// Whether the data lies in huge pages. Where the system has none, the program has found that out, too, and says so.
fn is_moved(program: &Program) -> bool {
    is_moved_by(program, "AnonHugePages")
}

/// `line` is the line of smaps_rollup that counts them.
fn is_moved_by(program: &Program, line: &str) -> bool {
    if memory(program.pid(), line) >= MOST {
        return true;
    }
    // A start may end before all is moved, where it is slow.
    let refused = program.stderr.count(" and left the rest, ") + program.stderr.count("has no effect on all or part");
    assert!(refused > 0 || !kernel_collapses(), "{} bytes, {:#?}", memory(program.pid(), line), program.stderr.all());
    println!("skipped: the kernel does not give the huge pages");
    false
}

fn kernel_collapses() -> bool {
    const MADV_COLLAPSE: i32 = 25;
    // SAFETY: with length 0 madvise(2) only says whether the kernel knows the advice.
    let known = unsafe { libc::madvise(std::ptr::null_mut(), 0, MADV_COLLAPSE) } == 0;
    known && fs::exists("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size").is_ok_and(|exists| exists)
}

/// Whether the system gives huge pages to all memory, without being asked.
fn system_has_them_always() -> bool {
    fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled").is_ok_and(|enabled| enabled.contains("[always]"))
}

#[test]
fn what_preload_has_loaded_is_moved_and_needs_no_more_memory() {
    let (mut moved, mut left) = (start(&mut large(None)), start(&mut large(Some(false))));
    if is_moved(&moved) && !system_has_them_always() {
        assert_eq!(in_huge_pages(&left), 0);
    }
    let [with, without] = [&moved, &left].map(|program| memory(program.pid(), "Rss"));
    assert!(with < without + (4 << 20), "{with} bytes with huge pages, {without} without");
    moved.stop();
    left.stop();
    let [with, without] = [&moved, &left].map(|program| program.stderr.count("has no effect"));
    assert_eq!((with, without), (0, 0), "only what was asked for by name is missed");
}

#[test]
fn a_line_says_what_was_moved_and_how_to_change_it() {
    let mut program = start(&mut large(None));
    if is_moved(&program) && !system_has_them_always() {
        let line = program.stderr.wait_for(" MiB into huge pages in ");
        let ends = ["so that workers start and end fast; huge_pages = false", "and left the rest, "];
        assert!(ends.iter().any(|end| line.contains(&format!("of CPU time, {end}"))), "{line}");
    }
    program.stop();
}

/// A worker that has read them all has them in huge pages, too, so that its page tables are small.
#[test]
fn shared_bytes_are_moved_and_still_cannot_be_written_to() {
    let mut program = Program::start(fixture("shares-bytes").args(["writes", "96"]));
    program.stderr.wait_for("SIGSEGV");
    for task_id in 0..2 {
        let line = program.stdout.wait_for(&format!("task {task_id} reads 100663296 bytes"));
        assert!(line.ends_with("as written: true"), "{line}");
    }
    if is_moved_by(&program, "ShmemPmdMapped") {
        for worker in program.wait_for_children(2) {
            assert!(memory(worker, "ShmemPmdMapped") >= MOST);
        }
    }
    program.stop();
}

/// The kernel counts a page that only one process has mapped as private to it, and max_memory goes by that.
#[test]
fn moved_shared_bytes_do_not_count_as_the_memory_of_the_only_worker() {
    let mut program = Program::start(fixture("shares-bytes").args(["reads", "96"]).env("PREFORK_WORKERS", "1"));
    program.stdout.wait_for("task 0 reads 100663296 bytes, as written: true");
    let [worker] = program.wait_for_children(1)[..] else { panic!("one worker") };
    let private = memory(worker, "Private_Dirty") + memory(worker, "Private_Clean");
    assert!(private < 8 << 20, "{private} bytes");
    is_moved_by(&program, "ShmemPmdMapped");
    program.stop();
}

#[test]
fn a_worker_that_replaces_another_reads_the_same_data() {
    let mut program = start(&mut large(None));
    for worker in program.wait_for_children(2) {
        support::send(worker, Signal::SIGKILL);
    }
    has_read(&program, 2);
    is_moved(&program);
    program.stop();
}

#[test]
fn the_variable_switches_it_off_and_on() {
    let mut off = start(large(None).env("PREFORK_HUGE_PAGES", "false"));
    let mut on = start(large(Some(false)).env("PREFORK_HUGE_PAGES", "true"));
    if !system_has_them_always() {
        assert_eq!(in_huge_pages(&off), 0);
    }
    is_moved(&on);
    off.stop();
    on.stop();
}

#[test]
fn a_process_that_may_have_none_starts_all_the_same() {
    for asked in [None, Some(true)] {
        let mut command = large(asked);
        // It passes to the program, and prefork cannot know it before it tries.
        before_exec(&mut command, || match refuse_huge_pages() {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        });
        let mut program = start(&mut command);
        assert_eq!(in_huge_pages(&program), 0);
        program.stop();
        let warnings = program.stderr.count("huge_pages = true has no effect on all or part of the memory: ");
        assert_eq!(warnings, usize::from(asked == Some(true)), "{:#?}", program.stderr.all());
    }
}

/// prctl(2): no huge pages for this process and what it becomes.
fn refuse_huge_pages() -> i32 {
    // SAFETY: PR_SET_THP_DISABLE takes four numbers, of which the last three are 0 here, and touches no memory.
    unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) }
}

#[test]
fn a_process_that_forks_no_worker_moves_nothing() {
    let mut program = Program::start(large(None).env("PREFORK", "off").env("PREFORK_HUGE_PAGES", "true"));
    program.stdout.wait_for("task 0 reads the data: true");
    if !system_has_them_always() {
        assert_eq!(in_huge_pages(&program), 0);
    }
    program.stop();
    program.stderr.wait_for("not used without workers: PREFORK_HUGE_PAGES");
}

#[test]
fn the_next_binary_moves_what_it_loads() {
    let mut program = start(&mut large(None));
    program.signal(Signal::SIGUSR2);
    program.stderr.wait_for("upgrade done after");
    has_read(&program, 2);
    is_moved(&program);
    program.stop();
}
