//! A worker's turn to accept a connection: at once, or after a short wait where it is ahead of its share.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use tokio::io::unix::AsyncFd;
use tokio::runtime::Handle;

use super::accept::register;
use super::share::is_ahead;
use crate::scoreboard;
use crate::sys::{self, Timer};

/// How long a worker that is ahead waits for the others. tokio's own timers have steps of 1 ms.
const WAIT: Duration = Duration::from_micros(300);

/// What the turns of one listener need.
pub(super) struct Turns {
    /// Where the timer is registered.
    runtime: Handle,
    /// Made for the first wait.
    timer: Option<AsyncFd<Timer>>,
}

impl Turns {
    pub(super) fn new(runtime: Handle) -> Turns {
        Turns { runtime, timer: None }
    }

    /// Call it when a connection waits at the listener: returns when this worker may accept it, after at most one wait. May
    /// be cancelled.
    pub(super) async fn wait(&mut self, listener: BorrowedFd<'_>) {
        let is_ahead = scoreboard::own_and_others().is_some_and(|(own, others)| is_ahead(own, others));
        // Where several wait, there is one for this worker too. Where none waits, another worker was faster.
        if is_ahead && sys::queue_length(listener) == Some(1) {
            // Without a timer there is no wait: no descriptor is left, say.
            let _ = self.pause().await;
        }
    }

    async fn pause(&mut self) -> io::Result<()> {
        let timer = match &mut self.timer {
            Some(timer) => timer,
            none => {
                let _registers_there = self.runtime.enter();
                none.insert(register(Timer::new()?)?)
            }
        };
        timer.get_ref().start(WAIT)?;
        loop {
            // It may have been readable before, after a wait that was cancelled.
            if let Ok(end) = timer.readable().await?.try_io(|timer| timer.get_ref().take_end()) {
                return end;
            }
        }
    }
}

#[cfg(all(test, any(target_os = "linux", target_os = "android")))]
mod tests {
    use std::future::Future;
    use std::os::fd::AsFd;
    use std::pin::pin;
    use std::task::{Context, Waker};
    use std::time::Instant;

    use super::*;

    #[tokio::test]
    async fn a_pause_is_as_long_after_one_that_was_cancelled() {
        let mut turns = Turns::new(Handle::current());
        for is_over in [false, true, false, true] {
            // Cancelled while the timer runs: what it leaves must not end the next pause.
            assert!(pin!(turns.pause()).poll(&mut Context::from_waker(Waker::noop())).is_pending());
            if is_over {
                let timer = turns.timer.as_ref().unwrap().get_ref();
                assert!(sys::wait_readable(timer.as_fd(), Some(Duration::from_secs(60))));
            }
            tokio::task::yield_now().await;
            let start = Instant::now();
            turns.pause().await.unwrap();
            assert!(start.elapsed() >= WAIT, "{:?}", start.elapsed());
        }
    }
}
