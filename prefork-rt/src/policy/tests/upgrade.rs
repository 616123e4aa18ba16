//! Going on as another binary, and the way back.

use super::*;

fn upgrade_failed(notice: &Notice) -> bool {
    matches!(notice, Notice::UpgradeFailed { .. })
}

fn went_back(notice: &Notice) -> bool {
    matches!(notice, Notice::WentBack { .. })
}

fn upgraded(count: usize) -> impl Fn(&Notice) -> bool {
    move |notice| matches!(notice, Notice::UpgradeDone { replaced, .. } if *replaced == count)
}

/// Ready after 100 ms, ends 50 ms after SIGTERM.
fn steady() -> Fork {
    drains(50, NORMAL).ready(100)
}

/// A pool of steady workers. `new` is what becomes of the forks of the new binary.
fn world(rules: Rules, new: impl Fn(usize) -> Fork + 'static) -> World {
    let mut world = World::new(rules, move |task_id, fork| if fork == 0 { steady() } else { new(task_id) });
    world.run_for(500);
    world
}

fn upgrade(world: &mut World) {
    world.ask(Ask::Upgrade);
    world.run_for(20_000);
}

#[test]
fn a_new_binary_replaces_the_workers_one_at_a_time() {
    for style in [Reload::Overlap, Reload::Exclusive] {
        for readiness in [Readiness::AtFork, Readiness::AtBody, Readiness::Announced(ms(1000))] {
            let mut world = world(Rules { readiness, reload: style, ..rules(3) }, |_| steady());
            let old: Vec<ProcId> = world.alive.keys().copied().collect();
            upgrade(&mut world);
            assert_eq!(world.count(upgraded(3)), 1, "{style:?} {readiness:?}");
            assert!(world.alive.len() == 3 && old.iter().all(|old| !world.alive.contains_key(old)));
            let steps = [Deed::Rehearse, Deed::Upgrade, Deed::Commit].map(|deed| world.times(deed).len());
            assert_eq!(steps, [1, 1, 1]);
            assert_eq!((world.used(), world.policy.poll_timeout()), (0, None));
            let begun = world.count(|notice| matches!(notice, Notice::Upgrading { .. }));
            assert_eq!(
                (begun, world.count(|notice| matches!(notice, Notice::Upgraded { alive: 3, width: 1 }))),
                (1, 1)
            );
        }
    }
}

#[test]
fn a_rehearsal_that_fails_changes_nothing() {
    let mut world = world(announced(2, 1000), |_| steady());
    let (alive, deeds) = (world.alive.len(), world.deeds.len());
    world.next.rehearsal = Some((ms(300), false));
    upgrade(&mut world);
    assert_eq!(world.count(upgrade_failed), 1);
    assert_eq!((world.deeds.len() - deeds, world.alive.len()), (1, alive), "a rehearsal, and no more");
    // It can be tried again.
    world.next.rehearsal = Some((ms(300), true));
    upgrade(&mut world);
    assert_eq!(world.count(upgraded(2)), 1);
}

#[test]
fn a_rehearsal_that_does_not_end_is_ended() {
    let rehearsals = [(1000, 60), (90_000, 90)];
    for (ready_timeout, seconds) in rehearsals {
        let mut world = world(announced(1, ready_timeout), |_| steady());
        world.next.rehearsal = None;
        let asked = world.now;
        world.ask(Ask::Upgrade);
        world.run_for(100_000);
        assert_eq!(world.times(Deed::EndRehearsal), [asked + ms(seconds * 1000)]);
        let says =
            |notice: &Notice| matches!(notice, Notice::UpgradeFailed { why } if why.contains(&format!("{seconds} s")));
        assert_eq!(world.count(says), 1);
        assert_eq!(world.policy.poll_timeout(), None);
    }
}

fn queued(notice: &Notice) -> bool {
    matches!(notice, Notice::UpgradeQueued { .. })
}

/// A world with a reload that has just begun its first turn.
fn reloading(script: impl FnMut(usize, usize) -> Fork + 'static) -> World {
    let mut world = World::new(announced(2, 1000), script);
    world.run_for(500);
    world.ask(Ask::Reload);
    world.run_for(10);
    world
}

#[test]
fn the_newest_binary_runs_in_the_end_whenever_it_is_asked_for() {
    // While the first is rehearsed, on probation, and replacing the rest.
    for (after, upgrades) in [(5, 1), (60, 2), (200, 2)] {
        let mut world = world(announced(2, 1000), |_| steady());
        world.ask(Ask::Upgrade);
        world.run_for(after);
        world.ask(Ask::Upgrade);
        world.ask(Ask::Upgrade);
        let (forks, asked) = (world.policy.forks, world.now);
        world.run_for(20_000);
        assert_eq!(world.count(queued), 2, "a line for each, {after}");
        let rehearsals = world.times(Deed::Rehearse);
        assert!(rehearsals.len() == 2 && rehearsals[1] >= asked, "{rehearsals:?}");
        assert_eq!((world.times(Deed::Upgrade).len(), world.count(upgraded(2))), (upgrades, upgrades), "{after}");
        assert!(world.alive.len() == 2 && world.alive.keys().all(|proc| proc.fork >= forks));
        assert_eq!(world.policy.poll_timeout(), None);
    }
}

#[test]
fn an_upgrade_that_waits_for_a_worker_is_rehearsed_again_when_it_is_asked_for_again() {
    let mut world = reloading(|_, _| steady());
    world.ask(Ask::Upgrade);
    world.run_for(20);
    world.ask(Ask::Upgrade);
    world.run_for(0);
    assert_eq!((world.times(Deed::Rehearse).len(), world.count(queued)), (2, 0), "at once");
    world.run_for(20_000);
    assert_eq!((world.times(Deed::Upgrade).len(), world.count(upgraded(2))), (1, 1));
}

#[test]
fn a_second_upgrade_does_not_depend_on_the_first_one_s_fate() {
    let fails = || ends(50, FAILED).never_ready();
    for way_back in [true, false] {
        // It fails when it is rehearsed, on probation, and later.
        for (rehearses, failing, after) in [(false, 9, 5), (true, 0, 30), (true, 1, 200)] {
            let script = move |task_id, fork| if (task_id, fork) == (failing, 1) { fails() } else { steady() };
            let mut world = World::new(announced(2, 1000), script);
            world.run_for(500);
            world.next.way_back = way_back;
            world.next.rehearsal = Some((ms(10), rehearses));
            world.ask(Ask::Upgrade);
            world.run_for(after);
            world.next.rehearsal = Some((ms(10), true));
            world.ask(Ask::Upgrade);
            world.run_for(20_000);
            assert_eq!((world.count(queued), world.count(upgraded(2))), (1, 1), "{way_back} {rehearses} {failing}");
            assert_eq!(world.alive.len(), 2);
        }
    }
}

#[test]
fn a_reload_that_was_asked_for_is_not_forgotten_by_an_upgrade_that_fails() {
    let fails = |_, fork| if fork == 2 { ends(100, FAILED).never_ready() } else { steady() };
    for way_back in [true, false] {
        // In progress when the binary changes; asked for on probation.
        for early in [true, false] {
            let mut world = if early {
                reloading(fails)
            } else {
                World::new(announced(2, 1000), |task_id, fork| {
                    if (task_id, fork) == (0, 1) { ends(100, FAILED).never_ready() } else { steady() }
                })
            };
            world.run_for(if early { 0 } else { 500 });
            world.next.way_back = way_back;
            world.ask(Ask::Upgrade);
            world.run_for(if early { 250 } else { 60 });
            if !early {
                world.ask(Ask::Reload);
            }
            let forks = world.policy.forks;
            world.run_for(20_000);
            let (back, reloaded) =
                (world.times(Deed::GoBack(0)).len() + world.times(Deed::GoBack(1)).len(), |notice: &Notice| {
                    matches!(notice, Notice::Reloaded { replaced: 2, .. })
                });
            assert_eq!((back, world.count(reloaded)), (1, 1), "{way_back} {early}");
            assert!(
                world.alive.len() == 2 && world.alive.keys().all(|proc| proc.fork >= forks - 1),
                "{:?}",
                world.deeds()
            );
        }
    }
}

#[test]
fn a_request_when_the_next_upgrade_is_about_to_begin_gets_that_one() {
    let mut world = world(announced(2, 1000), |_| steady());
    world.next.rehearsal = Some((ms(10), false));
    world.ask(Ask::Upgrade);
    world.run_for(5);
    world.ask(Ask::Upgrade);
    while world.policy.upgrade.is_some() {
        world.step(FOREVER);
    }
    world.next.rehearsal = Some((ms(10), true));
    world.ask(Ask::Upgrade);
    world.run_for(20_000);
    assert_eq!((world.times(Deed::Rehearse).len(), world.count(upgraded(2))), (2, 1));
}

#[test]
fn a_stop_forgets_the_next_upgrade() {
    for after in [5, 60, 200] {
        let mut world = world(announced(2, 1000), |_| steady());
        world.ask(Ask::Upgrade);
        world.run_for(after);
        world.ask(Ask::Upgrade);
        world.run_for(0);
        world.ask(Ask::Stop);
        assert!(matches!(world.run(), Exit::Stopped { killed: 0, .. }));
        assert_eq!(world.times(Deed::Rehearse).len(), 1, "{after}");
    }
}

#[test]
fn a_binary_that_cannot_be_run_leaves_all_as_it_was() {
    let mut world = world(announced(2, 1000), |_| steady());
    world.next.rules = None;
    upgrade(&mut world);
    assert_eq!(world.count(upgrade_failed), 1);
    assert!(world.alive.keys().all(|proc| proc.fork < 2));
    world.ask(Ask::Reload);
    world.run_for(10_000);
    assert_eq!(world.alive.keys().filter(|proc| proc.fork >= 2).count(), 2, "and it goes on as before");
}

#[test]
fn the_binary_before_comes_back_when_the_first_worker_of_the_new_one_fails() {
    let never_ready = || drains(50, NORMAL).never_ready();
    let bad: [fn() -> Fork; 6] = [
        || ends(10, FAILED).never_ready(),
        || ends(10, FINAL).never_ready(),
        || ends(10, NORMAL).never_ready(),
        || ends(10, SEGFAULT).never_ready(),
        never_ready,
        || Fork::Refused,
    ];
    for style in [Reload::Overlap, Reload::Exclusive] {
        for bad in bad {
            let script = move |task_id, fork| if (task_id, fork) == (0, 1) { bad() } else { steady() };
            let mut world = World::new(Rules { reload: style, ..announced(3, 1000) }, script);
            world.run_for(500);
            let old = world.alive.len();
            upgrade(&mut world);
            assert_eq!((world.count(went_back), world.times(Deed::GoBack(0)).len()), (1, 1));
            assert_eq!((world.alive.len(), world.used()), (old, 0), "and it costs nothing");
            let served_all_along = world.alive.keys().filter(|proc| proc.fork < 3).count();
            assert_eq!(served_all_along, if style == Reload::Overlap { 3 } else { 2 });
            assert_eq!(world.policy.poll_timeout(), None);
            // The next binary is good.
            upgrade(&mut world);
            assert_eq!(world.count(upgraded(3)), 1);
        }
    }
}

#[test]
fn where_readiness_is_not_announced_the_first_worker_has_to_live_for_a_moment() {
    for readiness in [Readiness::AtFork, Readiness::AtBody] {
        for (lives, stays) in [(900, false), (1100, true)] {
            let script = move |_, fork: usize| if fork == 1 { ends(lives, FAILED) } else { steady() };
            let mut world = World::new(Rules { readiness, ..rules(1) }, script);
            world.run_for(500);
            world.ask(Ask::Upgrade);
            world.run_for(10 + lives.min(1000) - 1);
            assert_eq!(world.alive_of(0).len(), 2, "the old one is still there");
            world.run_for(20_000);
            assert_eq!(world.count(went_back), usize::from(!stays));
            assert_eq!(world.times(Deed::Commit).len(), usize::from(stays));
        }
    }
}

#[test]
fn a_later_failure_abandons_the_replacing_as_in_a_reload() {
    let mut world =
        world(announced(3, 1000), |task_id| if task_id == 1 { ends(10, FAILED).never_ready() } else { steady() });
    upgrade(&mut world);
    assert_eq!(world.count(|notice| matches!(notice, Notice::ReloadFailed { task_id: 1, replaced: 1, .. })), 1);
    assert_eq!((world.count(went_back), world.count(upgraded(3))), (0, 0));
    assert_eq!(world.alive.len(), 3);
    world.ask(Ask::Upgrade);
    assert_eq!(world.count(queued), 0, "it is over");
}

#[test]
fn without_a_way_back_the_new_binary_goes_on() {
    let script = |_, fork: usize| if fork == 1 { ends(10, FAILED).never_ready() } else { steady() };
    let mut world = World::new(exclusive(announced(2, 1000)), script);
    world.run_for(500);
    world.next.way_back = false;
    upgrade(&mut world);
    assert_eq!(world.count(|notice| matches!(notice, Notice::CannotGoBack { .. })), 1);
    assert_eq!(world.alive.len(), 2, "missing workers are started");
    upgrade(&mut world);
    assert_eq!(world.times(Deed::Upgrade).len(), 2);
}

#[test]
fn an_upgrade_waits_for_the_worker_that_is_being_replaced_and_takes_the_rest_of_the_reload_over() {
    let mut world = world(announced(3, 1000), |_| steady());
    world.ask(Ask::Reload);
    world.run_for(20);
    world.ask(Ask::Upgrade);
    world.run_for(20_000);
    let [upgraded_at] = world.times(Deed::Upgrade)[..] else { panic!("one upgrade") };
    assert_eq!(upgraded_at, ms(650), "after the turn of task id 0");
    assert_eq!(world.count(upgraded(3)), 1);
    assert_eq!(world.count(|notice| matches!(notice, Notice::Reloaded { .. })), 0);
}

#[test]
fn a_stop_wins() {
    // While it is rehearsed; on probation; and while the rest is replaced.
    for (after, deeds) in [(5, [1, 0]), (60, [0, 1]), (200, [0, 1])] {
        let mut world = world(announced(2, 1000), |_| steady());
        world.ask(Ask::Upgrade);
        world.run_for(after);
        world.ask(Ask::Stop);
        assert!(matches!(world.run(), Exit::Stopped { killed: 0, .. }));
        assert_eq!([Deed::EndRehearsal, Deed::Upgrade].map(|deed| world.times(deed).len()), deeds, "{after}");
    }
    let mut world = world(announced(2, 1000), |_| drains(1000, NORMAL));
    world.ask(Ask::Stop);
    world.ask(Ask::Upgrade);
    world.run();
    assert_eq!(world.count(|notice| matches!(notice, Notice::Ignored { .. })), 1);
}

#[test]
fn a_slot_in_backoff_is_started_by_the_new_binary_and_the_budget_stays_spent() {
    let script = |task_id, fork| match (task_id, fork) {
        (0, 0..2) => ends(20, FAILED),
        _ => steady(),
    };
    let mut world = World::new(Rules { max_restarts: Some(3), ..announced(2, 5000) }, script);
    world.run_for(100);
    assert_eq!((world.used(), world.alive_of(0).len()), (2, 0), "it waits");
    world.next.rehearsal = Some((Duration::ZERO, true));
    world.ask(Ask::Upgrade);
    world.run_for(20_000);
    assert_eq!(world.count(upgraded(1)), 1);
    assert_eq!(world.used(), 2);
}

#[test]
fn a_worker_that_was_told_to_end_has_no_more_time_than_before() {
    let mut world =
        World::new(announced(2, 1000), |task_id, _| if task_id == 1 { ignores_sigterm().ready(0) } else { steady() });
    world.run_for(500);
    world.ask(Ask::Fewer);
    upgrade(&mut world);
    assert_eq!(world.times(Deed::Kill(1)), []);
    world.run_for(5000);
    assert_eq!(world.times(Deed::Kill(1)), [ms(500 + 25_000)]);
    assert_eq!(world.alive.len(), 1);
}

#[test]
fn the_new_binary_s_number_of_workers_holds_once_it_has_proved_itself() {
    for (planned, is) in [(4, 4), (1, 1), (2, 3)] {
        let mut world = world(announced(2, 1000), |_| steady());
        world.ask(Ask::More);
        world.next.rules = Some(announced(planned, 1000));
        upgrade(&mut world);
        assert_eq!(
            world.alive.len(),
            is,
            "3 are there, and {planned} planned; by signal only where the option stays the same"
        );
        assert_eq!(world.times(Deed::Commit).len(), 1);
    }
    let mut world = World::new(announced(3, 1000), |_, fork| if fork == 1 { Fork::Refused } else { steady() });
    world.run_for(500);
    world.next.rules = Some(announced(1, 1000));
    upgrade(&mut world);
    assert_eq!(world.alive.len(), 3, "as many as before, where it has not");
}

#[test]
fn old_workers_are_watched_by_the_new_binary() {
    let rules = Rules { heartbeat_timeout: Some(ms(1000)), ..announced(1, 10_000) };
    let script = |_, fork| match fork {
        0 => steady().heartbeats(0, 100, 2000),
        _ => drains(50, NORMAL).ready(6000).heartbeats(0, 100, 1_000_000),
    };
    let mut world = World::new(rules, script);
    world.run_for(1500);
    world.ask(Ask::Upgrade);
    world.run_for(3500);
    assert_eq!(world.times(Deed::Abort(0)), [ms(3100)], "1.1 s after its last heartbeat");
}

#[test]
fn a_newcomer_beside_the_one_that_failed_goes_too() {
    // Task id 1 dies by itself while task id 0 is replaced: both have workers of the new binary then.
    let script = |task_id, fork| match (task_id, fork) {
        (1, 0) => Fork::Runs(Life { alone: Some((ms(600), FAILED)), ..OBEYS }).ready(100),
        (0, 1) => ends(300, FAILED).never_ready(),
        (1, 1) => drains(50, NORMAL).ready(5000),
        _ => steady(),
    };
    let mut world = World::new(announced(2, 10_000), script);
    world.run_for(500);
    upgrade(&mut world);
    assert_eq!(world.count(went_back), 1);
    let newcomer = ProcId { task_id: 1, fork: 3 };
    assert!(!world.alive.contains_key(&newcomer) && world.alive.len() == 2, "{:?}", world.alive.keys());
}

#[test]
fn words_that_no_binary_wrote_are_no_pool() {
    let mut world = world(announced(2, 1000), |_| steady());
    let words = crate::codec::written(&world.policy.snapshot());
    assert!(crate::codec::read::<Snapshot>(&words).is_some());
    for broken in [words.replacen("false", "maybe", 1), format!("{words} 1"), words[2..].to_owned(), String::new()] {
        assert!(crate::codec::read::<Snapshot>(&broken).is_none(), "{broken}");
    }
}
