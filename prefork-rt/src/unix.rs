//! The modules of this crate and its public names: all there is on Unix, and nothing on other systems.
//!
//! [`lib.rs`](crate) takes them all in, so `crate::policy` is the module that is declared here.

pub(crate) mod account;
pub(crate) mod amounts;
#[cfg(feature = "tokio")]
pub(crate) mod balance;
pub(crate) mod cgroup;
pub(crate) mod codec;
pub(crate) mod cpu;
pub(crate) mod error;
pub(crate) mod exit_status;
pub(crate) mod expansion;
pub(crate) mod grammar;
#[cfg(feature = "hyper_1")]
pub mod hyper;
pub(crate) mod identity;
pub(crate) mod inheritance;
pub(crate) mod listen;
pub(crate) mod logging;
pub(crate) mod notify;
pub(crate) mod options;
pub(crate) mod policy;
pub(crate) mod report;
pub(crate) mod scoreboard;
pub(crate) mod shared_bytes;
pub(crate) mod start;
pub(crate) mod status;
pub(crate) mod supervisor;
pub(crate) mod sys;
pub(crate) mod trust;
pub(crate) mod upgrade;
pub(crate) mod wording;
pub(crate) mod worker;
pub(crate) mod zeroed_option;

#[cfg(feature = "tokio")]
pub use balance::{BalancedListener, BalancedStream, OpenConnection};
pub use cpu::cpu_count;
pub use error::{Error, UnknownWord};
pub use exit_status::EXIT_GIVE_UP;
pub use grammar::{Reload, Restart};
pub use identity::task_id;
pub use options::{CommandLine, CommandLineOr, Prefork, into as values};
pub use policy::State;
pub use shared_bytes::{SharedBytes, SharedBytesWriter};
pub use start::{Role, fork_processes};
pub use status::{Status, WorkerStatus, status};
pub use supervisor::connections::share_connection;
pub use worker::after_fork::after_fork;
pub use worker::argument::FromWorker;
pub use worker::listener::FromListener;
pub use worker::shutdown::Shutdown;
pub use worker::{Worker, worker};

/// What only the expansion of `#[prefork]` uses. Everything of it is here, because compile errors in a user's crate name
/// its types and traits.
#[doc(hidden)]
pub mod __private {
    pub use crate::expansion::*;
}
