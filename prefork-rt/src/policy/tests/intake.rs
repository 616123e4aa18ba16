//! Sockets of a slot's own: where new connections go, and how sockets come and go with their slot.

use super::super::intake::SETTLE;
use super::*;
use Intake::{Away, Closed, Open};

fn own(workers: usize) -> Rules {
    Rules { slots_have_sockets: true, ..rules(workers) }
}

/// When, from here on, new connections began to go to this slot, or ceased to.
fn intakes(world: &World, task_id: usize) -> Vec<(Duration, Intake)> {
    let of = |&(when, deed): &(Duration, Deed)| match deed {
        Deed::SetIntake(slot, intake) if slot == task_id => Some((when, intake)),
        _ => None,
    };
    world.deeds.iter().filter_map(of).collect()
}

/// What was done, except for inspections of a queue.
fn deeds(world: &World) -> Vec<Deed> {
    world.deeds().into_iter().filter(|deed| !matches!(deed, Deed::InspectQueue(_))).collect()
}

#[test]
fn shared_sockets_are_left_alone() {
    let mut world = World::new(rules(3), |task_id, fork| match (task_id, fork) {
        (0, 0..3) => ends(10, FAILED),
        (1, _) => ends(20, NORMAL),
        _ => serves(),
    });
    world.run_for(1000);
    world.ask(Ask::Fewer);
    world.ask(Ask::More);
    world.ask(Ask::Reload);
    world.run_for(10_000);
    let is_left = |deed: &Deed| matches!(deed, Deed::Fork(_) | Deed::Terminate(_));
    assert!(world.deeds().iter().all(is_left), "{:?}", world.deeds());
}

#[test]
fn a_killed_worker_s_queue_waits_for_the_replacement_and_what_is_new_comes_as_before() {
    let mut world = World::new(own(2), |_, fork| if fork == 0 { ends(10, SIGKILLED) } else { serves() });
    world.run_for(10_000);
    assert_eq!(deeds(&world), [0, 1, 0, 1].map(Deed::Fork));
}

#[test]
fn while_a_slot_waits_for_its_backoff_what_is_new_goes_elsewhere() {
    let mut world = World::new(own(2), |task_id, fork| match (task_id, fork) {
        (1, 0..3) => ends(10, FAILED),
        _ => serves(),
    });
    world.run_for(10_000);
    let starts = world.times(Deed::Fork(1));
    // The first replacement is immediate.
    let (second, third) = (starts[1] + ms(10), starts[2] + ms(10));
    assert_eq!(intakes(&world, 1), [(second, Away), (starts[2], Open), (third, Away), (starts[3], Open)]);
    assert_eq!(intakes(&world, 0), []);
}

#[test]
fn a_moment_without_a_worker_changes_nothing() {
    let backoff = Backoff { first: ms(50), longest: ms(50) };
    let mut world =
        World::new(Rules { backoff, ..own(2) }, |_, fork| if fork < 5 { ends(10, FAILED) } else { serves() });
    world.run_for(10_000);
    assert_eq!(world.used(), 10);
    assert_eq!(deeds(&world), [Deed::Fork(0), Deed::Fork(1)].repeat(6));
}

#[test]
fn a_worker_that_is_to_say_that_it_is_ready_gets_nothing_new_before() {
    let rules = Rules { slots_have_sockets: true, ..announced(2, 10_000) };
    let mut world = World::new(rules, |task_id, fork| match (task_id, fork) {
        (1, 0) => ends(5000, SIGKILLED).ready(300),
        _ => serves().ready(300),
    });
    world.run_for(20_000);
    let at = |milliseconds, intake| (ms(milliseconds), intake);
    assert_eq!(intakes(&world, 0), [at(0, Away), at(300, Open)]);
    assert_eq!(intakes(&world, 1), [at(0, Away), at(300, Open), at(5000, Away), at(5300, Open)]);
}

#[test]
fn nothing_new_goes_to_a_worker_that_hangs() {
    let rules = Rules { heartbeat_timeout: Some(ms(1000)), ..own(2) };
    let script = |_, fork| if fork == 0 { serves().heartbeats(0, 100, 2000).ignores_sigabrt() } else { serves() };
    let mut world = World::new(rules, script);
    world.run_for(20_000);
    let aborted = world.times(Deed::Abort(0))[0];
    assert_eq!(intakes(&world, 0), [(aborted, Away), (aborted + ms(5000), Open)]);
}

#[test]
fn a_finished_worker_s_sockets_go_when_what_was_on_the_way_is_there() {
    let script = |task_id, fork| if (task_id, fork) == (1, 0) { ends(100, NORMAL) } else { serves() };
    let mut world = World::new(own(2), script);
    world.run_for(100);
    assert_eq!(intakes(&world, 1), [(ms(100), Closed)]);
    world.run_for(10_000);
    assert_eq!(world.times(Deed::CloseSockets(1)), [ms(100) + SETTLE]);
    world.ask(Ask::Fewer);
    world.ask(Ask::More);
    world.run_for(100);
    assert_eq!(deeds(&world)[4..], [Deed::OpenSockets(1), Deed::Fork(1), Deed::SetIntake(1, Open)]);
}

/// Where no slot is open, new connections go to the slots that will be open.
#[test]
fn the_sockets_of_a_worker_that_finishes_before_it_is_ready_go_too() {
    let rules = Rules { slots_have_sockets: true, ..announced(2, 10_000) };
    let mut world = World::new(rules, |task_id, _| match task_id {
        0 => serves().ready(1000),
        _ => ends(100, NORMAL).never_ready(),
    });
    world.run_for(10_000);
    assert_eq!(intakes(&world, 1), [(ms(0), Away), (ms(100), Closed)]);
    assert_eq!(world.times(Deed::CloseSockets(1)), [ms(100) + SETTLE]);
}

#[test]
fn a_slot_that_finished_and_is_wanted_again_soon_keeps_its_sockets() {
    let mut world = World::new(own(2), |task_id, fork| match (task_id, fork) {
        (1, 0) => ends(100, NORMAL),
        _ => serves(),
    });
    world.run_for(1000);
    world.ask(Ask::Fewer);
    world.run_for(100);
    world.ask(Ask::More);
    world.run_for(10_000);
    assert_eq!(deeds(&world)[2..], [Deed::SetIntake(1, Closed), Deed::Fork(1), Deed::SetIntake(1, Open)]);
}

#[test]
fn one_more_has_its_sockets_before_its_worker_and_gets_what_is_new_after() {
    let mut world = World::new(own(1), |_, _| serves());
    world.run_for(100);
    world.ask(Ask::More);
    world.run_for(10_000);
    assert_eq!(deeds(&world)[1..], [Deed::OpenSockets(1), Deed::Fork(1), Deed::SetIntake(1, Open)]);
}

#[test]
fn one_more_that_gets_no_sockets_leaves_the_pool_as_it_was() {
    let mut world = World::new(own(2), |_, _| serves());
    world.run_for(100);
    world.sockets_are_refused = true;
    world.ask(Ask::More);
    world.ask(Ask::More);
    world.run_for(10_000);
    assert_eq!((world.alive.len(), world.policy.size(), world.used()), (2, 2, 0));
    assert_eq!(world.count(|notice| matches!(notice, Notice::CannotOpen { task_id: 2, workers: 2, .. })), 1);
    world.sockets_are_refused = false;
    world.ask(Ask::More);
    world.run_for(100);
    assert_eq!(world.alive.len(), 3, "it may be asked for again");
}

#[test]
fn sockets_of_one_more_that_cannot_be_forked_go_at_once() {
    let mut world = World::new(own(1), |task_id, _| if task_id == 1 { Fork::Refused } else { serves() });
    world.run_for(100);
    world.ask(Ask::More);
    world.run_for(10_000);
    let expected = [Deed::OpenSockets(1), Deed::Fork(1), Deed::SetIntake(1, Closed), Deed::CloseSockets(1)];
    assert_eq!(deeds(&world)[1..], expected);
}

#[test]
fn one_fewer_serves_its_queue_before_it_is_told_to_end_and_its_sockets_go_last() {
    let mut world = World::new(own(3), |_, _| drains(200, NORMAL));
    world.queue_lasts = ms(4000);
    world.run_for(1000);
    world.ask(Ask::Fewer);
    world.run_for(20_000);
    let order = [Deed::SetIntake(2, Closed), Deed::Terminate(2), Deed::CloseSockets(2)];
    assert_eq!(deeds(&world)[3..], order);
    assert_eq!(world.times(order[0]), [ms(1000)]);
    assert_eq!(world.times(order[1]), [ms(5000)]);
    assert_eq!(world.times(order[2]), [ms(5200)]);
    assert_eq!(world.times(Deed::InspectQueue(2))[0], ms(1000) + SETTLE);
    assert_eq!((world.used(), world.policy.poll_timeout()), (0, None));
}

#[test]
fn a_queue_that_does_not_become_empty_is_given_up_when_a_stop_would_have_been() {
    let mut world = World::new(own(2), |_, _| ignores_sigterm());
    world.queue_lasts = FOREVER;
    world.run_for(1000);
    world.ask(Ask::Fewer);
    world.run_for(100_000);
    assert_eq!(world.times(Deed::Terminate(1)), [ms(26_000)]);
    assert_eq!(world.times(Deed::Kill(1)), [ms(51_000)]);
    assert_eq!(world.times(Deed::CloseSockets(1)), [ms(51_000)]);
    assert_eq!(world.count(|notice| matches!(notice, Notice::NotDrained { task_id: 1, .. })), 1);
}

#[test]
fn without_any_time_to_end_a_queue_has_none_either() {
    let mut world = World::new(Rules { graceful_timeout: Duration::ZERO, ..own(2) }, |_, _| serves());
    world.queue_lasts = FOREVER;
    world.run_for(1000);
    world.ask(Ask::Fewer);
    world.run_for(0);
    assert_eq!(world.times(Deed::CloseSockets(1)), [ms(1000)]);
}

#[test]
fn a_slot_that_drains_and_is_wanted_again_goes_on_with_the_same_worker() {
    let mut world = World::new(own(2), |_, _| serves());
    world.queue_lasts = ms(5000);
    world.run_for(1000);
    world.ask(Ask::Fewer);
    world.run_for(3000);
    assert_eq!(world.policy.size(), 1);
    world.ask(Ask::More);
    world.run_for(100_000);
    assert_eq!(deeds(&world)[2..], [Deed::SetIntake(1, Closed), Deed::SetIntake(1, Open)]);
    assert_eq!((world.policy.size(), world.policy.ready(), world.policy.poll_timeout()), (2, 2, None));
}

#[test]
fn a_slot_whose_worker_was_told_to_end_and_is_wanted_again_keeps_its_sockets() {
    let mut world = World::new(own(2), |_, _| drains(5000, NORMAL));
    world.run_for(1000);
    world.ask(Ask::Fewer);
    world.run_for(2000);
    world.ask(Ask::More);
    world.run_for(100_000);
    let expected = [
        Deed::SetIntake(1, Closed),
        Deed::Terminate(1),
        Deed::SetIntake(1, Away),
        Deed::Fork(1),
        Deed::SetIntake(1, Open),
    ];
    assert_eq!(deeds(&world)[2..], expected);
}

#[test]
fn several_fewer_drain_at_once_and_each_goes_when_it_is_done() {
    let mut world = World::new(own(4), |task_id, _| drains(if task_id == 3 { 10_000 } else { 100 }, NORMAL));
    world.run_for(1000);
    world.ask(Ask::Fewer);
    world.ask(Ask::Fewer);
    world.run_for(100_000);
    let closed = [2, 3].map(|task_id| world.times(Deed::CloseSockets(task_id))[0]);
    assert_eq!(closed, [ms(2600), ms(12_500)]);
}

#[test]
fn a_worker_that_dies_while_its_slot_drains_is_replaced_for_the_queue() {
    let mut world = World::new(own(2), |task_id, fork| match (task_id, fork) {
        (1, 0) => ends(2000, SIGKILLED),
        _ => serves(),
    });
    world.queue_lasts = ms(4000);
    world.run_for(1000);
    world.ask(Ask::Fewer);
    world.run_for(100_000);
    assert_eq!(world.times(Deed::Fork(1)), [0, 2000].map(ms));
    assert_eq!(world.times(Deed::Terminate(1)), [ms(5000)]);
    assert_eq!(world.used(), 1);
    assert_eq!(world.times(Deed::CloseSockets(1)), [ms(5000)]);
}

#[test]
fn a_worker_that_finishes_while_its_slot_drains_is_the_last() {
    let mut world = World::new(own(2), |task_id, _| if task_id == 1 { ends(2000, NORMAL) } else { serves() });
    world.queue_lasts = FOREVER;
    world.run_for(1000);
    world.ask(Ask::Fewer);
    world.run_for(100_000);
    assert_eq!(deeds(&world)[2..], [Deed::SetIntake(1, Closed), Deed::CloseSockets(1)]);
    assert_eq!(world.policy.headcount.finished(), 0, "it is not one of those wanted");
}

#[test]
fn a_slot_without_a_worker_gets_one_for_its_queue_and_none_for_an_empty_queue() {
    let script = |task_id, fork| match (task_id, fork) {
        (1, 0) => ends(10, FAILED),
        (1, 1) => ends(10, FAILED),
        _ => serves(),
    };
    let backoff = Backoff { first: ms(10_000), longest: ms(10_000) };
    let run = |queue_lasts| {
        let mut world = World::new(Rules { backoff, ..own(2) }, script);
        world.queue_lasts = queue_lasts;
        world.run_for(100);
        world.ask(Ask::Fewer);
        world.run_for(100_000);
        assert_eq!(world.times(Deed::CloseSockets(1)).len(), 1);
        world.times(Deed::Fork(1)).len()
    };
    assert_eq!(run(Duration::ZERO), 2);
    assert_eq!(run(ms(12_000)), 3);
}

#[test]
fn a_stop_while_a_slot_drains_ends_its_worker_like_the_others() {
    let mut world = World::new(own(2), |_, _| drains(100, NORMAL));
    world.queue_lasts = FOREVER;
    world.run_for(1000);
    world.ask(Ask::Fewer);
    world.run_for(100);
    world.ask(Ask::Stop);
    assert!(matches!(world.run(), Exit::Stopped { killed: 0, .. }));
    assert_eq!(deeds(&world)[3..], [Deed::Close, Deed::Terminate(0), Deed::Terminate(1), Deed::Exit]);
    assert_eq!(world.times(Deed::Exit), [ms(1200)]);
}

#[test]
fn a_queue_is_served_before_a_pool_whose_other_workers_have_finished_ends() {
    let mut world = World::new(own(2), |task_id, _| if task_id == 0 { ends(1500, NORMAL) } else { serves() });
    world.queue_lasts = ms(5000);
    world.run_for(1000);
    world.ask(Ask::Fewer);
    assert!(matches!(world.run(), Exit::Finished));
    assert_eq!(world.times(Deed::Terminate(1)), [ms(6000)]);
}

#[test]
fn a_reload_passes_a_slot_that_drains_and_takes_it_when_it_is_wanted_again() {
    let mut world = World::new(own(2), |_, _| serves());
    world.queue_lasts = ms(5000);
    world.run_for(1000);
    world.ask(Ask::Fewer);
    world.ask(Ask::Reload);
    world.run_for(1000);
    let reloaded =
        |replaced| move |notice: &Notice| matches!(notice, Notice::Reloaded { replaced: r, .. } if *r == replaced);
    assert_eq!(world.count(reloaded(1)), 1);
    world.ask(Ask::More);
    world.ask(Ask::Reload);
    world.run_for(1000);
    assert_eq!(world.count(reloaded(2)), 1);
}

#[test]
fn one_fewer_while_it_is_replaced_keeps_the_old_worker_for_the_queue() {
    let rules = Rules { slots_have_sockets: true, ..announced(2, 10_000) };
    let script = |task_id, fork| if (task_id, fork) == (1, 1) { serves().ready(5000) } else { serves() };
    let mut world = World::new(rules, script);
    world.queue_lasts = ms(8000);
    world.run_for(1000);
    world.ask(Ask::Reload);
    world.run_for(1000);
    world.ask(Ask::Fewer);
    world.run_for(100_000);
    assert_eq!(world.times(Deed::Fork(1)), [0, 1000].map(ms));
    assert_eq!(world.times(Deed::Terminate(1)), [2000, 10_000].map(ms), "the replacement at once, the old one last");
    assert_eq!(world.times(Deed::CloseSockets(1)), [ms(10_000)]);
}

#[test]
fn one_fewer_in_the_middle_of_an_exclusive_turn_starts_one_more_for_the_queue() {
    let mut world = World::new(exclusive(own(2)), |_, _| drains(500, NORMAL));
    world.queue_lasts = ms(8000);
    world.run_for(1000);
    world.ask(Ask::Reload);
    world.run_for(700);
    world.ask(Ask::Fewer);
    world.run_for(100_000);
    assert_eq!(world.times(Deed::Fork(1)), [0, 2000].map(ms));
    assert_eq!(world.times(Deed::Terminate(1)), [1500, 9700].map(ms));
    assert_eq!(world.times(Deed::CloseSockets(1)), [ms(10_200)]);
}

#[test]
fn during_an_exclusive_turn_what_is_new_goes_elsewhere_until_the_replacement_is_there() {
    let mut world = World::new(exclusive(own(2)), |_, _| drains(700, NORMAL));
    world.run_for(1000);
    world.ask(Ask::Reload);
    world.run_for(10_000);
    let at = |milliseconds, intake| (ms(milliseconds), intake);
    assert_eq!(intakes(&world, 0), [at(1000, Away), at(1700, Open)]);
    assert_eq!(intakes(&world, 1), [at(1700, Away), at(2400, Open)]);
}

#[test]
fn a_reload_passes_a_slot_that_waits_for_its_backoff_and_what_is_new_comes_back_with_its_worker() {
    let mut world = World::new(own(2), |task_id, fork| match (task_id, fork) {
        (1, 0..2) => ends(10, FAILED),
        _ => serves(),
    });
    world.run_for(50);
    world.ask(Ask::Reload);
    world.run_for(10_000);
    let (forks, intakes) = (world.times(Deed::Fork(1)), intakes(&world, 1));
    assert_eq!(forks.len(), 3);
    assert_eq!(intakes, [(ms(20), Away), (forks[2], Open)]);
}

#[test]
fn a_worker_that_was_to_be_recycled_is_so_when_its_slot_is_wanted_again() {
    let mut world = World::new(own(2), |task_id, fork| match (task_id, fork) {
        (1, 0) => serves().asks_at(1500),
        _ => serves(),
    });
    world.queue_lasts = ms(5000);
    world.run_for(1000);
    world.ask(Ask::Fewer);
    world.run_for(1000);
    assert_eq!(world.times(Deed::Fork(1)).len(), 1, "a worker that will end is not recycled");
    world.ask(Ask::More);
    world.run_for(10_000);
    assert_eq!(world.times(Deed::Fork(1)).len(), 2);
}

#[test]
fn a_worker_that_exits_normally_while_its_slot_drains_gives_up_its_queue() {
    let mut world = World::new(own(2), |task_id, _| if task_id == 1 { ends(700, NORMAL) } else { serves() });
    world.queue_lasts = FOREVER;
    world.run_for(500);
    world.ask(Ask::Fewer);
    world.run_for(10_000);
    assert_eq!(world.times(Deed::CloseSockets(1)), [ms(700)], "at once");
    assert_eq!(world.times(Deed::InspectQueue(1)), []);
    assert_eq!(world.count(|notice| matches!(notice, Notice::Stopped { .. })), 1);
    assert_eq!((world.policy.draining, world.policy.poll_timeout()), (0, None));
}
