//! The next binary: which file it is, and whether it is still the file that was rehearsed.
//!
//! It must not know how it is rehearsed or run.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use super::launch::Launch;
use super::replaceable::{Workers, check};

/// The path of the program's next binary. An error if workers that have fewer rights than the supervisor may put
/// another file in its place.
pub(crate) fn next_binary(launch: &Launch, workers: Option<&Workers>) -> Result<PathBuf, String> {
    workers.map_or(Ok(()), |workers| check(launch, workers))?;
    launch.binary()
}

/// A binary that was rehearsed.
pub(crate) struct Next {
    pub(crate) binary: PathBuf,
    /// The device, inode and time of modification that the file had.
    file: Option<(u64, u64, i64, i64)>,
}

impl Next {
    pub(super) fn at(binary: PathBuf) -> Next {
        let file = fs::metadata(&binary).ok();
        let file = file.map(|file| (file.dev(), file.ino(), file.mtime(), file.mtime_nsec()));
        Next { binary, file }
    }

    /// Refuses another file that has taken its place.
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
