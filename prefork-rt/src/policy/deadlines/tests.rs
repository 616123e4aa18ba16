use std::collections::BTreeMap;
use std::time::Duration;

use super::*;

fn none() -> Deadlines {
    Deadlines::new(&Uncopied::default(), 1)
}

fn at(milliseconds: u64) -> Time {
    Time(Duration::from_millis(milliseconds))
}

fn proc(task_id: usize, fork: u64) -> ProcId {
    ProcId { task_id, fork }
}

fn alarm(id: ProcId, alarm: Alarm) -> Deadline {
    Deadline::Proc { id, alarm }
}

fn all_due(deadlines: &mut Deadlines, now: Time) -> Vec<Deadline> {
    iter::from_fn(|| deadlines.take_due(now)).collect()
}

#[test]
fn deadlines_are_due_in_the_order_of_their_times_and_once() {
    let mut deadlines = none();
    deadlines.set(Deadline::Kill, at(30));
    deadlines.set(Deadline::Start(7), at(10));
    deadlines.set(Deadline::Queue(1), at(20));
    assert_eq!(deadlines.next(), Some(at(10)));
    assert_eq!(deadlines.take_due(at(9)), None);
    assert_eq!(all_due(&mut deadlines, at(20)), [Deadline::Start(7), Deadline::Queue(1)]);
    assert_eq!((deadlines.next(), deadlines.take_due(at(29))), (Some(at(30)), None));
    assert_eq!(all_due(&mut deadlines, at(1000)), [Deadline::Kill]);
    assert_eq!((deadlines.next(), deadlines.len()), (None, 0));
}

/// Against a set that is in order, in a long row of changes.
#[test]
fn the_first_that_is_due_comes_first_whatever_was_set_and_cleared_before() {
    let (mut deadlines, mut model) = (none(), BTreeMap::new());
    let mut seed = 1_u64;
    let mut next = |below: u64| {
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (seed >> 33) % below
    };
    for _ in 0..20_000 {
        let task_id = next(40) as usize;
        let alarms = [Alarm::Ready, Alarm::Heartbeat, Alarm::Kill];
        let deadline = match next(6) {
            0 => Deadline::Start(task_id),
            1 => Deadline::Kill,
            kind => alarm(proc(task_id, kind % 2), alarms[next(3) as usize]),
        };
        let time = at(next(500));
        match next(4) {
            0 => assert_eq!(deadlines.clear(deadline), model.remove(&deadline).is_some()),
            1 => {
                let due = model.iter().map(|(&deadline, &due)| (due, deadline)).min().filter(|&(due, _)| due <= time);
                assert_eq!(deadlines.take_due(time), due.map(|(_, deadline)| deadline));
                due.map(|(_, deadline)| model.remove(&deadline));
            }
            _ => {
                deadlines.set(deadline, time);
                model.insert(deadline, time);
            }
        }
        assert_eq!((deadlines.next(), deadlines.len()), (model.values().min().copied(), model.len()));
    }
}

#[test]
fn a_deadline_that_is_set_again_is_due_at_the_new_time_only() {
    let mut deadlines = none();
    deadlines.set(Deadline::Start(0), at(10));
    deadlines.set(Deadline::Start(0), at(50));
    assert_eq!(deadlines.take_due(at(49)), None);
    deadlines.set(Deadline::Start(0), at(5));
    assert_eq!((deadlines.time_of(Deadline::Start(0)), deadlines.len()), (Some(at(5)), 1));
    assert_eq!(all_due(&mut deadlines, at(100)), [Deadline::Start(0)]);
}

#[test]
fn a_deadline_that_is_cleared_is_never_due() {
    let mut deadlines = none();
    deadlines.set(Deadline::Rehearsal, at(10));
    assert!(deadlines.has(Deadline::Rehearsal));
    assert!(deadlines.clear(Deadline::Rehearsal), "it was set");
    assert!(!deadlines.clear(Deadline::Rehearsal), "it is cleared");
    assert_eq!((deadlines.next(), deadlines.has(Deadline::Rehearsal)), (None, false));
}

#[test]
fn the_alarms_of_one_process_are_cleared_without_those_of_others() {
    let mut deadlines = none();
    let others = [alarm(proc(3, 0), Alarm::Overdue), alarm(proc(3, 2), Alarm::Ready), Deadline::Start(3)];
    let own = [Alarm::Ready, Alarm::Retire, Alarm::Overdue];
    own.iter().for_each(|&own| deadlines.set(alarm(proc(3, 1), own), at(5)));
    others.iter().for_each(|&other| deadlines.set(other, at(10)));
    let mut cleared: Vec<Alarm> = iter::from_fn(|| deadlines.clear_one_of(proc(3, 1))).collect();
    cleared.sort_unstable();
    assert_eq!(cleared, own);
    assert_eq!(deadlines.len(), others.len());
    assert!(others.iter().all(|&other| deadlines.has(other)));
}

#[test]
fn the_processes_that_have_an_alarm_are_found() {
    let mut deadlines = none();
    for task_id in [2, 0, 1] {
        deadlines.set(alarm(proc(task_id, 0), Alarm::Heartbeat), at(10));
    }
    deadlines.set(alarm(proc(4, 0), Alarm::Kill), at(10));
    assert_eq!(deadlines.procs_with(Alarm::Heartbeat), [0, 1, 2].map(|task_id| proc(task_id, 0)));
    assert_eq!(deadlines.procs_with(Alarm::Ready), []);
}

#[test]
fn what_is_kept_is_due_and_the_rest_is_not() {
    let mut deadlines = none();
    deadlines.set(alarm(proc(0, 0), Alarm::Kill), at(10));
    deadlines.set(alarm(proc(0, 0), Alarm::Ready), at(5));
    deadlines.set(Deadline::Awake, at(1));
    deadlines.retain(|deadline| matches!(deadline, Deadline::Proc { alarm: Alarm::Kill, .. }));
    assert_eq!((deadlines.next(), deadlines.len()), (Some(at(10)), 1));
    deadlines.clear_all();
    assert_eq!((deadlines.next(), deadlines.len()), (None, 0));
}

#[test]
fn the_next_binary_goes_by_what_belongs_to_slots_and_processes() {
    let mut deadlines = none();
    let own = [Deadline::Kill, Deadline::LeaveBehind, Deadline::Rehearsal, Deadline::Awake];
    own.iter().for_each(|&own| deadlines.set(own, at(1)));
    let handed_off = [Deadline::Queue(1), Deadline::Start(0), alarm(proc(0, 0), Alarm::Retire)];
    (10..).zip(handed_off).for_each(|(time, deadline)| deadlines.set(deadline, at(time)));
    let expected: Vec<_> = (10..).map(at).zip(handed_off).collect();
    assert_eq!(deadlines.snapshot(), expected);
}
