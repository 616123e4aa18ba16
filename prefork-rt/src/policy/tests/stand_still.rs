//! A supervisor that stood still with its workers does not take them for hung, and one that did not stand still does.

use super::super::deadlines::Alarm;
use super::*;

const ENDLESS: u64 = u64::MAX / 1_000_000;
/// From the moment that a worker should have sent a heartbeat to SIGABRT.
const SECOND_LOOK: u64 = 100;

fn watched(workers: usize) -> Rules {
    Rules { heartbeat_timeout: Some(ms(1000)), ..rules(workers) }
}

fn is_harsh(deed: &Deed) -> bool {
    matches!(deed, Deed::Abort(_) | Deed::Kill(_))
}

/// The stop may begin at any moment and take any time.
#[test]
fn a_stop_of_everything_ends_no_worker_with_two_heartbeats_in_each_interval() {
    for stop in [100, 240, 260, 400, 499, 501, 700, 900, 999, 1001, 1100, 60_000] {
        for moment in (0..1500).step_by(7) {
            let mut world = World::new(watched(2), |_, _| serves().heartbeats(3, 500, ENDLESS));
            world.run_for(2000 + moment);
            world.stand_still(ms(stop));
            world.run_for(5000);
            assert!(!world.deeds().iter().any(is_harsh), "{stop} ms, {moment} ms after 2 s");
        }
    }
}

#[test]
fn a_stop_of_everything_leaves_a_starting_worker_half_of_its_time_at_least() {
    for stop in [100, 240, 260, 400, 499, 501, 700, 900, 999, 1001, 1100, 60_000] {
        for moment in (0..500).step_by(7) {
            let mut world = World::new(announced(2, 1000), |_, _| serves().ready(499));
            world.run_for(moment);
            world.stand_still(ms(stop));
            world.run_for(5000);
            assert!(!world.deeds().iter().any(is_harsh), "{stop} ms, after {moment} ms");
        }
    }
}

#[test]
fn a_worker_that_hangs_is_found_in_spite_of_a_stop() {
    for stop in [100, 400, 900, 60_000] {
        for moment in (0..1500).step_by(70) {
            let mut world = World::new(watched(1), |_, fork| match fork {
                0 => serves().heartbeats(3, 500, 1600),
                _ => serves(),
            });
            world.run_for(2000 + moment);
            world.stand_still(ms(stop));
            world.run_for(1000 + SECOND_LOOK);
            assert_eq!(world.times(Deed::Abort(0)).len(), 1, "{stop} ms, {moment} ms after 2 s");
        }
    }
}

/// The policy is not told of a signal that comes again and again, but of the ticks when it wakes the supervisor.
#[test]
fn facts_without_number_do_not_delay_what_is_due() {
    let quiet = |facts: bool| {
        let mut world =
            World::new(Rules { heartbeat_timeout: Some(ms(1000)), ..announced(2, 1000) }, |task_id, fork| {
                match (task_id, fork) {
                    (0, 0) => serves().heartbeats(0, 100, 2000),
                    (1, 0) => serves().never_ready(),
                    _ => serves(),
                }
            });
        for _ in 0..5000 {
            world.run_for(1);
            if facts {
                world.policy.handle(Time(world.now), Event::Tick);
            }
        }
        (world.times(Deed::Abort(0)), world.times(Deed::Kill(1)))
    };
    assert_eq!(quiet(true), quiet(false));
    assert_eq!(quiet(true), (vec![ms(3000 + SECOND_LOOK)], vec![ms(1000)]));
}

#[test]
fn all_workers_together_cost_four_wakeups_in_an_interval() {
    let mut world = World::new(announced(100, 1000), |_, _| serves().ready(900));
    world.run_for(899);
    assert_eq!(world.wakeups, 3);
    world.run_for(1);
    assert_eq!(world.policy.poll_timeout(), None, "an interval that is not watched does not wake the supervisor");
}

#[test]
fn the_shortest_interval_that_is_watched_counts() {
    let both = Rules { heartbeat_timeout: Some(ms(400)), ..announced(1, 60_000) };
    let mut world = World::new(both, |_, _| serves().ready(30_000).heartbeats(1000, 10, 2000));
    world.run_for(999);
    assert_eq!(world.policy.poll_timeout(), Some(Time(ms(15_000))));
    world.run_for(1);
    assert_eq!(world.policy.poll_timeout(), Some(Time(ms(1100))));
}

#[test]
fn a_stop_counts_for_the_intervals_that_it_is_long_for() {
    let both = Rules { heartbeat_timeout: Some(ms(1000)), ..announced(1, 10_000) };
    let mut world = World::new(both, |_, fork| match fork {
        0 => serves().never_ready().heartbeats(0, 100, ENDLESS),
        _ => serves(),
    });
    world.run_for(5000);
    world.stand_still(ms(2000));
    world.run_for(10_000);
    assert_eq!(world.times(Deed::Kill(0)), [ms(10_000)], "2 s are not long for 10 s");
    assert!(world.times(Deed::Abort(0)).is_empty());
}

/// As many deadlines as the pool has workers would be due.
#[test]
fn a_pool_of_many_begins_anew_once() {
    let mut world = World::new(Rules { max_lifetime: Some(ms(10_000)), ..watched(50) }, |_, _| {
        serves().heartbeats(0, 100, ENDLESS)
    });
    world.run_for(2000);
    world.sleep(YEAR);
    world.run_for(0);
    let now = Time(world.now);
    let heartbeats = |&(when, deadline): &(Time, Deadline)| {
        matches!(deadline, Deadline::Proc { alarm: Alarm::Heartbeat, .. }) && when == now.after(ms(1000))
    };
    assert_eq!(world.policy.deadlines.iter().filter(heartbeats).count(), 50);
}
