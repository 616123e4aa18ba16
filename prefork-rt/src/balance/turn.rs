//! A worker's turn to accept a connection: at once, or after a short wait where it is ahead of its share.

use std::future::Future;
use std::io;
use std::os::fd::BorrowedFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::unix::AsyncFd;
use tokio::runtime::Handle;
use tokio::task::yield_now;

use super::accept::register;
use super::share::is_ahead;
use crate::scoreboard;
use crate::sys::{self, Timer};

/// How long a worker that is ahead waits for the others. tokio's own timers have steps of 1 ms.
const WAIT: Duration = Duration::from_micros(300);

/// The turns of one listener.
pub(super) struct Turns {
    /// Where the timer is registered.
    runtime: Handle,
    /// Made for the first wait.
    timer: Option<AsyncFd<Timer>>,
    step: Step,
}

/// What the worker does before it may accept.
enum Step {
    Look,
    /// It lets its other tasks run, which may find connections closed.
    Yield(Pin<Box<dyn Future<Output = ()> + Send + Sync>>),
    /// The timer runs, or is over and was not looked at since.
    Wait,
}

impl Turns {
    pub(super) fn new(runtime: Handle) -> Turns {
        Turns { runtime, timer: None, step: Step::Look }
    }

    /// Call it when a connection waits at the listener. It is ready when this worker may accept it: at once, or after one
    /// wait. A caller that gives up meanwhile and comes again goes on with the same wait.
    pub(super) fn poll(&mut self, context: &mut Context<'_>, listener: BorrowedFd<'_>) -> Poll<()> {
        loop {
            self.step = match &mut self.step {
                Step::Look if lets_others_accept(listener) => Step::Yield(Box::pin(yield_now())),
                Step::Look => return Poll::Ready(()),
                Step::Yield(others) => {
                    ready!(others.as_mut().poll(context));
                    // Without a timer, because no descriptor is left, there is no wait.
                    match lets_others_accept(listener) && self.start_timer().is_ok() {
                        true => Step::Wait,
                        false => break,
                    }
                }
                Step::Wait => {
                    ready!(self.poll_timer(context));
                    break;
                }
            };
        }
        self.step = Step::Look;
        Poll::Ready(())
    }

    fn start_timer(&mut self) -> io::Result<()> {
        let timer = match &mut self.timer {
            Some(timer) => timer,
            none => {
                let _registers_there = self.runtime.enter();
                none.insert(register(Timer::new()?)?)
            }
        };
        timer.get_ref().start(WAIT)
    }

    /// Also ready where the timer is of no use, because its runtime ends.
    fn poll_timer(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(timer) = &mut self.timer else { return Poll::Ready(()) };
        loop {
            let Ok(mut end) = ready!(timer.poll_read_ready(context)) else { return Poll::Ready(()) };
            // It may have been readable before it was started.
            if end.try_io(|timer| timer.get_ref().take_end()).is_ok() {
                return Poll::Ready(());
            }
        }
    }
}

/// Where several connections wait, there is one for this worker too. Where none waits, another worker was faster.
fn lets_others_accept(listener: BorrowedFd<'_>) -> bool {
    let is_ahead = scoreboard::own_and_others().is_some_and(|(own, others)| is_ahead(own, others));
    is_ahead && sys::queue_length(listener) == Some(1)
}

#[cfg(all(test, any(target_os = "linux", target_os = "android")))]
mod tests {
    use std::future::poll_fn;
    use std::os::fd::AsFd;
    use std::task::Waker;
    use std::time::Instant;

    use super::*;

    #[tokio::test]
    async fn a_wait_is_as_long_whatever_became_of_the_one_before() {
        let mut turns = Turns::new(Handle::current());
        for is_over in [false, true, false, true] {
            turns.start_timer().unwrap();
            assert!(turns.poll_timer(&mut Context::from_waker(Waker::noop())).is_pending());
            if is_over {
                let timer = turns.timer.as_ref().unwrap().get_ref();
                assert!(sys::wait_readable(timer.as_fd(), Some(Duration::from_secs(60))));
            }
            yield_now().await;
            let start = Instant::now();
            turns.start_timer().unwrap();
            poll_fn(|context| turns.poll_timer(context)).await;
            assert!(start.elapsed() >= WAIT, "{:?}", start.elapsed());
        }
    }
}
