//! The table of options: one row for each.
//!
//! The macro makes its list and its messages of the rows, the runtime its given values, settings, defaults and
//! environment variables, and both the tables in the documentation. It must not know what an option does.

/// Calls the macro `$callback` with all rows.
///
/// A row begins with one line of documentation, the option's name and the type of its value, and has these columns:
///
/// * `takes`: what may be written, for the documentation
/// * `example`: a value for messages, as it is written in the attribute
/// * `default`: the value of an option that is not given, written in the same way, and what else the documentation says
///   of it
/// * `read`: the function of `grammar` that reads the value's text
/// * `literal`: which literals the attribute takes: `Text`, `Number(the type in Rust)`, `Bool` or `Addresses`
/// * `without_workers`: whether `PREFORK=off` uses it
/// * `chapter`: the chapter of the guide that says more
///
/// The last rows are options that only the attribute has, so they have neither method nor variable.
macro_rules! for_each_option {
    ($callback:ident) => {
        $callback! {
            /// how many; `"auto"`: one per CPU, by affinity and cgroup quota
            workers: usize {
                takes: "number, `\"auto\"`",
                example: 4,
                default: "auto",
                read: workers,
                literal: Number("usize"),
                without_workers: false,
                chapter: "Containers and Kubernetes",
            }
            /// addresses that the supervisor binds and workers share
            listen: Vec<Entry> {
                takes: "addresses, `\"none\"`",
                example: "127.0.0.1:8080",
                default: "none",
                read: addresses,
                literal: Addresses,
                without_workers: true,
                chapter: "Listeners",
            }
            /// a socket of its own for each worker
            reuse_port: bool {
                takes: "`true`, `false`",
                example: true,
                default: false,
                read: reuse_port,
                literal: Bool,
                without_workers: true,
                chapter: "A socket per worker",
            }
            /// abnormal ends that are replaced before the pool gives up
            max_restarts: Option<usize> {
                takes: "number, `\"unlimited\"`",
                example: 100,
                default: 100 ", or 10 × `workers` if more",
                read: max_restarts,
                literal: Number("usize"),
                without_workers: false,
                chapter: "Restarts and giving up",
            }
            /// how long an abnormal end counts against `max_restarts`; none: for ever
            restart_window: Option<Duration> {
                takes: "duration, `\"none\"`",
                example: "10m",
                default: "none",
                read: restart_window,
                literal: Text,
                without_workers: false,
                chapter: "Restarts and giving up",
            }
            /// `"always"`: replace workers that exit with status 0, too
            restart: Restart {
                takes: "`\"on-failure\"`, `\"always\"`",
                example: "always",
                default: "on-failure",
                read: restart,
                literal: Text,
                without_workers: false,
                chapter: "Restarts and giving up",
            }
            /// the first and the longest wait between restarts of one worker
            backoff: Backoff {
                takes: "range of durations, duration",
                example: "100ms..1s",
                default: "100ms..1s",
                read: backoff,
                literal: Text,
                without_workers: false,
                chapter: "Restarts and giving up",
            }
            /// from SIGTERM to SIGKILL
            graceful_timeout: Duration {
                takes: "duration",
                example: "30s",
                default: "25s",
                read: duration,
                literal: Text,
                without_workers: false,
                chapter: "Stopping and draining",
            }
            /// how long the pool serves on after SIGTERM, before workers are told to stop
            drain_delay: Duration {
                takes: "duration",
                example: "5s",
                default: "0s",
                read: duration,
                literal: Text,
                without_workers: false,
                chapter: "Stopping and draining",
            }
            /// how long a worker may take to call `ready()`
            ready_timeout: Option<Duration> {
                takes: "duration, `\"none\"`",
                example: "30s",
                default: "none",
                read: ready_timeout,
                literal: Text,
                without_workers: false,
                chapter: "Readiness and reload",
            }
            /// a replacement is ready before the old worker stops; `"exclusive"`: starts after it
            reload: Reload {
                takes: "`\"overlap\"`, `\"exclusive\"`",
                example: "exclusive",
                default: "overlap",
                read: reload,
                literal: Text,
                without_workers: false,
                chapter: "Readiness and reload",
            }
            /// how many workers a reload, an upgrade or recycling replaces at once
            reload_width: Width {
                takes: "number, `\"1%\"` to `\"100%\"`",
                example: "25%",
                default: "25%",
                read: reload_width,
                literal: Number("usize"),
                without_workers: false,
                chapter: "Readiness and reload",
            }
            /// how long a worker may be silent after its first `heartbeat()`
            heartbeat_timeout: Option<Duration> {
                takes: "duration from 100 ms to 500 h, `\"none\"`",
                example: "30s",
                default: "none",
                read: heartbeat_timeout,
                literal: Text,
                without_workers: false,
                chapter: "Hangs, memory and recycling",
            }
            /// the age at which a worker is replaced
            max_lifetime: Option<Duration> {
                takes: "duration, `\"none\"`",
                example: "1h",
                default: "none",
                read: max_lifetime,
                literal: Text,
                without_workers: false,
                chapter: "Hangs, memory and recycling",
            }
            /// the private memory at which a worker is replaced (Linux)
            max_memory: Option<u64> {
                takes: "size of 1 MiB or more, `\"none\"`",
                example: "512MiB",
                default: "none",
                read: max_memory,
                literal: Number("u64"),
                without_workers: false,
                chapter: "Hangs, memory and recycling",
            }
            /// move what was loaded before the first fork into huge pages, so that forks are fast (Linux)
            huge_pages: bool {
                takes: "`true`, `false`",
                example: false,
                default: true,
                read: huge_pages,
                literal: Bool,
                without_workers: false,
                chapter: "Large data",
            }
            /// the user that workers become; takes root
            user: Option<String> {
                takes: "name or number as text, `\"none\"`",
                example: "nobody",
                default: "none",
                read: account,
                literal: Text,
                without_workers: true,
                chapter: "Users and groups",
            }
            /// the group that workers become; none: that of `user`
            group: Option<String> {
                takes: "name or number as text, `\"none\"`",
                example: "nogroup",
                default: "none",
                read: account,
                literal: Text,
                without_workers: true,
                chapter: "Users and groups",
            }
            /// workers and what they execute gain no rights (Linux)
            no_new_privs: bool {
                takes: "`true`, `false`",
                example: true,
                default: false,
                read: no_new_privs,
                literal: Bool,
                without_workers: true,
                chapter: "Users and groups",
            }
            /// the permission bits that files made by workers lack, in octal
            umask: Option<u32> {
                takes: "octal number as text, up to `\"777\"`; `\"none\"`",
                example: "027",
                default: "none",
                read: umask,
                literal: Text,
                without_workers: true,
                chapter: "Users and groups",
            }
            only the attribute
            /// runs once, before the first fork; attribute only
            preload {
                takes: "path of a function",
                example: path::to::function,
                default: "none",
                literal: Function,
                chapter: "Fork safety",
            }
            /// where this crate is, if renamed or re-exported; attribute only
            crate {
                takes: "path",
                example: path::to::prefork_rt,
                default: "`::prefork_rt`",
                literal: Crate,
                chapter: "Arguments and options",
            }
        }
    };
}
pub(crate) use for_each_option;
