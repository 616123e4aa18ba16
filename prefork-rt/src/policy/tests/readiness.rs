//! When a worker counts as ready, and what happens to one that does not.

use super::*;

fn pool_ready(world: &World) -> Vec<Duration> {
    let took = world.notices.iter().filter_map(|notice| match notice {
        Notice::PoolReady { took, .. } => Some(*took),
        _ => None,
    });
    took.collect()
}

#[test]
fn that_the_pool_is_ready_is_said_once() {
    for (readiness, took) in [(Readiness::AtFork, 0), (Readiness::AtBody, 300), (Readiness::Announced(ms(1000)), 300)] {
        let mut world = World::new(Rules { readiness, ..rules(3) }, |task_id, fork| match (task_id, fork) {
            (1, 0) => ends(2000, FAILED).ready(300),
            _ => serves().ready(10),
        });
        world.run_for(10_000);
        assert_eq!(pool_ready(&world), [ms(took)], "{readiness:?}");
    }
}

#[test]
fn a_pool_is_ready_when_all_workers_that_have_not_finished_are() {
    let mut world = World::new(announced(2, 1000), |task_id, _| match task_id {
        0 => ends(100, NORMAL).never_ready(),
        _ => serves().ready(500),
    });
    world.run_for(10_000);
    assert_eq!(pool_ready(&world), [ms(500)]);
    let mut world = World::new(announced(2, 1000), |_, _| ends(100, NORMAL).never_ready());
    world.run();
    assert_eq!(pool_ready(&world), []);
}

#[test]
fn a_pool_is_ready_when_the_one_that_was_not_is_not_wanted_any_more() {
    let mut world = World::new(announced(2, 1000), |task_id, _| match task_id {
        0 => serves(),
        _ => serves().never_ready(),
    });
    world.run_for(500);
    assert_eq!(pool_ready(&world), []);
    world.ask(Ask::Fewer);
    world.run_for(0);
    assert_eq!(pool_ready(&world), [ms(500)]);
}

#[test]
fn without_ready_timeout_readiness_is_not_waited_for() {
    for readiness in [Readiness::AtFork, Readiness::AtBody] {
        let mut world = World::new(Rules { readiness, ..rules(2) }, |_, _| serves().never_ready());
        world.run_for(1_000_000);
        assert_eq!(world.policy.poll_timeout(), None);
        assert_eq!(pool_ready(&world).len(), usize::from(readiness == Readiness::AtFork));
    }
}

#[test]
fn a_worker_not_ready_in_time_is_killed_and_counted() {
    let mut world = World::new(announced(2, 1000), |task_id, fork| match (task_id, fork) {
        (1, 0) => ends(5000, FAILED),
        (1, 1) => serves().never_ready(),
        _ => serves().ready(999),
    });
    world.run_for(100_000);
    assert_eq!(world.times(Deed::Kill(1)), [ms(6000)], "without SIGTERM, which it may not handle yet");
    assert!(world.times(Deed::Terminate(1)).is_empty());
    assert_eq!(world.used(), 2);
    let restarting = |notice: &Notice| matches!(notice, Notice::Restarting { failure: Failure::NotReady, .. });
    assert_eq!((world.count(restarting), world.times(Deed::Fork(1)).len()), (1, 3));
}

#[test]
fn a_worker_ready_at_the_very_deadline_is_in_time() {
    let mut world = World::new(announced(1, 1000), |_, _| serves().ready(1000));
    world.run_for(10_000);
    assert!(world.times(Deed::Kill(0)).is_empty());
    assert_eq!(world.policy.poll_timeout(), None);
}

#[test]
fn a_worker_whose_ring_was_lost_is_looked_at_before_it_is_killed() {
    let mut world = World::new(announced(1, 1000), |_, _| serves().never_ready());
    world.run_for(500);
    let proc = *world.alive.keys().next().unwrap();
    world.policy.handle(Time(ms(1000)), Event::Tick);
    let action = std::iter::from_fn(|| world.policy.poll()).find(|action| matches!(action, Action::ReadReport(_)));
    assert!(matches!(action, Some(Action::ReadReport(asked)) if asked == proc));
    world.policy.handle(Time(ms(1000)), Event::Reported(proc, Reported { ready: true, ..Reported::default() }));
    let killed = std::iter::from_fn(|| world.policy.poll()).any(|action| matches!(action, Action::Signal(..)));
    assert!(!killed);
}

#[test]
fn a_late_supervisor_gives_a_starting_worker_another_interval() {
    let mut world = World::new(announced(2, 1000), |_, _| serves().ready(1500));
    world.run_for(900);
    world.sleep(ms(360));
    world.run_for(10_000);
    assert!(world.times(Deed::Kill(0)).is_empty());
    assert_eq!(pool_ready(&world), [ms(1500)]);
    let mut world = World::new(announced(1, 1000), |_, _| serves().never_ready());
    world.run_for(900);
    world.sleep(ms(360));
    world.run_for(2000);
    assert_eq!(world.times(Deed::Kill(0))[0], ms(2260), "and no more than that");
}

#[test]
fn what_sigkill_does_not_end_is_named_and_its_slot_stays_empty() {
    let mut world = World::new(announced(2, 1000), |task_id, _| match task_id {
        0 => survives_sigkill().never_ready(),
        _ => serves(),
    });
    world.run_for(100_000);
    assert_eq!(world.count(|notice| matches!(notice, Notice::Overdue { .. })), 1);
    assert_eq!(world.times(Deed::Fork(0)).len(), 1);
    assert_eq!(world.policy.poll_timeout(), None);
    world.ask(Ask::Stop);
    assert!(matches!(world.run(), Exit::Unkillable(_)));
}

#[test]
fn the_states_of_all_slots_are_published() {
    let mut world = World::new(announced(5, 1000), |task_id, fork| match (task_id, fork) {
        (0, _) => serves().ready(500),
        (1, _) => ends(10, NORMAL),
        (2, 0..2) => ends(20, FAILED).ready(1),
        (4, _) => survives_sigkill(),
        _ => serves(),
    });
    world.run_for(50);
    world.ask(Ask::Fewer);
    world.run_for(0);
    let states: Vec<State> = world.views.values().map(|view| view.state).collect();
    assert_eq!(states, [State::Starting, State::Finished, State::Waiting, State::Ready, State::Stopping]);
    assert_eq!(world.views[&2].restarts, 1);
    assert_eq!(world.views[&3].proc.map(ProcId::task_id), Some(3));
}
