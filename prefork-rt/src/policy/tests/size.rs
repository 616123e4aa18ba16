//! Many workers and many deaths.

use std::collections::VecDeque;

use super::*;

/// Performs all actions, with forks that succeed. Says how many actions there were, and which processes were started.
fn drain(policy: &mut Policy) -> (usize, Vec<ProcId>) {
    let (mut actions, mut started) = (0, Vec::new());
    while let Some(action) = policy.poll() {
        actions += 1;
        if let Action::Fork { proc, .. } = action {
            policy.handle(policy.now, Event::Forked(proc));
            started.push(proc);
        }
    }
    (actions, started)
}

#[test]
fn a_thousand_deaths_among_4096_workers_cost_a_few_actions_each_and_touch_no_other_slot() {
    let mut policy = Policy::new(Rules { max_restarts: None, ..rules(4096) }, &Uncopied::default());
    let (actions, workers) = drain(&mut policy);
    assert_eq!((actions, workers.len()), (2 * 4096 + 1, 4096), "a fork and a notice each, and that all are ready");
    for &proc in workers.iter().step_by(4) {
        policy.handle(Time(ms(10)), Event::Ended(proc, SIGKILLED));
    }
    assert_eq!(policy.dirty.iter().count(), 1024, "slots to look at");
    let (actions, replacements) = drain(&mut policy);
    assert_eq!((actions, replacements.len()), (3 * 1024, 1024), "a notice of the end, a fork, a notice of the start");
    for &proc in &replacements {
        policy.handle(Time(ms(20)), Event::Ended(proc, SIGKILLED));
    }
    assert_eq!((policy.dirty.iter().count(), policy.deadlines.len()), (0, 1024), "all wait");
    assert_eq!(drain(&mut policy).0, 1025, "a notice each, and that it looks like a failure to boot");
    policy.handle(Time(ms(1000)), Event::Tick);
    assert_eq!(drain(&mut policy).0, 2 * 1024, "a fork and a notice each");
    assert_eq!(policy.poll_timeout(), None);
}

#[test]
fn a_million_steps_leave_nothing_behind() {
    let mut policy = Policy::new(Rules { max_restarts: None, ..without_backoff(4096) }, &Uncopied::default());
    let mut workers = VecDeque::from(drain(&mut policy).1);
    let mut steps = 0;
    while steps < 1_000_000 {
        let proc = workers.pop_front().unwrap();
        policy.handle(Time(ms(steps as u64)), Event::Ended(proc, FAILED));
        let (actions, started) = drain(&mut policy);
        assert_eq!((actions, started.len()), (3, 1));
        steps += 2 + actions;
        workers.extend(started);
    }
    assert_eq!(policy.alive, 4096);
    assert_eq!((policy.dirty.iter().count(), policy.actions.iter().count(), policy.deadlines.len()), (0, 0, 0));
}
