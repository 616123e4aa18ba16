//! How the supervisor becomes another binary in place, and the way back: which file that is, its rehearsal, and what it
//! is handed.
//!
//! It must not know when any of this is wise: the policy says so.

mod launch;
mod received;
mod rehearsal;
mod replaceable;
pub(crate) mod state;

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::sys;
use state::State;

pub(crate) use launch::Launch;
pub(crate) use received::{Received, go_back_or, or_back, receive, received, say_rehearsed};
pub(crate) use rehearsal::Rehearsal;
pub(crate) use replaceable::{Workers, check as check_place};

/// Under which descriptor a binary finds what it was handed.
pub(crate) const VARIABLE: &str = "PREFORK_UPGRADE";

/// The binary that ran here before, and the directory it ran in, to be there again if the new one fails.
pub(crate) struct Before {
    pub(crate) binary: OwnedFd,
    pub(crate) directory: OwnedFd,
}

impl Before {
    /// This one, for the next.
    pub(crate) fn this() -> io::Result<Before> {
        Ok(Before { binary: sys::own_binary()?, directory: sys::open_for_its_place(Path::new("."))? })
    }

    pub(crate) fn numbers(&self) -> state::Before {
        state::Before { binary: self.binary.as_raw_fd(), directory: self.directory.as_raw_fd() }
    }
}

/// A binary that was rehearsed.
pub(crate) struct Next {
    pub(crate) binary: PathBuf,
    /// Which file it was, and when it was written.
    file: Option<(u64, u64, i64, i64)>,
}

impl Next {
    fn at(binary: PathBuf) -> Next {
        let file = fs::metadata(&binary).ok();
        let file = file.map(|file| (file.dev(), file.ino(), file.mtime(), file.mtime_nsec()));
        Next { binary, file }
    }

    /// Nothing else came into its place.
    pub(crate) fn check(&self) -> Result<(), String> {
        if Next::at(self.binary.clone()).file == self.file {
            return Ok(());
        }
        Err(format!(
            "{} is another than the one that was rehearsed: send SIGUSR2 again to rehearse it",
            self.binary.display()
        ))
    }
}

/// Becomes the binary of this path. Returns only when that fails, and then nothing has changed.
pub(crate) fn become_next(launch: &Launch, binary: &Path, state: &State, descriptors: &[BorrowedFd<'_>]) -> String {
    let here = match sys::open_for_its_place(Path::new(".")) {
        Ok(here) => here,
        Err(error) => return format!("the working directory cannot be kept: {error}"),
    };
    let error = hand_over(launch, state, descriptors, |variables| match std::env::set_current_dir(&launch.directory) {
        Ok(()) => sys::exec(binary, &launch.arguments, variables),
        Err(error) => io::Error::new(error.kind(), format!("{}: {error}", launch.directory.display())),
    });
    // Where this binary ran before; that it cannot be reached any more harms relative paths alone.
    let _ = sys::change_directory(here.as_fd());
    format!("{} cannot be run: {error}", binary.display())
}

/// Becomes the binary before again. Returns only when that fails.
pub(crate) fn become_before(launch: &Launch, before: &Before, state: &State, descriptors: &[BorrowedFd<'_>]) -> String {
    let error = hand_over(launch, state, descriptors, |variables| {
        // Where it is gone, the binary goes on where this one is.
        let _ = sys::change_directory(before.directory.as_fd());
        sys::exec_open(before.binary.as_fd(), &launch.arguments, variables)
    });
    format!("it cannot be run: {error}")
}

/// The state for another program, and what it is started with to find it.
fn hand_over(
    launch: &Launch,
    state: &State,
    descriptors: &[BorrowedFd<'_>],
    exec: impl FnOnce(sys::Variables<'_>) -> io::Error,
) -> io::Error {
    let file = match write(state) {
        Ok(file) => file,
        Err(error) => return error,
    };
    let all = || descriptors.iter().copied().chain([file.as_fd()]);
    let error = match all().try_for_each(|descriptor| sys::stay_open_on_exec(descriptor, true)) {
        Ok(()) => exec(&variables(launch, &file)),
        Err(error) => error,
    };
    for descriptor in all() {
        // A descriptor that is open takes the flag.
        let _ = sys::stay_open_on_exec(descriptor, false);
    }
    error
}

fn write(state: &State) -> io::Result<File> {
    let mut file = sys::scratch_file("prefork-upgrade")?;
    file.write_all(state.to_text().as_bytes())?;
    Ok(file)
}

fn variables(launch: &Launch, state: &File) -> Vec<(OsString, OsString)> {
    let number = state.as_raw_fd().to_string();
    launch.variables.iter().cloned().chain([(VARIABLE.into(), number.into())]).collect()
}

/// The file that is the program's next binary. With workers that have less rights than the supervisor, an error where they
/// may put another file in its place.
pub(crate) fn next_binary(launch: &Launch, workers: Option<&Workers>) -> Result<PathBuf, String> {
    workers.map_or(Ok(()), |workers| check_place(launch, workers))?;
    launch.binary()
}
