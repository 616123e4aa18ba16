//! Runs a program under test, reads its lines, signals it, and leaves no process behind.
//!
//! Every wait is for a condition and has a deadline: on a loaded machine a test is slow, not wrong.
#![allow(dead_code, reason = "every test file compiles its own copy and uses its own part")]

use std::ffi::OsStr;
use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::iter;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

pub use nix::sys::signal::Signal;
use nix::sys::signal::kill;
use nix::unistd::Pid;

pub mod activation;
pub mod before_exec;
pub mod http;
pub mod lives;
pub mod manager;
pub mod more_rights;
pub mod pid_1;
pub mod pids_cgroup;
pub mod pool;
pub mod release;
pub mod session;
pub mod terminal;
pub mod upgrading;
pub mod wear;

/// How long a condition may take on a machine that does other things too.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Stories that have a program of their own.
const PROGRAMS: [(&str, &str); 4] = [
    ("attribute", env!("CARGO_BIN_EXE_attribute")),
    ("builder", env!("CARGO_BIN_EXE_builder")),
    ("serving", env!("CARGO_BIN_EXE_serving")),
    ("upgrades", env!("CARGO_BIN_EXE_upgrades")),
];

/// The command that runs this story of `tests/fixtures`.
pub fn fixture(story: &str) -> Command {
    match PROGRAMS.iter().find(|(name, _)| *name == story) {
        Some((_, path)) => clean_command(path),
        None => {
            let mut command = clean_command(env!("CARGO_BIN_EXE_fixture"));
            command.arg(story);
            command
        }
    }
}

/// A command's program and its arguments, for another program that is to run it.
pub fn words(command: &Command) -> impl Iterator<Item = &OsStr> {
    iter::once(command.get_program()).chain(command.get_args())
}

/// A command as a line for a shell, which sees no special character in it.
pub fn line(command: &Command) -> String {
    words(command).map(|word| word.to_str().expect("text")).collect::<Vec<_>>().join(" ")
}

/// The command that runs the program at this path, with the environment of a shell that knows nothing of prefork and is no
/// service, and signals as a program in the foreground has them, however the tests themselves were started.
pub fn clean_command(path: &str) -> Command {
    let mut command = Command::new(path);
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if ["PREFORK", "NOTIFY_SOCKET", "WATCHDOG_", "LISTEN_", "FDSTORE", "JOURNAL_STREAM"]
            .iter()
            .any(|prefix| name.starts_with(prefix))
        {
            command.env_remove(&*name);
        }
    }
    before_exec::at_default(command.stdin(Stdio::null()));
    command
}

/// A program that runs, with everything it has printed so far.
pub struct Program {
    child: Child,
    pub stdout: Lines,
    pub stderr: Lines,
}

impl Program {
    pub fn start(command: &mut Command) -> Program {
        Program::start_with_stderr(command, Stdio::piped())
    }

    /// Starts a program whose standard error the test provides.
    pub fn start_with_stderr(command: &mut Command, stderr: Stdio) -> Program {
        Program::try_start(command, stderr).expect("the program starts")
    }

    /// Starts a program that the system may refuse.
    pub fn try_start(command: &mut Command, stderr: Stdio) -> io::Result<Program> {
        command.stdout(Stdio::piped()).stderr(stderr);
        // A program that was just copied is still open for writing in a process that another test forked meanwhile, until
        // that one becomes its own program.
        let mut child = until("no process writes to the program", || match command.spawn() {
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => None,
            result => Some(result),
        })?;
        // The command would keep the other end of a pipe open.
        command.stderr(Stdio::null());
        let stdout = Lines::read(child.stdout.take().expect("piped"));
        let stderr = child.stderr.take().map_or_else(|| Lines::read(io::empty()), Lines::read);
        Ok(Program { child, stdout, stderr })
    }

    pub fn pid(&self) -> i32 {
        self.child.id().try_into().expect("a process id")
    }

    /// Its live children: the workers, where it is a supervisor.
    pub fn children(&self) -> Vec<i32> {
        children_of(self.pid())
    }

    /// Waits until it has `count` children, and returns them.
    pub fn wait_for_children(&self, count: usize) -> Vec<i32> {
        until(&format!("{count} children"), || Some(self.children()).filter(|children| children.len() == count))
    }

    pub fn signal(&self, signal: Signal) {
        send(self.pid(), signal);
    }

    /// SIGTERM, and an end in order.
    pub fn stop(&mut self) {
        self.signal(Signal::SIGTERM);
        assert_eq!(self.exit_code(), 0, "{:#?}", self.stderr.all());
    }

    /// Waits until it ends.
    pub fn wait(&mut self) -> ExitStatus {
        let status = until("the program ends", || self.child.try_wait().expect("it is our child"));
        self.stdout.finish();
        self.stderr.finish();
        status
    }

    /// Waits for the exit status; it is 128 + the signal's number where a signal killed the program, as in a shell.
    pub fn exit_code(&mut self) -> i32 {
        let status = self.wait();
        status.code().unwrap_or_else(|| 128 + status.signal().expect("exited or killed"))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let workers = self.children();
        let _ = self.child.kill();
        let _ = self.child.wait();
        for worker in workers {
            let _ = kill(Pid::from_raw(worker), Signal::SIGKILL);
        }
    }
}

/// Lines that arrive while one waits for them.
#[derive(Clone)]
pub struct Lines(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    lines: Vec<String>,
    finished: bool,
}

impl Lines {
    pub fn read(from: impl Read + Send + 'static) -> Lines {
        let shared = Arc::new(Shared { state: Mutex::default(), changed: Condvar::new() });
        let lines = Lines(Arc::clone(&shared));
        thread::spawn(move || {
            let mut from = BufReader::new(from);
            let mut line = Vec::new();
            while from.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
                let text = String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned();
                line.clear();
                shared.state.lock().unwrap().lines.push(text);
                shared.changed.notify_all();
            }
            shared.state.lock().unwrap().finished = true;
            shared.changed.notify_all();
        });
        lines
    }

    /// Everything so far.
    pub fn all(&self) -> Vec<String> {
        self.0.state.lock().unwrap().lines.clone()
    }

    /// How many lines so far contain this.
    pub fn count(&self, part: &str) -> usize {
        self.all().iter().filter(|line| line.contains(part)).count()
    }

    /// Waits for the first line that contains this.
    pub fn wait_for(&self, part: &str) -> String {
        self.wait_for_nth(part, 1)
    }

    /// Waits until `nth` lines contain this, and returns the last of them.
    pub fn wait_for_nth(&self, part: &str, nth: usize) -> String {
        let start = Instant::now();
        let mut state = self.0.state.lock().unwrap();
        loop {
            if let Some(line) = state.lines.iter().filter(|line| line.contains(part)).nth(nth - 1) {
                return line.clone();
            }
            let left = DEADLINE.saturating_sub(start.elapsed());
            assert!(!left.is_zero() && !state.finished, "no line {nth} with {part:?} in {:#?}", state.lines);
            state = self.0.changed.wait_timeout(state, left).unwrap().0;
        }
    }

    /// Waits until no process can write any more.
    pub fn finish(&self) {
        until("the output ends", || self.0.state.lock().unwrap().finished.then_some(()));
    }
}

/// A path for a test's own files, where nothing is yet: not of a test that was killed and had the same process id, nor of
/// another user's.
pub fn own_path(name: &str) -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let next = || {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        std::env::temp_dir().join(format!("prefork-{name}-{}-{number}", std::process::id()))
    };
    until("a free path", || Some(next()).filter(|path| path.symlink_metadata().is_err()))
}

/// Waits until the condition gives a value.
pub fn until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(start.elapsed() < DEADLINE, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Sets what other threads look at when it is dropped: they end with a test that fails, too.
pub struct SetAtEnd<'a>(pub &'a AtomicBool);

impl Drop for SetAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

pub fn send(pid: i32, signal: Signal) {
    kill(Pid::from_raw(pid), signal).unwrap_or_else(|error| panic!("{signal} to {pid}: {error}"));
}

/// Whether there is such a process, a zombie not counted.
pub fn is_alive(pid: i32) -> bool {
    state_of(pid).is_some_and(|state| state != 'Z' && state != 'X')
}

pub fn wait_until_gone(pids: &[i32]) {
    until(&format!("{pids:?} are gone"), || pids.iter().all(|&pid| !is_alive(pid)).then_some(()));
}

/// R, S, D, T, Z…
pub fn state_of(pid: i32) -> Option<char> {
    stat_of(pid)?.first()?.chars().next()
}

pub fn children_of(parent: i32) -> Vec<i32> {
    alive_with(1, parent)
}

fn all_processes() -> impl Iterator<Item = i32> {
    fs::read_dir("/proc").expect("/proc").filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// Who is alive and has this number in this field of [`stat_of`].
fn alive_with(field: usize, number: i32) -> Vec<i32> {
    all_processes()
        .filter(|&pid| is_alive(pid) && stat_of(pid).is_some_and(|stat| stat[field] == number.to_string()))
        .collect()
}

/// Ends a test that cannot be made here, and says why.
#[macro_export]
macro_rules! skip {
    ($($reason:tt)+) => {{
        eprintln!("skipped: {}", format_args!($($reason)+));
        return;
    }};
}

/// The value, or the end of a test that cannot be made here.
#[macro_export]
macro_rules! skip_unless {
    ($value:expr, $($reason:tt)+) => {
        match $value {
            Some(value) => value,
            None => $crate::skip!($($reason)+),
        }
    };
}

/// Numbers that differ from run to run and look random: for moments.
pub fn moments() -> impl Iterator<Item = u64> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    let mut state = now.as_nanos() as u64 | 1;
    iter::repeat_with(move || {
        // Xorshift64.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    })
}

/// The numbers of its open descriptors.
pub fn descriptors_of(pid: i32) -> Vec<String> {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).expect("/proc");
    let mut numbers: Vec<String> =
        open.map(|entry| entry.expect("/proc").file_name().into_string().expect("a number")).collect();
    numbers.sort();
    numbers
}

/// A line of /proc/PID/status, without its name.
pub fn status_of(pid: i32, name: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process is there");
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).expect("a field of status");
    line.trim().to_owned()
}

/// /proc/PID/stat from the state on: what stands before it may contain anything.
pub(crate) fn stat_of(pid: i32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after_name) = stat.rsplit_once(") ")?;
    Some(after_name.split(' ').map(str::to_owned).collect())
}
