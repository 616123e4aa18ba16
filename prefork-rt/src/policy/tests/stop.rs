//! The end of the pool, asked for or not.

use super::super::kill::KILL_TIMEOUT;
use super::*;

#[test]
fn a_graceful_stop_closes_the_listeners_and_tells_each_worker_once() {
    let mut world =
        World::new(rules(3), |task_id, _| if task_id == 0 { ends(10, NORMAL) } else { drains(500, NORMAL) });
    world.run_for(100);
    world.ask(Ask::Stop);
    assert!(matches!(world.run(), Exit::Stopped { killed: 0, .. }));
    assert_eq!(world.deeds()[3..], [Deed::Close, Deed::Terminate(1), Deed::Terminate(2), Deed::Exit]);
    assert_eq!(world.times(Deed::Exit), [ms(600)], "it waits for nothing else");
    assert!(world.notices.iter().any(|notice| matches!(notice, Notice::Stopping { by: Some(_), alive: 2, .. })));
}

#[test]
fn what_outlives_graceful_timeout_is_killed() {
    let script = |task_id, _| if task_id == 1 { ignores_sigterm() } else { drains(24_999, NORMAL) };
    let mut world = World::new(rules(3), script);
    world.run_for(100);
    world.ask(Ask::Stop);
    assert!(matches!(world.run(), Exit::Stopped { killed: 1, .. }));
    assert_eq!(world.deeds()[7..], [Deed::Kill(1), Deed::Exit]);
    assert_eq!(world.times(Deed::Kill(1)), [ms(25_100)]);
}

#[test]
fn an_interrupt_during_a_stop_makes_it_immediate_and_another_one_changes_nothing() {
    for first in [Ask::Stop, Ask::Interrupt, Ask::CtrlC, Ask::HangUp] {
        let mut world = World::new(rules(2), |_, _| survives_sigkill());
        world.run_for(100);
        world.ask(first);
        world.run_for(1000);
        for _ in 0..3 {
            world.ask(Ask::Interrupt);
            world.run_for(1000);
        }
        assert_eq!(world.times(Deed::Kill(0)), [ms(1100)]);
        world.run();
        assert_eq!(world.times(Deed::Exit), [ms(6100)]);
    }
}

#[test]
fn a_stop_repeated_never_hastens_it_and_is_answered_once() {
    for first in [Ask::Stop, Ask::Interrupt] {
        let mut world = World::new(rules(2), |_, _| drains(5000, NORMAL));
        world.run_for(100);
        world.ask(first);
        for _ in 0..4 {
            world.run_for(1000);
            world.ask(Ask::Stop);
        }
        assert!(matches!(world.run(), Exit::Stopped { killed: 0, .. }));
        assert_eq!(world.times(Deed::Exit), [ms(5100)]);
        let answers = world.notices.iter().filter(|notice| matches!(notice, Notice::AlreadyStopping { .. }));
        assert_eq!(answers.count(), 1);
    }
}

#[test]
fn stop_now_kills_at_once() {
    let mut world = World::new(rules(2), |_, _| drains(500, NORMAL));
    world.run_for(100);
    world.ask(Ask::StopNow);
    assert!(matches!(world.run(), Exit::Stopped { killed: 2, .. }));
    assert_eq!(world.deeds()[2..], [Deed::Close, Deed::Kill(0), Deed::Kill(1), Deed::Exit]);
    assert_eq!(world.times(Deed::Exit), [ms(100)]);
}

#[test]
fn stop_now_hastens_a_graceful_stop() {
    let mut world = World::new(rules(2), |task_id, _| drains(500 + 1000 * task_id as u64, NORMAL));
    world.run_for(100);
    world.ask(Ask::Stop);
    world.run_for(1000);
    world.ask(Ask::StopNow);
    assert!(matches!(world.run(), Exit::Stopped { killed: 1, .. }));
    assert_eq!(world.times(Deed::Exit), [ms(1100)]);
}

#[test]
fn a_stop_during_a_backoff_is_immediate() {
    for ask in [Ask::Stop, Ask::StopNow] {
        let backoff = Backoff { first: ms(60_000), longest: ms(60_000) };
        let mut world = World::new(Rules { backoff, ..rules(2) }, |_, _| ends(10, FAILED));
        world.run_for(1000);
        assert!(world.exit.is_none() && world.alive.is_empty(), "all wait");
        world.ask(ask);
        assert!(matches!(world.run(), Exit::Stopped { killed: 0, .. }));
        assert_eq!(world.times(Deed::Exit), [ms(1000)]);
    }
}

#[test]
fn a_slot_that_waits_for_a_start_when_the_pool_stops_is_shown_as_finished() {
    let backoff = Backoff { first: ms(60_000), longest: ms(60_000) };
    let mut world = World::new(Rules { backoff, ..rules(2) }, |task_id, _| match task_id {
        0 => ends(10, FAILED),
        _ => drains(500, NORMAL),
    });
    world.run_for(1000);
    let states = |world: &World| [0, 1].map(|task_id| world.views[&task_id].state);
    assert_eq!(states(&world), [State::Waiting, State::Ready]);
    world.ask(Ask::Stop);
    world.run_for(100);
    assert_eq!(states(&world), [State::Finished, State::Stopping]);
    world.run();
    assert_eq!(states(&world), [State::Finished; 2]);
}

#[test]
fn a_stop_wins_over_a_restart_that_is_due() {
    let mut world = World::new(rules(2), |task_id, _| if task_id == 0 { ends(10, FAILED) } else { serves() });
    world.run_for(50);
    let due = world.policy.poll_timeout().unwrap();
    world.now = due.0;
    world.ask(Ask::Stop);
    assert!(matches!(world.run(), Exit::Stopped { .. }), "and the world sees no fork");
}

#[test]
fn a_stop_waits_for_no_deadline_but_its_own() {
    let script = |task_id, _| if task_id == 0 { ends(10, FAILED) } else { ignores_sigterm() };
    let mut world = World::new(rules(2), script);
    world.run_for(50);
    world.ask(Ask::Stop);
    world.run_for(0);
    assert_eq!(world.policy.poll_timeout(), Some(Time(ms(50 + 25_000))));
}

#[test]
fn a_stop_between_two_forks_of_the_start_forks_no_more() {
    for ask in [Ask::Stop, Ask::StopNow] {
        let mut world = World::new(rules(4), |_, _| serves());
        while world.alive.len() < 2 {
            world.step(FOREVER);
        }
        world.ask(ask);
        assert!(matches!(world.run(), Exit::Stopped { .. }));
        assert!(!world.deeds().contains(&Deed::Fork(2)));
    }
}

#[test]
fn a_stop_before_the_first_fork_forks_nothing() {
    let mut world = World::new(rules(4), |_, _| serves());
    world.ask(Ask::Stop);
    assert!(matches!(world.run(), Exit::Stopped { killed: 0, .. }));
    assert_eq!(world.deeds(), [Deed::Close, Deed::Exit]);
}

#[test]
fn what_ends_during_a_stop_is_neither_replaced_nor_counted_whatever_its_status() {
    let statuses = [NORMAL, FAILED, SEGFAULT, REAL_TIME_SIGNAL];
    let mut world = World::new(Rules { max_restarts: Some(0), ..rules(4) }, move |task_id, _| {
        drains(10 + task_id as u64, statuses[task_id])
    });
    world.run_for(100);
    world.ask(Ask::Stop);
    assert!(matches!(world.run(), Exit::Stopped { killed: 0, .. }));
    assert_eq!(world.times(Deed::Exit), [ms(113)]);
    assert!(!world.notices.iter().any(|n| matches!(n, Notice::Finished { .. } | Notice::Restarting { .. })));
}

#[test]
fn a_stop_during_giving_up_does_not_hasten_it_but_an_interrupt_after_it_does_and_it_stays_given_up() {
    for first in [Ask::Stop, Ask::Interrupt] {
        let mut world = World::new(Rules { max_restarts: Some(0), ..rules(2) }, |task_id, _| match task_id {
            0 => ends(1000, FAILED),
            _ => ignores_sigterm(),
        });
        world.run_for(2000);
        for ask in [first, Ask::Stop] {
            world.ask(ask);
            world.run_for(1000);
        }
        assert_eq!(world.deeds()[2..], [Deed::Close, Deed::Terminate(1)]);
        world.ask(Ask::Interrupt);
        assert!(matches!(world.run(), Exit::GaveUp { task_id: 0, reason: GiveUp::Budget(_) }));
        assert_eq!(world.times(Deed::Kill(1)), [ms(4000)]);
    }
}

#[test]
fn what_survives_sigkill_for_5_s_is_named_and_left_behind() {
    let mut world = World::new(rules(4), |task_id, _| if task_id % 2 == 1 { survives_sigkill() } else { serves() });
    world.run_for(100);
    let survivors: Vec<_> = world.alive.iter().filter(|(_, p)| p.task_id % 2 == 1).map(|(&proc, _)| proc).collect();
    world.ask(Ask::StopNow);
    assert!(matches!(world.run(), Exit::Unkillable(procs) if *procs == survivors));
    assert_eq!(world.times(Deed::Exit), [ms(5100)]);
}

#[test]
fn what_dies_late_of_sigkill_is_not_left_behind() {
    let late = Life { terminated: None, killed: Some((ms(4_999), SIGKILLED)), ..OBEYS };
    let mut world = World::new(rules(1), move |_, _| Fork::Runs(late));
    world.run_for(100);
    world.ask(Ask::Stop);
    assert!(matches!(world.run(), Exit::Stopped { killed: 1, .. }));
    assert_eq!(world.times(Deed::Exit), [ms(100 + 25_000 + 4_999)]);
}

#[test]
fn what_ends_at_the_very_deadline_is_in_time() {
    let mut world = World::new(rules(2), |_, _| drains(25_000, NORMAL));
    world.run_for(100);
    world.ask(Ask::Stop);
    assert!(matches!(world.run(), Exit::Stopped { killed: 0, .. }));
    let late = Life { killed: Some((KILL_TIMEOUT, SIGKILLED)), ..OBEYS };
    let mut world = World::new(rules(2), move |_, _| Fork::Runs(late));
    world.run_for(100);
    world.ask(Ask::StopNow);
    assert!(matches!(world.run(), Exit::Stopped { killed: 2, .. }));
}

#[test]
fn a_graceful_timeout_may_be_nothing_or_endless() {
    let mut world = World::new(Rules { graceful_timeout: Duration::ZERO, ..rules(1) }, |_, _| drains(1, NORMAL));
    world.run_for(100);
    world.ask(Ask::Stop);
    assert!(matches!(world.run(), Exit::Stopped { killed: 1, .. }));
    let mut world = World::new(Rules { graceful_timeout: Duration::MAX, ..rules(1) }, |_, _| drains(1 << 39, NORMAL));
    world.run_for(100);
    world.ask(Ask::Stop);
    assert!(matches!(world.run(), Exit::Stopped { killed: 0, .. }));
}

#[test]
fn a_stop_ends_a_reload_without_a_word_about_it() {
    for ask in [Ask::Stop, Ask::StopNow] {
        let mut world = World::new(announced(2, 1000), |_, fork| match fork {
            0 => serves().ready(100),
            _ => drains(50, FAILED).never_ready(),
        });
        world.run_for(500);
        world.ask(Ask::Reload);
        world.run_for(10);
        world.ask(Ask::Reload);
        world.run_for(10);
        world.ask(ask);
        world.run();
        let about_reloads = |notice: &Notice| matches!(notice, Notice::ReloadFailed { .. } | Notice::Reloaded { .. });
        let begun = |notice: &Notice| matches!(notice, Notice::Reloading { .. });
        assert_eq!((world.count(about_reloads), world.count(begun)), (0, 1));
        assert_eq!(world.count(|notice| matches!(notice, Notice::Stopped { .. })), 3, "each is told of alike");
    }
}

#[test]
fn a_worker_that_is_told_to_end_is_not_ready_any_more() {
    for ask in [Ask::Stop, Ask::StopNow] {
        let mut world = World::new(rules(3), |_, _| survives_sigkill());
        world.run_for(500);
        assert_eq!(world.policy.ready(), 3);
        world.ask(ask);
        world.run_for(0);
        assert_eq!(world.policy.ready(), 0);
        assert!(world.views.values().all(|view| view.state == State::Stopping), "{:?}", world.views);
        world.ask(Ask::StopNow);
        world.run_for(0);
        let killing = |notice: &Notice| matches!(notice, Notice::Killing { alive: 3, .. });
        assert_eq!((world.count(killing), world.policy.deadlines.len()), (1, 1), "one thing is waited for");
    }
}

#[test]
fn where_no_worker_lives_no_notice_tells_of_stopping_workers() {
    for ask in [Ask::Stop, Ask::StopNow] {
        let mut world = World::new(rules(1), |_, _| ends(10, FAILED));
        world.run_for(50);
        assert!(world.alive.is_empty(), "it waits for its backoff");
        world.ask(ask);
        assert!(matches!(world.run(), Exit::Stopped { killed: 0, .. }));
        let said = |notice: &Notice| matches!(notice, Notice::Stopping { .. } | Notice::Killing { .. });
        assert_eq!(world.count(said), 0);
    }
}
