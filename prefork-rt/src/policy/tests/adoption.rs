//! What a binary does with the pool that it takes over.

use super::super::deadlines::Alarm;
use super::*;

fn own(rules: Rules) -> Rules {
    Rules { slots_have_sockets: true, ..rules }
}

/// Goes on under other rules, as after an upgrade.
fn adopted(world: &mut World, rules: Rules) -> Policy {
    let succession = Succession::Back { why: "a test".to_owned() };
    Policy::adopt(rules, world.policy.snapshot(), Time(world.now), succession, &Uncopied::default())
}

/// What the new binary does at once, except for its notices.
fn actions(policy: &mut Policy) -> Vec<String> {
    let actions = std::iter::from_fn(|| policy.poll()).filter(|action| !matches!(action, Action::Tell(_)));
    actions.map(|action| format!("{action:?}")).collect()
}

fn alarms(policy: &Policy) -> Vec<(Alarm, Duration)> {
    let alarms = policy.deadlines.iter().filter_map(|(Time(when), deadline)| match deadline {
        Deadline::Proc { alarm, .. } => Some((alarm, when)),
        _ => None,
    });
    alarms.collect()
}

/// Four slots: the first waits for its backoff, the second serves, the third has finished, the fourth is not wanted any
/// more.
fn in_all_states(rules: Rules) -> World {
    let mut world = World::new(rules, |task_id, fork| match (task_id, fork) {
        (0, 0..2) => ends(50, FAILED),
        (2, _) => ends(60, NORMAL),
        _ => serves(),
    });
    world.queue_lasts = FOREVER;
    world.run_for(120);
    world.ask(Ask::Fewer);
    world.run_for(0);
    world
}

#[test]
fn it_looks_at_each_worker_and_says_again_where_nothing_new_goes_in_the_order_of_task_ids() {
    let mut world = in_all_states(own(announced(4, 1000)));
    let procs = [1, 3].map(|task_id| world.alive_of(task_id)[0]);
    let mut policy = adopted(&mut world, own(announced(4, 1000)));
    let report = |proc: ProcId| format!("{:?}", Action::ReadReport(proc));
    let intake = |task_id, intake| format!("{:?}", Action::SetIntake(task_id, intake));
    let expected = [
        intake(0, Intake::Away),
        report(procs[0]),
        intake(2, Intake::Closed),
        report(procs[1]),
        intake(3, Intake::Closed),
    ];
    assert_eq!(actions(&mut policy), expected);
    let mut news: Vec<usize> = std::iter::from_fn(|| policy.take_changed()).map(|(task_id, _)| task_id).collect();
    news.sort();
    news.dedup();
    assert_eq!(news, [0, 1, 2, 3], "there is news of every slot");
    assert_eq!((policy.draining, policy.headcount.finished(), policy.alive, policy.headcount.ready()), (1, 1, 2, 1));
}

#[test]
fn it_is_told_which_slots_and_processes_there_are() {
    let mut world = in_all_states(own(announced(4, 1000)));
    let snapshot = world.policy.snapshot();
    assert_eq!(snapshot.size(), 3);
    assert_eq!(snapshot.slots_with_sockets().collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert_eq!(snapshot.slots_without_sockets().count(), 0);
    assert_eq!(snapshot.procs().collect::<Vec<_>>(), [1, 3].map(|task_id| world.alive_of(task_id)[0]));
    // The slot that has finished loses its sockets. The slot that waits for its backoff does not.
    world.run_for(2000);
    let snapshot = world.policy.snapshot();
    assert_eq!(snapshot.slots_with_sockets().collect::<Vec<_>>(), [0, 1, 3]);
    assert_eq!(snapshot.slots_without_sockets().collect::<Vec<_>>(), [2]);
    // A fork that is under way has made no process.
    let mut policy = Policy::new(rules(1), &Uncopied::default());
    assert!(matches!(policy.poll(), Some(Action::Fork { .. })));
    assert_eq!(policy.snapshot().procs().count(), 0);
}

#[test]
fn what_was_to_happen_at_a_time_happens_then() {
    let mut world = in_all_states(own(announced(4, 1000)));
    let before: Vec<_> = world.policy.deadlines.iter().collect();
    let policy = adopted(&mut world, own(announced(4, 1000)));
    assert_eq!(policy.deadlines.iter().collect::<Vec<_>>(), before, "a start, and inspections of queues");
    assert!(before.iter().any(|&(_, deadline)| deadline == Deadline::Start(0)));
    assert!([2, 3].iter().all(|&slot| before.iter().any(|&(_, deadline)| deadline == Deadline::Queue(slot))));
}

#[test]
fn slots_get_sockets_or_lose_them_with_the_option() {
    let mut world = in_all_states(announced(4, 1000));
    let mut policy = adopted(&mut world, own(announced(4, 1000)));
    let opened: Vec<String> = [0, 1].map(|slot| format!("{:?}", Action::OpenSockets(slot))).into();
    let is_about_sockets = |action: &String| action.contains("Sockets") || action.contains("Intake");
    let done: Vec<String> = actions(&mut policy).into_iter().filter(is_about_sockets).collect();
    assert_eq!(done, opened, "for those that are wanted and have not finished");
    policy.handle(Time(ms(5000)), Event::SocketsOpen(0));
    assert!(actions(&mut policy).iter().any(|action| action.starts_with("Fork")), "its backoff is over");

    let mut world = in_all_states(own(announced(4, 1000)));
    let mut policy = adopted(&mut world, announced(4, 1000));
    let done: Vec<String> = actions(&mut policy).into_iter().filter(is_about_sockets).collect();
    assert_eq!(done, [""; 0]);
    policy.handle(Time(ms(5000)), Event::Tick);
    assert!(actions(&mut policy).iter().any(|action| action.starts_with("Fork")), "it needs none");
}

#[test]
fn options_that_have_to_do_with_time_hold_for_workers_that_are_there() {
    let timed = || Rules { max_lifetime: Some(ms(100_000)), max_memory: Some(1000), ..rules(1) };
    let mut world = World::new(rules(1), |_, _| serves());
    world.run_for(7000);
    let policy = adopted(&mut world, timed());
    let [(Alarm::Measure, measured), (Alarm::Retire, retired)] = alarms(&policy)[..] else {
        panic!("{:?}", alarms(&policy))
    };
    assert_eq!(measured, ms(17_000), "10 s from now");
    assert!((ms(90_000)..=ms(110_000)).contains(&retired), "it has lived for a while: {retired:?}");

    let mut world = World::new(timed(), |_, _| serves());
    world.run_for(7000);
    let before = alarms(&world.policy);
    assert_eq!(alarms(&adopted(&mut world, timed())), before, "what was decided stays");
    assert_eq!(alarms(&adopted(&mut world, rules(1))), []);
}

#[test]
fn a_worker_that_waits_to_be_recycled_has_no_other_time_to_wait_for() {
    let timed = || Rules { max_lifetime: Some(ms(100_000)), max_memory: Some(1000), ..rules(2) };
    let mut world = World::new(rules(2), |task_id, fork| match (task_id, fork) {
        (1, 0) => serves().asks_at(500),
        (1, _) => Fork::Refused,
        _ => ends(5000, NORMAL),
    });
    world.run_for(7000);
    assert_eq!(alarms(&world.policy), [(Alarm::Recycle, ms(10_500))]);
    assert_eq!(alarms(&adopted(&mut world, timed())), [(Alarm::Recycle, ms(10_500))]);
}

#[test]
fn heartbeats_are_not_waited_for_any_more_where_the_option_is_gone() {
    let watched = Rules { heartbeat_timeout: Some(ms(1000)), ..rules(1) };
    let mut world = World::new(watched, |_, _| serves().heartbeats(0, 100, u64::MAX / 1_000_000));
    world.run_for(2050);
    assert!(matches!(alarms(&world.policy)[..], [(Alarm::Heartbeat, _)]));
    assert_eq!(alarms(&adopted(&mut world, rules(1))), []);
}
