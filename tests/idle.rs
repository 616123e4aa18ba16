//! Promise 9: the idle supervisor does nothing, and its descriptors are O(1) in the number of workers.

mod support;
use std::thread::sleep;
use std::time::Duration;

use support::session::Session;
use support::{descriptors_of, stat_of, status_of, until};

/// How often the kernel switched to or from it, and how long it ran.
fn activity(pid: i32) -> (String, String, String, String) {
    let stat = stat_of(pid).expect("it is alive");
    // The 14th and 15th field of the line; it is read from the third on.
    let (user, system) = (stat[11].clone(), stat[12].clone());
    (status_of(pid, "voluntary_ctxt_switches"), status_of(pid, "nonvoluntary_ctxt_switches"), user, system)
}

#[test]
fn the_idle_supervisor_does_nothing() {
    let program = Session::start(&mut fixture!("sleeps"));
    program.wait_for_children(3);
    program.stdout.wait_for_nth("task", 3);
    // Whatever it still has to do after the start is not idleness, so the first span in which nothing happens counts.
    until("nothing happens for 2 s", || {
        let before = activity(program.pid());
        sleep(Duration::from_secs(2));
        (activity(program.pid()) == before).then_some(())
    });
}

#[test]
fn the_supervisors_descriptors_do_not_grow_with_the_workers() {
    let with = |workers: usize| {
        let program = Session::start(fixture!("sleeps").env("PREFORK_WORKERS", workers.to_string()));
        program.wait_for_children(workers);
        program.stdout.wait_for_nth("task", workers);
        descriptors_of(program.pid())
    };
    assert_eq!(with(1), with(40));
}

#[test]
fn a_worker_has_the_descriptors_it_would_have_had_without_us() {
    let program = Session::start(&mut fixture!("sleeps"));
    program.stdout.wait_for_nth("task", 3);
    // The test's own may be anything; what it started has what is not closed on exec.
    let plain = Session::start(support::clean_command("sleep").arg("1000"));
    until("it is the program", || (status_of(plain.pid(), "Name") == "sleep").then_some(()));
    for worker in program.wait_for_children(3) {
        // While the plain program starts, its loader has libraries open.
        let same = || (descriptors_of(worker) == descriptors_of(plain.pid())).then_some(());
        until("both have the same descriptors", same);
    }
}
