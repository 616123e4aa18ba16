//! Which options this system cannot serve, and which settings a warning is due for, before anything is forked.
//!
//! It must not know in which order a start asks.

use crate::amounts;
use crate::error::Error;
use crate::logging;
use crate::options::{RESTARTS_PER_WORKER, Settings};
use crate::supervisor::credentials::Credentials;
use crate::sys::{self, Interpreter};
use crate::upgrade::{self, Launch};

/// Warns when the pool would give up before each worker has failed once.
pub(super) fn warn_of_few_restarts(settings: &Settings) {
    let workers = settings.workers;
    let Some(max_restarts) = settings.max_restarts.filter(|&max_restarts| max_restarts < workers) else { return };
    let (enough, within) = (workers.saturating_mul(RESTARTS_PER_WORKER), amounts::within(settings.restart_window));
    let or = match settings.restart_window {
        None => ", or set restart_window, so that old failures do not count for ever",
        Some(_) => "",
    };
    logging::warn(&format!(
        "max_restarts = {max_restarts} is less than workers = {workers}: the pool gives up before each worker has failed \
         once{within}; set max_restarts to {enough} or more{or}"
    ));
}

/// Warns of a place of the binary for which an upgrade will be refused. A missing binary is reported at the upgrade.
pub(super) fn warn_of_a_replaceable_binary(launch: &Launch, credentials: Option<&Credentials>) {
    let workers = credentials.and_then(Credentials::unprivileged);
    if let Some(Err(why)) = workers.map(|workers| upgrade::check_place(launch, &workers)) {
        logging::warn(&format!("an upgrade (SIGUSR2) will be refused: {why}"));
    }
}

/// The interpreter of this process, which takes part in each fork. A warning where its library cannot.
pub(super) fn find_python() -> Option<Interpreter> {
    sys::find_python().unwrap_or_else(|why| {
        logging::warn(&format!(
            "Python is not told of forks: {why}; so functions of os.register_at_fork do not run, and workers may draw \
             equal numbers from Python's random: use CPython 3.7 or later"
        ));
        None
    })
}

pub(super) fn check_addresses_can_be_shared(reuse_port: bool) -> Result<(), Error> {
    if !reuse_port || cfg!(any(target_os = "linux", target_os = "android", target_os = "freebsd")) {
        return Ok(());
    }
    Err(Error::Option {
        name: "reuse_port",
        reason:
            "this system does not spread connections over sockets that share an address: it needs Linux or FreeBSD; \
                 leave the option out"
                .to_owned(),
    })
}

/// Refuses an option that only Linux can serve; `lack` is what any other system lacks.
pub(super) fn check_this_is_linux(name: &'static str, asked: bool, lack: &str) -> Result<(), Error> {
    if !asked || cfg!(any(target_os = "linux", target_os = "android")) {
        return Ok(());
    }
    Err(Error::Option { name, reason: format!("this system {lack}: it needs Linux; leave the option out") })
}

pub(super) fn check_memory_can_be_measured(max_memory: Option<u64>) -> Result<(), Error> {
    match max_memory.map(|_| sys::private_memory(sys::getpid())) {
        Some(Err(error)) => Err(Error::Option {
            name: "max_memory",
            reason: format!(
                "this system does not tell how much memory is a process's own ({error}): it needs Linux 4.14 and /proc; \
                 leave the option out"
            ),
        }),
        _ => Ok(()),
    }
}
