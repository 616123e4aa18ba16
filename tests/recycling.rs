//! Recycling: gracefully, one worker at a time, in the style of `reload`, and not counted.

mod support;
use std::fs;
use std::time::Duration;

use support::session::Session;
use support::wear::{in_each_way, start};
use support::{is_alive, until};

/// That the workers were recycled one after the other: each was replaced before the next one's turn.
fn assert_one_at_a_time(lines: &[String]) {
    let mut recycled = None;
    for line in lines {
        let pid = || pid_of(line);
        if line.contains("recycling worker") {
            assert_eq!(recycled.replace(pid()), None, "two at once: {lines:#?}");
        } else if line.ends_with(", replaced") {
            assert_eq!(recycled.take(), Some(pid()), "{lines:#?}");
        }
    }
}

/// The first process id in a line.
fn pid_of(line: &str) -> i32 {
    let (_, after) = line.split_once("(pid ").unwrap_or_else(|| panic!("a pid in {line:?}"));
    after.split_once(')').and_then(|(pid, _)| pid.parse().ok()).expect("a number")
}

fn stop(mut program: Session) {
    program.stop();
}

/// Which lines with one of these words there are, in their order.
fn order<'a>(lines: &'a [String], words: &[&'a str]) -> Vec<&'a str> {
    lines.iter().filter_map(|line| words.iter().copied().find(|word| line.contains(word))).collect()
}

#[test]
fn a_worker_that_has_lived_long_enough_is_recycled() {
    // No failure is forgiven: nothing of this may count.
    for (way, program) in in_each_way("serves", &["workers=3", "max_lifetime=2s", "max_restarts=0"]) {
        for task_id in 0..3 {
            program.stderr.wait_for_nth(&format!("recycling worker {task_id} "), 2);
        }
        program.stderr.wait_for_nth(", replaced", 4);
        let lines = program.stderr.all();
        assert_one_at_a_time(&lines);
        for line in lines.iter().filter(|line| line.contains("recycling worker")) {
            let (_, age) = line.split_once("it has lived for ").expect("why");
            let (age, _) = age.split_once("s (max_lifetime)").expect("why");
            // 2 s less a tenth, as it is rounded.
            assert!(age.parse::<f64>().expect("seconds") >= 1.8, "{way:?}: {line}");
        }
        assert_eq!(program.stderr.count("restarting"), 0, "{way:?}: {lines:#?}");
        stop(program);
    }
}

#[test]
fn a_worker_that_asks_is_recycled_once_the_replacement_is_there() {
    for (way, program) in in_each_way("asks", &["workers=3", "max_restarts=0", "reload=overlap"]) {
        program.stderr.wait_for_nth(", replaced", 3);
        let lines = program.stderr.all();
        assert_one_at_a_time(&lines);
        let steps = ["recycling worker", "to take the place of", ", replaced"];
        assert_eq!(order(&lines, &steps), [steps; 3].concat(), "{way:?}: {lines:#?}");
        assert_eq!(program.stderr.count("it asked for it after"), 3, "{way:?}: {lines:#?}");
        // They drain before they end; what they print has a way of its own.
        program.stdout.wait_for_nth("returns", 3);
        for task_id in 0..3 {
            program.stdout.wait_for_nth(&format!("worker {task_id} begins"), 2);
        }
        stop(program);
    }
}

#[test]
fn with_exclusive_reload_a_worker_that_asks_ends_before_its_replacement_starts() {
    for (way, program) in in_each_way("asks", &["workers=3", "max_restarts=0", "reload=exclusive"]) {
        program.stderr.wait_for_nth(", restart 1 of it", 3);
        let lines = program.stderr.all();
        assert_one_at_a_time(&lines);
        let steps = ["recycling worker", ", replaced", ", restart 1 of it"];
        assert_eq!(order(&lines, &steps), [steps; 3].concat(), "{way:?}: {lines:#?}");
        for task_id in 0..3 {
            program.stdout.wait_for_nth(&format!("worker {task_id} begins"), 2);
            let own: Vec<String> = program
                .stdout
                .all()
                .into_iter()
                .filter(|line| line.starts_with(&format!("worker {task_id}")))
                .collect();
            assert_eq!(order(&own, &["begins", "drains", "returns"]), ["begins", "drains", "returns", "begins"]);
        }
        stop(program);
    }
}

#[test]
fn a_worker_that_asks_and_returns_is_replaced() {
    for (way, program) in in_each_way("asks-and-returns", &["max_restarts=0"]) {
        program.stdout.wait_for_nth("worker 0 begins", 2);
        program.stdout.wait_for_nth("worker 1 begins", 2);
        // A worker that had its turn before it returned was recycled.
        let replaced = || {
            let returned = program.stderr.count("having asked to be replaced, starting again");
            (returned + program.stderr.count(", replaced") == 2).then_some(())
        };
        until(&format!("{way:?}: both are replaced"), replaced);
        assert_eq!(program.stderr.count("finished with"), 0, "{way:?}: {:#?}", program.stderr.all());
        stop(program);
    }
}

/// Kilobytes. `None` of a process that ends.
fn resident(pid: i32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim_end_matches(" kB").trim().parse().ok())
}

#[test]
fn a_worker_with_too_much_memory_of_its_own_is_recycled() {
    // One after the other each would have to wait for the 10 s that are between two measurements.
    let programs = in_each_way("leaks", &["max_memory=64MiB", "max_restarts=0"]);
    for (way, program) in &programs {
        for task_id in [0, 1] {
            program.stdout.wait_for(&format!("worker {task_id} begins"));
        }
        let is_large = |pid: &i32| resident(*pid).is_some_and(|resident| resident > 64 << 10);
        // On a slow machine the first was replaced by then.
        let large = || (program.children().iter().filter(|pid| is_large(pid)).count() >= 2).then_some(());
        until(&format!("{way:?}: both workers use much memory, their own or not"), large);
    }
    for (way, program) in programs {
        let line = program.stderr.wait_for_nth("recycling worker", 2);
        assert!(
            line.contains("worker 0")
                && line.contains("its private memory, ")
                && line.contains("MiB, is over 64 MiB (max_memory)"),
            "{way:?}: {line}"
        );
        program.stderr.wait_for_nth(", replaced", 2);
        let lines = program.stderr.all();
        assert_eq!(
            program.stderr.count("recycling worker 1"),
            0,
            "{way:?}: shared memory counts for no worker: {lines:#?}"
        );
        assert_one_at_a_time(&lines);
        stop(program);
    }
}

#[test]
fn without_the_options_no_worker_is_recycled() {
    let program = start("serves", &["workers=3"]);
    let workers = program.wait_for_children(3);
    std::thread::sleep(Duration::from_secs(2));
    assert!(workers.into_iter().all(is_alive));
    assert_eq!(program.stderr.count("recycling"), 0);
}
