//! In a real terminal: what the keys do, and who may read.

mod support;
use support::terminal::{CTRL_C, CTRL_Z, Terminal};
use support::{Signal, children_of, moments, send, state_of, until};

fn path(command: &std::process::Command) -> String {
    command.get_program().to_str().expect("text").to_owned()
}

fn wait_for_workers(supervisor: i32, count: usize) -> Vec<i32> {
    until("the workers are there", || Some(children_of(supervisor)).filter(|workers| workers.len() == count))
}

fn wait_until_stopped(pids: &[i32]) {
    until(&format!("{pids:?} are stopped"), || pids.iter().all(|&pid| state_of(pid) == Some('T')).then_some(()));
}

fn wait_until_continued(pids: &[i32]) {
    until(&format!("{pids:?} run"), || pids.iter().all(|&pid| state_of(pid) != Some('T')).then_some(()));
}

#[test]
fn ctrl_c_reaches_only_the_supervisor_and_stops_in_order() {
    let mut terminal = Terminal::shell();
    terminal.type_in(&format!("{}; echo status $?\n", path(&fixture!("sleeps"))));
    terminal.screen.wait_for("task 2 pid");
    wait_for_workers(terminal.job(), 3);
    terminal.type_in(CTRL_C);
    terminal.screen.wait_for("SIGINT from the terminal: stopping 3 workers");
    terminal.screen.wait_for("stopped by SIGINT from the terminal: exiting with status 0");
    terminal.screen.wait_for("status 0");
    assert_eq!(terminal.screen.count("killed by SIGTERM"), 3);
    assert_eq!(terminal.screen.count("killed by SIGINT"), 0);
}

#[test]
fn ctrl_c_a_second_time_kills_at_once() {
    let mut terminal = Terminal::run(fixture!("ignores-term").env("PREFORK_GRACEFUL_TIMEOUT", "1h"));
    terminal.screen.wait_for_nth("blocks all signals", 2);
    terminal.type_in(CTRL_C);
    terminal.screen.wait_for("SIGINT from the terminal: stopping 2 workers");
    terminal.type_in(CTRL_C);
    assert_eq!(terminal.exit_code(), 0);
    terminal.screen.wait_for("SIGINT from the terminal: killing 2 workers");
}

#[test]
fn ctrl_z_and_fg_act_on_the_pool_as_a_whole() {
    let mut terminal = Terminal::shell();
    terminal.type_in(&format!("{}\n", path(&fixture!("sleeps"))));
    let supervisor = terminal.job();
    let workers = wait_for_workers(supervisor, 3);
    let everybody = [workers, vec![supervisor]].concat();
    for _ in 0..3 {
        terminal.type_in(CTRL_Z);
        wait_until_stopped(&everybody);
        terminal.type_in("fg\n");
        wait_until_continued(&everybody);
    }
    terminal.type_in(CTRL_C);
    terminal.screen.wait_for("exiting with status 0");
    assert_eq!(terminal.screen.count("restart"), 0);
}

#[test]
fn a_suspended_pool_is_continued_by_sigcont_and_stopped_by_what_came_before() {
    let mut terminal = Terminal::shell();
    terminal.type_in(&format!("{}\n", path(&fixture!("sleeps"))));
    let supervisor = terminal.job();
    let workers = wait_for_workers(supervisor, 3);
    let everybody = [workers, vec![supervisor]].concat();
    send(supervisor, Signal::SIGTSTP);
    wait_until_stopped(&everybody);
    send(supervisor, Signal::SIGTERM);
    send(supervisor, Signal::SIGCONT);
    terminal.screen.wait_for("stopped by SIGTERM from pid");
}

#[test]
fn a_supervisor_that_leads_its_session_does_not_leave_workers_stopped() {
    let mut terminal = Terminal::run(&mut fixture!("sleeps"));
    let supervisor = terminal.pid();
    let workers = wait_for_workers(supervisor, 3);
    for nth in 1..=3 {
        terminal.type_in(CTRL_Z);
        // The kernel does not stop an orphaned process group: there is nobody to continue it.
        terminal.screen.wait_for_nth("SIGTSTP: suspended", nth);
        // It is read when that is over.
        send(supervisor, Signal::SIGUSR1);
        terminal.screen.wait_for_nth("SIGUSR1", nth);
        wait_until_continued(&workers);
        assert_ne!(state_of(supervisor), Some('T'));
    }
    terminal.type_in(CTRL_C);
    assert_eq!(terminal.exit_code(), 0);
    assert_eq!(terminal.screen.count("had to be killed"), 0);
}

#[test]
fn workers_have_dev_null_for_a_terminal_and_else_what_the_supervisor_has() {
    let mut terminal = Terminal::run(&mut fixture!("shows-stdin"));
    terminal.screen.wait_for("stdin is /dev/null");
    assert_eq!(terminal.exit_code(), 0);

    let mut terminal = Terminal::shell();
    terminal.type_in(&format!("{} < /dev/zero\n", path(&fixture!("shows-stdin"))));
    terminal.screen.wait_for("stdin is /dev/zero");

    let mut program = support::Program::start(fixture!("shows-stdin").stdin(std::process::Stdio::piped()));
    program.stdout.wait_for("stdin is pipe:");
    assert_eq!(program.exit_code(), 0);
}

#[test]
fn a_worker_that_reads_the_terminal_is_reported_with_what_to_do() {
    for leads in [true, false] {
        let mut terminal = if leads {
            Terminal::run(&mut fixture!("reads-the-terminal"))
        } else {
            let mut terminal = Terminal::shell();
            terminal.type_in(&format!("{}\n", path(&fixture!("reads-the-terminal"))));
            terminal
        };
        let supervisor = if leads { terminal.pid() } else { terminal.job() };
        let worker = wait_for_workers(supervisor, 1)[0];
        let line = terminal.screen.wait_for("was stopped by SIGTTIN: it reads from the terminal");
        assert!(line.contains(&format!("worker 0 (pid {worker})")), "{line}");
        assert!(line.contains("use a pipe or a file") && line.contains(&format!("kill -KILL {worker}")), "{line}");
        assert_eq!(state_of(worker), Some('T'));
        terminal.type_in(CTRL_C);
        terminal.screen.wait_for("exiting with status 0");
    }
}

#[test]
fn ctrl_c_during_restarts_kills_no_new_worker() {
    for moment in moments().take(15) {
        let mut command = fixture!("dies-young");
        let mut terminal = Terminal::run(command.env("PREFORK_BACKOFF", "0s").env("PREFORK_MAX_RESTARTS", "unlimited"));
        terminal.screen.wait_for_nth("restarting", 10);
        std::thread::sleep(std::time::Duration::from_micros(moment % 3000));
        terminal.type_in(CTRL_C);
        assert_eq!(terminal.exit_code(), 0);
        assert_eq!(terminal.screen.count("killed by SIGINT"), 0, "{:#?}", terminal.screen.all());
    }
}
