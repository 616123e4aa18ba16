//! What a service manager is told of the pool, in the words of sd_notify(3): that the pool is ready, reloading or stopping,
//! its status, that the supervisor is alive, and which listeners to store.
//!
//! It must not know why anything happens.

mod address;
mod variables;
mod watchdog;

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use crate::amounts;
use crate::codec::{words_of_fields, words_of_variants};
use crate::grammar::Kind;
use crate::logging;
use crate::policy::Notice;
use crate::sys;
use address::{one_line, removal};
use variables::SOCKET;
use watchdog::Watchdog;

pub(crate) use address::Address;
pub(crate) use variables::Variables;

/// How long the end of a worker may take beyond `graceful_timeout`: SIGKILL has 5 s to work.
const MARGIN: Duration = Duration::from_secs(10);
/// A message that the service manager did not take is sent again after this time, or with the next one.
const RETRY: Duration = Duration::from_millis(500);

/// The service manager, what it was told, and what it has not taken yet.
pub(crate) struct Manager {
    address: Address,
    /// How long a stop may take.
    stop: Duration,
    /// How long the replacement of one worker may take.
    turn: Duration,
    phase: Phase,
    /// The last log line that a service manager should show.
    last: String,
    /// The last status that was sent.
    told: String,
    /// Changes of phase that the service manager has not taken yet. They must not be lost.
    unsent: Vec<String>,
    /// Messages about the descriptor store that it has not taken yet: with a descriptor to store, or to remove a name.
    unstored: Vec<(String, Option<OwnedFd>)>,
    retry_at: Instant,
    watchdog: Option<Watchdog>,
    /// How many descriptors it stores, if it stores any.
    most_stored: Option<usize>,
    /// A line has already reported that messages do not reach it.
    warned: bool,
}

/// How many workers are ready, of how many.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pool {
    pub(crate) ready: usize,
    pub(crate) workers: usize,
}

/// What the service manager was told, for the next binary.
pub(crate) struct Told {
    phase: Phase,
    unsent: Vec<String>,
    /// With the numbers of the descriptors.
    unstored: Vec<(String, Option<i32>)>,
}

words_of_fields!(Told { phase, unsent, unstored });

impl Told {
    /// The descriptors that the service manager has not stored yet.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = i32> {
        self.unstored.iter().filter_map(|(_, descriptor)| *descriptor)
    }
}

words_of_variants!(Phase { Starting, Ready, Reloading, Stopping });

/// The phase of the pool, as the service manager was told.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Starting,
    Ready,
    Reloading,
    Stopping,
}

/// How a message begins that stores a descriptor; the name follows.
const STORING: &str = "FDSTORE=1\nFDNAME=";

/// Whether the message stores a descriptor under this name.
fn is_storing(message: &str, name: &str) -> bool {
    message.strip_prefix(STORING).and_then(|rest| rest.lines().next()) == Some(name)
}

impl Manager {
    pub(crate) fn new(
        address: Address,
        variables: &Variables,
        graceful_timeout: Duration,
        ready_timeout: Option<Duration>,
    ) -> Manager {
        let stop = graceful_timeout.saturating_add(MARGIN);
        Manager {
            address,
            stop,
            turn: stop.saturating_add(ready_timeout.unwrap_or_default()),
            phase: Phase::Starting,
            last: String::new(),
            told: String::new(),
            unsent: Vec::new(),
            unstored: Vec::new(),
            retry_at: Instant::now(),
            watchdog: Watchdog::new(variables),
            most_stored: variables.most_stored(),
            warned: false,
        }
    }

    /// How many descriptors the service manager stores, if it stores any.
    pub(crate) fn most_stored(&self) -> Option<usize> {
        self.most_stored
    }

    /// What the service manager was told, and what it has not taken yet, for the next binary.
    pub(crate) fn snapshot(&self) -> Told {
        let mut unstored = Vec::new();
        for (message, socket) in &self.unstored {
            unstored.push((message.clone(), socket.as_ref().map(AsRawFd::as_raw_fd)));
        }
        Told { phase: self.phase, unsent: self.unsent.clone(), unstored }
    }

    /// The descriptors that the service manager has not taken yet.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.unstored.iter().filter_map(|(_, socket)| socket.as_ref().map(AsFd::as_fd))
    }

    /// Continues where the previous binary stopped, with copies of the descriptors that were not taken.
    pub(crate) fn go_on_from(&mut self, told: &Told, copy: impl Fn(i32) -> io::Result<OwnedFd>) {
        self.phase = told.phase;
        for message in &told.unsent {
            self.unsent.push(message.clone());
        }
        for (message, descriptor) in &told.unstored {
            match descriptor.map(&copy).transpose() {
                Ok(socket) => self.unstored.push((message.clone(), socket)),
                Err(error) => logging::warn(&format!(
                    "a listener is not stored ({error}): a restart of the unit loses its queue; raise the limit of \
                     descriptors (`ulimit -n`, LimitNOFILE=)"
                )),
            }
        }
        self.send_unsent();
    }

    /// Says that the supervisor is alive, before work during which it cannot say so.
    pub(crate) fn send_heartbeat(&mut self) {
        if self.watchdog.is_some() {
            self.send("WATCHDOG=1");
        }
    }

    /// Has a copy of a listener stored, which comes back when the service is started again. systemd drops a listener that
    /// was shut down, which is right. It would also drop a UDP socket with an error, which passes: hence FDPOLL=0.
    pub(crate) fn store(&mut self, name: &str, kind: Kind, socket: &OwnedFd) {
        let poll = if kind == Kind::Udp { "\nFDPOLL=0" } else { "" };
        match socket.try_clone() {
            Ok(copy) => self.unstored.push((format!("{STORING}{name}{poll}"), Some(copy))),
            Err(error) => {
                logging::warn(&format!("{name:?} is not stored: {error}; a restart of the unit loses its queue"))
            }
        }
        self.send_unstored();
    }

    /// Has what is stored under this name removed. A listener of this name that the service manager has not taken yet is
    /// not sent at all: a socket in flight looks like one that another process holds.
    pub(crate) fn remove_stored(&mut self, name: &str) {
        self.unstored.retain(|(message, _)| !is_storing(message, name));
        self.unstored.push((removal(name), None));
        self.send_unstored();
    }

    /// Closes the descriptors in a worker, and frees no memory: freeing would copy pages that it shares with the supervisor.
    pub(crate) fn leave(&mut self) {
        self.unstored.iter_mut().for_each(|(_, socket)| drop(socket.take()));
    }

    /// Tells the service manager of a notice, which the log has as this line.
    pub(crate) fn tell(&mut self, notice: &Notice, line: &str, pool: Pool) {
        if self.is_news(notice) {
            line.clone_into(&mut self.last);
        }
        let (phase, change) = match (self.phase, notice) {
            (Phase::Starting, Notice::PoolReady { .. })
            | (
                Phase::Reloading,
                Notice::Reloaded { .. }
                | Notice::ReloadFailed { .. }
                | Notice::UpgradeDone { .. }
                | Notice::UpgradeFailed { .. }
                | Notice::WentBack { .. }
                | Notice::CannotGoBack { .. },
            ) => (Phase::Ready, "READY=1".to_owned()),
            // While the pool is starting, a reload changes nothing: the pool becomes ready when all workers are.
            (Phase::Ready, Notice::Reloading { .. } | Notice::Upgrading { .. }) => {
                self.forget_reloads();
                let now = sys::monotonic().as_micros();
                (Phase::Reloading, format!("RELOADING=1\nMONOTONIC_USEC={now}\n{}", extend(self.turn)))
            }
            (
                Phase::Starting | Phase::Ready | Phase::Reloading,
                Notice::GivingUp { .. }
                | Notice::ForksRefusedTooOften { .. }
                | Notice::Stopping { .. }
                | Notice::Killing { .. },
            ) => {
                self.unsent.clear();
                (Phase::Stopping, format!("STOPPING=1\n{}", extend(self.stop)))
            }
            (Phase::Starting | Phase::Ready | Phase::Reloading, Notice::StopDelayed { delay, .. }) => {
                self.unsent.clear();
                (Phase::Stopping, format!("STOPPING=1\n{}", extend(self.stop.saturating_add(*delay))))
            }
            _ => return,
        };
        self.phase = phase;
        self.told = self.status(pool);
        self.unsent.push(format!("{change}\n{}", self.told));
        self.send_unsent();
    }

    /// Sends the status if it has changed, after what was not taken before.
    pub(crate) fn update(&mut self, pool: Pool) {
        self.send_unsent();
        let status = self.status(pool);
        // Changes of phase go first, as they must not be lost.
        if !self.unsent.is_empty() || self.told == status {
            return;
        }
        let is_reloading = self.phase == Phase::Reloading;
        self.send(&if is_reloading { format!("{}\n{status}", extend(self.turn)) } else { status.clone() });
        self.told = status;
    }

    /// Says that the supervisor is alive, when that is due and the pool can still do its work.
    pub(crate) fn heartbeat(&mut self, does_good: impl FnOnce() -> bool) {
        let now = Instant::now();
        let Some(watchdog) = self.watchdog.as_mut().filter(|watchdog| watchdog.due <= now) else { return };
        watchdog.withheld = !does_good();
        if watchdog.withheld {
            return;
        }
        let taken = self.send("WATCHDOG=1");
        if let Some(watchdog) = &mut self.watchdog {
            watchdog.due = now + if taken { watchdog.every } else { watchdog.every.min(RETRY) };
        }
    }

    /// When to call `update` and `heartbeat` if nothing happens before.
    pub(crate) fn next_turn(&self) -> Option<Instant> {
        let heartbeat = self.watchdog.as_ref().filter(|watchdog| !watchdog.withheld).map(|watchdog| watchdog.due);
        let retry = (!self.unsent.is_empty() || !self.unstored.is_empty()).then_some(self.retry_at);
        match (heartbeat, retry) {
            (Some(heartbeat), Some(retry)) => Some(heartbeat.min(retry)),
            (one, other) => one.or(other),
        }
    }

    /// Says that the supervisor ends, and why.
    pub(crate) fn end(&mut self, line: &str) {
        let stopping = if self.phase == Phase::Stopping { "" } else { "STOPPING=1\n" };
        self.unsent.push(format!("{stopping}STATUS={}", one_line(line)));
        self.send_unsent();
    }

    /// Whether a service manager should show this notice. Once the pool is stopping, it goes on showing why.
    fn is_news(&self, notice: &Notice) -> bool {
        match notice {
            Notice::Killing { .. } | Notice::KillingOne { .. } | Notice::Overdue { .. } => true,
            Notice::PoolReady { .. } | Notice::Contributed(_) => false,
            _ => self.phase != Phase::Stopping,
        }
    }

    /// `STATUS=3 of 4 workers ready; worker 2 (pid 4711) killed by SIGSEGV after 41.2s, restarting (1/100)`.
    fn status(&self, Pool { ready, workers }: Pool) -> String {
        let last = one_line(&self.last);
        match self.phase {
            Phase::Stopping => format!("STATUS={last}"),
            _ if last.is_empty() => format!("STATUS={ready} of {} ready", amounts::workers(workers)),
            _ => format!("STATUS={ready} of {} ready; {last}", amounts::workers(workers)),
        }
    }

    /// Forgets the reloads that were not sent: systemctl waits for the last one only. A first READY=1 stays.
    fn forget_reloads(&mut self) {
        let was_ready = self.unsent.first().is_some_and(|message| message.starts_with("READY=1"));
        self.unsent.truncate(was_ready.into());
    }

    /// Returns whether the service manager has taken all of them.
    fn send_unstored(&mut self) -> bool {
        while let Some((message, socket)) = self.unstored.first() {
            let taken = self.address.send_with(message, socket.as_ref());
            if !self.is_over(taken) {
                self.retry_at = Instant::now() + RETRY;
                return false;
            }
            self.unstored.remove(0);
        }
        true
    }

    fn send_unsent(&mut self) {
        if !self.send_unstored() {
            return;
        }
        while let Some(message) = self.unsent.first() {
            let taken = self.address.send(message);
            if !self.is_over(taken) {
                self.retry_at = Instant::now() + RETRY;
                return;
            }
            self.unsent.remove(0);
        }
    }

    fn send(&mut self, message: &str) -> bool {
        let taken = self.address.send(message);
        self.is_over(taken)
    }

    /// Whether the message is done with: it was taken, or sending it again would fail again.
    fn is_over(&mut self, taken: io::Result<()>) -> bool {
        match taken {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
            // Systems other than Linux answer ENOBUFS when the queue is full.
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => return false,
            Err(error) if !mem::replace(&mut self.warned, true) => logging::warn(&format!(
                "the service manager cannot be reached at {SOCKET}: {error}; the workers run on, but it may take this \
                 service for hung"
            )),
            Ok(()) | Err(_) => {}
        }
        true
    }
}

/// Asks the service manager to wait this much longer, counted from now.
fn extend(time: Duration) -> String {
    format!("EXTEND_TIMEOUT_USEC={}", time.as_micros())
}

#[cfg(test)]
mod tests;
