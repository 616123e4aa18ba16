//! The state and the descriptors that this process got from the previous binary, and the way back to that binary.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::FileExt;
use std::thread::sleep;
use std::time::Duration;

use socket2::SockRef;

use super::exec::{Previous, become_previous};
use super::launch::Launch;
use super::state::{self, State, Unreadable, VARIABLE};
use crate::error::Error;
use crate::listen::{BoundBefore, Inherited};
use crate::logging;
use crate::sys::{self, Mask};

/// The state, and the descriptors that it names.
pub(crate) struct Received {
    pub(crate) state: State,
    descriptors: Vec<OwnedFd>,
    /// The file with the state.
    file: Option<OwnedFd>,
    launch: Launch,
    /// That of this process when it became this binary.
    pub(super) cpu_time: Duration,
}

/// The number of descriptors that a supervisor needs when it takes over, beyond those of its rehearsal. Without them,
/// neither it nor the previous binary could go on.
const SPARE: usize = 16;

/// How often reading the state is tried again.
const READ_AGAIN: usize = 20;
const BETWEEN_READS: Duration = Duration::from_millis(10);

/// Takes over the handoff in the state under this descriptor, which the previous binary left, or, for a rehearsal, the
/// parent. `None` where it was meant for another process. An error says why it cannot be used, perhaps with what came
/// all the same: the way back leads through that.
pub(super) fn receive(number: &str, is_rehearsal: bool, launch: &Launch) -> (Option<Received>, Result<(), Error>) {
    match read_state(number) {
        Ok(Some((number, state))) if state.supervisor == sender(is_rehearsal) => take_over(number, state, launch),
        Ok(_) => (None, Ok(())),
        Err(reason) => (None, refuse(reason)),
    }
}

/// The process that must have written the state.
fn sender(is_rehearsal: bool) -> i32 {
    if is_rehearsal { sys::getppid() } else { sys::getpid() }.as_raw()
}

fn refuse(reason: String) -> Result<(), Error> {
    Err(Error::Environment { variable: VARIABLE.to_owned(), reason })
}

fn read_state(number: &str) -> Result<Option<(RawFd, State)>, String> {
    let Ok(number) = number.parse() else { return Ok(None) };
    let text = match read_with_patience(number) {
        Ok(Some(text)) => text,
        Ok(None) => return Ok(None),
        Err(error) => return Err(format!("the handoff of the running binary cannot be read: {error}")),
    };
    match State::from_text(&text) {
        Ok(state) => Ok(Some((number, state))),
        Err(Unreadable::Foreign) => Ok(None),
        Err(Unreadable::Format(other)) => Err(format!(
            "the running binary hands off its workers in format {other}, and this one, built with prefork-rt {}, reads \
             format {} only: restart the service instead of upgrading it",
            env!("CARGO_PKG_VERSION"),
            state::format()
        )),
        Err(Unreadable::Broken) => {
            Err("the handoff of the running binary cannot be read: restart the service instead".to_owned())
        }
    }
}

fn take_over(number: RawFd, state: State, launch: &Launch) -> (Option<Received>, Result<(), Error>) {
    let (mut descriptors, mut missing) = (Vec::new(), None);
    for number in state.descriptors() {
        match sys::take_over(number) {
            Ok(descriptor) => descriptors.push(descriptor),
            Err(error) => missing = Some(error),
        }
    }
    let file = sys::take_over(number).map_err(|error| missing = Some(error)).ok();
    if state.back.is_some() {
        restore_modes(&state, &descriptors);
    }
    let launch = Launch { directory: state.directory.clone(), ..launch.clone() };
    let result = match missing {
        None => Ok(()),
        Some(error) => refuse(format!("a descriptor of the handoff is not open: {error}")),
    };
    let cpu_time = sys::usage().map_or(Duration::ZERO, |usage| usage.cpu_time);
    (Some(Received { state, descriptors, file, launch, cpu_time }), result)
}

/// Reads the state, and tries again if that fails, for want of memory for example: the pool depends on it.
fn read_with_patience(number: RawFd) -> io::Result<Option<String>> {
    for _ in 0..READ_AGAIN {
        if let Ok(text) = read(number) {
            return Ok(text);
        }
        sleep(BETWEEN_READS);
    }
    read(number)
}

/// The contents of the file that is open under this number, if it is a file with a text.
fn read(number: RawFd) -> io::Result<Option<String>> {
    let path = format!("/proc/self/fd/{number}");
    // Reading a pipe or a terminal would wait for its end.
    let text = fs::metadata(&path).and_then(|file| file.is_file().then(|| fs::read_to_string(path)).transpose());
    match text {
        Err(error)
            if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied | ErrorKind::InvalidData) =>
        {
            Ok(None)
        }
        text => text,
    }
}

/// Sets the modes that the previous binary's workers expect: those of the binary that failed may have changed them for
/// all.
fn restore_modes(state: &State, descriptors: &[OwnedFd]) {
    for socket in &state.sockets {
        if let Some(descriptor) = descriptor(descriptors, socket.descriptor) {
            // This does not fail for an open socket.
            let _ = SockRef::from(descriptor).set_nonblocking(socket.nonblocking);
        }
    }
}

/// The descriptor with this number.
fn descriptor(descriptors: &[OwnedFd], number: RawFd) -> Option<&OwnedFd> {
    descriptors.iter().find(|descriptor| descriptor.as_raw_fd() == number)
}

impl Received {
    /// A copy of a descriptor, for the supervisor.
    pub(crate) fn copy(&self, number: RawFd) -> io::Result<OwnedFd> {
        let descriptor = descriptor(&self.descriptors, number).ok_or(ErrorKind::NotFound)?;
        descriptor.try_clone().map_err(sys::of_call("fcntl(2)"))
    }

    /// The sockets that this process bound, as this or another binary.
    pub(crate) fn bound_before(&self) -> Result<Vec<BoundBefore>, Error> {
        let mut copies = Vec::new();
        for state::Socket { entry, slot, stored, inherited, descriptor, .. } in &self.state.sockets {
            if inherited.is_none() {
                let socket = self.copy(*descriptor).map_err(Error::fcntl)?;
                let (entry, stored) = (entry.clone(), stored.clone());
                copies.push(BoundBefore { entry, slot: *slot, stored, is_in_use: true, socket });
            }
        }
        Ok(copies)
    }

    /// Copies of the sockets that this process was started with.
    pub(crate) fn inherited(&self) -> Result<Vec<Inherited>, Error> {
        let mut copies = Vec::new();
        for state::Socket { inherited, descriptor, .. } in &self.state.sockets {
            if let Some((name, number)) = inherited {
                let socket = self.copy(*descriptor).map_err(Error::fcntl)?;
                copies.push(Inherited::from_previous(name.clone(), *number, socket));
            }
        }
        Ok(copies)
    }

    /// Writes the signature that tells the running binary that this one would start.
    pub(super) fn sign(self) -> Result<(), Error> {
        // If the state's descriptor was not open, the handoff was refused before.
        let Some(file) = self.file else { return Ok(()) };
        let mut spare = Vec::new();
        for _ in 0..SPARE {
            spare.push(file.try_clone().map_err(Error::fcntl)?);
        }
        drop(spare);
        let file = File::from(file);
        let length = file.metadata().map(|file| file.len()).map_err(sys::of_call("fstat(2)"));
        length
            .and_then(|length| file.write_all_at(state::signature().as_bytes(), length))
            .map_err(Error::of_call("write(2)"))
    }

    /// The previous binary, where this is a new one.
    pub(crate) fn previous(&self) -> io::Result<Option<Previous>> {
        let previous = self.state.previous.as_ref().filter(|_| self.state.back.is_none());
        let copies = |previous: &state::Previous| {
            Ok(Previous { binary: self.copy(previous.binary)?, directory: self.copy(previous.directory)? })
        };
        previous.map(copies).transpose()
    }

    pub(crate) fn launch(&self) -> &Launch {
        &self.launch
    }

    /// Hands everything back to the previous binary, for this reason. Returns if that fails.
    pub(super) fn go_back(mut self, why: String) {
        let previous = match self.previous() {
            Ok(Some(previous)) if sys::is_main_thread() => previous,
            // This is no new binary, or the workers would die with the thread that started them.
            Ok(_) => return,
            Err(error) => return logging::error(&format!("cannot go back to the previous binary: {error}")),
        };
        // Signals that arrive from here on, or were noted, wait for the previous binary.
        let mask = match Mask::block() {
            Ok((mask, _)) => mask,
            Err(error) => {
                return logging::error(&format!("cannot go back to the previous binary: sigprocmask(2): {error}"));
            }
        };
        self.state.back = Some(why);
        let mut descriptors: Vec<BorrowedFd<'_>> = Vec::new();
        for descriptor in &self.descriptors {
            descriptors.push(descriptor.as_fd());
        }
        let why = become_previous(&self.launch, &previous, &self.state, &descriptors);
        // This does not fail for a mask that was read before.
        let _ = mask.restore();
        logging::error(&format!("cannot go back to the previous binary: {why}; its workers end with this process"));
    }
}
