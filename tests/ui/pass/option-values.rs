use prefork_rt::prefork;

use std::num::NonZeroUsize;
use std::time::Duration;

use prefork_rt::{Reload, Restart};

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

mod none {
    use super::*;

    #[prefork(restart_window = None, ready_timeout = None, heartbeat_timeout = None, max_lifetime = None, max_memory = None)]
    pub fn main() {}
}

mod none_in_text {
    use super::*;

    #[prefork(
        restart_window = "none",
        ready_timeout = "none",
        heartbeat_timeout = "none",
        max_lifetime = "none",
        max_memory = "none"
    )]
    pub fn main() {}
}

mod life_in_literals {
    use super::*;

    #[prefork(
        restart_window = "10m",
        restart = "always",
        ready_timeout = "30s",
        heartbeat_timeout = "100ms",
        max_lifetime = "1h",
        max_memory = "512MiB",
        reload = "exclusive"
    )]
    pub fn main() {}
}

mod life_in_expressions {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[prefork(
        restart_window = 10 * MINUTE,
        restart = Restart::OnFailure,
        ready_timeout = Some(MINUTE),
        heartbeat_timeout = if LIMIT > 2 { None } else { Some(MINUTE) },
        max_lifetime = format!("{LIMIT}h"),
        max_memory = 1 << 30,
        reload = Reload::Overlap
    )]
    pub fn main() {}
}

mod bytes {
    use super::*;

    #[prefork(max_memory = 536_870_912)]
    pub fn main() {}
}

mod bytes_with_a_type {
    use super::*;

    #[prefork(restart = ("on-failure"), reload = ("overlap"), max_memory = 0x2000_0000u64)]
    pub fn main() {}
}

mod yes_or_no {
    use super::*;

    #[prefork(listen = "none", reuse_port = true, no_new_privs = false, huge_pages = false)]
    pub fn main() {}
}

mod yes_or_no_in_an_expression {
    use super::*;

    #[prefork(listen = "none", reuse_port = LIMIT > 2, no_new_privs = LIMIT > 2, huge_pages = LIMIT > 2)]
    pub fn main() {}
}

mod some_at_once {
    use super::*;

    #[prefork(reload_width = 2)]
    pub fn main() {}
}

mod a_share_at_once {
    use super::*;

    #[prefork(reload_width = "50%")]
    pub fn main() {}
}

mod at_once_in_an_expression {
    use super::*;

    #[prefork(reload_width = LIMIT)]
    pub fn main() {}
}

mod a_moment_later {
    use super::*;

    #[prefork(drain_delay = "5s", graceful_timeout = "10s")]
    pub fn main() {}
}

mod later_in_an_expression {
    use super::*;

    #[prefork(drain_delay = Duration::from_secs(5))]
    pub fn main() {}
}

mod octal {
    use super::*;

    #[prefork(umask = "027")]
    pub fn main() {}
}

mod octal_in_an_expression {
    use super::*;

    #[prefork(umask = if LIMIT > 2 { Some("0o22") } else { None })]
    pub fn main() {}
}

fn main() -> std::process::ExitCode {
    let _ = (some_at_once::main, a_share_at_once::main, at_once_in_an_expression::main);
    let _ = (a_moment_later::main, later_in_an_expression::main);
    let _ = (octal::main, octal_in_an_expression::main);
    let _ = (yes_or_no::main, yes_or_no_in_an_expression::main);
    let _ = (constants::main, literals::main, text::main, none::main, none_in_text::main);
    let _ = (life_in_literals::main, life_in_expressions::main, bytes::main, bytes_with_a_type::main);
    expressions::main()
}
