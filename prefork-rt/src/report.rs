//! How a notice of the policy reads as a log line.

use std::ffi::c_int;
use std::fmt::{self, Display};
use std::time::Duration;

use log::Level::{Error, Info, Warn};

use crate::amounts::{self, age, all, at_a_time, in_a_while, size, time, within, workers, workers_were};
use crate::exit_status::EXIT_GIVE_UP;
use crate::logging::{TARGET, say, warn};
use crate::policy::{
    Failure, GiveUp, KillReason, Killer, Neutral, Notice, ProcId, Recycle, Scope, Share, Spent, Status, TurnFailure,
};
use crate::sys::{self, Member, Pid, Rest};
use crate::wording::{list, words};

/// How many processes a line names. It counts the others.
const MOST_NAMED: usize = 3;

/// Logs what happened, and hands the line to `also`. `pid` finds the process of a worker, also after its end.
pub(crate) fn notice(notice: &Notice, pid: impl Fn(ProcId) -> Option<Pid>, also: &mut dyn FnMut(fmt::Arguments<'_>)) {
    let mut tell = |level, line: fmt::Arguments<'_>| {
        say(level, line);
        also(line);
    };
    let name = |&worker: &ProcId| name_of(worker, pid(worker));
    let name_in_text = |worker: &ProcId| name(worker).to_string();
    // What follows an end: the worker is started anew after a while, or its replacement is there already.
    let then = |start: &'static str, delay: &Duration, successor: &Option<ProcId>| {
        let (successor, delay) = (successor.as_ref().map(&name), *delay);
        words(move |f| match &successor {
            Some(successor) => write!(f, "{successor}, its replacement, takes its place"),
            None => write!(f, "{start}{}", in_a_while(delay)),
        })
    };
    let only_pid = |&worker: &ProcId| pid(worker).map_or_else(|| "the old one".to_owned(), |pid| format!("pid {pid}"));
    match notice {
        // First starts are at level debug: a pool of a thousand workers would log a thousand lines.
        Notice::Started { worker, restarts: 0, .. } => {
            log::debug!(target: TARGET, "{} started", name(worker));
        }
        Notice::Started { worker, restarts, replaces } => tell(
            Info,
            format_args!(
                "{} started, restart {restarts} of it{}",
                name(worker),
                replaces.as_ref().map_or_else(String::new, |old| format!(", to take the place of {}", only_pid(old)))
            ),
        ),
        Notice::PoolReady { workers, took } => {
            tell(Info, format_args!("{} ready after {}", all(*workers, "are", "is"), age(*took)))
        }
        Notice::Finished { worker, up, left } => {
            tell(Info, format_args!("{} finished with status 0 after {}, {left} left", name(worker), age(*up)))
        }
        Notice::Restarting { worker, failure, up, delay, spent, successor } => tell(
            Warn,
            format_args!(
                "{} {} after {}, {} ({}){}",
                name(worker),
                what(*failure),
                age(*up),
                then("restarting", delay, successor),
                used(*spent),
                by_whom(*failure)
            ),
        ),
        Notice::StartingAgain { worker, why, up, delay, successor } => tell(
            Info,
            format_args!(
                "{} exited with status 0 after {}{}, {} (not counted)",
                name(worker),
                age(*up),
                match why {
                    Neutral::Always => " (restart = \"always\")",
                    Neutral::Terminated => ", told to end by a SIGTERM that is not the supervisor's",
                    Neutral::Recycled => ", having asked to be replaced",
                },
                then("starting again", delay, successor)
            ),
        ),
        Notice::Stopped { worker, status, up } => {
            tell(Info, format_args!("{} {} after {}, stopped", name(worker), how(*status), age(*up)))
        }
        Notice::Replaced { worker, status, up } => {
            tell(Info, format_args!("{} {} after {}, replaced", name(worker), how(*status), age(*up)))
        }
        Notice::ForkRefused { task_id, error, delay, spent } => tell(
            Warn,
            format_args!(
                "worker {task_id} cannot be forked: {error}; trying again{}, then less often, until the system allows \
                 it; {}; check the limits on processes and memory",
                in_a_while(*delay),
                spent.map_or_else(
                    || "this is not counted as long as a worker lives".to_owned(),
                    |spent| format!("no worker is left, so each try counts ({})", used(spent))
                )
            ),
        ),
        Notice::ForksSucceed { refused, took } => tell(
            Info,
            format_args!(
                "forking succeeds again, and no fork is pending: the system refused {refused} fork{} in {}",
                if *refused == 1 { "" } else { "s" },
                age(*took)
            ),
        ),
        Notice::BudgetLow { spent } => tell(
            Warn,
            format_args!(
                "restarts are running out: {} used{}; when none is left, the next failure stops the pool with status \
                 1; see above what failed",
                used(*spent),
                within(spent.window)
            ),
        ),
        Notice::BootLooksBroken { task_id } => tell(
            Warn,
            format_args!(
                "worker {task_id} failed twice within 1s of its start, and no worker has lived for 1s yet: this looks \
                 like a failure to boot; check what the worker prints, its configuration and what it connects to; it \
                 is tried again until the restarts are used (with the option ready_timeout, this would be the end)"
            ),
        ),
        Notice::Hung { worker, silent, kill_after } => tell(
            Warn,
            format_args!(
                "{} has sent no heartbeat for {} (heartbeat_timeout): it hangs; SIGABRT now, SIGKILL in {}",
                name(worker),
                age(*silent),
                time(*kill_after)
            ),
        ),
        Notice::Debugged { worker, by } => tell(
            Info,
            format_args!(
                "{} is held by a debugger or tracer, {by}: heartbeat_timeout and ready_timeout do not apply to it \
                 until it detaches",
                name(worker)
            ),
        ),
        Notice::Dumping { worker, at_most } => tell(
            Info,
            format_args!("{} dumps core: SIGKILL waits until that is done, at most {}", name(worker), time(*at_most)),
        ),
        Notice::NotReady { worker, ready_timeout } => tell(
            Warn,
            format_args!(
                "{} is not ready after {} (ready_timeout): killing it; it has not called Worker::ready(), as each \
                 worker must once it can serve",
                name(worker),
                time(*ready_timeout)
            ),
        ),
        Notice::KillingOne { worker, after } => {
            tell(Warn, format_args!("killing {}, which did not end within {}", name(worker), time(*after)))
        }
        Notice::Overdue { worker } => tell(
            Warn,
            format_args!(
                "{} has not died of SIGKILL within 5s; its task id stays empty until it does; it is probably blocked \
                 in the kernel (state D in ps), on a disk or a network file system",
                name(worker)
            ),
        ),
        Notice::GivingUp { worker, failure, up, reason } => {
            let (what, why) = (what(*failure), why_give_up(*reason));
            tell(
                Error,
                format_args!("{} {what} after {}, giving up: {why}{}", name(worker), age(*up), by_whom(*failure)),
            )
        }
        Notice::ForksRefusedTooOften { task_id, error: why, spent } => tell(
            Error,
            format_args!(
                "worker {task_id} cannot be forked: {why}; giving up: {}",
                why_give_up(GiveUp::Budget(*spent))
            ),
        ),
        Notice::Contributed(share) => tell(Warn, format_args!("{}", contribution(share))),
        Notice::Reloading { by, alive, width } => {
            tell(Info, format_args!("{by}: reloading {}, {}", workers(*alive), at_a_time(*width, *alive)))
        }
        Notice::ReloadQueued { by } => {
            tell(Info, format_args!("{by}: workers are being replaced already; a reload begins when that is done"))
        }
        Notice::ReloadFailed { task_id, why, kept, replaced, go_on, go_back } => tell(
            Warn,
            format_args!(
                "reload abandoned at worker {task_id}: {}; {}; {} replaced before{}{}; SIGHUP tries again",
                turn_failure(why, &name_in_text),
                kept.as_ref().map_or_else(
                    || "the old worker had already ended".to_owned(),
                    |old| format!("{} stays", name(old))
                ),
                workers_were(*replaced),
                match go_on {
                    0 => String::new(),
                    1 => "; 1 other worker is still being replaced".to_owned(),
                    _ => format!("; {go_on} other workers are still being replaced"),
                },
                match go_back {
                    0 => String::new(),
                    1 => "; 1 other replacement was not ready and is stopped".to_owned(),
                    _ => format!("; {go_back} other replacements were not ready and are stopped"),
                }
            ),
        ),
        Notice::Reloaded { replaced, took } => {
            tell(Info, format_args!("reload done after {}: {} replaced", age(*took), workers_were(*replaced)))
        }
        Notice::Upgrading { by } => {
            tell(Info, format_args!("{by}: upgrading to the binary now on disk; its start is rehearsed first"))
        }
        Notice::UpgradeQueued { by } => tell(
            Info,
            format_args!(
                "{by}: an upgrade is in progress; when it is over, the next begins, to the binary that is on disk then"
            ),
        ),
        Notice::UpgradeFailed { why } => {
            tell(Warn, format_args!("upgrade abandoned: {why}; nothing has changed; SIGUSR2 tries again"))
        }
        Notice::Upgraded { alive, width } => tell(
            Info,
            format_args!(
                "upgraded: pid {} runs the new binary, and replaces the previous binary's {}{} {}",
                sys::getpid(),
                workers(*alive),
                if width.min(alive) > &1 { ", the first one alone, then" } else { "" },
                at_a_time(*width, *alive)
            ),
        ),
        Notice::UpgradeDone { replaced, took } => {
            tell(Info, format_args!("upgrade done after {}: {} replaced", age(*took), workers_were(*replaced)))
        }
        Notice::WentBack { why, alive } => tell(
            Warn,
            format_args!(
                "upgrade abandoned: {why}; pid {} runs the previous binary again, with {}; SIGUSR2 tries again",
                sys::getpid(),
                workers(*alive)
            ),
        ),
        Notice::CannotGoBack { why } => tell(
            Error,
            format_args!(
                "cannot go back to the previous binary: {why}; the new one stays and replaces its workers as always; \
                 SIGHUP replaces the workers of the previous binary"
            ),
        ),
        Notice::Recycling { worker, why, up } => tell(
            Info,
            format_args!(
                "recycling {}: {}",
                name(worker),
                match why {
                    Recycle::Asked => format!("it asked for it after {}", age(*up)),
                    Recycle::Lifetime => format!("it has lived for {} (max_lifetime)", age(*up)),
                    Recycle::Memory { used, max_memory } => {
                        format!("its private memory, {}, is over {} (max_memory)", size(*used), size(*max_memory))
                    }
                }
            ),
        ),
        Notice::RecycleFailed { worker, why, retry } => tell(
            Warn,
            format_args!(
                "{} cannot be recycled: {}; it stays{}",
                name(worker),
                turn_failure(why, &name_in_text),
                retry.map_or_else(String::new, |retry| format!(", the next try is in {}", time(retry)))
            ),
        ),
        Notice::Scaled { by, from, to } => tell(Info, format_args!("{by}: {} instead of {from}", workers(*to))),
        Notice::CannotAdd { task_id, error, workers } => tell(
            Warn,
            format_args!(
                "worker {task_id} cannot be added: {error}; {} stay; check the limits on processes and memory",
                amounts::workers(*workers)
            ),
        ),
        Notice::CannotOpen { task_id, error, workers } => tell(
            Warn,
            format_args!(
                "worker {task_id} cannot be added, as there are no sockets for it: {error}; {} stay; check the limit \
                 on open files",
                amounts::workers(*workers)
            ),
        ),
        Notice::NotDrained { task_id, after } => tell(
            Warn,
            format_args!(
                "worker {task_id} is being removed, and connections still wait for it after {} (graceful_timeout): \
                 those that it does not accept now are lost",
                time(*after)
            ),
        ),
        Notice::NotScaled { by, workers: 1 } => {
            tell(Info, format_args!("{by}: the last worker stays; SIGTERM stops it"))
        }
        Notice::NotScaled { by, workers } => tell(
            Warn,
            format_args!(
                "{by}: {workers} workers are the most that this run has room for; restart the service with a larger `workers`"
            ),
        ),
        Notice::Ignored { by } => tell(Info, format_args!("{by} is ignored: the pool is stopping")),
        Notice::StopDelayed { by, alive, delay } => tell(
            Info,
            format_args!(
                "{by}: stopping in {} (drain_delay); {} on until then",
                time(*delay),
                match alive {
                    1 => "1 worker serves".to_owned(),
                    _ => format!("{alive} workers serve"),
                }
            ),
        ),
        Notice::Stopping { by, alive, graceful_timeout } => tell(
            Info,
            format_args!(
                "{}stopping {}, at most {}",
                by.as_ref().map_or_else(String::new, |by| format!("{by}: ")),
                workers(*alive),
                time(*graceful_timeout)
            ),
        ),
        Notice::AlreadyStopping { by } => tell(
            Info,
            format_args!(
                "{by}: already stopping; SIGINT or SIGQUIT kills at once, unless this program was started with them \
                 ignored, as with & in a script"
            ),
        ),
        Notice::Killing { alive, why: KillReason::GracefulTimeout(timeout) } => tell(
            Warn,
            format_args!("killing {} that did not end within {} (graceful_timeout)", workers(*alive), time(*timeout)),
        ),
        Notice::Killing { alive, why: KillReason::Asked(by) } => {
            tell(Warn, format_args!("{by}: killing {}", workers(*alive)))
        }
    }
}

/// Why the upgrade is abandoned: which worker failed, and how.
pub(crate) fn upgrade_failure(task_id: usize, why: &TurnFailure, pid: impl Fn(ProcId) -> Option<Pid>) -> String {
    format!("at worker {task_id}: {}", turn_failure(why, &|&worker| name_of(worker, pid(worker)).to_string()))
}

/// "worker 2 (pid 4711)".
fn name_of(worker: ProcId, pid: Option<Pid>) -> impl Display {
    words(move |f| match pid {
        Some(pid) => write!(f, "worker {} (pid {pid})", worker.task_id()),
        None => write!(f, "worker {}", worker.task_id()),
    })
}

/// Why a worker's end counts, as the end of a sentence that begins with the worker's name.
fn what(failure: Failure) -> impl Display {
    words(move |f| match failure {
        Failure::Ended(status) => how(status).fmt(f),
        Failure::Hung(status) => write!(f, "hung and {}", how_by(status, "was ended")),
        Failure::NotReady => f.write_str("was not ready in time and was killed"),
        Failure::CannotFork => f.write_str("could not be forked"),
    })
}

/// Where a SIGKILL came from that the supervisor did not send.
fn by_whom(failure: Failure) -> impl Display {
    words(move |f| match failure {
        Failure::Ended(Status::KilledByOthers(Killer::OutOfMemory(growth))) => write!(
            f,
            "; probably an out-of-memory kill: {} oom_kill counter went from {} to {}; give it more memory or run \
             fewer workers",
            whose(growth.counter),
            growth.from,
            growth.to
        ),
        Failure::Ended(Status::KilledByOthers(Killer::Unknown)) => f.write_str("; the SIGKILL came from outside"),
        _ => Ok(()),
    })
}

/// The owner of the counter, as a word before it.
fn whose(counter: Scope) -> &'static str {
    match counter {
        Scope::Cgroup => "the cgroup's",
        Scope::Kernel => "the kernel's",
    }
}

fn why_give_up(reason: GiveUp) -> String {
    match reason {
        GiveUp::Budget(Spent { max_restarts, window, .. }) => {
            let max_restarts = max_restarts.unwrap_or(usize::MAX);
            format!("{max_restarts} of {max_restarts} restarts are used{}", within(window))
        }
        GiveUp::Boot => "the service cannot boot".to_owned(),
        GiveUp::Final => format!("status {} says that trying again will not help", EXIT_GIVE_UP),
    }
}

/// The line for one slot: how often it failed, when last, and of what.
fn contribution(share: &Share) -> String {
    let mut kinds: Vec<(String, usize)> = Vec::new();
    for failure in &share.failures {
        let kind = kind(*failure);
        match kinds.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, count)) => *count += 1,
            None => kinds.push((kind, 1)),
        }
    }
    let of_what = match &kinds[..] {
        [(kind, _)] => kind.clone(),
        _ => in_order(&kinds),
    };
    let how_often = match share.failures.len() {
        1 => "once,".to_owned(),
        2 => "twice, last".to_owned(),
        count => format!("{count} times, last"),
    };
    // Times have tenths of a second, so anything shorter is now.
    let is_now = share.last < Duration::from_millis(100);
    let when = if is_now { "just now".to_owned() } else { format!("{} ago", age(share.last)) };
    format!("worker {} failed {how_often} {when}: {of_what}", share.task_id)
}

/// "3 x killed by SIGSEGV, 1 x hung": the most frequent kind first.
fn in_order(kinds: &[(String, usize)]) -> String {
    let mut counts: Vec<usize> = Vec::new();
    let mut shown: Vec<String> = Vec::new();
    for (kind, count) in kinds {
        let index = counts.partition_point(|known| known >= count);
        counts.insert(index, *count);
        shown.insert(index, format!("{count} x {kind}"));
    }
    shown.join(", ")
}

/// The kind of a failure, by which failures are counted.
fn kind(failure: Failure) -> String {
    match failure {
        Failure::Ended(status @ Status::KilledByOthers(Killer::OutOfMemory(_))) => {
            format!("{}, probably out of memory", how(status))
        }
        Failure::Ended(status) => how(status).to_string(),
        Failure::Hung(_) => "hung".to_owned(),
        Failure::NotReady => "not ready in time".to_owned(),
        Failure::CannotFork => "could not be forked".to_owned(),
    }
}

fn turn_failure(why: &TurnFailure, name: &dyn Fn(&ProcId) -> String) -> String {
    match why {
        TurnFailure::Failed { worker, failure, up } => {
            let (name, what, age) = (name(worker), what(*failure), age(*up));
            let when = if *failure == Failure::NotReady { "" } else { ", before it was ready" };
            let by_whom = by_whom(*failure).to_string().replace(';', ",");
            format!("its replacement, {name}, {what} after {age}{when}{by_whom}")
        }
        TurnFailure::CannotFork(error) => format!("its replacement cannot be forked: {error}"),
        TurnFailure::Overdue { worker } => format!("{} has not died of SIGKILL and is in the way", name(worker)),
    }
}

/// How a process ended, as the end of a sentence that begins with its name.
fn how(status: Status) -> impl Display {
    how_by(status, "killed")
}

/// As [`how`], with another word for what a signal does.
fn how_by(status: Status, killed: &'static str) -> impl Display {
    words(move |f| match status {
        Status::Exited(code) => write!(f, "exited with status {code}"),
        Status::Killed { signal, dumped_core } => {
            let core = if dumped_core { " (core dumped)" } else { "" };
            write!(f, "{killed} by {}{core}", sys::signal_name(signal))
        }
        Status::KilledByOthers(_) => write!(f, "{killed} by SIGKILL"),
    })
}

/// Explains a worker that the terminal has stopped.
pub(crate) fn stopped_by_terminal(task_id: usize, pid: Pid, signal: c_int) {
    let name = sys::signal_name(signal);
    let what = if signal == sys::Signal::SIGTTIN as c_int { "reads from" } else { "writes to or configures" };
    warn(&format!(
        "worker {task_id} (pid {pid}) was stopped by {name}: it {what} the terminal, which belongs to the supervisor; \
         let the worker use a pipe or a file instead; `kill -KILL {pid}` replaces it"
    ));
}

/// Says what became of the processes that a worker, or a rehearsal, left in its process group. `known` has the
/// processes that could be named.
pub(crate) fn left_behind(task_id: Option<usize>, leader: Pid, rest: Rest, known: &[&Member]) {
    let by = task_id.map_or_else(|| "the rehearsal".to_owned(), |task_id| format!("worker {task_id}"));
    let comma = if known.is_empty() { "" } else { ", " };
    let names = words(|f| write!(f, "{comma}{}", list(known.len(), MOST_NAMED, |nth, f| known[nth].fmt(f))));
    match rest {
        Rest::Nothing => {}
        Rest::Ours => warn(&format!(
            "{by} (pid {leader}) left processes in its process group{names}: they were killed with it; to keep such \
             a process, let it call setsid(2)"
        )),
        Rest::Others => warn(&format!(
            "{by} (pid {leader}) left processes of another user in its process group{names}: they live on, as this \
             user may not kill them; let the worker end them"
        )),
    }
}

fn used(spent: Spent) -> impl Display {
    words(move |f| match spent.max_restarts {
        Some(max_restarts) => write!(f, "{}/{max_restarts}", spent.used),
        None => write!(f, "{}/unlimited", spent.used),
    })
}

#[cfg(test)]
mod tests;
