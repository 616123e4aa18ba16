//! No request to the example `http` fails while it is reloaded, again and again.
//!
//! On a connection that is kept, a client that has been silent for longer than `drain_idle_timeout` and asks in the very
//! moment in which the server closes it may find it closed: HTTP has no word for that, and clients try again (RFC 9112,
//! 9.3.1). The clients here ask more often, unless the machine keeps them from it.

mod support;
use std::sync::atomic::Ordering;
use std::time::Duration;

use support::http::{
    self, Client, Seen, address_in, assert_all_answered, connection_per_request, keep_alive, thousands, under_load,
};
use support::session::Session;
use support::{Signal, clean_command};

const RELOADS: usize = 5;

/// Reloads under the load of these clients until they have seen enough, and returns what they saw.
fn reload_under(clients: &[Client<'_>], style: &str, is_enough: impl Fn(&Seen) -> bool) -> Seen {
    let mut command = clean_command(http::http().to_str().expect("text"));
    command.env("PREFORK_LISTEN", "127.0.0.1:0").env("PREFORK_WORKERS", "2").env("PREFORK_RELOAD", style);
    let mut program = Session::start(&mut command);
    let line = program.stderr.wait_for("listening on ");
    program.stderr.wait_for("ready after");
    let seen = under_load(clients, address_in(&line), |seen| {
        // Clients that see a failure are not asked for more.
        let is_over = || is_enough(seen) || !seen.failures.lock().unwrap().is_empty();
        for reload in 1.. {
            program.signal(Signal::SIGHUP);
            program.stderr.wait_for_nth(": 2 workers were replaced", reload);
            if reload >= RELOADS && is_over() {
                break;
            }
        }
    });
    program.stop();
    assert_eq!(program.stderr.count("killing"), 0, "{:#?}", program.stderr.all());
    program.wait_until_empty();
    seen
}

#[test]
fn no_request_on_a_connection_of_its_own_fails_during_reloads() {
    for style in ["overlap", "exclusive"] {
        let client: Client<'_> = &connection_per_request;
        assert_all_answered(&reload_under(&[client; 8], style, thousands));
    }
}

#[test]
fn no_request_on_a_kept_connection_fails_during_reloads() {
    for style in ["overlap", "exclusive"] {
        let busy: Client<'_> = &|address, seen| keep_alive(address, Duration::ZERO, seen);
        let now_and_then: Client<'_> = &|address, seen| keep_alive(address, Duration::from_millis(20), seen);
        // The server has said good-bye to each of them, and more than once.
        let parted = |seen: &Seen| seen.closed.load(Ordering::Relaxed) > 16;
        let clients = [[busy; 4], [now_and_then; 4]].concat();
        assert_all_answered(&reload_under(&clients, style, |seen| thousands(seen) && parted(seen)));
    }
}
