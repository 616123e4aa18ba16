//! A pool of the fixture `upgrades`, started from a directory in which its binary can be replaced.

use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;

use super::http::{Seen, address_in};
use super::release::Release;
use super::session::Session;
use super::{DEADLINE, Signal, clean_command, fixture};

pub struct Upgrading {
    pub release: Release,
    pub program: Session,
    pub address: SocketAddr,
}

impl Upgrading {
    pub fn start(behaviour: &str) -> Upgrading {
        Upgrading::start_with(behaviour, |command| command)
    }

    pub fn start_with(behaviour: &str, prepare: impl Fn(&mut Command) -> &mut Command) -> Upgrading {
        Upgrading::start_as(behaviour, |mut command| {
            prepare(&mut command);
            command
        })
    }

    /// With a command that becomes the fixture.
    pub fn start_as(behaviour: &str, becomes: impl FnOnce(Command) -> Command) -> Upgrading {
        let release = Release::new();
        install(&release, behaviour);
        let mut command = clean_command("./app");
        let directory = release.path("");
        command.current_dir(&directory).env("PWD", &directory);
        let mut command = becomes(command);
        let program = Session::start(command.current_dir(&directory));
        let address = address_in(program.stderr.wait_for("prefork: listening on ").trim_end_matches(", inherited"));
        program.stderr.wait_for("ready after");
        Upgrading { release, program, address }
    }

    /// Replaces the binary and asks for the upgrade.
    pub fn upgrade_to(&self, behaviour: &str) {
        install(&self.release, behaviour);
        self.program.signal(Signal::SIGUSR2);
    }

    pub fn wait_for_upgrade(&self, nth: usize) {
        self.program.stderr.wait_for_nth("upgrade done after", nth);
    }

    pub fn wait_for_failure(&self) -> String {
        self.program.stderr.wait_for("upgrade abandoned: ")
    }

    /// What a worker answers.
    pub fn ask(&self) -> String {
        ask(self.address).expect("an answer")
    }

    pub fn stop(mut self) {
        self.program.stop();
        assert_eq!(self.program.stderr.count("had to be killed"), 0, "{:#?}", self.program.stderr.all());
        self.program.wait_until_empty();
    }
}

/// The word in the fixture that says what it does.
fn word(behaviour: &str) -> String {
    format!("{:.<32}", format!("behaviour={behaviour}"))
}

pub fn install(release: &Release, behaviour: &str) {
    release.install("app", Path::new(fixture("upgrades").get_program()), &word("serves-1"), &word(behaviour));
}

/// What a worker answers there: what it does.
pub fn ask(address: SocketAddr) -> std::io::Result<String> {
    let mut connection = TcpStream::connect(address)?;
    connection.set_read_timeout(Some(DEADLINE))?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    match answer.split_once(' ') {
        Some((behaviour, _)) => Ok(behaviour.to_owned()),
        None => Err(std::io::Error::other(format!("{answer:?} for an answer"))),
    }
}

/// Asks on one connection after the other.
pub fn asks_the_fixture(address: SocketAddr, seen: &Seen) {
    seen.repeat(|| ask(address));
}
