//! What sockets cost and how they balance: shared by all workers, with and without balance, or one for each slot, against
//! one process, in ratios.
//!
//! `cargo bench --bench listeners` takes about eight minutes, with `-- --quick` a minute, and says less; `--rounds 20`
//! sharpens it, `--workers 4` has other pools than one worker for each CPU, and words select rows (`kept "new, 2"`). Linux
//! only.
//!
//! # What is measured
//!
//! | row | what the clients do |
//! |---|---|
//! | kept | 64 connections, each with one request after another |
//! | new, N | N clients, each with a connection for every request |
//! | balance | 64 connections are opened one after another, and stay: how many the busiest of 4 workers has |
//!
//! | contender | what it is |
//! |---|---|
//! | one process | tokio's multi-thread runtime, with as many threads as the pools have workers |
//! | threads | one process with a runtime for each thread; each connection goes to the thread that has the fewest |
//! | shared | a pool whose workers accept from one socket |
//! | balanced | the same with `BalancedListener` |
//! | per slot | a pool with `reuse_port` |
//! | HTTP, process | axum and hyper in one process, as above |
//! | HTTP, shared | axum and hyper in a pool whose workers accept from one socket |
//! | HTTP, serve | the same with `prefork_rt::hyper::serve`, which balances, bounds and drains |
//!
//! Each worker has tokio's runtime of one thread. All serve with the same code. The clients are this process, on the same
//! CPUs, which they use as much as the servers do.
//!
//! # How to read the figures
//!
//! Only ratios: the contenders take turns within a round, in changing order, and each figure is the median over the rounds
//! of what a contender had over what another had in the same round, which the head of the column names. More requests in a
//! second are better, a shorter time for the slowest of a hundred is. `same` is the one process once more: what it differs
//! from 1 is what this run cannot tell from nothing.

#[cfg(target_os = "linux")]
mod clients;
#[cfg(target_os = "linux")]
mod contenders;
#[cfg(target_os = "linux")]
mod contest;
#[cfg(target_os = "linux")]
mod options;

#[cfg(target_os = "linux")]
mod bench {
    use std::collections::BTreeSet;
    use std::process::ExitCode;
    use std::time::Duration;

    use prefork_rt::cpu_count;
    use tokio::runtime::{Builder, Runtime};

    use crate::clients::{Load, Sample, busiest, measure};
    use crate::contenders::contend;
    use crate::contest::{self, median};
    use crate::options::Options;

    const CONNECTIONS: usize = 64;
    const BALANCED_WORKERS: usize = 4;
    /// Contenders that are compared with each other: by requests in a second with two of them, and by the p99 with two.
    struct Field {
        contenders: &'static [&'static str],
        bases: [&'static str; 4],
    }

    const SOCKETS: Field = Field {
        contenders: &["one process", "same", "threads", "shared", "balanced", "per slot"],
        bases: ["one process", "shared", "one process", "threads"],
    };
    const HTTP: Field = Field {
        contenders: &["HTTP, process", "HTTP, shared", "HTTP, serve"],
        bases: ["HTTP, process", "HTTP, shared", "HTTP, process", "HTTP, shared"],
    };
    const ROWS: [(&str, Load, &Field); 8] = [
        ("kept", Load::Kept(CONNECTIONS), &SOCKETS),
        ("new, 1", Load::New(1), &SOCKETS),
        ("new, 2", Load::New(2), &SOCKETS),
        ("new, 32", Load::New(32), &SOCKETS),
        ("new, 64", Load::New(CONNECTIONS), &SOCKETS),
        ("kept", Load::Kept(CONNECTIONS), &HTTP),
        ("new, 1", Load::New(1), &HTTP),
        ("new, 32", Load::New(32), &HTTP),
    ];

    pub fn main() -> ExitCode {
        contest::run(contend, |arguments| match Options::read(arguments, &names()) {
            Ok(Some(options)) => {
                Contest::new(&options).print(|row| options.wants(row));
                ExitCode::SUCCESS
            }
            Ok(None) => {
                println!("{}", Options::usage(&names()));
                ExitCode::SUCCESS
            }
            Err(mistake) => {
                eprintln!("{mistake}\n\n{}", Options::usage(&names()));
                ExitCode::from(2)
            }
        })
    }

    /// Of all rows, once each.
    fn names() -> Vec<&'static str> {
        let names: BTreeSet<&str> = ROWS.iter().map(|(row, ..)| *row).chain(["balance"]).collect();
        names.into_iter().collect()
    }

    struct Contest {
        clients: Runtime,
        rounds: usize,
        workers: usize,
        length: Duration,
    }

    impl Contest {
        fn new(options: &Options) -> Contest {
            let quick = options.quick;
            Contest {
                clients: Builder::new_multi_thread().worker_threads(cpu_count()).enable_all().build().expect("threads"),
                rounds: options.rounds.unwrap_or(if quick { 2 } else { 9 }),
                workers: options.workers.unwrap_or(cpu_count()),
                length: Duration::from_millis(if quick { 200 } else { 1000 }),
            }
        }

        fn print(&self, is_chosen: impl Fn(&str) -> bool) {
            let Contest { rounds, workers, .. } = self;
            println!("{rounds} rounds, {workers} workers or threads, {} CPUs", cpu_count());
            println!("\n{:<10}{:<15}{:>30}{:>30}", "", "", "requests, over", "p99, over");
            let mut before = [""; 4];
            for (row, load, field) in ROWS.into_iter().filter(|(row, ..)| is_chosen(row)) {
                let [a, b, c, d] = field.bases;
                if before != field.bases {
                    println!("{:<10}{:<15}{a:>15}{b:>15}{c:>15}{d:>15}", "row", "contender");
                    before = field.bases;
                }
                let samples = self.samples(load, field.contenders);
                for (name, of_name) in field.contenders.iter().zip(&samples).skip(1) {
                    let over = |base: &str, of: fn(&Sample) -> f64| {
                        let base = field.contenders.iter().position(|&name| name == base).expect("one of them");
                        median(of_name.iter().zip(&samples[base]).map(|(sample, base)| of(sample) / of(base)).collect())
                    };
                    let (rate, p99) = (|sample: &Sample| sample.rate, |sample: &Sample| sample.p99);
                    let figures = [over(a, rate), over(b, rate), over(c, p99), over(d, p99)];
                    let figures = figures.map(|figure| format!("{figure:>15.2}")).concat();
                    println!("{row:<10}{name:<15}{figures}");
                }
            }
            if is_chosen("balance") {
                self.print_balance();
            }
        }

        /// For each contender, one in each round.
        fn samples(&self, load: Load, contenders: &[&str]) -> Vec<Vec<Sample>> {
            let mut samples = vec![Vec::new(); contenders.len()];
            for round in 0..self.rounds {
                for turn in 0..contenders.len() {
                    let which = (round + turn) % contenders.len();
                    samples[which].push(measure(&self.clients, contenders[which], self.workers, load, self.length));
                }
            }
            samples
        }

        fn print_balance(&self) {
            let even = CONNECTIONS / BALANCED_WORKERS;
            println!("\n{:<10}{:<15}{:>12}{:>12}   (even: {even})", "row", "contender", "busiest", "worst");
            for name in ["shared", "balanced", "per slot", "HTTP, serve"] {
                let busiest = |_| busiest(&self.clients, name, BALANCED_WORKERS, CONNECTIONS) as f64;
                let had: Vec<f64> = (0..self.rounds).map(busiest).collect();
                let worst = had.iter().copied().fold(0.0, f64::max);
                println!("{:<10}{name:<15}{:>12.0}{worst:>12.0}", "balance", median(had));
            }
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
