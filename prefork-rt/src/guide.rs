//! How to use prefork, chapter by chapter.
//!
//! In reading order:
//!
//! * [First service](first_service): a service in a few lines, and what the terminal shows
//! * [Arguments and options](arguments_and_options): what `main` may take, and every option
//! * [Listeners](listeners): addresses, Unix sockets and names, and how workers get them
//! * [A socket per worker](a_socket_per_worker): `reuse_port`: what it changes, and when to use it
//! * [Stopping and draining](stopping_and_draining): what a worker does when it is told to stop
//! * [Web frameworks](frameworks): actix-web, ntex, poem, Rocket and others, without a lost request
//! * [Signals and exit status](signals_and_exit_status): what the supervisor answers to, and how it ends
//! * [Restarts and giving up](restarts_and_giving_up): what counts, how long it waits, when it ends
//! * [Readiness and reload](readiness_and_reload): fresh workers without a lost request
//! * [Upgrade](upgrade): a new binary in place, and the way back
//! * [Hangs, memory and recycling](hangs_memory_and_recycling): workers that hang, grow or grow old
//! * [Looking at the pool](looking_at_the_pool): status, process names and log lines
//! * [Users and groups](users_and_groups): port 80 as root, workers as another user
//! * [systemd]: units, readiness, sockets, the descriptor store
//! * [Containers and Kubernetes](containers_and_kubernetes): PID 1, grace periods, memory
//! * [Fork safety](fork_safety): what a worker inherits, and what must wait for it
//! * [Large data](large_data): what big preloaded data costs at a fork, and huge pages
//! * [Performance](performance): figures against a bare loop and other servers, binary size, build time
//! * [Testing](testing): tests of a program that uses prefork
//! * [Coming from other servers](coming_from): Tornado, gunicorn, puma and others, side by side
//! * [Questions and answers](questions): short answers, with links to the long ones

// Examples with types of tokio, or with a server, compile with that feature only.
#[cfg_attr(any(not(doctest), feature = "hyper_1"), doc = include_str!("../guide/first-service.md"))]
pub mod first_service {}
#[doc = include_str!("../guide/arguments-and-options.md")]
pub mod arguments_and_options {}
#[cfg_attr(any(not(doctest), feature = "tokio"), doc = include_str!("../guide/listeners.md"))]
pub mod listeners {}
#[doc = include_str!("../guide/a-socket-per-worker.md")]
pub mod a_socket_per_worker {}
#[cfg_attr(any(not(doctest), feature = "hyper_1"), doc = include_str!("../guide/stopping-and-draining.md"))]
pub mod stopping_and_draining {}
#[doc = include_str!("../guide/frameworks.md")]
pub mod frameworks {}
#[doc = include_str!("../guide/signals-and-exit-status.md")]
pub mod signals_and_exit_status {}
#[doc = include_str!("../guide/restarts-and-giving-up.md")]
pub mod restarts_and_giving_up {}
#[doc = include_str!("../guide/readiness-and-reload.md")]
pub mod readiness_and_reload {}
#[doc = include_str!("../guide/upgrade.md")]
pub mod upgrade {}
#[doc = include_str!("../guide/hangs-memory-and-recycling.md")]
pub mod hangs_memory_and_recycling {}
#[doc = include_str!("../guide/looking-at-the-pool.md")]
pub mod looking_at_the_pool {}
#[doc = include_str!("../guide/users-and-groups.md")]
pub mod users_and_groups {}
#[doc = include_str!("../guide/systemd.md")]
pub mod systemd {}
#[doc = include_str!("../guide/containers-and-kubernetes.md")]
pub mod containers_and_kubernetes {}
#[doc = include_str!("../guide/fork-safety.md")]
pub mod fork_safety {}
#[doc = include_str!("../guide/large-data.md")]
pub mod large_data {}
// `cargo bench --bench supervision -- --write` writes the second and the third file.
#[doc = include_str!("../guide/performance.md")]
#[doc = include_str!("../guide/performance-figures.md")]
#[doc = ""] // The end of a table.
#[doc = include_str!("../guide/performance-chart.svg")]
pub mod performance {}
#[doc = include_str!("../guide/testing.md")]
pub mod testing {}
#[doc = include_str!("../guide/coming-from.md")]
pub mod coming_from {}
#[doc = include_str!("../guide/questions.md")]
pub mod questions {}
