//! What has begun comes to an end, whatever happens to the slots and processes that it waits for.

use super::*;

/// Ready after 100 ms, ends 50 ms after SIGTERM.
fn steady() -> Fork {
    drains(50, NORMAL).ready(100)
}

fn stuck() -> Fork {
    survives_sigkill().ready(0)
}

/// SIGKILL ends it after this long.
fn dies_after(milliseconds: u64) -> Fork {
    let killed = Some((ms(milliseconds), SIGKILLED));
    Fork::Runs(Life { terminated: None, aborted: None, killed, ..OBEYS })
}

/// Some reload was abandoned because this task id has a process that SIGKILL has not ended.
fn is_overdue(task: usize) -> impl Fn(&Notice) -> bool {
    move |notice| {
        let why = |why: &TurnFailure| matches!(why, TurnFailure::Overdue { worker } if worker.task_id == task);
        matches!(notice, Notice::ReloadFailed { why: failure, .. } if why(failure))
    }
}

fn reloaded(notice: &Notice) -> bool {
    matches!(notice, Notice::Reloaded { .. })
}

#[test]
fn a_slot_that_was_one_too_many_while_its_newcomer_booted_has_its_turn_once_more() {
    let with_sockets = Rules { slots_have_sockets: true, ..announced(3, 1000) };
    let mut world = World::new(with_sockets, |task_id, _| if task_id == 0 { ends(100, NORMAL) } else { steady() });
    world.run_for(500);
    world.ask(Ask::Upgrade);
    world.run_for(60);
    assert_eq!(world.alive_of(1).len(), 2, "the first newcomer boots");
    for ask in [Ask::Fewer, Ask::Fewer, Ask::More] {
        world.ask(ask);
    }
    world.run_for(60_000);
    assert_eq!(world.times(Deed::Commit).len(), 1);
    assert_eq!(world.count(|notice| matches!(notice, Notice::UpgradeDone { .. })), 1);
    world.ask(Ask::Reload);
    world.run_for(60_000);
    assert_eq!(world.count(reloaded), 1);
}

#[test]
fn a_reload_does_not_wait_for_a_worker_that_sigkill_does_not_end() {
    for reload in [Reload::Overlap, Reload::Exclusive] {
        let script = |task_id, fork| if (task_id, fork) == (0, 0) { stuck() } else { steady() };
        let mut world = World::new(Rules { reload, ..announced(2, 1000) }, script);
        world.run_for(500);
        world.ask(Ask::Reload);
        world.run_for(60_000);
        assert_eq!(world.count(is_overdue(0)), 1, "{reload:?}");
        assert_eq!(world.times(Deed::Fork(1)).len(), 1, "the next one is left alone");
        world.ask(Ask::Reload);
        world.run_for(60_000);
        // The slot has no room for a replacement, or no worker to replace.
        let (failed, done) = if reload == Reload::Overlap { (2, 0) } else { (1, 1) };
        assert_eq!((world.count(is_overdue(0)), world.count(reloaded)), (failed, done), "{reload:?}");
        assert_eq!(world.used(), 0);
    }
}

/// The worker hangs while its replacement boots. The reload or upgrade does not.
#[test]
fn what_replaces_a_worker_that_sigkill_did_not_end_before_waits_for_nothing() {
    for ask in [Ask::Reload, Ask::Upgrade] {
        let script = |task_id, fork| match (task_id, fork) {
            (0, 0) => stuck().heartbeats(0, 100, 500),
            (0, 1) => drains(50, NORMAL).ready(20_000),
            _ => steady(),
        };
        let watched = Rules { heartbeat_timeout: Some(ms(1000)), ..announced(2, 60_000) };
        let mut world = World::new(watched, script);
        world.run_for(500);
        world.ask(ask);
        world.run_for(60_000);
        assert_eq!((world.count(is_overdue(0)), world.alive_of(0).len()), (1, 2), "{ask:?}");
        world.ask(Ask::Upgrade);
        world.run_for(60_000);
        assert_eq!(world.times(Deed::Upgrade).len(), 1 + usize::from(ask == Ask::Upgrade));
    }
}

#[test]
fn a_reload_does_not_wait_for_a_replacement_that_sigkill_does_not_end_and_its_late_end_does_not_count() {
    let mut world = World::new(announced(2, 1000), |task_id, fork| match (task_id, fork) {
        (0, 1) => dies_after(20_000).never_ready(),
        _ => steady(),
    });
    world.run_for(500);
    let old = world.alive_of(0)[0];
    world.ask(Ask::Reload);
    world.run_for(6_500);
    assert_eq!(world.count(is_overdue(0)), 1);
    world.run_for(60_000);
    assert_eq!((world.alive_of(0), world.used()), (vec![old], 0));
    world.ask(Ask::Reload);
    world.run_for(60_000);
    assert_eq!(world.count(reloaded), 1);
}

#[test]
fn recycling_goes_on_with_others_where_a_slot_has_no_room() {
    let mut world = World::new(announced(2, 1000), |task_id, fork| match (task_id, fork) {
        (0, 0) => drains(50, NORMAL).asks_at(500),
        (0, 1) => dies_after(60_000).never_ready(),
        (1, 0) => drains(50, NORMAL).asks_at(600),
        _ => steady(),
    });
    world.run_for(30_000);
    assert_eq!(world.times(Deed::Fork(1)), [0, 6500].map(ms), "when the replacement of the other is given up");
    assert_eq!(world.times(Deed::Fork(0)).len(), 2);
    world.run_for(100_000);
    assert_eq!((world.times(Deed::Fork(0)).len(), world.used()), (3, 0), "it has its turn when there is room");
    assert_eq!(world.policy.poll_timeout(), None);
}

#[test]
fn an_upgrade_does_not_wait_for_a_process_that_sigkill_does_not_end() {
    // The old worker, before a new one is started; and the first new one.
    for (reload, old, new) in
        [(Reload::Exclusive, stuck(), steady()), (Reload::Overlap, steady(), dies_after(20_000).never_ready())]
    {
        let script = move |task_id, fork| match (task_id, fork) {
            (0, 0) => old,
            (0, 1) => new,
            _ => steady(),
        };
        let mut world = World::new(Rules { reload, ..announced(2, 1000) }, script);
        world.run_for(500);
        world.ask(Ask::Upgrade);
        world.run_for(60_000);
        assert_eq!(world.count(|notice| matches!(notice, Notice::WentBack { .. })), 1, "{reload:?}");
        assert_eq!((world.alive.len(), world.used()), (2, 0));
        world.ask(Ask::Reload);
        world.run_for(60_000);
        assert_eq!(world.count(reloaded), 1);
    }
}

/// The only slot is held by a process that neither serves nor ends.
#[test]
fn a_new_binary_that_cannot_start_a_worker_goes_back() {
    let watched = Rules { heartbeat_timeout: Some(ms(1000)), ..announced(1, 1000) };
    let mut world = World::new(watched, |_, _| stuck().heartbeats(0, 100, 500));
    world.run_for(2000);
    world.ask(Ask::Upgrade);
    world.run_for(60_000);
    assert_eq!(world.times(Deed::Upgrade).len(), 1);
    assert_eq!(world.count(|notice| matches!(notice, Notice::WentBack { .. })), 1);
    world.ask(Ask::Upgrade);
    world.run_for(60_000);
    assert_eq!(world.times(Deed::Upgrade).len(), 2);
}
