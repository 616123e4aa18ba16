//! Promise 9 for workers that serve: one without work does not run.

use std::thread::sleep;
use std::time::Duration;

use crate::Serving;
use crate::support::{status_of, until};

/// How often the kernel switched to or from each thread of the process.
fn switches(pid: i32) -> Vec<(String, String, String)> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).expect("it is alive");
    let mut threads: Vec<i32> = threads.filter_map(|thread| thread.ok()?.file_name().to_str()?.parse().ok()).collect();
    threads.sort_unstable();
    let switches = |thread: i32| {
        let count = |name| status_of(thread, name);
        (thread.to_string(), count("voluntary_ctxt_switches"), count("nonvoluntary_ctxt_switches"))
    };
    threads.into_iter().map(switches).collect()
}

fn wait_until_it_does_nothing(worker: i32) {
    until("nothing happens for 3 s", || {
        let before = switches(worker);
        sleep(Duration::from_secs(3));
        (switches(worker) == before).then_some(())
    });
}

#[test]
fn a_worker_without_connections_does_nothing() {
    for threads in [&[][..], &[("THREADS", "2")]] {
        let mut serving = Serving::start(threads);
        let [worker] = serving.program.wait_for_children(1)[..] else { panic!("one worker") };
        wait_until_it_does_nothing(worker);
        // And when the last connection is closed, after what was due for it.
        assert!(serving.is_answered());
        wait_until_it_does_nothing(worker);
        serving.stop();
    }
}

#[test]
fn a_worker_with_idle_connections_does_nothing_until_one_is_due() {
    let mut serving = Serving::start(&[("HEADER_TIMEOUT", "1000"), ("IDLE_TIMEOUT", "1000000")]);
    let mut connections: Vec<_> = (0..8).map(|_| serving.connect()).collect();
    for connection in &mut connections {
        connection.send("/");
        connection.answer();
    }
    let [worker] = serving.program.wait_for_children(1)[..] else { panic!("one worker") };
    wait_until_it_does_nothing(worker);
    assert!(connections.iter_mut().all(|connection| connection.is_open()));
    drop(connections);
    serving.stop();
}
