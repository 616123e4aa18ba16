//! Runs the fixtures whose workers wear out, with options given in each way there is.

use super::fixture;
use super::lives::{WAYS, Way};
use super::session::Session;

/// In each way: what its workers do, and the options, as `NAME=VALUE`.
pub fn in_each_way(body: &str, options: &[&str]) -> Vec<(Way, Session)> {
    WAYS.into_iter().map(|way| (way, way.wears_out(body, options))).collect()
}

/// By the builder.
pub fn start(body: &str, options: &[&str]) -> Session {
    Way::Builder.wears_out(body, options)
}

impl Way {
    fn wears_out(self, body: &str, options: &[&str]) -> Session {
        let mut command = match self {
            Way::Attribute => fixture("wears-out-by-attribute"),
            Way::Builder | Way::Environment => fixture("wears-out-by-builder"),
        };
        command.arg(body);
        for option in options {
            match option.split_once('=').expect("NAME=VALUE") {
                // The program's own affair, and no option of prefork.
                (name @ "interval", value) => Way::Builder.give(&mut command, name, value),
                (name, value) => self.give(&mut command, name, value),
            }
        }
        Session::start(&mut command)
    }
}
