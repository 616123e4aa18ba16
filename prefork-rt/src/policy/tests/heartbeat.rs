//! A worker that has sent a heartbeat once and then is silent hangs.

use super::*;

/// Between the moment that a worker should have sent a heartbeat and SIGABRT.
const SECOND_LOOK: u64 = 100;

fn watched(workers: usize) -> Rules {
    Rules { heartbeat_timeout: Some(ms(1000)), ..rules(workers) }
}

const ENDLESS: u64 = u64::MAX / 1_000_000;

#[test]
fn a_worker_whose_heartbeats_stop_gets_sigabrt_and_is_replaced_and_counted() {
    let mut world = World::new(watched(2), |task_id, fork| match (task_id, fork) {
        (1, 0) => serves().heartbeats(0, 100, 2000),
        _ => serves().heartbeats(0, 100, ENDLESS),
    });
    world.run_for(10_000);
    assert_eq!(world.times(Deed::Abort(1)), [ms(3000 + SECOND_LOOK)]);
    assert!(world.times(Deed::Kill(1)).is_empty() && world.times(Deed::Abort(0)).is_empty());
    assert_eq!(world.times(Deed::Fork(1)), [0, 3000 + SECOND_LOOK].map(ms));
    assert_eq!(world.used(), 1);
    let hung = |notice: &Notice| matches!(notice, Notice::Hung { silent, .. } if *silent == ms(1000 + SECOND_LOOK));
    let restarting = |notice: &Notice| matches!(notice, Notice::Restarting { failure: Failure::Hung(ABORTED), .. });
    assert_eq!((world.count(hung), world.count(restarting)), (1, 1));
}

#[test]
fn a_worker_that_sigabrt_does_not_end_gets_sigkill_5_s_later() {
    let mut world = World::new(watched(1), |_, fork| match fork {
        0 => serves().heartbeats(0, 100, 2000).ignores_sigabrt(),
        _ => serves(),
    });
    world.run_for(100_000);
    assert_eq!(world.times(Deed::Kill(0)), [ms(8000 + SECOND_LOOK)]);
    let killing = |notice: &Notice| matches!(notice, Notice::KillingOne { after, .. } if *after == ms(5000));
    let restarting = |notice: &Notice| matches!(notice, Notice::Restarting { failure: Failure::Hung(SIGKILLED), .. });
    assert_eq!((world.count(killing), world.count(restarting), world.used()), (1, 1, 1));
}

#[test]
fn a_hung_worker_that_exits_with_0_has_not_finished() {
    let mut world = World::new(watched(1), |_, fork| {
        let mut life = OBEYS;
        life.aborted = Some((ms(10), NORMAL));
        if fork == 0 { Fork::Runs(life).heartbeats(0, 100, 2000) } else { serves() }
    });
    world.run_for(10_000);
    assert_eq!((world.used(), world.times(Deed::Fork(0)).len()), (1, 2));
}

#[test]
fn before_its_first_heartbeat_a_worker_is_not_watched() {
    let mut world = World::new(watched(2), |task_id, _| match task_id {
        0 => serves(),
        _ => serves().heartbeats(60_000, 100, ENDLESS),
    });
    world.run_for(59_999);
    assert_eq!((world.policy.poll_timeout(), world.wakeups), (None, 0));
    world.run_for(1);
    assert_eq!(world.next_deadline(), Some(Time(ms(61_000))));
    world.run_for(1_000_000);
    assert!(!world.deeds().iter().any(|deed| matches!(deed, Deed::Abort(_))));
}

#[test]
fn before_the_first_heartbeat_only_ready_timeout_applies() {
    let both = Rules { heartbeat_timeout: Some(ms(100)), ..announced(1, 1000) };
    let mut world = World::new(both, |_, _| serves().ready(900));
    world.run_for(10_000);
    assert_eq!(world.deeds(), [Deed::Fork(0)]);
    let both = Rules { heartbeat_timeout: Some(ms(100)), ..announced(1, 1000) };
    let mut world = World::new(both, |_, fork| match fork {
        0 => serves().ready(900).heartbeats(10, 10, 50),
        _ => serves(),
    });
    world.run_for(10_000);
    assert_eq!(world.times(Deed::Abort(0)), [ms(160)], "after it, both");
}

#[test]
fn a_worker_with_heartbeats_costs_four_wakeups_per_timeout() {
    let mut world = World::new(watched(1), |_, _| serves().heartbeats(0, 10, ENDLESS));
    world.run_for(100_000);
    assert!((399..=410).contains(&world.wakeups), "{}", world.wakeups);
    let mut world = World::new(watched(1), |_, _| serves().heartbeats(0, 999, ENDLESS));
    world.run_for(100_000);
    assert!(world.wakeups <= 410, "{}", world.wakeups);
    assert!(world.times(Deed::Abort(0)).is_empty());
}

#[test]
fn a_worker_that_says_more_is_watched_once() {
    let both = Rules { heartbeat_timeout: Some(ms(1000)), ..announced(1, 60_000) };
    let mut world = World::new(both, |_, _| serves().heartbeats(0, 10, ENDLESS).ready(450));
    world.run_for(500);
    let is_alarm = |&(_, deadline): &(Time, Deadline)| matches!(deadline, Deadline::Proc { .. });
    assert_eq!(world.policy.deadlines.iter().filter(is_alarm).count(), 1);
    world.run_for(10_000);
    assert!(world.wakeups <= 45, "{}", world.wakeups);
}

#[test]
fn a_worker_whose_heartbeats_come_just_in_time_is_left_alone() {
    let mut world = World::new(watched(1), |_, _| serves().heartbeats(0, 1000, ENDLESS));
    world.run_for(100_000);
    assert!(world.times(Deed::Abort(0)).is_empty());
}

#[test]
fn a_silent_worker_is_looked_at_a_second_time() {
    for (every, aborted) in [(1050, 0), (1099, 0), (1101, 1)] {
        let mut world = World::new(watched(1), move |_, fork| match fork {
            0 => serves().heartbeats(0, every, ENDLESS),
            _ => serves(),
        });
        world.run_for(10_000);
        assert_eq!(world.times(Deed::Abort(0)).len(), aborted, "{every}");
    }
}

#[test]
fn a_heartbeat_between_two_reports_is_forgiveness_for_good() {
    let mut world = World::new(watched(1), |_, _| serves());
    world.run_for(0);
    let proc = world.alive_of(0)[0];
    let first = Reported { heartbeat: Some(ms(0)), ..Reported::default() };
    world.policy.handle(Time(ms(0)), Event::Reported(proc, first));
    let mut report = |at: u64, heartbeat: u64, next: u64| {
        let report = Reported { heartbeat: Some(ms(at - heartbeat)), ..Reported::default() };
        while let Some(awake) = world.policy.poll_timeout().filter(|&awake| awake < Time(ms(at))) {
            world.policy.handle(awake, Event::Tick);
            assert!(world.policy.poll().is_none(), "before {at}");
        }
        world.policy.handle(Time(ms(at)), Event::Tick);
        let mut actions = Vec::new();
        while let Some(action) = world.policy.poll() {
            if matches!(action, Action::ReadReport(_)) {
                world.policy.handle(Time(ms(at)), Event::Reported(proc, report));
            }
            actions.push(action);
        }
        assert!(!actions.iter().any(|action| matches!(action, Action::Signal(..))), "at {at}");
        assert_eq!(world.next_deadline(), Some(Time(ms(next))), "after {at}");
    };
    report(1000, 0, 1100);
    report(1100, 1050, 2050);
    report(2050, 1050, 2150);
    report(2150, 2100, 3100);
}

#[test]
fn a_supervisor_that_was_late_gives_every_worker_a_fresh_interval() {
    let mut world = World::new(watched(3), |_, _| serves().heartbeats(0, 100, 2000));
    world.run_for(1990);
    world.sleep(ms(60_000));
    world.run_for(0);
    assert_eq!(world.next_deadline(), Some(Time(ms(62_990))));
    world.run_for(999);
    assert!(!world.deeds().iter().any(|deed| matches!(deed, Deed::Abort(_))));
    world.run_for(1 + SECOND_LOOK);
    let aborted: Vec<_> = (0..3).flat_map(|task_id| world.times(Deed::Abort(task_id))).collect();
    assert_eq!(aborted, [62_990 + SECOND_LOOK; 3].map(ms), "and no more than that");
}

#[test]
fn a_supervisor_that_was_late_forgets_first_looks() {
    let mut world = World::new(watched(1), |_, _| serves().heartbeats(0, 100, 2000));
    world.run_for(3050);
    assert_eq!(world.times(Deed::ReadReport(0)).last(), Some(&ms(3000)));
    world.sleep(ms(500));
    world.run_for(1000 + SECOND_LOOK - 1);
    assert!(world.times(Deed::Abort(0)).is_empty());
    world.run_for(1);
    assert_eq!(world.times(Deed::Abort(0)), [ms(3550 + 1000 + SECOND_LOOK)]);
}

#[test]
fn a_supervisor_that_was_a_little_late_goes_on() {
    let mut world = World::new(watched(1), |_, fork| match fork {
        0 => serves().heartbeats(0, 100, 2000),
        _ => serves(),
    });
    world.run_for(2999);
    world.sleep(ms(251));
    world.run_for(150);
    assert_eq!(world.times(Deed::Abort(0)), [ms(3250 + SECOND_LOOK)]);
    let short = Rules { heartbeat_timeout: Some(ms(100)), ..rules(1) };
    let mut world = World::new(short, |_, fork| if fork == 0 { serves().heartbeats(0, 10, 200) } else { serves() });
    world.run_for(299);
    world.sleep(ms(90));
    world.run_for(150);
    assert_eq!(world.times(Deed::Abort(0)), [ms(399)], "a tenth of a second is nothing");
}

#[test]
fn a_worker_that_was_told_to_end_needs_no_heartbeat() {
    let mut world = World::new(watched(2), |_, _| drains(20_000, NORMAL).heartbeats(0, 100, 500));
    world.run_for(600);
    world.ask(Ask::Fewer);
    world.run_for(100);
    world.ask(Ask::Stop);
    assert!(matches!(world.run(), Exit::Stopped { killed: 0, .. }));
    assert!(!world.deeds().iter().any(|deed| matches!(deed, Deed::Abort(_) | Deed::ReadReport(_))));
}
