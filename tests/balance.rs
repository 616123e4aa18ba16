//! Connections that are kept are spread over the workers of a shared listener, and what the other workers do costs no client
//! more than a moment.

mod support;
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::thread::sleep;
use std::time::Duration;

use nix::unistd::geteuid;
use support::session::Session;
use support::{DEADLINE, Signal, descriptors_of, fixture, send, stat_of, state_of, status_of, until};

const WORKERS: usize = 4;

struct Pool {
    program: Session,
    address: SocketAddr,
}

/// A connection that is open, the worker that has it, and how many connections that worker saw of each.
struct Client {
    _connection: TcpStream,
    worker: usize,
    shown: Vec<Option<usize>>,
}

impl Pool {
    fn start(way: &str, variables: &[(&str, &str)]) -> Pool {
        let mut command = fixture("balances");
        let program = Session::start(command.arg(way).envs(variables.iter().copied()));
        let line = program.stderr.wait_for("listening on ");
        let (_, address) = line.split_once("listening on ").expect("an address");
        let workers = if variables.contains(&("PREFORK", "off")) { 1 } else { WORKERS };
        program.stdout.wait_for_nth("accepts", workers);
        Pool { address: address.parse().expect("an address"), program }
    }

    fn connect(&self) -> Client {
        let connection = TcpStream::connect(self.address).expect("a connection");
        connection.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        let mut line = String::new();
        BufReader::new(&connection).read_line(&mut line).expect("the worker's line");
        let (worker, shown) = line.trim().split_once(" of ").expect("a worker of some");
        Client {
            worker: worker.parse().expect("a number"),
            shown: shown.split(',').map(|count| count.parse().ok()).collect(),
            _connection: connection,
        }
    }

    fn connect_all(&self, count: usize) -> Vec<Client> {
        (0..count).map(|_| self.connect()).collect()
    }

    /// What a new client is shown of each worker, without itself.
    fn counts(&self) -> Vec<Option<usize>> {
        let Client { worker, mut shown, .. } = self.connect();
        shown[worker] = shown[worker].map(|count| count - 1);
        shown
    }
}

fn busiest(clients: &[Client]) -> usize {
    let mut had = BTreeMap::<usize, usize>::new();
    clients.iter().for_each(|client| *had.entry(client.worker).or_default() += 1);
    had.into_values().max().unwrap_or(0)
}

/// Its timers, each as the time that is left of it.
fn timers_of(pid: i32) -> Vec<String> {
    let is_timer = |number: &String| {
        fs::read_link(format!("/proc/{pid}/fd/{number}")).is_ok_and(|link| link.to_string_lossy().contains("[timerfd]"))
    };
    let left = |number: String| {
        let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}")).unwrap_or_default();
        info.lines().find_map(|line| line.strip_prefix("it_value: ")).unwrap_or("?").to_owned()
    };
    descriptors_of(pid).into_iter().filter(is_timer).map(left).collect()
}

/// On a machine that does other things a worker may take longer to wake up than the others wait, so one good round counts.
/// The plain listener gives one worker more than this in every round.
fn assert_spread(pool: &Pool) {
    let mut seen = Vec::new();
    until("64 connections are spread", || {
        let clients = pool.connect_all(64);
        seen.push(busiest(&clients));
        drop(clients);
        until("the workers have none left", || (pool.counts() == [Some(0); WORKERS]).then_some(()));
        (seen.last() <= Some(&24)).then_some(())
    });
}

#[test]
fn kept_connections_are_spread_over_the_workers() {
    assert_spread(&Pool::start("balanced", &[]));
}

#[test]
fn workers_of_another_user_spread_connections_too() {
    if !geteuid().is_root() {
        skip!("only root can become another user");
    }
    let pool = Pool::start("balanced", &[("PREFORK_USER", "65534"), ("PREFORK_GROUP", "65534")]);
    assert_spread(&pool);
}

#[test]
fn the_status_shows_how_many_connections_each_worker_has() {
    let pool = Pool::start("balanced", &[]);
    let clients = pool.connect_all(10);
    let mut had = [Some(0); WORKERS];
    clients.iter().for_each(|client| had[client.worker] = had[client.worker].map(|count| count + 1));
    until("the status shows them", || (pool.counts() == had).then_some(()));
    drop(clients);
    until("the status shows none", || (pool.counts() == [Some(0); WORKERS]).then_some(()));
    assert_eq!(Pool::start("plain", &[]).connect().shown, [None; WORKERS], "without a listener that counts");
}

#[test]
fn a_worker_that_is_replaced_starts_at_none() {
    let pool = Pool::start("balanced", &[]);
    let clients = pool.connect_all(40);
    let victim = clients[0].worker;
    let line = pool.program.stdout.wait_for(&format!("worker {victim} pid "));
    send(line.split(' ').nth(3).and_then(|pid| pid.parse().ok()).expect("a pid"), Signal::SIGKILL);
    pool.program.stdout.wait_for_nth("accepts", WORKERS + 1);
    // The others have about 10 each, and let it go first.
    until("the replacement has connections, and counts them from none", || {
        let client = pool.connect();
        (client.worker == victim && client.shown[victim] == Some(1)).then_some(())
    });
}

#[test]
fn a_stopped_worker_does_not_hold_up_the_others() {
    let pool = Pool::start("balanced", &[]);
    let [stopped, others @ ..] = &pool.program.wait_for_children(WORKERS)[..] else { panic!("there are four") };
    send(*stopped, Signal::SIGSTOP);
    until("it is stopped", || (state_of(*stopped) == Some('T')).then_some(()));
    let clients = pool.connect_all(60);
    let had: BTreeMap<usize, ()> = clients.iter().map(|client| (client.worker, ())).collect();
    assert!(had.len() <= others.len(), "it is stopped");
    send(*stopped, Signal::SIGCONT);
    // It has none, so the others let it go first.
    until("it takes connections", || (!had.contains_key(&pool.connect().worker)).then_some(()));
}

#[test]
fn an_idle_worker_has_no_timer_that_runs() {
    let pool = Pool::start("balanced", &[]);
    let workers = pool.program.wait_for_children(WORKERS);
    assert!(workers.iter().all(|&worker| timers_of(worker).is_empty()), "a worker that never waited has made a timer");
    let clients = until("a worker has waited", || {
        let clients = pool.connect_all(64);
        workers.iter().any(|&worker| !timers_of(worker).is_empty()).then_some(clients)
    });
    let activity = |worker: i32| {
        let stat = stat_of(worker).expect("it is alive");
        (status_of(worker, "voluntary_ctxt_switches"), stat[11].clone(), stat[12].clone())
    };
    let all = || workers.iter().map(|&worker| activity(worker)).collect::<Vec<_>>();
    // Whatever they still have to do after the last connection is not idleness.
    until("nothing happens for 2 s", || {
        let before = all();
        sleep(Duration::from_secs(2));
        (all() == before).then_some(())
    });
    for timer in workers.iter().flat_map(|&worker| timers_of(worker)) {
        assert_eq!(timer, "(0, 0)", "it runs");
    }
    drop(clients);
}

#[test]
fn there_is_no_wait_where_no_other_worker_can_take_the_connection() {
    for variable in [("PREFORK", "off"), ("PREFORK_REUSE_PORT", "true")] {
        let pool = Pool::start("balanced", &[variable]);
        let clients = pool.connect_all(40);
        let processes = pool.program.members();
        assert!(processes.iter().all(|&process| timers_of(process).is_empty()), "{variable:?}");
        until("they are counted", || (pool.counts().into_iter().flatten().sum::<usize>() == 40).then_some(()));
        drop(clients);
    }
}
