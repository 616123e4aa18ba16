//! A world whose clock, processes and deaths are made up. It performs what the policy asks for, as the supervisor
//! does, in no time, keeps accounts of its own, and holds the policy to its invariants.

use super::super::intake::SETTLE;
use super::super::refusal::{FORK_RETRY, LONGEST_FORK_RETRY};
use super::super::*;
use crate::exit_status::EXIT_GIVE_UP;
use crate::grammar::{Backoff, Reload, Restart};
use std::collections::{BTreeMap, BTreeSet};

/// Longer than any test runs.
pub(super) const FOREVER: Duration = Duration::from_secs(1_000_000_000);
pub(super) const YEAR: Duration = Duration::from_secs(31_556_952);

pub(super) const NORMAL: Status = Status::Exited(0);
pub(super) const FAILED: Status = Status::Exited(1);
pub(super) const FINAL: Status = Status::Exited(EXIT_GIVE_UP as i32);
pub(super) const SEGFAULT: Status = Status::Killed { signal: 11, dumped_core: true };
pub(super) const ABORTED: Status = Status::Killed { signal: 6, dumped_core: true };
pub(super) const REAL_TIME_SIGNAL: Status = Status::Killed { signal: 37, dumped_core: false };
pub(super) const SIGKILLED: Status = Status::Killed { signal: 9, dumped_core: false };

/// What becomes of a fork.
#[derive(Clone, Copy)]
#[expect(clippy::large_enum_variant, reason = "there are few, and most of them run")]
pub(super) enum Fork {
    Runs(Life),
    Refused,
    Unsafe,
}

/// How long after something a process ends, and how; `None` is not at all.
pub(super) type End = Option<(Duration, Status)>;

/// What a process does, each so long after its start, and how it answers signals.
#[derive(Clone, Copy)]
pub(super) struct Life {
    pub(super) ready: Option<Duration>,
    /// The first beat, the time between two, and the last.
    pub(super) beats: Option<(Duration, Duration, Duration)>,
    pub(super) recycle: Option<Duration>,
    /// Somebody sends it SIGTERM.
    pub(super) operator: Option<Duration>,
    /// Bytes at the start, and more of them in each second.
    pub(super) memory: (u64, u64),
    pub(super) alone: End,
    pub(super) terminated: End,
    pub(super) aborted: End,
    pub(super) killed: End,
}

/// Is ready at once, runs until it is told to end, and then ends at once.
pub(super) const OBEYS: Life = Life {
    ready: Some(Duration::ZERO),
    beats: None,
    recycle: None,
    operator: None,
    memory: (0, 0),
    alone: None,
    terminated: Some((Duration::ZERO, NORMAL)),
    aborted: Some((Duration::ZERO, ABORTED)),
    killed: Some((Duration::ZERO, SIGKILLED)),
};

pub(super) fn serves() -> Fork {
    Fork::Runs(OBEYS)
}

pub(super) fn ends(milliseconds: u64, status: Status) -> Fork {
    Fork::Runs(Life { alone: Some((ms(milliseconds), status)), ..OBEYS })
}

/// Ends so long after SIGTERM.
pub(super) fn drains(milliseconds: u64, status: Status) -> Fork {
    Fork::Runs(Life { terminated: Some((ms(milliseconds), status)), ..OBEYS })
}

pub(super) fn ignores_sigterm() -> Fork {
    Fork::Runs(Life { terminated: None, ..OBEYS })
}

pub(super) fn survives_sigkill() -> Fork {
    Fork::Runs(Life { terminated: None, aborted: None, killed: None, ..OBEYS })
}

pub(super) fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

impl Fork {
    fn but(self, change: impl FnOnce(&mut Life)) -> Fork {
        let Fork::Runs(mut life) = self else { return self };
        change(&mut life);
        Fork::Runs(life)
    }

    pub(super) fn ready(self, milliseconds: u64) -> Fork {
        self.but(|life| life.ready = Some(ms(milliseconds)))
    }

    pub(super) fn never_ready(self) -> Fork {
        self.but(|life| life.ready = None)
    }

    /// Beats from then on, so often, and hangs after so long.
    pub(super) fn beats(self, from: u64, every: u64, until: u64) -> Fork {
        self.but(|life| life.beats = Some((ms(from), ms(every), ms(until))))
    }

    pub(super) fn asks_at(self, milliseconds: u64) -> Fork {
        self.but(|life| life.recycle = Some(ms(milliseconds)))
    }

    pub(super) fn told_by_operator(self, milliseconds: u64) -> Fork {
        self.but(|life| life.operator = Some(ms(milliseconds)))
    }

    pub(super) fn grows(self, bytes: u64, per_second: u64) -> Fork {
        self.but(|life| life.memory = (bytes, per_second))
    }

    pub(super) fn ignores_sigabrt(self) -> Fork {
        self.but(|life| life.aborted = None)
    }
}

pub(super) fn rules(workers: usize) -> Rules {
    Rules {
        workers,
        most_workers: workers + 4,
        slots_have_sockets: false,
        max_restarts: Some(100),
        restart_window: None,
        restart: Restart::OnFailure,
        backoff: Backoff { first: ms(100), longest: ms(1000) },
        graceful_timeout: ms(25_000),
        readiness: Readiness::AtFork,
        heartbeat_timeout: None,
        max_lifetime: None,
        max_memory: None,
        reload: Reload::Overlap,
        jitter_seed: 1,
    }
}

pub(super) fn without_backoff(workers: usize) -> Rules {
    Rules { backoff: Backoff { first: Duration::ZERO, longest: Duration::ZERO }, ..rules(workers) }
}

/// With a ready_timeout.
pub(super) fn announced(workers: usize, ready_timeout: u64) -> Rules {
    Rules { readiness: Readiness::Announced(ms(ready_timeout)), ..rules(workers) }
}

pub(super) fn exclusive(rules: Rules) -> Rules {
    Rules { reload: Reload::Exclusive, ..rules }
}

/// What the policy had done, with task ids for processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    Fork(usize),
    Terminate(usize),
    Abort(usize),
    Kill(usize),
    Look(usize),
    SetIntake(usize, Intake),
    OpenSockets(usize),
    LookAtQueue(usize),
    CloseSockets(usize),
    Close,
    Rehearse,
    EndRehearsal,
    Upgrade,
    ForgetBinaryBefore,
    GoBack(usize),
    Exit,
}

/// How an upgrade goes outside the policy: how long its rehearsal takes, and how that ends; whether this binary can be
/// replaced then, and by one with which rules; and whether there is a way back.
#[derive(Clone)]
pub(super) struct NextBinary {
    pub(super) rehearsal: Option<(Duration, bool)>,
    pub(super) rules: Option<Rules>,
    pub(super) way_back: bool,
}

/// What can happen by itself, what is said before what ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Rings,
    Ends(u8),
}

pub(super) struct World {
    pub(super) policy: Policy,
    pub(super) now: Duration,
    /// What the rolls of a random test came from.
    pub(super) seed: u64,
    /// What becomes of the fork for a task id, the how manieth for it (from 0).
    script: Box<dyn FnMut(usize, usize) -> Fork>,
    pub(super) next: NextBinary,
    before: Rules,
    /// Of all binaries so far, any of which may have begun to wait.
    longest_backoff: Duration,
    rehearsal: Option<(Duration, bool)>,
    rehearsing: bool,
    /// The first fork of a new binary, until the one before is forgotten, and whether one of its workers was ready, or one
    /// has failed before.
    newcomers: Option<u64>,
    accepted: bool,
    failed: bool,
    tasks: Vec<Task>,
    /// How many there are to be, by a count of our own, and were to be by the rules.
    size: usize,
    planned: usize,
    pub(super) alive: BTreeMap<ProcId, Alive>,
    /// The sockets that slots have of their own.
    pub(super) intakes: BTreeMap<usize, Intake>,
    pub(super) sockets_are_refused: bool,
    /// For so long, somebody waits in the queue of a slot that nothing new comes to.
    pub(super) queue_lasts: Duration,
    /// From when until when, in milliseconds, something holds the worker of a task id.
    pub(super) holds: Vec<(usize, u64, u64, Hold)>,
    /// Since when, and for how long, nothing ran: neither the supervisor nor a worker.
    stops: Vec<(Duration, Duration)>,
    /// Slots that serve those who wait for them, since and until when.
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
    awaiting: Option<usize>,
    /// How it must end, by a count of our own.
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
    /// It is to be recycled, and waits for that.
    waits: bool,
    /// Its replacement said that trying again will not help.
    stays: bool,
    /// A replacement beside the worker it is to replace.
    incoming: bool,
    /// Nobody will miss it.
    excused: bool,
    /// It is of a binary that has failed, and is told to go.
    dismissed: bool,
    /// SIGKILL has not ended it in time.
    overdue: bool,
    /// What it says of being ready does not count before.
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
            awaiting: None,
            fate: None,
            shares: 0,
            exit: None,
            policy: Policy::new(rules),
        }
    }

    /// Runs to the exit.
    pub(super) fn run(&mut self) -> &Exit {
        while self.step(FOREVER) {}
        self.exit.as_ref().expect("nothing is to happen any more, and there was no exit")
    }

    /// From here on each new worker is a good one, and nothing is asked for. Says whether all that is in progress comes to
    /// an end in this time.
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

    /// Whether what is in progress may take for ever, as an option or a worker has it: a process that ignores SIGTERM has
    /// an endless time to end, or hooks that have no time to end in do not.
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

    /// The supervisor does not run for so long. What happens meanwhile it learns afterwards.
    pub(super) fn sleep(&mut self, duration: Duration) {
        self.now += duration;
    }

    /// Neither the supervisor nor a worker runs for so long.
    pub(super) fn stand_still(&mut self, duration: Duration) {
        self.stops.push((self.now, duration));
        let coming = std::mem::take(&mut self.coming).into_iter();
        self.coming = coming.map(|((when, kind, proc), status)| ((when + duration, kind, proc), status)).collect();
        self.now += duration;
    }

    pub(super) fn ask(&mut self, ask: Ask) {
        match ask {
            _ if self.fate.is_some() => {}
            Ask::Stop | Ask::Interrupt | Ask::HangUp | Ask::StopNow => self.fate = Some("stopped"),
            Ask::Reload | Ask::Upgrade => {}
            Ask::More if self.size < self.policy.rules.most_workers => self.add_task(),
            Ask::Fewer if self.size > 1 => self.remove_task(),
            Ask::More | Ask::Fewer => {}
        }
        self.handle(Event::Ask(ask, "the test".to_owned()));
    }

    fn add_task(&mut self) {
        if self.draining.remove(&self.size).is_some() {
            self.size += 1;
            return;
        }
        let fresh = Task { empty_since: self.now, ..Task::default() };
        self.tasks.resize(self.tasks.len().max(self.size + 1), fresh.clone());
        let task = &mut self.tasks[self.size];
        *task = Task { forks: task.forks, starts: task.starts, added: true, ..fresh };
        self.size += 1;
    }

    fn remove_task(&mut self) {
        self.size -= 1;
        self.drop_last();
        self.awaiting.take_if(|task_id| *task_id == self.size);
    }

    /// Facts first, then one action, then time; false when nothing happens any more until then.
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
                Kind::Rings => self.hear(proc),
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
            // It decided something by the time that it knew, and learns what time it is.
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
            Action::Look(proc) => {
                self.deeds.push((self.now, Deed::Look(proc.task_id)));
                return self.hear(proc);
            }
            Action::Inspect(proc) => {
                let holds = |&&(task_id, from, until, _): &&(usize, u64, u64, Hold)| {
                    proc.task_id == task_id && (ms(from)..ms(until)).contains(&self.now)
                };
                let hold = self.holds.iter().find(holds).map_or(Hold::Nothing, |(.., hold)| hold.clone());
                return self.handle(Event::Inspected(proc, hold));
            }
            Action::Weigh(proc) => return self.weigh(proc),
            Action::SetIntake(task_id, intake) => {
                let before = self.intakes.insert(task_id, intake);
                assert!(before.is_some_and(|before| before != intake), "{intake:?} for {task_id}, which is {before:?}");
                Deed::SetIntake(task_id, intake)
            }
            Action::OpenSockets(task_id) => return self.open_sockets(task_id),
            Action::LookAtQueue(task_id) => return self.look_at_queue(task_id),
            Action::CloseSockets(task_id) => {
                let is_wanted = self.draining.contains_key(&task_id) || task_id < self.size;
                let is_again = |action: &Action| matches!(action, Action::OpenSockets(again) if *again == task_id);
                let is_wanted_again = self.policy.actions.iter().any(is_again);
                let is_left = !is_wanted || self.tasks[task_id].finished || is_wanted_again;
                assert!(is_left, "the sockets of {task_id} are needed");
                assert_eq!(self.alive_of(task_id), [], "somebody has the sockets of {task_id}");
                assert_ne!(self.intakes.remove(&task_id), Some(Intake::Open), "something new came to {task_id}");
                Deed::CloseSockets(task_id)
            }
            Action::Tell(notice) => return self.note(notice),
            Action::CloseListeners => Deed::Close,
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
            Action::ForgetBinaryBefore => {
                assert!(self.newcomers.take().is_some(), "no upgrade is on probation");
                self.plan(self.policy.rules.workers);
                Deed::ForgetBinaryBefore
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
                        "who is left behind"
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

    fn become_next(&mut self) {
        let Some(rules) = self.next.rules.clone() else {
            return self.handle(Event::NotReplaced("it is not executable".to_owned()));
        };
        self.before = self.policy.rules.clone();
        (self.newcomers, self.accepted, self.failed) = (Some(self.policy.forks), false, false);
        self.reload_is_open = true;
        self.adopt(rules, Succession::Forwards);
    }

    fn become_binary_before(&mut self) {
        (self.reload_is_open, self.failed) = (false, false);
        let newcomers = self.newcomers.take();
        self.awaiting = None;
        if !self.next.way_back {
            for alive in self.alive.values_mut() {
                alive.dismissed |= std::mem::take(&mut alive.incoming);
            }
            return self.handle(Event::NotReplaced("it is gone".to_owned()));
        }
        for (proc, alive) in &mut self.alive {
            alive.incoming = false;
            alive.dismissed |= newcomers.is_some_and(|first_fork| proc.fork >= first_fork);
        }
        let before = std::mem::replace(&mut self.before, self.policy.rules.clone());
        // From here on, what waits may do so by the rules of the binary that has failed.
        self.adopt(before, Succession::Back { why: "it failed".to_owned() });
    }

    /// Whether a new binary stays or falls with this fork.
    fn decides(&self, fork: u64) -> bool {
        !self.accepted && self.is_newcomer(fork)
    }

    fn is_newcomer(&self, fork: u64) -> bool {
        self.newcomers.is_some_and(|first_fork| fork >= first_fork)
    }

    /// The new binary has failed: one of its workers has, or was not ended by SIGKILL in time.
    fn is_going_back(&self) -> bool {
        self.failed || self.policy.is_going_back()
    }

    fn adopt(&mut self, rules: Rules, succession: Succession) {
        let words = crate::codec::written(&self.policy.keep());
        let kept = crate::codec::read(&words).expect("what was written can be read");
        // The kernel goes on as before, but the new binary knows of nothing that it was told.
        self.intakes.values_mut().for_each(|intake| *intake = Intake::Open);
        self.longest_backoff = self.longest_backoff.max(longest_backoff(&rules));
        self.policy = Policy::adopt(rules, kept, Time(self.now), succession);
    }

    /// The new binary may want more workers, or fewer. It was decided when the policy last heard of the time.
    fn plan(&mut self, workers: usize) {
        let now = std::mem::replace(&mut self.now, self.policy.now.0);
        self.scale_to(workers);
        self.now = now;
        self.finish_if_over();
    }

    fn scale_to(&mut self, workers: usize) {
        let before = std::mem::replace(&mut self.planned, workers);
        let to = workers.clamp(1, self.policy.rules.most_workers);
        while before != workers && self.size < to {
            self.add_task();
        }
        while before != workers && self.size > to {
            self.remove_task();
        }
    }

    fn open_sockets(&mut self, task_id: usize) {
        self.deeds.push((self.now, Deed::OpenSockets(task_id)));
        if self.sockets_are_refused {
            if self.fate.is_none() && task_id < self.size {
                while self.size > task_id {
                    self.size -= 1;
                    self.drop_last();
                }
            }
            return self.handle(Event::SocketsRefused(task_id, io::ErrorKind::OutOfMemory.into()));
        }
        assert_eq!(self.intakes.insert(task_id, Intake::Away), None, "task id {task_id} has sockets");
        self.handle(Event::SocketsOpen(task_id));
    }

    fn look_at_queue(&mut self, task_id: usize) {
        self.deeds.push((self.now, Deed::LookAtQueue(task_id)));
        let waiting = self.draining.get(&task_id).is_some_and(|&(since, until)| {
            assert!(self.now >= until || self.now - since >= SETTLE, "too soon to be sure");
            self.now - since < self.queue_lasts
        });
        if !waiting || self.draining.get(&task_id).is_some_and(|&(_, until)| self.now >= until) {
            self.draining.remove(&task_id);
            self.excuse(task_id);
        }
        self.handle(Event::Queue { task_id, waiting });
    }

    /// The last slot is not wanted any more.
    fn drop_last(&mut self) {
        let (task_id, task) = (self.size, &self.tasks[self.size]);
        if !self.intakes.contains_key(&task_id) || task.finished || task.added {
            return self.excuse(task_id);
        }
        let until = self.now.saturating_add(self.policy.rules.graceful_timeout);
        self.draining.insert(task_id, (self.now, until));
        for proc in self.alive_of(task_id) {
            let is_of_no_use = self.is_told(proc) || self.alive[&proc].incoming;
            self.alive.get_mut(&proc).expect("it is alive").excused |= is_of_no_use;
        }
    }

    fn note(&mut self, notice: Notice) {
        match &notice {
            Notice::PoolReady { .. } => {
                assert!(!std::mem::replace(&mut self.pool_was_ready, true), "the first time comes once");
            }
            Notice::BudgetLow { .. } => self.low.told += 1,
            Notice::Contributed(_) => self.shares += 1,
            Notice::Reloading { .. } => self.reload_is_open = true,
            Notice::Reloaded { .. } | Notice::ReloadFailed { .. } | Notice::UpgradeDone { .. } => {
                self.reload_is_open = false;
            }
            Notice::Overdue { worker } => {
                self.awaiting.take_if(|task_id| *task_id == worker.task_id);
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

    fn fork(&mut self, proc: ProcId, restarts: usize) {
        let task_id = proc.task_id;
        self.deeds.push((self.now, Deed::Fork(task_id)));
        let others: Vec<ProcId> = self.alive_of(task_id);
        let incoming = others.iter().any(|&other| !self.is_told(other));
        assert!(self.fate.is_none(), "a fork after all is decided: {:?}", self.fate);
        assert!(task_id < self.size || self.draining.contains_key(&task_id), "task id {task_id} is not wanted");
        let slots_have_sockets = self.policy.rules.slots_have_sockets;
        assert_eq!(self.intakes.contains_key(&task_id), slots_have_sockets, "the sockets of {task_id}");
        assert!(!self.tasks[task_id].finished, "task id {task_id} has finished");
        assert_eq!(restarts, self.tasks[task_id].starts);
        match self.policy.rules.reload {
            Reload::Exclusive => assert!(others.is_empty(), "two processes for task id {task_id}"),
            Reload::Overlap => assert!(others.len() < 2, "three processes for task id {task_id}"),
        }
        if incoming {
            assert_eq!(self.turns(), [], "one at a time");
        } else {
            let spared = others.iter().any(|other| self.alive[other].excused);
            assert!(!spared, "task id {task_id} is started beside a surplus worker");
        }
        let decides = self.decides(proc.fork);
        let task = &mut self.tasks[task_id];
        let first = task.starts == 0 && task_id < self.policy.rules.workers;
        let fork = (self.script)(task_id, task.forks);
        task.forks += 1;
        match fork {
            Fork::Runs(life) => {
                task.starts += 1;
                (task.added, task.refused) = (false, false);
                let on_trial = decides && !self.policy.rules.readiness.is_announced();
                let at_fork = self.policy.rules.readiness == Readiness::AtFork;
                let ready = at_fork && !on_trial;
                let on_trial_until = if on_trial { self.now + BOOT } else { self.now };
                let alive = Alive {
                    task_id,
                    fork: proc.fork,
                    at_fork,
                    born: self.now,
                    life,
                    told: Vec::new(),
                    ready: false,
                    asked: false,
                    waits: false,
                    stays: false,
                    incoming,
                    excused: false,
                    dismissed: false,
                    overdue: false,
                    on_trial_until,
                };
                assert!(self.alive.insert(proc, alive).is_none(), "{proc:?} is used twice");
                self.schedule(proc, life.alone);
                let trial = on_trial.then_some(BOOT);
                let rings = [life.ready, life.recycle, life.beats.map(|(from, ..)| from), trial];
                for ring in rings.into_iter().flatten() {
                    self.coming.insert((self.now + ring, Kind::Rings, proc), NORMAL);
                }
                if let (Some(at), Some((after, status))) = (life.operator, life.terminated) {
                    self.schedule(proc, Some((at + after, status)));
                }
                if ready {
                    self.is_ready(proc);
                }
                self.handle(Event::Forked(proc));
            }
            Fork::Refused => {
                if others.is_empty() {
                    task.empty_since = self.now;
                }
                task.refused = !incoming;
                self.awaiting.take_if(|awaited| *awaited == task_id);
                let added = self.tasks.get(task_id..self.size).is_some_and(|added| added.iter().all(|task| task.added));
                self.failed |= decides;
                if decides {
                    // It is the end of the upgrade, and of nothing else.
                } else if added && task_id < self.size {
                    (task_id..self.size).for_each(|task_id| self.excuse(task_id));
                    self.size = task_id;
                } else if first {
                    self.fate = Some("cannot fork");
                } else if !incoming && self.alive.is_empty() {
                    self.count_failure(task_id);
                }
                self.handle(Event::ForkFailed(proc, io::ErrorKind::WouldBlock.into()));
            }
            Fork::Unsafe => {
                self.fate = Some("unsafe");
                self.handle(Event::ForkUnsafe(proc, "a thread".to_owned()));
            }
        }
    }

    fn signal(&mut self, proc: ProcId, signal: Signal) {
        // It may have ended since.
        let Some(alive) = self.alive.get(&proc) else { return };
        let task_id = alive.task_id;
        assert!(alive.told.iter().all(|&(before, _)| rank(before) < rank(signal)), "{signal:?} after {:?}", alive.told);
        if signal == Signal::Terminate && self.fate.is_none() && !alive.excused && !alive.dismissed {
            assert!(!self.draining.contains_key(&task_id), "{task_id} has not served those who wait");
            self.check_turn(proc);
        }
        let Some(alive) = self.alive.get_mut(&proc) else { return };
        alive.told.push((signal, self.now));
        let (deed, end) = match signal {
            Signal::Terminate => (Deed::Terminate(task_id), alive.life.terminated),
            Signal::Abort => (Deed::Abort(task_id), alive.life.aborted),
            Signal::Kill => (Deed::Kill(task_id), alive.life.killed),
        };
        self.deeds.push((self.now, deed));
        self.schedule(proc, end);
    }

    /// A worker is told to end because it is replaced.
    fn check_turn(&mut self, old: ProcId) {
        let others: Vec<usize> = self.turns().into_iter().filter(|&task_id| task_id != old.task_id).collect();
        assert_eq!(others, [], "one at a time");
        match self.policy.rules.reload {
            Reload::Overlap => {
                assert!(self.tasks[old.task_id].newest_ready > Some(old), "{old:?} is told to end too soon");
            }
            Reload::Exclusive => assert_eq!(self.awaiting.replace(old.task_id), None, "one at a time"),
        }
    }

    fn schedule(&mut self, proc: ProcId, end: End) {
        if let Some((after, status)) = end {
            let count = u8::try_from(self.coming.len() % 200).unwrap_or_default();
            self.coming.insert((self.now.saturating_add(after), Kind::Ends(count), proc), status);
        }
    }

    /// What it says of itself, told to the policy.
    fn hear(&mut self, proc: ProcId) {
        let Some(said) = self.said(proc) else { return };
        let is_at_fork = self.alive.get(&proc).is_some_and(|alive| alive.at_fork);
        let was_on_trial = self.alive.get(&proc).is_some_and(|alive| alive.on_trial_until > alive.born);
        let is_on_trial = self.alive.get(&proc).is_some_and(|alive| alive.on_trial_until > self.now);
        if (said.ready || is_at_fork && was_on_trial) && !is_on_trial && !self.is_told(proc) {
            self.is_ready(proc);
        }
        if let Some(alive) = self.alive.get_mut(&proc) {
            alive.asked |= said.recycle;
            alive.waits |= said.recycle && !alive.stays;
        }
        self.handle(Event::Reported(proc, said));
    }

    fn said(&self, proc: ProcId) -> Option<Reported> {
        let alive = self.alive.get(&proc)?;
        let life = alive.life;
        let stops = || self.stops.iter().filter(|&&(when, _)| when >= alive.born);
        let age = self.now - alive.born - stops().map(|&(_, duration)| duration).sum();
        let since = |at: Option<Duration>| at.and_then(|at| age.checked_sub(at));
        let terminated = alive.told.iter().find(|&&(signal, _)| signal == Signal::Terminate);
        let beat = life.beats.filter(|&(from, ..)| from <= age).map(|(from, every, until)| {
            let beating = age.min(until).saturating_sub(from).as_nanos();
            let last = from + Duration::from_nanos((beating - beating % every.as_nanos()) as u64);
            // The stops so far count for the age of a beat, not for how long the worker has lived.
            let when = stops().fold(alive.born + last, |at, &(when, stop)| if when < at { at + stop } else { at });
            self.now - when
        });
        Some(Reported {
            ready: since(life.ready).is_some(),
            recycle: since(life.recycle).is_some(),
            terminated: terminated.map(|&(_, when)| self.now - when).or(since(life.operator)),
            beat,
        })
    }

    fn weigh(&mut self, proc: ProcId) {
        let Some(alive) = self.alive.get(&proc) else { return };
        let (bytes, per_second) = alive.life.memory;
        let age = (self.now - alive.born).as_secs();
        self.handle(Event::Weighed(proc, bytes.saturating_add(per_second.saturating_mul(age))));
    }

    fn is_ready(&mut self, proc: ProcId) {
        let is_newcomer = self.is_newcomer(proc.fork);
        // Where the new binary has failed already, this one comes too late.
        let is_late = is_newcomer && self.is_going_back();
        let Some(alive) = self.alive.get_mut(&proc) else { return };
        if !std::mem::replace(&mut alive.ready, true) {
            alive.incoming &= is_late;
            self.accepted |= is_newcomer && !is_late;
            let task = &mut self.tasks[proc.task_id];
            task.newest_ready = task.newest_ready.max(Some(proc));
            if self.policy.rules.readiness.is_announced() {
                task.boot_failures = 0;
            }
            self.awaiting.take_if(|task_id| *task_id == proc.task_id);
        }
    }

    fn end(&mut self, proc: ProcId, status: Status) {
        if !self.alive.contains_key(&proc) {
            return;
        }
        self.hear(proc);
        let told = self.told(proc);
        let Some(gone) = self.alive.remove(&proc) else { return };
        let task_id = gone.task_id;
        if !told.contains(&Signal::Terminate) {
            self.awaiting.take_if(|awaited| *awaited == task_id);
        }
        if self.alive_of(task_id).is_empty() {
            self.tasks[task_id].empty_since = self.now;
        }
        if self.fate.is_none() {
            self.count_end(&gone, &told, status);
        }
        for alive in self.alive.values_mut().filter(|alive| alive.task_id == task_id) {
            alive.incoming = false;
        }
        self.handle(Event::Ended(proc, status));
    }

    /// What an end means, by rules written down once more.
    fn count_end(&mut self, gone: &Alive, told: &[Signal], status: Status) {
        let is_told = gone.excused || told.contains(&Signal::Terminate);
        let decides = self.decides(gone.fork) && !gone.ready;
        self.failed |= decides && !is_told;
        let is_given_up = decides || self.is_going_back() && self.is_newcomer(gone.fork);
        let rules = &self.policy.rules;
        let always = rules.restart == Restart::Always;
        let by_operator = gone.life.operator.is_some_and(|at| {
            let when = gone.born + at;
            when <= self.now && self.now - when <= rules.graceful_timeout
        });
        if is_told || gone.incoming || gone.dismissed || is_given_up {
            return;
        }
        match status {
            _ if !told.is_empty() => self.count_failed(gone),
            NORMAL if by_operator || gone.asked => {}
            NORMAL if always => self.count_boot(gone),
            NORMAL if self.draining.remove(&gone.task_id).is_some() => self.excuse(gone.task_id),
            NORMAL => {
                self.tasks[gone.task_id].finished = true;
                self.excuse(gone.task_id);
            }
            FINAL => self.fate = Some("gave up"),
            _ => self.count_failed(gone),
        }
    }

    fn count_failed(&mut self, gone: &Alive) {
        self.count_failure(gone.task_id);
        self.count_boot(gone);
    }

    fn count_boot(&mut self, gone: &Alive) {
        let announced = self.policy.rules.readiness.is_announced();
        let booted = if announced { gone.ready } else { self.now - gone.born >= BOOT };
        let task = &mut self.tasks[gone.task_id];
        task.boot_failures = if booted { 0 } else { task.boot_failures + 1 };
        let boot_failures = task.boot_failures;
        if announced && !self.was_pool_ready() && boot_failures >= 2 {
            self.fate = self.fate.or(Some("gave up"));
        }
    }

    /// Over the whole history.
    fn count_failure(&mut self, task_id: usize) {
        let before = self.recent().count();
        self.failures.push((self.now, task_id));
        let Some(max) = self.policy.rules.max_restarts else { return };
        if before >= max {
            self.fate = self.fate.or(Some("gave up"));
        } else if before * 5 < max * 4 && (before + 1) * 5 >= max * 4 {
            self.low.expected += 1;
        }
    }

    fn recent(&self) -> impl Iterator<Item = usize> + '_ {
        let window = self.policy.rules.restart_window;
        let is_recent = move |when: Duration| window.is_none_or(|window| self.now - when < window);
        self.failures.iter().filter(move |&&(when, _)| is_recent(when)).map(|&(_, task_id)| task_id)
    }

    fn contributors(&self) -> usize {
        let Some(&(last, _)) = self.failures.last() else { return 0 };
        let window = self.policy.rules.restart_window;
        let recent = self.failures.iter().filter(|&&(when, _)| window.is_none_or(|window| last - when < window));
        recent.map(|&(_, task_id)| task_id).collect::<BTreeSet<_>>().len()
    }

    fn excuse(&mut self, task_id: usize) {
        for alive in self.alive.values_mut().filter(|alive| alive.task_id == task_id) {
            alive.excused = true;
        }
    }

    fn handle(&mut self, event: Event) {
        // Where an upgrade is accepted, the new binary says first how many workers there are to be.
        let is_planned = self.newcomers.is_none() || !self.accepted;
        if is_planned {
            self.finish_if_over();
        }
        self.policy.handle(Time(self.now), event);
    }

    fn finish_if_over(&mut self) {
        let all_finished = self.tasks[..self.size].iter().all(|task| task.finished);
        if all_finished && self.alive.is_empty() && self.draining.is_empty() {
            self.fate = self.fate.or(Some("finished"));
        }
    }

    /// It was said, or is about to be.
    fn was_pool_ready(&self) -> bool {
        let says_it = |action: &Action| matches!(action, Action::Tell(Notice::PoolReady { .. }));
        self.pool_was_ready || self.policy.actions.iter().any(says_it)
    }

    pub(super) fn alive_of(&self, task_id: usize) -> Vec<ProcId> {
        self.alive.keys().filter(|proc| proc.task_id == task_id).copied().collect()
    }

    /// The signals that it was sent, or is about to be.
    fn told(&self, proc: ProcId) -> Vec<Signal> {
        let about_to = self.policy.actions.iter().filter_map(|action| match action {
            Action::Signal(to, signal) if *to == proc => Some(*signal),
            _ => None,
        });
        let told = self.alive.get(&proc).into_iter().flat_map(|alive| alive.told.iter().map(|&(signal, _)| signal));
        told.chain(about_to).collect()
    }

    fn is_told(&self, proc: ProcId) -> bool {
        !self.told(proc).is_empty()
    }

    /// The task ids that have a replacement which is not ready, or a predecessor which was told to end.
    fn turns(&self) -> Vec<usize> {
        let drains = |&(signal, _): &(Signal, Duration)| signal == Signal::Terminate;
        let is_left = |alive: &Alive| alive.excused || alive.dismissed || alive.overdue;
        let in_turn = |alive: &&Alive| !is_left(alive) && (alive.incoming || alive.told.iter().any(drains));
        let mut turns: Vec<usize> = self.alive.values().filter(in_turn).map(|alive| alive.task_id).collect();
        turns.dedup();
        turns
    }

    /// What holds whenever there is nothing to do.
    fn check(&self) {
        assert_eq!(self.policy.alive, self.alive.len(), "how many are alive");
        let timeout = self.policy.poll_timeout();
        for (_, deadline) in self.policy.deadlines.iter() {
            if let Deadline::Proc { id: proc, alarm } = deadline {
                let alive = self.alive.get(&proc);
                let told = alive.is_none_or(|alive| !alive.told.is_empty());
                let is_left = alive.is_none() || told && !matches!(alarm, Alarm::Kill | Alarm::Overdue);
                assert!(!is_left, "{deadline:?} is left over");
            }
        }
        if self.fate.is_some() {
            return assert!(!self.alive.is_empty() && timeout.is_some(), "a stop has an end");
        }
        assert_eq!(self.low.told, self.low.expected, "warnings that few restarts are left");
        assert_eq!(self.policy.size(), self.size);
        self.check_tasks();
        self.check_turns();
        self.check_intakes();
        self.check_idleness();
    }

    /// No slot is empty for longer than a backoff may take.
    fn check_tasks(&self) {
        let longest = self.longest_backoff;
        let alive: BTreeSet<usize> = self.alive.values().map(|alive| alive.task_id).collect();
        let (mut ready, mut finished) = (0, 0);
        for (task_id, task) in self.tasks[..self.size].iter().enumerate() {
            finished += usize::from(task.finished);
            ready += usize::from(!task.finished && self.is_served(task_id));
            if !alive.contains(&task_id) && !task.finished {
                let longest = if task.refused { longest.max(FORK_RETRY).max(LONGEST_FORK_RETRY) } else { longest };
                let most = longest.saturating_add(ms(1));
                let waits = self.policy.deadlines.has(Deadline::Start(task_id));
                assert!(waits && task.forks > 0 && self.now - task.empty_since < most, "task id {task_id} was lost");
            }
        }
        assert_eq!(self.policy.headcount.finished(), finished, "how many have finished");
        assert_eq!(self.policy.headcount.ready(), ready, "how many are ready");
        let unsaid = !self.pool_was_ready && ready + finished == self.size && finished < self.size;
        assert!(!unsaid, "that the pool is ready was not said");
    }

    fn is_served(&self, task_id: usize) -> bool {
        self.alive.values().any(|alive| alive.task_id == task_id && alive.ready && alive.told.is_empty())
    }

    /// A reload or a worker that waits for its turn waits for something.
    fn check_turns(&self) {
        let is_settled = |alive: &Alive| alive.told.is_empty() && alive.ready;
        let goes_on = self.alive.values().any(|alive| !is_settled(alive)) || self.awaiting.is_some();
        // A new binary waits for the first start that the backoff lets it make.
        let is_awaited = self.newcomers.is_some() && self.policy.poll_timeout().is_some();
        assert!(goes_on || !self.reload_is_open || is_awaited, "the reload is stuck");
        let waits = self.alive.values().any(|alive| alive.waits && alive.told.is_empty());
        assert!(goes_on || !waits || self.policy.poll_timeout().is_some(), "nobody recycles who asked for it");
    }

    /// What is new comes to those who accept, and to nobody who does not.
    fn check_intakes(&self) {
        for (&task_id, &intake) in &self.intakes {
            let is_empty = self.alive_of(task_id).is_empty();
            if task_id >= self.size {
                assert_eq!(intake, Intake::Closed, "task id {task_id} is one too many");
                let goes_on = !is_empty || self.policy.deadlines.has(Deadline::Queue(task_id));
                assert!(goes_on, "the sockets of {task_id} are left over");
            } else if self.tasks[task_id].finished {
                assert_eq!(intake, Intake::Closed, "task id {task_id} has finished");
            } else if self.is_served(task_id) {
                assert_eq!(intake, Intake::Open, "task id {task_id} accepts");
            } else if is_empty && intake == Intake::Open {
                let start_at = self.policy.deadlines.time_of(Deadline::Start(task_id)).expect("it was lost");
                assert!(start_at.0 - self.now <= ms(50), "nobody accepts for {task_id}");
            }
        }
        if self.policy.rules.slots_have_sockets {
            let lacks = |&task_id: &usize| !self.tasks[task_id].finished && !self.intakes.contains_key(&task_id);
            assert_eq!((0..self.size).find(lacks), None, "it has no sockets");
        }
    }

    /// Without an option that has to do with time, and with nothing to wait for, nothing wakes the supervisor.
    fn check_idleness(&self) {
        // Another binary may have decided to recycle a worker that is still there.
        let timed =
            [&self.policy.rules, &self.before, self.next.rules.as_ref().unwrap_or(&self.before)].iter().any(|rules| {
                rules.heartbeat_timeout.is_some() || rules.max_lifetime.is_some() || rules.max_memory.is_some()
            });
        let served = (0..self.size).all(|task_id| self.tasks[task_id].finished || self.is_served(task_id));
        let settled = self.alive.values().all(|alive| alive.told.is_empty() && alive.ready && !alive.waits);
        let settled = settled && self.policy.deadlines.procs_with(Alarm::Recycle).is_empty();
        let closes = |(&task_id, _): (&usize, _)| task_id >= self.size || self.tasks[task_id].finished;
        if !timed && served && settled && !self.rehearsing && !self.intakes.iter().any(closes) {
            assert_eq!(self.policy.poll_timeout(), None, "there is nothing to wait for");
        }
    }

    /// When time will do something next, but for looking whether the supervisor is late.
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

    /// How long each fork for this task id waited, when every process before it lived so long.
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

/// What led to a failure, for whoever reads of it.
impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let (deeds, notices) = (self.deeds.len().saturating_sub(25), self.notices.len().saturating_sub(25));
            eprintln!("seed {}, at {:?}, after {:?}", self.seed, self.now, &self.deeds[deeds..]);
            self.notices[notices..].iter().for_each(|notice| eprintln!("  {notice:?}"));
        }
    }
}

fn longest_backoff(rules: &Rules) -> Duration {
    rules.backoff.longest.max(rules.backoff.first)
}

fn rank(signal: Signal) -> u8 {
    match signal {
        Signal::Terminate => 0,
        // Who was told to end is not looked at any more.
        Signal::Abort => 1,
        Signal::Kill => 2,
    }
}

pub(super) fn name(exit: &Exit) -> &'static str {
    match exit {
        Exit::Finished => "finished",
        Exit::Stopped { .. } => "stopped",
        Exit::GaveUp { .. } => "gave up",
        Exit::CannotFork(_) => "cannot fork",
        Exit::Unsafe(_) => "unsafe",
        Exit::Unkillable(_) => "unkillable",
    }
}
