//! A command line, read once in the first process, that sets options of the pool and is lent to every worker.
//!
//! `cargo run -p gallery-clap -- --workers 3 --greeting hi` in the folder `examples/gallery`, then
//! `curl http://127.0.0.1:8080/`. `--help`, and a mistake, end the program before anything is bound or forked.
//!
//! `--workers` wins over `PREFORK_WORKERS`, because its value is wrapped in `CommandLine`. Without either, there is a worker
//! per CPU.

use std::io;

use axum::Router;
use axum::routing::get;
use clap::Parser;
use prefork_rt::hyper::serve;
use prefork_rt::{CommandLine, Worker, prefork};
use tokio::net::TcpListener;

#[derive(Parser)]
#[command(version, about = "Greets over HTTP")]
struct Cli {
    /// How many workers; one per CPU if not given
    #[arg(long)]
    workers: Option<usize>,
    /// Where to listen; 127.0.0.1:8080 if not given
    #[arg(long)]
    listen: Vec<String>,
    /// What to say
    #[arg(long, default_value = "hello")]
    greeting: String,
}

#[prefork(
    preload = Cli::parse,
    workers = CommandLine(cli.workers),
    listen = CommandLine(&cli.listen).or("127.0.0.1:8080"),
    max_restarts = "unlimited",
)]
#[tokio::main(flavor = "current_thread")]
async fn main(worker: Worker, cli: &Cli, listener: TcpListener) -> io::Result<()> {
    let answer = format!("{} from worker {} of {}\n", cli.greeting, worker.task_id(), worker.workers());
    serve(worker, listener, Router::new().route("/", get(answer))).await
}
