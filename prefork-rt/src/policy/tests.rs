//! Every promise of the policy, in a world whose clock, processes and deaths are made up.

use super::*;
use std::collections::BTreeMap;

/// Longer than any test runs.
const FOREVER: Duration = Duration::from_secs(1_000_000_000);
const YEAR: Duration = Duration::from_secs(31_556_952);

const NORMAL: Status = Status::Exited(0);
const FAILED: Status = Status::Exited(1);
const SEGFAULT: Status = Status::Killed { signal: 11, dumped_core: true };
const REAL_TIME_SIGNAL: Status = Status::Killed { signal: 37, dumped_core: false };
const SIGKILLED: Status = Status::Killed { signal: 9, dumped_core: false };

/// What becomes of a fork.
#[derive(Clone, Copy)]
enum Fork {
    Runs(Life),
    Refused,
    Unsafe,
}

/// How and how long after its start, SIGTERM and SIGKILL a process ends; `None` is not at all.
#[derive(Clone, Copy)]
struct Life {
    alone: Option<(Duration, Status)>,
    terminated: Option<(Duration, Status)>,
    killed: Option<(Duration, Status)>,
}

/// Runs until it is told to end, and then ends at once.
const OBEYS: Life =
    Life { alone: None, terminated: Some((Duration::ZERO, NORMAL)), killed: Some((Duration::ZERO, SIGKILLED)) };

fn serves() -> Fork {
    Fork::Runs(OBEYS)
}

fn ends(milliseconds: u64, status: Status) -> Fork {
    Fork::Runs(Life { alone: Some((ms(milliseconds), status)), ..OBEYS })
}

/// Ends so long after SIGTERM.
fn drains(milliseconds: u64, status: Status) -> Fork {
    Fork::Runs(Life { terminated: Some((ms(milliseconds), status)), ..OBEYS })
}

fn ignores_sigterm() -> Fork {
    Fork::Runs(Life { terminated: None, ..OBEYS })
}

fn survives_sigkill() -> Fork {
    Fork::Runs(Life { terminated: None, killed: None, ..OBEYS })
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn rules(workers: usize) -> Rules {
    Rules {
        workers,
        max_restarts: Some(100),
        backoff: Backoff { first: ms(100), longest: ms(1000) },
        graceful_timeout: ms(25_000),
        jitter_seed: 1,
    }
}

fn without_backoff(workers: usize) -> Rules {
    Rules { backoff: Backoff { first: Duration::ZERO, longest: Duration::ZERO }, ..rules(workers) }
}

/// What the policy had done, with task ids for processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    Fork(usize),
    Terminate(usize),
    Kill(usize),
    Close,
    Exit,
}

/// Performs what the policy asks for, as the supervisor does, in no time, and holds it to its invariants.
struct World {
    policy: Policy,
    now: Duration,
    /// What becomes of the fork for a task id, the how manieth for it (from 0).
    script: Box<dyn FnMut(usize, usize) -> Fork>,
    places: Vec<Place>,
    alive: BTreeMap<ProcId, Alive>,
    deaths: BTreeMap<(Duration, ProcId), Status>,
    deeds: Vec<(Duration, Deed)>,
    notices: Vec<Notice>,
    failures: usize,
    /// How it must end, by a count of our own.
    fate: Option<&'static str>,
    exit: Option<Exit>,
}

#[derive(Clone, Default)]
struct Place {
    forks: usize,
    starts: usize,
    alive: bool,
    finished: bool,
    empty_since: Duration,
}

struct Alive {
    task_id: usize,
    life: Life,
    told: Vec<Signal>,
}

impl World {
    fn new(rules: Rules, script: impl FnMut(usize, usize) -> Fork + 'static) -> World {
        World {
            now: Duration::ZERO,
            script: Box::new(script),
            places: vec![Place::default(); rules.workers],
            alive: BTreeMap::new(),
            deaths: BTreeMap::new(),
            deeds: Vec::new(),
            notices: Vec::new(),
            failures: 0,
            fate: None,
            exit: None,
            policy: Policy::new(rules),
        }
    }

    /// Runs to the exit.
    fn run(&mut self) -> &Exit {
        while self.step(FOREVER) {}
        self.exit.as_ref().expect("nothing is to happen any more, and there was no exit")
    }

    fn run_for(&mut self, milliseconds: u64) {
        let until = self.now + ms(milliseconds);
        while self.step(until) {}
        self.now = until;
    }

    fn ask(&mut self, ask: Ask) {
        self.tell(Event::Ask(ask, "the test".to_owned()));
    }

    /// Facts first, then one action, then time; false when nothing happens any more until then.
    fn step(&mut self, until: Duration) -> bool {
        if self.exit.is_some() {
            assert!(self.policy.poll().is_none() && self.policy.poll_timeout().is_none(), "there is life after Exit");
            return false;
        }
        if let Some(death) = self.deaths.first_entry().filter(|death| death.key().0 <= self.now) {
            let ((_, proc), status) = death.remove_entry();
            self.end(proc, status);
            return true;
        }
        if let Some(action) = self.policy.poll() {
            self.perform(action);
            return true;
        }
        self.check_places();
        let death = self.deaths.keys().next().map(|&(time, _)| time);
        let timeout = self.policy.poll_timeout().map(|Time(time)| time);
        assert!(timeout.is_none_or(|timeout| timeout > self.now), "the loop would spin");
        let next = [death, timeout].into_iter().flatten().min().filter(|&next| next <= until);
        self.now = next.unwrap_or(self.now);
        if next.is_some() && next != death {
            self.tell(Event::Tick);
        }
        next.is_some()
    }

    fn perform(&mut self, action: Action) {
        let deed = match action {
            Action::Fork { proc, restarts } => return self.fork(proc, proc.task_id, restarts),
            Action::Signal(proc, signal) => return self.signal(proc, signal),
            Action::Tell(notice) => return self.notices.push(notice),
            Action::CloseListeners => Deed::Close,
            Action::Exit(exit) => {
                match &exit {
                    Exit::Unkillable(procs) => assert!(procs.iter().eq(self.alive.keys())),
                    _ => assert!(self.alive.is_empty() && self.fate == Some(name(&exit)), "{exit:?}, {:?}", self.fate),
                }
                self.exit = Some(exit);
                Deed::Exit
            }
        };
        self.deeds.push((self.now, deed));
    }

    fn fork(&mut self, proc: ProcId, task_id: usize, restarts: usize) {
        self.deeds.push((self.now, Deed::Fork(task_id)));
        let place = &mut self.places[task_id];
        assert!(self.fate.is_none(), "a fork after all is decided: {:?}", self.fate);
        assert!(!place.alive && !place.finished, "two processes for task id {task_id}");
        assert_eq!(restarts, place.starts);
        let first = place.starts == 0;
        let fork = (self.script)(task_id, place.forks);
        place.forks += 1;
        match fork {
            Fork::Runs(life) => {
                place.starts += 1;
                place.alive = true;
                let twin = self.alive.insert(proc, Alive { task_id, life, told: Vec::new() });
                assert!(twin.is_none(), "{proc:?} is used twice");
                self.schedule(proc, life.alone);
                self.tell(Event::Forked(proc));
            }
            Fork::Refused => {
                place.empty_since = self.now;
                self.fate = first.then_some("cannot fork");
                self.tell(Event::ForkFailed(proc, io::ErrorKind::WouldBlock.into()));
            }
            Fork::Unsafe => self.tell(Event::ForkUnsafe(proc, "a thread".to_owned())),
        }
    }

    fn signal(&mut self, proc: ProcId, signal: Signal) {
        // It may have ended since.
        let Some(alive) = self.alive.get_mut(&proc) else { return };
        assert!(!alive.told.contains(&signal), "{signal:?} twice");
        alive.told.push(signal);
        let (deed, end) = match signal {
            Signal::Terminate => (Deed::Terminate(alive.task_id), alive.life.terminated),
            Signal::Kill => (Deed::Kill(alive.task_id), alive.life.killed),
        };
        self.deeds.push((self.now, deed));
        self.schedule(proc, end);
    }

    fn schedule(&mut self, proc: ProcId, end: Option<(Duration, Status)>) {
        if let Some((after, status)) = end {
            self.deaths.insert((self.now + after, proc), status);
        }
    }

    fn end(&mut self, proc: ProcId, status: Status) {
        let Some(Alive { task_id, .. }) = self.alive.remove(&proc) else { return };
        let place = &mut self.places[task_id];
        *place = Place { alive: false, finished: status == NORMAL, empty_since: self.now, ..place.clone() };
        self.tell(Event::Ended(proc, status));
    }

    fn tell(&mut self, event: Event) {
        self.failures += usize::from(match event {
            Event::Ended(_, status) => status != NORMAL,
            Event::ForkFailed(..) => true,
            _ => false,
        });
        let fate = match event {
            Event::Ask(..) => Some("stopped"),
            Event::ForkUnsafe(..) => Some("unsafe"),
            _ if self.policy.rules.max_restarts.is_some_and(|max| self.failures > max) => Some("gave up"),
            _ => self.places.iter().all(|place| place.finished).then_some("finished"),
        };
        // What comes first counts.
        self.fate = self.fate.or(fate);
        self.policy.handle(Time(self.now), event);
    }

    /// When there is nothing to do, no place is empty for longer than a backoff may take.
    fn check_places(&self) {
        let most = self.policy.rules.backoff.longest.max(FORK_RETRY);
        for place in self.places.iter().filter(|place| !place.alive && !place.finished && self.fate.is_none()) {
            assert!(place.forks > 0 && self.now - place.empty_since < most.saturating_add(ms(1)), "a slot was lost");
        }
    }

    fn deeds(&self) -> Vec<Deed> {
        self.deeds.iter().map(|&(_, deed)| deed).collect()
    }

    fn times(&self, deed: Deed) -> Vec<Duration> {
        self.deeds.iter().filter(|&&(_, done)| done == deed).map(|&(time, _)| time).collect()
    }

    /// How long each fork for this task id waited, when every process before it lived so long.
    fn waits(&self, task_id: usize, lives: u64) -> Vec<Duration> {
        self.times(Deed::Fork(task_id)).windows(2).map(|pair| pair[1] - pair[0] - ms(lives)).collect()
    }
}

fn name(exit: &Exit) -> &'static str {
    match exit {
        Exit::Finished => "finished",
        Exit::Stopped { .. } => "stopped",
        Exit::GaveUp { .. } => "gave up",
        Exit::CannotFork(_) => "cannot fork",
        Exit::Unsafe(_) => "unsafe",
        Exit::Unkillable(_) => "unkillable",
    }
}

// Starting and finishing

#[test]
fn task_ids_are_0_to_n_in_order() {
    let mut world = World::new(rules(4), |_, _| serves());
    world.run_for(0);
    assert_eq!(world.deeds(), [Deed::Fork(0), Deed::Fork(1), Deed::Fork(2), Deed::Fork(3)]);
}

#[test]
fn an_idle_pool_waits_for_no_deadline() {
    let mut world = World::new(rules(4), |_, _| serves());
    world.run_for(1000);
    assert_eq!(world.policy.poll_timeout(), None);
}

#[test]
fn a_normal_exit_is_final() {
    let mut world = World::new(rules(2), |task_id, _| if task_id == 0 { ends(50, NORMAL) } else { serves() });
    world.run_for(1_000_000);
    assert_eq!(world.deeds(), [Deed::Fork(0), Deed::Fork(1)]);
    assert!(matches!(world.notices.last(), Some(Notice::Finished { worker: ProcId { task_id: 0, .. }, left: 1, .. })));
}

#[test]
fn a_replacement_that_exits_normally_is_final_too() {
    let mut world = World::new(rules(1), |_, fork| ends(50, if fork == 0 { FAILED } else { NORMAL }));
    assert!(matches!(world.run(), Exit::Finished));
    assert_eq!(world.deeds(), [Deed::Fork(0), Deed::Fork(0), Deed::Exit]);
}

#[test]
fn it_exits_finished_when_the_last_has_finished() {
    let mut world = World::new(rules(3), |task_id, _| ends(10 + task_id as u64, NORMAL));
    assert!(matches!(world.run(), Exit::Finished));
    assert_eq!(world.times(Deed::Exit), [ms(12)]);
    assert!(!world.deeds().contains(&Deed::Close), "there is nothing to stop");
}

// Restarts and their count

#[test]
fn an_abnormal_exit_is_replaced_under_the_same_task_id() {
    for status in [FAILED, Status::Exited(255), SEGFAULT, SIGKILLED, REAL_TIME_SIGNAL] {
        let mut world = World::new(rules(3), move |task_id, fork| match (task_id, fork) {
            (1, 0) => ends(50, status),
            _ => serves(),
        });
        world.run_for(1000);
        assert_eq!(world.deeds()[3..], [Deed::Fork(1)], "{status:?}");
        assert!(matches!(
            world.notices.last(),
            Some(Notice::Started { worker: ProcId { task_id: 1, .. }, restarts: 1 })
        ));
    }
}

#[test]
fn restarts_are_counted_over_all_workers() {
    let script = |_, fork| if fork == 0 { ends(10, FAILED) } else { serves() };
    let mut world = World::new(Rules { max_restarts: Some(3), ..rules(4) }, script);
    assert!(matches!(world.run(), Exit::GaveUp { task_id: 3, max_restarts: 3 }));
    let mut world = World::new(Rules { max_restarts: Some(4), ..rules(4) }, script);
    world.run_for(1_000_000);
    assert!(world.exit.is_none());
}

#[test]
fn restarts_are_counted_for_the_lifetime() {
    let week = 7 * 24 * 3_600_000;
    let mut world = World::new(Rules { max_restarts: Some(3), ..rules(1) }, move |_, _| ends(week, FAILED));
    assert!(matches!(world.run(), Exit::GaveUp { .. }));
    assert_eq!(world.times(Deed::Exit), [ms(4 * week)]);
}

#[test]
fn one_abnormal_exit_more_than_max_restarts_gives_up_and_stops_the_others_gracefully() {
    let mut world = World::new(without_backoff(3), |task_id, _| match task_id {
        0 => drains(700, NORMAL),
        1 => ends(10, FAILED),
        _ => ignores_sigterm(),
    });
    assert!(matches!(world.run(), Exit::GaveUp { task_id: 1, max_restarts: 100 }));
    assert_eq!(world.times(Deed::Fork(1)).len(), 101);
    assert_eq!(
        world.deeds()[103..],
        [Deed::Close, Deed::Terminate(0), Deed::Terminate(2), Deed::Kill(2), Deed::Exit],
        "the one that ends in time is not killed"
    );
}

#[test]
fn max_restarts_0_gives_up_at_the_first_abnormal_exit() {
    let mut world = World::new(Rules { max_restarts: Some(0), ..rules(1) }, |_, _| ends(10, SEGFAULT));
    assert!(matches!(world.run(), Exit::GaveUp { task_id: 0, max_restarts: 0 }));
    assert_eq!(world.deeds(), [Deed::Fork(0), Deed::Close, Deed::Exit]);
}

#[test]
fn unlimited_restarts_never_give_up() {
    let mut world = World::new(Rules { max_restarts: None, ..without_backoff(1) }, |_, _| ends(1, FAILED));
    world.run_for(20_000);
    assert_eq!(world.deeds.len(), 20_001);
    assert!(world.exit.is_none());
}

#[test]
fn a_restart_says_how_many_are_used_and_how_many_there_are() {
    let mut world = World::new(Rules { max_restarts: Some(2), ..rules(1) }, |_, _| ends(10, FAILED));
    world.run();
    let of_2 = |used| Budget { used, max_restarts: Some(2) };
    let budgets = world.notices.iter().filter_map(|notice| match notice {
        Notice::Restarting { budget, .. } => Some(*budget),
        _ => None,
    });
    assert!(budgets.eq([of_2(1), of_2(2)]));
}

// Backoff

#[test]
fn the_first_replacement_is_immediate_and_the_next_ones_wait_longer_and_longer() {
    let mut world = World::new(rules(1), |_, _| ends(10, FAILED));
    world.run();
    let waits = world.waits(0, 10);
    assert_eq!(waits[0], Duration::ZERO);
    for (wait, least) in waits[1..].iter().zip([100, 200, 400, 800, 800, 800]) {
        assert!((ms(least)..=ms(least + least / 4)).contains(wait), "{least}: {waits:?}");
    }
    assert!(waits.iter().all(|&wait| wait <= ms(1000)), "{waits:?}");
    assert_eq!(waits.len(), 100);
}

#[test]
fn the_longest_wait_differs_from_time_to_time_too() {
    let mut world = World::new(rules(1), |_, _| ends(10, FAILED));
    world.run();
    let longest: BTreeSet<_> = world.waits(0, 10).split_off(5).into_iter().collect();
    assert!(longest.len() > 90, "{longest:?}");
}

#[test]
fn a_backoff_that_does_not_grow_is_the_same_each_time() {
    let backoff = Backoff { first: ms(250), longest: ms(250) };
    let mut world = World::new(Rules { max_restarts: Some(4), backoff, ..rules(1) }, |_, _| ends(10, FAILED));
    world.run();
    assert_eq!(world.waits(0, 10), [0, 250, 250, 250].map(ms));
}

#[test]
fn a_worker_that_lived_10_s_is_forgiven() {
    let lives = [10, 10, 10, 10_000, 10, 10];
    let mut world = World::new(Rules { max_restarts: Some(6), ..rules(1) }, move |_, fork| {
        lives.get(fork).map_or(serves(), |&life| ends(life, FAILED))
    });
    world.run_for(1_000_000);
    let forks = world.times(Deed::Fork(0));
    let waited: Vec<_> = (0..6).map(|n| (forks[n + 1] - forks[n] - ms(lives[n])).as_millis() / 100).collect();
    assert_eq!(waited, [0, 1, 2, 0, 1, 2], "in tenths of a second, less the jitter");
}

#[test]
fn a_worker_that_lived_a_little_less_is_not() {
    let mut world = World::new(Rules { max_restarts: Some(2), ..rules(1) }, |_, _| ends(9_999, FAILED));
    world.run();
    assert!(world.waits(0, 9_999)[1] >= ms(100));
}

#[test]
fn a_backoff_of_0_never_waits() {
    for longest in [ms(0), ms(1000)] {
        let backoff = Backoff { first: Duration::ZERO, longest };
        let mut world = World::new(Rules { backoff, ..rules(1) }, |_, _| ends(1, FAILED));
        world.run();
        assert_eq!(world.times(Deed::Exit), [ms(101)]);
    }
}

#[test]
fn the_backoff_of_one_slot_delays_no_other() {
    let mut world = World::new(rules(2), |task_id, fork| match (task_id, fork) {
        (0, 0..5) => ends(10, FAILED),
        (1, 0) => ends(1000, FAILED),
        _ => serves(),
    });
    world.run_for(1000);
    assert_eq!(world.times(Deed::Fork(0)).len(), 5, "the sixth waits");
    assert_eq!(world.times(Deed::Fork(1)), [0, 1000].map(ms));
    world.run_for(1000);
    assert_eq!(world.times(Deed::Fork(0)).len(), 6);
}

#[test]
fn slots_that_fail_together_return_apart() {
    let mut world = World::new(rules(8), |_, fork| if fork < 2 { ends(10, FAILED) } else { serves() });
    world.run_for(1000);
    let returns: BTreeSet<_> = (0..8).map(|task_id| world.waits(task_id, 10)[1]).collect();
    assert_eq!(returns.len(), 8);
}

#[test]
fn jitter_depends_on_the_seed_and_on_nothing_else() {
    let waits = |jitter_seed| {
        let mut world = World::new(Rules { jitter_seed, ..rules(1) }, |_, _| ends(10, FAILED));
        world.run();
        world.waits(0, 10)
    };
    assert_eq!(waits(1), waits(1));
    assert_ne!(waits(1), waits(2));
}

// Stopping

#[test]
fn a_graceful_stop_closes_the_listeners_and_tells_each_worker_once() {
    let mut world =
        World::new(rules(3), |task_id, _| if task_id == 0 { ends(10, NORMAL) } else { drains(500, NORMAL) });
    world.run_for(100);
    world.ask(Ask::Stop);
    assert!(matches!(world.run(), Exit::Stopped { killed: 0, .. }));
    assert_eq!(world.deeds()[3..], [Deed::Close, Deed::Terminate(1), Deed::Terminate(2), Deed::Exit]);
    assert_eq!(world.times(Deed::Exit), [ms(600)], "it waits for nothing else");
    assert!(world.notices.iter().any(|notice| matches!(notice, Notice::Stopping { by: Some(_), alive: 2, .. })));
}

#[test]
fn what_outlives_graceful_timeout_is_killed() {
    let script = |task_id, _| if task_id == 1 { ignores_sigterm() } else { drains(24_999, NORMAL) };
    let mut world = World::new(rules(3), script);
    world.run_for(100);
    world.ask(Ask::Stop);
    assert!(matches!(world.run(), Exit::Stopped { killed: 1, .. }));
    assert_eq!(world.deeds()[7..], [Deed::Kill(1), Deed::Exit]);
    assert_eq!(world.times(Deed::Kill(1)), [ms(25_100)]);
}

#[test]
fn a_second_stop_is_immediate_and_a_third_changes_nothing() {
    let mut world = World::new(rules(2), |_, _| survives_sigkill());
    world.run_for(100);
    for _ in 0..4 {
        world.ask(Ask::Stop);
        world.run_for(1000);
    }
    assert_eq!(world.times(Deed::Kill(0)), [ms(1100)]);
    world.run();
    assert_eq!(world.times(Deed::Exit), [ms(6100)]);
}

#[test]
fn stop_now_kills_at_once() {
    let mut world = World::new(rules(2), |_, _| drains(500, NORMAL));
    world.run_for(100);
    world.ask(Ask::StopNow);
    assert!(matches!(world.run(), Exit::Stopped { killed: 2, .. }));
    assert_eq!(world.deeds()[2..], [Deed::Close, Deed::Kill(0), Deed::Kill(1), Deed::Exit]);
    assert_eq!(world.times(Deed::Exit), [ms(100)]);
}

#[test]
fn stop_now_hastens_a_graceful_stop() {
    let mut world = World::new(rules(2), |task_id, _| drains(500 + 1000 * task_id as u64, NORMAL));
    world.run_for(100);
    world.ask(Ask::Stop);
    world.run_for(1000);
    world.ask(Ask::StopNow);
    assert!(matches!(world.run(), Exit::Stopped { killed: 1, .. }));
    assert_eq!(world.times(Deed::Exit), [ms(1100)]);
}

#[test]
fn a_stop_during_a_backoff_is_immediate() {
    for ask in [Ask::Stop, Ask::StopNow] {
        let backoff = Backoff { first: ms(60_000), longest: ms(60_000) };
        let mut world = World::new(Rules { backoff, ..rules(2) }, |_, _| ends(10, FAILED));
        world.run_for(1000);
        assert!(world.exit.is_none() && world.alive.is_empty(), "all wait");
        world.ask(ask);
        assert!(matches!(world.run(), Exit::Stopped { killed: 0, .. }));
        assert_eq!(world.times(Deed::Exit), [ms(1000)]);
    }
}

#[test]
fn a_stop_wins_over_a_restart_that_is_due() {
    let mut world = World::new(rules(2), |task_id, _| if task_id == 0 { ends(10, FAILED) } else { serves() });
    world.run_for(50);
    let due = world.policy.poll_timeout().unwrap();
    world.now = due.0;
    world.ask(Ask::Stop);
    assert!(matches!(world.run(), Exit::Stopped { .. }), "and the world sees no fork");
}

#[test]
fn a_stop_waits_for_no_deadline_but_its_own() {
    let script = |task_id, _| if task_id == 0 { ends(10, FAILED) } else { ignores_sigterm() };
    let mut world = World::new(rules(2), script);
    world.run_for(50);
    world.ask(Ask::Stop);
    world.run_for(0);
    assert_eq!(world.policy.poll_timeout(), Some(Time(ms(50 + 25_000))));
}

#[test]
fn a_stop_between_two_forks_of_the_start_forks_no_more() {
    for ask in [Ask::Stop, Ask::StopNow] {
        let mut world = World::new(rules(4), |_, _| serves());
        while world.alive.len() < 2 {
            world.step(FOREVER);
        }
        world.ask(ask);
        assert!(matches!(world.run(), Exit::Stopped { .. }));
        assert!(!world.deeds().contains(&Deed::Fork(2)));
    }
}

#[test]
fn a_stop_before_the_first_fork_forks_nothing() {
    let mut world = World::new(rules(4), |_, _| serves());
    world.ask(Ask::Stop);
    assert!(matches!(world.run(), Exit::Stopped { killed: 0, .. }));
    assert_eq!(world.deeds(), [Deed::Close, Deed::Exit]);
}

#[test]
fn what_ends_during_a_stop_is_neither_replaced_nor_counted_whatever_its_status() {
    let statuses = [NORMAL, FAILED, SEGFAULT, REAL_TIME_SIGNAL];
    let mut world = World::new(Rules { max_restarts: Some(0), ..rules(4) }, move |task_id, _| {
        drains(10 + task_id as u64, statuses[task_id])
    });
    world.run_for(100);
    world.ask(Ask::Stop);
    assert!(matches!(world.run(), Exit::Stopped { killed: 0, .. }));
    assert_eq!(world.times(Deed::Exit), [ms(113)]);
    assert!(!world.notices.iter().any(|n| matches!(n, Notice::Finished { .. } | Notice::Restarting { .. })));
}

#[test]
fn a_stop_during_giving_up_does_not_hasten_it_but_a_second_one_does_and_it_stays_given_up() {
    let mut world = World::new(Rules { max_restarts: Some(0), ..rules(2) }, |task_id, _| match task_id {
        0 => ends(1000, FAILED),
        _ => ignores_sigterm(),
    });
    world.run_for(2000);
    world.ask(Ask::Stop);
    world.run_for(2000);
    assert_eq!(world.deeds()[2..], [Deed::Close, Deed::Terminate(1)]);
    world.ask(Ask::Stop);
    assert!(matches!(world.run(), Exit::GaveUp { task_id: 0, max_restarts: 0 }));
    assert_eq!(world.times(Deed::Kill(1)), [ms(4000)]);
}

#[test]
fn what_survives_sigkill_for_5_s_is_named_and_left_behind() {
    let mut world = World::new(rules(4), |task_id, _| if task_id % 2 == 1 { survives_sigkill() } else { serves() });
    world.run_for(100);
    let survivors: Vec<_> = world.alive.iter().filter(|(_, p)| p.task_id % 2 == 1).map(|(&proc, _)| proc).collect();
    world.ask(Ask::StopNow);
    assert!(matches!(world.run(), Exit::Unkillable(procs) if *procs == survivors));
    assert_eq!(world.times(Deed::Exit), [ms(5100)]);
}

#[test]
fn what_dies_late_of_sigkill_is_not_left_behind() {
    let late = Life { terminated: None, killed: Some((ms(4_999), SIGKILLED)), ..OBEYS };
    let mut world = World::new(rules(1), move |_, _| Fork::Runs(late));
    world.run_for(100);
    world.ask(Ask::Stop);
    assert!(matches!(world.run(), Exit::Stopped { killed: 1, .. }));
    assert_eq!(world.times(Deed::Exit), [ms(100 + 25_000 + 4_999)]);
}

#[test]
fn what_ends_at_the_very_deadline_is_in_time() {
    let mut world = World::new(rules(2), |_, _| drains(25_000, NORMAL));
    world.run_for(100);
    world.ask(Ask::Stop);
    assert!(matches!(world.run(), Exit::Stopped { killed: 0, .. }));
    let late = Life { killed: Some((KILL_TIMEOUT, SIGKILLED)), ..OBEYS };
    let mut world = World::new(rules(2), move |_, _| Fork::Runs(late));
    world.run_for(100);
    world.ask(Ask::StopNow);
    assert!(matches!(world.run(), Exit::Stopped { killed: 2, .. }));
}

#[test]
fn a_graceful_timeout_may_be_nothing_or_endless() {
    let mut world = World::new(Rules { graceful_timeout: Duration::ZERO, ..rules(1) }, |_, _| drains(1, NORMAL));
    world.run_for(100);
    world.ask(Ask::Stop);
    assert!(matches!(world.run(), Exit::Stopped { killed: 1, .. }));
    let mut world = World::new(Rules { graceful_timeout: Duration::MAX, ..rules(1) }, |_, _| drains(1 << 39, NORMAL));
    world.run_for(100);
    world.ask(Ask::Stop);
    assert!(matches!(world.run(), Exit::Stopped { killed: 0, .. }));
}

// Forks that fail

#[test]
fn a_first_fork_that_fails_stops_what_was_started() {
    let mut world = World::new(rules(4), |task_id, _| if task_id == 2 { Fork::Refused } else { drains(500, NORMAL) });
    assert!(matches!(world.run(), Exit::CannotFork(_)));
    assert_eq!(world.deeds()[2..], [Deed::Fork(2), Deed::Close, Deed::Terminate(0), Deed::Terminate(1), Deed::Exit]);
    assert_eq!(world.times(Deed::Exit), [ms(500)]);
}

#[test]
fn a_later_fork_that_fails_is_retried_with_delay_and_counted_and_its_slot_is_kept() {
    let script = |_, fork| match fork {
        0 => ends(10, FAILED),
        1..4 => Fork::Refused,
        _ => serves(),
    };
    let mut world = World::new(without_backoff(1), script);
    world.run_for(1_000_000);
    assert_eq!(world.times(Deed::Fork(0)), [0, 10, 110, 210, 310].map(ms));
    assert_eq!(world.policy.restarts, 4);
    assert_eq!(world.alive.len(), 1);
    let mut world = World::new(rules(1), script);
    world.run_for(1_000_000);
    let waits = world.waits(0, 0).split_off(1);
    assert!(waits[0] >= ms(100) && waits[1] >= ms(200) && waits[2] >= ms(400), "{waits:?}");
}

#[test]
fn forks_that_fail_too_often_give_up() {
    let mut world = World::new(Rules { max_restarts: Some(3), ..rules(2) }, |task_id, fork| match (task_id, fork) {
        (1, _) => serves(),
        (_, 0) => ends(10, FAILED),
        _ => Fork::Refused,
    });
    assert!(matches!(world.run(), Exit::GaveUp { task_id: 0, max_restarts: 3 }));
    assert_eq!(world.times(Deed::Fork(0)).len(), 4);
    assert_eq!(world.times(Deed::Terminate(1)).len(), 1);
}

#[test]
fn a_fork_that_would_be_unsafe_stops_the_pool() {
    let mut world = World::new(rules(3), |task_id, fork| match (task_id, fork) {
        (1, 0) => ends(10, FAILED),
        (1, _) => Fork::Unsafe,
        _ => serves(),
    });
    assert!(matches!(world.run(), Exit::Unsafe(why) if why == "a thread"));
    assert_eq!(world.deeds()[4..], [Deed::Close, Deed::Terminate(0), Deed::Terminate(2), Deed::Exit]);
}

// Facts that are none, and clocks that are wrong

const NOBODY: ProcId = ProcId { task_id: usize::MAX, fork: u64::MAX };

/// Facts about a process that is not alive, and answers that were given.
fn nonsense(living: ProcId, dead: ProcId) -> Vec<Event> {
    let error = || io::ErrorKind::OutOfMemory.into();
    let mut events = vec![Event::Tick, Event::Forked(living), Event::ForkFailed(living, error())];
    events.push(Event::ForkUnsafe(living, String::new()));
    for proc in [dead, NOBODY] {
        events.extend([Event::Forked(proc), Event::ForkFailed(proc, error()), Event::ForkUnsafe(proc, String::new())]);
        events.extend([NORMAL, FAILED, SIGKILLED].map(|status| Event::Ended(proc, status)));
    }
    events
}

#[test]
fn ticks_and_unknown_and_repeated_processes_change_nothing() {
    let script = |task_id, fork| match (task_id, fork) {
        (0, 0..2) => ends(10, FAILED),
        (1, _) => ends(15, NORMAL),
        _ => drains(10_000, NORMAL),
    };
    for stopping in [false, true] {
        let mut world = World::new(rules(3), script);
        world.run_for(50);
        if stopping {
            world.ask(Ask::Stop);
        }
        world.run_for(10);
        let before = world.policy.poll_timeout();
        let living = *world.alive.keys().next().unwrap();
        for event in nonsense(living, ProcId { task_id: 0, fork: 0 }) {
            let event_was = format!("{event:?}");
            world.policy.handle(Time(world.now), event);
            assert!(world.policy.poll().is_none(), "{event_was}");
            assert_eq!(world.policy.poll_timeout(), before, "{event_was}");
        }
        assert_eq!(world.policy.restarts, 2);
        assert_eq!(world.policy.finished, 1);
    }
}

#[test]
fn a_look_too_many_at_a_slot_changes_nothing() {
    let mut world = World::new(rules(3), |task_id, fork| match (task_id, fork) {
        (0, 0..2) => ends(10, FAILED),
        (1, _) => ends(15, NORMAL),
        _ => serves(),
    });
    world.run_for(50);
    let waiting = world.policy.poll_timeout();
    world.policy.dirty.extend([0, 1, 2]);
    assert!(world.policy.poll().is_none(), "one waits, one has finished, one is alive");
    assert_eq!(world.policy.poll_timeout(), waiting);
}

#[test]
fn after_the_end_nothing_changes() {
    let mut world = World::new(rules(2), |_, _| survives_sigkill());
    world.run_for(100);
    let left_behind = *world.alive.keys().next().unwrap();
    world.ask(Ask::StopNow);
    world.run();
    let mut events = nonsense(left_behind, ProcId { task_id: 7, fork: 0 });
    events.push(Event::Ended(left_behind, SIGKILLED));
    events.extend([Ask::Stop, Ask::StopNow].map(|ask| Event::Ask(ask, String::new())));
    for event in events {
        world.policy.handle(Time(FOREVER), event);
        assert!(world.policy.poll().is_none());
        assert!(world.policy.poll_timeout().is_none());
    }
}

#[test]
fn a_clock_that_goes_backwards_stands_still() {
    let mut world = World::new(rules(2), |_, fork| if fork < 2 { ends(10, FAILED) } else { serves() });
    world.run_for(50);
    let due = world.policy.poll_timeout();
    world.policy.handle(Time(Duration::ZERO), Event::Tick);
    assert_eq!(world.policy.poll_timeout(), due, "it forgets no deadline");
    world.run_for(1000);
    let proc = *world.alive.keys().next().unwrap();
    world.policy.handle(Time(Duration::ZERO), Event::Ended(proc, FAILED));
    assert!(world.policy.poll_timeout().unwrap().0 >= ms(50 + 200), "and sets none in the past");
}

#[test]
fn a_clock_that_jumps_far_ahead_fires_what_is_due_and_no_more() {
    let mut world = World::new(rules(2), |task_id, fork| match (task_id, fork) {
        (0, 0..2) => ends(10, FAILED),
        _ => survives_sigkill(),
    });
    world.run_for(50);
    world.now += YEAR;
    world.tell(Event::Tick);
    world.run_for(0);
    assert_eq!(world.alive.len(), 2);
    world.ask(Ask::Stop);
    world.run_for(0);
    world.now += YEAR;
    world.tell(Event::Tick);
    world.run_for(4_999);
    assert!(world.exit.is_none(), "SIGKILL has its five seconds all the same");
    assert!(matches!(world.run(), Exit::Unkillable(_)));
}

#[test]
fn the_end_of_time_is_no_panic() {
    let backoff = Backoff { first: ms(1), longest: Duration::MAX };
    let mut policy = Policy::new(Rules { backoff, max_restarts: None, graceful_timeout: Duration::MAX, ..rules(1) });
    for _ in 0..1000 {
        match policy.poll() {
            Some(Action::Fork { proc, .. }) => {
                policy.handle(policy.now, Event::Forked(proc));
                policy.handle(policy.now, Event::Ended(proc, FAILED));
            }
            Some(_) => {}
            None => policy.handle(policy.poll_timeout().unwrap(), Event::Tick),
        }
    }
    policy.handle(Time(Duration::MAX), Event::Ask(Ask::Stop, String::new()));
    let exit = std::iter::from_fn(|| policy.poll()).find(|action| matches!(action, Action::Exit(_)));
    assert!(matches!(exit, Some(Action::Exit(Exit::Stopped { .. }))));
}

// Everything at once

/// Xorshift: the same rolls for the same seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }

    fn pick<T: Copy, const N: usize>(&mut self, of: [T; N]) -> T {
        of[self.roll(N as u64) as usize]
    }

    fn rules(&mut self) -> Rules {
        let (first, longest) = self.pick([(0, 0), (100, 1000), (1, 60_000), (250, 250), (0, 500)]);
        Rules {
            workers: 1 + self.roll(6) as usize,
            max_restarts: self.pick([None, None, Some(0), Some(1), Some(10), Some(100)]),
            backoff: Backoff { first: ms(first), longest: ms(longest) },
            graceful_timeout: self.pick([ms(0), ms(1000), ms(25_000), Duration::MAX]),
            jitter_seed: self.roll(u64::MAX),
        }
    }

    /// Normal ends are one in `of`.
    fn end(&mut self, of: u64) -> Option<(Duration, Status)> {
        let longest = self.pick([1, 20, 2_000, 30_000]);
        let status = if self.roll(of) == 0 { NORMAL } else { self.pick([FAILED, SEGFAULT, REAL_TIME_SIGNAL]) };
        (self.roll(8) > 0).then(|| (ms(self.roll(longest)), status))
    }

    fn fork(&mut self, fork: usize) -> Fork {
        let life = Life { alone: self.end(10), terminated: self.end(2), killed: self.end(99).filter(|_| fork % 8 > 0) };
        match self.roll(200) {
            0 => Fork::Unsafe,
            1..20 if fork > 0 => Fork::Refused,
            20..23 => Fork::Refused,
            _ => Fork::Runs(life),
        }
    }
}

#[test]
fn whatever_happens_the_invariants_hold() {
    let mut steps = 0;
    let mut exits = BTreeMap::<_, u32>::new();
    for seed in 1..=5000 {
        let mut dice = Dice(seed * 0x9e37_79b9);
        let mut fate = Dice(seed * 0x85eb_ca6b);
        let mut world = World::new(dice.rules(), move |_, fork| fate.fork(fork));
        for _ in 0..dice.roll(2000) {
            steps += 1;
            match dice.roll(2000) {
                0..3 => world.ask(Ask::Stop),
                3 => world.ask(Ask::StopNow),
                4..8 => {
                    world.now += YEAR;
                    world.tell(Event::Tick);
                }
                8..16 => world.policy.handle(Time(world.now / 2), Event::Tick),
                16..30 => {
                    let living = world.alive.keys().next().copied().unwrap_or(NOBODY);
                    let dead = ProcId { task_id: dice.roll(5) as usize, fork: dice.roll(4) };
                    let dead = if world.alive.contains_key(&dead) { NOBODY } else { dead };
                    nonsense(living, dead).into_iter().for_each(|event| world.policy.handle(Time(world.now), event));
                }
                _ => drop(world.step(FOREVER)),
            }
        }
        let asked_at = world.now;
        world.ask(Ask::StopNow);
        *exits.entry(name(world.run())).or_default() += 1;
        assert!(world.now - asked_at <= KILL_TIMEOUT, "seed {seed}");
    }
    assert!(steps > 1_000_000, "{steps}");
    assert!(exits.len() == 6 && exits.values().all(|&count| count >= 50), "{exits:?}");
}

// Size

/// Performs all that is to be done, with forks that succeed: how many actions that took, and who was started.
fn drain(policy: &mut Policy) -> (usize, Vec<ProcId>) {
    let (mut actions, mut started) = (0, Vec::new());
    while let Some(action) = policy.poll() {
        actions += 1;
        if let Action::Fork { proc, .. } = action {
            policy.handle(policy.now, Event::Forked(proc));
            started.push(proc);
        }
    }
    (actions, started)
}

#[test]
fn a_thousand_deaths_among_4096_workers_cost_a_few_actions_each_and_touch_no_other_slot() {
    let mut policy = Policy::new(Rules { max_restarts: None, ..rules(4096) });
    let (actions, workers) = drain(&mut policy);
    assert_eq!((actions, workers.len()), (2 * 4096, 4096), "a fork and a notice each");
    for &proc in workers.iter().step_by(4) {
        policy.handle(Time(ms(10)), Event::Ended(proc, SIGKILLED));
    }
    assert_eq!(policy.dirty.len(), 1024, "slots to look at");
    let (actions, replacements) = drain(&mut policy);
    assert_eq!((actions, replacements.len()), (3 * 1024, 1024), "a notice of the end, a fork, a notice of the start");
    for &proc in &replacements {
        policy.handle(Time(ms(20)), Event::Ended(proc, SIGKILLED));
    }
    assert_eq!((policy.dirty.len(), policy.deadlines.len()), (0, 1024), "all wait");
    assert_eq!(drain(&mut policy).0, 1024, "a notice each");
    policy.handle(Time(ms(1000)), Event::Tick);
    assert_eq!(drain(&mut policy).0, 2 * 1024, "a fork and a notice each");
    assert_eq!(policy.poll_timeout(), None);
}

#[test]
fn a_million_steps_leave_nothing_behind() {
    let mut policy = Policy::new(Rules { max_restarts: None, ..without_backoff(4096) });
    let mut workers = VecDeque::from(drain(&mut policy).1);
    let mut steps = 0;
    while steps < 1_000_000 {
        let proc = workers.pop_front().unwrap();
        policy.handle(Time(ms(steps as u64)), Event::Ended(proc, FAILED));
        let (actions, started) = drain(&mut policy);
        assert_eq!((actions, started.len()), (3, 1));
        steps += 2 + actions;
        workers.extend(started);
    }
    assert_eq!(policy.alive, 4096);
    assert_eq!((policy.dirty.len(), policy.actions.len(), policy.deadlines.len()), (0, 0, 0));
}
