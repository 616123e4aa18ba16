//! One worker more, one fewer.

use super::*;

fn not_scaled(world: &World) -> usize {
    world.count(|notice| matches!(notice, Notice::NotScaled { .. }))
}

#[test]
fn one_more_has_the_next_free_id_and_one_fewer_is_the_highest() {
    let mut world = World::new(rules(2), |_, _| drains(50, NORMAL));
    world.run_for(100);
    world.ask(Ask::More);
    world.ask(Ask::More);
    world.run_for(100);
    assert_eq!(world.deeds()[2..], [Deed::Fork(2), Deed::Fork(3)]);
    world.ask(Ask::Fewer);
    world.run_for(100);
    world.ask(Ask::More);
    world.run_for(100);
    assert_eq!(world.deeds()[4..], [Deed::Terminate(3), Deed::Fork(3)]);
    assert_eq!((world.used(), world.alive.len()), (0, 4));
    let scaled = world.notices.iter().filter_map(|notice| match notice {
        Notice::Scaled { from, to, .. } => Some((*from, *to)),
        _ => None,
    });
    assert_eq!(scaled.collect::<Vec<_>>(), [(2, 3), (3, 4), (4, 3), (3, 4)]);
}

#[test]
fn there_is_never_less_than_one_worker() {
    let mut world = World::new(rules(3), |_, _| serves());
    world.run_for(100);
    for _ in 0..5 {
        world.ask(Ask::Fewer);
        world.run_for(100);
    }
    assert_eq!(world.deeds()[3..], [Deed::Terminate(2), Deed::Terminate(1)]);
    assert_eq!(not_scaled(&world), 3);
}

#[test]
fn there_are_never_more_workers_than_there_is_room_for() {
    let mut world = World::new(Rules { most_workers: 3, ..rules(2) }, |_, _| serves());
    world.run_for(100);
    for _ in 0..3 {
        world.ask(Ask::More);
    }
    world.run_for(100);
    assert_eq!((world.alive.len(), not_scaled(&world)), (3, 2));
}

#[test]
fn a_surplus_worker_is_neither_counted_nor_replaced_whatever_its_status() {
    for status in [NORMAL, FAILED, SEGFAULT, FINAL] {
        let mut world = World::new(Rules { max_restarts: Some(0), ..rules(2) }, move |_, _| drains(50, status));
        world.run_for(100);
        world.ask(Ask::Fewer);
        world.run_for(10_000);
        assert!(world.exit.is_none() && world.alive.len() == 1);
        assert_eq!(world.count(|notice| matches!(notice, Notice::Stopped { .. })), 1);
    }
}

#[test]
fn a_surplus_worker_that_does_not_end_in_time_is_killed() {
    let mut world = World::new(rules(2), |_, _| ignores_sigterm());
    world.run_for(100);
    world.ask(Ask::Fewer);
    world.run_for(100_000);
    assert_eq!(world.deeds()[2..], [Deed::Terminate(1), Deed::Kill(1)]);
    assert_eq!(world.times(Deed::Kill(1)), [ms(25_100)]);
    assert!(world.exit.is_none());
}

#[test]
fn scaling_up_again_waits_for_the_surplus_worker_to_end() {
    let mut world = World::new(rules(2), |_, _| drains(500, NORMAL));
    world.run_for(100);
    world.ask(Ask::Fewer);
    world.run_for(100);
    world.ask(Ask::More);
    world.run_for(10_000);
    assert_eq!(world.times(Deed::Fork(1)), [0, 600].map(ms));
}

#[test]
fn a_slot_that_is_wanted_again_begins_anew() {
    let mut world = World::new(rules(2), |task_id, fork| match (task_id, fork) {
        (1, 0..4) => ends(10, FAILED),
        (1, 4) => ends(20, FAILED),
        (1, 5) => ends(10, NORMAL),
        _ => serves(),
    });
    world.run_for(300);
    world.ask(Ask::Fewer);
    world.ask(Ask::More);
    world.run_for(1);
    assert_eq!(world.times(Deed::Fork(1)).last(), Some(&ms(300)), "without waiting");
    world.run_for(20);
    assert_eq!(world.times(Deed::Fork(1)).last(), Some(&ms(310)), "as after a first end");
    world.run_for(10_000);
    let left = |notice: &Notice| matches!(notice, Notice::Finished { left: 1, .. });
    assert_eq!(world.count(left), 1);
    let forks = world.times(Deed::Fork(1)).len();
    world.ask(Ask::Fewer);
    world.ask(Ask::More);
    world.run_for(100);
    assert_eq!(world.times(Deed::Fork(1)).len(), forks + 1, "though it had finished");
}

#[test]
fn a_slot_that_is_wanted_again_has_not_failed_to_boot() {
    let mut world = World::new(announced(2, 1000), |task_id, fork| match (task_id, fork) {
        (0, _) => serves().ready(900),
        (1, 0 | 2) => ends(10, FAILED).never_ready(),
        _ => serves().ready(500),
    });
    world.run_for(100);
    world.ask(Ask::Fewer);
    world.ask(Ask::More);
    world.run_for(10_000);
    assert!(world.exit.is_none());
    assert_eq!(world.times(Deed::Fork(1)).len(), 4);
}

#[test]
fn a_refused_fork_of_one_more_leaves_the_pool_as_it_was() {
    let script = |task_id, fork| if (task_id, fork) == (1, 0) { Fork::Refused } else { serves() };
    let mut world = World::new(Rules { max_restarts: Some(0), ..rules(1) }, script);
    world.run_for(100);
    world.ask(Ask::More);
    world.ask(Ask::More);
    world.run_for(10_000);
    assert_eq!((world.used(), world.alive.len()), (0, 1));
    assert_eq!(world.count(|notice| matches!(notice, Notice::CannotAdd { task_id: 1, workers: 1, .. })), 1);
    world.ask(Ask::More);
    world.run_for(10_000);
    assert_eq!((world.used(), world.alive.len()), (0, 2), "it may be asked for again");
}

#[test]
fn a_refused_fork_of_one_more_takes_no_worker_along_that_runs() {
    let mut world = World::new(rules(2), |task_id, fork| match (task_id, fork) {
        (1, 0) => drains(500, NORMAL),
        (1, 1) => Fork::Refused,
        _ => serves(),
    });
    world.run_for(100);
    world.ask(Ask::Fewer);
    world.ask(Ask::More);
    world.ask(Ask::More);
    world.run_for(10_000);
    assert_eq!((world.used(), world.alive.len()), (0, 3), "tried again");
}

#[test]
fn when_the_other_workers_have_finished_the_pool_waits_for_the_surplus_worker() {
    let script = |task_id, _| if task_id == 0 { ends(10, NORMAL) } else { drains(500, NORMAL) };
    let mut world = World::new(rules(2), script);
    world.run_for(100);
    world.ask(Ask::Fewer);
    world.run_for(100);
    assert!(world.exit.is_none());
    assert!(matches!(world.run(), Exit::Finished));
    assert_eq!(world.times(Deed::Exit), [ms(600)]);
    let mut world = World::new(rules(2), script);
    world.run_for(100);
    world.ask(Ask::Fewer);
    world.run_for(100);
    world.ask(Ask::More);
    world.run_for(10_000);
    assert!(world.exit.is_none(), "there is one more to do");
}

#[test]
fn one_fewer_ends_a_pool_whose_others_have_finished() {
    let mut world = World::new(rules(2), |task_id, fork| match (task_id, fork) {
        (0, _) => ends(10, NORMAL),
        _ => ends(20, FAILED),
    });
    world.run_for(50);
    world.ask(Ask::Fewer);
    assert!(matches!(world.run(), Exit::Finished));
    assert_eq!(world.times(Deed::Exit), [ms(50)]);
}
