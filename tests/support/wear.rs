//! The ways to give the programs `wears-out-by-attribute` and `wears-out-by-builder` an option.

use std::process::Command;

use super::session::Session;

/// In each way that there is: what its workers do, and the options.
pub fn in_each_way(body: &str, options: &[&str]) -> Vec<(&'static str, Session)> {
    let with = |mut command: Command| Session::start(command.arg(body).args(options));
    let mut environment = crate::fixture!("wears-out-by-builder");
    environment.arg(body);
    for option in options {
        let (name, value) = option.split_once('=').expect("NAME=VALUE");
        // What is not an option of prefork is the program's own affair.
        match name {
            "interval" => environment.arg(option),
            _ => environment.env(format!("PREFORK_{}", name.to_uppercase()), value),
        };
    }
    vec![
        ("attribute", with(crate::fixture!("wears-out-by-attribute"))),
        ("builder", with(crate::fixture!("wears-out-by-builder"))),
        ("environment", Session::start(&mut environment)),
    ]
}

/// By the builder.
pub fn start(body: &str, options: &[&str]) -> Session {
    Session::start(crate::fixture!("wears-out-by-builder").arg(body).args(options))
}
