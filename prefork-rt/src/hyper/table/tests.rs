use super::*;

const PATIENCE: Patience =
    Patience { header: Duration::from_secs(10), idle: Duration::from_secs(75), drain: Duration::from_secs(2) };

/// A table whose connections are told by their names, and its clock.
fn table() -> (Table<&'static str>, impl Fn(u64) -> Instant) {
    let start = Instant::now();
    (Table::new(PATIENCE), move |seconds| start + Duration::from_secs(seconds))
}

/// All that are due, in order.
fn due(table: &mut Table<&'static str>, now: Instant) -> Vec<&'static str> {
    std::iter::from_fn(|| table.tell_due(now).copied()).collect()
}

#[test]
fn a_client_that_sends_nothing_or_half_a_head_is_due_after_the_header_time() {
    let (mut table, at) = table();
    table.add("silent", at(0));
    let half = table.add("half", at(1));
    assert!(!table.receive(half, at(9)));
    assert_eq!(table.next_due(), Some(at(10)));
    assert_eq!(due(&mut table, at(10)), ["silent"]);
    assert_eq!(due(&mut table, at(11)), ["half"]);
    assert_eq!((table.told(), table.told_in(half)), (2, Some(Phase::Head)));
}

#[test]
fn a_kept_connection_is_due_after_the_idle_time_and_its_next_head_after_the_header_time() {
    let (mut table, at) = table();
    let [idle, heading] = ["idle", "heading"].map(|name| {
        let key = table.add(name, at(0));
        assert!(!table.begin(key));
        assert_eq!(table.next_due(), None);
        key
    });
    table.end(idle, at(20));
    table.end(heading, at(20));
    table.receive(heading, at(70));
    assert_eq!(due(&mut table, at(80)), ["heading"]);
    assert_eq!(table.next_due(), Some(at(95)));
    assert_eq!(due(&mut table, at(95)), ["idle"]);
    assert_eq!(table.told_in(idle), Some(Phase::Idle));
}

#[test]
fn a_connection_with_a_request_in_flight_is_never_due() {
    let (mut table, at) = table();
    let key = table.add("busy", at(0));
    table.begin(key);
    table.begin(key);
    table.end(key, at(1));
    table.receive(key, at(2));
    table.stop(at(3)).count();
    assert_eq!((table.next_due(), table.can_tell_longest()), (None, false));
    table.end(key, at(4));
    assert_eq!(table.next_due(), Some(at(6)));
}

#[test]
fn what_is_idle_at_the_stop_has_the_moment_from_then_on_and_a_begun_head_its_own_time() {
    let (mut table, at) = table();
    let idle = table.add("idle", at(0));
    table.begin(idle);
    table.end(idle, at(1));
    let half = table.add("half", at(38));
    table.receive(half, at(39));
    table.add("new", at(39));
    assert_eq!(table.stop(at(40)).count(), 3);
    assert_eq!(due(&mut table, at(41)), [""; 0]);
    assert_eq!(due(&mut table, at(42)), ["idle", "new"]);
    assert_eq!(due(&mut table, at(48)), ["half"]);
}

#[test]
fn the_longest_wait_goes_first_whatever_it_is_for() {
    let (mut table, at) = table();
    let idle = table.add("idle", at(0));
    table.begin(idle);
    table.add("old", at(1));
    table.end(idle, at(2));
    table.add("new", at(3));
    assert_eq!(std::iter::from_fn(|| table.tell_longest().copied()).collect::<Vec<_>>(), ["old", "idle"]);
    // Room was made for it.
    let new = table.add("newer", at(4));
    assert_eq!(table.tell_longest(), Some(&"new"));
    assert_eq!(table.tell_longest(), None);
    table.receive(new, at(5));
    assert_eq!(table.tell_longest(), Some(&"newer"), "half a head is no request");
}

#[test]
fn a_request_that_comes_in_time_keeps_its_connection() {
    let (mut table, at) = table();
    let key = table.add("idle", at(0));
    table.begin(key);
    table.end(key, at(1));
    assert_eq!(table.tell_longest(), Some(&"idle"));
    assert!(table.begin(key));
    assert_eq!((table.told(), table.told_in(key)), (0, None));
}

#[test]
fn a_connection_that_waits_again_is_told_again() {
    let (mut table, at) = table();
    let key = table.add("slow", at(0));
    table.begin(key);
    table.end(key, at(1));
    table.stop(at(2)).count();
    assert_eq!(due(&mut table, at(4)), ["slow"]);
    table.wait_again(key, at(4));
    assert_eq!((table.told(), table.next_due()), (0, Some(at(6))));
    assert_eq!(due(&mut table, at(6)), ["slow"]);
}

#[test]
fn a_closed_connection_is_forgotten_and_its_name_is_of_no_other() {
    let (mut table, at) = table();
    let gone = table.add("gone", at(0));
    table.receive(gone, at(0));
    assert_eq!(table.tell_longest(), Some(&"gone"));
    assert_eq!(table.remove(gone), Some("gone"));
    let next = table.add("next", at(1));
    table.begin(next);
    // An answer that outlives its connection.
    table.end(gone, at(2));
    assert_eq!(table.remove(gone), None);
    assert_eq!((table.open(), table.told(), table.next_due()), (1, 0, None));
}

#[test]
fn a_time_that_never_comes_is_never_due() {
    let (mut table, at) = (Table::new(Patience { header: Duration::MAX, ..PATIENCE }), Instant::now());
    table.add("patient", at);
    assert_eq!(table.next_due(), None);
}
