//! CPython takes part in each fork of a process that has an interpreter: its hooks run, and `random` is seeded.
#![cfg_attr(not(feature = "python"), allow(dead_code, unused_imports, reason = "most tests are of the feature"))]

mod support;
use std::collections::BTreeSet;
use std::process::Command;

use support::before_exec::without_fork;
use support::session::Session;
use support::{Program, Signal, clean_command, send};

const NO_PYTHON: &str = "no library of CPython is installed (Debian's libpython3-dev has one)";
/// How the library is loaded and left: as PyO3 does, for one module only, and with the GIL in the hands of the first thread.
const WAYS: [&str; 3] = ["global", "local", "keeps-the-gil"];

/// The command that runs this Python code before the fork, and that in each worker; none where there is no library.
fn python(how: &str, preload: &str, body: &str) -> Option<Command> {
    let program = env!("CARGO_BIN_EXE_python");
    let found = clean_command(program).arg("find").status().expect("the program starts");
    found.success().then(|| {
        let mut command = clean_command(program);
        command.args([how, preload, body]);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PYTHON")) {
            command.env_remove(name);
        }
        command
    })
}

/// What the lines with this beginning have after it.
fn after<'a>(lines: &'a [String], beginning: &str) -> Vec<&'a str> {
    lines.iter().filter_map(|line| line.strip_prefix(beginning)).collect()
}

/// 4 workers and 2 replacements, in a program that drew a number before it started them. (Many builds of CPython cannot import
/// `random` where the library was loaded for one module only.)
#[test]
fn random_numbers_differ_with_the_feature_and_only_with_it() {
    let body = "
say(f'drew {random.random()}')
if task_id < 2 and restarts == 0: os._exit(3)";
    for way in ["global", "keeps-the-gil"] {
        let mut command = skip_unless!(python(way, "import random; random.random()", body), "{NO_PYTHON}");
        let mut program = Program::start(command.env("PREFORK_WORKERS", "4"));
        assert_eq!(program.exit_code(), 0, "{:#?}", program.stderr.all());
        let lines = program.stdout.all();
        let draws = after(&lines, "drew ");
        let expected = if cfg!(feature = "python") { 6 } else { 1 };
        assert_eq!(draws.len(), 6, "{way}: {lines:#?}");
        assert_eq!(draws.iter().collect::<BTreeSet<_>>().len(), expected, "{way}: {draws:#?}");
    }
}

/// Two of each kind, which say in which process they run.
const HOOKS: &str = "
def say_here(text):
    say(f'{os.getpid()} {text}')
for name in 'AB':
    os.register_at_fork(
        before=lambda name=name: say_here('before ' + name),
        after_in_parent=lambda name=name: say_here('in parent ' + name),
        after_in_child=lambda name=name: say_here('in child ' + name))";

#[cfg(feature = "python")]
#[test]
fn hooks_of_python_run_once_for_each_fork_in_the_order_of_os_fork() {
    let body = "
say_here('body of %d' % task_id)
if task_id == 0 and restarts == 0: os._exit(3)";
    for way in WAYS {
        let mut command = skip_unless!(python(way, HOOKS, body), "{NO_PYTHON}");
        let mut program = Program::start(command.env("PREFORK_WORKERS", "2"));
        let supervisor = format!("{} ", program.pid());
        assert_eq!(program.exit_code(), 0, "{:#?}", program.stderr.all());
        let lines = program.stdout.all();
        let each = ["before B", "before A", "in parent A", "in parent B"];
        assert_eq!(after(&lines, &supervisor), each.repeat(3), "{way}: {lines:#?}");
        let workers: BTreeSet<_> =
            lines.iter().filter_map(|line| line.split_once(" in child ")).map(|(pid, _)| pid).collect();
        assert_eq!(workers.len(), 3, "{lines:#?}");
        for worker in workers {
            let life = after(&lines, worker).into_iter().map(str::trim_start).collect::<Vec<_>>();
            assert_eq!(life[..2], ["in child A", "in child B"], "{way}: {lines:#?}");
            assert!(life.len() == 3 && life[2].starts_with("body of "), "{way}: {lines:#?}");
        }
    }
}

#[cfg(feature = "python")]
#[test]
fn hooks_of_python_come_before_those_of_rust() {
    let hook = "os.register_at_fork(after_in_child=lambda: say('hook of Python'))";
    let mut command = skip_unless!(python("global", hook, "say('body')"), "{NO_PYTHON}");
    let mut program = Program::start(command.env("PREFORK_WORKERS", "1"));
    assert_eq!(program.exit_code(), 0, "{:#?}", program.stderr.all());
    assert_eq!(program.stdout.all(), ["hook of Python", "hook of Rust", "body"]);
}

#[cfg(feature = "python")]
#[test]
fn an_exception_in_a_hook_of_python_ends_neither_supervisor_nor_worker() {
    let hooks = "
def fails(where):
    raise SystemExit('the reason ' + where)
os.register_at_fork(before=lambda: fails('before'), after_in_parent=lambda: fails('in parent'),
                    after_in_child=lambda: fails('in child'))";
    let mut command = skip_unless!(python("global", hooks, "say('body')"), "{NO_PYTHON}");
    let mut program = Program::start(command.env("PREFORK_WORKERS", "2"));
    assert_eq!(program.exit_code(), 0, "{:#?}", program.stderr.all());
    assert_eq!(program.stdout.count("body"), 2);
    for place in ["before", "in parent", "in child"] {
        assert_eq!(program.stderr.count(&format!("the reason {place}")), 2, "{:#?}", program.stderr.all());
    }
}

#[cfg(feature = "python")]
#[test]
fn where_a_fork_fails_the_hooks_for_the_parent_run_all_the_same() {
    let mut command = skip_unless!(python("global", HOOKS, ""), "{NO_PYTHON}");
    let mut program = Session::start(without_fork(command.env("PREFORK_WORKERS", "2")));
    let supervisor = format!("{} ", program.pid());
    assert_eq!(program.exit_code(), 1, "{:#?}", program.stderr.all());
    program.stderr.wait_for("cannot fork: Cannot allocate memory");
    let lines = program.stdout.all();
    assert_eq!(after(&lines, &supervisor), ["before B", "before A", "in parent A", "in parent B"], "{lines:#?}");
    program.wait_until_empty();
}

const STARTS_A_THREAD: &str = "
import threading
def start():
    threading.Thread(target=threading.Event().wait, name='refresher', daemon=True).start()
";

#[cfg(feature = "python")]
#[test]
fn a_thread_of_python_that_was_started_before_the_fork_is_refused_by_its_name() {
    for way in WAYS {
        let preload = format!("{STARTS_A_THREAD}\nstart()");
        let mut command = skip_unless!(python(way, &preload, ""), "{NO_PYTHON}");
        let mut program = Session::start(command.env("PREFORK_WORKERS", "2"));
        assert_eq!(program.exit_code(), 2, "{:#?}", program.stderr.all());
        let last = program.stderr.all().pop().expect("lines");
        for words in [
            "1 other thread is alive in this process (the Python thread \"refresher\")",
            "start Python's threads in main's body",
            "os.register_at_fork(after_in_child=...)",
            "no worker was started",
        ] {
            assert!(last.contains(words), "{way}: {words:?} is not in {last:?}");
        }
        program.wait_until_empty();
    }
}

#[cfg(feature = "python")]
#[test]
fn a_thread_that_keeps_the_gil_does_not_keep_the_refusal() {
    let preload = "
import _thread, ctypes, sys
sys.setswitchinterval(1000)
_thread.start_new_thread(ctypes.PyDLL(None).sleep, (1000,))";
    let mut command = skip_unless!(python("global", preload, ""), "{NO_PYTHON}");
    let mut program = Session::start(command.env("PREFORK_WORKERS", "2"));
    assert_eq!(program.exit_code(), 2, "{:#?}", program.stderr.all());
    program.stderr.wait_for("OPENBLAS_NUM_THREADS=1");
    program.wait_until_empty();
}

#[cfg(feature = "python")]
#[test]
fn a_thread_that_a_hook_of_python_starts_stops_the_pool_in_order_and_is_named() {
    let preload = format!("{STARTS_A_THREAD}\nos.register_at_fork(after_in_parent=lambda: start())");
    let body = "import time; say('body'); time.sleep(1000)";
    let mut command = skip_unless!(python("global", &preload, body), "{NO_PYTHON}");
    let mut program = Session::start(command.env("PREFORK_WORKERS", "2"));
    assert_ne!(program.exit_code(), 0, "{:#?}", program.stderr.all());
    program.stderr.wait_for("(the Python thread \"refresher\")");
    program.wait_until_empty();
    let preload = preload.replace("after_in_parent", "before");
    let mut command = skip_unless!(python("global", &preload, body), "{NO_PYTHON}");
    let mut program = Session::start(command.env("PREFORK_WORKERS", "2"));
    assert_ne!(program.exit_code(), 0, "{:#?}", program.stderr.all());
    program.stderr.wait_for("(the Python thread \"refresher\")");
    assert_eq!(program.stdout.count("body"), 0);
    program.wait_until_empty();
}

#[cfg(feature = "python")]
#[test]
fn what_python_prints_before_the_fork_appears_once() {
    let preload = "print('loaded'); os.register_at_fork(after_in_parent=lambda: print('forked'))";
    let mut command = skip_unless!(python("global", preload, "print('body')"), "{NO_PYTHON}");
    let mut program = Program::start(command.env("PREFORK_WORKERS", "3"));
    assert_eq!(program.exit_code(), 0, "{:#?}", program.stderr.all());
    let lines = program.stdout.all();
    assert_eq!(["loaded", "forked", "body"].map(|line| program.stdout.count(line)), [1, 3, 3], "{lines:#?}");
}

#[test]
fn workers_may_start_threads_of_python_and_end_in_order() {
    let body = "
import threading, time
thread = threading.Thread(target=lambda: say(f'thread of {task_id}'))
thread.start()
thread.join()
time.sleep(1000)";
    for way in WAYS {
        let mut command = skip_unless!(python(way, "import threading", body), "{NO_PYTHON}");
        let mut program = Session::start(command.env("PREFORK_WORKERS", "2"));
        program.stdout.wait_for("thread of 0");
        program.stdout.wait_for("thread of 1");
        send(program.wait_for_children(2)[0], Signal::SIGKILL);
        program.stdout.wait_for_nth("thread of", 3);
        program.stop();
        program.wait_until_empty();
    }
}

#[test]
fn without_an_interpreter_nothing_changes() {
    for how in ["without", "uninitialized"] {
        let mut command = skip_unless!(python(how, "", ""), "{NO_PYTHON}");
        let mut program = Program::start(command.env("PREFORK_WORKERS", "2"));
        assert_eq!(program.exit_code(), 0, "{:#?}", program.stderr.all());
        assert_eq!(program.stdout.count("body "), 2);
        assert_eq!(program.stderr.count("ython"), 0, "{:#?}", program.stderr.all());
    }
}
