//! The attribute of `prefork-rt`. Not for direct use:
//! depend on `prefork-rt` and write `use prefork_rt::prefork;`.
#![forbid(unsafe_code)]

mod args;
mod error;
mod expand;
mod grammar;
mod signature;
mod syntax;

use proc_macro::TokenStream;

// The links are addresses, because this crate cannot name what prefork-rt has. The page of prefork-rt shows this text, and
// so do editors.
/// Runs `main` in supervised worker processes.
///
/// ```no_run
/// use prefork_rt::prefork;
///
/// #[prefork(workers = 4, max_restarts = 100)]
/// fn main(task_id: usize) {
///     println!("worker {task_id}");
/// }
/// ```
///
/// The expansion calls the builder [`Prefork`], one method for each option, and has no `unsafe`.
///
/// # Options
///
/// A literal is checked when the program is compiled. Any other expression is evaluated at the start, in written order,
/// and checked then: a value that cannot be used ends the program with exit status 2. The environment variable of an
/// option, `PREFORK_WORKERS` for `workers`, wins over the code, unless the value is a [`CommandLine`].
///
// The table of options, made by grammar/tables.rs
/// | option | takes | default | meaning |
/// | --- | --- | --- | --- |
/// | [`workers`] | number, `"auto"` | `"auto"` | how many; `"auto"`: one per CPU, by affinity and cgroup quota: [Containers and Kubernetes] |
/// | [`listen`] | addresses, `"none"` | none | addresses that the supervisor binds and workers share: [Listeners] |
/// | [`reuse_port`] | `true`, `false` | `false` | a socket of its own for each worker: [A socket per worker] |
/// | [`max_restarts`] | number, `"unlimited"` | `100`, or 10 × `workers` if more | abnormal ends that are replaced before the pool gives up: [Restarts and giving up] |
/// | [`restart_window`] | duration, `"none"` | none | how long an abnormal end counts against `max_restarts`; none: for ever: [Restarts and giving up] |
/// | [`restart`] | `"on-failure"`, `"always"` | `"on-failure"` | `"always"`: replace workers that exit with status 0, too: [Restarts and giving up] |
/// | [`backoff`] | range of durations, duration | `"100ms..1s"` | the first and the longest wait between restarts of one worker: [Restarts and giving up] |
/// | [`graceful_timeout`] | duration | `"25s"` | from SIGTERM to SIGKILL: [Stopping and draining] |
/// | [`drain_delay`] | duration | `"0s"` | how long the pool serves on after SIGTERM, before workers are told to stop: [Stopping and draining] |
/// | [`ready_timeout`] | duration, `"none"` | none | how long a worker may take to call `ready()`: [Readiness and reload] |
/// | [`reload`] | `"overlap"`, `"exclusive"` | `"overlap"` | a replacement is ready before the old worker stops; `"exclusive"`: starts after it: [Readiness and reload] |
/// | [`reload_width`] | number, `"1%"` to `"100%"` | `"25%"` | how many workers a reload, an upgrade or recycling replaces at once: [Readiness and reload] |
/// | [`heartbeat_timeout`] | duration from 100 ms to 500 h, `"none"` | none | how long a worker may be silent after its first `heartbeat()`: [Hangs, memory and recycling] |
/// | [`max_lifetime`] | duration, `"none"` | none | the age at which a worker is replaced: [Hangs, memory and recycling] |
/// | [`max_memory`] | size of 1 MiB or more, `"none"` | none | the private memory at which a worker is replaced (Linux): [Hangs, memory and recycling] |
/// | [`huge_pages`] | `true`, `false` | `true` | move what was loaded before the first fork into huge pages, so that forks are fast (Linux): [Large data] |
/// | [`user`] | name or number as text, `"none"` | none | the user that workers become; takes root: [Users and groups] |
/// | [`group`] | name or number as text, `"none"` | none | the group that workers become; none: that of `user`: [Users and groups] |
/// | [`no_new_privs`] | `true`, `false` | `false` | workers and what they execute gain no rights (Linux): [Users and groups] |
/// | [`umask`] | octal number as text, up to `"777"`; `"none"` | none | the permission bits that files made by workers lack, in octal: [Users and groups] |
/// | `preload` | path of a function | none | runs once, before the first fork; attribute only: [Fork safety] |
/// | `crate` | path | `::prefork_rt` | where this crate is, if renamed or re-exported; attribute only: [Arguments and options] |
///
/// [`workers`]: https://docs.rs/prefork-rt/latest/prefork_rt/struct.Prefork.html#method.workers
/// [`listen`]: https://docs.rs/prefork-rt/latest/prefork_rt/struct.Prefork.html#method.listen
/// [`reuse_port`]: https://docs.rs/prefork-rt/latest/prefork_rt/struct.Prefork.html#method.reuse_port
/// [`max_restarts`]: https://docs.rs/prefork-rt/latest/prefork_rt/struct.Prefork.html#method.max_restarts
/// [`restart_window`]: https://docs.rs/prefork-rt/latest/prefork_rt/struct.Prefork.html#method.restart_window
/// [`restart`]: https://docs.rs/prefork-rt/latest/prefork_rt/struct.Prefork.html#method.restart
/// [`backoff`]: https://docs.rs/prefork-rt/latest/prefork_rt/struct.Prefork.html#method.backoff
/// [`graceful_timeout`]: https://docs.rs/prefork-rt/latest/prefork_rt/struct.Prefork.html#method.graceful_timeout
/// [`drain_delay`]: https://docs.rs/prefork-rt/latest/prefork_rt/struct.Prefork.html#method.drain_delay
/// [`ready_timeout`]: https://docs.rs/prefork-rt/latest/prefork_rt/struct.Prefork.html#method.ready_timeout
/// [`reload`]: https://docs.rs/prefork-rt/latest/prefork_rt/struct.Prefork.html#method.reload
/// [`reload_width`]: https://docs.rs/prefork-rt/latest/prefork_rt/struct.Prefork.html#method.reload_width
/// [`heartbeat_timeout`]: https://docs.rs/prefork-rt/latest/prefork_rt/struct.Prefork.html#method.heartbeat_timeout
/// [`max_lifetime`]: https://docs.rs/prefork-rt/latest/prefork_rt/struct.Prefork.html#method.max_lifetime
/// [`max_memory`]: https://docs.rs/prefork-rt/latest/prefork_rt/struct.Prefork.html#method.max_memory
/// [`huge_pages`]: https://docs.rs/prefork-rt/latest/prefork_rt/struct.Prefork.html#method.huge_pages
/// [`user`]: https://docs.rs/prefork-rt/latest/prefork_rt/struct.Prefork.html#method.user
/// [`group`]: https://docs.rs/prefork-rt/latest/prefork_rt/struct.Prefork.html#method.group
/// [`no_new_privs`]: https://docs.rs/prefork-rt/latest/prefork_rt/struct.Prefork.html#method.no_new_privs
/// [`umask`]: https://docs.rs/prefork-rt/latest/prefork_rt/struct.Prefork.html#method.umask
/// [A socket per worker]: https://docs.rs/prefork-rt/latest/prefork_rt/guide/a_socket_per_worker/index.html
/// [Arguments and options]: https://docs.rs/prefork-rt/latest/prefork_rt/guide/arguments_and_options/index.html
/// [Containers and Kubernetes]: https://docs.rs/prefork-rt/latest/prefork_rt/guide/containers_and_kubernetes/index.html
/// [Fork safety]: https://docs.rs/prefork-rt/latest/prefork_rt/guide/fork_safety/index.html
/// [Hangs, memory and recycling]: https://docs.rs/prefork-rt/latest/prefork_rt/guide/hangs_memory_and_recycling/index.html
/// [Large data]: https://docs.rs/prefork-rt/latest/prefork_rt/guide/large_data/index.html
/// [Listeners]: https://docs.rs/prefork-rt/latest/prefork_rt/guide/listeners/index.html
/// [Readiness and reload]: https://docs.rs/prefork-rt/latest/prefork_rt/guide/readiness_and_reload/index.html
/// [Restarts and giving up]: https://docs.rs/prefork-rt/latest/prefork_rt/guide/restarts_and_giving_up/index.html
/// [Stopping and draining]: https://docs.rs/prefork-rt/latest/prefork_rt/guide/stopping_and_draining/index.html
/// [Users and groups]: https://docs.rs/prefork-rt/latest/prefork_rt/guide/users_and_groups/index.html
// The end of the table
///
/// The guide says [how values are written][values].
///
/// # Preload
///
/// `preload = path::to::function` names the only code of yours that runs before the fork. It is the place for
/// configuration, a logger, and data that all workers share. Threads, event loops and connections belong in the body
/// ([`share_connection`] has the exceptions).
///
/// The function is called once in the first process, after the environment was read and before the other options are
/// evaluated, so that these may use its value, by the name of the argument that takes it. It returns `T` or `Result<T, E>` where `E: Display`, and `main`
/// receives the value as `&T`. Without such an argument it returns `()` or `Result<(), E>`.
///
/// * An `Err` ends the program with exit status 1 and a line with its text. Where it is an `std::error::Error` or a
///   pointer to one (`Box<dyn Error>`, the errors of anyhow), the line has its causes, too.
/// * The value is never dropped, in any process. `T` is `Sync`, because a worker may share it with its threads.
/// * A reload does not call the function again. An [upgrade] does, in its rehearsal and in the new binary.
///
/// # Arguments
///
/// `main` takes any types that implement [`FromWorker`], in any order, and `&T` for what `preload` returned. What an
/// argument needs is checked before anything is forked, and by the compiler where literals show it.
/// [`Worker::listener`] gives one of several addresses of a kind by its name.
///
/// ```no_run
/// use prefork_rt::prefork;
/// use std::net::TcpListener;
///
/// struct Configuration {
///     workers: usize,
/// }
///
/// fn load() -> Result<Configuration, std::io::Error> {
///     Ok(Configuration { workers: 4 })
/// }
///
/// #[prefork(preload = load, workers = configuration.workers, listen = "127.0.0.1:8080")]
/// fn main(task_id: usize, listener: TcpListener, configuration: &Configuration) -> std::io::Result<()> {
///     println!("worker {task_id} of {} listens on {}", configuration.workers, listener.local_addr()?);
///     Ok(())
/// }
/// ```
///
/// # Async runtimes
///
/// The attribute is written above that of a runtime, which then applies to the body, in the worker:
///
/// ```no_run
/// # use prefork_rt::prefork;
/// use prefork_rt::Worker;
///
/// #[prefork(workers = 2)]
/// #[tokio::main]
/// async fn main(worker: Worker) -> Result<(), std::io::Error> {
///     tokio::time::sleep(std::time::Duration::from_secs(1)).await;
///     println!("worker {} slept", worker.task_id());
///     Ok(())
/// }
/// ```
///
/// # Errors and panics
///
/// A mistake in the attribute or the signature is a compile error at its place; all of them are reported at once. At
/// run time the program ends with one line that says why, and [exit status][signals] 1 or 2. A panic in the body ends
/// that worker with status 101, and it is replaced.
///
/// For a function that is not `main`, a test, or more control, use [`Prefork::run`] or [`Prefork::start`].
///
/// [`Prefork`]: https://docs.rs/prefork-rt/latest/prefork_rt/struct.Prefork.html
/// [`Prefork::run`]: https://docs.rs/prefork-rt/latest/prefork_rt/struct.Prefork.html#method.run
/// [`Prefork::start`]: https://docs.rs/prefork-rt/latest/prefork_rt/struct.Prefork.html#method.start
/// [`CommandLine`]: https://docs.rs/prefork-rt/latest/prefork_rt/struct.CommandLine.html
/// [`FromWorker`]: https://docs.rs/prefork-rt/latest/prefork_rt/trait.FromWorker.html
/// [`Worker::listener`]: https://docs.rs/prefork-rt/latest/prefork_rt/struct.Worker.html#method.listener
/// [`share_connection`]: https://docs.rs/prefork-rt/latest/prefork_rt/fn.share_connection.html
/// [signals]: https://docs.rs/prefork-rt/latest/prefork_rt/guide/signals_and_exit_status/index.html
/// [values]: https://docs.rs/prefork-rt/latest/prefork_rt/guide/arguments_and_options/index.html#how-values-are-written
/// [upgrade]: https://docs.rs/prefork-rt/latest/prefork_rt/guide/upgrade/index.html
#[proc_macro_attribute]
pub fn prefork(args: TokenStream, item: TokenStream) -> TokenStream {
    expand::expand(args.into(), item.into()).into()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use crate::grammar::tables::{Row, has_table, rows, table};

    /// With the addresses of its links below, so that the lines can be read where links are not shown as such.
    #[test]
    fn the_attribute_s_page_has_the_table_of_options() {
        const PAGES: &str = "https://docs.rs/prefork-rt/latest/prefork_rt";
        let table = table(["option", "takes", "default", "meaning"], |row| {
            let Row { option, takes, default, meaning, chapter, has_method } = row;
            let name = if *has_method { format!("[`{option}`]") } else { format!("`{option}`") };
            [name, takes.to_string(), default.clone(), format!("{meaning}: [{chapter}]")]
        });
        let rows = rows();
        let methods = rows
            .iter()
            .filter(|row| row.has_method)
            .map(|Row { option, .. }| format!("[`{option}`]: {PAGES}/struct.Prefork.html#method.{option}\n"));
        let chapters: BTreeSet<String> =
            rows.iter().map(|row| format!("[{}]: {PAGES}/guide/{}/index.html\n", row.chapter, row.module())).collect();
        let links: String = methods.chain(chapters).collect();
        let this = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs");
        has_table(&this, "/// ", &format!("{table}\n{links}"));
    }
}
