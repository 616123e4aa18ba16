//! Workers that are replaced for their own sake.

use super::super::deadlines::Alarm;
use super::*;

fn recycled(world: &World) -> Vec<(usize, Recycle)> {
    let recycled = world.notices.iter().filter_map(|notice| match notice {
        Notice::Recycling { worker, why, .. } => Some((worker.task_id, *why)),
        _ => None,
    });
    recycled.collect()
}

#[test]
fn max_lifetime_is_kept_within_10_percent_and_workers_do_not_end_together() {
    let limited = Rules { max_lifetime: Some(ms(100_000)), most_workers: 50, ..rules(50) };
    let mut world = World::new(limited, |_, _| serves());
    world.run_for(89_999);
    assert_eq!(world.deeds().len(), 50);
    world.run_for(20_001);
    let ends: Vec<Duration> = (0..50).map(|task_id| world.times(Deed::Terminate(task_id))[0]).collect();
    assert!(ends.iter().all(|end| (ms(90_000)..=ms(110_000)).contains(end)), "{ends:?}");
    let (first, last) = (ends.iter().min().unwrap(), ends.iter().max().unwrap());
    assert!(*last - *first > ms(15_000), "{ends:?}");
    assert_eq!(world.used(), 0);
    assert!(recycled(&world).iter().all(|&(_, why)| why == Recycle::Lifetime));
}

#[test]
fn a_short_lifetime_is_no_quick_end() {
    let limited = Rules { max_lifetime: Some(ms(1000)), ..rules(1) };
    let mut world = World::new(limited, |_, _| serves());
    world.run_for(20_000);
    let lives = world.waits(0, 0);
    assert!(lives.len() >= 18 && lives.iter().all(|life| (ms(900)..=ms(1100)).contains(life)), "{lives:?}");
}

#[test]
fn a_worker_with_too_much_memory_of_its_own_is_recycled() {
    let limited = Rules { max_memory: Some(1000), ..rules(3) };
    let mut world = World::new(limited, |task_id, fork| match (task_id, fork) {
        (0, 0) => serves().grows(1000, 0),
        (1, 0) => serves().grows(0, 45),
        _ => serves().grows(10, 0),
    });
    world.run_for(100_000);
    assert_eq!(recycled(&world), [(1, Recycle::Memory { used: 1350, max_memory: 1000 })], "measured every 10 s");
    assert_eq!(world.times(Deed::Fork(1)), [0, 30_000].map(ms));
    assert_eq!((world.used(), world.alive.len()), (0, 3));
}

#[test]
fn a_worker_that_waits_to_be_recycled_is_not_measured_any_more() {
    let limited = Rules { max_memory: Some(1000), readiness: Readiness::AtBody, ..rules(1) };
    let mut world = World::new(limited, |_, fork| match fork {
        0 => serves().grows(2000, 0),
        _ => serves().never_ready(),
    });
    world.run_for(25_000);
    let old = world.alive_of(0)[0];
    assert!(!world.policy.is_armed(old, Alarm::Measure));
}

#[test]
fn a_worker_that_asks_for_it_is_recycled() {
    for reload in [Reload::Overlap, Reload::Exclusive] {
        let mut world = World::new(Rules { reload, ..rules(2) }, |task_id, fork| match (task_id, fork) {
            (1, 0) => drains(50, NORMAL).asks_at(500),
            _ => serves(),
        });
        world.run_for(10_000);
        assert_eq!(recycled(&world), [(1, Recycle::Asked)]);
        let fork = if reload == Reload::Overlap { 500 } else { 550 };
        assert_eq!(world.times(Deed::Fork(1)), [0, fork].map(ms));
        assert_eq!((world.times(Deed::Terminate(1)), world.used()), (vec![ms(500)], 0));
        assert_eq!(world.policy.poll_timeout(), None);
    }
}

#[test]
fn workers_are_recycled_one_at_a_time() {
    for reload in [Reload::Overlap, Reload::Exclusive] {
        let mut world = World::new(Rules { reload, ..announced(4, 1000) }, |_, fork| match fork {
            0 => drains(50, NORMAL).asks_at(500),
            _ => serves().ready(100),
        });
        world.run_for(10_000);
        let tellings: Vec<_> = (0..4).map(|task_id| world.times(Deed::Terminate(task_id))[0]).collect();
        assert!(tellings.windows(2).all(|pair| pair[1] - pair[0] == ms(150)), "{tellings:?}");
        assert_eq!((recycled(&world).len(), world.used()), (4, 0));
    }
}

#[test]
fn quick_asks_again_and_again_back_off() {
    for reload in [Reload::Overlap, Reload::Exclusive] {
        let mut world = World::new(Rules { reload, ..rules(1) }, |_, _| serves().asks_at(10));
        world.run_for(20_000);
        let waits = world.waits(0, 10);
        assert!(waits[0].is_zero() && waits[1] >= ms(100) && waits[2] >= ms(200) && waits[3] >= ms(400), "{waits:?}");
        assert!(waits[4..].iter().all(|&wait| wait >= ms(800)), "{waits:?}");
        assert_eq!(world.used(), 0);
    }
}

#[test]
fn asks_after_10_s_do_not_back_off() {
    let mut world = World::new(rules(1), |_, _| serves().asks_at(10_000));
    world.run_for(60_000);
    assert!(world.waits(0, 10_000).iter().all(|wait| wait.is_zero()));
}

#[test]
fn a_worker_that_asks_and_exits_without_waiting_for_its_turn_is_replaced_uncounted() {
    let mut world = World::new(Rules { max_restarts: Some(0), ..rules(1) }, |_, fork| match fork {
        0 => ends(20_000, NORMAL).asks_at(20_000),
        _ => serves(),
    });
    world.run_for(100_000);
    assert_eq!(world.times(Deed::Fork(0)), [0, 20_000].map(ms));
    let again = |notice: &Notice| matches!(notice, Notice::StartingAgain { why: Neutral::Recycled, .. });
    assert_eq!(world.count(again), 1);
}

#[test]
fn a_worker_that_asks_and_then_crashes_is_counted() {
    let mut world = World::new(Rules { max_restarts: Some(0), ..rules(1) }, |_, _| ends(500, FAILED).asks_at(500));
    assert!(matches!(world.run(), Exit::GaveUp { .. }));
}

/// The worker already waits for its turn for another reason when it asks.
#[test]
fn a_worker_that_asks_when_it_waits_to_be_recycled_anyway_and_exits_is_replaced() {
    let limited = Rules { max_memory: Some(1000), ..announced(2, 60_000) };
    let mut world = World::new(limited, |task_id, fork| match (task_id, fork) {
        (0, 0) => serves().grows(2000, 0),
        (0, _) => serves().ready(5000),
        (1, 0) => ends(12_000, NORMAL).asks_at(11_000).grows(2000, 0),
        _ => serves(),
    });
    world.run_for(100_000);
    assert_eq!(world.times(Deed::Fork(1)), [0, 12_000].map(ms));
}

#[test]
fn a_worker_that_waits_to_be_recycled_and_exits_normally_has_finished() {
    let limited = Rules { max_memory: Some(1000), ..announced(2, 60_000) };
    let mut world = World::new(limited, |task_id, fork| match (task_id, fork) {
        (0, 0) => serves().grows(2000, 0),
        (0, _) => serves().ready(5000),
        (1, 0) => ends(12_000, NORMAL).grows(2000, 0),
        _ => serves(),
    });
    world.run_for(100_000);
    assert_eq!(world.times(Deed::Fork(1)), [ms(0)]);
}

#[test]
fn a_recycling_that_fails_is_tried_again_and_the_old_worker_stays() {
    for refused in [true, false] {
        let replacement = if refused { Fork::Refused } else { ends(50, FAILED).never_ready() };
        let mut world = World::new(announced(2, 1000), move |task_id, fork| match (task_id, fork) {
            (1, 0) => serves().asks_at(500),
            (1, 1..3) => replacement,
            _ => serves(),
        });
        world.run_for(20_000);
        let old = world.alive_of(1)[0];
        assert_eq!(old.fork, 1);
        world.run_for(10_000);
        let lost = if refused { 0 } else { 50 };
        assert_eq!(world.times(Deed::Fork(1)), [0, 500, 10_500 + lost, 20_500 + 2 * lost].map(ms));
        let failed = |notice: &Notice| matches!(notice, Notice::RecycleFailed { worker, .. } if *worker == old);
        assert_eq!((world.count(failed), world.used()), (2, 0));
        assert_eq!(world.policy.poll_timeout(), None);
    }
}

#[test]
fn an_exclusive_recycling_whose_fork_is_refused_is_tried_again() {
    let mut world = World::new(exclusive(rules(2)), |task_id, fork| match (task_id, fork) {
        (1, 0) => serves().asks_at(500),
        (1, 1) => Fork::Refused,
        _ => serves(),
    });
    world.run_for(100_000);
    assert_eq!((world.times(Deed::Fork(1)).len(), world.used(), world.alive.len()), (3, 0, 2));
    assert_eq!(world.count(|notice| matches!(notice, Notice::RecycleFailed { .. })), 0);
}

#[test]
fn a_recycling_that_waits_is_forgotten_with_its_worker() {
    for status in [FAILED, NORMAL] {
        let mut world = World::new(announced(2, 1000), move |task_id, fork| match (task_id, fork) {
            (1, 0) => ends(2000, status).asks_at(500),
            (1, 1) => ends(50, FAILED).never_ready(),
            _ => serves(),
        });
        world.run_for(5000);
        assert_eq!(world.policy.poll_timeout(), None, "the next try was to be in 10 s");
    }
    let mut world = World::new(announced(2, 1000), |task_id, fork| match (task_id, fork) {
        (1, 0) => serves().asks_at(500),
        (1, 1) => Fork::Refused,
        _ => serves(),
    });
    world.run_for(1000);
    world.ask(Ask::Fewer);
    world.run_for(0);
    assert_eq!(world.policy.poll_timeout(), None);
}

#[test]
fn one_fewer_and_one_more_do_not_shorten_the_time_to_the_next_try() {
    let with_sockets = Rules { slots_have_sockets: true, ..announced(2, 1000) };
    let mut world = World::new(with_sockets, |task_id, fork| match (task_id, fork) {
        (1, 0) => serves().asks_at(500),
        (1, 1 | 2) => Fork::Refused,
        _ => serves(),
    });
    for ask in [Ask::Fewer, Ask::More] {
        world.run_for(1000);
        world.ask(ask);
    }
    world.run_for(30_000);
    assert_eq!(world.times(Deed::Fork(1)), [0, 500, 10_500, 20_500].map(ms));
    assert_eq!(world.policy.poll_timeout(), None);
}

#[test]
fn a_worker_is_recycled_once() {
    let limited = Rules { max_memory: Some(1000), max_lifetime: Some(ms(9000)), ..announced(1, 60_000) };
    let mut world = World::new(limited, |_, fork| match fork {
        0 => serves().grows(2000, 0).asks_at(8000),
        _ => serves().ready(5000),
    });
    world.run_for(15_000);
    assert_eq!(recycled(&world), [(0, Recycle::Asked)]);
    assert_eq!(world.times(Deed::Fork(0)).len(), 2);
}

#[test]
fn a_worker_that_is_one_too_many_is_not_recycled_before_it_ends() {
    let with_sockets = Rules { slots_have_sockets: true, ..announced(2, 1000) };
    let mut world = World::new(with_sockets, |_, fork| match fork {
        0 => drains(50, NORMAL).asks_at(500),
        _ => serves().ready(100),
    });
    world.run_for(550);
    world.ask(Ask::Fewer);
    world.run_for(10_000);
    assert_eq!(recycled(&world), [(0, Recycle::Asked)], "the other one waited for its turn");
    assert_eq!(world.times(Deed::Fork(1)).len(), 1);
}

#[test]
fn a_slot_that_is_not_wanted_any_more_keeps_others_from_their_turn_only_while_it_has_two_processes() {
    let mut world = World::new(announced(3, 1000), |task_id, fork| match (task_id, fork) {
        (2, 0) => drains(5000, NORMAL).asks_at(500),
        (2, 1) => drains(5000, NORMAL).asks_at(10),
        (1, 0) => drains(50, NORMAL).asks_at(800),
        _ => serves().ready(100),
    });
    world.run_for(900);
    assert_eq!(world.alive_of(2).len(), 2, "the old one drains, and the new one waits to be recycled, too");
    world.ask(Ask::Fewer);
    world.run_for(10_000);
    assert_eq!(world.times(Deed::Fork(1)), [0, 5500].map(ms), "there are never five processes for three workers");
}
