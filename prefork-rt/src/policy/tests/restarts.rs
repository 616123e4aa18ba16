//! Which workers are started again, and which ends are final.

use super::*;

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
            Some(Notice::Started { worker: ProcId { task_id: 1, .. }, restarts: 1, .. })
        ));
    }
}

#[test]
fn restarts_are_counted_over_all_workers() {
    let script = |_, fork| if fork == 0 { ends(10, FAILED) } else { serves() };
    let mut world = World::new(Rules { max_restarts: Some(3), ..rules(4) }, script);
    assert!(matches!(world.run(), Exit::GaveUp { task_id: 3, reason: GiveUp::Budget(_) }));
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
    assert!(matches!(world.run(), Exit::GaveUp { task_id: 1, reason: GiveUp::Budget(_) }));
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
    assert!(matches!(world.run(), Exit::GaveUp { task_id: 0, reason: GiveUp::Budget(_) }));
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
    let of_2 = |used| Spent { used, max_restarts: Some(2), window: None };
    let spent = world.notices.iter().filter_map(|notice| match notice {
        Notice::Restarting { spent, .. } => Some(*spent),
        _ => None,
    });
    assert!(spent.eq([of_2(1), of_2(2)]));
}

// What is final, and what does not count

#[test]
fn status_125_gives_up_at_once() {
    let unlimited = Rules { max_restarts: None, restart: Restart::Always, ..rules(2) };
    let mut world = World::new(unlimited, |task_id, _| if task_id == 1 { ends(10, FINAL) } else { serves() });
    assert!(matches!(world.run(), Exit::GaveUp { task_id: 1, reason: GiveUp::Final }));
    assert_eq!(world.deeds()[2..], [Deed::Close, Deed::Terminate(0), Deed::Exit]);
    let mut world = World::new(rules(1), |_, fork| ends(10, if fork == 0 { FAILED } else { FINAL }));
    assert!(matches!(world.run(), Exit::GaveUp { reason: GiveUp::Final, .. }), "whatever failed before");
    assert_eq!(world.count(|notice| matches!(notice, Notice::Contributed(_))), 0);
}

#[test]
fn status_125_of_a_worker_that_was_told_to_end_is_no_news() {
    let mut world = World::new(rules(2), |_, _| drains(10, FINAL));
    world.run_for(100);
    world.ask(Ask::Reload);
    world.ask(Ask::Fewer);
    world.run_for(1000);
    assert!(world.exit.is_none());
}

#[test]
fn restart_always_replaces_a_worker_that_exits_normally_and_counts_nothing() {
    let always = Rules { restart: Restart::Always, max_restarts: Some(0), ..rules(1) };
    let mut world = World::new(always, |_, fork| if fork < 4 { ends(20_000, NORMAL) } else { serves() });
    world.run_for(100_000);
    assert_eq!(world.times(Deed::Fork(0)), [0, 20_000, 40_000, 60_000, 80_000].map(ms));
    assert_eq!(world.used(), 0);
    let again = |notice: &Notice| matches!(notice, Notice::StartingAgain { why: Neutral::Always, .. });
    assert_eq!(world.count(again), 4);
}

#[test]
fn restart_always_backs_off_from_quick_ends() {
    let always = Rules { restart: Restart::Always, ..rules(1) };
    let mut world = World::new(always, |_, _| ends(10, NORMAL));
    world.run_for(10_000);
    let waits = world.waits(0, 10);
    assert!(waits[0].is_zero() && waits[1] >= ms(100) && waits[2] >= ms(200) && waits[3] >= ms(400), "{waits:?}");
}

#[test]
fn a_status_0_soon_after_an_operators_sigterm_is_a_replacement() {
    let drains_for =
        |drain| move |_, fork| if fork == 0 { drains(drain, NORMAL).told_by_operator(500) } else { serves() };
    let mut world = World::new(Rules { max_restarts: Some(0), ..rules(1) }, drains_for(25_000));
    world.run_for(100_000);
    assert_eq!(world.times(Deed::Fork(0)), [0, 25_500].map(ms));
    assert_eq!(world.used(), 0);
    let again = |notice: &Notice| matches!(notice, Notice::StartingAgain { why: Neutral::Terminated, .. });
    assert_eq!(world.count(again), 1);
    let mut world = World::new(rules(1), drains_for(25_001));
    assert!(matches!(world.run(), Exit::Finished), "it ended for another reason");
}

#[test]
fn another_status_after_an_operators_sigterm_counts() {
    let mut world =
        World::new(Rules { max_restarts: Some(0), ..rules(1) }, |_, _| drains(10, FAILED).told_by_operator(500));
    assert!(matches!(world.run(), Exit::GaveUp { reason: GiveUp::Budget(_), .. }));
}
