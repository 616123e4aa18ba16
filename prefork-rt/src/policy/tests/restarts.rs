//! Which workers are started again, how soon, and how often.

use super::*;
use std::collections::BTreeSet;

// Starting and finishing

#[test]
fn task_ids_are_0_to_n_in_order() {
    let mut world = World::new(rules(4), |_, _| serves());
    world.run_for(0);
    assert_eq!(world.deeds(), [Deed::Fork(0), Deed::Fork(1), Deed::Fork(2), Deed::Fork(3)]);
}

#[test]
fn an_idle_pool_waits_for_no_deadline() {
    let mut world = World::new(rules(4), |_, _| serves());
    world.run_for(1000);
    assert_eq!(world.policy.poll_timeout(), None);
}

#[test]
fn a_normal_exit_is_final() {
    let mut world = World::new(rules(2), |task_id, _| if task_id == 0 { ends(50, NORMAL) } else { serves() });
    world.run_for(1_000_000);
    assert_eq!(world.deeds(), [Deed::Fork(0), Deed::Fork(1)]);
    assert!(matches!(world.notices.last(), Some(Notice::Finished { worker: ProcId { task_id: 0, .. }, left: 1, .. })));
}

#[test]
fn a_replacement_that_exits_normally_is_final_too() {
    let mut world = World::new(rules(1), |_, fork| ends(50, if fork == 0 { FAILED } else { NORMAL }));
    assert!(matches!(world.run(), Exit::Finished));
    assert_eq!(world.deeds(), [Deed::Fork(0), Deed::Fork(0), Deed::Exit]);
}

#[test]
fn it_exits_finished_when_the_last_has_finished() {
    let mut world = World::new(rules(3), |task_id, _| ends(10 + task_id as u64, NORMAL));
    assert!(matches!(world.run(), Exit::Finished));
    assert_eq!(world.times(Deed::Exit), [ms(12)]);
    assert!(!world.deeds().contains(&Deed::Close), "there is nothing to stop");
}

// Restarts and their count

#[test]
fn an_abnormal_exit_is_replaced_under_the_same_task_id() {
    for status in [FAILED, Status::Exited(255), SEGFAULT, SIGKILLED, REAL_TIME_SIGNAL] {
        let mut world = World::new(rules(3), move |task_id, fork| match (task_id, fork) {
            (1, 0) => ends(50, status),
            _ => serves(),
        });
        world.run_for(1000);
        assert_eq!(world.deeds()[3..], [Deed::Fork(1)], "{status:?}");
        assert!(matches!(
            world.notices.last(),
            Some(Notice::Started { worker: ProcId { task_id: 1, .. }, restarts: 1, .. })
        ));
    }
}

#[test]
fn restarts_are_counted_over_all_workers() {
    let script = |_, fork| if fork == 0 { ends(10, FAILED) } else { serves() };
    let mut world = World::new(Rules { max_restarts: Some(3), ..rules(4) }, script);
    assert!(matches!(world.run(), Exit::GaveUp { task_id: 3, reason: GiveUp::Budget(_) }));
    let mut world = World::new(Rules { max_restarts: Some(4), ..rules(4) }, script);
    world.run_for(1_000_000);
    assert!(world.exit.is_none());
}

#[test]
fn restarts_are_counted_for_the_lifetime() {
    let week = 7 * 24 * 3_600_000;
    let mut world = World::new(Rules { max_restarts: Some(3), ..rules(1) }, move |_, _| ends(week, FAILED));
    assert!(matches!(world.run(), Exit::GaveUp { .. }));
    assert_eq!(world.times(Deed::Exit), [ms(4 * week)]);
}

#[test]
fn one_abnormal_exit_more_than_max_restarts_gives_up_and_stops_the_others_gracefully() {
    let mut world = World::new(without_backoff(3), |task_id, _| match task_id {
        0 => drains(700, NORMAL),
        1 => ends(10, FAILED),
        _ => ignores_sigterm(),
    });
    assert!(matches!(world.run(), Exit::GaveUp { task_id: 1, reason: GiveUp::Budget(_) }));
    assert_eq!(world.times(Deed::Fork(1)).len(), 101);
    assert_eq!(
        world.deeds()[103..],
        [Deed::Close, Deed::Terminate(0), Deed::Terminate(2), Deed::Kill(2), Deed::Exit],
        "the one that ends in time is not killed"
    );
}

#[test]
fn max_restarts_0_gives_up_at_the_first_abnormal_exit() {
    let mut world = World::new(Rules { max_restarts: Some(0), ..rules(1) }, |_, _| ends(10, SEGFAULT));
    assert!(matches!(world.run(), Exit::GaveUp { task_id: 0, reason: GiveUp::Budget(_) }));
    assert_eq!(world.deeds(), [Deed::Fork(0), Deed::Close, Deed::Exit]);
}

#[test]
fn unlimited_restarts_never_give_up() {
    let mut world = World::new(Rules { max_restarts: None, ..without_backoff(1) }, |_, _| ends(1, FAILED));
    world.run_for(20_000);
    assert_eq!(world.deeds.len(), 20_001);
    assert!(world.exit.is_none());
}

#[test]
fn a_restart_says_how_many_are_used_and_how_many_there_are() {
    let mut world = World::new(Rules { max_restarts: Some(2), ..rules(1) }, |_, _| ends(10, FAILED));
    world.run();
    let of_2 = |used| Spent { used, max_restarts: Some(2), window: None };
    let spent = world.notices.iter().filter_map(|notice| match notice {
        Notice::Restarting { spent, .. } => Some(*spent),
        _ => None,
    });
    assert!(spent.eq([of_2(1), of_2(2)]));
}

// Backoff

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

/// How long each start of the one worker waited, in tenths of a second, less the jitter: those that live as long as `lives`
/// says, in milliseconds, and are ready after 0, or 200 where they live for longer than that; the last of them serves.
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
fn after_a_worker_that_proved_itself_those_that_were_ready_wait_for_the_first_delay_only() {
    let lives = &[10, 10, 10, 1200, 10, 10, 10, 1200, 10];
    assert_eq!(tenths_waited(lives, |_| true), [0, 1, 2, 0, 1, 1, 1, 0, 1]);
}

#[test]
fn after_a_worker_that_proved_itself_those_that_were_not_ready_wait_longer_and_longer() {
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

// Forks that fail

#[test]
fn a_first_fork_that_fails_stops_what_was_started() {
    let mut world = World::new(rules(4), |task_id, _| if task_id == 2 { Fork::Refused } else { drains(500, NORMAL) });
    assert!(matches!(world.run(), Exit::CannotFork(_)));
    assert_eq!(world.deeds()[2..], [Deed::Fork(2), Deed::Close, Deed::Terminate(0), Deed::Terminate(1), Deed::Exit]);
    assert_eq!(world.times(Deed::Exit), [ms(500)]);
}

/// What is said of refused forks: how much of the budget was used, or that they succeed again, and how many were refused.
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
fn a_fork_that_fails_is_news_for_who_looks_at_the_pool() {
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
    let mut policy = Policy::new(rules(1));
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

// The window and the budget

#[test]
fn only_restarts_younger_than_restart_window_count() {
    let windowed = || Rules { max_restarts: Some(2), restart_window: Some(ms(1000)), ..without_backoff(1) };
    for (life, gives_up_at) in [(400, Some(1200)), (499, Some(1497)), (500, None), (10_000, None)] {
        let mut world = World::new(windowed(), move |_, _| ends(life, FAILED));
        world.run_for(100_000);
        let at = world.exit.is_some().then(|| world.times(Deed::Exit)[0]);
        assert_eq!(at, gives_up_at.map(ms), "what is exactly as old as the window does not count ({life})");
    }
}

#[test]
fn a_window_forgets_what_is_used_while_nothing_happens() {
    let windowed = Rules { restart_window: Some(ms(1000)), ..rules(1) };
    let mut world = World::new(windowed, |_, fork| if fork == 0 { ends(10, FAILED) } else { serves() });
    world.run_for(1009);
    assert_eq!(world.used(), 1);
    world.run_for(1);
    world.policy.handle(Time(world.now), Event::Tick);
    assert_eq!(world.used(), 0);
}

#[test]
fn unlimited_restarts_are_counted_all_the_same() {
    let mut world = World::new(Rules { max_restarts: None, ..without_backoff(1) }, |_, _| ends(10, FAILED));
    world.run_for(205);
    assert_eq!(world.used(), 20);
    assert_eq!(world.count(|notice| matches!(notice, Notice::BudgetLow { .. })), 0);
}

#[test]
fn giving_up_says_how_much_each_slot_contributed() {
    let script = |task_id, fork| match (task_id, fork) {
        (0, 0) => ends(5000, SEGFAULT),
        (1, _) => ends(7000, FAILED),
        (3, 0) => ends(6000, NORMAL),
        _ => serves(),
    };
    let mut world = World::new(Rules { max_restarts: Some(2), ..rules(4) }, script);
    assert!(matches!(world.run(), Exit::GaveUp { task_id: 1, reason: GiveUp::Budget(Spent { used: 3, .. }) }));
    let shares = world.notices.iter().filter_map(|notice| match notice {
        Notice::Contributed(Share { task_id, failures, last }) => Some((*task_id, failures.clone(), *last)),
        _ => None,
    });
    let shares: Vec<_> = shares.collect();
    let (first, second) = (Failure::Ended(SEGFAULT), Failure::Ended(FAILED));
    assert_eq!(shares, [(0, vec![first], ms(9000)), (1, vec![second, second], ms(0))]);
}

#[test]
fn a_warning_comes_with_the_restart_that_uses_80_percent() {
    for (max, warned_at) in [(1, 1), (2, 2), (3, 3), (4, 4), (5, 4), (6, 5), (10, 8), (100, 80)] {
        let mut world = World::new(Rules { max_restarts: Some(max), ..without_backoff(1) }, |_, _| ends(10, FAILED));
        world.run();
        let warnings = world.notices.iter().filter_map(|notice| match notice {
            Notice::BudgetLow { spent } => Some(spent.used),
            _ => None,
        });
        assert_eq!(warnings.collect::<Vec<_>>(), [warned_at], "of {max}");
    }
}

#[test]
fn a_warning_comes_again_when_a_window_has_forgotten_enough() {
    let windowed = Rules { max_restarts: Some(5), restart_window: Some(ms(10_000)), ..without_backoff(1) };
    let mut world = World::new(windowed, |_, fork| match fork {
        4 => ends(60_000, FAILED),
        0..8 => ends(10, FAILED),
        _ => serves(),
    });
    world.run_for(100_000);
    assert_eq!(world.count(|notice| matches!(notice, Notice::BudgetLow { .. })), 2);
}

// What is final, and what does not count

#[test]
fn status_125_gives_up_at_once() {
    let unlimited = Rules { max_restarts: None, restart: Restart::Always, ..rules(2) };
    let mut world = World::new(unlimited, |task_id, _| if task_id == 1 { ends(10, FINAL) } else { serves() });
    assert!(matches!(world.run(), Exit::GaveUp { task_id: 1, reason: GiveUp::Final }));
    assert_eq!(world.deeds()[2..], [Deed::Close, Deed::Terminate(0), Deed::Exit]);
    let mut world = World::new(rules(1), |_, fork| ends(10, if fork == 0 { FAILED } else { FINAL }));
    assert!(matches!(world.run(), Exit::GaveUp { reason: GiveUp::Final, .. }), "whatever failed before");
    assert_eq!(world.count(|notice| matches!(notice, Notice::Contributed(_))), 0);
}

#[test]
fn status_125_of_a_worker_that_was_told_to_end_is_no_news() {
    let mut world = World::new(rules(2), |_, _| drains(10, FINAL));
    world.run_for(100);
    world.ask(Ask::Reload);
    world.ask(Ask::Fewer);
    world.run_for(1000);
    assert!(world.exit.is_none());
}

#[test]
fn restart_always_starts_again_who_exits_normally_and_counts_nothing() {
    let always = Rules { restart: Restart::Always, max_restarts: Some(0), ..rules(1) };
    let mut world = World::new(always, |_, fork| if fork < 4 { ends(20_000, NORMAL) } else { serves() });
    world.run_for(100_000);
    assert_eq!(world.times(Deed::Fork(0)), [0, 20_000, 40_000, 60_000, 80_000].map(ms));
    assert_eq!(world.used(), 0);
    let again = |notice: &Notice| matches!(notice, Notice::StartingAgain { why: Neutral::Always, .. });
    assert_eq!(world.count(again), 4);
}

#[test]
fn restart_always_backs_off_from_quick_ends() {
    let always = Rules { restart: Restart::Always, ..rules(1) };
    let mut world = World::new(always, |_, _| ends(10, NORMAL));
    world.run_for(10_000);
    let waits = world.waits(0, 10);
    assert!(waits[0].is_zero() && waits[1] >= ms(100) && waits[2] >= ms(200) && waits[3] >= ms(400), "{waits:?}");
}

#[test]
fn a_status_0_soon_after_an_operators_sigterm_is_a_replacement() {
    let drains_for =
        |drain| move |_, fork| if fork == 0 { drains(drain, NORMAL).told_by_operator(500) } else { serves() };
    let mut world = World::new(Rules { max_restarts: Some(0), ..rules(1) }, drains_for(25_000));
    world.run_for(100_000);
    assert_eq!(world.times(Deed::Fork(0)), [0, 25_500].map(ms));
    assert_eq!(world.used(), 0);
    let again = |notice: &Notice| matches!(notice, Notice::StartingAgain { why: Neutral::Terminated, .. });
    assert_eq!(world.count(again), 1);
    let mut world = World::new(rules(1), drains_for(25_001));
    assert!(matches!(world.run(), Exit::Finished), "it ended for another reason");
}

#[test]
fn another_status_after_an_operators_sigterm_counts() {
    let mut world =
        World::new(Rules { max_restarts: Some(0), ..rules(1) }, |_, _| drains(10, FAILED).told_by_operator(500));
    assert!(matches!(world.run(), Exit::GaveUp { reason: GiveUp::Budget(_), .. }));
}

// Boot failures

#[test]
fn a_slot_that_ends_twice_before_it_is_ready_cannot_boot() {
    for restart in [Restart::OnFailure, Restart::Always] {
        for status in [FAILED, SEGFAULT, NORMAL] {
            if status == NORMAL && restart == Restart::OnFailure {
                continue;
            }
            let unlimited = Rules { restart, max_restarts: None, ..announced(2, 1000) };
            let script = move |task_id, _| if task_id == 1 { ends(10, status).never_ready() } else { serves() };
            let mut world = World::new(unlimited, script);
            assert!(matches!(world.run(), Exit::GaveUp { task_id: 1, reason: GiveUp::Boot }));
            assert_eq!(world.times(Deed::Fork(1)), [0, 10].map(ms));
        }
    }
}

#[test]
fn a_slot_that_is_twice_not_ready_in_time_cannot_boot() {
    let mut world = World::new(announced(1, 1000), |_, _| serves().never_ready());
    assert!(matches!(world.run(), Exit::GaveUp { task_id: 0, reason: GiveUp::Boot }));
    assert_eq!(world.times(Deed::Kill(0)), [1000, 2000].map(ms));
    assert_eq!(world.count(|notice| matches!(notice, Notice::Contributed(_))), 1);
}

#[test]
fn two_slots_that_fail_to_boot_once_each_are_no_boot_failure() {
    let mut world = World::new(announced(2, 1000), |_, fork| match fork {
        0 => ends(10, FAILED).never_ready(),
        _ => serves(),
    });
    world.run_for(1000);
    assert!(world.exit.is_none());
    assert_eq!(world.used(), 2);
}

#[test]
fn a_pool_that_was_ready_does_not_give_up_booting() {
    let mut world = World::new(announced(2, 1000), |task_id, fork| match (task_id, fork) {
        (1, 0) => ends(2000, FAILED),
        (1, 1..9) => ends(10, FAILED).never_ready(),
        _ => serves(),
    });
    world.run_for(100_000);
    assert!(world.exit.is_none());
    assert_eq!(world.used(), 9);
}

#[test]
fn a_pool_that_was_ready_does_not_look_as_if_it_could_not_boot() {
    let mut world = World::new(announced(1, 1000), |_, fork| match fork {
        0 => ends(100, FAILED),
        1..3 => ends(10, FAILED).never_ready(),
        _ => serves(),
    });
    world.run_for(10_000);
    assert_eq!(world.count(|notice| matches!(notice, Notice::BootLooksBroken { .. })), 0);
}

#[test]
fn a_worker_that_was_ready_in_between_breaks_the_row() {
    let others = [ends(20, FAILED), drains(10, NORMAL).told_by_operator(10), ends(20, NORMAL).asks_at(10)];
    for between in others.map(|fork| fork.ready(5)) {
        let mut world = World::new(announced(2, 1000), move |task_id, fork| match (task_id, fork) {
            (0, 0 | 2) => ends(10, FAILED).never_ready(),
            (0, 1) => between,
            (0, _) => serves(),
            _ => serves().ready(900),
        });
        world.run_for(10_000);
        assert!(world.exit.is_none());
        assert_eq!(world.times(Deed::Fork(0)).len(), 4);
    }
}

#[test]
fn a_worker_that_an_operator_ends_before_it_is_ready_has_not_failed_to_boot() {
    let mut world = World::new(announced(1, 1000), |_, fork| match fork {
        0..4 => drains(10, NORMAL).never_ready().told_by_operator(10),
        _ => serves(),
    });
    world.run_for(10_000);
    assert_eq!((world.alive.len(), world.used()), (1, 0));
}

#[test]
fn without_ready_timeout_a_boot_failure_is_said_once_and_follows_the_budget() {
    let broken = |notice: &Notice| matches!(notice, Notice::BootLooksBroken { .. });
    for readiness in [Readiness::AtFork, Readiness::AtBody] {
        let mut world = World::new(Rules { readiness, max_restarts: Some(10), ..rules(2) }, |_, _| ends(999, FAILED));
        assert!(matches!(world.run(), Exit::GaveUp { reason: GiveUp::Budget(_), .. }));
        assert_eq!(world.count(broken), 1);
    }
    let mut world = World::new(rules(1), |_, _| ends(1000, FAILED));
    world.run();
    assert_eq!(world.count(broken), 0);
}

#[test]
fn where_any_worker_has_lived_for_1_s_no_boot_failure_is_said() {
    let survivors = [
        (serves(), 10),
        (ends(1000, NORMAL), 20),
        (drains(0, NORMAL).told_by_operator(1000), 20),
        (ends(1000, NORMAL).asks_at(1000), 20),
        (ends(1000, FAILED), 20),
    ];
    for (survivor, second) in survivors {
        let mut world = World::new(rules(2), move |task_id, fork| match (task_id, fork) {
            (0, 0) => ends(990, FAILED),
            (0, 1) => ends(second, FAILED),
            (1, 0) => survivor,
            _ => serves(),
        });
        world.run_for(1700);
        assert_eq!(world.count(|notice| matches!(notice, Notice::BootLooksBroken { .. })), 0);
    }
}

#[test]
fn what_lived_for_1_s_and_was_not_missed_has_booted_too() {
    let mut world = World::new(rules(1), |_, fork| match fork {
        0 => ends(20, FAILED),
        1 => drains(0, NORMAL).told_by_operator(60_000),
        2 => ends(20, FAILED),
        _ => serves(),
    });
    world.run_for(60_300);
    assert_eq!(world.times(Deed::Fork(0)).len(), 4);
    assert_eq!(world.count(|notice| matches!(notice, Notice::BootLooksBroken { .. })), 0);
}
