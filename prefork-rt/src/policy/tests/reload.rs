//! A rolling reload is a transaction.

use super::*;

fn is_reloaded(count: usize) -> impl Fn(&Notice) -> bool {
    move |notice| matches!(notice, Notice::Reloaded { replaced, .. } if *replaced == count)
}

fn is_failed(notice: &Notice) -> bool {
    matches!(notice, Notice::ReloadFailed { .. })
}

/// Ready after 100 ms, ends 50 ms after SIGTERM.
fn steady() -> Fork {
    drains(50, NORMAL).ready(100)
}

fn after(world: &World, since: Duration) -> Vec<(u64, Deed)> {
    let later = world.deeds.iter().filter(|&&(time, _)| time >= since);
    later.map(|&(time, deed)| ((time - since).as_millis() as u64, deed)).collect()
}

#[test]
fn with_overlap_the_replacement_is_ready_before_the_old_worker_is_told_to_end() {
    let mut world = World::new(announced(2, 1000), |_, _| steady());
    world.run_for(500);
    world.ask(Ask::Reload);
    world.run_for(1000);
    let order = [(0, Deed::Fork(0)), (100, Deed::Terminate(0)), (150, Deed::Fork(1)), (250, Deed::Terminate(1))];
    assert_eq!(after(&world, ms(500)), order);
    assert!(matches!(world.notices.last(), Some(Notice::Reloaded { replaced: 2, took }) if *took == ms(300)));
    assert_eq!((world.used(), world.alive.len()), (0, 2));
}

#[test]
fn with_exclusive_the_old_worker_has_ended_before_its_replacement_is_started() {
    let mut world = World::new(exclusive(announced(2, 1000)), |_, _| steady());
    world.run_for(500);
    world.ask(Ask::Reload);
    world.run_for(1000);
    let order = [(0, Deed::Terminate(0)), (50, Deed::Fork(0)), (150, Deed::Terminate(1)), (200, Deed::Fork(1))];
    assert_eq!(after(&world, ms(500)), order);
    assert!(matches!(world.notices.last(), Some(Notice::Reloaded { replaced: 2, took }) if *took == ms(300)));
    assert_eq!((world.used(), world.alive.len()), (0, 2));
}

#[test]
fn a_reload_replaces_each_worker_once_whatever_readiness_means() {
    for readiness in [Readiness::AtFork, Readiness::AtBody, Readiness::Announced(ms(1000))] {
        for reload in [Reload::Overlap, Reload::Exclusive] {
            let mut world = World::new(Rules { readiness, reload, ..rules(3) }, |_, _| steady());
            world.run_for(500);
            world.ask(Ask::Reload);
            world.run_for(10_000);
            assert_eq!(world.count(is_reloaded(3)), 1, "{readiness:?}");
            assert!((0..3).all(|task_id| world.times(Deed::Fork(task_id)).len() == 2), "{readiness:?}");
            let replaced = |notice: &Notice| matches!(notice, Notice::Replaced { .. });
            assert_eq!(world.count(replaced), 3);
        }
    }
}

#[test]
fn a_replacement_says_whom_it_replaces() {
    let mut world = World::new(rules(1), |_, _| steady());
    world.run_for(500);
    let old = world.alive_of(0)[0];
    world.ask(Ask::Reload);
    world.run_for(0);
    let said = |notice: &Notice| matches!(notice, Notice::Started { replaces: Some(replaced), restarts: 1, .. } if *replaced == old);
    assert_eq!(world.count(said), 1);
    assert_eq!(
        world.count(|notice| matches!(notice, Notice::Started { replaces: None, .. })),
        1,
        "the first start replaces no worker"
    );
}

#[test]
fn an_old_worker_that_does_not_end_in_time_is_killed() {
    for reload in [Reload::Overlap, Reload::Exclusive] {
        let script = |_, fork| if fork == 0 { ignores_sigterm() } else { serves() };
        let mut world = World::new(Rules { reload, ..rules(1) }, script);
        world.run_for(500);
        world.ask(Ask::Reload);
        world.run_for(100_000);
        assert_eq!(world.times(Deed::Kill(0)), [ms(25_500)]);
        let killing = |notice: &Notice| matches!(notice, Notice::KillingOne { after, .. } if *after == ms(25_000));
        assert_eq!((world.count(killing), world.count(is_reloaded(1)), world.used()), (1, 1, 0));
    }
}

#[test]
fn a_reload_is_abandoned_when_the_replacement_fails_and_the_old_worker_stays() {
    let failures = [
        (ends(10, FAILED).never_ready(), Failure::Ended(FAILED)),
        (ends(10, NORMAL).never_ready(), Failure::Ended(NORMAL)),
        (ends(10, FINAL).never_ready(), Failure::Ended(FINAL)),
        (serves().never_ready(), Failure::NotReady),
    ];
    for (replacement, expected) in failures {
        let mut world = World::new(Rules { max_restarts: Some(0), ..announced(3, 1000) }, move |task_id, fork| {
            if (task_id, fork) == (1, 1) { replacement } else { steady() }
        });
        world.run_for(500);
        let old = world.alive_of(1)[0];
        world.ask(Ask::Reload);
        world.run_for(100_000);
        assert_eq!(world.alive_of(1), [old]);
        assert_eq!(world.times(Deed::Fork(2)).len(), 1, "the others are left alone");
        let failed = world.notices.iter().filter_map(|notice| match notice {
            Notice::ReloadFailed { task_id, why: TurnFailure::Failed { failure, .. }, kept, replaced, .. } => {
                Some((*task_id, *failure, *kept, *replaced))
            }
            _ => None,
        });
        assert_eq!(failed.collect::<Vec<_>>(), [(1, expected, Some(old), 1)]);
        assert_eq!(world.used(), 0);
        assert_eq!(world.policy.poll_timeout(), None);
    }
}

#[test]
fn a_reload_is_abandoned_when_the_replacement_cannot_be_forked() {
    let script = |task_id, fork| if (task_id, fork) == (1, 1) { Fork::Refused } else { steady() };
    let mut world = World::new(announced(3, 1000), script);
    world.run_for(500);
    let old = world.alive_of(1)[0];
    world.ask(Ask::Reload);
    world.run_for(10_000);
    assert_eq!(world.alive_of(1), [old]);
    let failed = |notice: &Notice| {
        matches!(
            notice,
            Notice::ReloadFailed { task_id: 1, why: TurnFailure::CannotFork(_), kept: Some(_), replaced: 1, .. }
        )
    };
    assert_eq!((world.count(failed), world.used()), (1, 0));
}

#[test]
fn an_exclusive_reload_that_fails_ends_there_and_its_slot_is_restarted() {
    for (replacement, used) in [(Fork::Refused, 0), (ends(10, FAILED).never_ready(), 1), (serves().never_ready(), 1)] {
        let mut world =
            World::new(
                exclusive(announced(3, 1000)),
                move |task_id, fork| {
                    if (task_id, fork) == (1, 1) { replacement } else { steady() }
                },
            );
        world.run_for(500);
        world.ask(Ask::Reload);
        world.run_for(10_000);
        let failed =
            |notice: &Notice| matches!(notice, Notice::ReloadFailed { task_id: 1, kept: None, replaced: 1, .. });
        assert_eq!((world.count(failed), world.count(is_failed), world.used()), (1, 1, used));
        assert_eq!((world.times(Deed::Fork(1)).len(), world.times(Deed::Fork(2)).len()), (3, 1));
    }
}

#[test]
fn the_replacement_of_an_exclusive_reload_may_say_that_trying_again_will_not_help() {
    let mut world = World::new(exclusive(announced(3, 1000)), |task_id, fork| {
        if (task_id, fork) == (1, 1) { ends(10, FINAL).never_ready() } else { steady() }
    });
    world.run_for(500);
    world.ask(Ask::Reload);
    world.run_for(10_000);
    assert!(matches!(world.exit, Some(Exit::GaveUp { task_id: 1, reason: GiveUp::Final })), "{:?}", world.exit);
}

#[test]
fn a_second_reload_starts_over_when_the_first_is_done() {
    let mut world = World::new(announced(2, 1000), |_, _| steady());
    world.run_for(500);
    world.ask(Ask::Reload);
    world.run_for(120);
    world.ask(Ask::Reload);
    world.ask(Ask::Reload);
    world.run_for(10_000);
    assert_eq!(world.count(is_reloaded(2)), 2, "and a third is the same as the second");
    assert_eq!(world.count(|notice| matches!(notice, Notice::ReloadQueued { .. })), 2);
    assert_eq!(world.times(Deed::Fork(0)).len(), 3);
}

#[test]
fn a_second_reload_starts_over_when_the_first_is_abandoned() {
    for refused in [true, false] {
        let replacement = if refused { Fork::Refused } else { ends(50, FAILED).never_ready() };
        let mut world = World::new(announced(2, 1000), move |task_id, fork| match (task_id, fork) {
            (1, 1) => replacement,
            _ => steady(),
        });
        world.run_for(500);
        world.ask(Ask::Reload);
        world.run_for(20);
        world.ask(Ask::Reload);
        world.run_for(10_000);
        assert_eq!((world.count(is_failed), world.count(is_reloaded(2))), (1, 1));
    }
}

#[test]
fn that_a_reload_is_done_is_said_at_once() {
    let mut world = World::new(rules(1), |_, _| serves());
    world.run_for(500);
    world.ask(Ask::Reload);
    world.run_for(0);
    assert_eq!(world.count(is_reloaded(1)), 1);
    let mut world = World::new(rules(2), |task_id, _| if task_id == 0 { ends(10, NORMAL) } else { ends(10, FAILED) });
    world.run_for(50);
    world.ask(Ask::Reload);
    assert!(world.policy.poll().is_some() && world.policy.poll().is_some(), "it begins, and is done");
}

#[test]
fn a_stop_wins_over_a_reload_at_each_step() {
    for reload in [Reload::Overlap, Reload::Exclusive] {
        for wait in (0..320).step_by(10) {
            for ask in [Ask::Stop, Ask::HangUp, Ask::StopNow] {
                let mut world = World::new(Rules { reload, ..announced(2, 1000) }, |_, _| steady());
                world.run_for(500);
                world.ask(Ask::Reload);
                world.run_for(wait);
                let forks = world.deeds().iter().filter(|deed| matches!(deed, Deed::Fork(_))).count();
                world.ask(ask);
                assert!(matches!(world.run(), Exit::Stopped { .. }));
                let forks_after = world.deeds().iter().filter(|deed| matches!(deed, Deed::Fork(_))).count();
                assert_eq!(forks_after, forks, "nothing is started any more");
                assert!(world.times(Deed::Exit)[0] <= ms(550 + wait), "{wait}");
            }
        }
    }
}

/// A fact may come between the notice of a turn and its fork.
#[test]
fn a_stop_between_any_two_actions_of_a_turn_forks_no_more() {
    for (refused, recycled) in [(false, false), (true, false), (false, true), (true, true)] {
        for actions in 0..12 {
            let script = move |_, fork| match fork {
                0 if recycled => serves().asks_at(500),
                1.. if refused => Fork::Refused,
                _ => serves(),
            };
            let mut world = World::new(rules(2), script);
            world.run_for(499);
            world.now += ms(1);
            if !recycled {
                world.ask(Ask::Reload);
            }
            for _ in 0..actions {
                world.step(FOREVER);
            }
            world.ask(Ask::Stop);
            assert!(matches!(world.run(), Exit::Stopped { killed: 0, .. }));
        }
    }
}

#[test]
fn a_reload_leaves_alone_what_is_fresh_finished_or_waits() {
    let mut world = World::new(rules(4), |task_id, fork| match (task_id, fork) {
        (0, 0) => ends(10, NORMAL),
        (1, 0..2) => ends(10, FAILED),
        (2, 0) => ends(40, FAILED),
        _ => drains(200, NORMAL),
    });
    world.run_for(30);
    world.ask(Ask::Reload);
    world.run_for(10_000);
    assert_eq!(world.count(is_reloaded(2)), 1, "2, which has not failed yet, and 3");
    assert_eq!((1..4).map(|task_id| world.times(Deed::Fork(task_id)).len()).collect::<Vec<_>>(), [3, 2, 2]);
}

#[test]
fn a_reload_is_a_new_beginning_for_the_backoff() {
    for reload in [Reload::Overlap, Reload::Exclusive] {
        let script = |_, fork| match fork {
            0..4 => ends(10, FAILED),
            4 => serves(),
            _ => ends(20, FAILED),
        };
        let mut world = World::new(Rules { reload, ..rules(1) }, script);
        world.run_for(3000);
        world.ask(Ask::Reload);
        world.run_for(60);
        assert_eq!(world.times(Deed::Fork(0))[5..], [3000, 3020].map(ms), "its first end is made good at once");
    }
}

#[test]
fn a_slot_that_was_one_too_many_during_its_turn_has_it_once_more() {
    let with_sockets = Rules { slots_have_sockets: true, ..announced(2, 1000) };
    let mut world = World::new(with_sockets, |_, _| steady());
    world.run_for(500);
    world.ask(Ask::Reload);
    world.run_for(200);
    assert_eq!(world.alive_of(1).len(), 2, "its replacement boots");
    world.ask(Ask::Fewer);
    world.ask(Ask::More);
    world.run_for(20_000);
    assert!(world.alive.len() == 2 && world.alive.keys().all(|proc| proc.fork >= 2), "{:?}", world.alive.keys());
    assert_eq!(world.count(is_reloaded(2)), 1);
}
