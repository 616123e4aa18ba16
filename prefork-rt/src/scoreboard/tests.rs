use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::board::*;
use super::layout::*;
use super::seat::{OWN_SEAT, OwnSeat, heartbeat, prepare, ready, recycle, terminated};
use crate::policy::{Reported, State};
use crate::sys;

fn publisher(workers: usize) -> Publisher {
    Publisher::new(workers).unwrap()
}

/// Takes the seat of a worker.
fn take(publisher: &Publisher, task_id: usize, process: Occupant) -> OwnSeat {
    OwnSeat::take(publisher.seat(task_id, process.seat), task_id, process)
}

fn process(fork: u64, seat: usize) -> Occupant {
    Occupant { pid: 4711, fork, seat, started: Duration::from_millis(250) }
}

fn running(fork: u64, seat: usize) -> Row {
    Row { state: State::Ready, proc: Some(process(fork, seat)), restarts: 3 }
}

#[test]
fn there_is_room_for_more_workers() {
    assert_eq!([0, 1, 4, 64, 65, 4096].map(capacity), [64, 65, 68, 128, 130, 8192]);
    assert_eq!(capacity(usize::MAX), usize::MAX);
    assert_eq!(publisher(4).board().capacity(), 68);
    assert!(Publisher::new(usize::MAX).is_err());
}

#[test]
fn a_beat_is_packed_with_its_count() {
    let first = next_heartbeat(0, u32::MAX);
    assert_eq!((heartbeat_time(first), heartbeat_count(first)), (u32::MAX, 1));
    let last = next_heartbeat(first, 0) | u64::from(u32::MAX);
    assert_eq!((heartbeat_time(last), heartbeat_count(last)), (0, u32::MAX));
    let wrapped = next_heartbeat(last, 5);
    assert_eq!(
        (heartbeat_time(wrapped), heartbeat_count(wrapped)),
        (5, 0),
        "a count that overflows leaves the time alone"
    );
}

#[test]
fn names_in_another_order_are_another_shape_and_have_other_numbers() {
    mod other {
        use super::super::layout::numbered;
        numbered!(NAMES: usize = 0, then [+ 1] { REPORTED, TERMINATED_AT, HEARTBEAT });
        pub(super) const PLACES: [usize; 3] = [REPORTED, HEARTBEAT, TERMINATED_AT];
        pub(in super::super) const SHAPE: &[&str] = NAMES;
    }
    assert_eq!(([REPORTED, HEARTBEAT, TERMINATED_AT], other::PLACES), ([0, 1, 2], [0, 2, 1]));
    assert_ne!(SEAT_WORDS, other::SHAPE);
    assert!(shape().contains(&SEAT_WORDS.join(",")));
    assert_eq!([READY, RECYCLE, HAS_HEARTBEAT, TERMINATED], [1, 2, 4, 8], "a bit for each");
    const { assert!(HEADER.len() <= ROW_WORDS && ROW.len() <= ROW_WORDS && 1 << FLAG_NAMES.len() <= FLAGS) };
}

#[test]
fn an_age_survives_the_wrap_of_the_clock() {
    let ms = |milliseconds| Duration::from_millis(milliseconds);
    assert_eq!(age_at(1000, 400), ms(600));
    assert_eq!(age_at(100, u32::MAX - 99), ms(200));
    assert_eq!(age_at(7, 7), ms(0));
    assert_eq!(age_at(1000, 1010), ms(0), "stored after the clock was read");
    assert_eq!(age_at(5, u32::MAX), ms(6));
    assert_eq!(age_at(u32::MAX, 5), ms(0), "stored after the clock was read, and had wrapped");
}

#[cfg(target_os = "linux")]
#[test]
fn the_next_binary_has_the_same_board() {
    let pool = Publisher::new(2).unwrap();
    let file = || pool.file().expect("Linux has memory that is a file").try_clone().unwrap();
    pool.publish(1, running(5, 0));
    take(&pool, 1, process(5, 0)).report(READY);
    let next = Publisher::adopt(file(), pool.board().capacity(), pool.board().origin()).unwrap();
    assert_eq!((next.board().row_now(1), next.board().row_now(0).0.proc), ((running(5, 0), 6), None));
    assert!(next.board().read_report(1, &process(5, 0)).ready);
    next.publish(0, running(6, 1));
    assert_eq!(pool.board().row_now(0), (running(6, 1), 7), "the old board shows what is new");
    assert!(
        Publisher::adopt(file(), pool.board().capacity() * 2, pool.board().origin()).is_err(),
        "it is not as large as that"
    );
}

#[test]
fn every_state_survives_a_row() {
    let pool = publisher(1);
    for state in State::ALL {
        let row = Row { state, ..running(9, 1) };
        pool.publish(0, row);
        assert_eq!(pool.board().row_now(0), (row, 10));
    }
    let waiting = Row { state: State::Waiting, proc: None, restarts: 4 };
    pool.publish(0, waiting);
    assert_eq!(pool.board().row_now(0), (waiting, 10));
    assert_eq!(format!("{:<9}|{}", State::Ready, State::Waiting), "ready    |waiting");
}

#[test]
fn a_worker_reports_in_its_seat_alone() {
    let pool = publisher(2);
    assert_eq!(pool.board().read_report(1, &process(5, 0)), Reported::default());
    let seat = take(&pool, 1, process(5, 0));
    assert_eq!(pool.board().read_report(1, &process(5, 0)), Reported::default());
    seat.report(READY);
    assert_eq!(pool.board().read_report(1, &process(5, 0)), Reported { ready: true, ..Reported::default() });
    seat.report(RECYCLE);
    seat.heartbeat();
    seat.terminated();
    let reported = pool.board().read_report(1, &process(5, 0));
    assert!(reported.ready && reported.recycle && reported.heartbeat.is_some());
    assert_eq!(reported.terminated, None, "pid 4711 is another process");
    for (task_id, seat, fork) in [(1, 0, 4), (1, 0, 6), (1, 1, 5), (0, 0, 5)] {
        assert_eq!(
            pool.board().read_report(task_id, &process(fork, seat)),
            Reported::default(),
            "task {task_id}, seat {seat}, fork {fork}"
        );
    }
}

#[test]
fn a_predecessors_report_is_gone_when_the_seat_is_taken() {
    let pool = publisher(1);
    let pid = sys::getpid().as_raw();
    let before = take(&pool, 0, Occupant { pid, ..process(0, 0) });
    before.heartbeat();
    before.terminated();
    before.report(RECYCLE);
    assert!(pool.board().read_report(0, &process(0, 0)).terminated.is_some_and(|age| age < Duration::from_secs(60)));
    let after = take(&pool, 0, process(2, 0));
    assert_eq!([0, 2].map(|fork| pool.board().read_report(0, &process(fork, 0))), [Reported::default(); 2]);
    assert_eq!([load(after.seat.heartbeat), load(after.seat.terminated)], [0, 0]);
}

/// A worker may write any time: one before its start, or one in the future, is not possible.
#[test]
fn the_times_that_a_worker_reports_are_within_its_life() {
    let pool = publisher(1);
    let process = |started| Occupant { started, ..process(1, 0) };
    let seat = pool.seat(0, 0);
    store(seat.heartbeat, u64::MAX);
    store(seat.terminated, u64::MAX);
    seat.reported.store(tag(1) | FLAGS, Ordering::Release);
    for time in [0, 1, u32::MAX / 2, u32::MAX - 60_000, u32::MAX] {
        let time = sys::milliseconds().wrapping_sub(time);
        store(seat.heartbeat, u64::from(time) << HEARTBEAT_TIME);
        store(seat.terminated, u64::from(time) | 1 << 63);
        for (started, most) in [(Duration::ZERO, Duration::from_secs(60)), (Duration::MAX, Duration::ZERO)] {
            let reported = pool.board().read_report(0, &process(started));
            assert!(reported.heartbeat.unwrap() <= most && reported.terminated.unwrap() <= most, "{reported:?}");
            assert!(pool.board().heartbeats(0, &process(started)).unwrap().0 <= most);
        }
    }
}

#[test]
fn without_a_place_nothing_happens() {
    ready();
    heartbeat();
    recycle();
    prepare();
    terminated();
    assert!(OWN_SEAT.get().is_none());
}

#[test]
fn heartbeats_are_counted_and_dated() {
    let pool = publisher(1);
    let seat = take(&pool, 0, process(1, 0));
    assert_eq!(pool.board().heartbeats(0, &process(1, 0)), None);
    for _ in 0..1000 {
        seat.heartbeat();
    }
    let (age, count) = pool.board().heartbeats(0, &process(1, 0)).unwrap();
    assert!(count == 1000 && age < Duration::from_secs(60));
    assert!(pool.board().read_report(0, &process(1, 0)).heartbeat.unwrap() < Duration::from_secs(60));
    assert_eq!(pool.board().heartbeats(0, &process(2, 0)), None, "these heartbeats were a predecessor's");
}

#[test]
fn no_reading_is_torn() {
    let pool = publisher(8);
    let row = |n: usize| {
        let process = Occupant { pid: n as i32, fork: n as u64, seat: n % 2, started: Duration::from_nanos(n as u64) };
        Row { state: State::Ready, proc: Some(process), restarts: n }
    };
    (0..8).for_each(|task_id| pool.publish(task_id, row(1)));
    let readings = AtomicUsize::new(0);
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let deadline = Instant::now() + Duration::from_secs(60);
            for n in 2.. {
                (0..8).for_each(|task_id| pool.publish(task_id, row(n)));
                let has_read = readings.load(Ordering::Relaxed) > 0;
                if n >= 20_000 && has_read || Instant::now() > deadline {
                    break;
                }
            }
        });
        while !writer.is_finished() {
            let start = Instant::now();
            let slots = pool.board().snapshot().slots;
            if start.elapsed() >= PATIENCE {
                // The writer was not waited for any longer, perhaps.
                continue;
            }
            for slot in &slots {
                let n = slot.row.restarts;
                assert_eq!(slot.row, row(n), "half a row");
            }
            let restarts: Vec<_> = slots.iter().map(|slot| slot.row.restarts).collect();
            assert!(restarts.is_sorted_by(|a, b| a >= b) && restarts[0] - restarts[7] <= 1, "{restarts:?}");
            readings.fetch_add(1, Ordering::Relaxed);
        }
    });
    assert!(readings.into_inner() > 0);
}

#[test]
fn a_supervisor_stopped_while_it_writes_is_not_waited_for() {
    let pool = publisher(1);
    pool.publish(0, running(1, 0));
    pool.put(GENERATION, 1);
    assert_eq!(pool.board().snapshot().slots[0].row, running(1, 0));
}

#[cfg(feature = "tokio")]
#[test]
fn the_connections_of_those_that_take_new_ones_are_seen() {
    let pool = publisher(6);
    let listeners = |count: u64| count << LISTENERS;
    let has = |task_id: usize, fork: u64, counts: u64| {
        let seat = take(&pool, task_id, process(fork, 0));
        store(seat.seat.connections, counts);
        pool.publish(task_id, running(fork, 0));
        seat
    };
    let others = |task_id: usize, most| pool.board().connections_of_others(task_id, most).collect::<Vec<_>>();
    assert_eq!(others(0, 64), []);
    has(0, 1, listeners(1) | 7);
    has(1, 1, listeners(2) | 16);
    has(2, 1, listeners(1));
    has(5, 1, listeners(1) | u64::from(u32::MAX));
    assert_eq!([others(0, 64), others(1, 64)], [vec![16, 0, u32::MAX], vec![0, u32::MAX, 7]]);
    assert_eq!([others(0, 1), others(0, 2), others(4, 2)], [vec![16], vec![16, 0], vec![u32::MAX, 7]], "a few slots");

    has(3, 1, 9);
    assert_eq!(others(2, 64).len(), 3, "worker 3 has dropped its listener");
    let stopping = Row { state: State::Stopping, ..running(1, 0) };
    pool.publish(0, stopping);
    assert_eq!(others(2, 64), [u32::MAX, 16], "worker 0 was told to stop");
    pool.publish(5, Row { proc: None, ..running(1, 0) });
    assert_eq!(others(2, 64), [16], "worker 5 is dead");
    pool.publish(1, running(2, 0));
    assert_eq!(others(2, 64), [], "worker 1 is replaced, and its replacement has reported nothing");
    assert_eq!(pool.board().connections(1, &process(1, 0)), Some(16));
    assert_eq!(pool.board().connections(1, &process(2, 0)), None);
    let next = has(1, 2, 0);
    assert_eq!(pool.board().connections(1, &process(2, 0)), None, "it has no listener, and starts without connections");
    store(next.seat.connections, listeners(1));
    assert_eq!((pool.board().connections(1, &process(2, 0)), others(2, 64)), (Some(0), vec![0]));
    next.seat.reported.fetch_or(TERMINATED, Ordering::Release);
    assert_eq!(others(2, 64), [], "worker 1 knows that it is to stop");
}
