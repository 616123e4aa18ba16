//! Facts that mean nothing, and clocks that are wrong.

use super::*;
use std::io;

pub(super) const NO_PROC: ProcId = ProcId { task_id: usize::MAX, fork: u64::MAX };

/// Facts about a process that is not alive, and answers that were given.
pub(super) fn nonsense(living: ProcId, dead: ProcId) -> Vec<Event> {
    let error = || io::ErrorKind::OutOfMemory.into();
    let mut events = vec![Event::Tick, Event::Forked(living), Event::ForkFailed(living, error())];
    events.push(Event::ForkUnsafe(living, String::new()));
    let task_id = usize::MAX;
    events.extend([Event::SocketsOpen(task_id), Event::SocketsOpen(living.task_id)]);
    events.extend([task_id, living.task_id].map(|task_id| Event::SocketsRefused(task_id, error())));
    events.extend([true, false].map(|waiting| Event::Queue { task_id, waiting }));
    for proc in [dead, NO_PROC] {
        events.extend([Event::Forked(proc), Event::ForkFailed(proc, error()), Event::ForkUnsafe(proc, String::new())]);
        events.extend([NORMAL, FAILED, SIGKILLED].map(|status| Event::Ended(proc, status)));
        events.extend([Hold::Nothing, Hold::CoreDump].map(|hold| Event::Inspected(proc, hold)));
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
        assert_eq!(world.used(), 2);
        assert_eq!(world.policy.headcount.finished(), 1);
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
    world.sleep(YEAR);
    world.run_for(0);
    assert_eq!(world.alive.len(), 2);
    world.ask(Ask::Stop);
    world.run_for(0);
    world.sleep(YEAR);
    world.run_for(4_999);
    assert!(world.exit.is_none(), "SIGKILL has its five seconds all the same");
    assert!(matches!(world.run(), Exit::Unkillable(_)));
}

#[test]
fn the_end_of_time_is_no_panic() {
    let backoff = Backoff { first: ms(1), longest: Duration::MAX };
    let mut policy = Policy::new(
        Rules { backoff, max_restarts: None, graceful_timeout: Duration::MAX, ..rules(1) },
        &Uncopied::default(),
    );
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
