//! The options: the builder that takes them, their defaults, and what wins over what.
//!
//! It must not know processes: what an option does is decided where it is used.

mod environment;
mod into;
mod prefork;
mod settings;

pub(crate) use environment::{Environment, Mode};
pub use into::{
    IntoAccount, IntoBackoff, IntoDuration, IntoListen, IntoMaxMemory, IntoMaxRestarts, IntoOptionalDuration,
    IntoReload, IntoRestart, IntoWorkers,
};
pub use prefork::Prefork;
pub(crate) use settings::{RESTARTS_PER_WORKER, Settings};
