//! What a service manager is told of the pool, in the words of sd_notify(3): that it is ready, reloading or stopping,
//! how it is, and that it is alive; and what it stores.
//!
//! It must not know why anything happens, and never waits for whoever reads. A socket is opened for each message, so
//! that no worker inherits one. (The crate sd-notify waits for a full socket and knows no abstract names.)

use std::collections::VecDeque;
use std::env;
use std::error::Error as _;
use std::ffi::OsStr;
use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use sendfd::SendWithFd;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::codec::{words_of_fields, words_of_variants};
use crate::error::Error;
use crate::grammar::Kind;
use crate::logging;
use crate::policy::Notice;
use crate::sys;
use crate::trust;
use crate::wording;

/// What a service manager puts into the environment, for the supervisor alone.
pub(crate) const VARIABLES: [&str; 4] = [SOCKET, WATCHDOG_PERIOD, WATCHDOG_PID, STORE];

const SOCKET: &str = "NOTIFY_SOCKET";
const WATCHDOG_PERIOD: &str = "WATCHDOG_USEC";
const WATCHDOG_PID: &str = "WATCHDOG_PID";
/// How many descriptors it stores, since systemd 254.
const STORE: &str = "FDSTORE";

/// What the end of a worker may take on top of `graceful_timeout`: SIGKILL has 5 s to work.
const MARGIN: Duration = Duration::from_secs(10);
/// A message that was not taken is tried again after this, or when something else is done.
const RETRY: Duration = Duration::from_millis(500);
/// Whatever the environment says, the loop has other things to do, too.
const SHORTEST_BEAT: Duration = Duration::from_millis(1);
/// systemd reads no message of more than 4096 bytes.
const LONGEST_STATUS: usize = 2048;

/// Where the service manager reads.
#[derive(Clone)]
pub(crate) struct Address(SockAddr);

/// The service manager, and what it has been told.
pub(crate) struct Manager {
    address: Address,
    /// How long a stop may take.
    stop: Duration,
    /// How long the replacement of one worker may take.
    turn: Duration,
    phase: Phase,
    /// What happened last, as the log has it.
    last: String,
    /// The status that it was told.
    told: String,
    /// What must not be lost, and was not taken yet.
    unsent: VecDeque<String>,
    /// What is to be removed from the store or, with a descriptor, to be stored, and was not taken yet.
    unstored: VecDeque<(String, Option<OwnedFd>)>,
    retry_at: Instant,
    watchdog: Option<Watchdog>,
    /// That it cannot be told was said.
    warned: bool,
}

/// How many workers are ready, of how many.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pool {
    pub(crate) ready: usize,
    pub(crate) workers: usize,
}

/// What it has been told, for the next binary.
pub(crate) struct Told {
    phase: Phase,
    unsent: Vec<String>,
    /// With the numbers of the descriptors.
    unstored: Vec<(String, Option<i32>)>,
}

words_of_fields!(Told { phase, unsent, unstored });

impl Told {
    /// The descriptors that are to be stored.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = i32> {
        self.unstored.iter().filter_map(|(_, descriptor)| *descriptor)
    }
}

words_of_variants!(Phase { Starting, Ready, Reloading, Stopping });

/// What the service manager takes the pool for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Starting,
    Ready,
    Reloading,
    Stopping,
}

struct Watchdog {
    /// Half the time after which the service manager loses its patience.
    every: Duration,
    due: Instant,
    /// It is due, and there is nothing good to say.
    withheld: bool,
}

/// How many descriptors the service manager stores, where it does. A program that does not believe in sockets that come
/// would not get them back.
pub(crate) fn most_stored() -> Option<usize> {
    let most = env::var_os(STORE).filter(|most| !most.is_empty() && trust::in_sockets())?;
    let Some(number) = most.to_str().and_then(|most| most.parse().ok()) else {
        logging::warn(&format!("{STORE}={most:?} is ignored: it is no number of descriptors; no listener is stored"));
        return None;
    };
    Some(number).filter(|&number| number > 0)
}

/// What is there of a service manager's variables.
fn present() -> Vec<&'static str> {
    VARIABLES.into_iter().filter(|name| env::var_os(name).is_some_and(|value| !value.is_empty())).collect()
}

/// The variables that are there, and not believed because this program has more rights than its caller.
pub(crate) fn distrusted() -> Vec<&'static str> {
    match env::var_os(SOCKET) {
        Some(socket) if !socket.is_empty() && !trust::in_manager(&socket) => present(),
        Some(_) if !trust::in_sockets() => present().into_iter().filter(|&name| name == STORE).collect(),
        _ => Vec::new(),
    }
}

/// Which variables are of no use to a start that tells a service manager nothing, if there are some.
pub(crate) fn unused() -> Option<String> {
    let present = present();
    (!present.is_empty() && distrusted().is_empty()).then(|| present.join(", "))
}

/// The beginning of a message that has a descriptor stored, before its name.
const STORING: &str = "FDSTORE=1\nFDNAME=";

/// Whether the message has a descriptor stored under this name.
fn is_storing(message: &str, name: &str) -> bool {
    message.strip_prefix(STORING).and_then(|rest| rest.lines().next()) == Some(name)
}

fn removal(name: &str) -> String {
    format!("FDSTOREREMOVE=1\nFDNAME={name}")
}

impl Address {
    /// Where the environment says so, and is believed.
    pub(crate) fn from_environment() -> Option<Address> {
        let Some(name) = env::var_os(SOCKET).filter(|name| !name.is_empty()) else {
            if let Some(unused) = unused() {
                logging::warn(&format!("ignored without {SOCKET}, which says where a service manager reads: {unused}"));
            }
            return None;
        };
        if !trust::in_manager(&name) {
            // A line of its own names all that is not believed.
            return None;
        }
        Address::parse(&name)
            .map_err(|why| {
                let others: Vec<&str> = present().into_iter().filter(|&other| other != SOCKET).collect();
                let others =
                    if others.is_empty() { String::new() } else { format!(", and with it {}", others.join(", ")) };
                logging::warn(&format!(
                    "{SOCKET}={name:?} is ignored{others}: {why}; no service manager is told how it goes"
                ));
            })
            .ok()
    }

    /// A path, or `@` and a name that is no file's, which only Linux has.
    fn parse(name: &OsStr) -> Result<Address, String> {
        let path = match name.as_bytes() {
            [b'/', ..] => name.as_bytes().to_vec(),
            [b'@', rest @ ..] if cfg!(any(target_os = "linux", target_os = "android")) => [b"\0", rest].concat(),
            _ => return Err("only a path and @NAME are understood".to_owned()),
        };
        SockAddr::unix(OsStr::from_bytes(&path)).map(Address).map_err(|error| error.to_string())
    }

    /// The start has failed, for this reason.
    pub(crate) fn failed(&self, error: &Error) {
        let source = error.source().and_then(|source| source.downcast_ref::<io::Error>());
        let errno = source.and_then(io::Error::raw_os_error);
        let errno = errno.map_or_else(String::new, |errno| format!("ERRNO={errno}\n"));
        // What it is about is on standard error already.
        let _ = self.send(&format!("{errno}STATUS={}", one_line(&error.to_string())));
    }

    /// What is stored under this name is of no use any more.
    pub(crate) fn remove_stored(&self, name: &str) {
        // What is not removed now comes back at the next start, and is tried again.
        let _ = self.send(&removal(name));
    }

    fn send(&self, message: &str) -> io::Result<()> {
        self.socket()?.send_to(message.as_bytes(), &self.0).map(drop)
    }

    /// With a copy of the descriptor, if there is one: SCM_RIGHTS.
    fn send_with(&self, message: &str, descriptor: Option<&OwnedFd>) -> io::Result<()> {
        let Some(descriptor) = descriptor else { return self.send(message) };
        let socket = self.socket()?;
        socket.connect(&self.0)?;
        let socket = UnixDatagram::from(OwnedFd::from(socket));
        socket.send_with_fd(message.as_bytes(), &[descriptor.as_raw_fd()]).map(drop)
    }

    fn socket(&self) -> io::Result<Socket> {
        let socket = Socket::new(Domain::UNIX, Type::DGRAM, None)?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    }
}

impl Manager {
    pub(crate) fn new(address: Address, graceful_timeout: Duration, ready_timeout: Option<Duration>) -> Manager {
        let stop = graceful_timeout.saturating_add(MARGIN);
        Manager {
            address,
            stop,
            turn: stop.saturating_add(ready_timeout.unwrap_or_default()),
            phase: Phase::Starting,
            last: String::new(),
            told: String::new(),
            unsent: VecDeque::new(),
            unstored: VecDeque::new(),
            retry_at: Instant::now(),
            watchdog: Watchdog::from_environment(),
            warned: false,
        }
    }

    /// What the service manager was told, and what it has not taken yet, for the next binary.
    pub(crate) fn to_hand_over(&self) -> Told {
        let number = |socket: &OwnedFd| socket.as_raw_fd();
        let unstored = self.unstored.iter().map(|(message, socket)| (message.clone(), socket.as_ref().map(number)));
        Told { phase: self.phase, unsent: self.unsent.iter().cloned().collect(), unstored: unstored.collect() }
    }

    /// The descriptors that it has not taken yet.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.unstored.iter().filter_map(|(_, socket)| socket.as_ref().map(AsFd::as_fd))
    }

    /// What the binary before has told, and what it could not, with copies of the descriptors.
    pub(crate) fn go_on_from(&mut self, told: &Told, copy: impl Fn(i32) -> io::Result<OwnedFd>) {
        self.phase = told.phase;
        self.unsent.extend(told.unsent.iter().cloned());
        for (message, descriptor) in &told.unstored {
            match descriptor.map(&copy).transpose() {
                Ok(socket) => self.unstored.push_back((message.clone(), socket)),
                Err(error) => logging::warn(&format!(
                    "a listener is not stored ({error}): a restart of the unit loses its queue; raise the limit of \
                     descriptors (`ulimit -n`, LimitNOFILE=)"
                )),
            }
        }
        self.send_unsent();
    }

    /// The supervisor cannot be heard for a while.
    pub(crate) fn beat_now(&mut self) {
        if self.watchdog.is_some() {
            self.send("WATCHDOG=1");
        }
    }

    /// Has a copy of a listener stored, which comes back when the service is started again. One that was shut down is of
    /// no use then, and systemd drops it; an error of a UDP socket passes.
    pub(crate) fn store(&mut self, name: &str, kind: Kind, socket: &OwnedFd) {
        let poll = if kind == Kind::Udp { "\nFDPOLL=0" } else { "" };
        match socket.try_clone() {
            Ok(copy) => self.unstored.push_back((format!("{STORING}{name}{poll}"), Some(copy))),
            Err(error) => {
                logging::warn(&format!("{name:?} is not stored: {error}; a restart of the unit loses its queue"))
            }
        }
        self.send_unstored();
    }

    /// Has what is stored under this name removed. A listener that the service manager has not taken yet is not sent any
    /// more: on its way it would look like one that another process holds.
    pub(crate) fn remove_stored(&mut self, name: &str) {
        self.unstored.retain(|(message, _)| !is_storing(message, name));
        self.unstored.push_back((removal(name), None));
        self.send_unstored();
    }

    /// In a worker, which has nothing to do with it and frees no memory of the supervisor's.
    pub(crate) fn leave(mut self) {
        // But it closes what is not its.
        self.unstored.iter_mut().for_each(|(_, socket)| drop(socket.take()));
        mem::forget(self);
    }

    /// Something has happened, of which the log has this line.
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
            // One that is still starting is ready when all workers are.
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
            _ => return,
        };
        self.phase = phase;
        self.told = self.status(pool);
        self.unsent.push_back(format!("{change}\n{}", self.told));
        self.send_unsent();
    }

    /// Tells how the pool is, where that has changed, and what was not taken before.
    pub(crate) fn update(&mut self, pool: Pool) {
        self.send_unsent();
        let status = self.status(pool);
        // What must not be lost comes first.
        if !self.unsent.is_empty() || self.told == status {
            return;
        }
        let is_reloading = self.phase == Phase::Reloading;
        self.send(&if is_reloading { format!("{}\n{status}", extend(self.turn)) } else { status.clone() });
        self.told = status;
    }

    /// Says that the supervisor lives, when it is time to, and if it does any good.
    pub(crate) fn beat(&mut self, does_good: impl FnOnce() -> bool) {
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

    /// When to call `update` and `beat` if nothing happens before.
    pub(crate) fn next_turn(&self) -> Option<Instant> {
        let beat = self.watchdog.as_ref().filter(|watchdog| !watchdog.withheld).map(|watchdog| watchdog.due);
        let retry = (!self.unsent.is_empty() || !self.unstored.is_empty()).then_some(self.retry_at);
        beat.into_iter().chain(retry).min()
    }

    /// All is over, for this reason.
    pub(crate) fn end(&mut self, line: &str) {
        let stopping = if self.phase == Phase::Stopping { "" } else { "STOPPING=1\n" };
        self.unsent.push_back(format!("{stopping}STATUS={}", one_line(line)));
        self.send_unsent();
    }

    /// Whether it is what a service manager should show. When the pool stops, that is why.
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
            _ if last.is_empty() => format!("STATUS={ready} of {} ready", wording::workers(workers)),
            _ => format!("STATUS={ready} of {} ready; {last}", wording::workers(workers)),
        }
    }

    /// Only the last reload is waited for; that the pool was ready before it may be, too.
    fn forget_reloads(&mut self) {
        let was_ready = self.unsent.front().is_some_and(|message| message.starts_with("READY=1"));
        self.unsent.truncate(was_ready.into());
    }

    /// Says whether all was taken.
    fn send_unstored(&mut self) -> bool {
        while let Some((message, socket)) = self.unstored.pop_front() {
            let taken = self.address.send_with(&message, socket.as_ref());
            if !self.is_over(taken) {
                self.unstored.push_front((message, socket));
                self.retry_at = Instant::now() + RETRY;
                return false;
            }
        }
        true
    }

    fn send_unsent(&mut self) {
        if !self.send_unstored() {
            return;
        }
        while let Some(message) = self.unsent.pop_front() {
            if !self.send(&message) {
                self.unsent.push_front(message);
                self.retry_at = Instant::now() + RETRY;
                return;
            }
        }
    }

    fn send(&mut self, message: &str) -> bool {
        let taken = self.address.send(message);
        self.is_over(taken)
    }

    /// Whether it is useless to try again: it was taken, or nobody will ever take it.
    fn is_over(&mut self, taken: io::Result<()>) -> bool {
        match taken {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
            // What other systems than Linux say of a full queue.
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => return false,
            Err(error) if !mem::replace(&mut self.warned, true) => logging::warn(&format!(
                "the service manager cannot be told how it goes: {error}; it was to read from {SOCKET}; the workers run \
                 on, but it may take this service for one that hangs"
            )),
            Ok(()) | Err(_) => {}
        }
        true
    }
}

impl Watchdog {
    /// Where the environment asks for it, of this process.
    fn from_environment() -> Option<Watchdog> {
        let Some(period) = env::var_os(WATCHDOG_PERIOD).filter(|period| !period.is_empty()) else {
            if present().contains(&WATCHDOG_PID) {
                logging::warn(&format!("{WATCHDOG_PID} is ignored: there is no {WATCHDOG_PERIOD}"));
            }
            return None;
        };
        if let Some(why) = trust::names_another(WATCHDOG_PID) {
            logging::warn(&format!(
                "{WATCHDOG_PERIOD} is ignored: {why}; the service manager waits for signs of life that do not come"
            ));
            return None;
        }
        let microseconds = period.to_str().and_then(|period| period.parse().ok()).filter(|&period| period > 0);
        let Some(every) = microseconds.map(|period| (Duration::from_micros(period) / 2).max(SHORTEST_BEAT)) else {
            logging::warn(&format!("{WATCHDOG_PERIOD}={period:?} is ignored: it is no number of microseconds"));
            return None;
        };
        // A time that is too far away for the clock is none.
        let due = Instant::now().checked_add(every)?;
        Some(Watchdog { every, due, withheld: false })
    }
}

/// What the service manager was waiting for takes so much longer from here.
fn extend(time: Duration) -> String {
    format!("EXTEND_TIMEOUT_USEC={}", time.as_micros())
}

/// As much as a message has room for, without what would begin another line.
fn one_line(text: &str) -> String {
    let mut end = text.len().min(LONGEST_STATUS);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_paths_and_abstract_names() {
        let parse = |name: &str| Address::parse(OsStr::new(name));
        let path = parse("/run/systemd/notify").expect("a path");
        assert_eq!(path.0.as_pathname(), Some(std::path::Path::new("/run/systemd/notify")));
        #[cfg(target_os = "linux")]
        assert_eq!(parse("@name").expect("a name").0.as_abstract_namespace(), Some(&b"name"[..]));
        for name in ["vsock:2:1234", "run/notify", &format!("/{}", "x".repeat(200))] {
            assert!(parse(name).is_err(), "{name}");
        }
    }

    #[test]
    fn of_what_was_not_taken_the_last_reload_is_kept_and_a_stop_alone() {
        let address = Address::parse(OsStr::new("/nowhere")).expect("a path");
        let mut manager = Manager::new(address, Duration::ZERO, None);
        let kinds = |manager: &Manager| -> Vec<String> {
            manager.unsent.iter().map(|message| message.split('=').next().unwrap_or_default().to_owned()).collect()
        };
        for (unsent, kept) in [
            (&["READY=1", "RELOADING=1", "READY=1"][..], &["READY"][..]),
            (&["RELOADING=1", "READY=1"], &[]),
            (&["READY=1"], &["READY"]),
            (&[], &[]),
        ] {
            manager.unsent = unsent.iter().map(|&message| message.to_owned()).collect();
            manager.forget_reloads();
            assert_eq!(kinds(&manager), kept);
        }
    }

    #[test]
    fn what_was_not_taken_is_not_stored_after_its_removal() {
        let path = env::temp_dir().join(format!("prefork-busy-manager-{}", std::process::id()));
        let busy = UnixDatagram::bind(&path).expect("a path");
        let filler = UnixDatagram::unbound().expect("a socket");
        filler.set_nonblocking(true).expect("a socket");
        while filler.send_to(b"x", &path).is_ok() {}
        let mut manager = Manager::new(Address::parse(path.as_os_str()).expect("a path"), Duration::ZERO, None);
        let socket = OwnedFd::from(filler);
        for (name, kind) in [("a", Kind::Udp), ("aa", Kind::Tcp), ("b", Kind::Tcp), ("a", Kind::Unix)] {
            manager.store(name, kind, &socket);
        }
        manager.remove_stored("a");
        std::fs::remove_file(&path).expect("it is there");
        let messages: Vec<&str> = manager.unstored.iter().map(|(message, _)| message.as_str()).collect();
        assert_eq!(messages, ["FDSTORE=1\nFDNAME=aa", "FDSTORE=1\nFDNAME=b", "FDSTOREREMOVE=1\nFDNAME=a"]);
        drop(busy);
    }

    #[test]
    fn a_status_is_one_line_that_fits_a_message() {
        assert_eq!(one_line("a\nb"), "a b");
        assert_eq!(one_line(&"ä".repeat(5000)).len(), LONGEST_STATUS);
        assert_eq!(one_line(&format!("x{}", "ä".repeat(5000))).len(), LONGEST_STATUS - 1);
    }
}
