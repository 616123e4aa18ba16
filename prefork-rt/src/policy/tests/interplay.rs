//! Reloads, recycling, scaling and stops that meet each other.

use super::*;

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
    assert_eq!(world.policy.poll_timeout(), None, "a worker that is gone is not recycled");
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
fn scaling_up_again_waits_for_both_processes_that_had_the_place() {
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
                (1, 0) => ignores_sigterm().heartbeats(0, 100, 200),
                (2, _) => serves().ready(100).heartbeats(100, 100, u64::MAX / 1_000_000).grows(2000, 0),
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
