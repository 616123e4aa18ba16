//! Whether a service manager's watchdog may be told that all is well.

use super::*;

const ENDLESS: u64 = u64::MAX / 1_000_000;

/// The seconds, up to this many, after which there are no prospects.
fn hopeless(world: &mut World, seconds: u64) -> Vec<u64> {
    let mut hopeless = Vec::new();
    for second in 1..=seconds {
        world.run_for(1000);
        if !world.policy.has_prospects() {
            hopeless.push(second);
        }
    }
    hopeless
}

/// The first worker with task id 0 is silent after its first second, and takes 5 s to be killed.
fn hangs(workers: usize) -> World {
    let watched = Rules { heartbeat_timeout: Some(ms(1000)), ..rules(workers) };
    World::new(watched, |task_id, fork| match (task_id, fork) {
        (0, 0) => serves().heartbeats(0, 100, 2000).ignores_sigabrt(),
        _ => serves().heartbeats(0, 100, ENDLESS),
    })
}

#[test]
fn when_all_workers_hang_there_are_none_until_one_is_started_again() {
    assert_eq!(hopeless(&mut hangs(1), 20), [4, 5, 6, 7, 8]);
}

#[test]
fn one_worker_that_hangs_takes_none_away() {
    assert_eq!(hopeless(&mut hangs(2), 20), [0; 0]);
}

#[test]
fn a_worker_that_starts_or_waits_for_its_backoff_is_a_prospect() {
    let mut world = World::new(Rules { max_restarts: None, ..rules(1) }, |_, _| ends(10, SEGFAULT));
    assert_eq!(hopeless(&mut world, 20), [0; 0]);
    let mut world = World::new(announced(1, 60_000), |_, _| serves().never_ready());
    assert_eq!(hopeless(&mut world, 20), [0; 0]);
}

#[test]
fn a_worker_that_gives_way_to_its_replacement_is_a_prospect() {
    let mut world = World::new(exclusive(rules(1)), |_, _| drains(20_000, NORMAL));
    world.run_for(1000);
    world.ask(Ask::Reload);
    assert_eq!(hopeless(&mut world, 15), [0; 0]);
}

#[test]
fn a_stop_needs_no_prospects() {
    let mut world = World::new(rules(2), |_, _| drains(20_000, NORMAL));
    world.run_for(1000);
    world.ask(Ask::Stop);
    assert_eq!(hopeless(&mut world, 15), [0; 0]);
}
