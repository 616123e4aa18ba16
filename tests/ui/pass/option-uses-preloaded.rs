#![deny(warnings)]

use prefork_rt::{CommandLine, prefork};

struct Cli {
    workers: Option<usize>,
    user: Option<String>,
    listen: Vec<String>,
    timeout: String,
    port: u16,
}

impl Cli {
    fn parse() -> Result<Cli, std::num::ParseIntError> {
        Ok(Cli {
            workers: Some("2".parse()?),
            user: None,
            listen: vec!["127.0.0.1:0".to_owned()],
            timeout: "3s".to_owned(),
            port: 0,
        })
    }
}

/// Hidden by the argument of this name.
#[allow(dead_code)]
fn cli() -> usize {
    1
}

const fn lives_as_long_as_the_program(cli: &'static Cli) -> &'static str {
    cli.timeout.as_str()
}

mod raw_identifier {
    fn load() -> (usize, String) {
        (2, "4s".to_owned())
    }

    #[prefork_rt::prefork(workers = r#type.0, preload = load, graceful_timeout = &r#type.1)]
    pub fn main(r#type: &(usize, String)) {
        assert_eq!(r#type.0, 2);
    }
}

mod only_the_options_use_it {
    #[prefork_rt::prefork(preload = super::Cli::parse, listen = format!("127.0.0.1:{}", cli.port))]
    pub fn main(cli: &super::Cli, _: std::net::TcpListener) {}
}

mod in_a_string {
    fn load() -> u16 {
        0
    }

    #[prefork_rt::prefork(preload = load, listen = format!("127.0.0.1:{port}"))]
    pub fn main(port: &u16, _: std::net::TcpListener) {}
}

mod in_some_builds {
    #[prefork_rt::prefork(preload = super::Cli::parse, workers = cli.workers)]
    pub fn main(#[cfg(unix)] cli: &super::Cli, #[cfg(not(unix))] cli: &super::Cli) {}
}

mod a_slice {
    fn load() -> Vec<String> {
        vec!["127.0.0.1:0".to_owned()]
    }

    #[prefork_rt::prefork(preload = load, listen = addresses)]
    pub fn main(addresses: &[String]) {}
}

#[prefork(
    workers = cli.workers,
    preload = Cli::parse,
    user = CommandLine(&cli.user),
    listen = CommandLine(&cli.listen).or("127.0.0.1:0"),
    graceful_timeout = lives_as_long_as_the_program(cli),
    max_restarts = CommandLine(cli.workers),
    reuse_port = CommandLine(Some(cli.port > 0)),
    max_memory = None,
)]
#[tokio::main(flavor = "current_thread")]
async fn main(worker: prefork_rt::Worker, cli: &'static Cli, &Cli { port, .. }: &Cli, _: std::net::TcpListener) {
    let _ = (raw_identifier::main, only_the_options_use_it::main, in_a_string::main);
    let _ = (in_some_builds::main, a_slice::main);
    assert_eq!((worker.workers(), port), (2, 0));
    assert_eq!(cli.timeout, "3s");
}
