//! Words of other servers, runtimes and process managers, and what they are here.
//!
//! It must not know what an option does.

use self::Foreign::{Do, Is};

/// What a word means that is no option, but is one elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Foreign {
    /// This option.
    Is(&'static str),
    /// No option: what to do instead.
    Do(&'static str),
}

/// What the word is in other programs, if it is known. Case, and `-` for `_`, make no difference.
pub(crate) fn foreign(word: &str) -> Option<Foreign> {
    let word = word.to_ascii_lowercase().replace('-', "_");
    let (_, foreign) = WORDS.iter().find(|(words, _)| words.split(' ').any(|known| known == word))?;
    Some(*foreign)
}

/// Words, and what they are.
const WORDS: &[(&str, Foreign)] = &[
    (
        "bind addr addrs address addresses host hosts hostname ip interface socket sockets endpoint endpoints url \
         unix_socket uds fd listener listeners listen_on bind_addr bind_address server_addr",
        Is("listen"),
    ),
    ("port ports", Do("a port belongs to an address of `listen`, for example `listen = \"127.0.0.1:8080\"`")),
    (
        "processes process procs num_processes num_procs nproc worker_processes forks children instances \
         num_workers n_workers worker_count workers_count cpus concurrency max_children pool_size",
        Is("workers"),
    ),
    (
        "worker_threads threads thread num_threads thread_count max_threads max_blocking_threads blocking_threads",
        Do("`workers` is the number of processes; how many threads each of them has is said to its runtime, for \
             example in `#[tokio::main(worker_threads = 2)]` below `#[prefork]`"),
    ),
    (
        "flavor runtime rt start_paused enable_all",
        Do("it belongs to the runtime's attribute, for example `#[tokio::main(flavor = \"current_thread\")]` below \
             `#[prefork]`"),
    ),
    ("worker_class", Do("the attribute of an async runtime, for example `#[tokio::main]`, stands below `#[prefork]`")),
    (
        "timeout worker_timeout harakiri watchdog request_timeout",
        Do("`heartbeat_timeout` is for a worker that hangs, `graceful_timeout` for one that is told to stop, \
             `ready_timeout` for one that starts; limits on requests belong into the server"),
    ),
    (
        "graceful graceful_shutdown graceful_shutdown_timeout shutdown_timeout shutdown stop_timeout kill_timeout \
         grace_period grace drain_timeout worker_shutdown_timeout stopwaitsecs",
        Is("graceful_timeout"),
    ),
    ("boot_timeout worker_boot_timeout start_timeout startup_timeout", Is("ready_timeout")),
    ("preload_app preload_fn init setup before_fork on_start on_starting startup", Is("preload")),
    (
        "post_fork after_fork worker_init on_worker_boot before_worker_boot",
        Do("call `prefork_rt::after_fork` in the function that `preload` names, or begin the body of `main` with it"),
    ),
    (
        "max_requests max_requests_jitter max_requests_per_child",
        Do("let the worker count, and call `Worker::recycle()`; `max_lifetime` recycles by age"),
    ),
    ("max_worker_lifetime worker_lifetime lifetime max_age ttl", Is("max_lifetime")),
    ("memory_limit limit_memory memory max_rss reload_on_rss max_memory_per_child", Is("max_memory")),
    ("retries restarts max_retries max_failures restart_limit", Is("max_restarts")),
    ("autorestart auto_restart respawn restart_policy", Is("restart")),
    ("delay restart_delay restart_sec retry_delay", Is("backoff")),
    ("uid setuid run_as username", Is("user")),
    ("gid setgid groups", Is("group")),
    ("mask file_mode", Is("umask")),
    (
        "hugepages hugepage huge_page transparent_hugepage transparent_hugepages transparent_huge_pages thp \
         large_pages",
        Is("huge_pages"),
    ),
    ("so_reuseport reuse_address", Is("reuse_port")),
    (
        "keepalive keep_alive backlog worker_connections max_connections tls ssl certfile keyfile",
        Do("it belongs to the server that runs in the body of `main`"),
    ),
    (
        "daemon daemonize background pidfile pid_file pid",
        Do("the program runs in the foreground, under systemd or in a container, and has no pid file"),
    ),
    (
        "log log_level loglevel logfile log_file errorlog accesslog",
        Do("lines go to standard error, or to the logger that `preload` sets up"),
    ),
    ("env raw_env chdir directory cwd", Do("systemd or the container sets it")),
    ("config config_file", Do("let the function that `preload` names read the configuration")),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_other_programs_are_known_and_others_are_not() {
        for (word, meant) in [
            ("bind", "listen"),
            ("Bind-Addr", "listen"),
            ("PROCESSES", "workers"),
            ("graceful", "graceful_timeout"),
            ("preload_app", "preload"),
            ("restarts", "max_restarts"),
            ("transparent-hugepage", "huge_pages"),
        ] {
            assert_eq!(foreign(word), Some(Is(meant)), "{word}");
        }
        assert!(matches!(foreign("worker_threads"), Some(Do(_))));
        assert_eq!((foreign("colour"), foreign("workrs"), foreign("")), (None, None, None));
    }
}
