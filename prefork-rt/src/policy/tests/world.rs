//! A world whose clock, processes and deaths are made up. It performs what the policy asks for, as the supervisor
//! does, in no time, keeps accounts of its own, and holds the policy to its invariants.

mod accounts;
mod checks;
mod life;
mod options;
mod processes;
mod sockets;
mod succession;

use super::super::*;
use std::collections::{BTreeMap, BTreeSet};
use succession::longest_backoff;

pub(super) use accounts::name;
pub(super) use life::*;
pub(super) use options::*;

/// Longer than any test runs.
pub(super) const FOREVER: Duration = Duration::from_secs(1_000_000_000);
pub(super) const YEAR: Duration = Duration::from_secs(31_556_952);

pub(super) fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// What the policy asked for, with task ids in place of processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    Fork(usize),
    Terminate(usize),
    Abort(usize),
    Kill(usize),
    ReadReport(usize),
    SetIntake(usize, Intake),
    OpenSockets(usize),
    InspectQueue(usize),
    CloseSockets(usize),
    Close,
    Rehearse,
    EndRehearsal,
    Upgrade,
    Commit,
    GoBack(usize),
    Exit,
}

/// How an upgrade goes outside the policy: how long its rehearsal takes and whether it is good, the rules of the next
/// binary where this one can be replaced, and whether there is a way back.
#[derive(Clone)]
pub(super) struct NextBinary {
    pub(super) rehearsal: Option<(Duration, bool)>,
    pub(super) rules: Option<Rules>,
    pub(super) way_back: bool,
}

/// What a process can do by itself. At one moment, reports come before ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Reports,
    Ends(u8),
}

pub(super) struct World {
    pub(super) policy: Policy,
    pub(super) now: Duration,
    /// What the rolls of a random test came from.
    pub(super) seed: u64,
    /// What becomes of a fork, by its task id and its number among the forks for it, from 0.
    script: Box<dyn FnMut(usize, usize) -> Fork>,
    pub(super) next: NextBinary,
    before: Rules,
    /// The longest backoff of all binaries so far, any of which may have begun to wait.
    longest_backoff: Duration,
    rehearsal: Option<(Duration, bool)>,
    rehearsing: bool,
    /// The first fork of a new binary, until there is no way back; whether one of its workers was ready; and whether
    /// one failed before that.
    newcomers: Option<u64>,
    accepted: bool,
    failed: bool,
    tasks: Vec<Task>,
    /// How many workers are wanted, by the world's own count, and how many the rules asked for.
    size: usize,
    planned: usize,
    pub(super) alive: BTreeMap<ProcId, Alive>,
    /// The sockets that slots have of their own.
    pub(super) intakes: BTreeMap<usize, Intake>,
    pub(super) sockets_are_refused: bool,
    /// How long connections wait in the queue of a slot that no new ones come to.
    pub(super) queue_lasts: Duration,
    /// From when until when, in milliseconds, something holds the worker of a task id.
    pub(super) holds: Vec<(usize, u64, u64, Hold)>,
    /// Since when, and for how long, nothing ran: neither the supervisor nor a worker.
    stops: Vec<(Duration, Duration)>,
    /// Slots that drain, since when, and until when at most.
    draining: BTreeMap<usize, (Duration, Duration)>,
    coming: BTreeMap<(Duration, Kind, ProcId), Status>,
    pub(super) deeds: Vec<(Duration, Deed)>,
    pub(super) notices: Vec<Notice>,
    pub(super) views: BTreeMap<usize, View>,
    /// How often time alone woke the supervisor.
    pub(super) wakeups: usize,
    failures: Vec<(Duration, usize)>,
    low: Tally,
    pool_was_ready: bool,
    reload_is_open: bool,
    /// Where an exclusive turn has not come to a ready worker yet.
    awaiting: BTreeSet<usize>,
    /// When the stop begins that was asked for and delayed, and how many forks there were until then.
    stop_at: Option<Duration>,
    pub(super) forks_before_stop: usize,
    /// How the pool must end, by the world's own count.
    fate: Option<&'static str>,
    shares: usize,
    pub(super) exit: Option<Exit>,
}

#[derive(Default, PartialEq, Eq, Debug)]
struct Tally {
    expected: usize,
    told: usize,
}

#[derive(Clone, Default)]
struct Task {
    forks: usize,
    starts: usize,
    finished: bool,
    added: bool,
    boot_failures: u32,
    newest_ready: Option<ProcId>,
    empty_since: Duration,
    /// Its last fork was refused.
    refused: bool,
}

pub(super) struct Alive {
    pub(super) task_id: usize,
    fork: u64,
    /// It does not say when it is ready.
    at_fork: bool,
    born: Duration,
    life: Life,
    told: Vec<(Signal, Duration)>,
    ready: bool,
    /// It asked to be recycled, so what its end means is known.
    asked: bool,
    /// It waits to be recycled.
    waits: bool,
    /// The exit status of its replacement means that trying again will not help.
    stays: bool,
    /// It is a replacement, beside the worker that it will replace.
    incoming: bool,
    /// It is the replacement of a worker that is recycled.
    recycles: bool,
    /// It may end without being missed.
    excused: bool,
    /// It is of a binary that has failed, and is told to go.
    dismissed: bool,
    /// SIGKILL has not ended it in time.
    overdue: bool,
    /// Until when its report that it is ready does not count.
    on_trial_until: Duration,
}

impl World {
    pub(super) fn new(rules: Rules, script: impl FnMut(usize, usize) -> Fork + 'static) -> World {
        World {
            now: Duration::ZERO,
            seed: 0,
            script: Box::new(script),
            next: NextBinary { rehearsal: Some((ms(10), true)), rules: Some(rules.clone()), way_back: true },
            before: rules.clone(),
            longest_backoff: longest_backoff(&rules),
            rehearsal: None,
            rehearsing: false,
            newcomers: None,
            accepted: false,
            failed: false,
            tasks: vec![Task::default(); rules.workers],
            size: rules.workers,
            planned: rules.workers,
            alive: BTreeMap::new(),
            intakes: (0..rules.workers).filter(|_| rules.slots_have_sockets).map(|slot| (slot, Intake::Open)).collect(),
            sockets_are_refused: false,
            queue_lasts: Duration::ZERO,
            holds: Vec::new(),
            stops: Vec::new(),
            draining: BTreeMap::new(),
            coming: BTreeMap::new(),
            deeds: Vec::new(),
            notices: Vec::new(),
            views: BTreeMap::new(),
            wakeups: 0,
            failures: Vec::new(),
            low: Tally::default(),
            pool_was_ready: false,
            reload_is_open: false,
            awaiting: BTreeSet::new(),
            stop_at: None,
            forks_before_stop: 0,
            fate: None,
            shares: 0,
            exit: None,
            policy: Policy::new(rules, &Uncopied::default()),
        }
    }

    /// Runs until the pool exits.
    pub(super) fn run(&mut self) -> &Exit {
        while self.step(FOREVER) {}
        self.exit.as_ref().expect("nothing is to happen any more, and there was no exit")
    }

    /// From here on each new worker is a good one, and nothing is asked for. Says whether everything in progress comes
    /// to an end within this time.
    pub(super) fn comes_to_rest(&mut self, within: Duration) -> bool {
        self.script = Box::new(|_, _| serves());
        let until = self.now.saturating_add(within);
        while !self.is_at_rest() && self.step(until) {}
        self.is_at_rest()
    }

    /// No upgrade, reload, turn or drain is in progress or waits.
    fn is_at_rest(&self) -> bool {
        let policy = &self.policy;
        let is_asked_for = policy.next_upgrade.is_some() || policy.owed_reload.is_some();
        let is_in_progress = policy.upgrade.is_some() || !policy.turns.are_over() || policy.draining > 0;
        self.exit.is_some() || !is_asked_for && !is_in_progress && policy.actions.is_empty()
    }

    /// Whether what is in progress may take for ever because of an option or a worker: a process that ignores SIGTERM
    /// has endless time to end, or hooks without a timeout do not end.
    pub(super) fn may_take_for_ever(&self) -> bool {
        let policy = &self.policy;
        let is_endless = |(when, _): (Time, Deadline)| when.since(policy.now) > 10 * YEAR;
        let is_told = [&policy.rules, &self.before].iter().any(|rules| rules.graceful_timeout > YEAR);
        let hangs =
            |alive: &Alive| policy.rules.readiness == Readiness::AtBody && !alive.ready && alive.life.ready.is_none();
        is_told || policy.deadlines.iter().any(is_endless) || self.alive.values().any(hangs)
    }

    pub(super) fn run_for(&mut self, milliseconds: u64) {
        let until = self.now + ms(milliseconds);
        while self.step(until) {}
        self.now = until;
    }

    /// The supervisor does not run for this long. It learns afterwards what happened meanwhile.
    pub(super) fn sleep(&mut self, duration: Duration) {
        self.now += duration;
    }

    /// Neither the supervisor nor a worker runs for this long.
    pub(super) fn stand_still(&mut self, duration: Duration) {
        self.stops.push((self.now, duration));
        let coming = std::mem::take(&mut self.coming).into_iter();
        self.coming = coming.map(|((when, kind, proc), status)| ((when + duration, kind, proc), status)).collect();
        self.now += duration;
    }

    pub(super) fn ask(&mut self, ask: Ask) {
        let delay = self.policy.rules.drain_delay;
        let mut is_delayed = false;
        match ask {
            _ if self.fate.is_some() => {}
            Ask::StopNow => self.fate = Some("stopped"),
            Ask::CtrlC => self.fate = Some("stopped"),
            Ask::Interrupt if self.stop_at.is_some() => self.fate = Some("stopped"),
            Ask::Stop | Ask::HangUp | Ask::Reload | Ask::Upgrade | Ask::More | Ask::Fewer if self.stop_at.is_some() => {
            }
            Ask::Stop | Ask::Interrupt if !delay.is_zero() => is_delayed = true,
            Ask::Stop | Ask::Interrupt | Ask::HangUp => self.fate = Some("stopped"),
            Ask::Reload | Ask::Upgrade => {}
            Ask::More if self.size < self.policy.rules.most_workers => self.add_task(),
            Ask::Fewer if self.size > 1 => self.remove_task(),
            Ask::More | Ask::Fewer => {}
        }
        self.handle(Event::Ask(ask, "the test".to_owned()));
        if is_delayed && self.fate.is_none() {
            self.begin_delay();
        }
    }

    /// Takes facts first, then one action, then lets time pass. False when nothing more happens until then.
    pub(super) fn step(&mut self, until: Duration) -> bool {
        while let Some((task_id, view)) = self.policy.take_changed() {
            self.views.insert(task_id, view);
        }
        if self.exit.is_some() {
            assert!(self.policy.poll().is_none() && self.policy.poll_timeout().is_none(), "there is life after Exit");
            return false;
        }
        if let Some(first) = self.coming.first_entry().filter(|first| first.key().0 <= self.now) {
            let ((_, kind, proc), status) = first.remove_entry();
            match kind {
                Kind::Reports => self.read_report(proc),
                Kind::Ends(_) => self.end(proc, status),
            }
            return true;
        }
        if let Some((_, good)) = self.rehearsal.take_if(|(when, _)| *when <= self.now) {
            self.rehearsing = false;
            self.handle(Event::Rehearsed(if good { Ok(()) } else { Err("it fails".to_owned()) }));
            return true;
        }
        if self.policy.poll_timeout().is_some_and(|Time(deadline)| deadline <= self.now) {
            self.handle(Event::Tick);
        }
        if let Some(action) = self.policy.poll() {
            self.perform(action);
            return true;
        }
        self.check();
        let coming = self.coming.keys().next().map(|&(time, ..)| time);
        let timeout = self.policy.poll_timeout().map(|Time(time)| time);
        if self.policy.now.0 < self.now && timeout.is_some_and(|timeout| timeout <= self.now) {
            // The policy decided something by an older time, and learns the present one.
            return true;
        }
        assert!(timeout.is_none_or(|timeout| timeout > self.now), "the loop would spin");
        let rehearsal = self.rehearsal.map(|(when, _)| when);
        let next = [coming, timeout, rehearsal].into_iter().flatten().min().filter(|&next| next <= until);
        self.now = next.unwrap_or(self.now);
        self.wakeups += usize::from(next.is_some() && next != coming && next != rehearsal);
        next.is_some()
    }

    fn perform(&mut self, action: Action) {
        let deed = match action {
            Action::Fork { proc, restarts, workers } => {
                assert_eq!(workers, self.size);
                return self.fork(proc, restarts);
            }
            Action::Signal(proc, signal) => return self.signal(proc, signal),
            Action::ReadReport(proc) => {
                self.deeds.push((self.now, Deed::ReadReport(proc.task_id)));
                return self.read_report(proc);
            }
            Action::Inspect(proc) => {
                let holds = |&&(task_id, from, until, _): &&(usize, u64, u64, Hold)| {
                    proc.task_id == task_id && (ms(from)..ms(until)).contains(&self.now)
                };
                let hold = self.holds.iter().find(holds).map_or(Hold::Nothing, |(.., hold)| hold.clone());
                return self.handle(Event::Inspected(proc, hold));
            }
            Action::Measure(proc) => return self.measure(proc),
            Action::SetIntake(task_id, intake) => {
                let before = self.intakes.insert(task_id, intake);
                assert!(before.is_some_and(|before| before != intake), "{intake:?} for {task_id}, which is {before:?}");
                Deed::SetIntake(task_id, intake)
            }
            Action::OpenSockets(task_id) => return self.open_sockets(task_id),
            Action::InspectQueue(task_id) => return self.inspect_queue(task_id),
            Action::CloseSockets(task_id) => {
                let is_wanted = self.draining.contains_key(&task_id) || task_id < self.size;
                let is_again = |action: &Action| matches!(action, Action::OpenSockets(again) if *again == task_id);
                let is_wanted_again = self.policy.actions.iter().any(is_again);
                let is_left = !is_wanted || self.tasks[task_id].finished || is_wanted_again;
                assert!(is_left, "the sockets of {task_id} are needed");
                assert_eq!(self.alive_of(task_id), [], "a process has the sockets of {task_id}");
                assert_ne!(self.intakes.remove(&task_id), Some(Intake::Open), "something new came to {task_id}");
                Deed::CloseSockets(task_id)
            }
            Action::Tell(notice) => return self.note(notice),
            Action::CloseListeners => {
                if self.fate.is_none() {
                    assert!(self.stop_at.is_some_and(|at| self.now >= at), "the stop begins too soon");
                    self.fate = Some("stopped");
                }
                Deed::Close
            }
            Action::Rehearse => {
                self.rehearsing = true;
                self.rehearsal = self.next.rehearsal.map(|(after, good)| (self.now + after, good));
                Deed::Rehearse
            }
            Action::EndRehearsal => {
                (self.rehearsal, self.rehearsing) = (None, false);
                Deed::EndRehearsal
            }
            Action::Upgrade => {
                self.deeds.push((self.now, Deed::Upgrade));
                assert_eq!(self.turns(), [], "an upgrade is no moment to replace a worker");
                return self.become_next();
            }
            Action::Commit => {
                assert!(self.newcomers.take().is_some(), "no upgrade is on probation");
                self.plan(self.policy.rules.workers);
                Deed::Commit
            }
            Action::GoBack { task_id, .. } => {
                self.deeds.push((self.now, Deed::GoBack(task_id)));
                return self.become_binary_before();
            }
            Action::Exit(exit) => {
                match &exit {
                    Exit::Unkillable(procs) => assert_eq!(
                        procs.iter().collect::<BTreeSet<_>>(),
                        self.alive.keys().collect::<BTreeSet<_>>(),
                        "the processes that are left behind"
                    ),
                    _ => assert!(self.alive.is_empty() && self.fate == Some(name(&exit)), "{exit:?}, {:?}", self.fate),
                }
                if let Exit::GaveUp { reason: GiveUp::Budget(_), .. } = &exit {
                    assert_eq!(self.shares, self.contributors(), "a line for each slot that contributed");
                }
                self.exit = Some(exit);
                Deed::Exit
            }
        };
        self.deeds.push((self.now, deed));
    }

    fn note(&mut self, notice: Notice) {
        match &notice {
            Notice::PoolReady { .. } => {
                assert!(!std::mem::replace(&mut self.pool_was_ready, true), "the first time comes once");
            }
            Notice::BudgetLow { .. } => self.low.told += 1,
            Notice::Contributed(_) => self.shares += 1,
            Notice::Reloading { .. } => self.reload_is_open = true,
            Notice::Reloaded { .. } | Notice::UpgradeDone { .. } => self.reload_is_open = false,
            Notice::ReloadFailed { go_back, .. } => {
                self.reload_is_open = false;
                // Some may have ended since.
                let turned_back = self.turn_back();
                assert!(turned_back <= *go_back, "{turned_back} replacements are not ready, and {go_back} are told");
            }
            Notice::Overdue { worker } => {
                self.awaiting.remove(&worker.task_id);
                if let Some(alive) = self.alive.get_mut(worker) {
                    alive.overdue = true;
                    alive.dismissed |= std::mem::take(&mut alive.incoming);
                }
            }
            Notice::RecycleFailed { worker, retry, .. } => {
                if let Some(alive) = self.alive.get_mut(worker) {
                    (alive.waits, alive.stays) = (retry.is_some(), retry.is_none());
                }
            }
            _ => {}
        }
        self.notices.push(notice);
    }

    fn handle(&mut self, event: Event) {
        // Where the new binary stays, it first applies its own number of workers.
        let is_planned = self.newcomers.is_none() || !self.accepted;
        if is_planned {
            self.finish_if_over();
        }
        self.policy.handle(Time(self.now), event);
    }

    pub(super) fn alive_of(&self, task_id: usize) -> Vec<ProcId> {
        self.alive.keys().filter(|proc| proc.task_id == task_id).copied().collect()
    }

    /// When the next deadline is due, except for waking up to find out whether the supervisor is late.
    pub(super) fn next_deadline(&self) -> Option<Time> {
        let deadlines = self.policy.deadlines.iter().filter(|&(_, deadline)| deadline != Deadline::Awake);
        deadlines.map(|(time, _)| time).next()
    }

    pub(super) fn deeds(&self) -> Vec<Deed> {
        self.deeds.iter().map(|&(_, deed)| deed).collect()
    }

    pub(super) fn times(&self, deed: Deed) -> Vec<Duration> {
        self.deeds.iter().filter(|&&(_, done)| done == deed).map(|&(time, _)| time).collect()
    }

    /// How long each fork for this task id waited, where every process before it lived for `lives` milliseconds.
    pub(super) fn waits(&self, task_id: usize, lives: u64) -> Vec<Duration> {
        self.times(Deed::Fork(task_id)).windows(2).map(|pair| pair[1] - pair[0] - ms(lives)).collect()
    }

    pub(super) fn count(&self, is_meant: impl Fn(&Notice) -> bool) -> usize {
        self.notices.iter().filter(|notice| is_meant(notice)).count()
    }

    /// How much of the budget is used.
    pub(super) fn used(&mut self) -> usize {
        self.policy.restarts()
    }
}

/// Prints what led to a failure.
impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let (deeds, notices) = (self.deeds.len().saturating_sub(25), self.notices.len().saturating_sub(25));
            eprintln!("seed {}, at {:?}, after {:?}", self.seed, self.now, &self.deeds[deeds..]);
            self.notices[notices..].iter().for_each(|notice| eprintln!("  {notice:?}"));
        }
    }
}
