//! A debugger or a core dump holds a worker that would be killed for being slow.

use super::super::hold::DUMP_TIMEOUT;
use super::*;

/// When a worker whose heartbeats stop after 2 s is found to hang: heartbeat_timeout later, and a tenth of it for the
/// second report.
const HUNG: u64 = 3100;

fn debugger() -> Hold {
    Hold::Debugger("pid 4711 (gdb)".to_owned())
}

fn watched() -> Rules {
    Rules { heartbeat_timeout: Some(ms(1000)), ..rules(1) }
}

/// The first worker sends heartbeats for 2 s, and is held like this.
fn held(from: u64, until: u64, hold: Hold) -> World {
    let mut world =
        World::new(watched(), |_, fork| if fork == 0 { serves().heartbeats(0, 100, 2000) } else { serves() });
    world.holds.push((0, from, until, hold));
    world
}

fn debugged(world: &World) -> usize {
    world.count(|notice: &Notice| matches!(notice, Notice::Debugged { by, .. } if by == "pid 4711 (gdb)"))
}

fn dumping(world: &World) -> usize {
    world.count(|notice: &Notice| matches!(notice, Notice::Dumping { .. }))
}

#[test]
fn a_worker_that_a_debugger_holds_is_not_taken_for_hung_and_that_is_said_once() {
    let mut world = held(0, 1_000_000, debugger());
    world.run_for(999_000);
    assert!(world.times(Deed::Abort(0)).is_empty() && world.times(Deed::Kill(0)).is_empty());
    assert_eq!((debugged(&world), world.used()), (1, 0));
    assert!(world.wakeups < 4100, "{}", world.wakeups);
}

#[test]
fn a_worker_that_a_debugger_lets_go_has_all_of_its_time_once_more() {
    for let_go in [5_000, 5_001, 5_500, 5_999] {
        let mut world = held(0, let_go, debugger());
        world.run_for(60_000);
        let [aborted] = world.times(Deed::Abort(0))[..] else { panic!("once") };
        assert!((ms(let_go + 1100)..=ms(let_go + 2300)).contains(&aborted), "{let_go}: {aborted:?}");
    }
}

#[test]
fn a_debugger_that_comes_again_is_said_again() {
    let mut world = held(0, 5000, debugger());
    world.holds.push((0, 6000, 60_000, debugger()));
    world.run_for(50_000);
    assert_eq!((debugged(&world), world.times(Deed::Abort(0)).len()), (2, 0));
}

#[test]
fn a_debugger_that_comes_before_sigkill_holds_it_off() {
    let mut world = World::new(watched(), |_, fork| match fork {
        0 => serves().heartbeats(0, 100, 2000).ignores_sigabrt(),
        _ => serves(),
    });
    world.holds.push((0, HUNG + 1, 60_000, debugger()));
    world.run_for(100_000);
    assert_eq!(world.times(Deed::Abort(0)), [ms(HUNG)]);
    let [killed] = world.times(Deed::Kill(0))[..] else { panic!("once") };
    assert!((ms(60_000)..=ms(65_000)).contains(&killed), "{killed:?}");
    assert_eq!(debugged(&world), 1);
}

#[test]
fn ready_timeout_waits_for_a_debugger_and_begins_anew() {
    let mut world = World::new(announced(1, 1000), |_, fork| if fork == 0 { serves().never_ready() } else { serves() });
    world.holds.push((0, 0, 10_500, debugger()));
    world.run_for(60_000);
    let [killed] = world.times(Deed::Kill(0))[..] else { panic!("once") };
    assert!((ms(11_500)..=ms(12_500)).contains(&killed), "{killed:?}");
    assert_eq!(debugged(&world), 1);
    let mut world = World::new(announced(1, 1000), |_, _| serves().ready(5000));
    world.holds.push((0, 0, 4500, debugger()));
    world.run_for(60_000);
    assert!(world.times(Deed::Kill(0)).is_empty());
}

#[test]
fn a_stop_and_a_reload_do_not_wait_for_a_debugger() {
    let mut world = World::new(rules(1), |_, fork| if fork == 0 { ignores_sigterm() } else { serves() });
    world.holds.push((0, 0, 1_000_000, debugger()));
    world.run_for(1000);
    world.ask(Ask::Reload);
    world.run_for(100_000);
    assert_eq!(world.times(Deed::Kill(0)), [ms(26_000)]);
    let mut world = World::new(watched(), |_, _| ignores_sigterm());
    world.holds.push((0, 0, 1_000_000, debugger()));
    world.run_for(1000);
    world.ask(Ask::Stop);
    assert!(matches!(world.run(), Exit::Stopped { killed: 1, .. }));
    assert_eq!(world.times(Deed::Kill(0)), [ms(26_000)]);
}

/// The worker crashed, or got SIGABRT, and the kernel writes its core.
#[test]
fn sigkill_waits_for_a_core_dump_within_a_bound() {
    for (dumps_until, killed) in [(20_000, 25_100), (10_000_000, 5000 + HUNG + DUMP_TIMEOUT.as_millis() as u64)] {
        let mut world = World::new(watched(), |_, fork| match fork {
            0 => serves().heartbeats(0, 100, 2000).ignores_sigabrt(),
            _ => serves(),
        });
        world.holds.push((0, HUNG, dumps_until, Hold::CoreDump));
        // The verdict comes before the dump.
        world.holds[0].1 += 1;
        world.run_for(1_000_000);
        assert_eq!(world.times(Deed::Abort(0)), [ms(HUNG)]);
        let [last] = world.times(Deed::Kill(0))[..] else { panic!("once") };
        assert!(last >= ms(killed) && last <= ms(killed + 1000), "{dumps_until}: {last:?}");
        assert_eq!(dumping(&world), 1);
    }
}

#[test]
fn a_worker_that_has_dumped_core_has_a_while_to_end() {
    let mut world = World::new(watched(), |_, fork| {
        let mut life = OBEYS;
        life.aborted = Some((ms(14_000), ABORTED));
        if fork == 0 { Fork::Runs(life).heartbeats(0, 100, 2000) } else { serves() }
    });
    world.holds.push((0, HUNG + 1, 16_000, Hold::CoreDump));
    world.run_for(100_000);
    assert!(world.times(Deed::Kill(0)).is_empty());
    assert_eq!((world.times(Deed::Abort(0)).len(), world.times(Deed::Fork(0)).len()), (1, 2));
}

#[test]
fn a_worker_that_dumps_core_is_not_taken_for_hung() {
    let mut world = held(2000, 60_000, Hold::CoreDump);
    world.run_for(59_000);
    assert!(world.times(Deed::Abort(0)).is_empty());
    assert_eq!(dumping(&world), 1);
}

#[test]
fn a_worker_that_dumps_core_when_its_time_to_end_is_over_is_waited_for() {
    let mut world = World::new(rules(1), |_, fork| if fork == 0 { drains(60_000, SEGFAULT) } else { serves() });
    world.holds.push((0, 10_000, 61_000, Hold::CoreDump));
    world.run_for(1000);
    world.ask(Ask::Reload);
    world.run_for(100_000);
    assert!(world.times(Deed::Kill(0)).is_empty());
    let mut world = World::new(rules(1), |_, _| drains(60_000, SEGFAULT));
    world.holds.push((0, 0, 61_000, Hold::CoreDump));
    world.run_for(1000);
    world.ask(Ask::Stop);
    assert!(matches!(world.run(), Exit::Stopped { killed: 1, .. }), "the stop of a pool does not wait");
}

#[test]
fn what_comes_meanwhile_makes_an_answer_pointless() {
    let mut world = World::new(watched(), |_, _| serves().heartbeats(0, 100, 2000));
    world.run_for(0);
    let proc = world.alive_of(0)[0];
    for hold in [Hold::Nothing, debugger(), Hold::CoreDump] {
        world.policy.handle(Time(world.now), Event::Inspected(proc, hold));
    }
    assert!(world.policy.poll().is_none());
    assert_eq!((debugged(&world), dumping(&world)), (0, 0));
}
