//! A stop that was asked for and begins after a while: the pool serves on until then.

use super::*;

fn delayed(milliseconds: u64, rules: Rules) -> Rules {
    Rules { drain_delay: ms(milliseconds), ..rules }
}

/// Ready after 100 ms, ends 50 ms after SIGTERM.
fn steady() -> Fork {
    drains(50, NORMAL).ready(100)
}

#[test]
fn workers_are_told_and_listeners_closed_when_the_delay_is_over_and_graceful_timeout_begins_then() {
    let mut world = World::new(delayed(10_000, rules(2)), |task_id, _| match task_id {
        0 => drains(500, NORMAL),
        _ => ignores_sigterm(),
    });
    world.run_for(100);
    world.ask(Ask::Stop);
    let told = |notice: &Notice| matches!(notice, Notice::StopDelayed { alive: 2, delay, .. } if *delay == ms(10_000));
    world.run_for(9_999);
    assert_eq!((world.count(told), world.deeds().len()), (1, 2), "two forks");
    assert!(world.views.values().all(|view| view.state == State::Ready), "{:?}", world.views);
    assert!(matches!(world.run(), Exit::Stopped { killed: 1, .. }));
    assert_eq!(world.times(Deed::Close), [ms(10_100)]);
    assert_eq!([0, 1].map(|task_id| world.times(Deed::Terminate(task_id))), [[ms(10_100)], [ms(10_100)]]);
    assert_eq!(world.times(Deed::Kill(1)), [ms(35_100)]);
    let begun = |notice: &Notice| matches!(notice, Notice::Stopping { by: Some(by), .. } if by.contains("drain_delay"));
    assert_eq!(world.count(begun), 1);
}

#[test]
fn what_ends_during_the_delay_is_replaced_and_counted() {
    let mut world = World::new(delayed(10_000, rules(2)), |task_id, fork| match (task_id, fork) {
        (0, 0) => ends(1000, SEGFAULT),
        (0, 1) => ends(500, FAILED),
        _ => serves(),
    });
    world.run_for(100);
    world.ask(Ask::Stop);
    world.run_for(5000);
    let waits = world.waits(0, 0);
    assert!(waits.len() == 2 && waits[0] == ms(1000) && waits[1] >= ms(600), "{waits:?}");
    assert_eq!((world.used(), world.alive.len()), (2, 2));
    assert!(matches!(world.run(), Exit::Stopped { killed: 0, .. }));
}

#[test]
fn the_only_worker_is_replaced_too_and_its_backoff_is_no_end_of_the_delay() {
    let mut world = World::new(delayed(10_000, rules(1)), |_, fork| match fork {
        0..3 => ends(1000, SEGFAULT),
        _ => serves(),
    });
    world.run_for(500);
    world.ask(Ask::Stop);
    world.run_for(9000);
    assert_eq!(world.times(Deed::Fork(0)).len(), 4);
    assert!(matches!(world.run(), Exit::Stopped { .. }));
    assert_eq!(world.times(Deed::Exit), [ms(10_500)]);
}

#[test]
fn a_worker_that_hangs_during_the_delay_is_killed_and_replaced() {
    let watched = Rules { heartbeat_timeout: Some(ms(1000)), ..delayed(60_000, rules(1)) };
    let mut world = World::new(watched, |_, fork| match fork {
        0 => serves().heartbeats(0, 100, 500),
        _ => serves(),
    });
    world.run_for(100);
    world.ask(Ask::Stop);
    world.run_for(10_000);
    assert_eq!((world.times(Deed::Abort(0)).len(), world.times(Deed::Fork(0)).len()), (1, 2));
}

#[test]
fn what_is_asked_for_during_the_delay_is_ignored_with_one_line_each() {
    let mut world = World::new(delayed(10_000, announced(2, 1000)), |_, _| steady());
    world.run_for(500);
    world.ask(Ask::Stop);
    for ask in [Ask::More, Ask::Fewer, Ask::Reload, Ask::Upgrade] {
        world.ask(ask);
        world.run_for(100);
    }
    assert_eq!(world.count(|notice| matches!(notice, Notice::Ignored { .. })), 4);
    assert_eq!((world.deeds().len(), world.policy.size()), (2, 2));
}

#[test]
fn a_stop_repeated_and_a_hang_up_do_not_shorten_the_delay() {
    let mut world = World::new(delayed(10_000, rules(2)), |_, _| serves());
    world.run_for(100);
    for ask in [Ask::Stop, Ask::Stop, Ask::HangUp, Ask::Stop] {
        world.ask(ask);
        world.run_for(1000);
    }
    world.run_for(7000);
    world.ask(Ask::Stop);
    world.run();
    assert_eq!(world.times(Deed::Exit), [ms(10_100)]);
    assert_eq!(world.count(|notice| matches!(notice, Notice::AlreadyStopping { .. })), 1);
}

#[test]
fn an_interrupt_or_a_stop_now_during_the_delay_kills_at_once() {
    for (first, ask) in [
        (Ask::Stop, Ask::Interrupt),
        (Ask::Stop, Ask::CtrlC),
        (Ask::Stop, Ask::StopNow),
        (Ask::Interrupt, Ask::Interrupt),
    ] {
        let mut world = World::new(delayed(10_000, rules(2)), |_, _| ignores_sigterm());
        world.run_for(100);
        world.ask(first);
        world.run_for(1000);
        world.ask(ask);
        assert!(matches!(world.run(), Exit::Stopped { killed: 2, .. }));
        assert_eq!((world.times(Deed::Close), world.times(Deed::Exit)), (vec![ms(1100)], vec![ms(1100)]));
    }
}

#[test]
fn what_comes_from_a_terminal_and_an_immediate_stop_are_not_delayed() {
    for ask in [Ask::CtrlC, Ask::HangUp, Ask::StopNow] {
        let mut world = World::new(delayed(10_000, rules(2)), |_, _| drains(500, NORMAL));
        world.run_for(100);
        world.ask(ask);
        world.run();
        assert_eq!(world.times(Deed::Close), [ms(100)], "{ask:?}");
    }
    let mut world =
        World::new(Rules { max_restarts: Some(0), ..delayed(10_000, rules(2)) }, |task_id, _| match task_id {
            0 => ends(100, FAILED),
            _ => serves(),
        });
    assert!(matches!(world.run(), Exit::GaveUp { .. }));
    assert_eq!(world.times(Deed::Exit), [ms(100)]);
}

#[test]
fn a_pool_that_gives_up_during_the_delay_stops_at_once_and_was_stopped() {
    let mut world =
        World::new(Rules { max_restarts: Some(0), ..delayed(10_000, rules(2)) }, |task_id, _| match task_id {
            0 => ends(1000, FAILED),
            _ => serves(),
        });
    world.run_for(500);
    world.ask(Ask::Stop);
    assert!(matches!(world.run(), Exit::Stopped { killed: 0, .. }));
    assert_eq!(world.times(Deed::Close), [ms(1000)]);
    assert_eq!(world.count(|notice| matches!(notice, Notice::GivingUp { .. })), 1);
}

/// The exit is that of the stop, so a line names what has ended the delay.
#[test]
fn a_delay_that_ends_because_forking_became_unsafe_says_so() {
    let mut world = World::new(delayed(10_000, rules(2)), |task_id, fork| match (task_id, fork) {
        (0, 0) => ends(1000, FAILED),
        (0, _) => Fork::Unsafe,
        _ => serves(),
    });
    world.run_for(500);
    world.ask(Ask::Stop);
    assert!(matches!(world.run(), Exit::Stopped { killed: 0, .. }));
    let names_it =
        |notice: &Notice| matches!(notice, Notice::Stopping { by: Some(by), .. } if by.ends_with("a thread"));
    assert_eq!((world.times(Deed::Close), world.count(names_it)), (vec![ms(1000)], 1));
}

#[test]
fn the_delay_ends_when_all_workers_have_finished() {
    let mut world = World::new(delayed(10_000, rules(2)), |task_id, _| ends(1000 + task_id as u64, NORMAL));
    world.run_for(500);
    world.ask(Ask::Stop);
    assert!(matches!(world.run(), Exit::Stopped { killed: 0, .. }));
    assert_eq!(world.times(Deed::Exit), [ms(1001)]);
}

#[test]
fn a_stop_during_a_reload_lets_turns_end_and_begins_no_other_one() {
    // Worker 0's turn is beyond readiness, worker 1's is not.
    let mut world = World::new(delayed(10_000, wide(2, announced(4, 5000))), |task_id, fork| match (task_id, fork) {
        (0, 0) => drains(3000, NORMAL),
        (0, 1) => steady().ready(0),
        (1, 1) => drains(2000, NORMAL).ready(4000),
        _ => steady(),
    });
    world.run_for(500);
    world.ask(Ask::Reload);
    world.run_for(200);
    let old = world.alive_of(1)[0];
    world.ask(Ask::Stop);
    world.run_for(5000);
    assert_eq!(world.times(Deed::Terminate(1)), [ms(700)], "its replacement");
    assert_eq!((world.alive_of(1), world.alive.len()), (vec![old], 4));
    assert_eq!((0..4).map(|task_id| world.times(Deed::Fork(task_id)).len()).collect::<Vec<_>>(), [2, 2, 1, 1]);
    let about_reloads = |notice: &Notice| matches!(notice, Notice::ReloadFailed { .. } | Notice::Reloaded { .. });
    assert_eq!((world.count(about_reloads), world.used()), (0, 0));
}

#[test]
fn a_stop_during_an_exclusive_reload_fills_the_slots_whose_workers_were_told_to_end() {
    let mut world = World::new(delayed(10_000, exclusive(wide(2, announced(3, 1000)))), |_, _| steady());
    world.run_for(500);
    world.ask(Ask::Reload);
    world.run_for(10);
    world.ask(Ask::Stop);
    world.run_for(5000);
    assert_eq!((0..3).map(|task_id| world.times(Deed::Fork(task_id)).len()).collect::<Vec<_>>(), [2, 2, 1]);
    assert_eq!((world.policy.ready(), world.used()), (3, 0));
}

#[test]
fn recycling_waits_and_one_in_progress_goes_back_if_its_replacement_is_not_ready() {
    let mut world = World::new(delayed(10_000, announced(2, 5000)), |task_id, fork| match (task_id, fork) {
        (0, 0) => steady().asks_at(500),
        (0, _) => steady().ready(4000),
        _ => steady().asks_at(1000),
    });
    world.run_for(700);
    let old = world.alive_of(0)[0];
    world.ask(Ask::Stop);
    world.run_for(5000);
    assert_eq!((world.alive_of(0), world.alive_of(1).len()), (vec![old], 1));
    assert_eq!([0, 1].map(|task_id| world.times(Deed::Fork(task_id)).len()), [2, 1]);
    assert!(matches!(world.run(), Exit::Stopped { killed: 0, .. }));
    assert_eq!(world.times(Deed::Exit), [ms(10_750)]);
}

#[test]
fn a_worker_that_another_process_told_to_end_during_the_delay_is_replaced_uncounted() {
    let mut world = World::new(delayed(10_000, rules(1)), |_, fork| match fork {
        0 => serves().told_by_operator(1000),
        _ => serves(),
    });
    world.run_for(500);
    world.ask(Ask::Stop);
    world.run_for(5000);
    assert_eq!((world.times(Deed::Fork(0)), world.used()), ([0, 1000].map(ms).to_vec(), 0));
}

#[test]
fn a_stop_at_each_step_of_an_upgrade_keeps_the_binary_that_runs_and_all_slots_filled() {
    for style in [Reload::Overlap, Reload::Exclusive] {
        for fails in [false, true] {
            for wait in (0..1000).step_by(25) {
                let delayed = Rules { reload: style, ..delayed(10_000, announced(3, 1000)) };
                let script = move |_, fork| if fails && fork == 1 { ends(60, FAILED).never_ready() } else { steady() };
                let mut world = World::new(delayed, script);
                world.run_for(500);
                world.ask(Ask::Upgrade);
                world.run_for(wait);
                world.ask(Ask::Stop);
                let upgrades = world.times(Deed::Upgrade).len() + world.times(Deed::GoBack(0)).len();
                world.run_for(5000);
                assert_eq!((world.alive.len(), world.policy.ready()), (3, 3), "{style:?} {fails} {wait}");
                assert_eq!(world.times(Deed::Upgrade).len() + world.times(Deed::GoBack(0)).len(), upgrades);
                assert!(matches!(world.run(), Exit::Stopped { killed: 0, .. }));
            }
        }
    }
}

/// A fact may come between any two actions.
#[test]
fn a_stop_between_any_two_actions_of_an_upgrade_that_fails_leaves_no_slot_empty() {
    for actions in 0..30 {
        let script = |_, fork| if fork == 1 { ends(60, FAILED).never_ready() } else { steady() };
        let mut world = World::new(delayed(10_000, announced(2, 1000)), script);
        world.run_for(500);
        world.ask(Ask::Upgrade);
        for _ in 0..actions {
            world.step(FOREVER);
        }
        world.ask(Ask::Stop);
        world.run_for(5000);
        assert_eq!(world.policy.ready(), 2, "{actions}");
        assert!(matches!(world.run(), Exit::Stopped { killed: 0, .. }));
    }
}

#[test]
fn a_slot_that_is_not_wanted_any_more_drains_to_its_end_during_the_delay() {
    let with_sockets = Rules { slots_have_sockets: true, ..delayed(10_000, rules(2)) };
    let mut world = World::new(with_sockets, |_, _| serves());
    world.run_for(500);
    world.ask(Ask::Fewer);
    world.run_for(100);
    world.ask(Ask::Stop);
    world.run_for(5000);
    assert_eq!((world.times(Deed::Terminate(1)), world.times(Deed::CloseSockets(1))), (vec![ms(2000)], vec![ms(2000)]));
    assert_eq!(world.alive.len(), 1);
}
