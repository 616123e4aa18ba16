//! Becoming another binary, in place: the next one, or the previous one again.
//!
//! It must not know which one it is, nor why.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use super::launch::Launch;
use super::state::{self, State, VARIABLE};
use crate::sys;

/// A binary and its working directory, kept so that it can run again if the next one fails.
pub(crate) struct Previous {
    pub(crate) binary: OwnedFd,
    pub(crate) directory: OwnedFd,
}

impl Previous {
    /// This binary, for the next one.
    pub(crate) fn this() -> io::Result<Previous> {
        Ok(Previous { binary: sys::own_binary()?, directory: sys::open_for_its_place(Path::new("."))? })
    }

    pub(crate) fn numbers(&self) -> state::Previous {
        state::Previous { binary: self.binary.as_raw_fd(), directory: self.directory.as_raw_fd() }
    }
}

/// Becomes the binary at this path. Returns the reason if that fails, and then nothing has changed.
pub(crate) fn become_next(launch: &Launch, binary: &Path, state: &State, descriptors: &[BorrowedFd<'_>]) -> String {
    let here = match sys::open_for_its_place(Path::new(".")) {
        Ok(here) => here,
        Err(error) => return format!("the working directory cannot be kept: {error}"),
    };
    let error = hand_off(launch, state, descriptors, &|variables| match std::env::set_current_dir(&launch.directory) {
        Ok(()) => sys::exec(binary, &launch.arguments, variables),
        Err(error) => io::Error::new(error.kind(), format!("{}: {error}", launch.directory.display())),
    });
    // Back to this binary's directory. If it cannot be reached any more, that harms relative paths only.
    let _ = sys::change_directory(here.as_fd());
    format!("{} cannot be run: {error}", binary.display())
}

/// Becomes the previous binary again. Returns the reason if that fails.
pub(crate) fn become_previous(
    launch: &Launch,
    previous: &Previous,
    state: &State,
    descriptors: &[BorrowedFd<'_>],
) -> String {
    let error = hand_off(launch, state, descriptors, &|variables| {
        // If its directory is gone, it runs in the directory of this binary.
        let _ = sys::change_directory(previous.directory.as_fd());
        sys::exec_open(previous.binary.as_fd(), &launch.arguments, variables)
    });
    format!("it cannot be run: {error}")
}

/// Writes the state for the other binary, and executes it with the descriptors and the variable that says where the
/// state is.
fn hand_off(
    launch: &Launch,
    state: &State,
    descriptors: &[BorrowedFd<'_>],
    exec: &dyn Fn(sys::Variables<'_>) -> io::Error,
) -> io::Error {
    let file = match write(state) {
        Ok(file) => file,
        Err(error) => return error,
    };
    let mut all = descriptors.to_vec();
    all.push(file.as_fd());
    let error = match all.iter().try_for_each(|&descriptor| sys::stay_open_on_exec(descriptor, true)) {
        Ok(()) => exec(&variables(launch, &file)),
        Err(error) => error,
    };
    for descriptor in all {
        // A descriptor that is open takes the flag.
        let _ = sys::stay_open_on_exec(descriptor, false);
    }
    error
}

pub(super) fn write(state: &State) -> io::Result<File> {
    let mut file = sys::scratch_file("prefork-upgrade")?;
    file.write_all(state.to_text().as_bytes())?;
    Ok(file)
}

fn variables(launch: &Launch, state: &File) -> Vec<(OsString, OsString)> {
    let number = state.as_raw_fd().to_string();
    let mut variables = launch.variables.clone();
    variables.push((VARIABLE.into(), number.into()));
    variables
}
