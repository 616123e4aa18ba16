//! Whether the next binary would start: it does all it does before the first fork, as a child, with what it would be
//! handed.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::state::{self, State};
use super::{Launch, Next, VARIABLE, write};
use crate::error::advice_on_descriptors;
use crate::sys::{self, End, Mask, Pid};

/// So much of what it prints may be the reason.
const LONGEST_REASON: usize = 1000;

/// A child that is to tell.
pub(crate) struct Rehearsal {
    pub(crate) pid: Pid,
    next: Next,
    state: File,
    /// What it prints.
    output: File,
}

impl Rehearsal {
    /// Starts it. It has the signal mask that this program was started with.
    pub(crate) fn start(
        launch: &Launch,
        binary: PathBuf,
        state: &State,
        descriptors: &[BorrowedFd<'_>],
        mask: &Mask,
    ) -> Result<Rehearsal, String> {
        // So that it is not taken for the binary that cannot be run.
        fs::metadata(&launch.directory).map_err(|error| {
            let directory = launch.directory.display();
            format!("{directory}, the directory that this program was started in, cannot be entered: {error}")
        })?;
        let failed = |error: io::Error| {
            format!("{} cannot be rehearsed: {error}{}", binary.display(), advice_on_descriptors(&error))
        };
        // Before it runs: what comes into its place from here on was not rehearsed.
        let next = Next::at(binary.clone());
        let files = || Ok((write(state)?, sys::scratch_file("prefork-rehearsal")?));
        let (state, output) = files().map_err(failed)?;
        let mut command = Command::new(&binary);
        if let [name, arguments @ ..] = launch.arguments.as_slice() {
            command.arg0(name).args(arguments);
        }
        command
            .env_clear()
            .envs(launch.variables.iter().map(|(name, value)| (name, value)))
            .env("PREFORK", "check")
            .env(VARIABLE, state.as_raw_fd().to_string())
            .current_dir(&launch.directory)
            .stdin(Stdio::null())
            .stdout(output.try_clone().map_err(failed)?)
            .stderr(output.try_clone().map_err(failed)?);
        let handed: Vec<BorrowedFd<'_>> = descriptors.iter().copied().chain([state.as_fd()]).collect();
        let pid = sys::spawn(&mut command, mask, &handed)
            .map_err(|error| format!("{} cannot be run: {error}{}", binary.display(), advice_on_descriptors(&error)))?;
        Ok(Rehearsal { pid, next, state, output })
    }

    /// What its end means: nothing is good but status 0 of a program that has read what it was handed.
    pub(crate) fn judge(self, end: &End) -> Result<Next, String> {
        let Rehearsal { next, state, output, .. } = self;
        let name = next.binary.display();
        let how = match *end {
            End::Exited(0) if state::is_signed(&text_of(state)) => return Ok(next),
            End::Exited(0) => {
                return Err(format!(
                    "{name} ended its rehearsal (PREFORK=check) with status 0, but has not read what it is to take over: \
                     is it built with prefork, in a version that upgrades, and does it start it?"
                ));
            }
            End::Exited(code) => format!("with status {code}"),
            End::Killed { signal, .. } => format!("by {}", sys::signal_name(signal)),
        };
        let said = last_line(&text_of(output)).unwrap_or_else(|| "it said nothing".to_owned());
        Err(format!("{name} failed its rehearsal (PREFORK=check) {how}: {said}"))
    }
}

/// All that is in it, but for what is no text.
fn text_of(mut file: File) -> String {
    let mut bytes = Vec::new();
    // What cannot be read is as good as nothing.
    let _ = file.seek(SeekFrom::Start(0)).and_then(|_| file.read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Without what marks it as ours.
fn last_line(output: &str) -> Option<String> {
    let line = output.lines().rev().map(str::trim).find(|line| !line.is_empty())?;
    let line = line.strip_prefix("prefork: ").unwrap_or(line);
    Some(line.chars().take(LONGEST_REASON).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_the_last_line_that_says_something() {
        assert_eq!(last_line("one\nprefork: two\n\n  \n").as_deref(), Some("two"));
        assert_eq!(last_line("\n\n"), None);
        assert_eq!(last_line(&"ä".repeat(5000)).map(|line| line.chars().count()), Some(LONGEST_REASON));
    }
}
