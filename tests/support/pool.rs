//! A pool whose workers do what files say.

use std::fs::{self, Permissions};
use std::ops::{Deref, DerefMut};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::session::Session;
use super::{Signal, own_path, until};

/// One of the fixtures `reloads…`, and the files that its workers obey.
pub struct Pool {
    program: Session,
    files: Files,
}

/// A directory that ends with its owner.
pub struct Files(PathBuf);

/// What a worker said when it started.
#[derive(Debug, PartialEq, Eq)]
pub struct Start {
    pub task_id: usize,
    pub pid: i32,
    pub restarts: usize,
    pub workers: usize,
    pub configuration: String,
}

impl Pool {
    pub fn start(command: Command) -> Pool {
        Pool::start_with(command, &[])
    }

    /// With these files from the start. Where the command does not say how long workers may take to stop, that is longer than
    /// any test takes.
    pub fn start_with(mut command: Command, files: &[(&str, &str)]) -> Pool {
        let files = Files::with(files);
        if command.get_envs().all(|(name, _)| name != "PREFORK_GRACEFUL_TIMEOUT") {
            command.env("PREFORK_GRACEFUL_TIMEOUT", "1h");
        }
        let program = Session::start(files.name_in(&mut command));
        Pool { program, files }
    }

    /// As a user that no other process has. `None` where others may not run what was built here.
    pub fn start_as_a_user_of_its_own(mut command: Command) -> Option<Pool> {
        let files = Files::with(&[]);
        let program = Session::start_as_a_user_of_its_own(files.name_in(&mut command), Stdio::piped())?;
        Some(Pool { program, files })
    }

    pub fn wait_until_ready(&self) {
        self.stderr.wait_for("ready after");
    }

    /// From now on, workers do this at that step: `boot` or `stop`, or `boot-2` for one task id.
    pub fn tell(&self, step: &str, what: &str) {
        self.files.write(step, what);
    }

    pub fn tell_no_more(&self, step: &str) {
        fs::remove_file(self.files.0.join(step)).expect("a file");
    }

    pub fn reload(&self) {
        self.signal(Signal::SIGHUP);
    }

    /// All that started so far.
    pub fn starts(&self) -> Vec<Start> {
        self.stdout.all().iter().filter_map(|line| Start::read(line)).collect()
    }

    /// Waits until `count` workers have started.
    pub fn wait_for_starts(&self, count: usize) -> Vec<Start> {
        self.stdout.wait_for_nth(" starts, restart ", count);
        self.starts()
    }

    /// Waits for this start of a task id.
    pub fn wait_for_start(&self, task_id: usize, restarts: usize) -> Start {
        let is_it = |start: &Start| start.task_id == task_id && start.restarts == restarts;
        until(&format!("start {restarts} of {task_id}"), || self.starts().into_iter().find(is_it))
    }

    /// How often each task id was started again.
    pub fn restarts(&self) -> Vec<usize> {
        let starts = self.starts();
        let of = |task_id| starts.iter().filter(|start| start.task_id == task_id).map(|start| start.restarts).max();
        (0..).map_while(of).collect()
    }

    /// SIGTERM, and a stop in order.
    pub fn stop(&mut self) {
        self.program.stop();
        self.wait_until_empty();
    }
}

impl Start {
    fn read(line: &str) -> Option<Start> {
        let (head, rest) = line.strip_prefix("task ")?.split_once(" starts, restart ")?;
        let (task_id, pid) = head.split_once(" pid ")?;
        let (restarts, rest) = rest.split_once(", of ")?;
        let (workers, configuration) = rest.split_once(", ")?;
        Some(Start {
            task_id: task_id.parse().ok()?,
            pid: pid.parse().ok()?,
            restarts: restarts.parse().ok()?,
            workers: workers.parse().ok()?,
            configuration: configuration.to_owned(),
        })
    }
}

impl Deref for Pool {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.program
    }
}

impl DerefMut for Pool {
    fn deref_mut(&mut self) -> &mut Session {
        &mut self.program
    }
}

impl Files {
    pub fn with(files: &[(&str, &str)]) -> Files {
        let path = own_path("files");
        fs::create_dir(&path).expect("a directory");
        // For whatever user the workers are.
        fs::set_permissions(&path, Permissions::from_mode(0o777)).expect("its owner may");
        let new = Files(path);
        files.iter().for_each(|(name, text)| new.write(name, text));
        new
    }

    pub fn name_in<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env("FILES", &self.0)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The names of all that is there.
    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).expect("a directory");
        let name = |entry: std::io::Result<fs::DirEntry>| entry.expect("an entry").file_name().into_string();
        entries.map(|entry| name(entry).expect("text")).collect()
    }

    /// Waits until the file has a line that contains this, and returns it.
    pub fn wait_for(&self, name: &str, part: &str) -> String {
        self.wait_for_nth(name, part, 1)
    }

    /// Waits until `nth` lines contain this, and returns the last of them.
    pub fn wait_for_nth(&self, name: &str, part: &str, nth: usize) -> String {
        until(&format!("{nth} x {part:?} in {name}"), || {
            self.lines(name).into_iter().filter(|line| line.contains(part)).nth(nth - 1)
        })
    }

    /// How many lines of the file contain this.
    pub fn count(&self, name: &str, part: &str) -> usize {
        self.lines(name).iter().filter(|line| line.contains(part)).count()
    }

    pub fn lines(&self, name: &str) -> Vec<String> {
        let text = fs::read(self.0.join(name)).unwrap_or_default();
        String::from_utf8_lossy(&text).lines().map(str::to_owned).collect()
    }

    pub fn write(&self, name: &str, text: &str) {
        // Whole or not at all.
        let unfinished = self.0.join(format!("{name}.new"));
        fs::write(&unfinished, text).expect("a file");
        fs::rename(unfinished, self.0.join(name)).expect("a file");
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
