use prefork_rt::prefork;

struct Cli {
    workers: i64,
    user: Option<String>,
}

fn load() -> Cli {
    Cli { workers: 4, user: None }
}

#[prefork(preload = load, workers = cli.workers, user = cli.user)]
fn main(cli: &Cli) {}
