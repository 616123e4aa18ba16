//! How long a slot waits before a worker is started again.

use super::*;
use std::collections::BTreeSet;

#[test]
fn the_first_replacement_is_immediate_and_the_next_ones_wait_longer_and_longer() {
    let mut world = World::new(rules(1), |_, _| ends(10, FAILED));
    world.run();
    let waits = world.waits(0, 10);
    assert_eq!(waits[0], Duration::ZERO);
    for (wait, least) in waits[1..].iter().zip([100, 200, 400, 800, 800, 800]) {
        assert!((ms(least)..=ms(least + least / 4)).contains(wait), "{least}: {waits:?}");
    }
    assert!(waits.iter().all(|&wait| wait <= ms(1000)), "{waits:?}");
    assert_eq!(waits.len(), 100);
}

#[test]
fn the_longest_wait_differs_from_time_to_time_too() {
    let mut world = World::new(rules(1), |_, _| ends(10, FAILED));
    world.run();
    let longest: BTreeSet<_> = world.waits(0, 10).split_off(5).into_iter().collect();
    assert!(longest.len() > 90, "{longest:?}");
}

#[test]
fn a_backoff_that_does_not_grow_is_the_same_each_time() {
    let backoff = Backoff { first: ms(250), longest: ms(250) };
    let mut world = World::new(Rules { max_restarts: Some(4), backoff, ..rules(1) }, |_, _| ends(10, FAILED));
    world.run();
    assert_eq!(world.waits(0, 10), [0, 250, 250, 250].map(ms));
}

#[test]
fn a_worker_that_lived_10_s_is_forgiven() {
    let lives = [10, 10, 10, 10_000, 10, 10];
    let mut world = World::new(Rules { max_restarts: Some(6), ..rules(1) }, move |_, fork| {
        lives.get(fork).map_or(serves(), |&life| ends(life, FAILED))
    });
    world.run_for(1_000_000);
    let forks = world.times(Deed::Fork(0));
    let waited: Vec<_> = (0..6).map(|n| (forks[n + 1] - forks[n] - ms(lives[n])).as_millis() / 100).collect();
    assert_eq!(waited, [0, 1, 2, 0, 1, 2], "in tenths of a second, less the jitter");
}

#[test]
fn a_worker_that_lived_a_little_less_is_not() {
    let mut world = World::new(Rules { max_restarts: Some(2), ..rules(1) }, |_, _| ends(9_999, FAILED));
    world.run();
    assert!(world.waits(0, 9_999)[1] >= ms(100));
}

#[test]
fn a_backoff_of_0_never_waits() {
    for longest in [ms(0), ms(1000)] {
        let backoff = Backoff { first: Duration::ZERO, longest };
        let mut world = World::new(Rules { backoff, ..rules(1) }, |_, _| ends(1, FAILED));
        world.run();
        assert_eq!(world.times(Deed::Exit), [ms(101)]);
    }
}

#[test]
fn the_backoff_of_one_slot_delays_no_other() {
    let mut world = World::new(rules(2), |task_id, fork| match (task_id, fork) {
        (0, 0..5) => ends(10, FAILED),
        (1, 0) => ends(1000, FAILED),
        _ => serves(),
    });
    world.run_for(1000);
    assert_eq!(world.times(Deed::Fork(0)).len(), 5, "the sixth waits");
    assert_eq!(world.times(Deed::Fork(1)), [0, 1000].map(ms));
    world.run_for(1000);
    assert_eq!(world.times(Deed::Fork(0)).len(), 6);
}

#[test]
fn slots_that_fail_together_return_apart() {
    let mut world = World::new(rules(8), |_, fork| if fork < 2 { ends(10, FAILED) } else { serves() });
    world.run_for(1000);
    let returns: BTreeSet<_> = (0..8).map(|task_id| world.waits(task_id, 10)[1]).collect();
    assert_eq!(returns.len(), 8);
}

#[test]
fn jitter_depends_on_the_seed_and_on_nothing_else() {
    let waits = |jitter_seed| {
        let mut world = World::new(Rules { jitter_seed, ..rules(1) }, |_, _| ends(10, FAILED));
        world.run();
        world.waits(0, 10)
    };
    assert_eq!(waits(1), waits(1));
    assert_ne!(waits(1), waits(2));
}

/// A worker that is ready 200 ms after its start and fails at this age, again and again.
fn fails_at(milliseconds: u64) -> impl FnMut(usize, usize) -> Fork {
    move |_, _| ends(milliseconds, FAILED).ready(200)
}

#[test]
fn a_worker_that_was_ready_for_1_s_is_replaced_at_once() {
    for restart in [Restart::OnFailure, Restart::Always] {
        let mut world = World::new(Rules { restart, ..announced(1, 5000) }, fails_at(1200));
        world.run();
        assert!(world.waits(0, 1200).iter().all(Duration::is_zero), "{:?}", world.waits(0, 1200));
        assert_eq!(world.times(Deed::Fork(0)).len(), 101, "it counts nevertheless");
    }
}

#[test]
fn a_worker_that_was_ready_for_less_waits_for_its_backoff() {
    let mut world = World::new(announced(1, 5000), fails_at(1199));
    world.run();
    let waits = world.waits(0, 1199);
    assert!(waits[1..].iter().all(|&wait| wait >= ms(100)) && waits[5] >= ms(800), "{waits:?}");
}

#[test]
fn readiness_that_is_not_announced_proves_nothing() {
    for readiness in [Readiness::AtFork, Readiness::AtBody] {
        let mut world = World::new(Rules { readiness, ..rules(1) }, fails_at(5000));
        world.run();
        assert!(world.waits(0, 5000)[1..].iter().all(|&wait| wait >= ms(100)), "{readiness:?}");
    }
}

/// How long each start of the one worker waited, in tenths of a second, less the jitter. Each process lives for the
/// milliseconds in `lives`, and is ready after 0, or after 200 where it lives longer than that. The last one serves.
fn tenths_waited(lives: &'static [u64], is_ready: impl Fn(usize) -> bool + 'static) -> Vec<u128> {
    let mut world = World::new(announced(1, 5000), move |_, fork| match lives.get(fork) {
        Some(&life) if !is_ready(fork) => ends(life, FAILED).never_ready(),
        Some(&life) => ends(life, FAILED).ready(if life > 200 { 200 } else { 0 }),
        None => serves(),
    });
    world.run_for(100_000);
    let forks = world.times(Deed::Fork(0));
    assert_eq!(forks.len(), lives.len() + 1);
    (0..lives.len()).map(|nth| (forks[nth + 1] - forks[nth] - ms(lives[nth])).as_millis() / 100).collect()
}

#[test]
fn after_a_worker_that_proved_itself_workers_that_were_ready_wait_for_the_first_delay_only() {
    let lives = &[10, 10, 10, 1200, 10, 10, 10, 1200, 10];
    assert_eq!(tenths_waited(lives, |_| true), [0, 1, 2, 0, 1, 1, 1, 0, 1]);
}

#[test]
fn after_a_worker_that_proved_itself_workers_that_were_not_ready_wait_longer_and_longer() {
    assert_eq!(tenths_waited(&[1200, 10, 10, 10], |fork| fork == 0), [0, 1, 2, 4]);
    assert_eq!(tenths_waited(&[1200, 10, 10, 10, 10], |fork| fork % 2 == 0), [0, 1, 1, 2, 1]);
}

#[test]
fn what_a_worker_proved_is_forgotten_after_10_s() {
    let lives = &[1200, 900, 900, 900, 900, 900, 900, 900, 900, 900, 900, 900];
    let waited = tenths_waited(lives, |_| true);
    assert_eq!(waited, [0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 4], "the eleventh ends more than 10 s after the first");
}

#[test]
fn a_worker_that_proved_itself_speaks_for_the_other_slots_too() {
    let script = |task_id, fork| match (task_id, fork) {
        (0, 0..5) => ends(1500, FAILED),
        (1, 0..20) => ends(300, FAILED),
        _ => serves(),
    };
    let mut world = World::new(announced(2, 5000), script);
    world.run_for(6000);
    let waits = world.waits(1, 300);
    let (first, later) = waits.split_at(3);
    assert!(first[2] >= ms(200), "nothing has proved itself by then: {waits:?}");
    assert!(later.len() > 5 && later.iter().all(|&wait| wait <= ms(125)), "{waits:?}");
}

#[test]
fn a_worker_that_is_well_does_not_speak_for_a_slot_that_fails() {
    let script = |task_id, _| if task_id == 0 { serves() } else { ends(10, FAILED) };
    let mut world = World::new(announced(2, 5000), script);
    world.run_for(20_000);
    assert!(world.waits(1, 10)[5..].iter().all(|&wait| wait >= ms(800)));
}
