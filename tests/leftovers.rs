//! What processes that a pool has started leave behind: what is killed with them, and what is named.

mod support;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::UnixListener;
use std::process::Stdio;

use support::lives::lives;
use support::session::Session;
use support::{Program, Signal, is_alive, own_path, send, wait_until_gone};

/// The last number of the line that says this.
fn number(program: &Program, line: &str) -> i32 {
    let line = program.stdout.wait_for(line);
    line.split(' ').find_map(|word| word.parse().ok().filter(|&number: &i32| number > 1)).expect("a process id")
}

/// What a start says that cannot listen there.
fn refusal(address: &str) -> String {
    let mut program = Session::start(lives(["wait"]).env("PREFORK_LISTEN", address));
    assert_eq!(program.exit_code(), 1, "{:#?}", program.stderr.all());
    program.stderr.all().pop().expect("a line")
}

#[test]
fn a_start_names_the_process_that_holds_its_address() {
    let path = own_path("held");
    let tcp = TcpListener::bind("127.0.0.1:0").expect("a port");
    let udp = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let _unix = UnixListener::bind(&path).expect("a path");
    let addresses = [
        tcp.local_addr().expect("an address").to_string(),
        format!("0.0.0.0:{}", tcp.local_addr().expect("an address").port()),
        format!("udp:{}", udp.local_addr().expect("an address")),
        format!("unix:{}", path.display()),
    ];
    let name = std::fs::read_to_string("/proc/self/comm").expect("/proc");
    let holder = format!("pid {} ({}) holds it", std::process::id(), name.trim_end());
    for address in addresses {
        let last = refusal(&address);
        assert!(last.contains(&address) && last.contains(&holder), "{last}");
    }
    std::fs::remove_file(path).expect("it is there");
}

#[test]
fn a_start_that_may_not_see_the_process_that_holds_its_address_says_so() {
    if !nix::unistd::geteuid().is_root() {
        skip!("only root can start a program as another user");
    }
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut command = lives(["wait"]);
    command.env("PREFORK_LISTEN", taken.local_addr().expect("an address").to_string());
    let program = Session::start_as_nobody_else(&mut command, Stdio::piped());
    let mut program = skip_unless!(program, "others may not run what was built here");
    assert_eq!(program.exit_code(), 1);
    let last = program.stderr.all().pop().expect("a line");
    assert!(last.contains("it cannot be seen from here") && last.contains("as root"), "{last}");
}

#[test]
fn what_still_holds_a_listener_at_the_end_is_named() {
    let path = own_path("still-held");
    let mut command = lives(["--workers=1", "fork-away"]);
    command.env("PREFORK_LISTEN", format!("127.0.0.1:0,udp:127.0.0.1:0,unix:{}", path.display()));
    let mut program = Session::start(&mut command);
    let address = support::http::address_in(&program.stderr.wait_for("listening on 127.0.0.1:"));
    let stray = number(&program, " away");
    program.stop();
    assert!(is_alive(stray), "it has left the group");
    let lines = program.stderr.all();
    let line = &lines[lines.len() - 2];
    assert!(line.contains(&format!("pid {stray} (")) && line.contains(&format!("`kill {stray}`")), "{line}");
    for held in [address.to_string(), "udp:127.0.0.1:".to_owned(), format!("unix:{}", path.display())] {
        assert!(line.contains(&held), "{line}");
    }
    // And the next start names it too.
    for held in [address.to_string(), format!("unix:{}", path.display())] {
        let last = refusal(&held);
        assert!(last.contains(&format!("pid {stray} (")), "{last}");
    }
    send(stray, Signal::SIGKILL);
    wait_until_gone(&[stray]);
    let mut next = Session::start(lives(["--workers=1"]).env("PREFORK_LISTEN", address.to_string()));
    next.stderr.wait_for("ready after");
    next.stop();
    assert_eq!(next.stderr.count("still hold"), 0, "{:#?}", next.stderr.all());
    std::fs::remove_file(path).expect("it was left");
}
