//! How many slots are replaced at once.

use super::*;

/// Ready after 100 ms, ends 1 s after SIGTERM.
fn steady() -> Fork {
    drains(1000, NORMAL).ready(100)
}

fn percent(percent: usize, rules: Rules) -> Rules {
    Rules { reload_width: Width::Percent(percent), ..rules }
}

/// Processes at most at once, and when the reload was over.
fn reload(world: &mut World) -> (usize, Duration) {
    world.run_for(500);
    let asked_at = world.now;
    world.ask(Ask::Reload);
    let mut most = 0;
    while world.count(|notice| matches!(notice, Notice::Reloaded { .. })) == 0 && world.step(FOREVER) {
        most = most.max(world.alive.len());
    }
    (most, world.now - asked_at)
}

#[test]
fn a_reload_replaces_as_many_slots_at_once_as_its_width_and_never_has_more_processes() {
    for (rules, workers, width) in [
        (percent(25, announced(3, 1000)), 3, 1),
        (percent(25, announced(7, 1000)), 7, 1),
        (percent(25, announced(8, 1000)), 8, 2),
        (percent(100, announced(8, 1000)), 8, 8),
        (wide(3, announced(8, 1000)), 8, 3),
        (wide(30, announced(8, 1000)), 8, 8),
    ] {
        let mut world = World::new(rules, |_, _| steady());
        let (most, took) = reload(&mut world);
        assert_eq!(most, workers + width);
        assert_eq!(took, ms(1100) * workers.div_ceil(width) as u32, "{workers} by {width}");
        assert_eq!(
            world.count(|notice| matches!(notice, Notice::Reloaded { replaced, .. } if *replaced == workers)),
            1
        );
        assert_eq!((world.used(), world.alive.len()), (0, workers));
    }
}

#[test]
fn thirty_two_workers_that_drain_for_a_second_are_reloaded_in_five() {
    let mut world = World::new(rules(32), |_, _| drains(1000, NORMAL));
    let (most, took) = reload(&mut world);
    assert_eq!((most, took), (40, ms(4000)));
}

#[test]
fn an_exclusive_reload_has_no_more_slots_without_a_worker_than_its_width() {
    let mut world = World::new(exclusive(wide(3, announced(8, 1000))), |_, _| steady());
    let (most, took) = reload(&mut world);
    assert_eq!((most, took), (8, ms(3 * 1100)));
    let mut fewest = 8;
    world.ask(Ask::Reload);
    for _ in 0..1000 {
        world.run_for(5);
        fewest = fewest.min(world.policy.ready());
    }
    assert_eq!(fewest, 5);
}

#[test]
fn a_turn_begins_as_another_ends_and_not_in_batches() {
    // The first of two drains for 10 s, while the other turns come one after the other.
    let mut world = World::new(wide(2, announced(6, 1000)), |task_id, fork| match (task_id, fork) {
        (0, 0) => drains(10_000, NORMAL).ready(100),
        _ => steady(),
    });
    let (most, took) = reload(&mut world);
    assert_eq!((most, took), (8, ms(10_100)));
    let begun: Vec<Duration> = (0..6).map(|task_id| world.times(Deed::Fork(task_id))[1] - ms(500)).collect();
    assert_eq!(begun, [0, 0, 1100, 2200, 3300, 4400].map(ms));
}

#[test]
fn workers_are_recycled_as_many_at_once_as_the_width() {
    for style in [Reload::Overlap, Reload::Exclusive] {
        let mut world = World::new(Rules { reload: style, ..wide(2, announced(4, 1000)) }, |_, fork| match fork {
            0 => drains(50, NORMAL).asks_at(500),
            _ => serves().ready(100),
        });
        world.run_for(10_000);
        let told: Vec<Duration> = (0..4).map(|task_id| world.times(Deed::Terminate(task_id))[0]).collect();
        assert_eq!([told[1] - told[0], told[2] - told[0], told[3] - told[2]], [0, 150, 0].map(ms), "{told:?}");
        assert_eq!(world.used(), 0);
    }
}

#[test]
fn a_reload_and_recycling_share_the_width() {
    let mut world = World::new(wide(2, announced(4, 1000)), |task_id, fork| match (task_id, fork) {
        (3, 0) => drains(5000, NORMAL).asks_at(500),
        _ => steady(),
    });
    world.run_for(550);
    world.ask(Ask::Reload);
    let mut most = 0;
    while world.count(|notice| matches!(notice, Notice::Reloaded { .. })) == 0 && world.step(FOREVER) {
        most = most.max(world.alive.len());
    }
    assert_eq!(most, 6);
    assert_eq!(world.times(Deed::Fork(3)).len(), 3, "what was forked before the reload is old");
    assert_eq!(world.times(Deed::Fork(0)), [0, 550].map(ms), "beside the recycling");
    assert_eq!(world.times(Deed::Fork(1)), [0, 1650].map(ms), "the recycling has not ended");
}

/// The replacement of worker 1 fails while worker 0 drains, and that of worker 2 is not ready.
fn fails_in_the_middle(rules: Rules) -> World {
    let mut world = World::new(wide(3, rules), |task_id, fork| match (task_id, fork) {
        (0, 0) => drains(5000, NORMAL),
        (0, 1) => steady().ready(0),
        (1, 1) => ends(500, FAILED).never_ready(),
        (2, 1) => drains(300, NORMAL).ready(900),
        _ => steady(),
    });
    world.run_for(500);
    world.ask(Ask::Reload);
    world
}

#[test]
fn when_a_replacement_fails_turns_with_a_ready_replacement_end_and_the_others_go_back() {
    let mut world = fails_in_the_middle(announced(5, 1000));
    let old = [1, 2].map(|task_id| world.alive_of(task_id)[0]);
    world.run_for(10_000);
    assert_eq!([1, 2].map(|task_id| world.alive_of(task_id)), old.map(|old| vec![old]));
    assert_eq!(world.times(Deed::Terminate(2)), [ms(1000)], "the replacement");
    assert_eq!([0, 3, 4].map(|task_id| world.times(Deed::Fork(task_id)).len()), [2, 1, 1]);
    assert_eq!(world.alive_of(0).len(), 1);
    let failed = |notice: &Notice| {
        matches!(notice, Notice::ReloadFailed { task_id: 1, kept: Some(_), replaced: 0, go_on: 1, go_back: 1, .. })
    };
    assert_eq!((world.count(failed), world.used()), (1, 0));
    assert_eq!(world.count(|notice| matches!(notice, Notice::Reloaded { .. })), 0);
    assert_eq!(world.policy.poll_timeout(), None);
}

#[test]
fn turns_of_an_abandoned_reload_count_until_their_processes_have_ended() {
    let mut world = fails_in_the_middle(announced(5, 1000));
    world.run_for(600);
    world.ask(Ask::Reload);
    world.run_for(0);
    let forks = |world: &World| (0..5).map(|task_id| world.times(Deed::Fork(task_id)).len()).collect::<Vec<_>>();
    assert_eq!(forks(&world), [2, 3, 2, 1, 1], "one of three is free");
    world.run_for(200);
    assert_eq!(forks(&world), [2, 3, 3, 1, 1], "the replacement of 2 has ended");
    world.run_for(20_000);
    assert_eq!(forks(&world), [3, 3, 3, 2, 2], "what was forked before the reload is old");
    let reloaded = |notice: &Notice| matches!(notice, Notice::Reloaded { replaced: 5, .. });
    assert_eq!((world.count(reloaded), world.alive.len()), (1, 5));
}

#[test]
fn an_exclusive_turn_whose_old_worker_was_told_to_end_goes_on_when_the_reload_is_abandoned() {
    let mut world = fails_in_the_middle(exclusive(announced(5, 1000)));
    world.run_for(20_000);
    let failed =
        |notice: &Notice| matches!(notice, Notice::ReloadFailed { task_id: 1, kept: None, go_on: 2, go_back: 0, .. });
    assert_eq!((world.count(failed), world.used()), (1, 1));
    assert_eq!((0..5).map(|task_id| world.times(Deed::Fork(task_id)).len()).collect::<Vec<_>>(), [2, 3, 2, 1, 1]);
    assert_eq!(world.alive.len(), 5);
}

#[test]
fn a_second_failure_in_an_abandoned_reload_abandons_no_other_one() {
    let mut world = World::new(exclusive(wide(2, announced(3, 10_000))), |task_id, fork| match (task_id, fork) {
        (0, 1) => ends(100, FAILED).never_ready(),
        (1, 1) => ends(300, FAILED).never_ready(),
        _ => steady(),
    });
    world.run_for(500);
    world.ask(Ask::Reload);
    world.run_for(50);
    world.ask(Ask::Reload);
    world.run_for(30_000);
    let failed = |notice: &Notice| matches!(notice, Notice::ReloadFailed { .. });
    let reloaded = |notice: &Notice| matches!(notice, Notice::Reloaded { .. });
    assert_eq!((world.count(failed), world.count(reloaded), world.used()), (1, 1, 2));
}

#[test]
fn an_old_worker_that_dies_while_its_replacement_is_told_to_end_is_replaced_at_once() {
    let mut world = World::new(wide(2, announced(2, 1000)), |task_id, fork| match (task_id, fork) {
        (0, 1) => ends(100, FAILED).never_ready(),
        (1, 0) => ends(700, SEGFAULT),
        (1, 1) => drains(5000, NORMAL).never_ready(),
        _ => serves(),
    });
    world.run_for(500);
    world.ask(Ask::Reload);
    world.run_for(1000);
    assert_eq!(world.times(Deed::Fork(1)), [0, 500, 700].map(ms));
    world.run_for(10_000);
    assert_eq!((world.alive.len(), world.used()), (2, 1));
}

#[test]
fn a_new_binary_replaces_its_first_worker_alone_and_then_as_many_as_the_width() {
    let mut world = World::new(wide(3, announced(7, 1000)), |_, _| steady());
    world.run_for(500);
    world.ask(Ask::Upgrade);
    world.run_for(60_000);
    let forks: Vec<Duration> = (0..7).map(|task_id| world.times(Deed::Fork(task_id))[1]).collect();
    let begun = forks.iter().map(|&fork| (fork - forks[0]).as_millis()).collect::<Vec<_>>();
    assert_eq!(begun, [0, 100, 100, 1100, 1200, 1200, 2200]);
    assert_eq!(world.count(|notice| matches!(notice, Notice::UpgradeDone { replaced: 7, .. })), 1);
    let told = |notice: &Notice| matches!(notice, Notice::Upgraded { alive: 7, width: 3 });
    assert_eq!(world.count(told), 1);
}

#[test]
fn an_upgrade_waits_for_every_turn_in_progress_and_no_turn_begins_before_it() {
    let mut world = World::new(wide(2, announced(4, 1000)), |_, _| steady());
    world.run_for(500);
    world.ask(Ask::Reload);
    world.run_for(50);
    world.ask(Ask::Upgrade);
    world.run_for(60_000);
    assert_eq!(world.times(Deed::Upgrade), [ms(1600)]);
    assert_eq!(world.count(|notice| matches!(notice, Notice::UpgradeDone { replaced: 4, .. })), 1);
}

#[test]
fn a_worker_that_is_one_too_many_holds_no_turn_up_but_the_second_process_of_its_slot_does() {
    let mut world = World::new(announced(3, 1000), |_, _| steady());
    world.run_for(500);
    world.ask(Ask::Fewer);
    world.ask(Ask::Reload);
    world.run_for(20_000);
    assert_eq!([0, 1].map(|task_id| world.times(Deed::Fork(task_id))[1]), [500, 1600].map(ms));
    let mut world = World::new(announced(3, 1000), |task_id, fork| match (task_id, fork) {
        (2, 0) => steady().asks_at(500),
        _ => steady(),
    });
    world.run_for(700);
    assert_eq!(world.alive_of(2).len(), 2, "the old one drains");
    world.ask(Ask::Fewer);
    world.ask(Ask::Reload);
    world.run_for(0);
    assert_eq!(world.alive.len(), 4);
    world.run_for(20_000);
    assert_eq!([0, 1].map(|task_id| world.times(Deed::Fork(task_id))[1]), [1600, 2700].map(ms));
}

#[test]
fn the_width_follows_the_number_of_workers() {
    let mut world = World::new(percent(50, announced(4, 1000)), |_, _| steady());
    world.run_for(500);
    world.ask(Ask::Reload);
    world.run_for(50);
    assert_eq!(world.alive.len(), 6);
    world.ask(Ask::More);
    world.ask(Ask::More);
    world.run_for(0);
    assert_eq!(world.alive.len(), 9, "six, and three");
}

#[test]
fn one_slot_s_turn_may_be_scaled_away_beside_another_one() {
    for style in [Reload::Overlap, Reload::Exclusive] {
        for wait in (0..1200).step_by(50) {
            let mut world = World::new(Rules { reload: style, ..wide(2, announced(3, 1000)) }, |_, _| steady());
            world.run_for(500);
            world.ask(Ask::Reload);
            world.run_for(1100 + wait);
            world.ask(Ask::Fewer);
            world.run_for(20_000);
            assert_eq!([0, 1, 2].map(|task_id| world.alive_of(task_id).len()), [1, 1, 0], "{wait}");
            assert_eq!(world.count(|notice| matches!(notice, Notice::Reloaded { .. })), 1);
        }
    }
}
