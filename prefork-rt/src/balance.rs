//! Spreads the connections of a shared listener evenly over the workers.
//!
//! A worker that has more connections open than its share waits a moment before it accepts one more, so that another
//! worker, which the same connection has woken, takes it. It must not know what a connection is used for.

mod accept;
mod listener;
mod share;
mod turn;

pub(crate) use accept::Acceptor;
pub use accept::OpenConnection;
pub use listener::{BalancedListener, BalancedStream};
