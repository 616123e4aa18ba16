//! An old worker and its replacement, either of which ends, hangs or finishes in the middle of the turn.

use super::hangs::{FOUND_OUT, hangs, watched};
use super::*;

#[test]
fn an_old_worker_that_crashes_leaves_its_place_to_its_replacement() {
    let mut world = World::new(announced(2, 1000), |task_id, fork| match (task_id, fork) {
        (0, 0) => ends(550, FAILED),
        _ => serves().ready(100),
    });
    world.run_for(500);
    world.ask(Ask::Reload);
    world.run_for(10_000);
    assert_eq!(world.times(Deed::Fork(0)), [0, 500].map(ms), "there is no third");
    assert_eq!(world.used(), 1);
    let restarting = |notice: &Notice| matches!(notice, Notice::Restarting { delay: Duration::ZERO, .. });
    assert_eq!(world.count(restarting), 1);
    assert_eq!(world.count(|notice| matches!(notice, Notice::Reloaded { replaced: 2, .. })), 1);
}

#[test]
fn an_old_worker_that_crashes_again_and_again_does_not_delay_its_replacement() {
    let mut world = World::new(announced(1, 1000), |_, fork| match fork {
        0..3 => ends(10, FAILED),
        3 => ends(500, FAILED),
        _ => serves().ready(400),
    });
    world.run_for(500);
    world.ask(Ask::Reload);
    world.run_for(10_000);
    assert_eq!(world.times(Deed::Fork(0)).len(), 5);
    let mut delays = world.notices.iter().filter_map(|notice| match notice {
        Notice::Restarting { delay, .. } => Some(*delay),
        _ => None,
    });
    assert_eq!(delays.next_back(), Some(Duration::ZERO), "it is there already");
}

#[test]
fn when_both_fail_the_slot_is_restarted_and_the_reload_abandoned() {
    for (second, used) in
        [(ends(80, FAILED).never_ready(), 2), (serves().never_ready(), 2), (ends(80, NORMAL).never_ready(), 1)]
    {
        let mut world = World::new(announced(2, 1000), move |task_id, fork| match (task_id, fork) {
            (0, 0) => ends(550, FAILED),
            (0, 1) => second,
            _ => serves().ready(100),
        });
        world.run_for(500);
        world.ask(Ask::Reload);
        world.run_for(10_000);
        assert_eq!(world.used(), used);
        let failed = |notice: &Notice| matches!(notice, Notice::ReloadFailed { task_id: 0, kept: None, .. });
        let finished = world.count(|notice| matches!(notice, Notice::Finished { .. }));
        assert_eq!(world.count(failed), 1 - finished);
        assert_eq!(world.alive.len(), 2 - finished);
    }
}

#[test]
fn an_old_worker_that_finishes_takes_its_replacement_with_it() {
    for drain in [0, 500] {
        let mut world = World::new(announced(3, 1000), move |task_id, fork| match (task_id, fork) {
            (1, 0) => ends(700, NORMAL),
            (1, 1) => drains(drain, FAILED).ready(500),
            _ => serves().ready(100),
        });
        world.run_for(500);
        world.ask(Ask::Reload);
        world.run_for(10_000);
        assert_eq!(world.times(Deed::Fork(1)), [0, 600].map(ms));
        assert_eq!(world.times(Deed::Terminate(1)), [ms(700)]);
        assert_eq!((world.used(), world.alive.len()), (0, 2));
        assert_eq!(world.count(|notice| matches!(notice, Notice::Reloaded { replaced: 2, .. })), 1);
    }
}

#[test]
fn an_old_worker_that_an_operator_ends_leaves_its_place_too() {
    let mut world = World::new(announced(1, 1000), |_, fork| match fork {
        0 => serves().told_by_operator(550),
        _ => serves().ready(100),
    });
    world.run_for(500);
    world.ask(Ask::Reload);
    world.run_for(10_000);
    assert_eq!(world.times(Deed::Fork(0)), [0, 500].map(ms));
    assert_eq!((world.used(), world.alive.len()), (0, 1));
}

#[test]
fn an_old_worker_that_hangs_is_counted_and_the_reload_goes_on() {
    for ready in [500, 800] {
        let mut world = World::new(watched(announced(1, 2000)), move |_, fork| match fork {
            0 => {
                let mut life = OBEYS;
                life.aborted = Some((ms(500), ABORTED));
                Fork::Runs(life).heartbeats(0, 100, 2000)
            }
            _ => serves().ready(ready),
        });
        world.run_for(FOUND_OUT - 100);
        world.ask(Ask::Reload);
        world.run_for(10_000);
        assert!(world.times(Deed::Terminate(0)).is_empty());
        assert_eq!((world.times(Deed::Fork(0)).len(), world.used()), (2, 1));
        assert_eq!(world.count(|notice| matches!(notice, Notice::Reloaded { replaced: 1, .. })), 1);
    }
}

#[test]
fn an_old_worker_that_hangs_is_no_worker_that_stays() {
    let mut world = World::new(watched(announced(1, 60_000)), |_, fork| match fork {
        0 => hangs().ignores_sigabrt(),
        1 => ends(500, FAILED).never_ready(),
        _ => serves(),
    });
    world.run_for(FOUND_OUT - 100);
    world.ask(Ask::Reload);
    world.run_for(100_000);
    let failed = |notice: &Notice| matches!(notice, Notice::ReloadFailed { kept: None, .. });
    assert_eq!((world.count(failed), world.used(), world.alive.len()), (1, 1, 1));
}

#[test]
fn a_worker_that_was_restarted_during_a_reload_is_not_replaced_once_more() {
    for reload in [Reload::Overlap, Reload::Exclusive] {
        let mut world = World::new(Rules { reload, ..rules(3) }, |task_id, fork| match (task_id, fork) {
            (1, 0) => ends(550, FAILED),
            _ => drains(100, NORMAL),
        });
        world.run_for(500);
        world.ask(Ask::Reload);
        world.run_for(10_000);
        assert_eq!(world.times(Deed::Fork(1)), [0, 550].map(ms));
        assert_eq!(world.count(|notice| matches!(notice, Notice::Reloaded { replaced: 2, .. })), 1);
    }
}

#[test]
fn a_replacement_that_hangs_before_it_is_ready_abandons_the_reload() {
    let mut world = World::new(watched(announced(1, 60_000)), |_, fork| match fork {
        0 => serves(),
        _ => serves().never_ready().heartbeats(0, 100, 2000).ignores_sigabrt(),
    });
    world.run_for(500);
    let old = world.alive_of(0)[0];
    world.ask(Ask::Reload);
    world.run_for(100_000);
    assert_eq!(world.alive_of(0), [old]);
    assert_eq!(world.times(Deed::Kill(0)), [ms(500 + FOUND_OUT + 5000)]);
    let failed = |notice: &Notice| {
        let hung = Failure::Hung(SIGKILLED);
        matches!(notice, Notice::ReloadFailed { why: TurnFailure::Failed { failure, .. }, .. } if *failure == hung)
    };
    assert_eq!((world.count(failed), world.used()), (1, 0));
}

#[test]
fn a_replacement_that_crashes_while_the_old_worker_drains_is_restarted_at_once() {
    let mut world = World::new(rules(2), |task_id, fork| match (task_id, fork) {
        (0, 0) => drains(2000, NORMAL),
        (0, 1) => ends(100, FAILED),
        _ => serves(),
    });
    world.run_for(500);
    world.ask(Ask::Reload);
    world.run_for(10_000);
    assert_eq!(world.times(Deed::Fork(0)), [0, 500, 600].map(ms));
    assert_eq!(world.times(Deed::Fork(1)), [0, 2500].map(ms), "the reload goes on when the old one has ended");
    assert_eq!(world.used(), 1);
}

#[test]
fn an_old_worker_that_is_being_killed_is_not_missed_where_its_successor_has_finished() {
    let late = Life { killed: Some((ms(3000), SIGKILLED)), ..OBEYS };
    let mut world = World::new(announced(2, 1000), move |task_id, fork| match (task_id, fork) {
        (0, 0) => Fork::Runs(late).never_ready().asks_at(900),
        (0, 1) => ends(1500, NORMAL).ready(500),
        _ => serves(),
    });
    world.run_for(10_000);
    assert_eq!(world.times(Deed::Kill(0)), [ms(1000)]);
    assert_eq!((world.used(), world.alive.len(), world.times(Deed::Fork(0)).len()), (0, 1, 2));
    assert_eq!(world.count(|notice| matches!(notice, Notice::Restarting { .. })), 0);
}
