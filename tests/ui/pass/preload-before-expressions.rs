use prefork_rt::prefork;

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::Duration;

struct Config {
    workers: usize,
    timeout: Duration,
}

static CONFIG: OnceLock<Config> = OnceLock::new();

fn load() {
    let config = Config { workers: 2, timeout: Duration::from_secs(3) };
    assert!(CONFIG.set(config).is_ok());
}

fn config() -> &'static Config {
    CONFIG.get().expect("preload runs before the options are evaluated")
}

#[prefork(
    workers = config().workers,
    graceful_timeout = config().timeout,
    backoff = Duration::from_millis(10)..config().timeout,
    listen = [SocketAddr::from(([127, 0, 0, 1], 0))],
    preload = load,
)]
fn main(worker: prefork_rt::Worker, _: std::net::TcpListener) {
    assert_eq!(worker.workers(), 2);
}
