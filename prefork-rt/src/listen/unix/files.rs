//! The files of Unix sockets that this process has made, and their removal at its end.

use std::path::{Path, PathBuf};
use std::process;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::advice::{WRITABLE, advise};
use super::place::Place;
use super::private::Private;
use crate::listen::attempt::Refusal;
use crate::logging;
use crate::sys::FileId;

/// A socket's file that this supervisor has made.
struct OwnFile {
    path: PathBuf,
    file: FileId,
    /// The process that made it. A worker has a copy of the list, and removes nothing.
    process: u32,
}

static FILES: Mutex<Vec<OwnFile>> = Mutex::new(Vec::new());

fn own_files() -> MutexGuard<'static, Vec<OwnFile>> {
    FILES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Adds a file that this process has made, as this or another binary.
pub(crate) fn adopt_file(path: &Path, file: FileId) {
    own_files().push(OwnFile { path: path.to_owned(), file, process: process::id() });
}

/// The files that this process has made.
pub(crate) fn files() -> Vec<(PathBuf, FileId)> {
    let mut files = Vec::new();
    for OwnFile { path, file, .. } in &*own_files() {
        files.push((path.clone(), *file));
    }
    files
}

/// The file that this process has made at this path.
pub(in super::super) fn own_file(path: &Path) -> Option<FileId> {
    own_files().iter().rev().find(|file| file.path == path).map(|file| file.file)
}

/// The file that this process has made at this path. It is not removed at the end.
#[cfg(all(test, target_os = "linux"))]
pub(super) fn take(path: &Path) -> Option<FileId> {
    let file = own_file(path);
    leave_file(path);
    file
}

/// Leaves the file in its place: another process has the socket too.
pub(in super::super) fn leave_file(path: &Path) {
    own_files().retain(|file| file.path != path);
}

/// Whether this process has made files. A worker has only a copy of the list.
pub(in super::super) fn has_made_files() -> bool {
    own_files().first().is_some_and(|file| file.process == process::id())
}

/// Removes the files that this process has made, where they are still in place. The file of another socket may have the
/// same inode number by now, but then a process listens on it, and it stays.
pub(in super::super) fn remove_files() {
    for file in own_files().drain(..) {
        if let Err(Refusal { source, advice }) = remove(&file.path, file.file) {
            logging::warn(&format!("unix:{} is left behind: {source}; {advice}", file.path.display()));
        }
    }
}

/// Removes a file of this process if it is still there and no process listens on it.
pub(super) fn remove(path: &Path, file: FileId) -> Result<(), Refusal> {
    let place = Place::open(path)?;
    if !place.has_stale(file)? {
        return Ok(());
    }
    // For the lock. On a full disk, the file is removed without it.
    let _private = Private::enter(&place).ok();
    if !place.has_stale(file)? {
        return Ok(());
    }
    place.directory.remove(&place.name).map_err(advise(WRITABLE))
}
