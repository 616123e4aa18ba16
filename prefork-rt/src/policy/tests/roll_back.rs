//! The way back to the previous binary, and what happens at that moment.

use super::*;

/// Ready after 100 ms, ends 50 ms after SIGTERM.
fn steady() -> Fork {
    drains(50, NORMAL).ready(100)
}

fn went_back(notice: &Notice) -> bool {
    matches!(notice, Notice::WentBack { .. })
}

/// A slot that fails twice waits for a second.
fn slow_backoff(rules: Rules) -> Rules {
    Rules { backoff: Backoff { first: ms(1000), longest: ms(1000) }, ..rules }
}

#[test]
fn after_a_roll_back_no_worker_is_replaced_before_all_have_ended_that_were_told_to() {
    let script = |task_id, fork| match (task_id, fork) {
        // In its turn when the new binary fails.
        (0, 0) => drains(300, NORMAL),
        // Started by the new binary: one that fails, and one that is sent away.
        (1 | 2, 0) => ends(100, FAILED),
        (1 | 2, 1) => ends(50, FAILED),
        (1, 2) => ends(100, FAILED).never_ready(),
        (2, 2) => drains(5000, NORMAL).never_ready(),
        _ => steady(),
    };
    let mut world = World::new(slow_backoff(exclusive(announced(3, 10_000))), script);
    world.run_for(1100);
    world.ask(Ask::Upgrade);
    world.run_for(200);
    assert_eq!(world.count(went_back), 1);
    world.ask(Ask::Reload);
    world.run_for(20_000);
    // The workers of the other slots are new.
    assert_eq!(world.times(Deed::Terminate(1)), [ms(1250 + 5000)], "{:?}", world.deeds);
    assert_eq!(world.count(|notice| matches!(notice, Notice::Reloaded { replaced: 1, .. })), 1);
}

#[test]
fn where_there_is_no_way_back_a_worker_that_is_to_be_recycled_is_recycled_nevertheless() {
    let script = |_, fork| match fork {
        0 => ends(100, FAILED),
        1 => ends(50, FAILED),
        2 => drains(50, NORMAL).ready(20_000).asks_at(10),
        3 => ends(50, FAILED).never_ready(),
        _ => steady(),
    };
    let mut world = World::new(slow_backoff(Rules { max_restarts: None, ..announced(1, 60_000) }), script);
    world.run_for(200);
    world.next.way_back = false;
    world.ask(Ask::Upgrade);
    world.run_for(100_000);
    assert_eq!(world.count(|notice| matches!(notice, Notice::CannotGoBack { .. })), 1);
    assert_eq!(world.count(|notice| matches!(notice, Notice::Recycling { .. })), 2);
    assert_eq!((world.times(Deed::Fork(0)).len(), world.alive.len()), (5, 1));
}

#[test]
fn a_newcomer_that_ends_in_the_instant_of_the_roll_back_is_not_missed() {
    for (status, way_back) in [(NORMAL, true), (FAILED, true), (FINAL, true), (NORMAL, false), (FAILED, false)] {
        let script = move |task_id, fork| match (task_id, fork) {
            (1, 0) => ends(100, FAILED),
            (1, 1) => ends(50, FAILED),
            (0, 1) => ends(110, status).never_ready(),
            (1, 2) => ends(100, status).never_ready(),
            _ => steady(),
        };
        let mut world = World::new(slow_backoff(announced(2, 10_000)), script);
        world.run_for(1130);
        world.next.way_back = way_back;
        world.ask(Ask::Upgrade);
        world.run_for(20_000);
        assert_eq!(world.times(Deed::Upgrade), [ms(1140)]);
        let finished = world.count(|notice| matches!(notice, Notice::Finished { .. }));
        assert_eq!((finished, world.used(), world.alive.len()), (0, 2, 2), "{status:?} {way_back}");
        assert_eq!(
            world.count(|notice| matches!(notice, Notice::Replaced { .. })),
            1,
            "one has failed, the other is told of"
        );
        assert!(world.exit.is_none());
    }
}

#[test]
fn how_many_workers_a_new_binary_has_is_settled_before_the_pool_is_over() {
    let script = |task_id, fork| if (task_id, fork) == (0, 1) { ends(100, NORMAL).ready(100) } else { steady() };
    let mut world = World::new(exclusive(announced(1, 1000)), script);
    world.run_for(500);
    world.next.rules = Some(exclusive(announced(2, 1000)));
    world.ask(Ask::Upgrade);
    world.run_for(10_000);
    assert!(world.exit.is_none(), "its first worker was ready, and finished at once");
    assert_eq!(world.alive_of(1).len(), 1);
    // Where no more workers are wanted, the pool is over.
    let mut world = World::new(exclusive(announced(1, 1000)), script);
    world.run_for(500);
    world.ask(Ask::Upgrade);
    assert!(matches!(world.run(), Exit::Finished));
}

/// The worker does not say when it is ready, but the next binary would wait for that.
#[test]
fn a_worker_on_trial_is_ready_at_its_end_under_the_next_binary_too() {
    let script = |task_id, fork| match (task_id, fork) {
        (1, 0) => ends(1000, FAILED),
        _ => drains(10, NORMAL).never_ready(),
    };
    let mut world = World::new(rules(2), script);
    world.run_for(500);
    world.ask(Ask::Upgrade);
    world.run_for(1040);
    assert_eq!(world.count(|notice| matches!(notice, Notice::UpgradeDone { .. })), 1);
    world.next.rules = Some(Rules { readiness: Readiness::AtBody, ..rules(2) });
    world.ask(Ask::Upgrade);
    world.run_for(1000);
    assert_eq!((world.times(Deed::Upgrade).len(), world.policy.ready()), (2, 2));
}

#[test]
fn a_reload_that_is_asked_for_in_the_instant_of_the_roll_back_is_made() {
    for way_back in [true, false] {
        let script = |task_id, fork| if (task_id, fork) == (0, 1) { ends(50, FAILED).never_ready() } else { steady() };
        let mut world = World::new(announced(2, 1000), script);
        world.run_for(500);
        world.next.way_back = way_back;
        world.ask(Ask::Upgrade);
        while !world.policy.is_going_back() {
            world.step(FOREVER);
        }
        world.ask(Ask::Reload);
        world.run_for(20_000);
        assert_eq!(world.count(|notice| matches!(notice, Notice::ReloadQueued { .. })), 1);
        assert_eq!(world.count(|notice| matches!(notice, Notice::Reloaded { replaced: 2, .. })), 1, "{way_back}");
    }
}

/// It was started in the place of another new worker, whose failure ended the upgrade.
#[test]
fn where_there_is_no_way_back_a_newcomer_that_has_its_slot_for_itself_goes_on() {
    let script = |_, fork| match fork {
        0 => ends(100, FAILED),
        1 => ends(50, FAILED),
        2 => ends(300, FAILED).never_ready().asks_at(10),
        _ => drains(50, NORMAL).ready(1000),
    };
    let mut world = World::new(slow_backoff(announced(1, 60_000)), script);
    world.run_for(200);
    world.next.way_back = false;
    world.ask(Ask::Upgrade);
    world.run_for(100_000);
    assert_eq!(world.count(|notice| matches!(notice, Notice::CannotGoBack { .. })), 1);
    assert_eq!((world.times(Deed::Fork(0)).len(), world.times(Deed::Terminate(0)).len()), (4, 0));
}

#[test]
fn where_there_is_no_way_back_a_newcomer_beside_an_old_worker_goes() {
    let script = |task_id, fork| match (task_id, fork) {
        (0, 1) => drains(50, NORMAL).ready(5000),
        (1, 0) => ends(100, FAILED),
        (1, 1) => ends(50, FAILED),
        (1, 2) => ends(100, FAILED).never_ready(),
        _ => steady(),
    };
    let mut world = World::new(slow_backoff(announced(2, 10_000)), script);
    world.run_for(1100);
    let old = world.alive_of(0);
    world.next.way_back = false;
    world.ask(Ask::Upgrade);
    world.run_for(20_000);
    assert_eq!(world.times(Deed::GoBack(1)), [ms(1250)]);
    assert_eq!((world.times(Deed::Terminate(0)), world.alive_of(0)), (vec![ms(1250)], old));
}
