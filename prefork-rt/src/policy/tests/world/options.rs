//! The rules that most tests begin with.

use super::super::super::{Readiness, Rules};
use super::ms;
use crate::grammar::{Backoff, Reload, Restart, Width};
use std::time::Duration;

pub(in super::super) fn rules(workers: usize) -> Rules {
    Rules {
        workers,
        most_workers: workers + 4,
        slots_have_sockets: false,
        max_restarts: Some(100),
        restart_window: None,
        restart: Restart::OnFailure,
        backoff: Backoff { first: ms(100), longest: ms(1000) },
        graceful_timeout: ms(25_000),
        drain_delay: Duration::ZERO,
        readiness: Readiness::AtFork,
        heartbeat_timeout: None,
        max_lifetime: None,
        max_memory: None,
        reload: Reload::Overlap,
        reload_width: Width::Percent(25),
        jitter_seed: 1,
    }
}

pub(in super::super) fn without_backoff(workers: usize) -> Rules {
    Rules { backoff: Backoff { first: Duration::ZERO, longest: Duration::ZERO }, ..rules(workers) }
}

/// With a ready_timeout.
pub(in super::super) fn announced(workers: usize, ready_timeout: u64) -> Rules {
    Rules { readiness: Readiness::Announced(ms(ready_timeout)), ..rules(workers) }
}

pub(in super::super) fn exclusive(rules: Rules) -> Rules {
    Rules { reload: Reload::Exclusive, ..rules }
}

/// Replaces this many slots at once.
pub(in super::super) fn wide(width: usize, rules: Rules) -> Rules {
    Rules { reload_width: Width::Slots(width), ..rules }
}
