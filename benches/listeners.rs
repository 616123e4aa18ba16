//! What sockets cost and how they balance: shared by all workers, or one for each slot, against one process with tokio's
//! multi-thread runtime, in ratios.
//!
//! `cargo bench --bench listeners` takes about two minutes, with `-- --quick` a few seconds, and says less; `--rounds 20`
//! sharpens it. Linux only.
//!
//! # What is measured
//!
//! | row | what the clients do |
//! |---|---|
//! | kept | 64 connections, each with one request after another |
//! | new | 64 clients, each with a connection for every request |
//! | balance | 64 connections are opened one after another, and stay: how many the busiest of 4 workers has |
//!
//! The contenders are this same program, started afresh for every measurement: one process with as many threads as there
//! are CPUs, and pools of as many workers, each with tokio's runtime of one thread. All serve with the same code. The
//! clients are this process, on the same CPUs, which they use as much as the servers do.
//!
//! # How to read the figures
//!
//! Only ratios: the contenders take turns within a round, in changing order, and each figure is the median over the rounds
//! of what a contender had over what the one process had in the same round. More requests in a second are better, a shorter
//! time for the slowest of a hundred is. `same` is the one process once more: what it differs from 1 is what this run
//! cannot tell from nothing.

#[cfg(target_os = "linux")]
mod contest;

#[cfg(target_os = "linux")]
mod bench {
    use std::collections::BTreeMap;
    use std::io::{self, BufRead, BufReader};
    use std::net::SocketAddr;
    use std::process::{Child, ChildStderr, ExitCode, Stdio};
    use std::time::{Duration, Instant};

    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;
    use prefork_rt::{Prefork, Worker, cpu_count};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::runtime::{Builder, Runtime};

    use crate::contest::{self, median};

    const CONNECTIONS: usize = 64;
    const BALANCED_WORKERS: usize = 4;
    const REQUEST: [u8; 32] = [b'?'; 32];
    const ANSWER: [u8; 128] = [b'!'; 128];
    /// What a worker says first: which one it is.
    const GREETING: usize = 4;

    pub fn main() -> ExitCode {
        contest::run(contend, |arguments| {
            let quick = arguments.contains(&"--quick");
            let rounds = arguments.iter().position(|&argument| argument == "--rounds");
            let rounds = rounds.and_then(|at| arguments.get(at + 1)?.parse().ok());
            compare(rounds.unwrap_or(if quick { 2 } else { 9 }), if quick { 200 } else { 1500 });
        })
    }

    // The contenders.

    fn contend(name: &str, workers: usize) -> ExitCode {
        let serve_alone = |worker: Worker| -> io::Result<()> {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let listener = worker.get().map_err(io::Error::other)?;
                serve(listener, u32::try_from(worker.task_id()).map_err(io::Error::other)?).await
            })
        };
        let pool = Prefork::new().workers(workers).listen("127.0.0.1:0");
        match name {
            "shared" => pool.run(serve_alone),
            "per slot" => pool.reuse_port(true).run(serve_alone),
            _ => {
                let runtime = Builder::new_multi_thread().worker_threads(workers).enable_all().build();
                let served = runtime.expect("threads").block_on(async {
                    let listener = TcpListener::bind("127.0.0.1:0").await?;
                    eprintln!("listening on {}", listener.local_addr()?);
                    serve(listener, 0).await
                });
                served.expect("it serves until it is killed");
                ExitCode::SUCCESS
            }
        }
    }

    async fn serve(listener: TcpListener, number: u32) -> io::Result<()> {
        loop {
            let (mut connection, _) = listener.accept().await?;
            connection.set_nodelay(true)?;
            tokio::spawn(async move {
                connection.write_all(&number.to_ne_bytes()).await?;
                let mut request = [0; REQUEST.len()];
                // Until the client goes away.
                while connection.read_exact(&mut request).await.is_ok() {
                    connection.write_all(&ANSWER).await?;
                }
                io::Result::Ok(())
            });
        }
    }

    /// A contender that runs, and its end.
    struct Server {
        child: Child,
        address: SocketAddr,
        /// Open, so that nothing that is said fails.
        _lines: BufReader<ChildStderr>,
    }

    impl Server {
        fn start(name: &str, workers: usize) -> Server {
            let mut command = contest::contender(name, workers);
            let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
            let mut lines = BufReader::new(child.stderr.take().expect("piped"));
            let mut line = String::new();
            let address = loop {
                line.clear();
                assert!(lines.read_line(&mut line).expect("text") > 0, "{name} does not listen");
                if let Some((_, address)) = line.trim().split_once("listening on ") {
                    break address.parse().expect("an address");
                }
            };
            Server { child, address, _lines: lines }
        }
    }

    impl Drop for Server {
        fn drop(&mut self) {
            let pid = Pid::from_raw(self.child.id().try_into().expect("a process id"));
            let _ = kill(pid, Signal::SIGTERM);
            let _ = self.child.wait();
        }
    }

    // The clients.

    async fn connect(address: SocketAddr) -> io::Result<(TcpStream, u32)> {
        let mut connection = TcpStream::connect(address).await?;
        connection.set_nodelay(true)?;
        let mut greeting = [0; GREETING];
        connection.read_exact(&mut greeting).await?;
        Ok((connection, u32::from_ne_bytes(greeting)))
    }

    async fn ask(connection: &mut TcpStream) -> io::Result<()> {
        connection.write_all(&REQUEST).await?;
        connection.read_exact(&mut [0; ANSWER.len()]).await.map(drop)
    }

    async fn keep_asking(address: SocketAddr, until: Instant) -> io::Result<Vec<Duration>> {
        let (mut connection, _) = connect(address).await?;
        let mut times = Vec::new();
        while Instant::now() < until {
            let start = Instant::now();
            ask(&mut connection).await?;
            times.push(start.elapsed());
        }
        Ok(times)
    }

    async fn ask_anew(address: SocketAddr, until: Instant) -> io::Result<Vec<Duration>> {
        let mut times = Vec::new();
        while Instant::now() < until {
            let start = Instant::now();
            let (mut connection, _) = connect(address).await?;
            ask(&mut connection).await?;
            times.push(start.elapsed());
            // Ports would run out if each were kept for a minute.
            socket2::SockRef::from(&connection).set_linger(Some(Duration::ZERO))?;
        }
        Ok(times)
    }

    /// Requests in a second, and the time that one in a hundred takes longer than.
    #[derive(Clone, Copy)]
    struct Sample {
        rate: f64,
        p99: f64,
    }

    fn measure(clients: &Runtime, name: &str, row: &str, milliseconds: u64) -> Sample {
        let server = Server::start(name, cpu_count());
        let (address, length) = (server.address, Duration::from_millis(milliseconds));
        let start = Instant::now();
        let until = start + length;
        let mut times: Vec<Duration> = clients.block_on(async {
            let tasks: Vec<_> = (0..CONNECTIONS)
                .map(|_| match row {
                    "kept" => tokio::spawn(keep_asking(address, until)),
                    _ => tokio::spawn(ask_anew(address, until)),
                })
                .collect();
            let mut times = Vec::new();
            for task in tasks {
                times.extend(task.await.expect("no panic").expect("every request is answered"));
            }
            times
        });
        let rate = times.len() as f64 / start.elapsed().as_secs_f64();
        times.sort_unstable();
        Sample { rate, p99: times[times.len() * 99 / 100].as_secs_f64() }
    }

    /// The busiest worker's share of the connections.
    fn busiest(clients: &Runtime, name: &str) -> f64 {
        let server = Server::start(name, BALANCED_WORKERS);
        let mut had = BTreeMap::<u32, usize>::new();
        clients.block_on(async {
            let mut open = Vec::new();
            for _ in 0..CONNECTIONS {
                let (mut connection, number) = connect(server.address).await.expect("a connection");
                ask(&mut connection).await.expect("an answer");
                *had.entry(number).or_default() += 1;
                open.push(connection);
            }
        });
        had.into_values().max().unwrap_or(0) as f64 / CONNECTIONS as f64
    }

    fn compare(rounds: usize, milliseconds: u64) {
        let clients = Builder::new_multi_thread().worker_threads(cpu_count()).enable_all().build().expect("threads");
        println!("{rounds} rounds on {} CPUs; all over one process with as many threads of tokio", cpu_count());
        println!("\n{:<10}{:<12}{:>12}{:>12}", "row", "contender", "requests", "p99");
        for row in ["kept", "new"] {
            let contenders = ["one process", "same", "shared", "per slot"];
            let mut samples: [Vec<Sample>; 4] = Default::default();
            for round in 0..rounds {
                for turn in 0..contenders.len() {
                    let which = (round + turn) % contenders.len();
                    samples[which].push(measure(&clients, contenders[which], row, milliseconds));
                }
            }
            for which in 1..contenders.len() {
                let ratio = |of: fn(&Sample) -> f64| {
                    median(samples[which].iter().zip(&samples[0]).map(|(sample, base)| of(sample) / of(base)).collect())
                };
                let (rate, p99) = (ratio(|sample| sample.rate), ratio(|sample| sample.p99));
                println!("{row:<10}{:<12}{rate:>12.2}{p99:>12.2}", contenders[which]);
            }
        }
        println!("\n{:<10}{:<12}{:>12}{:>12}   (even: {:.2})", "row", "contender", "busiest", "worst", 1.0 / 4.0);
        for name in ["shared", "per slot"] {
            let shares: Vec<f64> = (0..rounds).map(|_| busiest(&clients, name)).collect();
            let worst = shares.iter().copied().fold(0.0, f64::max);
            println!("{:<10}{name:<12}{:>12.2}{worst:>12.2}", "balance", median(shares));
        }
    }
}

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    bench::main()
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("measured on Linux only");
}
