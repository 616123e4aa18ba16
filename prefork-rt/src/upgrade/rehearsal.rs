//! Whether the next binary would start: as a child, it does everything that comes before the first fork, with the
//! handoff that it would get.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use super::exec::write;
use super::launch::Launch;
use super::next::Next;
use super::state::{self, State, VARIABLE};
use crate::error::advice_on_descriptors;
use crate::sys::{self, End, Mask, Pid, SignalQueue, SingleThread, Start};

/// The longest line of its output that becomes the reason, in characters.
const LONGEST_REASON: usize = 1000;
/// The number of bytes at the end of its output that are kept.
const KEPT: usize = 16 << 10;
/// The number of bytes of its output that are read at a time, so that the pool is looked after meanwhile.
const READ_AT_ONCE: usize = 64 << 10;

/// The child that rehearses the start.
pub(crate) struct Rehearsal {
    pub(crate) pid: Pid,
    next: Next,
    state: File,
    /// The length of the state. The child writes its signature behind it.
    length: u64,
    output: Output,
}

/// The child's output: a pipe. Only the end is kept, so that the child may print as much as it likes.
struct Output {
    /// Non-blocking. `None` once its end has been read.
    pipe: Option<File>,
    end: Vec<u8>,
}

impl Rehearsal {
    /// Starts the child. It gets the signal mask that this program was started with.
    pub(crate) fn start(
        launch: &Launch,
        binary: PathBuf,
        state: &State,
        descriptors: &[BorrowedFd<'_>],
        mask: &Mask,
        single_thread: SingleThread,
    ) -> Result<Rehearsal, String> {
        // Otherwise the error would read as if the binary could not be run.
        fs::metadata(&launch.directory).map_err(|error| {
            let directory = launch.directory.display();
            format!("{directory}, the directory that this program was started in, cannot be entered: {error}")
        })?;
        let failed = |error: io::Error| {
            format!("{} cannot be rehearsed: {error}{}", binary.display(), advice_on_descriptors(&error))
        };
        // Before the child runs: a file that takes its place from here on was not rehearsed.
        let next = Next::at(binary.clone());
        let files = || {
            let state = write(state)?;
            Ok((state.metadata()?.len(), state, sys::wide_pipe()?))
        };
        let (length, state, (output, printed)) = files().map_err(failed)?;
        SignalQueue::check(output.as_fd()).map_err(failed)?;
        let number = state.as_raw_fd().to_string();
        let mut variables = Vec::new();
        for (name, value) in &launch.variables {
            if name != "PREFORK" && name != VARIABLE {
                variables.push((name.clone(), value.clone()));
            }
        }
        variables.push(("PREFORK".into(), "check".into()));
        variables.push((VARIABLE.into(), number.into()));
        let mut descriptors = descriptors.to_vec();
        descriptors.push(state.as_fd());
        let start = Start {
            binary: &binary,
            arguments: &launch.arguments,
            variables: &variables,
            directory: &launch.directory,
            mask,
            output: printed.as_fd(),
            descriptors: &descriptors,
        };
        let pid = sys::spawn(&start, single_thread)
            .map_err(|error| format!("{} cannot be run: {error}{}", binary.display(), advice_on_descriptors(&error)))?;
        Ok(Rehearsal { pid, next, state, length, output: Output { pipe: Some(output.into()), end: Vec::new() } })
    }

    /// The pipe on which the supervisor waits for output of the rehearsal.
    pub(crate) fn output(&self) -> Option<BorrowedFd<'_>> {
        self.output.pipe.as_ref().map(File::as_fd)
    }

    /// Reads some of the output, without waiting.
    pub(crate) fn read_output(&mut self) {
        self.output.read();
    }

    /// What the child's end means. Only status 0 of a program that has read the handoff is good.
    pub(crate) fn judge(self, end: &End) -> Result<Next, String> {
        let Rehearsal { next, state, length, mut output, .. } = self;
        let name = next.binary.display();
        let how = match *end {
            End::Exited(0) if is_signed(&state, length) => return Ok(next),
            End::Exited(0) => {
                return Err(format!(
                    "{name} ended its rehearsal (PREFORK=check) with status 0, but has not read the handoff: is it \
                     built with a version of prefork that can upgrade, and does it start the pool?"
                ));
            }
            End::Exited(code) => format!("with status {code}"),
            End::Killed { signal, .. } => format!("by {}", sys::signal_name(signal)),
        };
        output.read_rest();
        let printed = last_line(&output.text()).unwrap_or_else(|| "it printed nothing".to_owned());
        Err(format!("{name} failed its rehearsal (PREFORK=check) {how}: {printed}"))
    }
}

/// Whether the child has written its signature behind the state. Reads no more than a signature needs.
fn is_signed(state: &File, length: u64) -> bool {
    let mut bytes = [0; 64];
    // A file that cannot be read has no signature.
    let count = state.read_at(&mut bytes, length).unwrap_or(0);
    state::is_signature(&String::from_utf8_lossy(&bytes[..count]))
}

impl Output {
    /// Reads some of the output. Says whether there may be more.
    fn read(&mut self) -> bool {
        let Some(mut pipe) = self.pipe.as_ref() else { return false };
        let mut bytes = vec![0; READ_AT_ONCE];
        match pipe.read(&mut bytes) {
            Ok(0) => self.pipe = None,
            Ok(count) => self.append(&bytes[..count]),
            Err(error) => return error.kind() == ErrorKind::Interrupted,
        }
        self.pipe.is_some()
    }

    /// Reads what the child has left in the pipe, and no more: a process that has left the child's group may go on
    /// writing.
    fn read_rest(&mut self) {
        let most_reads = sys::WIDEST_PIPE / READ_AT_ONCE + 1;
        let _ = (0..most_reads).find(|_| !self.read());
    }

    fn append(&mut self, bytes: &[u8]) {
        let bytes = &bytes[bytes.len().saturating_sub(KEPT)..];
        let too_many = (self.end.len() + bytes.len()).saturating_sub(KEPT);
        self.end.drain(..too_many);
        self.end.extend(bytes);
    }

    /// The end of the output, as text.
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.end).into_owned()
    }
}

/// The last line with text, without prefork's prefix.
fn last_line(output: &str) -> Option<String> {
    let line = output.lines().rev().map(str::trim).find(|line| !line.is_empty())?;
    let line = line.strip_prefix("prefork: ").unwrap_or(line);
    Some(line.chars().take(LONGEST_REASON).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_what_is_printed_is_kept() {
        let mut output = Output { pipe: None, end: Vec::new() };
        for (bytes, kept) in [(3, 3), (KEPT - 5, KEPT - 2), (1, KEPT - 1), (7, KEPT), (3 * KEPT, KEPT), (1, KEPT)] {
            let text: Vec<u8> = (0..bytes).map(|nth| nth as u8).collect();
            output.append(&text);
            assert_eq!(output.end.len(), kept);
            assert!(output.end.ends_with(&text[bytes.saturating_sub(KEPT)..]));
        }
        output.append(b"\nprefork: why\n");
        assert_eq!(last_line(&output.text()).as_deref(), Some("why"));
    }

    #[test]
    fn the_reason_is_the_last_line_that_says_something() {
        assert_eq!(last_line("one\nprefork: two\n\n  \n").as_deref(), Some("two"));
        assert_eq!(last_line("\n\n"), None);
        assert_eq!(last_line(&"ä".repeat(5000)).map(|line| line.chars().count()), Some(LONGEST_REASON));
    }
}
