//! Accepting until the worker is told to stop, then waiting until the last connection is closed; and what an error of
//! accept(2) means.
//!
//! It must not know HTTP.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::time::{Sleep, sleep, sleep_until};

use super::connections::Connections;
use super::listener::Listener;
use crate::balance::{Acceptor, OpenConnection};
use crate::identity;
use crate::logging;
use crate::sys;
use crate::worker::shutdown::Shutdown;

/// Where accept(2) fails for want of descriptors or memory, the next try is this much later, unless a connection is closed
/// before.
const RETRY: Duration = Duration::from_millis(100);
/// A worker says no more than once in this time that it cannot accept.
const QUIET: Duration = Duration::from_secs(60);

/// Accepts and hands over each client, with what counts it, until the stop is requested or the listener is of no use.
pub(super) async fn accept_until_stopped<L: Listener>(
    listener: L,
    shutdown: &mut Shutdown,
    connections: &Connections,
    mut serve: impl FnMut(L::Stream, OpenConnection),
) -> io::Result<()> {
    // On a listener that workers share, a worker with more than its share of connections lets others accept first.
    let mut acceptor = Acceptor::new(listener.into_std()?)?;
    let (mut timer, mut pause, mut lines) = (Timer::default(), None, Lines::default());
    let mut changed = pin!(connections.changed());
    loop {
        let mut accepted = pin!(acceptor.accept(L::accept));
        let next = poll_fn(|context| {
            loop {
                if Pin::new(&mut *shutdown).poll(context).is_ready() {
                    return Poll::Ready(None);
                }
                if changed.as_mut().poll(context).is_ready() {
                    changed.set(connections.changed());
                    pause = None;
                } else if timer.poll(context, connections).is_pending() && !is_over(&mut pause, context) {
                    return match pause.is_some() || !connections.have_room() {
                        true => Poll::Pending,
                        false => accepted.as_mut().poll(context).map(Some),
                    };
                }
            }
        });
        match next.await {
            None => return Ok(()),
            Some(Ok((stream, open))) => serve(stream, open),
            Some(Err(error)) => match Cause::of(&error) {
                Cause::Client => {}
                Cause::Listener => return Err(error),
                Cause::System => {
                    lines.say(&error, connections.tell_longest());
                    pause = Some(Box::pin(sleep(RETRY)));
                }
            },
        }
    }
}

/// Waits until the last connection is closed, and closes those that stay idle.
pub(super) async fn drain(connections: &Connections) {
    connections.stop();
    let mut timer = Timer::default();
    let mut changed = pin!(connections.changed());
    poll_fn(|context| {
        loop {
            if changed.as_mut().poll(context).is_ready() {
                changed.set(connections.changed());
            } else if connections.are_closed() {
                return Poll::Ready(());
            } else if timer.poll(context, connections).is_pending() {
                return Poll::Pending;
            }
        }
    })
    .await;
}

/// Whether the pause has just ended.
fn is_over(pause: &mut Option<Pin<Box<Sleep>>>, context: &mut Context<'_>) -> bool {
    let is_over = pause.as_mut().is_some_and(|sleep| sleep.as_mut().poll(context).is_ready());
    if is_over {
        *pause = None;
    }
    is_over
}

/// The one timer of all connections. There is none where no connection waits for its client, but for one that was for a
/// connection which is gone, and fires once.
#[derive(Default)]
struct Timer(Option<(Instant, Pin<Box<Sleep>>)>);

impl Timer {
    /// Tells the connections that are due to close, and waits for the next one that will be.
    fn poll(&mut self, context: &mut Context<'_>, connections: &Connections) -> Poll<()> {
        let armed = self.0.as_ref().map(|(armed, _)| *armed);
        let next = connections.tell_due(armed);
        if next != armed {
            self.0 = next.map(|next| (next, Box::pin(sleep_until(next.into()))));
        }
        let is_due = self.0.as_mut().is_some_and(|(_, sleep)| sleep.as_mut().poll(context).is_ready());
        match is_due {
            true => {
                self.0 = None;
                Poll::Ready(())
            }
            false => Poll::Pending,
        }
    }
}

/// What an error of accept(2) is due to.
#[derive(Debug, PartialEq, Eq)]
enum Cause {
    /// The client, which is gone already, or its network.
    Client,
    /// Descriptors or memory are short, or the system refuses for a reason that may pass.
    System,
    /// The listener, which will never accept again.
    Listener,
}

impl Cause {
    fn of(error: &io::Error) -> Cause {
        match error.raw_os_error() {
            // The last ones: accept(2) of Linux passes on what is wrong with the new connection.
            Some(
                libc::ECONNABORTED
                | libc::ECONNRESET
                | libc::EINTR
                | libc::EPROTO
                | libc::EPERM
                | libc::ETIMEDOUT
                | libc::ENETDOWN
                | libc::ENOPROTOOPT
                | libc::EHOSTDOWN
                | libc::EHOSTUNREACH
                | libc::ENETUNREACH,
            ) => Cause::Client,
            Some(libc::EBADF | libc::EINVAL | libc::ENOTSOCK | libc::EOPNOTSUPP) => Cause::Listener,
            Some(_) | None => Cause::System,
        }
    }
}

/// Says that the worker cannot accept, and not again and again.
#[derive(Default)]
struct Lines {
    said: Option<Instant>,
}

impl Lines {
    fn say(&mut self, error: &io::Error, closes_one: bool) {
        if self.said.is_some_and(|said| said.elapsed() < QUIET) {
            return;
        }
        self.said = Some(Instant::now());
        let task_id = identity::task_id().unwrap_or_default();
        let measure = match closes_one {
            true => "it closes the connection that has been idle for the longest and tries again",
            false => "no connection is idle, so it tries again every 0.1 s",
        };
        logging::warn(&format!(
            "worker {task_id} (pid {}) cannot accept a connection: accept(2) failed: {error}: {measure}; raise the limit \
             of descriptors (ulimit -n, LimitNOFILE=) or lower max_connections (said at most once a minute)",
            sys::getpid()
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_one_client_is_told_from_one_of_the_system_and_of_the_listener() {
        for (number, cause) in [
            (libc::ECONNABORTED, Cause::Client),
            (libc::EMFILE, Cause::System),
            (libc::ENFILE, Cause::System),
            (libc::ENOBUFS, Cause::System),
            (libc::ENOMEM, Cause::System),
            (libc::EINVAL, Cause::Listener),
        ] {
            assert_eq!(Cause::of(&io::Error::from_raw_os_error(number)), cause, "{number}");
        }
    }
}
