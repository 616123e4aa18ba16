//! A Unix socket's file: right from its first moment, replaced only when no process has it, and removed by the supervisor
//! that made it.

mod directory;
mod file;
mod second_start;
#[path = "../support/mod.rs"]
mod support;

use std::fs::{self, File, Permissions};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::fcntl::{Flock, FlockArg};

use support::{Program, fixture, own_path, until};

const NOBODY: u32 = 65534;

/// A directory of this test's own, which goes with it.
struct Directory(PathBuf);

impl Directory {
    fn new(test: &str) -> Directory {
        let path = own_path(&format!("unix-{test}"));
        fs::create_dir(&path).expect("a directory");
        Directory(path)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("app.sock")
    }

    /// What `listen` is told.
    fn address(&self) -> String {
        format!("unix:{}", self.socket().display())
    }

    /// Where a start makes its socket.
    fn unfinished(&self) -> PathBuf {
        self.0.join(".app.sock.prefork")
    }

    /// The lock that a start takes.
    fn lock(&self) -> Flock<File> {
        if !self.unfinished().exists() {
            fs::create_dir(self.unfinished()).expect("a directory");
            fs::set_permissions(self.unfinished(), Permissions::from_mode(0o700)).expect("its mode");
        }
        lock(&self.unfinished())
    }

    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).expect("the directory");
        entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("text")).collect()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn lock(directory: &Path) -> Flock<File> {
    let opened = File::open(directory).expect("the directory");
    Flock::lock(opened, FlockArg::LockExclusive).map_err(|(_, error)| error).expect("the lock")
}

fn command(how: &str, listen: &str) -> Command {
    let mut command = fixture("listens-to-each-kind");
    command.args([how, listen]);
    command
}

fn starts(how: &str, listen: &str) -> Program {
    let program = Program::start(&mut command(how, listen));
    program.stderr.wait_for("listening on unix:");
    program
}

fn stops(mut program: Program) {
    program.stop();
}

fn ask(path: &Path) -> Option<usize> {
    let mut answer = String::new();
    UnixStream::connect(path).expect("a listener").read_to_string(&mut answer).ok()?;
    answer.trim().parse().ok()
}

fn both_answer(path: &Path) {
    let mut answered = [false; 2];
    until("both workers have answered", || {
        answered[ask(path)?] = true;
        (answered == [true; 2]).then_some(())
    });
}

fn inode(path: &Path) -> u64 {
    fs::symlink_metadata(path).expect("a file").ino()
}

/// A file that no process listens on any more.
fn stale(directory: &Directory) -> u64 {
    drop(UnixListener::bind(directory.socket()).expect("a socket"));
    inode(&directory.socket())
}

/// The last line of a program that was refused with this status, which forked nothing.
fn refusal(command: &mut Command, code: i32) -> String {
    let mut program = Program::start(command);
    assert_eq!(program.exit_code(), code, "{:#?}", program.stderr.all());
    assert_eq!(program.stdout.all(), [""; 0]);
    program.stderr.all().pop().expect("a line")
}
