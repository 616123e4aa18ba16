//! How many restarts there are, in which time, and what is said when few or none are left.

use super::*;

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
