//! Whether this worker was told to stop, which SIGTERM says, for every async runtime and for none.
//!
//! It must not know which process sent the signal, or why.

use std::fmt;
use std::future::Future;
use std::io;
use std::mem;
use std::net;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::identity;
use crate::scoreboard;
use crate::sys::{self, Pid, Signal};

/// Whether this worker was told to stop, by SIGTERM: an argument of `main`, or from
/// [`Worker::shutdown`](crate::Worker::shutdown).
///
/// There are four ways to learn of it, for any number of handles and threads:
///
/// * [`is_requested`](Shutdown::is_requested) between two pieces of work;
/// * [`wait`](Shutdown::wait) and [`wait_timeout`](Shutdown::wait_timeout), which block;
/// * `.await`, in every executor: it is a [`Future`], `Unpin`, and stays ready once a stop has been requested;
/// * its descriptor ([`AsFd`]), which stays readable once a stop has been requested, for poll(2), epoll and mio beside
///   sockets.
///
/// A worker stops in order when it accepts no more, finishes what it has begun, and returns from `main`. A worker that
/// takes longer than `graceful_timeout` is killed. So is one that drops the handle and never asks: it has taken SIGTERM,
/// which would have ended it.
///
/// As an argument it is made when the arguments are filled: after the [`after_fork`](crate::after_fork) hooks, in the
/// async runtime where there is one, and before the first statement of the body. Until then SIGTERM ends the worker.
///
/// ```no_run
/// use prefork_rt::{Shutdown, prefork};
///
/// #[prefork(workers = 2)]
/// #[tokio::main]
/// async fn main(task_id: usize, mut shutdown: Shutdown) {
///     loop {
///         tokio::select! {
///             _ = &mut shutdown => break,
///             job = next_job() => println!("worker {task_id} did {job}"),
///         }
///     }
/// }
/// # async fn next_job() -> usize { 0 }
/// ```
///
/// # Panics
///
/// As an argument of `main`, as [`Worker::shutdown`](crate::Worker::shutdown) does. As a future, when the first that has to wait cannot start the one thread that wakes them all ("prefork-sigterm").
#[must_use = "this worker has taken SIGTERM and does not look whether it came, so a stop waits for `graceful_timeout` \
              and kills it: keep the handle, and look at it or await it"]
pub struct Shutdown {
    state: &'static State,
    /// The key of its registered waker, once it was polled.
    key: Option<usize>,
}

/// The handle of this worker. The first call makes the descriptors and catches SIGTERM.
pub(crate) fn shutdown() -> Shutdown {
    static STATE: OnceLock<&State> = OnceLock::new();
    Shutdown { state: STATE.get_or_init(catch_sigterm), key: None }
}

impl Shutdown {
    /// Whether the stop was requested. It costs one load from memory.
    ///
    /// ```no_run
    /// # let worker = prefork_rt::worker().unwrap();
    /// let shutdown = worker.shutdown();
    /// while !shutdown.is_requested() {
    ///     // one piece of work
    /// }
    /// ```
    pub fn is_requested(&self) -> bool {
        self.state.requested.load(Ordering::Acquire)
    }

    /// Blocks this thread until the stop is requested. In an async runtime, await the handle instead.
    ///
    /// ```no_run
    /// # let worker = prefork_rt::worker().unwrap();
    /// let shutdown = worker.shutdown();
    /// std::thread::spawn(|| { /* the work */ });
    /// shutdown.wait();
    /// ```
    pub fn wait(&self) {
        while !self.is_requested() && !sys::wait_readable(self.as_fd(), None) {}
    }

    /// Blocks this thread until the stop is requested, for at most `timeout`. Returns whether it was requested.
    ///
    /// For work at intervals:
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # let worker = prefork_rt::worker().unwrap();
    /// let shutdown = worker.shutdown();
    /// while !shutdown.wait_timeout(Duration::from_secs(5)) {
    ///     // work to do every five seconds
    /// }
    /// ```
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        let start = Instant::now();
        loop {
            let left = timeout.saturating_sub(start.elapsed());
            if self.is_requested() || sys::wait_readable(self.as_fd(), Some(left)) {
                return true;
            }
            if left.is_zero() {
                return false;
            }
        }
    }
}

impl Future for Shutdown {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.is_requested() {
            return Poll::Ready(());
        }
        let state = self.state;
        match state.register(&mut self.key, context.waker()) {
            Ok(poll) => poll,
            Err(error) => panic!(
                "{} cannot start the thread that waits for SIGTERM: {error}: raise the limit of processes and threads \
                 (ulimit -u, pids.max, TasksMax=)",
                this_worker()
            ),
        }
    }
}

/// Another handle of the same stop.
impl Clone for Shutdown {
    fn clone(&self) -> Shutdown {
        Shutdown { state: self.state, key: None }
    }
}

/// The descriptor stays readable once a stop has been requested. There is nothing to read from it.
impl AsFd for Shutdown {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.state.readable.as_fd()
    }
}

/// The number of the descriptor of [`AsFd`].
impl AsRawFd for Shutdown {
    fn as_raw_fd(&self) -> RawFd {
        self.state.readable.as_raw_fd()
    }
}

impl fmt::Debug for Shutdown {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Shutdown").field("is_requested", &self.is_requested()).finish()
    }
}

impl Drop for Shutdown {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            // Dropped after the lock is released, as what a waker holds may hold handles too.
            let _waker = self.state.wakers().remove(key);
        }
    }
}

/// The state that all handles of this process share.
struct State {
    requested: AtomicBool,
    /// Reaches its end when `writable` is shut down: it is then readable, and no read changes that.
    readable: UnixStream,
    writable: UnixStream,
    /// The process that made it. Processes that this one forks have both descriptors too.
    owner: Pid,
    wakers: Mutex<Wakers>,
}

#[derive(Default)]
struct Wakers {
    thread_is_started: bool,
    /// Each at the place that is its key.
    waiting: Vec<Option<Waker>>,
    /// The places that are empty.
    free: Vec<usize>,
}

impl Wakers {
    fn new_key(&mut self) -> usize {
        self.free.pop().unwrap_or_else(|| {
            self.waiting.push(None);
            self.waiting.len() - 1
        })
    }

    /// `None` once all wakers were taken out to be woken.
    fn remove(&mut self, key: usize) -> Option<Waker> {
        let waker = self.waiting.get_mut(key)?.take();
        self.free.push(key);
        waker
    }
}

fn catch_sigterm() -> &'static State {
    let caught = State::new().and_then(|state| {
        let state: &State = Box::leak(Box::new(state));
        scoreboard::prepare();
        // It runs in the signal handler, so it makes async-signal-safe calls and no other.
        sys::add_handler(Signal::SIGTERM, || state.request())?;
        sys::unblock(Signal::SIGTERM)?;
        Ok(state)
    });
    caught.unwrap_or_else(|error| {
        panic!(
            "{} cannot catch SIGTERM with the two descriptors that this takes: {error}: take Shutdown as an argument of \
             main, or call Worker::shutdown() first thing in it, or raise the limit of descriptors (ulimit -n, LimitNOFILE=)",
            this_worker()
        )
    })
}

fn this_worker() -> String {
    format!("worker {} (pid {})", identity::task_id().unwrap_or_default(), sys::getpid())
}

impl State {
    fn new() -> io::Result<State> {
        let (readable, writable) = UnixStream::pair()?;
        let wakers = Mutex::default();
        Ok(State { requested: AtomicBool::new(false), readable, writable, owner: sys::getpid(), wakers })
    }

    /// Called by the signal handler, any number of times: it makes async-signal-safe calls and no other.
    fn request(&self) {
        self.requested.store(true, Ordering::Release);
        // A signal to a process that this worker forked is not meant for this worker.
        if sys::getpid() == self.owner {
            scoreboard::terminated();
            // It cannot fail: the socket is open and connected as long as the process lives.
            let _ = self.writable.shutdown(net::Shutdown::Write);
        }
    }

    /// Registers the waker until the stop is requested.
    fn register(&'static self, key: &mut Option<usize>, waker: &Waker) -> io::Result<Poll<()>> {
        let is_registered =
            |key: usize| matches!(self.wakers().waiting.get(key), Some(Some(known)) if known.will_wake(waker));
        if key.is_some_and(is_registered) {
            return Ok(Poll::Pending);
        }
        // A waker is cloned before the lock is taken and dropped after it is released, as both are code of others.
        let waker = waker.clone();
        let mut wakers = self.wakers();
        // The thread takes the wakers after the request: it has not taken them yet, or the request is seen here.
        if self.requested.load(Ordering::Acquire) {
            return Ok(Poll::Ready(()));
        }
        if !wakers.thread_is_started {
            sys::spawn_without_signals("prefork-sigterm", || self.wake_all())?;
            wakers.thread_is_started = true;
        }
        let key = *key.get_or_insert_with(|| wakers.new_key());
        let replaced = wakers.waiting[key].replace(waker);
        drop(wakers);
        drop(replaced);
        Ok(Poll::Pending)
    }

    /// The body of the one thread that wakes all futures.
    fn wake_all(&'static self) {
        Shutdown { state: self, key: None }.wait();
        let waiting = mem::take(&mut self.wakers().waiting);
        waiting.into_iter().flatten().for_each(Waker::wake);
    }

    fn wakers(&self) -> MutexGuard<'_, Wakers> {
        // Nothing that panics runs while it is held.
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
