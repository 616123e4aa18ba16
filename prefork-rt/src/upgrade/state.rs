//! What one binary hands to the next, and how it is written.
//!
//! The number of the format changes with any change of the structures below, or of those they are made of: a binary
//! that reads another format says so when it is rehearsed, and nothing has changed.

use std::path::PathBuf;
use std::time::Duration;

use super::words::{self, words_of_fields};
use crate::notify::Told;
use crate::policy::Kept;

/// The first line is this and a number.
const TITLE: &str = "prefork upgrade, format ";
const FORMAT: u32 = 1;
/// What a rehearsal adds when all is well.
const REHEARSED: &str = "rehearsed";

/// Descriptors are numbers, which stay the same. Times are those of CLOCK_MONOTONIC.
pub(crate) struct State {
    pub(crate) supervisor: i32,
    /// Why the new binary has failed, where this is for the one before.
    pub(crate) back: Option<String>,
    /// What the program is called.
    pub(crate) name: String,
    pub(crate) directory: PathBuf,
    pub(crate) clock: Clock,
    pub(crate) signals: Signals,
    /// What the service manager was told, where there is one.
    pub(crate) manager: Option<Told>,
    pub(crate) board: Board,
    pub(crate) bell: (i32, i32),
    pub(crate) sockets: Vec<Socket>,
    pub(crate) files: Vec<File>,
    pub(crate) before: Option<Before>,
    pub(crate) processes: Vec<Process>,
    pub(crate) pool: Kept,
}

/// The time by which the policy goes.
pub(crate) struct Clock {
    pub(crate) started: Duration,
    pub(crate) suspended: Duration,
}

/// What exec(2) does not keep as it was.
pub(crate) struct Signals {
    pub(crate) blocked: Vec<i32>,
    pub(crate) ignored: Vec<i32>,
    pub(crate) child_ignored: bool,
    pub(crate) hangups_ignored: bool,
}

/// The scoreboard's memory.
pub(crate) struct Board {
    pub(crate) file: i32,
    pub(crate) capacity: usize,
    pub(crate) started: Duration,
}

/// A socket that is listened on.
pub(crate) struct Socket {
    /// The entry of `listen`.
    pub(crate) entry: String,
    /// Whose it is, where each slot has its own.
    pub(crate) slot: Option<usize>,
    /// What it is called in a service manager's store, if it is there.
    pub(crate) stored: Option<String>,
    /// Under which name and number the process was started with it, if it was.
    pub(crate) inherited: Option<(String, usize)>,
    /// The mode that the workers know, which the binary before has again if it comes back.
    pub(crate) nonblocking: bool,
    pub(crate) descriptor: i32,
}

/// The file of a Unix socket, to be removed at the end.
pub(crate) struct File {
    pub(crate) path: PathBuf,
    pub(crate) device: u64,
    pub(crate) inode: u64,
}

/// The binary that ran before the one that is on probation, and its working directory.
pub(crate) struct Before {
    pub(crate) binary: i32,
    pub(crate) directory: i32,
}

/// A worker's process.
pub(crate) struct Process {
    pub(crate) task_id: usize,
    pub(crate) fork: u64,
    pub(crate) pid: i32,
    pub(crate) seat: usize,
    /// Since the scoreboard was made.
    pub(crate) started: Duration,
    pub(crate) killed: bool,
}

words_of_fields!(State {
    supervisor,
    back,
    name,
    directory,
    clock,
    signals,
    manager,
    board,
    bell,
    sockets,
    files,
    before,
    processes,
    pool,
});
words_of_fields!(Clock { started, suspended });
words_of_fields!(Signals { blocked, ignored, child_ignored, hangups_ignored });
words_of_fields!(Board { file, capacity, started });
words_of_fields!(Socket { entry, slot, stored, inherited, nonblocking, descriptor });
words_of_fields!(File { path, device, inode });
words_of_fields!(Before { binary, directory });
words_of_fields!(Process { task_id, fork, pid, seat, started, killed });

/// How a text is no state that can be used.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// It is something else.
    Foreign,
    /// It is of another format, or broken.
    Format,
}

impl State {
    pub(super) fn to_text(&self) -> String {
        format!("{TITLE}{FORMAT}\n{}\n", words::written(self))
    }

    pub(super) fn from_text(text: &str) -> Result<State, Unreadable> {
        let (format, rest) =
            text.strip_prefix(TITLE).and_then(|text| text.split_once('\n')).ok_or(Unreadable::Foreign)?;
        let line = rest.split_once('\n').filter(|_| format == FORMAT.to_string()).map(|(line, _)| line);
        line.and_then(words::read).ok_or(Unreadable::Format)
    }

    /// Every descriptor that is handed over.
    pub(super) fn descriptors(&self) -> Vec<i32> {
        let sockets = self.sockets.iter().map(|socket| socket.descriptor);
        let before = self.before.iter().flat_map(|before| [before.binary, before.directory]);
        let to_be_stored = self.manager.iter().flat_map(Told::descriptors);
        sockets.chain(before).chain(to_be_stored).chain([self.board.file, self.bell.0, self.bell.1]).collect()
    }
}

/// What a rehearsal writes behind the state.
pub(super) fn signature() -> String {
    format!("{REHEARSED} by prefork-rt {}\n", env!("CARGO_PKG_VERSION"))
}

pub(super) fn is_signed(text: &str) -> bool {
    text.lines().nth(2).is_some_and(|line| line.starts_with(REHEARSED))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_state_is_told_from_a_state_of_another_format() {
        let why = |text: &str| State::from_text(text).map(drop).unwrap_err();
        for foreign in ["", "x", TITLE, "prefork upgrade, format 1"] {
            assert_eq!(why(foreign), Unreadable::Foreign, "{foreign}");
        }
        for other in ["2\nwords\n", "1\nwords\n", "1\n", "one\n\n"] {
            assert_eq!(why(&format!("{TITLE}{other}")), Unreadable::Format, "{other}");
        }
    }

    #[test]
    fn a_signature_is_the_third_line() {
        assert!(is_signed(&format!("title\nwords\n{}", signature())));
        assert!(!is_signed("title\nwords\n") && !is_signed(&signature()));
    }
}
