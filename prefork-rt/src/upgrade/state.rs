//! The state that one binary hands off to the next, and how it is written.
//!
//! The supervisor fills it (`supervisor/succession.rs`), `exec.rs` writes it to a file that the next binary inherits.
//!
//! The number of the format is computed from the shape of the structures below, and of the memory and the wake pipe
//! that the workers of the previous binary go on using. A binary of another shape says so when it is rehearsed, and
//! nothing has changed.

use std::path::PathBuf;
use std::time::Duration;

use crate::codec::{self, Number, Words, words_of_fields};
use crate::notify::Told;
use crate::policy::Snapshot;
use crate::scoreboard;
use crate::sys;

/// The variable that says under which descriptor a binary finds the state.
pub(crate) const VARIABLE: &str = "PREFORK_UPGRADE";
/// The beginning of the first line, before the number of the format.
const TITLE: &str = "prefork upgrade, format ";
/// The beginning of the signature that a rehearsal writes behind the state when it succeeds.
const REHEARSED: &str = "rehearsed";

/// Everything that the next binary must know. Descriptors are numbers, which exec(2) keeps. Times are those of
/// CLOCK_MONOTONIC.
pub(crate) struct State {
    pub(crate) supervisor: i32,
    /// On the way back to the previous binary: why the new one has failed.
    pub(crate) back: Option<String>,
    /// The name of the program's process.
    pub(crate) name: String,
    pub(crate) directory: PathBuf,
    pub(crate) clock: Clock,
    pub(crate) signals: Signals,
    /// The messages that the service manager got or still needs, if there is one.
    pub(crate) manager: Option<Told>,
    pub(crate) board: Board,
    pub(crate) wake_pipe: (i32, i32),
    pub(crate) sockets: Vec<Socket>,
    pub(crate) files: Vec<File>,
    pub(crate) previous: Option<Previous>,
    pub(crate) processes: Vec<Process>,
    pub(crate) pool: Snapshot,
}

/// The clock of the policy.
pub(crate) struct Clock {
    pub(crate) started: Duration,
    pub(crate) suspended: Duration,
}

/// The signals that this binary has changed, and that exec(2) does not restore.
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

/// A socket on which the pool listens.
pub(crate) struct Socket {
    /// The entry of `listen`.
    pub(crate) entry: String,
    /// The slot that it belongs to, where each slot has a socket of its own.
    pub(crate) slot: Option<usize>,
    /// Its name in a service manager's descriptor store, if it is there.
    pub(crate) stored: Option<String>,
    /// The name and number under which this process was started with it, if it was.
    pub(crate) inherited: Option<(String, usize)>,
    /// The mode that the workers expect. The previous binary restores it if it comes back.
    pub(crate) nonblocking: bool,
    pub(crate) descriptor: i32,
}

/// The file of a Unix socket, which is removed at the end.
pub(crate) struct File {
    pub(crate) path: PathBuf,
    pub(crate) device: u64,
    pub(crate) inode: u64,
}

/// The binary that comes back if the next one fails, and its working directory.
pub(crate) struct Previous {
    pub(crate) binary: i32,
    pub(crate) directory: i32,
}

/// A worker's process.
pub(crate) struct Process {
    pub(crate) task_id: usize,
    pub(crate) fork: u64,
    pub(crate) pid: i32,
    pub(crate) seat: usize,
    /// The time since the scoreboard was made.
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
    wake_pipe,
    sockets,
    files,
    previous,
    processes,
    pool,
});
words_of_fields!(Clock { started, suspended });
words_of_fields!(Signals { blocked, ignored, child_ignored, hangups_ignored });
words_of_fields!(Board { file, capacity, started });
words_of_fields!(Socket { entry, slot, stored, inherited, nonblocking, descriptor });
words_of_fields!(File { path, device, inode });
words_of_fields!(Previous { binary, directory });
words_of_fields!(Process { task_id, fork, pid, seat, started, killed });

/// Why a text is no state that this binary can use.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// It is no state.
    Foreign,
    /// It has another format, which has this number.
    Format(String),
    /// It has this format, and is broken.
    Broken,
}

/// The number of the format: that of the shape of everything that two binaries must share for one to take over from the other.
pub(super) fn format() -> String {
    const STRUCTURES: Number = Number::OF_NOTHING.then(REHEARSED).then(";").then_shape(State::SHAPE);
    let all = STRUCTURES.then(";").then(&scoreboard::shape()).then(";").then(&sys::wake_pipe_shape());
    format!("{:016x}", all.0)
}

impl State {
    pub(super) fn to_text(&self) -> String {
        format!("{TITLE}{}\n{}\n", format(), codec::written(self))
    }

    pub(super) fn from_text(text: &str) -> Result<State, Unreadable> {
        let (other, rest) =
            text.strip_prefix(TITLE).and_then(|text| text.split_once('\n')).ok_or(Unreadable::Foreign)?;
        if other != format() {
            return Err(Unreadable::Format(other.to_owned()));
        }
        rest.split_once('\n').and_then(|(line, _)| codec::read(line)).ok_or(Unreadable::Broken)
    }

    /// Every descriptor in the state.
    pub(super) fn descriptors(&self) -> Vec<i32> {
        let mut descriptors = vec![self.board.file, self.wake_pipe.0, self.wake_pipe.1];
        for socket in &self.sockets {
            descriptors.push(socket.descriptor);
        }
        if let Some(previous) = &self.previous {
            descriptors.push(previous.binary);
            descriptors.push(previous.directory);
        }
        if let Some(manager) = &self.manager {
            descriptors.extend(manager.descriptors());
        }
        descriptors
    }
}

/// The line that a rehearsal writes behind the state.
pub(super) fn signature() -> String {
    format!("{REHEARSED} by prefork-rt {}\n", env!("CARGO_PKG_VERSION"))
}

/// Whether the text behind the state is a signature.
pub(super) fn is_signature(text: &str) -> bool {
    text.starts_with(REHEARSED)
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
        for other in ["1", "one", "", "cbf29ce484222325"] {
            assert_eq!(why(&format!("{TITLE}{other}\nwords\n")), Unreadable::Format(other.to_owned()));
        }
        for broken in ["", "words", "\n", "words\n"] {
            assert_eq!(why(&format!("{TITLE}{}\n{broken}", format())), Unreadable::Broken, "{broken}");
        }
    }

    #[test]
    fn the_shape_is_that_of_the_whole_handoff_and_of_what_old_workers_go_on_using() {
        let shape = [REHEARSED, &State::SHAPE.to_string(), &scoreboard::shape(), &sys::wake_pipe_shape()].join(";");
        assert_eq!(format(), format!("{:016x}", Number::OF_NOTHING.then(&shape).0));
        for part in [
            "State{supervisor:i32*4,",
            "clock:Clock{started:Duration=",
            "sockets:Vec<Socket{entry:String=",
            "slots:Vec<Slot{current:Option<Proc{id:ProcId{task_id:usize*",
            "Memory:{used:u64*8,max_memory:u64*8}",
            "phase:Phase{Starting:{},",
            "seat{REPORTED,HEARTBEAT,TERMINATED_AT,CONNECTIONS}",
            "wake pipe{u32*4}",
        ] {
            assert!(shape.contains(part), "{part} is not in {shape}");
        }
    }

    #[test]
    fn a_signature_is_told_from_anything_else() {
        assert!(is_signature(&signature()));
        assert!(!is_signature("") && !is_signature("title\nwords\n") && !is_signature("rehearse"));
    }
}
