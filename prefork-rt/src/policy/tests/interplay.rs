//! What happens while something else happens.

use super::*;

fn watched(rules: Rules) -> Rules {
    Rules { heartbeat_timeout: Some(ms(1000)), ..rules }
}

/// Beats for 2 s, then hangs, which is found out 1.1 s later.
fn hangs() -> Fork {
    serves().beats(0, 100, 2000)
}

const FOUND_OUT: u64 = 3100;

#[test]
fn a_reload_during_a_backoff_leaves_it_alone() {
    for reload in [Reload::Overlap, Reload::Exclusive] {
        let script = |task_id, fork| if task_id == 0 && fork < 3 { ends(10, FAILED) } else { serves() };
        let mut world = World::new(Rules { reload, ..rules(2) }, script);
        world.run_for(200);
        assert!(world.alive_of(0).is_empty(), "it waits");
        let due = world.policy.poll_timeout();
        world.ask(Ask::Reload);
        world.run_for(0);
        assert_eq!(world.policy.poll_timeout(), due);
        assert_eq!(world.count(|notice| matches!(notice, Notice::Reloaded { replaced: 1, .. })), 1);
        world.run_for(10_000);
        assert_eq!((world.times(Deed::Fork(0)).len(), world.times(Deed::Fork(1)).len()), (4, 2));
    }
}

#[test]
fn one_fewer_forgets_the_backoff_of_its_slot() {
    let script = |task_id, fork| if task_id == 1 && fork < 3 { ends(10, FAILED) } else { serves() };
    let mut world = World::new(rules(2), script);
    world.run_for(200);
    world.ask(Ask::Fewer);
    world.run_for(0);
    assert_eq!(world.policy.poll_timeout(), None);
    world.run_for(10_000);
    assert_eq!(world.times(Deed::Fork(1)).len(), 3);
}

#[test]
fn what_is_asked_of_a_pool_that_gives_up_is_ignored() {
    let mut world = World::new(Rules { max_restarts: Some(0), ..rules(2) }, |task_id, _| match task_id {
        0 => ends(10, FAILED),
        _ => drains(500, NORMAL),
    });
    world.run_for(100);
    for ask in [Ask::More, Ask::Fewer, Ask::Reload, Ask::HangUp] {
        world.ask(ask);
    }
    assert!(matches!(world.run(), Exit::GaveUp { .. }));
    assert_eq!(world.count(|notice| matches!(notice, Notice::Ignored { .. })), 3);
    assert_eq!(world.deeds()[2..], [Deed::Close, Deed::Terminate(1), Deed::Exit]);
}

#[test]
fn a_terminal_that_goes_away_stops_the_pool_gracefully_however_often_it_is_said() {
    let mut world = World::new(rules(1), |_, _| drains(500, NORMAL));
    world.run_for(100);
    for _ in 0..3 {
        world.ask(Ask::HangUp);
        world.run_for(10);
    }
    assert!(matches!(world.run(), Exit::Stopped { killed: 0, .. }));
    assert_eq!(world.times(Deed::Exit), [ms(600)]);
    let mut world = World::new(rules(1), |_, _| ignores_sigterm());
    world.run_for(100);
    world.ask(Ask::HangUp);
    world.ask(Ask::Interrupt);
    assert!(matches!(world.run(), Exit::Stopped { killed: 1, .. }));
    assert_eq!(world.times(Deed::Exit), [ms(100)], "interrupted");
}

// Hanging and stopping

#[test]
fn during_a_graceful_stop_nobody_hangs() {
    let mut world = World::new(watched(rules(1)), |_, _| drains(20_000, NORMAL).beats(0, 100, 2000));
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
fn who_was_killed_before_a_stop_is_not_killed_again_nor_counted() {
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
    // It hears of it just before it would be found to hang.
    let told = |drain| move |_, fork| if fork == 0 { told_while_silent(drain) } else { serves() };
    let mut world = World::new(rules(), told(5000));
    world.run_for(100_000);
    assert_eq!(world.times(Deed::Fork(0)), [0, FOUND_OUT - 10 + 5000].map(ms));
    assert_eq!((world.used(), world.times(Deed::Abort(0)).len()), (0, 0));
    // After that it is a worker that does not beat.
    let mut world = World::new(rules(), told(60_000));
    world.run();
    assert_eq!(world.times(Deed::Abort(0)), [ms(FOUND_OUT - 10 + 5000 + 100)]);
    assert!(matches!(world.exit, Some(Exit::GaveUp { reason: GiveUp::Budget(_), .. })));
}

fn told_while_silent(drain: u64) -> Fork {
    drains(drain, NORMAL).beats(0, 100, 2000).told_by_operator(FOUND_OUT - 10)
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

// Recycling and reloading

#[test]
fn a_reload_during_a_recycling_begins_when_that_is_done() {
    let mut world = World::new(announced(2, 1000), |task_id, fork| match (task_id, fork) {
        (1, 0) => drains(50, NORMAL).asks_at(500),
        _ => drains(50, NORMAL).ready(100),
    });
    world.run_for(550);
    world.ask(Ask::Reload);
    world.run_for(10_000);
    assert_eq!(world.times(Deed::Fork(1)), [0, 500, 800].map(ms), "what was forked before the reload is old");
    assert_eq!(world.times(Deed::Fork(0)), [0, 650].map(ms));
    assert_eq!(world.count(|notice| matches!(notice, Notice::Reloaded { replaced: 2, .. })), 1);
}

#[test]
fn a_recycling_during_a_reload_waits_and_is_done_with_where_the_reload_has_been() {
    let mut world = World::new(announced(3, 1000), |task_id, fork| match (task_id, fork) {
        (0, 1) => drains(50, NORMAL).ready(100).asks_at(160),
        (2, 0) => drains(50, NORMAL).asks_at(520),
        _ => drains(50, NORMAL).ready(100),
    });
    world.run_for(500);
    world.ask(Ask::Reload);
    world.run_for(10_000);
    assert_eq!(world.times(Deed::Fork(2)), [0, 800].map(ms), "the reload replaced it");
    assert_eq!(world.times(Deed::Fork(0)), [0, 500, 950].map(ms), "after the reload");
    assert_eq!(world.count(|notice| matches!(notice, Notice::Recycling { .. })), 1);
}

#[test]
fn a_recycling_that_fails_lets_the_reload_begin() {
    let mut world = World::new(announced(1, 1000), |_, fork| match fork {
        0 => serves().asks_at(500),
        1 => ends(50, FAILED).never_ready(),
        _ => serves(),
    });
    world.run_for(520);
    world.ask(Ask::Reload);
    world.run_for(20_000);
    assert_eq!(world.times(Deed::Fork(0)), [0, 500, 550].map(ms));
    assert_eq!(world.policy.poll_timeout(), None, "who is gone is not recycled");
}

// The old worker and its replacement

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
                Fork::Runs(life).beats(0, 100, 2000)
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
        _ => serves().never_ready().beats(0, 100, 2000).ignores_sigabrt(),
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

// Scaling and turns

#[test]
fn a_worker_that_is_added_during_a_reload_is_fresh() {
    for reload in [Reload::Overlap, Reload::Exclusive] {
        let mut world = World::new(Rules { reload, ..announced(2, 1000) }, |_, _| drains(50, NORMAL).ready(100));
        world.run_for(500);
        world.ask(Ask::Reload);
        world.run_for(50);
        world.ask(Ask::More);
        world.run_for(10_000);
        assert_eq!(world.count(|notice| matches!(notice, Notice::Reloaded { replaced: 2, .. })), 1);
        assert_eq!([0, 1, 2].map(|task_id| world.times(Deed::Fork(task_id)).len()), [2, 2, 1]);
    }
}

#[test]
fn a_worker_that_is_added_may_prove_that_the_service_cannot_boot_and_only_before_it_could() {
    for (others_ready_at, boots) in [(900, false), (0, true)] {
        let mut world =
            World::new(Rules { max_restarts: Some(5), ..announced(1, 1000) }, move |task_id, _| match task_id {
                0 => serves().ready(others_ready_at),
                _ => ends(10, FAILED).never_ready(),
            });
        world.run_for(100);
        world.ask(Ask::More);
        assert!(
            matches!(world.run(), Exit::GaveUp { task_id: 1, reason } if matches!(reason, GiveUp::Boot) != boots),
            "{:?}",
            world.exit
        );
        assert_eq!(world.times(Deed::Fork(1)).len(), if boots { 6 } else { 2 });
    }
}

#[test]
fn one_fewer_ends_the_turn_of_its_slot_at_each_step() {
    for reload in [Reload::Overlap, Reload::Exclusive] {
        for wait in (0..160).step_by(10) {
            let mut world = World::new(Rules { reload, ..announced(2, 1000) }, |_, _| drains(50, NORMAL).ready(100));
            world.run_for(500);
            world.ask(Ask::Reload);
            world.run_for(150 + wait);
            world.ask(Ask::Fewer);
            world.run_for(10_000);
            assert_eq!((world.alive_of(0).len(), world.alive_of(1).len(), world.used()), (1, 0, 0), "{wait}");
            assert_eq!(world.count(|notice| matches!(notice, Notice::Reloaded { .. })), 1);
            world.ask(Ask::Reload);
            world.run_for(10_000);
            assert_eq!(world.count(|notice| matches!(notice, Notice::Reloaded { .. })), 2);
        }
    }
}

#[test]
fn scaling_up_again_waits_for_both_who_had_the_place() {
    let mut world = World::new(rules(2), |_, fork| match fork {
        0 => drains(5000, NORMAL),
        1 => drains(100, NORMAL),
        _ => serves(),
    });
    world.run_for(500);
    world.ask(Ask::Reload);
    world.run_for(5000);
    assert_eq!(world.alive_of(1).len(), 2);
    world.ask(Ask::Fewer);
    world.ask(Ask::More);
    world.run_for(1000);
    world.ask(Ask::Reload);
    world.run_for(50_000);
    assert_eq!(world.times(Deed::Fork(1)), [0, 5500, 10_500].map(ms));
    assert_eq!(world.alive.len(), 2);
    world.ask(Ask::Stop);
    assert!(matches!(world.run(), Exit::Stopped { killed: 0, .. }));
}

#[test]
fn everything_finished_while_an_old_worker_drains() {
    let mut world = World::new(rules(1), |_, fork| match fork {
        0 => drains(2000, NORMAL),
        _ => ends(100, NORMAL),
    });
    world.run_for(500);
    world.ask(Ask::Reload);
    assert!(matches!(world.run(), Exit::Finished));
    assert_eq!(world.times(Deed::Exit), [ms(2500)]);
}

#[test]
fn a_refused_fork_in_a_turn_that_was_scaled_away_is_no_news() {
    let mut world = World::new(exclusive(rules(2)), |_, fork| if fork == 1 { Fork::Refused } else { serves() });
    world.run_for(500);
    world.ask(Ask::Reload);
    world.run_for(10);
    world.ask(Ask::Fewer);
    world.run_for(10_000);
    assert_eq!((world.alive.len(), world.used()), (1, 0));
}

// Time

#[test]
fn a_year_missed_breaks_nothing() {
    let everything = || Rules {
        heartbeat_timeout: Some(ms(1000)),
        max_lifetime: Some(ms(60_000)),
        max_memory: Some(1000),
        restart_window: Some(ms(60_000)),
        restart: Restart::Always,
        ..announced(4, 1000)
    };
    for reload in [Reload::Overlap, Reload::Exclusive] {
        for wait in (0..400).step_by(20) {
            let mut world = World::new(Rules { reload, ..everything() }, |task_id, fork| match (task_id, fork) {
                (0, 0..3) => ends(10, FAILED).ready(0),
                (1, 0) => ignores_sigterm().beats(0, 100, 200),
                (2, _) => serves().ready(100).beats(100, 100, u64::MAX / 1_000_000).grows(2000, 0),
                _ => serves().ready(100),
            });
            world.run_for(150);
            world.ask(Ask::Reload);
            world.run_for(wait);
            world.sleep(YEAR);
            world.run_for(5000);
            assert!(world.exit.is_none());
            world.sleep(YEAR);
            world.run_for(100_000);
            assert!((0..4).all(|task_id| !world.alive_of(task_id).is_empty()));
            world.ask(Ask::Stop);
            world.sleep(YEAR);
            assert!(matches!(world.run(), Exit::Stopped { .. }));
        }
    }
}
