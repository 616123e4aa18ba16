//! Promise 9: the idle supervisor does nothing, and its descriptors are O(1) in the number of workers; what `reuse_port`
//! holds is tested in the folder `reuse_port`.

mod support;
use std::fs;
use std::thread::sleep;
use std::time::Duration;

use support::manager::Manager;
use support::session::Session;
use support::{descriptors_of, fixture, stat_of, status_of, until};

/// How often the kernel switched to or from it, and how long it ran.
fn activity(pid: i32) -> (String, String, String, String) {
    let stat = stat_of(pid).expect("it is alive");
    // The 14th and 15th field of the line; it is read from the third on.
    let (user, system) = (stat[11].clone(), stat[12].clone());
    (status_of(pid, "voluntary_ctxt_switches"), status_of(pid, "nonvoluntary_ctxt_switches"), user, system)
}

#[test]
fn the_idle_supervisor_does_nothing() {
    let manager = Manager::with_a_path();
    // With a service manager that has no watchdog, too.
    for command in [&mut fixture("sleeps"), manager.watches(&mut fixture("sleeps"))] {
        let program = Session::start(command);
        program.wait_for_children(3);
        program.stdout.wait_for_nth("task", 3);
        // Whatever it still has to do after the start is not idleness, so the first span in which nothing happens counts.
        until("nothing happens for 2 s", || {
            let before = activity(program.pid());
            sleep(Duration::from_secs(2));
            (activity(program.pid()) == before).then_some(())
        });
    }
}

#[test]
fn the_supervisors_descriptors_do_not_grow_with_the_workers() {
    let with = |workers: usize| {
        let program = Session::start(fixture("sleeps").env("PREFORK_WORKERS", workers.to_string()));
        program.wait_for_children(workers);
        program.stdout.wait_for_nth("task", workers);
        program
    };
    let (few, many) = (with(1), with(40));
    // While it starts workers, it opens what it reads.
    let same = || (descriptors_of(few.pid()) == descriptors_of(many.pid())).then_some(());
    until("both have the same descriptors", same);
}

/// Whether it is closed on exec.
fn is_private(pid: i32, descriptor: &str) -> bool {
    let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{descriptor}")).expect("it is open");
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).expect("flags").trim();
    i32::from_str_radix(flags, 8).expect("an octal number") & libc::O_CLOEXEC != 0
}

/// And the pipe by which it wakes the supervisor, which what it starts does not have.
#[test]
fn a_worker_has_the_descriptors_it_would_have_had_without_us_and_one_more() {
    let program = Session::start(&mut fixture("sleeps"));
    program.stdout.wait_for_nth("task", 3);
    // The test's own may be anything; what it started has what is not closed on exec.
    let plain = Session::start(support::clean_command("sleep").arg("1000"));
    until("it is the program", || (status_of(plain.pid(), "Name") == "sleep").then_some(()));
    for worker in program.wait_for_children(3) {
        // While the plain program starts, its loader has libraries open.
        let (private, public): (Vec<_>, Vec<_>) =
            descriptors_of(worker).into_iter().partition(|descriptor| is_private(worker, descriptor));
        let same = || (public == descriptors_of(plain.pid())).then_some(());
        until("both have the same descriptors", same);
        let [wake_pipe] = &private[..] else { panic!("{private:?}") };
        let link = fs::read_link(format!("/proc/{worker}/fd/{wake_pipe}")).expect("it is open");
        assert!(link.to_string_lossy().starts_with("pipe:"), "{link:?}");
    }
}
