//! Forks that fail, are refused again and again, or would be unsafe.

use super::*;

#[test]
fn a_first_fork_that_fails_stops_what_was_started() {
    let mut world = World::new(rules(4), |task_id, _| if task_id == 2 { Fork::Refused } else { drains(500, NORMAL) });
    assert!(matches!(world.run(), Exit::CannotFork(_)));
    assert_eq!(world.deeds()[2..], [Deed::Fork(2), Deed::Close, Deed::Terminate(0), Deed::Terminate(1), Deed::Exit]);
    assert_eq!(world.times(Deed::Exit), [ms(500)]);
}

/// The notices of refused forks: how much of the budget is used (`Ok`), or how many were refused until forks succeed
/// again (`Err`).
fn said_of_refusals(world: &World) -> Vec<Result<Option<usize>, usize>> {
    let said = world.notices.iter().filter_map(|notice| match notice {
        Notice::ForkRefused { spent, .. } => Some(Ok(spent.map(|spent| spent.used))),
        Notice::ForksSucceed { refused, .. } => Some(Err(*refused)),
        _ => None,
    });
    said.collect()
}

#[test]
fn a_later_fork_that_is_refused_is_tried_again_more_and_more_seldom_and_its_slot_is_kept() {
    let script = |_, fork| match fork {
        0 => ends(10, FAILED),
        1..9 => Fork::Refused,
        _ => serves(),
    };
    for (first, longest) in [(0, 0), (100, 1000), (1, 20), (500, 500)] {
        let backoff = Backoff { first: ms(first), longest: ms(longest) };
        let mut world = World::new(Rules { backoff, ..rules(1) }, script);
        world.run_for(1_000_000);
        let waits = world.waits(0, 0).split_off(1);
        let first = backoff.first.max(ms(100));
        assert!(waits[0] >= first && waits[0] <= first / 4 * 5, "{waits:?}");
        assert!(waits.iter().zip(&waits[1..]).all(|(one, next)| next >= &(*one * 8 / 5).min(ms(800))), "{waits:?}");
        assert!(waits.iter().all(|wait| *wait <= ms(1000)), "{waits:?}");
        assert_eq!(world.alive.len(), 1);
    }
}

#[test]
fn refused_forks_do_not_count_as_long_as_a_worker_lives_and_are_tried_without_limit() {
    let script = |task_id, fork| match (task_id, fork) {
        (1, 0) => ends(10, FAILED),
        (2, 0) => ends(500, FAILED),
        (1 | 2, 1..2000) => Fork::Refused,
        _ => serves(),
    };
    let mut world = World::new(Rules { max_restarts: Some(2), ..rules(3) }, script);
    world.run_for(1_000_000);
    assert_eq!((world.used(), world.alive.len()), (2, 1), "what ended has counted, and no more");
    world.run_for(3_000_000);
    assert_eq!((world.used(), world.alive.len()), (2, 3));
    assert_eq!(said_of_refusals(&world), [Ok(None), Err(3998)], "a line at the first, and one when it is over");
}

#[test]
fn refused_forks_count_from_when_no_worker_lives() {
    let script = |task_id, fork| match (task_id, fork) {
        (0, 0) => ends(10, FAILED),
        (1, 0) => ends(5000, FAILED),
        (0, 1..20) | (1, 1..4) => Fork::Refused,
        _ => serves(),
    };
    let mut world = World::new(rules(2), script);
    world.run_for(4990);
    assert_eq!(world.used(), 1);
    world.run_for(100_000);
    let said = said_of_refusals(&world);
    assert_eq!(said, [Ok(None), Ok(Some(3)), Err(22)], "two ends, and the first that counts");
    assert!(world.used() > 3 && world.used() < 10, "{}", world.used());
}

#[test]
fn a_slot_that_is_not_wanted_any_more_waits_for_no_fork() {
    let script = |task_id, fork| match (task_id, fork) {
        (1, 0) => ends(10, FAILED),
        (1, 1..1000) => Fork::Refused,
        _ => serves(),
    };
    let mut world = World::new(rules(2), script);
    world.run_for(10_000);
    let refused = world.times(Deed::Fork(1)).len() - 1;
    world.ask(Ask::Fewer);
    world.run_for(10_000);
    assert_eq!(said_of_refusals(&world), [Ok(None), Err(refused)]);
    assert_eq!(world.policy.poll_timeout(), None);
}

#[test]
fn the_next_binary_knows_that_forks_are_refused() {
    let script = |task_id, fork| match (task_id, fork) {
        (0, 1) => Fork::Runs(OBEYS).ready(100),
        (1, 0) => ends(10, FAILED),
        (1, 1..3) => Fork::Refused,
        _ => serves(),
    };
    let backoff = Backoff { first: ms(5000), longest: ms(5000) };
    let mut world = World::new(Rules { backoff, ..announced(2, 5000) }, script);
    world.run_for(550);
    world.ask(Ask::Upgrade);
    world.run_for(20_000);
    assert_eq!(world.times(Deed::Upgrade).len(), 1);
    assert_eq!(world.used(), 1);
    assert_eq!(said_of_refusals(&world), [Ok(None), Err(2)]);
}

#[test]
fn a_fork_that_fails_is_published() {
    let mut world = World::new(rules(1), |_, fork| match fork {
        0 => ends(10, FAILED),
        1 => Fork::Refused,
        _ => serves(),
    });
    while world.deeds.len() < 2 {
        world.step(FOREVER);
    }
    assert_eq!(world.used(), 2);
    assert!(world.policy.take_changed().is_some());
}

#[test]
fn a_life_begins_when_the_fork_is_done() {
    let mut policy = Policy::new(rules(1), &Uncopied::default());
    let Some(Action::Fork { proc, .. }) = policy.poll() else { panic!("no fork") };
    policy.handle(Time(ms(300)), Event::Forked(proc));
    policy.handle(Time(ms(500)), Event::Ended(proc, NORMAL));
    let up = std::iter::from_fn(|| policy.poll()).find_map(|action| match action {
        Action::Tell(Notice::Finished { up, .. }) => Some(up),
        _ => None,
    });
    assert_eq!(up, Some(ms(200)));
}

#[test]
fn forks_that_are_refused_too_often_while_no_worker_lives_give_up() {
    let mut world = World::new(Rules { max_restarts: Some(3), ..rules(1) }, |_, fork| match fork {
        0 => ends(10, FAILED),
        _ => Fork::Refused,
    });
    assert!(matches!(world.run(), Exit::GaveUp { task_id: 0, reason: GiveUp::Budget(_) }));
    assert_eq!(world.times(Deed::Fork(0)).len(), 4);
    assert_eq!(said_of_refusals(&world), [Ok(Some(2))]);
    assert_eq!(world.count(|notice| matches!(notice, Notice::ForksRefusedTooOften { .. })), 1);
}

#[test]
fn a_fork_that_would_be_unsafe_stops_the_pool() {
    let mut world = World::new(rules(3), |task_id, fork| match (task_id, fork) {
        (1, 0) => ends(10, FAILED),
        (1, _) => Fork::Unsafe,
        _ => serves(),
    });
    assert!(matches!(world.run(), Exit::Unsafe(why) if why == "a thread"));
    assert_eq!(world.deeds()[4..], [Deed::Close, Deed::Terminate(0), Deed::Terminate(2), Deed::Exit]);
}
