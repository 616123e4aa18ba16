//! Workers that hang while something else happens: a stop, a reload, one fewer, an operator.

use super::*;

pub(super) fn watched(rules: Rules) -> Rules {
    Rules { heartbeat_timeout: Some(ms(1000)), ..rules }
}

/// Sends heartbeats for 2 s, then hangs, which is found out 1.1 s later.
pub(super) fn hangs() -> Fork {
    serves().heartbeats(0, 100, 2000)
}

pub(super) const FOUND_OUT: u64 = 3100;

#[test]
fn during_a_graceful_stop_no_worker_counts_as_hung() {
    let mut world = World::new(watched(rules(1)), |_, _| drains(20_000, NORMAL).heartbeats(0, 100, 2000));
    world.run_for(2500);
    world.ask(Ask::Stop);
    assert!(matches!(world.run(), Exit::Stopped { killed: 0, .. }));
    assert!(world.times(Deed::Abort(0)).is_empty());
    assert_eq!(world.times(Deed::Exit), [ms(22_500)]);
}

#[test]
fn a_stop_does_not_prolong_a_hang_kill() {
    let mut world = World::new(watched(rules(2)), |task_id, _| match task_id {
        0 => drains(20_000, NORMAL),
        _ => hangs().ignores_sigabrt(),
    });
    world.run_for(FOUND_OUT + 1000);
    world.ask(Ask::Stop);
    assert!(matches!(world.run(), Exit::Stopped { killed: 1, .. }));
    assert_eq!(world.times(Deed::Kill(1)), [ms(FOUND_OUT + 5000)]);
    assert!(world.times(Deed::Terminate(1)).is_empty(), "it got worse already");
    let killing = |notice: &Notice| matches!(notice, Notice::KillingOne { after, .. } if *after == ms(5000));
    assert_eq!(world.count(killing), 1);
    assert_eq!(world.times(Deed::Exit), [ms(FOUND_OUT + 21_000)]);
}

#[test]
fn a_short_graceful_timeout_ends_a_hang_kill() {
    let short = Rules { graceful_timeout: ms(1000), ..watched(rules(1)) };
    let mut world = World::new(short, |_, _| hangs().ignores_sigabrt());
    world.run_for(FOUND_OUT);
    world.ask(Ask::Stop);
    assert!(matches!(world.run(), Exit::Stopped { killed: 1, .. }));
    assert_eq!(world.times(Deed::Kill(0)), [ms(FOUND_OUT + 1000)]);
}

#[test]
fn a_stop_does_not_prolong_what_a_surplus_worker_or_an_old_one_had() {
    for ask in [Ask::Fewer, Ask::Reload] {
        let mut world = World::new(rules(2), |_, fork| if fork == 0 { ignores_sigterm() } else { serves() });
        world.run_for(100);
        world.ask(ask);
        world.run_for(10_000);
        world.ask(Ask::Stop);
        let task_id = if ask == Ask::Fewer { 1 } else { 0 };
        assert!(matches!(world.run(), Exit::Stopped { killed: 2, .. }));
        assert_eq!(world.times(Deed::Kill(task_id)), [ms(25_100)]);
        assert_eq!(world.times(Deed::Kill(1 - task_id)), [ms(35_100)]);
    }
}

#[test]
fn a_worker_that_was_killed_before_a_stop_is_not_killed_again_nor_counted() {
    for ask in [Ask::Stop, Ask::StopNow] {
        let late = Life { killed: Some((ms(3000), SIGKILLED)), ..OBEYS };
        let mut world = World::new(announced(2, 1000), move |task_id, _| match task_id {
            0 => Fork::Runs(late).never_ready(),
            _ => serves(),
        });
        world.run_for(1500);
        world.ask(ask);
        let killed_by_us = usize::from(ask == Ask::StopNow);
        assert!(matches!(world.run(), Exit::Stopped { killed, .. } if *killed == killed_by_us));
        assert_eq!(world.times(Deed::Kill(0)), [ms(1000)]);
        assert_eq!(world.times(Deed::Exit), [ms(4000)]);
    }
}

#[test]
fn a_hung_worker_that_is_not_wanted_any_more_is_not_counted() {
    let mut world = World::new(watched(rules(2)), |task_id, _| match task_id {
        0 => serves(),
        _ => hangs().ignores_sigabrt(),
    });
    world.run_for(FOUND_OUT + 100);
    world.ask(Ask::Fewer);
    world.run_for(100_000);
    assert_eq!(world.times(Deed::Kill(1)), [ms(FOUND_OUT + 5000)]);
    assert_eq!((world.used(), world.alive.len()), (0, 1));
}

#[test]
fn a_worker_that_an_operator_tells_to_end_may_be_silent_as_long_as_a_stop_may_take() {
    let rules = || Rules { max_restarts: Some(0), graceful_timeout: ms(5000), ..watched(rules(1)) };
    // The signal comes just before the worker would be found to hang.
    let told = |drain| move |_, fork| if fork == 0 { told_while_silent(drain) } else { serves() };
    let mut world = World::new(rules(), told(5000));
    world.run_for(100_000);
    assert_eq!(world.times(Deed::Fork(0)), [0, FOUND_OUT - 10 + 5000].map(ms));
    assert_eq!((world.used(), world.times(Deed::Abort(0)).len()), (0, 0));
    // After that time the worker counts as hung again.
    let mut world = World::new(rules(), told(60_000));
    world.run();
    assert_eq!(world.times(Deed::Abort(0)), [ms(FOUND_OUT - 10 + 5000 + 100)]);
    assert!(matches!(world.exit, Some(Exit::GaveUp { reason: GiveUp::Budget(_), .. })));
}

fn told_while_silent(drain: u64) -> Fork {
    drains(drain, NORMAL).heartbeats(0, 100, 2000).told_by_operator(FOUND_OUT - 10)
}

#[test]
fn a_reload_passes_over_a_worker_that_hangs() {
    for reload in [Reload::Overlap, Reload::Exclusive] {
        let mut world = World::new(Rules { reload, ..watched(rules(2)) }, |task_id, fork| match (task_id, fork) {
            (0, 0) => hangs().ignores_sigabrt(),
            _ => serves(),
        });
        world.run_for(FOUND_OUT + 100);
        world.ask(Ask::Reload);
        world.run_for(10_000);
        assert_eq!(world.count(|notice| matches!(notice, Notice::Reloaded { replaced: 1, .. })), 1);
        assert_eq!(world.times(Deed::Fork(0)), [0, FOUND_OUT + 5000].map(ms), "fresh, and counted");
        assert_eq!((world.times(Deed::Fork(1)).len(), world.used()), (2, 1));
    }
}

#[test]
fn an_old_worker_that_will_not_be_helped_by_another_try_ends_a_reload_and_the_pool() {
    let mut world = World::new(announced(2, 1000), |task_id, fork| match (task_id, fork) {
        (0, 0) => ends(550, FINAL),
        _ => serves().ready(100),
    });
    world.run_for(500);
    world.ask(Ask::Reload);
    assert!(matches!(world.run(), Exit::GaveUp { task_id: 0, reason: GiveUp::Final }));
    assert_eq!(world.times(Deed::Exit), [ms(550)], "its replacement and the other one ended");
}

#[test]
fn an_old_worker_that_was_told_to_end_may_say_whatever_it_likes() {
    for reload in [Reload::Overlap, Reload::Exclusive] {
        let mut world = World::new(Rules { reload, max_restarts: Some(0), ..announced(2, 1000) }, |_, fork| {
            drains(50, if fork == 0 { FINAL } else { FAILED }).ready(100)
        });
        world.run_for(500);
        for reloads in 1..=2 {
            world.ask(Ask::Reload);
            world.run_for(10_000);
            assert_eq!(world.count(|notice| matches!(notice, Notice::Reloaded { replaced: 2, .. })), reloads);
        }
        assert!(world.exit.is_none());
    }
}

#[test]
fn a_replacement_that_an_operator_ends_before_it_is_ready_abandons_the_reload_uncounted() {
    for reload in [Reload::Overlap, Reload::Exclusive] {
        let mut world =
            World::new(Rules { reload, max_restarts: Some(0), ..announced(2, 1000) }, |task_id, fork| {
                match (task_id, fork) {
                    (0, 1) => serves().ready(500).told_by_operator(200),
                    _ => serves().ready(100),
                }
            });
        world.run_for(500);
        world.ask(Ask::Reload);
        world.run_for(10_000);
        assert_eq!(world.count(|notice| matches!(notice, Notice::ReloadFailed { replaced: 0, .. })), 1);
        let starts = if reload == Reload::Overlap { 2 } else { 3 };
        assert_eq!((world.times(Deed::Fork(0)).len(), world.times(Deed::Fork(1)).len()), (starts, 1));
        assert_eq!((world.alive.len(), world.used()), (2, 0));
    }
}
