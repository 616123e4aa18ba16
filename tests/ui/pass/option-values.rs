use prefork_rt::prefork;

use std::num::NonZeroUsize;

const WORKERS: NonZeroUsize = NonZeroUsize::new(2).unwrap();
const LIMIT: usize = 3;
const ADDRESSES: &[&str] = &["127.0.0.1:0", "[::1]:0"];

fn pair<A: Default, B>(value: B) -> (A, B) {
    (A::default(), value)
}

mod constants {
    use super::*;

    #[prefork(workers = WORKERS, max_restarts = LIMIT + 1, listen = "none")]
    pub fn main() {}
}

mod literals {
    use super::*;

    #[prefork(workers = 0x2usize, max_restarts = 1_000, graceful_timeout = "5m", backoff = "250ms")]
    pub fn main() {}
}

mod text {
    use super::*;

    #[prefork(workers = "2", max_restarts = format!("{LIMIT}"), listen = ADDRESSES)]
    pub fn main() {}
}

mod expressions {
    use super::*;

    #[prefork(workers = pair::<u8, usize>(2).1, max_restarts = if LIMIT > 2 { 1 } else { 2 }, backoff = { "0s" })]
    pub fn main() {}
}

fn main() -> std::process::ExitCode {
    let _ = (constants::main, literals::main, text::main);
    expressions::main()
}
