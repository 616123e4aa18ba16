//! The bell by which a worker wakes the supervisor: a pipe.
//!
//! A ring says who may have something to say, and no more: the supervisor looks at the scoreboard before it acts, so a
//! ring too many does no harm, and neither does one that is missing because the pipe was full.
//!
//! All workers have the writing end, so one of them can write anything, fill the pipe, and change its size and its blocking
//! mode for all. Garbage and a full pipe make the supervisor look at every worker, a few times in 10 ms at most. In blocking
//! mode a ring waits until the supervisor has read. A worker that has the supervisor's user can open the reading end through
//! /proc and take rings away; the supervisor looks at each worker once more before it counts as late.

use std::fs::File;
use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::unistd::pipe;

use super::of_call;

/// No pipe takes less: POSIX. So one that has less in it was never full since it was last emptied.
const SMALLEST_PIPE: usize = libc::PIPE_BUF;
/// A worker that rings on and on must not keep the supervisor from its work: what more is in the pipe waits.
const MOST_READS: usize = 16;
/// Nor must it cost much of a processor: the pipe is read no more often than so within an interval.
const MOST_ANSWERS: u32 = 8;
const INTERVAL: Duration = Duration::from_millis(10);

/// What a ring is: the task id of the worker.
type Ring = u32;

/// How workers ring, to be compared with how those of another binary do.
pub(crate) fn wake_pipe_shape() -> String {
    format!("wake pipe{{{}*{}}}", std::any::type_name::<Ring>(), size_of::<Ring>())
}

/// Made before the first fork. As [`AsFd`] it is readable when a worker has rung.
pub(crate) struct Bell {
    reader: File,
    rope: OwnedFd,
    pipe: Identity,
    /// When the interval has begun, and how often the pipe was read since.
    interval: Instant,
    answers: u32,
}

/// What was heard.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Heard {
    /// Whose tasks to look at, at most [`SMALLEST_PIPE`] bytes of them. Any number can be in it: a process that has the pipe can
    /// write to it.
    pub(crate) task_ids: Vec<Ring>,
    /// Rings may be missing: look at everybody.
    pub(crate) overflow: bool,
}

impl Bell {
    /// pipe(2), fcntl(2).
    pub(crate) fn new() -> io::Result<Bell> {
        let (reader, rope) = pipe().map_err(of_call("pipe(2)"))?;
        for end in [&reader, &rope] {
            fcntl(end, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).map_err(of_call("fcntl(2)"))?;
            fcntl(end, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(of_call("fcntl(2)"))?;
        }
        Bell::adopt(reader, rope)
    }

    /// One that another binary has hung, and that workers have kept.
    pub(crate) fn adopt(reader: OwnedFd, rope: OwnedFd) -> io::Result<Bell> {
        let pipe = Identity::of(rope.as_raw_fd()).ok_or_else(|| of_call("fstat(2)")(io::Error::last_os_error()))?;
        Ok(Bell { reader: reader.into(), rope, pipe, interval: Instant::now(), answers: 0 })
    }

    /// The end that is listened at, and the other one.
    pub(crate) fn ends(&self) -> (BorrowedFd<'_>, BorrowedFd<'_>) {
        (self.reader.as_fd(), self.rope.as_fd())
    }

    /// Who has rung since the last call, without waiting: read(2).
    ///
    /// To be called when poll(2) says that it is readable: where there is nothing to read, errno is set, and after a
    /// fork that may copy a page.
    pub(crate) fn heard(&mut self) -> Heard {
        if self.interval.elapsed() >= INTERVAL {
            (self.interval, self.answers) = (Instant::now(), 0);
        }
        self.answers += 1;
        let mut heard = Heard::default();
        let mut buffer = [0; SMALLEST_PIPE];
        for _ in 0..MOST_READS {
            // An error says that there is nothing more: the pipe is ours, and does not wait.
            let length = (&self.reader).read(&mut buffer).unwrap_or(0);
            // Who has rung is of interest as long as no ring is missing.
            if !heard.overflow {
                let rings = buffer[..length].chunks_exact(size_of::<Ring>()).filter_map(|ring| ring.try_into().ok());
                heard.task_ids.extend(rings.map(Ring::from_ne_bytes));
            }
            // A ring is written in one piece. Half of one is not ours, and hides where the others begin.
            heard.overflow |= length % size_of::<Ring>() != 0;
            if length < buffer.len() {
                break;
            }
            heard.overflow = true;
        }
        // Rings that come so fast may have left no room for others: in packets (O_DIRECT), a few fill the pipe.
        heard.overflow |= self.answers >= MOST_ANSWERS;
        heard
    }

    /// Until when it is not to be listened to, if it has rung too often.
    pub(crate) fn rest(&self) -> Option<Instant> {
        let until = self.interval + INTERVAL;
        (self.answers >= MOST_ANSWERS && Instant::now() < until).then_some(until)
    }

    /// Keeps the bell for [`ring`]. In a worker.
    #[inline] // Each page of code that a new worker enters costs it a fault.
    pub(crate) fn keep(self) {
        let Bell { reader, rope, pipe, .. } = self;
        drop(reader);
        *lock_rope() = Some(Rope { descriptor: rope.into_raw_fd(), pipe });
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}

static ROPE: Mutex<Option<Rope>> = Mutex::new(None);

#[inline]
fn lock_rope() -> MutexGuard<'static, Option<Rope>> {
    ROPE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Wakes the supervisor, in a worker that has kept the bell; elsewhere nothing. It never waits.
pub(crate) fn ring(task_id: Ring) {
    let rope = *lock_rope();
    if let Some(rope) = rope {
        rope.pull(task_id);
    }
}

/// The writing end, which the program may close without asking.
#[derive(Clone, Copy)]
struct Rope {
    descriptor: RawFd,
    pipe: Identity,
}

impl Rope {
    /// fstat(2), write(2). SIGPIPE cannot come, unless the supervisor is gone, which has the reading end open; and
    /// then this worker is being killed anyway.
    fn pull(&self, task_id: Ring) {
        if Identity::of(self.descriptor) != Some(self.pipe) {
            return;
        }
        let bytes = task_id.to_ne_bytes();
        // A full pipe makes the supervisor look at everybody: any error is one to ignore.
        // SAFETY: write(2) reads as many bytes from the pointer as the length says; both are the array's.
        let _ = unsafe { libc::write(self.descriptor, bytes.as_ptr().cast(), bytes.len()) };
    }
}

/// Which file it is, whatever descriptors it has.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: libc::dev_t,
    inode: libc::ino_t,
}

impl Identity {
    /// That of the file which is open under this number: fstat(2).
    fn of(descriptor: RawFd) -> Option<Identity> {
        let mut status = MaybeUninit::uninit();
        // SAFETY: fstat(2) takes any number, one that is not open is EBADF; it writes one `stat` through the pointer,
        // which is to a live local of that type.
        if unsafe { libc::fstat(descriptor, status.as_mut_ptr()) } != 0 {
            return None;
        }
        // SAFETY: fstat(2) fills it in when it returns 0.
        let status = unsafe { status.assume_init() };
        Some(Identity { device: status.st_dev, inode: status.st_ino })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::*;

    /// What `keep` keeps, without the static, and with the reading end.
    fn hung() -> (Bell, Rope) {
        let bell = Bell::new().unwrap();
        let rope = Rope { descriptor: bell.rope.as_raw_fd(), pipe: bell.pipe };
        (bell, rope)
    }

    fn is_readable(bell: &Bell) -> bool {
        poll(&mut [PollFd::new(bell.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO) == Ok(1)
    }

    #[test]
    fn rings_are_heard_once_and_in_order() {
        let (mut bell, rope) = hung();
        assert!(!is_readable(&bell));
        assert_eq!(bell.heard(), Heard::default(), "and it does not wait");
        for task_id in [3, 0, 4095, 3] {
            rope.pull(task_id);
        }
        assert!(is_readable(&bell));
        assert_eq!(bell.heard(), Heard { task_ids: vec![3, 0, 4095, 3], overflow: false });
        assert!(!is_readable(&bell));
    }

    #[test]
    fn a_full_pipe_drops_rings_and_says_so() {
        let (mut bell, rope) = hung();
        for task_id in 0..100_000 {
            rope.pull(task_id);
        }
        let heard = bell.heard();
        assert!(heard.overflow);
        assert!(heard.task_ids.len() < 100_000 && heard.task_ids.iter().zip(0..).all(|(&rung, n)| rung == n));
        assert!(!is_readable(&bell), "it is emptied");
        rope.pull(7);
        assert_eq!(bell.heard(), Heard { task_ids: vec![7], overflow: false });
    }

    #[test]
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn the_smallest_pipe_says_so_too() {
        let (mut bell, rope) = hung();
        let bytes = fcntl(&bell.rope, FcntlArg::F_SETPIPE_SZ(1)).unwrap();
        let rings = u32::try_from(bytes).unwrap() / 4;
        (0..=rings).for_each(|task_id| rope.pull(task_id));
        assert_eq!(bell.heard(), Heard { task_ids: (0..rings).collect(), overflow: true });
    }

    #[test]
    fn one_that_rings_too_often_is_not_listened_to_for_a_while() {
        let (mut bell, rope) = hung();
        let start = Instant::now();
        let mut answered = 0;
        let rest = loop {
            rope.pull(1);
            assert_eq!(bell.heard().task_ids, [1]);
            answered += 1;
            if let Some(rest) = bell.rest() {
                break rest;
            }
            assert!(start.elapsed() < Duration::from_secs(60), "a loaded machine may need several intervals");
        };
        assert!(answered >= MOST_ANSWERS && rest <= Instant::now() + INTERVAL);
        while Instant::now() < rest {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(bell.rest(), None);
    }

    #[test]
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn a_flood_of_packets_hides_none() {
        let (mut bell, rope) = hung();
        fcntl(&bell.rope, FcntlArg::F_SETFL(OFlag::O_NONBLOCK | OFlag::O_DIRECT)).unwrap();
        // A packet takes a page of the pipe, and is read alone.
        for round in 0.. {
            (0..20).for_each(|_| rope.pull(1));
            rope.pull(7);
            if bell.heard().overflow {
                break;
            }
            assert!(round < 10_000, "a loaded machine may need several intervals");
        }
    }

    #[test]
    fn what_is_no_ring_hides_none() {
        let (mut bell, rope) = hung();
        File::from(bell.rope.try_clone().unwrap()).write_all(&[9]).unwrap();
        rope.pull(3);
        assert!(bell.heard().overflow);
    }

    #[test]
    fn a_closed_descriptor_is_not_written_to() {
        let (bell, mut rope) = hung();
        let copy = bell.rope.try_clone().unwrap();
        rope.descriptor = copy.as_raw_fd();
        drop(copy);
        rope.pull(1);
        assert!(!is_readable(&bell));
    }

    #[test]
    fn a_descriptor_that_was_used_again_is_not_written_to() {
        let (_bell, mut rope) = hung();
        let (mut reader, mut writer) = std::os::unix::net::UnixStream::pair().unwrap();
        rope.descriptor = writer.as_raw_fd();
        rope.pull(1);
        // Another pipe is another file, too.
        let other = Bell::new().unwrap();
        rope.descriptor = other.rope.as_raw_fd();
        rope.pull(1);
        assert!(!is_readable(&other));
        writer.write_all(b"mine").unwrap();
        drop(writer);
        let mut read = String::new();
        reader.read_to_string(&mut read).unwrap();
        assert_eq!(read, "mine");
    }

    #[test]
    fn both_ends_close_on_exec_and_do_not_wait() {
        let bell = Bell::new().unwrap();
        for end in [bell.as_fd(), bell.rope.as_fd()] {
            assert_eq!(fcntl(end, FcntlArg::F_GETFD), Ok(FdFlag::FD_CLOEXEC.bits()));
            assert!(OFlag::from_bits_truncate(fcntl(end, FcntlArg::F_GETFL).unwrap()).contains(OFlag::O_NONBLOCK));
        }
    }
}
