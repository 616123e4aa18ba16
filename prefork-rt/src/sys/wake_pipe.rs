//! The pipe through which a worker wakes the supervisor.
//!
//! A worker writes its number, which says only that there may be news of it: the supervisor reads the scoreboard before it
//! acts. So a number too many does no harm, and neither does one that was lost because the pipe was full. This file must
//! not know what the numbers count.
//!
//! All workers have the writing end, so one of them can write anything, fill the pipe, and change its size and its blocking
//! mode for all. Garbage and a full pipe make the supervisor look at every worker, a few times in 10 ms at most. In blocking
//! mode a worker that wakes the supervisor waits until the supervisor has read. A worker that has the supervisor's user can
//! open the reading end through /proc and take numbers away; the supervisor looks at each worker once more before it counts
//! as late.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{descriptor, of_call};

/// POSIX lets no pipe hold less. A pipe that holds less than this was never full since it was last emptied.
const SMALLEST_PIPE: usize = libc::PIPE_BUF;
/// A worker that writes on and on must not keep the supervisor from its work: what these reads leave waits in the pipe.
const MOST_READS: usize = 16;
/// Nor must it cost much of a processor: the pipe is emptied at most this often in an [`INTERVAL`].
const MOST_READINGS: u32 = 8;
const INTERVAL: Duration = Duration::from_millis(10);

/// What a worker writes. In one piece, as it is shorter than PIPE_BUF.
type Number = u32;

/// What is written to a wake pipe, to be compared with what another binary writes.
pub(crate) fn wake_pipe_shape() -> String {
    format!("wake pipe{{{}*{}}}", std::any::type_name::<Number>(), size_of::<Number>())
}

/// Made before the first fork. As [`AsFd`] it is readable when a worker has written.
pub(crate) struct WakePipe {
    reader: File,
    writer: OwnedFd,
    pipe: FileIdentity,
    /// When the interval has begun, and how often the pipe was emptied since.
    interval: Instant,
    readings: u32,
}

/// What was in a wake pipe.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Wakes {
    /// In the order in which they were written, at most [`SMALLEST_PIPE`] bytes of them. They may be any numbers: a process
    /// that has the pipe can write to it.
    pub(crate) numbers: Vec<Number>,
    /// Numbers may be missing: any worker may have written.
    pub(crate) overflow: bool,
}

impl WakePipe {
    /// pipe(2), fcntl(2).
    pub(crate) fn new() -> io::Result<WakePipe> {
        let (reader, writer) = descriptor::pipe().map_err(of_call("pipe(2)"))?;
        for end in [&reader, &writer] {
            descriptor::set_status_flags(end.as_raw_fd(), libc::O_NONBLOCK).map_err(of_call("fcntl(2)"))?;
        }
        WakePipe::adopt(reader, writer)
    }

    /// The ends of a pipe that another binary has made, and whose writing end workers have.
    pub(crate) fn adopt(reader: OwnedFd, writer: OwnedFd) -> io::Result<WakePipe> {
        let pipe = FileIdentity::of(writer.as_raw_fd()).map_err(of_call("fstat(2)"))?;
        Ok(WakePipe { reader: reader.into(), writer, pipe, interval: Instant::now(), readings: 0 })
    }

    /// The reading end and the writing end.
    pub(crate) fn ends(&self) -> (BorrowedFd<'_>, BorrowedFd<'_>) {
        (self.reader.as_fd(), self.writer.as_fd())
    }

    /// Empties the pipe, without waiting: read(2).
    ///
    /// Call it when poll(2) says that the pipe is readable: a read that finds nothing sets errno, and after a fork that may
    /// copy a page.
    pub(crate) fn read(&mut self) -> Wakes {
        if self.interval.elapsed() >= INTERVAL {
            (self.interval, self.readings) = (Instant::now(), 0);
        }
        self.readings += 1;
        let mut wakes = Wakes::default();
        let mut buffer = [0; SMALLEST_PIPE];
        for _ in 0..MOST_READS {
            // An error says that there is nothing more: the pipe is ours, and does not wait.
            let length = (&self.reader).read(&mut buffer).unwrap_or(0);
            // Which numbers were written is of interest as long as none is missing.
            if !wakes.overflow {
                for piece in buffer[..length].chunks_exact(size_of::<Number>()) {
                    if let Ok(piece) = piece.try_into() {
                        wakes.numbers.push(Number::from_ne_bytes(piece));
                    }
                }
            }
            // A worker writes whole numbers. Half of one is garbage, and hides where the others begin.
            wakes.overflow |= length % size_of::<Number>() != 0;
            if length < buffer.len() {
                break;
            }
            wakes.overflow = true;
        }
        // Writes that come so fast may have left no room for others: in packets (O_DIRECT), a few fill the pipe.
        wakes.overflow |= self.readings >= MOST_READINGS;
        wakes
    }

    /// Until when to leave the pipe unread, if it was emptied too often.
    pub(crate) fn rest(&self) -> Option<Instant> {
        let until = self.interval + INTERVAL;
        (self.readings >= MOST_READINGS && Instant::now() < until).then_some(until)
    }

    /// Leaves the writing end to [`wake`], and returns the reading end. In a worker, which closes it.
    #[inline] // Each page of code that a new worker enters costs it a fault.
    pub(crate) fn become_writer(self) -> OwnedFd {
        let WakePipe { reader, writer, pipe, .. } = self;
        *lock_writer() = Some(Writer { descriptor: writer.into_raw_fd(), pipe });
        reader.into()
    }
}

impl AsFd for WakePipe {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}

static WRITER: Mutex<Option<Writer>> = Mutex::new(None);

#[inline]
fn lock_writer() -> MutexGuard<'static, Option<Writer>> {
    WRITER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Wakes the supervisor with this number, in a process that [became a writer](WakePipe::become_writer). Elsewhere it does
/// nothing. It never waits.
pub(crate) fn wake(number: Number) {
    let writer = *lock_writer();
    if let Some(writer) = writer {
        writer.write(number);
    }
}

/// The writing end, which the program may close without asking.
#[derive(Clone, Copy)]
struct Writer {
    descriptor: RawFd,
    pipe: FileIdentity,
}

impl Writer {
    /// fstat(2), write(2). SIGPIPE comes only where the supervisor, which has the reading end open, is gone; and then this
    /// worker is being killed anyway.
    fn write(&self, number: Number) {
        if !FileIdentity::of(self.descriptor).is_ok_and(|file| file == self.pipe) {
            return;
        }
        // Any error can be ignored. The usual one is a full pipe, which the reader takes as an overflow.
        let _ = descriptor::write(self.descriptor, &number.to_ne_bytes());
    }
}

/// Which file it is, whatever descriptors it has.
#[derive(Clone, Copy, PartialEq, Eq)]
struct FileIdentity {
    device: libc::dev_t,
    inode: libc::ino_t,
}

impl FileIdentity {
    /// Of the file that is open under this number: fstat(2).
    fn of(descriptor: RawFd) -> io::Result<FileIdentity> {
        let status = descriptor::status(descriptor)?;
        Ok(FileIdentity { device: status.st_dev, inode: status.st_ino })
    }
}

#[cfg(test)]
mod tests;
