//! Workers that end before they were ready, or soon after their start.

use super::*;

#[test]
fn a_slot_that_ends_twice_before_it_is_ready_cannot_boot() {
    for restart in [Restart::OnFailure, Restart::Always] {
        for status in [FAILED, SEGFAULT, NORMAL] {
            if status == NORMAL && restart == Restart::OnFailure {
                continue;
            }
            let unlimited = Rules { restart, max_restarts: None, ..announced(2, 1000) };
            let script = move |task_id, _| if task_id == 1 { ends(10, status).never_ready() } else { serves() };
            let mut world = World::new(unlimited, script);
            assert!(matches!(world.run(), Exit::GaveUp { task_id: 1, reason: GiveUp::Boot }));
            assert_eq!(world.times(Deed::Fork(1)), [0, 10].map(ms));
        }
    }
}

#[test]
fn a_slot_that_is_twice_not_ready_in_time_cannot_boot() {
    let mut world = World::new(announced(1, 1000), |_, _| serves().never_ready());
    assert!(matches!(world.run(), Exit::GaveUp { task_id: 0, reason: GiveUp::Boot }));
    assert_eq!(world.times(Deed::Kill(0)), [1000, 2000].map(ms));
    assert_eq!(world.count(|notice| matches!(notice, Notice::Contributed(_))), 1);
}

#[test]
fn two_slots_that_fail_to_boot_once_each_are_no_boot_failure() {
    let mut world = World::new(announced(2, 1000), |_, fork| match fork {
        0 => ends(10, FAILED).never_ready(),
        _ => serves(),
    });
    world.run_for(1000);
    assert!(world.exit.is_none());
    assert_eq!(world.used(), 2);
}

#[test]
fn a_pool_that_was_ready_does_not_give_up_booting() {
    let mut world = World::new(announced(2, 1000), |task_id, fork| match (task_id, fork) {
        (1, 0) => ends(2000, FAILED),
        (1, 1..9) => ends(10, FAILED).never_ready(),
        _ => serves(),
    });
    world.run_for(100_000);
    assert!(world.exit.is_none());
    assert_eq!(world.used(), 9);
}

#[test]
fn a_pool_that_was_ready_does_not_look_as_if_it_could_not_boot() {
    let mut world = World::new(announced(1, 1000), |_, fork| match fork {
        0 => ends(100, FAILED),
        1..3 => ends(10, FAILED).never_ready(),
        _ => serves(),
    });
    world.run_for(10_000);
    assert_eq!(world.count(|notice| matches!(notice, Notice::BootLooksBroken { .. })), 0);
}

#[test]
fn a_worker_that_was_ready_in_between_breaks_the_row() {
    let others = [ends(20, FAILED), drains(10, NORMAL).told_by_operator(10), ends(20, NORMAL).asks_at(10)];
    for between in others.map(|fork| fork.ready(5)) {
        let mut world = World::new(announced(2, 1000), move |task_id, fork| match (task_id, fork) {
            (0, 0 | 2) => ends(10, FAILED).never_ready(),
            (0, 1) => between,
            (0, _) => serves(),
            _ => serves().ready(900),
        });
        world.run_for(10_000);
        assert!(world.exit.is_none());
        assert_eq!(world.times(Deed::Fork(0)).len(), 4);
    }
}

#[test]
fn a_worker_that_an_operator_ends_before_it_is_ready_has_not_failed_to_boot() {
    let mut world = World::new(announced(1, 1000), |_, fork| match fork {
        0..4 => drains(10, NORMAL).never_ready().told_by_operator(10),
        _ => serves(),
    });
    world.run_for(10_000);
    assert_eq!((world.alive.len(), world.used()), (1, 0));
}

#[test]
fn without_ready_timeout_a_boot_failure_is_said_once_and_follows_the_budget() {
    let broken = |notice: &Notice| matches!(notice, Notice::BootLooksBroken { .. });
    for readiness in [Readiness::AtFork, Readiness::AtBody] {
        let mut world = World::new(Rules { readiness, max_restarts: Some(10), ..rules(2) }, |_, _| ends(999, FAILED));
        assert!(matches!(world.run(), Exit::GaveUp { reason: GiveUp::Budget(_), .. }));
        assert_eq!(world.count(broken), 1);
    }
    let mut world = World::new(rules(1), |_, _| ends(1000, FAILED));
    world.run();
    assert_eq!(world.count(broken), 0);
}

#[test]
fn where_any_worker_has_lived_for_1_s_no_boot_failure_is_said() {
    let survivors = [
        (serves(), 10),
        (ends(1000, NORMAL), 20),
        (drains(0, NORMAL).told_by_operator(1000), 20),
        (ends(1000, NORMAL).asks_at(1000), 20),
        (ends(1000, FAILED), 20),
    ];
    for (survivor, second) in survivors {
        let mut world = World::new(rules(2), move |task_id, fork| match (task_id, fork) {
            (0, 0) => ends(990, FAILED),
            (0, 1) => ends(second, FAILED),
            (1, 0) => survivor,
            _ => serves(),
        });
        world.run_for(1700);
        assert_eq!(world.count(|notice| matches!(notice, Notice::BootLooksBroken { .. })), 0);
    }
}

#[test]
fn what_lived_for_1_s_and_was_not_missed_has_booted_too() {
    let mut world = World::new(rules(1), |_, fork| match fork {
        0 => ends(20, FAILED),
        1 => drains(0, NORMAL).told_by_operator(60_000),
        2 => ends(20, FAILED),
        _ => serves(),
    });
    world.run_for(60_300);
    assert_eq!(world.times(Deed::Fork(0)).len(), 4);
    assert_eq!(world.count(|notice| matches!(notice, Notice::BootLooksBroken { .. })), 0);
}
